"""A bundle: one folder with all that building some rows takes, for machines without a network. Read here, made in
bundling.py.

    SHA256SUMS      of every other file, as `sha256sum --check` reads it; written last: without it nothing is whole
    bundle.json     the rows, their base, which file is which image and which source
    matrix.yaml     the matrix, and locks/, the locks of the rows
    images/         base images, as `docker load` takes them
    downloads/      what the steps of a build fetch: apt/, simple/ and wheels/, pytorch/, python/
    sources/        of what is compiled, as tar
    torchpair/      torchpair's own packages, for `make`

A bundle comes from elsewhere, so nothing in it is believed: each file is compared before anything is done with it, and
downloads/ is bound into the steps of a build, which have no network of their own (`--offline`).
"""

from __future__ import annotations

import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torchpair import lock as locks
from torchpair.errors import LockError, TorchpairError
from torchpair.fetch import digest
from torchpair.matrix import Mirror
from torchpair.parallel import each
from torchpair.spec import Spec
from torchpair.strict_json import parse

SCHEMA = "torchpair.bundle/1"
SUMS = "SHA256SUMS"
ABOUT = "bundle.json"
CONTEXT = "bundle"  # the build context that holds downloads/
MOST_FILES = 20_000
MOST_BYTES = 8 * 1024 * 1024  # of SHA256SUMS
# Where the steps of a build see downloads/ (templates/source.j2).
HERE = Mirror("bundle", pypi="file:///mnt/simple", pytorch="file:///mnt/pytorch", python="file:///mnt/python")
_NAME = r"[A-Za-z0-9_][A-Za-z0-9._+~@-]{0,199}"
_LINE = re.compile(rf"(?P<sha256>[0-9a-f]{{64}})  (?P<path>{_NAME}(?:/{_NAME}){{0,5}})", re.ASCII)
Say = Callable[[str], None]


class BundleError(TorchpairError):
    """A bundle that cannot be read, is not whole, or does not hold what is asked of it."""


@dataclass(frozen=True)
class Bundle:
    """A bundle whose files were compared, once `verify` has returned.

    base: "nvidia", "local" or "image". images: file by reference. sources: by row and package, the file and where it is
    from in words. sums: sha256 by path. made_by: torchpair's version.
    """

    folder: Path
    rows: tuple[str, ...]
    base: str
    images: Mapping[str, str]
    sources: Mapping[tuple[str, str], tuple[str, str]]
    sums: Mapping[str, str]
    made_by: str

    @property
    def downloads(self) -> Path:
        return self.folder / "downloads"

    @property
    def size(self) -> int:
        """Bytes of what BuildKit gets a copy of."""
        return sum((self.folder / path).stat().st_size for path in self.sums if path.startswith("downloads/"))


def read(folder: Path) -> Bundle:
    """A bundle as it describes itself; its files are not looked at yet. Raises BundleError."""
    file = folder / SUMS
    try:
        with file.open("rb") as stream:
            text = stream.read(MOST_BYTES + 1).decode("utf-8")
    except FileNotFoundError as error:
        why = "that file is written last, so this bundle was not finished" if (folder / ABOUT).exists() else None
        raise BundleError(
            f"{folder} is no bundle: it has no {SUMS}", why=why, remedy="torchpair bundle ROW..."
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError("cannot be read", where=str(file), why=str(error)) from error
    sums = {}
    for number, line in enumerate(text.splitlines()[: MOST_FILES + 1], 1):
        match = _LINE.fullmatch(line)
        if match is None or number > MOST_FILES or match["path"] == SUMS:
            raise BundleError("not a line of a bundle", where=f"{file}:{number}", why="a sha256, two spaces, a path")
        sums[match["path"]] = match["sha256"]
    if ABOUT not in sums:
        raise BundleError(f"{ABOUT} is not listed", where=str(file))
    _compare(folder, {ABOUT: sums[ABOUT]})
    return _about(folder, sums)


def _about(folder: Path, sums: Mapping[str, str]) -> Bundle:
    where = str(folder / ABOUT)
    body = parse((folder / ABOUT).read_bytes(), where)
    try:
        if not isinstance(body, dict) or body["schema"] != SCHEMA or body["base"] not in ("nvidia", "local", "image"):
            raise ValueError(f"it is not of {SCHEMA}")
        rows = tuple(_word(name) for name in body["rows"])
        images = {_word(one): _listed(file, sums) for one, file in body["images"].items()}
        sources = {
            (_word(one["row"]), _word(one["package"])): (_listed(one["file"], sums), _word(one["told"]))
            for one in body["sources"]
        }
        return Bundle(folder, rows, body["base"], images, sources, sums, _word(body["torchpair"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BundleError("does not describe a bundle", where=where, why=str(error)[:200]) from error


def _word(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= 300 or not value.isprintable():
        raise ValueError("a text of up to 300 characters is expected")
    return value


def _listed(value: Any, sums: Mapping[str, str]) -> str:
    if value not in sums:
        raise ValueError(f"a file is named that {SUMS} does not have")
    return str(value)


def verify(bundle: Bundle) -> None:
    """Compare every file with its sha256. Raises BundleError, which names those that are missing or changed."""
    _compare(bundle.folder, bundle.sums)


def _compare(folder: Path, sums: Mapping[str, str]) -> None:
    def look(path: str) -> str | None:
        file = folder / path
        try:
            # A link could lead anywhere, and lead elsewhere when it is followed again.
            if not file.resolve().is_relative_to(folder.resolve()) or not file.is_file():
                return f"{path} is missing"
            found = digest(file)
        except OSError as error:
            return f"{path} cannot be read: {error.strerror}"
        return None if found == sums[path] else f"{path} was changed: sha256 {found[:12]}, not {sums[path][:12]}"

    wrong = [said for said in each(look, sums, min(8, os.cpu_count() or 2)) if said]
    if wrong:
        more = f" (and {len(wrong) - 5} more)" if len(wrong) > 5 else ""
        raise BundleError(
            f"the bundle is not whole: {'; '.join(wrong[:5])}{more}", where=str(folder),
            why=f"{SUMS} says otherwise", remedy="copy it again from where it was made, or make it again",
        )  # fmt: skip


def take_locks(bundle: Bundle, folder: Path, specs: Sequence[Spec]) -> None:
    """Put the bundle's locks where there are none, and compare those that are there. Raises BundleError, LockError.

    folder: locks/ of the matrix.
    """
    names = ["tools.txt", *(f"build/{name}.txt" for spec in specs for name in locks.extras(spec))]
    for name in dict.fromkeys([*names, *(locks.path_of(spec, Path()).name for spec in specs)]):
        given = bundle.folder / "locks" / name
        if f"locks/{name}" not in bundle.sums:
            raise BundleError(f"the bundle has no locks/{name}", where=str(bundle.folder), remedy=again(specs))
        own = folder / name
        if not own.is_file():
            own.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(given, own)
        elif locks.lines(own) != locks.lines(given):
            raise LockError(
                "this lock is not the bundle's, so the bundle does not hold what it names", where=str(own),
                remedy=f"cp {given} {own}, or make the bundle again from this one",
            )  # fmt: skip
    for spec in specs:
        locks.read(spec, folder)  # one that answers another question is said here


def source(bundle: Bundle, spec: Spec, package: str, folder: Path) -> tuple[Path, str]:
    """The source of what a row compiles, unpacked, and where it is from in words. Raises BundleError."""
    if (spec.name, package) not in bundle.sources:
        raise BundleError(f"the bundle has no source of {package} for {spec.name}", remedy=again([spec]))
    path, told = bundle.sources[spec.name, package]
    kept = folder / bundle.sums[path][:16]
    if not kept.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f"{kept.name}.", dir=folder))
        try:
            with tarfile.open(bundle.folder / path) as tar:
                tar.extractall(made, filter="data")
            made.chmod(0o755)
            made.rename(kept)
        except (tarfile.TarError, OSError) as error:
            raise BundleError("cannot be unpacked", where=str(bundle.folder / path), why=str(error)) from error
        finally:
            shutil.rmtree(made, ignore_errors=True)
    return kept, told


def again(specs: Sequence[Spec]) -> str:
    """What to do where a bundle lacks something."""
    return f"make it again where there is a network: torchpair bundle {' '.join(spec.name for spec in specs)}"
