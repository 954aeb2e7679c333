"""Real images in a real engine. Nothing here is skipped: without an engine these tests fail, and say what to do."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest
from docker import DockerClient

from torchpair import dockerd
from torchpair.engine import Engine

ROOT = Path(__file__).resolve().parents[2]
EIGHT = "torch2.8.0-cu128-py311"
FOURTEEN = "torch2.14.1-cu130-py313"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in Path(item.path).parents:
            item.add_marker(pytest.mark.docker)


@dataclass(frozen=True)
class Run:
    """What a call of torchpair left behind."""

    code: int
    out: str
    err: str


def torchpair(*arguments: str, cwd: Path = ROOT, timeout: float = 1500, host: str | None = None) -> Run:
    """host: of another engine than the tests' own."""
    done = subprocess.run(
        [sys.executable, "-m", "torchpair.cli", *arguments],
        cwd=cwd, capture_output=True, text=True, timeout=timeout, check=False, stdin=subprocess.DEVNULL,
        env={**os.environ, "DOCKER_HOST": host} if host else None,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return Run(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="session")
def engine() -> Engine:
    found = dockerd.ensure(print)
    os.environ["DOCKER_HOST"] = found.host
    return found


@pytest.fixture(scope="session")
def client(engine: Engine) -> Iterator[DockerClient]:
    made = docker.DockerClient(base_url=engine.host, timeout=120)
    yield made
    made.close()


@pytest.fixture(scope="session")
def images(engine: Engine) -> Run:
    """The default images, built and proven by the command that README names."""
    done = torchpair("images")
    assert done.code == 0, done.out + done.err
    return done


@pytest.fixture(scope="session")
def reports(images: Run) -> dict[str, dict[str, Any]]:
    """The reports of the default images, by row."""
    return {row: json.loads((ROOT / "reports" / f"{row}.json").read_text()) for row in (EIGHT, FOURTEEN)}


@pytest.fixture
def matrix(tmp_path: Path) -> Callable[[str], Path]:
    """A folder with a matrix of its own, and the checkout's locks, so that what is built already is found."""

    def make(rows: str) -> Path:
        (tmp_path / "matrix.yaml").write_text(f"images:\n{rows}", encoding="utf-8")
        shutil.copytree(ROOT / "locks", tmp_path / "locks", dirs_exist_ok=True)
        return tmp_path

    return make


@pytest.fixture
def nothing_left(client: DockerClient) -> Iterator[None]:
    """A check leaves no container and no volume behind, whatever happened in it."""

    def held() -> tuple[set[str], set[str]]:
        return {c.id for c in client.containers.list(all=True)}, {v.id for v in client.volumes.list()}

    before = held()
    yield
    assert held() == before
