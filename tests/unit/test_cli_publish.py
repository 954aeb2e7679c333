"""`torchpair publish` and `torchpair catalog` as commands; their work is tested by itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from fake_registry import Fake, running
from published import put, spec

from torchpair import engine
from torchpair.cli import cli
from torchpair.errors import TorchpairError


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Fake]:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    with running() as made:
        yield made


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


def test_a_catalog_and_its_comparison(fake: Fake, tmp_path: Path) -> None:
    put(fake, spec(), "latest")
    file = tmp_path / "catalog.json"
    shown = run("catalog", "-r", fake.host)
    assert shown.exit_code == 0 and json.loads(shown.stdout)["images"][0]["tags"] == [spec().tag, "latest"]
    assert run("catalog", "-r", fake.host, "-o", str(file)).exit_code == 0
    same = run("catalog", "--verify", str(file))  # the repository is the catalog's own
    assert (same.exit_code, same.stdout) == (0, f"{file}: 1 images, as the registry has them.\n")
    put(fake, spec('torch: "2.14.1", cuda: "13.0", python: "3.13"'), "latest")
    other = run("catalog", "--verify", str(file))
    assert other.exit_code == 1
    assert other.stdout.splitlines() == [
        "2.14.1-cu130-py313-debian13: is in the registry, and not in the catalog",
        '2.8.0-cu128-py311-debian12: tags: the catalog says ["2.8.0-cu128-py311-debian12", "latest"], the registry '
        '["2.8.0-cu128-py311-debian12"]',
    ]
    assert "2 differences" in other.stderr


def test_what_is_left_out_is_said_and_is_no_part_of_the_answer(fake: Fake) -> None:
    put(fake, spec(), said={"torchpair.cuda": "12.4\x1b[2J"})
    found = run("catalog", "-r", fake.host)
    assert found.exit_code == 0 and json.loads(found.stdout)["images"] == []
    assert found.stderr.startswith("left out: 2.8.0-cu128-py311-debian12: ") and "\x1b" not in found.stderr


def test_a_file_that_is_none_is_not_taken_to_a_registry(fake: Fake, tmp_path: Path) -> None:
    file = tmp_path / "catalog.json"
    file.write_text(json.dumps({"repository": fake.host}))
    found = run("catalog", "--verify", str(file))
    assert isinstance(found.exception, TorchpairError) and f"{file}: has no schema" in str(found.exception)
    assert fake.asked == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("catalog",), "name a --registry"),
        (("catalog", "-r", "a.b", "-o", "x", "--verify", "pyproject.toml"), "name one of them"),
        (("catalog", "--verify", "no-such-file"), "does not exist"),
        (("publish",), "Missing option '--registry'"),
    ],
)
def test_a_wrong_command_line(arguments: tuple[str, ...], words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).resolve().parents[2])
    found = run(*arguments)
    assert found.exit_code == 2 and words in found.stderr


def test_a_registry_that_is_none_is_said_before_rows_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "find", lambda: engine.Engine("unix:///nowhere", "26", None, ()))
    found = run("publish", "-r", "me/torchpair", "-m", "no-such-matrix.yaml")
    assert isinstance(found.exception, TorchpairError) and "is no registry" in str(found.exception)
