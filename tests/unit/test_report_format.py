"""docs/report-format.md against the code that writes reports, and against a real one."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from torchpair import report as reports
from torchpair import strict_json
from torchpair.probe import environment
from torchpair.probe.context import Context
from torchpair.probe.registry import GPU_NEEDS, HARMLESS, harmless
from torchpair.report import CheckResult, Report, Spectrograms

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "report-format.md").read_text(encoding="utf-8")
SAMPLE = reports.load(DOCS / "report-sample.json")


def fields(heading: str) -> set[str]:
    """The names in the first column of the table below a heading."""
    table = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert cells
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def test_the_fields_of_a_report() -> None:
    assert fields("Top level") == set(SAMPLE.to_json())
    assert {field.name for field in dataclasses.fields(Report)} | {"schema", "verdict"} == fields("Top level")


def test_the_fields_of_a_check() -> None:
    assert fields("A check") == {name for check in SAMPLE.to_json()["checks"] for name in check}
    assert {field.name for field in dataclasses.fields(CheckResult)} == fields("A check")
    (line,) = (line for line in PAGE.splitlines() if line.startswith("| `spectrograms`"))
    assert all(f"`{field.name}`" in line for field in dataclasses.fields(Spectrograms))


def test_the_fields_of_an_environment() -> None:
    assert fields("The environment") == set(SAMPLE.environment)
    assert set(environment.describe(Context())) == set(SAMPLE.environment), "the probe of today says other things"


def test_the_words_of_a_skip() -> None:
    named = fields("What a skip lacked")
    harmless_words = {*HARMLESS, *GPU_NEEDS, "torchaudio>=X.Y", "torchaudio<X.Y"}
    package = Path(environment.__file__).parent
    text = "".join(path.read_text(encoding="utf-8") for path in package.glob("*.py"))
    host = (package.parent / "check.py").read_text(encoding="utf-8")
    used = {word.split("=")[0] for word in re.findall(r'\bSkip\(\s*"([a-z-]+)"', text)}
    used |= set(re.findall(r'_finished\("skip".*"([a-z]+)"\)', host))
    assert used and used <= named and harmless_words <= named
    for line in PAGE.split("\n## What a skip lacked\n")[1].split("\n## ")[0].splitlines():
        for word in re.findall(r"`([^`]+)`", line.split("|")[1]) if line.startswith("| `") else ():
            assert harmless(word, "auto") == line.split("|")[3].strip().startswith("left alone"), word
            assert harmless(word, "require") == (line.split("|")[3].strip() == "left alone"), word


@pytest.mark.parametrize("word", [*reports.STATUSES, *reports.GPU_MODES, "healthy", "unhealthy", "inconclusive"])
def test_every_value_is_named(word: str) -> None:
    assert f"`{word}`" in PAGE


def test_the_limits_are_those_of_the_reader() -> None:
    assert f"{strict_json.MAX_BYTES // 2**20} MiB" in PAGE and f"{strict_json.MAX_LOG:,} characters" in PAGE
    assert f"`{reports.SCHEMA}`" in PAGE
