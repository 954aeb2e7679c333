"""pair.compiled: whether torchaudio is the one that was compiled for this image."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from torchpair.probe import pair
from torchpair.probe.arch import Arch
from torchpair.probe.expect import ExpectationError, parse
from torchpair.probe.registry import Skip

VERSION = "2.6.0+cu124"


def targets(*names: str) -> list[Arch]:
    return [Arch(int(a), int(b), "", True, False) for a, b in (name.split(".") for name in names)]


def context(
    sm: list[str] | None, found: tuple[str, ...] | None, version: str = VERSION, installed: str = VERSION
) -> Any:
    return SimpleNamespace(
        expect=SimpleNamespace(compiled={"torchaudio": VERSION, "sm": sm}),
        torchaudio=SimpleNamespace(__version__=version),
        distributions=lambda: {"torchaudio": installed},
        audio_compiled=lambda: None if found is None else targets(*found),
        compiled=lambda: targets("8.0", "9.0"),
    )


@pytest.mark.parametrize(
    ("sm", "found", "version", "installed", "passed"),
    [
        (["8.0", "9.0"], ("8.0", "9.0"), VERSION, VERSION, True),
        (["9.0a", "8.0+PTX"], ("8.0", "9.0"), VERSION, VERSION, True),
        (None, ("8.0", "9.0"), VERSION, VERSION, True),
        ([], (), VERSION, VERSION, True),
        # the official wheel in its place: the same numbers, other architectures
        (["8.0", "9.0"], ("5.0", "8.0", "8.6", "9.0"), VERSION, VERSION, False),
        (["8.0", "9.0"], ("8.0",), VERSION, VERSION, False),
        ([], ("8.0",), VERSION, VERSION, False),
        (["8.0"], ("8.0",), "2.6.0+cu126", VERSION, False),
        (["8.0"], ("8.0",), VERSION, "2.6.0", False),
    ],
)
def test_the_version_and_the_architectures(
    sm: list[str] | None, found: tuple[str, ...], version: str, installed: str, passed: bool
) -> None:
    outcome = pair.compiled_here(context(sm, found, version, installed))
    assert outcome.passed is passed and bool(outcome.reason) is not passed


def test_what_cannot_be_read_is_no_pass() -> None:
    with pytest.raises(Skip) as caught:
        pair.compiled_here(context(["8.0"], None))
    assert caught.value.needs == "known-format"


def test_a_row_that_compiles_nothing_expects_nothing() -> None:
    with pytest.raises(Skip) as caught:
        pair.compiled_here(SimpleNamespace(expect=parse("{}")))
    assert caught.value.needs == "expectation"


@pytest.mark.parametrize(
    "compiled",
    ["x", {}, {"torchaudio": VERSION}, {"torchaudio": None, "sm": []}, {"torchaudio": VERSION, "sm": "8.0"},
     {"torchaudio": VERSION, "sm": ["eight"]}, {"torchaudio": VERSION, "sm": [8]},
     {"torchaudio": VERSION, "sm": [], "x": 1}],
)  # fmt: skip
def test_a_part_that_is_not_understood_is_refused(compiled: Any) -> None:
    with pytest.raises(ExpectationError, match="compiled"):
        parse(json.dumps({"compiled": compiled}))
