"""What could be built instead, and what fits a GPU and a driver."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.version import Version

from torchpair import facts as facts_data
from torchpair import search, source
from torchpair.compat.gpus import serves
from torchpair.errors import TorchpairError
from torchpair.facts import Facts
from torchpair.matrix import Row
from torchpair.neighbours import Option, nearest
from torchpair.resolve import resolve
from torchpair.search import Wish
from torchpair.spec import Spec

MakeRow = Callable[[str], Row]
FACTS = facts_data.load()


def cuda_of(spec: Spec) -> Version:
    return Version(spec.cuda)


# ---- every combination --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arch", "base", "least"),
    [("x86_64", "nvidia", 480), ("x86_64", "local", 140), ("aarch64", "nvidia", 160), ("aarch64", "local", 45)],
)
def test_every_combination(facts: Facts, arch: str, base: str, least: int) -> None:
    found = search.satisfiable(facts, arch, base)
    assert len(found) >= least
    assert len({(s.torch, s.cuda, s.python) for s in found}) == len({s.tag for s in found}) == len(found)
    for spec in found:
        assert spec.arch == arch and spec.base == base and not spec.recipes and not spec.broken
        assert resolve(spec.row, facts, base) == spec
    assert search.satisfiable(facts, arch, base) is found, "asked for again and again: kept"


def test_nothing_that_resolves_is_left_out(facts: Facts) -> None:
    """Every torch that the facts describe has a combination, on either CPU."""
    # No torchcodec of 2.9 and 2.10 was made for aarch64: torchaudio could not read a file there.
    for arch, without in (("x86_64", {"2.15.0"}), ("aarch64", {"2.15.0", "2.9.0", "2.9.1", "2.10.0"})):
        assert {s.torch for s in search.satisfiable(facts, arch)} == facts.torch.keys() - without
        assert {s.cuda for s in search.satisfiable(facts, arch)} >= {"cpu", "12.6", "12.8", "13.0"}


# ---- the nearest --------------------------------------------------------------------------------------------------

Names = list[tuple[str, str, str, str]]


def near(row: Row, facts: Facts, base: str = "nvidia", most: int = 3) -> list[Option]:
    """The nearest, after what holds for each of them."""
    options = nearest(row, facts, base, most)
    assert 0 < len(options) <= most
    for option in options:
        where = row.base if row.base in ("nvidia", "local") else base
        assert resolve(option.spec.row, facts, where) == option.spec
        assert option.changes and option.distance > 0
    assert all(a.distance <= b.distance for a, b in pairwise(options)), "best first"
    assert len({(o.spec.torch, o.spec.cuda) for o in options}) == len(options)
    return options


def short(options: list[Option]) -> Names:
    return [(o.spec.torch, o.spec.cuda, o.spec.python, o.spec.torchaudio_from) for o in options]


def test_the_newest_torch_and_its_cuda(row: MakeRow, facts: Facts) -> None:
    """torchaudio compiled first or second, and the newest torch that a wheel fits."""
    found = short(near(row('torch: "2.15.0", cuda: "13.2", python: "3.12"'), facts))
    assert ("2.15.0", "13.2", "3.12", "source") in found[:2]
    assert ("2.14.1", "13.0", "3.12", "wheel") in found[:2]


def test_the_newest_torch_on_a_python_that_it_has_not(row: MakeRow, facts: Facts) -> None:
    found = short(near(row('torch: "2.15.0", cuda: "13.2", python: "3.10"'), facts))
    assert found[0] == ("2.14.1", "13.0", "3.10", "wheel")
    assert all(origin == "wheel" for *_, origin in found), (
        "torch itself has no wheel for it: nothing to compile against"
    )


@pytest.mark.parametrize(
    ("text", "first", "also"),
    [
        ('torch: "2.8.0", cuda: "12.4", python: "3.11"', ("2.8.0", "12.8", "3.11"), ("2.8.0", "12.6", "3.11")),
        ('torch: "2.5.1", cuda: "12.4", python: "3.13"', ("2.6.0", "12.4", "3.13"), ("2.5.1", "12.4", "3.12")),
        ('torch: "2.8.0", cuda: "12.8", python: "3.14"', ("2.9.1", "12.8", "3.14"), ("2.8.0", "12.8", "3.13")),
        ('torch: "2.8.9", cuda: "12.8", python: "3.11"', ("2.8.0", "12.8", "3.11"), None),
        ('torch: "2.99.0", cuda: "13.0", python: "3.13"', ("2.14.1", "13.0", "3.13"), None),
        ('torch: "1.13.1", cuda: "11.8", python: "3.10"', ("2.0.1", "11.8", "3.10"), ("2.0.0", "11.8", "3.10")),
        ('torch: "9.9.9", cuda: "13.0", python: "3.12"', ("2.14.1", "13.0", "3.12"), None),
        ('torch: "2.8.0", cuda: "99.9", python: "3.11"', ("2.8.0", "12.8", "3.11"), None),
        ('torch: "2.14.1", cuda: "12.8", python: "3.13"', ("2.14.1", "13.0", "3.13"), None),
    ],
)
def test_the_nearest_is_the_smallest_change(
    row: MakeRow, facts: Facts, text: str, first: tuple[str, str, str], also: tuple[str, str, str] | None
) -> None:
    found = [names[:3] for names in short(near(row(text), facts))]
    if text.startswith('torch: "2.14.1"'):
        assert found[0] in (first, ("2.14.1", "12.6", "3.13")), "the same torch on the nearest CUDA"
    else:
        assert found[0] == first
    assert also is None or also in found


def test_a_gpu_that_the_wheel_has_no_code_for(row: MakeRow, facts: Facts) -> None:
    wanted = row('torch: "2.1.0", cuda: "12.1", python: "3.11", sm: "12.0"')
    for option in near(wanted, facts, most=50):
        assert cuda_of(option.spec) >= Version("12.8"), "no CUDA before knows the GPU"
        assert search.covered(option.spec, "12.0", facts)


@pytest.mark.parametrize(
    ("sm", "changes"),
    [
        ('["6.1", "12.0"]', "compile torch"),  # Pascal and Blackwell: no wheel has both, CUDA 12.8 knows both
        ('"3.5"', "compile torch"),
        ('["3.5", "12.0"]', "no code for 3.5"),  # no CUDA at all knows both
        ('["3.5", "8.0", "12.0"]', "no code for 3.5"),
    ],
)
def test_gpus_that_no_wheel_serves(row: MakeRow, facts: Facts, sm: str, changes: str) -> None:
    wanted = row(f'torch: "2.8.0", cuda: "12.8", python: "3.11", sm: {sm}')
    first, *_ = near(wanted, facts)
    assert first.changes[0] == changes
    assert set(first.spec.sm or ()) >= ({"12.0"} if "12.0" in wanted.sm else set())


def test_on_the_local_base_its_own_pythons(row: MakeRow, facts: Facts) -> None:
    wanted = row('torch: "2.8.0", cuda: "12.8", python: "3.12"')
    for options in (near(wanted, facts, "local"), near(replace(wanted, base="local"), facts, "nvidia")):
        assert {o.spec.base for o in options} == {"local"}
        assert short(options)[0][:2] == ("2.8.0", "12.8")


def test_what_changes_is_said(row: MakeRow, facts: Facts) -> None:
    (option,) = near(row('torch: "2.15.0", cuda: "13.2", python: "3.10"'), facts, most=1)
    assert option.changes == ("torch 2.14.1 instead of 2.15.0", "cuda 13.0 instead of 13.2")


# ---- what fits a machine ------------------------------------------------------------------------------------------


def solved(facts: Facts, *gpus: str, **more: str) -> list[Spec]:
    """What fits, after what holds for each."""
    known = [search.gpu(text) for text in gpus]
    arch = next((own for _, own in known if own), "x86_64")
    wish = Wish(tuple(sm for sm, _ in known), arch=arch, **more)
    found = search.solve(wish, facts)
    for spec in found:
        assert spec.arch == arch and not spec.recipes
        assert spec.python == (wish.python or spec.python)
        for sm in wish.sm:
            assert search.covered(spec, sm, facts) or wish.cuda == "cpu"
    return found


def test_gpt_sovits_on_an_rtx_5090(facts: Facts) -> None:
    found = solved(facts, "RTX 5090", driver="570", python="3.11", profile="gpt-sovits")
    assert (found[0].torch, found[0].cuda, found[0].python) == ("2.8.0", "12.8", "3.11")
    assert {s.torch for s in found} <= set(search.GPT_SOVITS)
    assert all(Version("12.8") <= cuda_of(s) < Version("13") for s in found), "CUDA 13 needs driver 580"


def test_a_t4_on_driver_535(facts: Facts) -> None:
    found = solved(facts, "Tesla T4", driver="535")
    assert len(found) == 5 and all(Version("11") < cuda_of(s) < Version("13") for s in found)
    assert found[0].torch == max((s.torch for s in found), key=Version), "the newest torch first"


def test_an_h100_on_driver_525(facts: Facts) -> None:
    found = solved(facts, "H100", driver="525")
    assert found and all(s.min_driver in ("525.60.13", "450.80.02") for s in found)
    older = solved(facts, "H100", driver="525.60.12")
    assert older and {s.cuda for s in older} == {"11.8"}, "one patch less than CUDA 12 asks for"
    assert search.solve(Wish(("9.0",), driver="515"), facts) == [], "driver 520 is the first that knows the H100"


@pytest.mark.parametrize("name", ["Pascal", "GTX 1080 Ti", "P100", "P40"])
def test_pascal_never_gets_cuda_13(facts: Facts, name: str) -> None:
    found = solved(facts, name)
    sm, _ = search.gpu(name)
    assert len(found) == 5 and all(cuda_of(s) < Version("13") for s in found)
    assert all(any(code.startswith("6.") and Version(code) <= Version(sm) for code in s.sm or ()) for s in found)
    assert solved(facts, name, cuda="13.0") == []


def test_a_gb10(facts: Facts) -> None:
    found = solved(facts, "NVIDIA GB10")
    assert found and {s.arch for s in found} == {"aarch64"}
    assert all(cuda_of(s).major == 13 and any(code.startswith("12.") for code in s.sm or ()) for s in found)


def test_a_t4g_is_compiled_for(facts: Facts) -> None:
    assert solved(facts, "T4G") == []
    (spec, changed), *others = search.relaxed(Wish(("7.5",), arch="aarch64"), facts, "nvidia")
    assert not others and changed == ("torch and torchaudio compiled from source",)
    assert (spec.torch_from, spec.torchaudio_from, spec.sm, spec.arch) == ("source", "source", ("7.5",), "aarch64")
    (spec, changed), *_ = search.relaxed(Wish(("7.5",), driver="535", arch="aarch64"), facts, "nvidia")
    assert cuda_of(spec).major == 12 and len(changed) == 1, "a CUDA that the driver runs, where there is one"
    (spec, changed), *_ = search.relaxed(Wish(("7.5",), driver="400", arch="aarch64"), facts, "nvidia")
    assert changed[1].startswith("driver ") and changed[1].endswith(" or newer")
    (spec, _), *_ = search.relaxed(Wish(("7.5",), arch="aarch64"), facts, "local")
    assert (spec.cuda, spec.base) == ("cpu", "local"), "Debian has no cuDNN and no NCCL to compile torch with"


def test_two_gpus_at_once(facts: Facts) -> None:
    found = solved(facts, "P100", "H100")
    assert found and all({"6.0", "9.0"} <= set(s.sm or ()) for s in found)
    assert solved(facts, "P100", "RTX 5090") == []


def test_driver_450(facts: Facts) -> None:
    found = solved(facts, driver="450")
    assert found and all(cuda_of(s).major == 11 for s in found)
    assert solved(facts, driver="449") == []


def test_no_gpu_at_all(facts: Facts) -> None:
    found = solved(facts)
    assert (found[0].torch, found[0].cuda, found[0].index) == ("2.14.1", "13.0", "pypi")
    cpu = solved(facts, cuda="cpu")
    assert cpu and {s.cuda for s in cpu} == {"cpu"} and {s.min_driver for s in cpu} == {None}
    assert [s.tag for s in solved(facts, "T4", driver="535", cuda="cpu")] == [s.tag for s in cpu], (
        "the GPU stays unused"
    )
    assert all(s.cuda != "cpu" for s in solved(facts, driver="535"))


def test_a_combination_that_nobody_verified_is_never_promised(facts: Facts) -> None:
    unknown = [s for s in search.satisfiable(facts) if s.sm is None]
    assert unknown and not any(search.covered(s, "8.0", facts) for s in unknown)


def find(facts: Facts, torch: str, cuda: str) -> Spec:
    return next(s for s in search.satisfiable(facts) if (s.torch, s.cuda) == (torch, cuda))


@pytest.mark.parametrize(
    ("torch", "cuda", "sms", "needed"),
    [
        ("2.8.0", "cpu", ("8.0",), None),
        ("2.8.0", "12.8", (), "525.60.13"),
        ("2.8.0", "12.8", ("8.9",), "525.60.13"),  # code for 8.6 runs on it
        ("2.8.0", "12.8", ("12.0",), "570.26"),  # the first driver that knows the GPU
        ("2.8.0", "12.9", ("12.0",), "570.26"),  # "12.0+PTX" is machine code too
        ("2.8.0", "12.8", ("8.0", "12.0"), "570.26"),
        ("2.7.1", "12.8", ("13.0",), "570.124.06"),  # only PTX: the toolkit's own driver compiles it
        ("2.8.0", "12.9", ("13.0",), "575.57.08"),
        ("2.13.0", "13.0", ("13.0",), "580.95.05"),
        ("2.5.1", "11.8", ("9.0",), "520.61.05"),
        ("2.5.1", "11.8", ("8.0",), "450.80.02"),
    ],
)
def test_driver_needed(facts: Facts, torch: str, cuda: str, sms: tuple[str, ...], needed: str | None) -> None:
    assert search.driver_needed(find(facts, torch, cuda), sms, facts) == needed


@pytest.mark.parametrize(
    ("sm", "driver"), [("8.0", None), ("9.0", "520.61.05"), ("12.0", "570.26"), ("11.0", "580.65.06"), ("99.0", None)]
)
def test_driver_of_gpu(facts: Facts, sm: str, driver: str | None) -> None:
    assert search.driver_of_gpu(sm, facts) == driver


# ---- names of GPUs ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "sm", "arch"),
    [
        ("NVIDIA GeForce RTX 5090", "12.0", None),
        ("rtx5090", "12.0", None),
        ("RTX-4090 Laptop GPU", "8.9", None),
        ("RTX 50", "12.0", None),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "12.0", None),
        ("sm_120", "12.0", None),
        ("sm120", "12.0", None),
        ("SM 8.6", "8.6", None),
        ("12.0", "12.0", None),
        ("9.0", "9.0", None),
        ("sm_75", "7.5", None),
        ("H100 80GB", "9.0", None),
        ("NVIDIA A100-SXM4-80GB", "8.0", None),
        ("A10G", "8.6", None),
        ("A10", "8.6", None),
        ("L40S", "8.9", None),
        ("L4", "8.9", None),
        ("Tesla T4", "7.5", None),
        ("T4G", "7.5", "aarch64"),
        ("NVIDIA GH200 480GB", "9.0", "aarch64"),
        ("NVIDIA GB10", "12.1", "aarch64"),
        ("Tesla V100-SXM2-16GB", "7.0", None),
        ("GTX 1080 Ti", "6.1", None),
        ("GTX 970", "5.2", None),
        ("GTX 900", "5.2", None),
    ],
)
def test_gpu(text: str, sm: str, arch: str | None) -> None:
    assert search.gpu(text) == (sm, arch)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "5090",
        "86",
        "sm_9",
        "sm_",
        "sm_1.2.3",
        "1.2.3",
        "..",
        "sm_\u00b2\u00b2",
        "\u0663.\u0664",
        "Voodoo 2",
        "A1000",  # 8.6, and not an A100 (8.0)
        "NVIDIA RTX 5000 Ada Generation",  # 8.9, and not an RTX 50 (12.0)
        "Quadro RTX 5000",  # 7.5
        "RTX 2000 Ada",
        "Quadro RTX 3000",
        "Quadro P4000",
    ],
)
def test_a_gpu_that_is_not_known_is_never_taken_for_another(text: str) -> None:
    with pytest.raises(TorchpairError) as caught:
        search.gpu(text)
    assert "sm_86" in str(caught.value.remedy) and "RTX 50" in str(caught.value.why)


def test_every_gpu_of_the_table_goes_by_its_name() -> None:
    for name, gpu in source.load().gpus.items():
        assert search.gpu(name) == (gpu.sm, gpu.arch)


# ---- never nothing ------------------------------------------------------------------------------------------------

SMS = ["3.5", "5.2", "6.1", "7.5", "8.0", "8.9", "9.0", "10.3", "11.0", "12.0", "12.1", "99.0"]
WISHES = st.builds(
    Wish,
    sm=st.lists(st.sampled_from(SMS), max_size=3, unique=True).map(tuple),
    driver=st.none() | st.sampled_from(["100", "449.99", "450", "525.60.13", "535", "570", "580.65.06", "999"]),
    python=st.none() | st.sampled_from(["3.1", "3.8", "3.10", "3.11", "3.12", "3.13t", "3.14", "3.99"]),
    cuda=st.none() | st.sampled_from(["cpu", "11.7", "11.8", "12.1", "12.8", "13.0", "13.2", "99.9"]),
    arch=st.sampled_from(["x86_64", "aarch64"]),
    profile=st.none() | st.just("gpt-sovits"),
    torch=st.none() | st.sampled_from(["2.5", "2.8.0", "2.14", "2.14.1", "9.9"]),
)


@settings(max_examples=200, deadline=None)
@given(WISHES, st.sampled_from(["nvidia", "local"]))
def test_a_wish_is_answered(wish: Wish, base: str) -> None:
    found = search.solve(wish, FACTS, base)
    instead = [] if found else search.relaxed(wish, FACTS, base)
    assert found or instead
    for spec in [*found, *(spec for spec, _ in instead)]:
        assert resolve(spec.row, FACTS, base) == spec
        assert spec.arch == wish.arch
        assert spec not in found or wish.torch is None or spec.torch.startswith(wish.torch)
        if spec.cuda != "cpu" and wish.sm:
            assert all(serves(spec.sm or (), sm, spec.cuda, FACTS) for sm in wish.sm)
    for spec, changed in instead:
        assert changed
        needed = search.driver_needed(spec, wish.sm, FACTS)
        if needed and wish.driver and Version(wish.driver) < Version(needed.split(".")[0]):
            assert f"driver {needed} or newer" in changed
    text = search.words(wish, found, instead, FACTS)
    assert text[0].startswith("asked: ") and text[-1].startswith("  - {torch: ")
