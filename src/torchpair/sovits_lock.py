"""What GPT-SoVITS adds to a row -> locks/gpt-sovits/<flavour>-<row>.txt: exact versions with sha256.

As lock.py and locking.py, with two differences: nothing that the row has may move (its versions are constraints, and
are left out), and a few packages exist as source only; those are compiled in a stage of their own.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from packaging.utils import canonicalize_name
from uv import find_uv_bin

from torchpair import mirrors
from torchpair.command import run
from torchpair.errors import CommandError, LockError
from torchpair.locking import best_wheel
from torchpair.matrix import Mirror

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_LINE = re.compile(
    r"(?P<name>[a-z0-9][a-z0-9-]*)==(?P<version>[0-9A-Za-z.!+]+) --hash=sha256:(?P<sha256>[0-9a-f]{64})"
    r"  # (?P<file>[0-9A-Za-z._+-]+\.(?:whl|tar\.gz|zip|tar\.bz2))"
)


@dataclass(frozen=True)
class File:
    """One file of PyPI: a wheel, or a source archive."""

    name: str
    version: str
    sha256: str
    file: str

    @property
    def is_wheel(self) -> bool:
        return self.file.endswith(".whl")

    @property
    def line(self) -> str:
        return f"{self.name}=={self.version} --hash=sha256:{self.sha256}  # {self.file}"


@dataclass(frozen=True)
class Question:
    """What is asked of the index. kept: name and version of what may not move. sdists: that may come as source.

    overrides: requirements that stand above what packages say. bare: packages whose own requirements do not count.
    """

    name: str
    python: str
    requirements: tuple[str, ...]
    kept: tuple[tuple[str, str], ...] = ()
    overrides: tuple[str, ...] = ()
    bare: tuple[str, ...] = ()
    sdists: tuple[str, ...] = ()
    arch: str = "x86_64"

    @property
    def text(self) -> str:
        kept = f"; beside {', '.join(f'{n}=={v}' for n, v in self.kept)}" if self.kept else ""
        return f"{', '.join(self.requirements)}; python {self.python}; {self.arch}{kept}"


@dataclass(frozen=True)
class Lock:
    """Files sorted by name, and the question they answer."""

    asked: str
    files: tuple[File, ...]

    @property
    def wheels(self) -> list[File]:
        return [file for file in self.files if file.is_wheel]

    @property
    def sdists(self) -> list[File]:
        return [file for file in self.files if not file.is_wheel]


EMPTY = Lock("", ())


def text(name: str, lock: Lock) -> str:
    head = [
        f"# {name}: exact versions, made by `torchpair deploy lock`. Do not edit.",
        f"# asked: {lock.asked}",
    ]
    return "\n".join([*head, *(file.line for file in lock.files)]) + "\n"


def read(path: Path, question: Question) -> Lock | None:
    """The lock at this path; None where none answers the question. Raises LockError for what is no lock."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise LockError("cannot read the lock", where=str(path), why=str(error)) from error
    asked, files = "", []
    for number, line in enumerate(lines, 1):
        if line.startswith("# asked: "):
            asked = line.removeprefix("# asked: ")
        if line.startswith("#") or not line.strip():
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise LockError("not a line of a lock", where=f"{path}:{number}", remedy="torchpair deploy lock")
        files.append(File(match["name"], match["version"], match["sha256"], match["file"]))
    return Lock(asked, tuple(files)) if asked == question.text else None


def resolve(question: Question, mirror: Mirror = mirrors.NONE) -> Lock:
    """Ask PyPI, through uv. Raises LockError."""
    packages = _compile(question, mirror)
    kept = {name for name, _ in question.kept}
    files = [
        _file(question, package) for package in packages if canonicalize_name(package["name"]) not in kept
    ]  # fmt: skip
    return Lock(question.text, tuple(sorted(files, key=lambda file: file.name)))


def project(question: Question) -> str:
    """A project file for uv."""

    def quoted(items: Collection[str]) -> str:
        return "[" + ", ".join(f'"{item}"' for item in items) + "]"

    lines = ["[project]", 'name = "application"', 'version = "0"', f"dependencies = {quoted(question.requirements)}"]
    lines += ["", "[tool.uv]", f"constraint-dependencies = {quoted([f'{n}=={v}' for n, v in question.kept])}"]
    lines += [f"override-dependencies = {quoted(question.overrides)}"]
    for name in question.bare:
        lines += ["", "[[tool.uv.dependency-metadata]]", f'name = "{name}"', "requires-dist = []"]
    return "\n".join(lines) + "\n"


def _compile(question: Question, mirror: Mirror) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="torchpair-lock-") as temporary:
        folder = Path(temporary)
        (folder / "pyproject.toml").write_text(project(question), encoding="utf-8")
        argv = [
            find_uv_bin(), "--directory", str(folder), "pip", "compile", "pyproject.toml", "--quiet", "--no-header",
            "--format", "pylock.toml", "--output-file", "pylock.toml", "--python-version", question.python,
            "--python-platform", f"{question.arch}-manylinux_2_28",
        ]  # fmt: skip
        try:
            run(argv, env={**os.environ, **({"UV_DEFAULT_INDEX": mirror.pypi} if mirror.pypi else {})}, timeout=900)
        except CommandError as error:
            raise LockError("the exact versions could not be settled", where=question.name, why=error.why) from error
        return list(tomllib.loads((folder / "pylock.toml").read_text(encoding="utf-8")).get("packages", []))


def _file(question: Question, package: Mapping[str, Any]) -> File:
    """The wheel that fits, or the source where that is allowed and no wheel fits."""
    name, version = canonicalize_name(package["name"]), str(package.get("version", ""))
    wheels = {_name(wheel): wheel for wheel in package.get("wheels", [])}
    best = best_wheel(list(wheels), question.python, question.arch)
    if best:
        return _checked(question, name, version, best, wheels[best])
    source = package.get("sdist")
    if source and name in {canonicalize_name(known) for known in question.sdists}:
        return _checked(question, name, version, _name(source), source)
    raise LockError(
        f"no wheel for {name} {version} that fits Python {question.python} on {question.arch}",
        where=question.name,
        why="it is on PyPI as source only" if source else "PyPI has no file of it that fits",
        remedy="name it under sdists: in the recipe, if it can be compiled" if source else None,
    )


def _name(item: Mapping[str, Any]) -> str:
    return str(item.get("name") or unquote(str(item.get("url", "")).rsplit("/", 1)[-1]))


def _checked(question: Question, name: str, version: str, file: str, item: Mapping[str, Any]) -> File:
    locked = File(name, version, str(item.get("hashes", {}).get("sha256", "")), file)
    if not _LINE.fullmatch(locked.line):
        raise LockError(f"the index answered with what cannot be written to a lock: {file!r}", where=question.name)
    return locked


def names(files: Sequence[File]) -> list[str]:
    return [f"{file.name}=={file.version}" for file in files]
