"""GPU architectures: what was compiled, and which devices that serves. Pure, no torch.

Source of the rules: CUDA C++ Programming Guide, "Binary compatibility" and "Architecture-specific features":
machine code runs on its own major version from its own minor version upward, PTX on everything as new or newer;
a trailing "a" ties both to exactly one capability, a trailing "f" to one major version.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Dict, Iterable, List, Tuple


@dataclass(frozen=True)
class Arch:
    """One compiled target; sass: machine code is there, ptx: PTX is there."""

    major: int
    minor: int
    suffix: str
    sass: bool
    ptx: bool

    def __str__(self) -> str:
        name = "{}.{}{}".format(self.major, self.minor, self.suffix)
        if not self.ptx:
            return name
        return name + "+PTX" if self.sass else name + " (PTX only)"


def parse_flags(flags: str) -> List[Arch]:
    """Read torch's list of compiled targets: "sm_80 sm_120 compute_120" -> 8.0, 12.0+PTX."""
    kinds: Dict[Tuple[int, int, str], set[str]] = {}
    for kind, number, suffix in re.findall(r"\b(sm|compute)_(\d+)([a-z]?)", flags):
        kinds.setdefault((int(number[:-1] or 0), int(number[-1]), suffix), set()).add(kind)
    return [Arch(*key, sass="sm" in found, ptx="compute" in found) for key, found in sorted(kinds.items())]


def parse_capability(text: str) -> Tuple[int, int, str, bool]:
    """Read "12.0", "9.0a" or "12.0+PTX" as (major, minor, suffix, PTX asked for). ValueError on anything else."""
    found = re.match(r"(\d+)\.(\d)([a-z]?)(\+PTX)?$", text.strip(), re.IGNORECASE)
    if not found:
        raise ValueError("not a GPU architecture such as 8.0, 9.0a or 12.0+PTX: " + repr(text))
    return int(found.group(1)), int(found.group(2)), found.group(3).lower(), bool(found.group(4))


def serves(arch: Arch, major: int, minor: int) -> bool:
    """Whether code for this target runs on a device of this capability."""
    if arch.suffix == "a":
        return (arch.major, arch.minor) == (major, minor)
    same_major = arch.major == major and arch.minor <= minor
    if arch.suffix == "f":
        return same_major
    return (arch.sass and same_major) or (arch.ptx and (arch.major, arch.minor) <= (major, minor))


def not_served(compiled: Iterable[Arch], wanted: Iterable[str]) -> List[str]:
    """Those of the wanted architectures for which nothing suitable was compiled.

    "8.6" asks that an 8.6 device can run the code; "9.0a" and "12.0+PTX" ask for exactly that target, or its PTX.
    """
    targets, missing = list(compiled), []
    for text in wanted:
        major, minor, suffix, ptx = parse_capability(text)
        if ptx or suffix:
            exact = [a for a in targets if (a.major, a.minor, a.suffix) == (major, minor, suffix)]
            good = any(a.ptx if ptx else a.sass for a in exact)
        else:
            good = any(serves(a, major, minor) for a in targets)
        if not good:
            missing.append(text)
    return missing
