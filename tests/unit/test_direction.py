"""One direction of imports: the table in CONTRIBUTING.md, held against every import of the package."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "torchpair"
# They run inside an image.
INSIDE = ("probe", "compiler", "sovits")
# Of other people's: whoever imports one of these asks an engine, a network or another program.
ASKING = {
    "docker", "testcontainers", "requests", "urllib3", "urllib.request", "http.client", "http.server", "socket", "ssl",
    "subprocess", "multiprocessing", "uv",
}  # fmt: skip


@dataclass(frozen=True)
class Place:
    layer: int
    asks: bool


def table(text: str) -> dict[str, Place]:
    """The modules of CONTRIBUTING.md's table, each with its line and its column."""
    lines = text.split("| layer |")[1].split("\n\n")[0].splitlines()[2:]
    found: dict[str, Place] = {}
    for number, line in enumerate(lines):
        _, _, quiet, asking, _ = line.split("|")
        for column, asks in ((quiet, False), (asking, True)):
            for name in re.findall(r"`([a-z_.]+)`", column):
                assert name not in found, f"{name} stands in the table twice"
                found[name] = Place(number, asks)
    return found


def modules() -> dict[str, str]:
    """Every module by its name below torchpair, with its text."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").rstrip(".")
        found[name] = path.read_text(encoding="utf-8")
    return found


MODULES = modules()
TABLE = table((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))


def imports(name: str, text: str, known: Mapping[str, str]) -> Iterator[str]:
    """All that a module imports, at the top, inside functions or for types alone: torchpair's own begin with "."."""
    package = name.split(".") if any(other.startswith(f"{name}.") for other in known) else name.split(".")[:-1]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            start = ".".join([*(["torchpair"] if node.level else []), *above, *([node.module] if node.module else [])])
            # `from a import b` is of module a.b where there is one, else of a itself.
            names = [f"{start}.{alias.name}" for alias in node.names]
        else:
            continue
        for full in names:
            if full != "torchpair" and not full.startswith("torchpair."):
                yield full
                continue
            inner = full.removeprefix("torchpair").lstrip(".")
            while inner and inner not in known:
                inner = inner.rpartition(".")[0]
            yield f".{inner}"


def wrong(name: str, text: str, places: Mapping[str, Place], known: Mapping[str, str]) -> list[str]:
    """What a module of the table imports and must not."""
    here = places[name]
    found = []
    for target in imports(name, text, known):
        if not target.startswith("."):
            if not here.asks and any(f"{target}.".startswith(f"{one}.") for one in ASKING):
                found.append(f"{name} asks nobody, and imports {target}")
            continue
        inner = target[1:]
        if not inner or inner.split(".")[0] in INSIDE:
            continue
        there = places[inner]
        if there.layer > here.layer:
            found.append(f"{name} imports {inner}, which is below it")
        if there.asks and not here.asks:
            found.append(f"{name} asks nobody, and imports {inner}, which does")
    return found


def test_every_module_has_its_place() -> None:
    own = {name for name in MODULES if name and name.split(".")[0] not in INSIDE}
    assert own - set(TABLE) == set(), "not in the table of CONTRIBUTING.md"
    assert set(TABLE) - own == set(), "in the table of CONTRIBUTING.md, and not there"


@pytest.mark.parametrize("name", sorted(TABLE))
def test_imports_go_one_way(name: str) -> None:
    assert wrong(name, MODULES[name], TABLE, MODULES) == []


@pytest.mark.parametrize("name", sorted(name for name in MODULES if name.split(".")[0] in INSIDE))
def test_what_runs_inside_an_image_stands_alone(name: str) -> None:
    home = f".{name.split('.')[0]}"
    own = [target for target in imports(name, MODULES[name], MODULES) if target.startswith(".")]
    assert [target for target in own if target != home and not target.startswith(f"{home}.")] == []


@pytest.mark.parametrize(
    ("name", "line", "said"),
    [
        ("resolve", "import docker", "resolve asks nobody, and imports docker"),
        ("resolve", "from urllib import request", "resolve asks nobody, and imports urllib.request"),
        ("render", "def f():\n    import subprocess", "render asks nobody, and imports subprocess"),
        ("compat", "from torchpair import command", "compat asks nobody, and imports command, which does"),
        ("truth", "from torchpair.registry import Registry", "truth asks nobody, and imports registry, which does"),
        ("matrix", "from torchpair.resolve import Spec", "matrix imports resolve, which is below it"),
        ("build", "from torchpair.cli import main", "build imports cli, which is below it"),
        ("facts.agree", "from .pypi import PypiError", "facts.agree asks nobody, and imports facts.pypi, which does"),
    ],
)
def test_what_goes_the_other_way_is_found(name: str, line: str, said: str) -> None:
    assert wrong(name, f"{MODULES[name]}\n{line}\n", TABLE, MODULES) == [said]


def test_what_goes_with_the_direction_is_not() -> None:
    assert wrong("compat", "from urllib.parse import quote\nfrom torchpair import __version__", TABLE, MODULES) == []


def test_help_imports_nothing_heavy() -> None:
    """`torchpair --help` is to answer at once; a command imports what it needs when it is called."""
    heavy = ["docker", "testcontainers", "jinja2", "requests", "cyclonedx", "rich", "yaml", "uv", "packaging"]
    ask = f"import sys, torchpair.cli; print(*[name for name in {heavy} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", ask], env={"PYTHONPATH": str(PACKAGE.parent)}, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
