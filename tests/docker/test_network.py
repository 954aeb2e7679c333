"""An index whose answers are cut short, and a real build that outlives it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.index import Index
from torchpair import base as bases
from torchpair import buildx, plan
from torchpair.build import ca_bundle
from torchpair.engine import Engine
from torchpair.progress import Silent
from torchpair.workspace import Workspace

from .conftest import FOURTEEN, ROOT


class Heard(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    index = Index(tmp_path, 1)
    yield index
    index.close()


def audio(engine: Engine, index: Index, log: Path, heard: Heard) -> tuple[int, buildx.Steps]:
    """Build the stage that uv fetches torchaudio in. The index's address is new, so no cache has it."""
    workspace = Workspace(ROOT / "matrix.yaml")
    workspace.write_rendered()
    workspace.uv()
    workspace.probe()
    (spec,) = workspace.specs(workspace.choose([FOURTEEN]), "local")
    for distro in {spec.tools_distro, spec.distro}:
        bases.ensure_local(engine, distro, print)
    arguments, context = plan.build(spec)
    argv = [*engine.buildx, "build", "--progress", "rawjson", *arguments, "--target", "audio"]
    argv += ["--output", "type=cacheonly", "--network", "host", "--build-arg", f"PYPI_INDEX={index.url}/simple"]
    argv += ["--secret", f"id=ca,src={bundle}"] if (bundle := ca_bundle()) else []
    steps = buildx.Steps(spec.name, heard)
    return buildx.call(engine, [*argv, context], log, steps, ROOT), steps


def test_a_file_that_is_cut_short_is_fetched_again(
    engine: Engine, index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buildx, "WAITS", (1.0, 1.0))
    heard = Heard()
    # As often as uv itself asks again; until the whole build is tried again.
    monkeypatch.setattr(index, "fault", lambda path: "truncate" if "torchaudio-" in path and not heard.lines else None)
    code, steps = audio(engine, index, tmp_path / "log", heard)
    assert (code, steps.failure) == (0, None), (tmp_path / "log").read_text()
    assert heard.lines == [f"{FOURTEEN}: the network failed; trying again in 1 s (2 of 3)"]


def test_a_file_that_was_swapped_is_not(
    engine: Engine, index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = Heard()
    monkeypatch.setattr(index, "fault", lambda path: "swap" if "torchaudio-" in path else None)
    code, steps = audio(engine, index, tmp_path / "log", heard)
    assert code and "torchaudio==2.11.0" in str(steps.failure)
    assert re.search("Bad CRC|Hash mismatch", str(steps.failure)), steps.failure
    assert not heard.lines
