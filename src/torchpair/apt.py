"""This machine's distribution and its apt: what it is, which mirror it uses, packages installed from there."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from torchpair.command import run
from torchpair.errors import CommandError, EngineError
from torchpair.suite import DEBIAN, Archive


@dataclass(frozen=True)
class Mirror:
    """Where a suite and its security updates come from; no slash at the end."""

    main: str
    security: str | None = None


def os_release(text: str) -> dict[str, str]:
    """The keys of an os-release file, quotes removed."""
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line and not line.lstrip().startswith("#"))
    return {key.strip(): value.strip().strip("\"'") for key, value in pairs}


def mirror(indextargets: str, codename: str, archive: Archive = DEBIAN) -> Mirror | None:
    """An archive's mirror in the output of `apt-get indextargets`; None when the archive itself is not in it."""
    # Ubuntu's updates have the codename of their suite, and Debian's suites take other names with each release.
    name = "Suite" if archive.id == "ubuntu" else "Codename"
    found: dict[str, str] = {}
    for paragraph in indextargets.split("\n\n"):
        entry = dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line)
        ours = entry.get("Origin") == archive.name and entry.get("Component") == "main" and "Repo-URI" in entry
        if ours and entry.get("Created-By") == "Packages":
            found.setdefault(entry.get(name, ""), entry["Repo-URI"].rstrip("/"))
    if codename not in found:
        return None
    return Mirror(found[codename], found.get(f"{codename}-security"))


def apt_install(packages: Sequence[str]) -> None:
    """Install packages without what they recommend; refreshes apt's lists only when it fails without."""
    if not packages:
        return
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    argv = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=120", "install", "--no-install-recommends", *packages]
    try:
        run(argv, env=env)
    except CommandError:
        run(["apt-get", "-qq", "update"], env=env)
        run(argv, env=env, remedy=f"apt-get install {' '.join(packages)}")


def machine_mirror(codename: str, archive: Archive = DEBIAN) -> Mirror:
    """The mirror of an archive that this machine's apt uses; EngineError when it uses none."""
    for refresh in (False, True):
        if refresh:  # apt lists only those targets whose index it has: an image with its lists removed has none
            run(["apt-get", "-qq", "update"])
        if answer := mirror(run(["apt-get", "indextargets"]), codename, archive):
            return answer
    raise EngineError(
        f"this machine's apt has no {archive.name} mirror for {codename}",
        where="apt-get indextargets",
        remedy=f"add {archive.name}'s {codename} main to /etc/apt/sources.list.d, then apt-get update",
    )
