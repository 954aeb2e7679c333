"""What the local base can be: the suites that debootstrap makes a root of, and the archives they come from. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

KEYRINGS = Path("/usr/share/keyrings")


@dataclass(frozen=True)
class Archive:
    """A distribution's archive, and what its signatures are checked with."""

    id: str  # as os-release has it, and as a mirror names its folder: "ubuntu"
    name: str  # as its Release files have it under Origin: "Ubuntu"
    components: str  # for sources.list
    security: str  # the folder of the security updates on a mirror
    package: str  # has the keyring
    keyring: Path  # on a machine of this distribution, and in every root of it
    main: str | None = None  # where it is served for amd64; None: by the machine's apt or a mirror only
    ports: str | None = None  # where it is served for other architectures
    keys: tuple[str, ...] = ()  # fingerprints that may sign it; for a machine without the keyring
    source: str = ""  # where the fingerprints are published


@dataclass(frozen=True)
class Suite:
    """What a local base is made of."""

    distro: str  # "ubuntu22.04"
    archive: Archive
    codename: str
    # What debootstrap takes packages from, best first. Debian folds updates into its suite with each point release;
    # Ubuntu's suite stays as it was on the first day, and everything since then is in its updates.
    pockets: tuple[str, ...]
    script: str  # of debootstrap: an older debootstrap has none of a younger suite's name


DEBIAN = Archive(
    id="debian",
    name="Debian",
    components="main",
    security="debian-security",
    package="debian-archive-keyring",
    keyring=KEYRINGS / "debian-archive-keyring.gpg",
)
UBUNTU = Archive(
    id="ubuntu",
    name="Ubuntu",
    components="main universe",  # ffmpeg, tini and python3-venv are in universe
    security="ubuntu",
    package="ubuntu-keyring",
    keyring=KEYRINGS / "ubuntu-archive-keyring.gpg",
    # As debootstrap's own script `gutsy` has them.
    main="http://archive.ubuntu.com/ubuntu",
    ports="http://ports.ubuntu.com/ubuntu-ports",
    # Ubuntu Archive Automatic Signing Key (2018) and (2012); also on keyserver.ubuntu.com.
    keys=("F6ECB3762474EDA9D21B7022871920D1991BC93C", "790BC7277767219C42C86F933B4FE6ACC0B21F32"),
    source="https://wiki.ubuntu.com/SecurityTeam/FAQ",
)
ARCHIVES = {archive.id: archive for archive in (DEBIAN, UBUNTU)}


def _debian(release: str, codename: str) -> Suite:
    return Suite(f"debian{release}", DEBIAN, codename, (codename,), "sid")


def _ubuntu(release: str, codename: str) -> Suite:
    return Suite(f"ubuntu{release}", UBUNTU, codename, (f"{codename}-updates", codename), "gutsy")


SUITES = {
    suite.distro: suite
    for suite in (
        _debian("12", "bookworm"),
        _debian("13", "trixie"),
        _ubuntu("22.04", "jammy"),
        _ubuntu("24.04", "noble"),
    )
}
