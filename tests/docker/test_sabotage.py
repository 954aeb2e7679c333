"""A few broken environments, each caught by its cause; `make sabotage` has them all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from docker import DockerClient

from tests.sabotage.cases import BROKEN, SMOKE, Case
from tests.sabotage.made import examine, image
from torchpair import diagnose, doctor
from torchpair.engine import Engine

from .conftest import EIGHT, torchpair

CASES = {case.name: case for case in BROKEN}
pytestmark = pytest.mark.usefixtures("images", "nothing_left")


@pytest.fixture(scope="module")
def probe() -> Iterator[tuple[Path, str]]:
    with doctor.packed() as packed:
        yield packed


@pytest.mark.parametrize("case", [CASES[name] for name in SMOKE], ids=SMOKE)
def test_the_cause_is_named(engine: Engine, client: DockerClient, probe: tuple[Path, str], case: Case) -> None:
    report = examine(engine, client, case, "smoke", *probe)
    assert report.verdict == "unhealthy"
    assert [cause.id for cause in diagnose.causes(report, case.host)][:1] == [case.cause]


def test_doctor_of_a_broken_image(client: DockerClient, engine: Engine, tmp_path: Path) -> None:
    with image(client, CASES["torchaudio 2.7.1 beside torch 2.8.0"], "doctor") as reference:
        done = torchpair("doctor", reference, cwd=tmp_path)
    assert done.code == 1, done.err
    assert "Cause: This torchaudio is for another torch [wrong-torchaudio]" in done.out
    assert "pip install torch==2.8.0 torchaudio==2.8.0" in done.out
    assert not (tmp_path / "reports").exists() and not (tmp_path / "build").exists()


def test_doctor_of_a_good_row() -> None:
    done = torchpair("doctor", "--json", EIGHT)
    answer: dict[str, Any] = json.loads(done.out)
    assert (done.code, answer["verdict"]) == (0, "healthy"), done.out
    if not answer["host"]["gpus"]:
        assert answer["causes"] == []
