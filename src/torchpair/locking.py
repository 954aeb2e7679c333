"""Spec -> Lock: the indexes are asked for exact versions, and one wheel is chosen of each package.

uv resolves; the wheel is the one for the row's Python and CPU architecture.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from packaging import tags
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from uv import find_uv_bin

from torchpair import mirrors
from torchpair.command import run
from torchpair.errors import CommandError, LockError
from torchpair.lock import LINE, TOOLS_ASKED, Lock, Locked, asked, asked_extra, project
from torchpair.matrix import Mirror
from torchpair.spec import Spec

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# The platform that uv resolves for. 2_28 (RHEL 8, Ubuntu 20.04) is what torch itself asks for since 2.7.
_GLIBC_MINOR = 28
_PLATFORM = f"{{arch}}-manylinux_2_{_GLIBC_MINOR}"
_VERSION = re.compile(r"[0-9A-Za-z.!+]+")


def resolve(spec: Spec, keep: Lock | None = None, mirror: Mirror = mirrors.NONE) -> Lock:
    """Ask the indexes, through uv, for exact versions; those of `keep` stay where they still fit.

    Raises LockError when an index cannot be reached or has no answer.
    """
    elsewhere = {r.name for r in spec.requirements if r.index != "pypi"}
    packages = settle(spec.name, project(spec, keep, mirror), spec.python, spec.arch, mirror)
    wheels = [_locked(spec.name, package, spec.python, spec.arch, elsewhere, mirror) for package in packages]
    return Lock(asked(spec), tuple(sorted(wheels, key=lambda w: w.name)))


def resolve_tools(mirror: Mirror = mirrors.NONE) -> Lock:
    """The lock of what the build stages themselves install: uv. One wheel serves every Python."""
    packages = settle(
        "tools", '[project]\nname = "tools"\nversion = "0"\ndependencies = ["uv"]\n', "3.10", "x86_64", mirror
    )
    return Lock(TOOLS_ASKED, tuple(_locked("tools", package, "3.10", "x86_64", set()) for package in packages))


def resolve_extra(name: str, wanted: tuple[str, ...], mirror: Mirror = mirrors.NONE) -> Lock:
    """One of a builder's locks. Raises LockError as `resolve` does."""
    listed = ", ".join(f'"{item}"' for item in wanted)
    project_file = f'[project]\nname = "build"\nversion = "0"\ndependencies = [{listed}]\n'
    packages = settle(name, project_file, "3.10", "x86_64", mirror)
    wheels = (_locked(name, package, "3.10", "x86_64", set()) for package in packages)
    return Lock(asked_extra(wanted), tuple(sorted(wheels, key=lambda w: w.name)))


def settle(
    name: str, project_file: str, python: str, arch: str, mirror: Mirror = mirrors.NONE, more: tuple[str, ...] = ()
) -> list[dict[str, Any]]:
    """The packages of the pylock.toml that uv makes of a project file (https://peps.python.org/pep-0751/)."""
    with tempfile.TemporaryDirectory(prefix="torchpair-lock-") as temporary:
        folder = Path(temporary)
        (folder / "pyproject.toml").write_text(project_file, encoding="utf-8")
        argv = [
            # --directory: uv reads indexes and overrides from the project it stands in, never from the caller's folder.
            find_uv_bin(), "--directory", str(folder), "pip", "compile", "pyproject.toml", "--quiet", "--no-header",
            "--format", "pylock.toml", "--output-file", "pylock.toml",
            "--python-version", python.removesuffix("t"), "--python-platform", _PLATFORM.format(arch=arch),
            "--only-binary", ":all:", *more,
        ]  # fmt: skip
        try:
            run(argv, env={**os.environ, **({"UV_DEFAULT_INDEX": mirror.pypi} if mirror.pypi else {})}, timeout=600)
        except CommandError as error:
            raise LockError(
                "the exact versions could not be settled",
                where=name,
                why=error.why,
                remedy=f"look whether the index named above can be reached from here, then: torchpair lock {name}",
            ) from error
        return list(tomllib.loads((folder / "pylock.toml").read_text(encoding="utf-8")).get("packages", []))


def install(lock: Path, folder: Path, mirror: Mirror = mirrors.NONE, wheels: Path | None = None) -> None:
    """Unpack what a lock names into a folder of this machine, whole or not at all.

    wheels: where the files lie; without it an index is asked. Raises LockError.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent.resolve()))
    argv = [
        find_uv_bin(), "--directory", str(made), "pip", "install", "--quiet", "--python", sys.executable,
        "--target", str(made), "--python-platform", _PLATFORM.format(arch="x86_64"), "--no-deps", "--require-hashes",
        "--only-binary", ":all:", "-r", str(lock.resolve()),
        *(["--no-index", "--find-links", str(wheels.resolve())] if wheels else []),
    ]  # fmt: skip
    try:
        run(argv, env={**os.environ, **({"UV_DEFAULT_INDEX": mirror.pypi} if mirror.pypi else {})}, timeout=600)
        made.rename(folder)
    except CommandError as error:
        raise LockError(
            "what this lock names cannot be fetched", where=str(lock), why=error.why,
            remedy="look whether the index named above can be reached from here",
        ) from error  # fmt: skip
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _locked(
    row: str, package: dict[str, Any], python: str, arch: str, elsewhere: set[str], mirror: Mirror = mirrors.NONE
) -> Locked:
    name = canonicalize_name(package["name"])
    files = {
        wheel.get("name") or unquote(wheel["url"].rsplit("/", 1)[-1]): wheel
        for wheel in package.get("wheels", [])
        if "url" in wheel
    }
    file = best_wheel(list(files), python, arch)
    if file is None or "sha256" not in files[file].get("hashes", {}):
        raise LockError(
            f"no wheel with a sha256 for {name} {package.get('version', '')} that fits Python {python} on {arch}",
            where=row,
            why=f"the index has: {', '.join(ascii(name)[1:-1] for name in sorted(files)) or 'no wheel at all'}",
        )
    wheel = files[file]
    # PyPI's addresses are left out: a name and a hash are found on any mirror of it.
    url = mirrors.upstream_url(wheel["url"], mirror) if name in elsewhere else None
    size = wheel.get("size") if isinstance(wheel.get("size"), int) else None
    locked = Locked(name, str(package["version"]), wheel["hashes"]["sha256"], file, url, size)
    if not LINE.fullmatch(locked.entry) or not _VERSION.fullmatch(locked.version):
        raise LockError(f"the index answered with what cannot be written to a lock: {file!r}", where=row)
    return locked


def best_wheel(files: list[str], python: str, arch: str) -> str | None:
    """The wheel that pip would take: the one whose tag stands first among those that the target accepts."""
    digits = python.removesuffix("t").split(".")
    version = (int(digits[0]), int(digits[1]))
    abi = f"cp{version[0]}{version[1]}{'t' if python.endswith('t') else ''}"
    platforms = [f"manylinux_2_{minor}_{arch}" for minor in range(_GLIBC_MINOR, 4, -1)] + [f"linux_{arch}"]
    platforms += [f"{old}_{arch}" for old in ("manylinux2014", "manylinux2010", "manylinux1")]
    order = {
        tag: rank
        for rank, tag in enumerate(
            [
                *tags.cpython_tags(version, abis=[abi], platforms=platforms),
                *tags.compatible_tags(version, interpreter=abi, platforms=platforms),
            ]
        )
    }
    best = None
    for file in sorted(files):
        try:
            _, _, build, offered = parse_wheel_filename(file)
        except InvalidWheelFilename:
            continue
        fitting = [order[tag] for tag in offered if tag in order]
        # Of two builds for one tag the later one counts, as the wheel format has it.
        if fitting and (best is None or (-min(fitting), build) > best[0]):
            best = (-min(fitting), build), file
    return best[1] if best else None
