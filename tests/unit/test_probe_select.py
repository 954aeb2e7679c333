"""Which checks run: profiles, groups, files, the quick ones; and that every check says what a report can hold."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from torchpair.probe import registry, runner, select
from torchpair.probe.select import CHECKS, IDS, PROFILES, QUICK, SelectionError, choose
from torchpair.report import CheckResult, accepted, check_from_json

ISSUE = ["pair", "io", "dsp", "cuda", "runtime", "sovits"]


def test_profiles_grow_and_the_quick_ones_are_part_of_them() -> None:
    assert len(set(IDS)) == len(IDS) == len(registry.REGISTRY)
    assert set(PROFILES["core"]) < set(PROFILES["gpt-sovits"]) == set(IDS)
    assert set(QUICK) < set(PROFILES["core"])
    assert {name.split(".")[0] for name in IDS} == set(ISSUE)
    assert not [name for name in PROFILES["core"] if "sovits" in name]
    assert PROFILES["core"][0] == "pair.import"


def test_what_is_chosen_comes_in_the_order_in_which_it_runs() -> None:
    assert choose() == choose("core") == PROFILES["core"]
    assert choose(quick=True) == QUICK == [name for name in IDS if name in QUICK]
    assert choose(only="io.mp3, pair.import") == ["pair.import", "io.mp3"]
    assert choose(only="io") == [name for name in IDS if name.startswith("io.")]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"only": "dsp.lfitler"}, "did you mean dsp.lfilter"),
        ({"only": " , "}, "no check is named"),
        ({"profile": "gpt-sovit"}, "gpt-sovit is no profile"),
        ({"profile": "core", "quick": True}, "exclude each other"),
    ],
)
def test_a_wrong_choice_is_explained(options: dict[str, str], said: str) -> None:
    with pytest.raises(SelectionError, match=said):
        choose(**options)  # type: ignore[arg-type]


def test_a_file_lists_checks(tmp_path: Path) -> None:
    file = tmp_path / "mine"
    for text in ('["io.mp3", "pair.import"]', "# mine\nio.mp3  # a format\n\npair.import\n"):
        file.write_text(text)
        assert choose(str(file)) == ["pair.import", "io.mp3"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no check is named"),
        ("[", "not JSON"),
        ("{}", "a list of checks is expected"),
        ("[1]", "a list of checks is expected"),
        ("[]", "no check is named"),
        ("io.mp4\n", "did you mean io.mp3|did you mean io.m4a"),
    ],
)
def test_a_wrong_file_is_explained(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "mine"
    file.write_text(text)
    with pytest.raises(SelectionError, match=said) as raised:
        choose(str(file))
    assert str(file) in str(raised.value)


def test_a_file_that_is_no_text_is_explained(tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(b"\xff\xfe")
    with pytest.raises(SelectionError, match="not text"):
        choose(str(tmp_path / "mine"))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.id)
def test_what_a_check_says_of_itself_fits_into_a_report(check: registry.Check) -> None:
    entry = {"id": check.id, "purpose": check.purpose, "limit": runner.clean(check.limit), "unit": check.unit}
    entry.update(status="pass", measured=None, seconds=0.0, reason="", needs=None)
    assert check_from_json(json.loads(json.dumps(entry))).id == check.id
    assert check.purpose.endswith(".") and check.limit not in (None, "", {})


def test_inside_and_on_the_host_the_same_skips_are_harmless() -> None:
    def skip(needs: str) -> CheckResult:
        return CheckResult("a.b", "p.", "skip", None, None, None, 0.0, None, needs)

    harmless = [*registry.HARMLESS, "torchaudio<2.9", "torchaudio>=2.1"]
    for needs in [*harmless, "gpu", "cuda-build", "import", "known-format", "writable-temp", "nonsense"]:
        for gpu in ("auto", "require", "off"):
            fine = accepted(skip(needs), gpu)
            assert fine is (needs in harmless or (needs in registry.GPU_NEEDS and gpu != "require"))
            entries = [{"status": "pass"}, {"status": "skip", "needs": needs}]
            assert runner.exit_code({"gpu": gpu, "checks": entries}) == (0 if fine else 3)


def test_every_word_that_a_skip_says_is_in_the_package_docstring() -> None:
    package = __import__("torchpair.probe", fromlist=["__doc__"])
    words = {*registry.HARMLESS, *registry.GPU_NEEDS, "import", "known-format", "writable-temp"}
    for needs in words:
        assert f"    {needs} " in str(package.__doc__)
    source = "".join(path.read_text() for path in Path(select.__file__).parent.glob("*.py"))
    said = set(re.findall(r'Skip\(\s*"([^"]+)"', source))
    assert said == {*words, "torchaudio>=2.1", "torchaudio<2.9"}
