"""Which image for which machine: the cases by hand, a table over all cards and drivers, and what holds for any."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
from catalogs import DEFAULTS, FACTS, REPOSITORY, WIDE, catalog, changed, image, some
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.version import Version
from test_cli_know import one_message, run

from torchpair import advice, choose, search, source
from torchpair.catalog import Catalog
from torchpair.choose import Answer, Machine
from torchpair.diagnose.evidence import Gpu, Host
from torchpair.errors import TorchpairError
from torchpair.search import Wish


def machine(*gpus: str, driver: str | None = None, arch: str | None = None) -> Machine:
    return choose.machine(Host(), gpus, driver, arch)


def ask(offer: Catalog, *gpus: str, driver: str | None = None, arch: str | None = None, **wish: str) -> Answer:
    return choose.choose(offer, machine(*gpus, driver=driver, arch=arch), Wish(**wish), FACTS)  # type: ignore[arg-type]


def best(answer: Answer) -> str | None:
    return answer.best.image.tag.rsplit("-", 1)[0] if answer.best else None


def text(answer: Answer) -> str:
    return "\n".join(advice.lines(answer, FACTS))


# ---- by hand ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gpus", "driver", "first", "never"),
    [
        # CUDA 13 wants 580; 12.8 knows the card and runs on 570.
        (["RTX 5090"], "570", "2.8.0-cu128-py311", ["cu130", "cu126", "cu124", "cu118", "cpu"]),
        (["RTX 5090"], "580", "2.14.1-cu130-py313", ["cu126", "cu124", "cu118", "cpu"]),
        # Minor-version compatibility: 12.6 and 12.8 both run on a driver of 12.0.
        (["T4"], "535", "2.14.1-cu126-py312", ["cu130", "cpu"]),
        (["H100"], "525", "2.14.1-cu126-py312", ["cu130", "cpu"]),
        (["H100"], "525.60.13", "2.14.1-cu126-py312", ["cu130", "cpu"]),
        # Pascal: the last CUDA that has code for it is 12, and of 12.8 no wheel has.
        (["P100"], "580", "2.14.1-cu126-py312", ["cu130", "cu128", "cpu"]),
        (["GTX 1080"], "535", "2.14.1-cu126-py312", ["cu130", "cu128", "cpu"]),
        (["GTX 1080"], "470", "2.1.0-cu118-py310", ["cu130", "cu128", "cu126", "cu124", "cpu"]),
        # Two cards: each must be served.
        (["T4", "RTX 5090"], "570", "2.8.0-cu128-py311", ["cu130", "cu126", "cu124", "cu118", "cpu"]),
        (["T4", "A100"], "535", "2.14.1-cu126-py312", ["cu130", "cpu"]),
        ([], "535", "2.14.1-cu126-py312", ["cu130", "cpu"]),  # a driver, and any card
        (["A100"], None, "2.14.1-cu130-py313", ["cpu"]),  # no driver told: the answer says which it needs
    ],
)
def test_by_hand(gpus: list[str], driver: str | None, first: str, never: list[str]) -> None:
    answer = ask(WIDE, *gpus, driver=driver)
    assert best(answer) == first
    tags = [one.image.tag for one in answer.fitting]
    assert not [tag for tag in tags for word in never if f"-{word}-" in tag]
    assert not answer.instead and len(tags) + len(answer.refused) == len(WIDE.images)


def test_no_gpu_is_an_answer_too() -> None:
    answer = ask(WIDE)
    assert best(answer) == "2.8.0-cpu-py311", "nothing in it that could not be used"
    assert best(ask(DEFAULTS)) == "2.14.1-cu130-py313", "torch for CUDA runs on the CPU too"
    assert "unused" in text(ask(DEFAULTS)) and "no GPU" in text(ask(DEFAULTS))
    assert best(ask(WIDE, cuda="12.8")) == "2.8.0-cu128-py311"


def test_two_cards_that_nothing_serves_together() -> None:
    answer = ask(WIDE, "GTX 1080", "RTX 5090", driver="580")
    assert answer.best is None and choose.driver_that_does(answer) is None
    assert [(one.change, one.image.cuda) for one in answer.instead] == [
        ("on the GTX 1080 (6.1) alone", "12.6"),
        ("on the RTX 5090 (12.0) alone", "13.0"),
        ("on the CPU (--cuda cpu)", "cpu"),
    ]


@pytest.mark.parametrize(
    ("gpus", "driver", "does"),
    [
        (["RTX 5090"], "535", "570.26"),
        (["RTX 3090"], "470", "525.60.13"),
        (["H100"], "520", "525.60.13"),
        (["P100"], "535", None),  # no driver helps: no code
        (["RTX 2080", "RTX 5090"], "550.54.15", "570.26"),
    ],
)
def test_it_says_which_driver_would_do(gpus: list[str], driver: str, does: str | None) -> None:
    answer = ask(DEFAULTS, *gpus, driver=driver)
    assert answer.best is None and choose.driver_that_does(answer) == does
    said = text(answer)
    assert "nothing was pulled" in said and "docker pull" not in said
    if does:
        assert f"driver {does} or newer: {REPOSITORY}:" in said
        assert best(ask(DEFAULTS, *gpus, driver=does)) is not None
    else:
        assert "no driver helps" in said and 'cuda: "12.6"' in said, "and what could be built"


def test_wishes() -> None:
    assert best(ask(WIDE, "A100", driver="580", python="3.11")) == "2.8.0-cu128-py311"
    assert best(ask(WIDE, "A100", driver="580", torch="2.8")) == "2.8.0-cu128-py311"
    assert best(ask(WIDE, "A100", driver="580", torch="2.8", cuda="cpu")) == "2.8.0-cpu-py311"
    assert best(ask(WIDE, "A100", driver="580", profile="gpt-sovits")) == "2.8.0-cu128-py311"
    answer = ask(WIDE, "A100", driver="580", python="3.10", torch="2.8")
    assert answer.best is None
    assert [one.change for one in answer.instead] == ["another Python"]
    both = ask(DEFAULTS, "RTX 5090", driver="535", python="3.10")
    assert [one.change for one in both.instead] == ["another Python, and driver 570.26 or newer"]


def test_what_is_not_healthy_or_not_for_this_cpu_is_not_offered() -> None:
    tag = "2.8.0-cu128-py311-ubuntu22.04"
    for verdict, failed in (("unhealthy", 1), ("inconclusive", 0)):
        worse = changed(DEFAULTS, tag, verdict=verdict, failed=failed)
        answer = ask(worse, "RTX 5090", driver="570")
        assert answer.best is None and verdict in text(answer)
    arm = catalog(image("2.11.0", "13.0", "3.12", "aarch64"), *DEFAULTS.images)
    assert best(ask(arm, "GH200", driver="580")) == "2.11.0-cu130-py312-aarch64"
    assert best(ask(arm, "H100", driver="580")) == "2.14.1-cu130-py313"
    assert ask(DEFAULTS, arch="aarch64").best is None


def test_what_ran_on_a_gpu_goes_first_among_equals() -> None:
    here, there = image("2.8.0", "12.8", "3.11"), image("2.8.0", "12.8", "3.11")
    there = replace(there, tag="other", tags=("other",), digest="sha256:" + "0" * 64, gpu_checked=True, skipped_gpu=0)
    for images in ((here, there), (there, here)):
        answer = ask(catalog(*images), "A100", driver="580")
        assert answer.best and answer.best.image == there and "on a GPU too" in text(answer)
    newer = catalog(there, image("2.14.1", "13.0", "3.13"))
    assert best(ask(newer, "A100", driver="580")) == "2.14.1-cu130-py313"


def test_ptx_needs_the_driver_of_its_own_toolkit() -> None:
    """PTX of CUDA 12.8 is compiled by the drivers of 12.8 and later, whatever CUDA 12's lowest is."""
    only = catalog(replace(image("2.8.0", "12.8", "3.11"), sm=("8.0", "9.0+PTX")))
    answer = ask(only, "RTX 5090", driver="570.124.06")
    assert best(answer) and "from PTX" in text(answer)
    assert choose.driver_that_does(ask(only, "RTX 5090", driver="570.26")) == "570.124.06"
    assert ask(only, "A100", driver="525").best, "machine code needs no compiler"


def test_a_catalog_cannot_lower_what_a_cuda_needs() -> None:
    low = catalog(replace(image("2.14.1", "13.0", "3.13"), min_driver="100.1"))
    assert ask(low, "A100", driver="535").best is None
    assert choose.driver_that_does(ask(low, "A100", driver="535")) == "580.65.06"
    unknown = catalog(replace(image("2.14.1", "13.0", "3.13"), cuda="14.0", min_driver="620.1"))
    assert ask(unknown, "A100", driver="610").best is None and ask(unknown, "A100", driver="620.2").best


def test_nobody_verified_what_it_has_code_for() -> None:
    blank = catalog(replace(image("2.14.1", "13.0", "3.13"), sm=()))
    assert ask(blank, "A100", driver="580").best is None
    assert ask(blank).best


def test_an_empty_catalog() -> None:
    answer = ask(catalog(), "A100", driver="580")
    assert answer.best is None and "is empty" in text(answer)


# ---- the machine --------------------------------------------------------------------------------------------------

HOST = Host("570.86.10", (Gpu("NVIDIA GeForce RTX 5090", "12.0"), Gpu("Tesla T4", None)))


def test_the_host_and_what_overrides_it() -> None:
    there = choose.machine(HOST)
    assert [card.sm for card in there.cards] == ["12.0", "7.5"] and there.driver == "570.86.10"
    assert choose.machine(HOST, driver="580").driver == "580"
    other = choose.machine(HOST, ["A100"])
    assert [card.sm for card in other.cards] == ["8.0"] and other.driver == "570.86.10"
    assert choose.machine(HOST, ["GH200"], "580").arch == "aarch64"
    none = choose.machine(HOST, ["none"])
    assert not none.gpu and none.driver is None
    assert choose.machine(Host(how="nvidia-smi ended with 9")).told == "nvidia-smi ended with 9"
    twins = choose.machine(Host("570", (Gpu("NVIDIA H100", "9.0"),) * 8))
    assert len(twins.cards) == 1
    for gpus, driver in ((["none", "A100"], None), (["none"], "570")):
        with pytest.raises(TorchpairError):
            choose.machine(HOST, gpus, driver)
    with pytest.raises(TorchpairError, match="compute capability"):
        choose.machine(Host("390.1", (Gpu("Riva 128", None),)))


# ---- every card on every driver -----------------------------------------------------------------------------------

SMS = sorted({gpu.sm for gpu in source.load().gpus.values()} | {"3.7", "5.0", "8.7", "11.0", "12.1"}, key=Version)
DRIVERS = ("390", "450", "470", "515", "520", "525", "535", "550", "560", "570", "575", "580", "590", "595", "610")
# The CUDA of the best image of WIDE by the first branch on which it runs, written down by hand from NVIDIA's tables:
# code in the wheel (2.1.0 on 11.8: 3.7 to 9.0; 2.5.1 on 12.4 and 2.14.1 on 12.6: 5.0 to 9.0; 2.8.0 on 12.8: 7.0 to
# 12.0; 2.14.1 on 13.0: 7.5 to 12.0), CUDA 11 from 450, 12 from 525, 13 from 580; 8.9 and 9.0 from 520; 10.0 and 12.0
# from 570; 10.3 and 12.1 from 575; 11.0 has no code in any.
OLD = [("450", "11.8"), ("525", "12.6")]
NEW = ("580", "13.0")
TABLE: dict[str, list[tuple[str, str]]] = {
    "3.7": [("450", "11.8")],
    **dict.fromkeys(("5.0", "5.2", "6.0", "6.1", "7.0"), OLD),
    **{sm: [*OLD, NEW] for sm in ("7.5", "8.0", "8.6", "8.7")},
    **{sm: [("520", "11.8"), ("525", "12.6"), NEW] for sm in ("8.9", "9.0")},
    **{sm: [("570", "12.8"), NEW] for sm in ("10.0", "12.0")},
    **{sm: [("575", "12.8"), NEW] for sm in ("10.3", "12.1")},
    "11.0": [],
}


def test_the_table_has_every_card() -> None:
    assert set(SMS) == TABLE.keys()


@pytest.mark.parametrize(("sm", "driver"), [*product(SMS, DRIVERS)])
def test_table(sm: str, driver: str) -> None:
    wanted = [cuda for since, cuda in TABLE[sm] if int(driver) >= int(since)]
    answer = ask(WIDE, sm, driver=driver)
    assert (answer.best.image.cuda if answer.best else None) == (wanted[-1] if wanted else None)
    if not wanted:
        assert choose.driver_that_does(answer) == next(
            (one for one in ["450.80.02", "520.61.05", "525.60.13", "570.26", "575.51.03"] if TABLE[sm]
             and one.startswith(TABLE[sm][0][0])), None,
        )  # fmt: skip


# ---- whatever is there --------------------------------------------------------------------------------------------

GPUS = st.lists(st.sampled_from(SMS), max_size=3, unique=True)
PYTHONS = st.sampled_from([None, "3.10", "3.11", "3.12", "3.13"])


@settings(max_examples=150, deadline=None)
@given(GPUS, st.sampled_from([None, *DRIVERS]), PYTHONS, st.sampled_from([None, "cpu", "12.8"]), st.data())
def test_whatever_is_asked(
    gpus: list[str], driver: str | None, python: str | None, cuda: str | None, data: st.DataObject
) -> None:
    images = data.draw(st.lists(st.sampled_from(WIDE.images), unique=True))
    offer = catalog(*images)
    there = machine(*gpus, driver=driver)
    answer = choose.choose(offer, there, Wish(python=python, cuda=cuda), FACTS)
    assert {one.image for one in answer.fitting} | {one for one, _ in answer.refused} == set(images)
    for choice in answer.fitting:
        one = choice.image
        assert python in (None, one.python) and cuda in (None, one.cuda)
        assert all(search.covered(one, sm, FACTS) for sm in gpus) or one.cuda == "cpu"
        if driver and choice.driver and one.cuda != "cpu":
            assert int(driver) >= int(choice.driver.split(".")[0])
        if there.gpu and cuda != "cpu":
            assert one.cuda != "cpu"
    for _, against in answer.refused:
        assert against and all(one.text for one in against)
    # A newer driver takes nothing away, another card never adds anything.
    if driver:
        newer = choose.choose(offer, replace(there, driver="999"), Wish(python=python, cuda=cuda), FACTS)
        assert {c.image for c in answer.fitting} <= {c.image for c in newer.fitting}
    if gpus and (len(gpus) > 1 or driver):
        fewer = choose.choose(offer, replace(there, cards=there.cards[1:]), Wish(python=python, cuda=cuda), FACTS)
        assert {c.image for c in answer.fitting} <= {c.image for c in fewer.fitting}
    if does := choose.driver_that_does(answer):
        mended = choose.choose(offer, replace(there, driver=does), Wish(python=python, cuda=cuda), FACTS)
        assert mended.best
    json.dumps(advice.to_json(answer))
    assert text(answer)


# ---- the command --------------------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "catalog.json"
    path.write_text(WIDE.text(), encoding="utf-8")
    return path


def test_the_command(file: Path) -> None:
    done = run("choose", "--catalog", file, "--gpu", "RTX 5090", "--driver", "570")
    assert done.code == 0 and done.err == ""
    wanted = next(one for one in WIDE.images if one.cuda == "12.8")
    assert f"docker pull {REPOSITORY}@{wanted.digest}" in done.out
    done = run("choose", "--catalog", file, "--gpu", "RTX 5090", "--driver", "535", "--json")
    said = json.loads(done.out)
    assert done.code == 2 and said["ok"] is False and said["driver_that_does"] == "570.26"
    done = run("choose", "--catalog", file, "--gpu", "none", "--json")
    assert done.code == 0 and json.loads(done.out)["best"]["cuda"] == "cpu"


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--gpu", "Voodoo 2"], "no GPU 'Voodoo 2' is known"),
        (["--driver", "new"], "--driver 'new'"),
        (["--torch", "newest"], "--torch 'newest'"),
        (["--cuda", "12"], "--cuda '12'"),
        (["--gpu", "none", "--driver", "570"], "--gpu none"),
    ],
)
def test_what_is_not_allowed(file: Path, arguments: list[str], word: str) -> None:
    done = run("choose", "--catalog", file, *arguments)
    one_message(done)
    assert word in done.err


def smi(folder: Path, monkeypatch: pytest.MonkeyPatch, said: str, code: int = 0) -> None:
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\ncat <<'SAID'\n{said}\nSAID\nexit {code}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_it_asks_nvidia_smi(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two = "NVIDIA GeForce RTX 5090, 12.0, 570.124.06\nTesla T4, 7.5, 570.124.06"
    smi(tmp_path, monkeypatch, two)
    done = run("choose", "--catalog", file, "--json")
    said = json.loads(done.out)
    assert done.code == 0 and said["best"]["cuda"] == "12.8"
    assert [gpu["sm"] for gpu in said["machine"]["gpus"]] == ["12.0", "7.5"]
    assert json.loads(run("choose", "--catalog", file, "--json", "--driver", "580").out)["best"]["cuda"] == "13.0"
    # An old driver does not tell the compute capability: the name does.
    smi(tmp_path, monkeypatch, "Tesla P100-PCIE-16GB, [N/A], 535.54.03")
    assert json.loads(run("choose", "--catalog", file, "--json").out)["best"]["cuda"] == "12.6"
    smi(tmp_path, monkeypatch, "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.", 9)
    done = run("choose", "--catalog", file)
    assert done.code == 0 and "no GPU" in done.out and "nvidia-smi ended with 9" in done.out


def test_a_catalog_that_is_none(tmp_path: Path) -> None:
    for text_of_it in ("{", "[]", '{"schema": "torchpair.catalog/2"}'):
        (tmp_path / "c.json").write_text(text_of_it)
        one_message(run("choose", "--catalog", tmp_path / "c.json"))
    one_message(run("choose", "--catalog", tmp_path / "nothing.json"))
    one_message(run("choose", "--catalog", "ftp://registry.example/catalog.json"))
    assert some().images == ()
