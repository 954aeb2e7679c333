"""Versions, names and CUDA labels, compared without the packaging library, which an image need not have."""

from __future__ import annotations

import re
from typing import Optional, Tuple


def normal_name(name: str) -> str:
    """A distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def split_local(version: str) -> Tuple[str, str]:
    """The public version and the local label, which may be empty: "2.8.0+cu128" -> ("2.8.0", "cu128")."""
    public, _, local = version.strip().lower().partition("+")
    return public, re.sub(r"[-_]", ".", local)


def public_key(version: str) -> Tuple[Tuple[int, ...], str]:
    """A public version in a form in which equal versions are equal: "2.8" and "v2.8.0" agree, "2.8.0a0" does not."""
    public = split_local(version)[0]
    found = re.match(r"v?(\d+(?:\.\d+)*)(.*)$", public)
    if not found:
        return (), public
    release = [int(part) for part in found.group(1).split(".")]
    while len(release) > 1 and release[-1] == 0:
        release.pop()
    return tuple(release), re.sub(r"[-_.]", "", found.group(2))


def release(version: str) -> Tuple[int, int]:
    """Major and minor: "2.10.0+cu128" -> (2, 10). (0, 0) when it does not begin with numbers."""
    found = re.match(r"v?(\d+)\.(\d+)", version.strip())
    return (int(found.group(1)), int(found.group(2))) if found else (0, 0)


def cuda_label(cuda: Optional[str]) -> str:
    """The local label of a build: "12.8" -> "cu128", None or "cpu" -> "cpu"."""
    return "cpu" if cuda in (None, "cpu") else "cu" + "".join(cuda.split(".")[:2])


def cuda_of_number(number: int) -> Optional[str]:
    """CUDA's own way to write a version: 12080 -> "12.8"; 0 and -1 mean a build without CUDA."""
    return "{}.{}".format(number // 1000, number % 1000 // 10) if number > 0 else None


def same_cuda(one: Optional[str], other: Optional[str]) -> bool:
    """Whether major and minor agree; two CPU builds (None) agree."""
    return cuda_label(one) == cuda_label(other)


def same_version(expected: Optional[str], running: Optional[str], cuda: Optional[str]) -> bool:
    """Whether a running version is the expected one.

    An expected local label must be there. A running label that was not asked for must be the one that belongs to
    `cuda`: the wheels of one index are called "2.8.0" and the same ones of another "2.8.0+cu128".
    """
    if expected is None or running is None:
        return expected is None and running is None
    if public_key(expected) != public_key(running):
        return False
    wanted, label = split_local(expected)[1], split_local(running)[1]
    if wanted:
        return wanted == label
    return label in ("", cuda_label(cuda))


def same_python(expected: str, running: str) -> bool:
    """Whether "3.11" or "3.11.7" names the running Python."""
    parts = expected.strip().split(".")
    return running.split(".")[: len(parts)] == parts
