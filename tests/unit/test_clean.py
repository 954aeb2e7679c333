"""What the matrix names no more, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import docker.errors
import published
import pytest
from click.testing import CliRunner

from torchpair import clean, cli
from torchpair import report as reports
from torchpair.engine import Engine
from torchpair.workspace import Workspace

ROW = '  - {torch: "2.8.0", cuda: "12.8", python: "3.11", default: true}\n'
KEPT = "torchpair:2.8.0-cu128-py311-debian12"


@dataclass
class Image:
    id: str
    tags: list[str]
    labels: dict[str, str]
    attrs: dict[str, Any] = field(default_factory=lambda: {"Size": 7})


@dataclass
class Images:
    """As docker-py has them, of an engine that refuses what a container holds."""

    held: list[Image]
    used: str = ""
    removed: list[str] = field(default_factory=list)

    def list(self, name: str | None = None, filters: dict[str, str] | None = None) -> list[Image]:
        if name:
            return [image for image in self.held if any(tag.startswith(f"{name}:") for tag in image.tags)]
        return [image for image in self.held if filters and filters["label"] in image.labels]

    def remove(self, place: str) -> None:
        if place == self.used:
            raise docker.errors.APIError("conflict", explanation="a container needs it")
        self.removed.append(place)


@pytest.fixture
def images(monkeypatch: pytest.MonkeyPatch) -> Images:
    row = {"torchpair.row": "x"}
    made = Images([
        Image("1", [KEPT], row), Image("2", ["torchpair:2.7.1-cu128-py311-debian12"], row), Image("3", [], row),
        Image("4", ["torchpair-gpt-sovits:api-2.7.1"], {**row, "torchpair.app": "gpt-sovits"}),
        Image("5", ["127.0.0.1:5000/torchpair:2.7.1"], row), Image("6", ["torchpair-base:debian12"], {}),
        Image("7", ["torchpair-base:ubuntu22.04"], {}), Image("8", ["debian:12"], {}),
    ])  # fmt: skip

    class Client:
        images = made

        def close(self) -> None: ...

        def df(self) -> dict[str, Any]:
            return {"BuildCache": [{"Size": 5}, {"Size": None}, {}]}

    monkeypatch.setattr(Engine, "client", lambda self, timeout=60: Client())
    monkeypatch.setattr("torchpair.engine.find", lambda builds=True: Engine("unix:///x", "26", None, ()))
    return made


@pytest.fixture
def folder(project: Callable[..., Workspace]) -> Path:
    """A row that is in the matrix, and one that was, each with a report, a log and a journal; and an image's report."""
    workspace = project(f"images:\n{ROW}")
    for row in ("torch2.8.0-cu128-py311", "torch2.7.1-cu128-py311", None):
        reports.save(
            replace(published.report(published.spec(), "sha256:1"), row=row, image=f"x:{row}"), workspace.reports
        )
    for row in ("torch2.8.0-cu128-py311", "torch2.7.1-cu128-py311"):
        workspace.journal.note(row, "built")
        for name in (f"{row}.log", f"{row}.sources.json"):
            (workspace.reports / "logs").mkdir(exist_ok=True)
            (workspace.reports / "logs" / name).write_text("")
    return workspace.folder


OLD_FILES = [
    "build/journal/torch2.7.1-cu128-py311.json",
    "reports/logs/torch2.7.1-cu128-py311.log",
    "reports/torch2.7.1-cu128-py311.json",
]


def call(folder: Path, *arguments: str) -> Any:
    return CliRunner().invoke(cli.cli, ["clean", "--matrix", str(folder / "matrix.yaml"), *arguments])


def test_found_is_what_no_row_stands_for(folder: Path, images: Images) -> None:
    found = clean.find(Workspace(folder / "matrix.yaml"), Engine("unix:///x", "26", None, ()))
    assert [one.place for one in found if one.kind == "image"] == ["torchpair:2.7.1-cu128-py311-debian12", "3"]
    assert [one.place for one in found if one.kind == "base"] == ["torchpair-base:ubuntu22.04"]
    assert sorted(one.name for one in found if one.kind == "file") == OLD_FILES


def test_shown_first_and_nothing_gone_without_a_yes(folder: Path, images: Images) -> None:
    before = sorted(folder.rglob("*"))
    for arguments in ((), ("--dry-run",), ("--dry-run", "--yes")):
        done = call(folder, *arguments)
        assert (
            done.exit_code == 0 and "torchpair-base:ubuntu22.04" in done.output and "Nothing was removed" in done.output
        )
    assert images.removed == [] and sorted(folder.rglob("*")) == before


def test_removed_with_a_yes(folder: Path, images: Images) -> None:
    done = call(folder, "--yes")
    assert done.exit_code == 0, done.output
    assert images.removed == ["torchpair:2.7.1-cu128-py311-debian12", "3", "torchpair-base:ubuntu22.04"]
    assert not any((folder / name).exists() for name in OLD_FILES)
    assert (folder / "reports/torch2.8.0-cu128-py311.json").exists()
    images.held = [image for image in images.held if image.id in "1468"]
    assert "Nothing to remove" in call(folder, "--yes").output


def test_what_a_container_needs_stays_and_is_named(folder: Path, images: Images) -> None:
    images.used = "3"
    done = call(folder, "--yes")
    assert done.exit_code == 1 and "a container needs it" in done.stderr


def test_a_wrong_matrix_removes_nothing(folder: Path, images: Images) -> None:
    (folder / "matrix.yaml").write_text("images: [")
    assert call(folder, "--yes").exception and images.removed == []
