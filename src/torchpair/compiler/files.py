"""Every file of torch by its sha256, and every other distribution by its own record: the proof that nothing changed."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Dict, Iterable, List

from .problem import Problem

FOLDERS = ("torch", "torchgen", "functorch")


def torch_files() -> List[Path]:
    """The files of the torch in place: its folders, and what its record names beside them. Bytecode is left out."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        raise Problem("there is no torch in this Python")
    site = Path(spec.origin).parent.parent
    found = {path for name in FOLDERS for path in (site / name).rglob("*")}
    try:
        distribution = importlib.metadata.distribution("torch")
    except importlib.metadata.PackageNotFoundError:
        pass
    else:
        found |= {Path(str(distribution.locate_file(file))) for file in distribution.files or ()}
    return sorted({_plain(path) for path in found if path.is_file() and "__pycache__" not in path.parts})


def _plain(path: Path) -> Path:
    """A path without `..`; links stay links."""
    return path.parent.resolve() / path.name


def digests(paths: Iterable[Path]) -> Dict[str, str]:
    """sha256 by path. Threads: hashlib lets go of the interpreter while it works."""
    found = list(paths)
    with ThreadPoolExecutor() as pool:
        return {str(path): digest for path, digest in zip(found, pool.map(_digest, found))}


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while True:
            block = file.read(1 << 20)
            if not block:
                return digest.hexdigest()
            digest.update(block)


def distributions() -> Dict[str, str]:
    """Every installed distribution: name -> version and the sha256 of its record."""
    found: Dict[str, str] = {}
    for distribution in importlib.metadata.distributions():
        name = distribution.metadata["Name"]
        if name:
            record = distribution.read_text("RECORD") or distribution.read_text("PKG-INFO") or ""
            key = re.sub(r"[-_.]+", "-", name).lower()
            found.setdefault(key, "{} {}".format(distribution.version, hashlib.sha256(record.encode()).hexdigest()))
    return found


def manifest() -> str:
    """The torch in place in sha256sum's own format (`sha256sum --check --quiet FILE`)."""
    found = digests(torch_files())
    if not found:
        raise Problem("the torch in place has no files")
    return "".join("{}  {}\n".format(digest, path) for path, digest in found.items())


def parse(text: str) -> Dict[str, str]:
    return {path: digest for digest, _, path in (line.partition("  ") for line in text.splitlines())}


def compare(before: Dict[str, str], after: Dict[str, str], what: str) -> None:
    """Raise Problem when anything was changed, removed or added."""
    changed = sorted(path for path in before.keys() & after.keys() if before[path] != after[path])
    gone, new = sorted(before.keys() - after.keys()), sorted(after.keys() - before.keys())
    if changed or gone or new:
        lists = (("changed", changed), ("removed", gone), ("added", new))
        told = "; ".join(
            "{} {}: {}".format(len(paths), word, ", ".join(paths[:3]) + (" ..." if len(paths) > 3 else ""))
            for word, paths in lists
            if paths
        )
        raise Problem("{} is not what it was before the build".format(what), told)
