"""A tidy root of a suite, made by debootstrap; what the local base is made of."""

from __future__ import annotations

import os
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

from torchpair import keyring, mirrors
from torchpair.apt import Mirror, apt_install
from torchpair.command import run
from torchpair.engine import Say
from torchpair.errors import CommandError, EngineError
from torchpair.suite import Suite

# Goes into the root: packages installed later come without manuals and translations, and apt keeps no archives.
DPKG_CONFIG = """\
force-unsafe-io
path-exclude /usr/share/doc/*
path-include /usr/share/doc/*/copyright
path-exclude /usr/share/man/*
path-exclude /usr/share/info/*
path-exclude /usr/share/locale/*
path-include /usr/share/locale/locale.alias
"""
APT_CONFIG = 'Acquire::Languages "none";\nDPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb || true"; };\n'

# What a build leaves behind that says when, where or how it ran, or that apt makes again.
LEFTOVERS = (
    "dev/*",
    "tmp/*",
    "etc/*-",
    "etc/hostname",
    "etc/resolv.conf",
    "etc/apt/sources.list.d/*",
    "var/cache/apt/*",
    "var/cache/debconf/*-old",
    "var/cache/ldconfig/*",
    "var/lib/apt/lists/*",
    "var/lib/dpkg/*-old",
    "var/lib/systemd/*",
    "var/log/*",
    "usr/share/info/*",
    "usr/share/locale/*/*",
    "usr/share/man/*/*",
)


def sources_list(suite: Suite, where: Mirror) -> str:
    """The sources.list of a root: the suite, its updates, and its security updates where the mirror has them."""
    lines = [(where.main, suite.codename), (where.main, f"{suite.codename}-updates")]
    if where.security:
        lines.append((where.security, f"{suite.codename}-security"))
    signed, components = f"signed-by={suite.archive.keyring}", suite.archive.components
    return "".join(f"deb [{signed}] {mirrors.plain(address)} {name} {components}\n" for address, name in lines)


def dated(apt_config: str) -> list[str]:
    """The lines of `apt-config dump` that say whether the mirror's dates are checked.

    They belong to the mirror: where it stands still, apt in a build would refuse it a week later without them.
    """
    return re.findall(r"^Acquire::Check-(?:Valid-Until|Date) .*$", apt_config, re.MULTILINE)


def tidy(root: Path, days: int) -> None:
    """Remove from a fresh root what differs from one making to the next and what no build needs.

    days: since 1970, becomes the date of every password entry.
    """
    for pattern in LEFTOVERS:
        for path in root.glob(pattern):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    for path in (root / "usr/share/doc").rglob("*"):
        if not path.is_dir() and path.name != "copyright":
            path.unlink()
    (root / "var/cache/apt/archives/partial").mkdir(parents=True, exist_ok=True)
    (root / "etc/machine-id").write_text("")
    shadow = root / "etc/shadow"
    if shadow.exists():
        shadow.write_text(re.sub(r"^([^:]*:[^:]*):\d+:", rf"\1:{days}:", shadow.read_text(), flags=re.MULTILINE))


def bootstrap(root: Path, suite: Suite, where: Mirror, settings: Sequence[str], say: Say) -> int:
    """Make a tidy root of a suite, with more settings for its apt. Returns the suite's date, in seconds since 1970."""
    if not shutil.which("debootstrap"):
        say("debootstrap is missing here: installing it with apt-get.")
        apt_install(["debootstrap"])
    config = root / "etc/dpkg/dpkg.cfg.d/torchpair"
    config.parent.mkdir(parents=True)
    config.write_text(DPKG_CONFIG)
    argv = ["debootstrap", "--variant=minbase", "--force-check-gpg"]
    if where.main.startswith("https:"):
        argv.append("--include=ca-certificates")
    first, *more = suite.pockets
    if more:
        argv.append(f"--extra-suites={','.join(more)}")
    remedy = f"check that the mirror has {suite.archive.name}'s suite {first}"
    try:
        with keyring.trusted(suite, where.main, say) as keys, tempfile.TemporaryDirectory() as home:
            argv += [f"--keyring={keys}", first, str(root), mirrors.plain(where.main), suite.script]
            if login := mirrors.netrc([where.main]):  # wget reads it; among the arguments everyone could
                (Path(home) / ".netrc").write_text(login)
                (Path(home) / ".netrc").chmod(0o600)
            run(argv, env={**os.environ, **({"HOME": home} if login else {})}, remedy=remedy, timeout=1800)
    except CommandError as error:
        log = root / "debootstrap/debootstrap.log"  # goes with the root, so its end goes into the message
        if log.exists():
            error.why = "\n    ".join([error.why or "", *log.read_text(errors="replace").splitlines()[-10:]])
        raise
    stamp = int(_suite_date(root).timestamp())
    tidy(root, stamp // 86400)
    (root / "etc/apt/sources.list").write_text(sources_list(suite, where))
    (root / "etc/apt/apt.conf.d/torchpair").write_text(APT_CONFIG + "".join(f"{line}\n" for line in settings))
    return stamp


def _suite_date(root: Path) -> datetime:
    """The newest Date of the signed Release files that debootstrap worked from."""
    texts = [path.read_text(errors="replace") for path in (root / "var/lib/apt/lists").glob("*Release")]
    found = [date for text in texts for date in re.findall(r"^Date: (.+)$", text, re.MULTILINE)]
    if not found:
        raise EngineError("debootstrap left no Release file", where=str(root))
    return max(parsedate_to_datetime(date) for date in found)


def remove(root: Path) -> None:
    """Remove a root, also one in which debootstrap outlived its caller or left /proc mounted."""
    if not root.exists():
        return
    while inside := [process for process in Path("/proc").glob("[0-9]*") if _inside(process, root)]:
        for process in inside:
            with suppress(ProcessLookupError):
                os.kill(int(process.name), signal.SIGKILL)
        time.sleep(0.1)
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for point in sorted((m for m in mounts if m.startswith(f"{root}/")), reverse=True):
        run(["umount", "--lazy", point])
    for _ in range(20):  # debootstrap's own children may need a moment to notice, and to stop writing
        shutil.rmtree(root, ignore_errors=True)
        if not root.exists():
            return
        time.sleep(0.1)
    raise EngineError("the half-made base cannot be removed", where=str(root), remedy=f"rm -rf {root}")


def _inside(process: Path, root: Path) -> bool:
    """Whether a process (its folder in /proc) is the debootstrap of this root, or lives in it."""
    try:
        command = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
        home = (process / "root").readlink()
    except OSError:
        return False
    return home.is_relative_to(root) or ("/usr/sbin/debootstrap" in command and str(root) in command)
