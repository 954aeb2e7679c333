"""Spec -> locks/<row>.txt: exact versions with sha256, in pip's own requirements format.

One wheel stands there per package, the one for the row's Python and CPU architecture, so that a line is what the image
will hold and nothing else. A lock does not depend on the base. locking.py makes it; here it is asked for, written down
and read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from torchpair import mirrors
from torchpair.errors import LockError
from torchpair.matrix import Mirror
from torchpair.spec import Requirement, Spec

TOOLS_ASKED = "uv; any python; x86_64; PyPI"
LINE = re.compile(
    r"(?P<name>[a-z0-9][a-z0-9-]*)(?:==(?P<version>[0-9A-Za-z.!+]+)| @ (?P<url>https?://[!#%&(-\[\]^_a-~]+))"
    r" --hash=sha256:(?P<sha256>[0-9a-f]{64})  # (?P<file>[0-9A-Za-z._+-]+\.whl)"
    r"(?:, (?P<size>[0-9]{1,15}) bytes)?"
)


@dataclass(frozen=True)
class Locked:
    """One wheel: the whole of what pip needs to fetch it and nothing but it."""

    name: str
    version: str
    sha256: str
    file: str
    url: str | None  # only for wheels that PyPI does not have
    size: int | None = None  # bytes, compressed; None where the index did not say

    @property
    def line(self) -> str:
        """For pip and uv, and a Dockerfile."""
        source = f"{self.name} @ {self.url}" if self.url else f"{self.name}=={self.version}"
        return f"{source} --hash=sha256:{self.sha256}  # {self.file}"

    @property
    def entry(self) -> str:
        """For a lock file: the size too, by which the disk is looked at before a build."""
        return self.line + (f", {self.size} bytes" if self.size else "")


@dataclass(frozen=True)
class Lock:
    """The wheels of a row, sorted by name, and the question they answer."""

    asked: str
    wheels: tuple[Locked, ...]

    @property
    def versions(self) -> dict[str, str]:
        return {wheel.name: wheel.version for wheel in self.wheels}


def asked(spec: Spec) -> str:
    """The question that a lock answers, in one line: what changes here makes a lock stale."""
    wanted = ", ".join(f"{r.name}{r.specifier}" for r in spec.requirements)
    return f"{wanted}; python {spec.python}; {spec.arch}; {spec.index_url or 'PyPI'}"


def path_of(spec: Spec, folder: Path) -> Path:
    return folder / f"{spec.name}.txt"


def text(name: str, lock: Lock) -> str:
    """The lock file. By hand: pip install --no-deps --require-hashes -r locks/<row>.txt"""
    head = [
        f"# {name}: exact versions, made by `torchpair lock`. Do not edit.",
        f"# asked: {lock.asked}",
        f"# by hand: pip install --no-deps --require-hashes -r {name}.txt",
    ]
    return "\n".join([*head, *(wheel.entry for wheel in lock.wheels)]) + "\n"


def read(spec: Spec, folder: Path) -> Lock | None:
    """The committed lock of a row, None where there is none.

    Raises LockError when the file is not one, or answers another question than the row asks today.
    """
    lock = _parse(path_of(spec, folder), spec.name)
    if lock is not None and lock.asked != asked(spec):
        raise LockError(
            "the lock is stale",
            where=str(path_of(spec, folder)),
            why=f"the row asks for: {asked(spec)}\n       the lock is for: {lock.asked or 'nothing'}",
            remedy=f"torchpair lock {spec.name}",
        )
    return lock


def read_stale(spec: Spec, folder: Path) -> Lock | None:
    """A lock that answers another question, for the versions worth keeping; None when it cannot be read."""
    try:
        return _parse(path_of(spec, folder), spec.name)
    except LockError:
        return None


def read_tools(folder: Path) -> Lock:
    """The lock of the build stages' own tools. Raises LockError when there is none."""
    lock = _parse(folder / "tools.txt", "--tools")
    if lock is None:
        raise LockError(
            "the lock of the build tools is missing", where=str(folder / "tools.txt"), remedy="torchpair lock --tools"
        )
    return lock


def _parse(path: Path, row: str) -> Lock | None:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise LockError("cannot read the lock", where=str(path), why=str(error)) from error
    question = ""
    wheels = []
    for number, line in enumerate(lines, 1):
        if line.startswith("# asked: "):
            question = line.removeprefix("# asked: ")
        if line.startswith("#") or not line.strip():
            continue
        match = LINE.fullmatch(line)
        if match is None:
            raise LockError(
                "not a line of a lock",
                where=f"{path}:{number}",
                why="expected name==version --hash=sha256:... and the wheel's name",
                remedy=f"torchpair lock {row}",
            )
        version = match["version"] or match["file"].split("-")[1]
        size = int(match["size"]) if match["size"] else None
        wheels.append(Locked(match["name"], version, match["sha256"], match["file"], match["url"], size))
    return Lock(question, tuple(wheels))


def lines(path: Path) -> list[str]:
    """What a lock file installs, line by line, without what is only told beside it. Raises LockError."""
    lock = _parse(path, path.stem)
    return [wheel.line for wheel in lock.wheels] if lock else []


# What a builder stage installs beside the compiler. cmake: 4 breaks torch 2.5 and 2.6 (facts/source.yaml, cmake-4);
# setuptools: for a torch that brings none, and is as old; wheel: 0.46 has no bdist_wheel any more.
_BUILD = ("cmake>=3.18,<4", "ninja", "packaging", "setuptools<70", "wheel<0.46")


def extras(spec: Spec) -> dict[str, tuple[str, ...]]:
    """The locks that a row needs beside its own, by name, with what they ask for: of the builder, and of its nvcc."""
    found: dict[str, tuple[str, ...]] = {"compile": _BUILD} if spec.recipes else {}
    for recipe in spec.recipes:
        if recipe.toolkit == "wheels":
            found[f"nvcc-{spec.variant}"] = (f"cuda-toolkit[cccl,nvcc]=={spec.cuda}.*",)
    return found


def extra_path(name: str, folder: Path) -> Path:
    return folder / "build" / f"{name}.txt"


def asked_extra(wanted: tuple[str, ...]) -> str:
    return f"{', '.join(wanted)}; any python; x86_64; PyPI"


def read_extra(name: str, wanted: tuple[str, ...], folder: Path) -> Lock | None:
    """A builder's lock, None where there is none that answers the question. Raises LockError for what is no lock."""
    lock = _parse(extra_path(name, folder), name)
    return lock if lock and lock.asked == asked_extra(wanted) else None


def project(spec: Spec, keep: Lock | None = None, mirror: Mirror = mirrors.NONE) -> str:
    """A project file for uv: each package comes from one named index, never from whichever answers first."""

    def quoted(items: list[str]) -> str:
        return "[" + ", ".join(f'"{item}"' for item in items) + "]"

    lines = ["[project]", 'name = "row"', 'version = "0"']
    lines += [f"dependencies = {quoted([r.name + r.specifier for r in spec.requirements])}", "", "[tool.uv]"]
    if spec.broken:
        # A forced row breaks the wheels' own pins on purpose; uv must let it.
        lines.append(f"override-dependencies = {quoted([_pin(r) for r in spec.requirements if r.specifier])}")
    if keep:
        named = {r.name for r in spec.requirements if r.specifier.startswith("==")}
        lines.append(
            "constraint-dependencies = "
            + quoted([f"{w.name}=={w.version}" for w in keep.wheels if w.name not in named])
        )
    elsewhere = [r.name for r in spec.requirements if r.index != "pypi"]
    if elsewhere:
        url, layout = mirrors.pytorch_index(spec, mirror)
        lines += ["", "[[tool.uv.index]]", 'name = "row"', f'url = "{url}"', "explicit = true"]
        lines += ['format = "flat"'] if layout == "flat" else []
        lines += ["", "[tool.uv.sources]", *(f'{name} = {{ index = "row" }}' for name in elsewhere)]
    return "\n".join(lines) + "\n"


def _pin(requirement: Requirement) -> str:
    return requirement.name + requirement.specifier
