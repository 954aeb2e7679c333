"""What the unit tests share: rows and specs from one line of YAML, and folders with a matrix in them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from torchpair import facts as facts_data
from torchpair import fetch, matrix
from torchpair.facts import Facts
from torchpair.matrix import Row
from torchpair.resolve import resolve
from torchpair.spec import Spec
from torchpair.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def engine_of_this_machine() -> Iterator[None]:
    """A command sets DOCKER_HOST to the engine it found, a pretended one here: the tests in containers come after."""
    before = os.environ.get("DOCKER_HOST")
    yield
    os.environ.pop("DOCKER_HOST", None)
    if before is not None:
        os.environ["DOCKER_HOST"] = before


@pytest.fixture(autouse=True)
def no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What may pass is tried again at once; test_sources.py looks at the waits."""
    monkeypatch.setattr(fetch, "WAITS", (0.0, 0.0))


@pytest.fixture(scope="session")
def facts() -> Facts:
    return facts_data.load()


@pytest.fixture(scope="session")
def shipped() -> Workspace:
    """The checkout itself: matrix.yaml, locks/, dockerfiles/."""
    return Workspace(ROOT / "matrix.yaml")


@pytest.fixture(scope="session")
def row() -> Callable[[str], Row]:
    """`row('torch: "2.8.0", cuda: "12.8", python: "3.11"')`"""

    def make(text: str) -> Row:
        (only,) = matrix.parse(f"images:\n  - {{{text}}}\n")
        return only

    return make


@pytest.fixture(scope="session")
def spec(row: Callable[[str], Row], facts: Facts) -> Callable[..., Spec]:
    """As `row`, resolved on a base."""
    return lambda text, base="nvidia": resolve(row(text), facts, base)


@pytest.fixture
def project(tmp_path: Path) -> Callable[..., Workspace]:
    """A folder of its own with this matrix and the checkout's locks."""

    def make(text: str | bytes | None, locks: bool = True) -> Workspace:
        file = tmp_path / "matrix.yaml"
        if text is not None:
            file.write_bytes(text if isinstance(text, bytes) else text.encode())
        if locks:
            shutil.copytree(ROOT / "locks", tmp_path / "locks")
        return Workspace(file)

    return make
