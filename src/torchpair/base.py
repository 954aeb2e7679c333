"""The base of an image: nvidia/cuda where a registry can be reached, else a root made on this machine."""

from __future__ import annotations

import http.client
import os
import queue
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

import docker.errors
from docker.auth import INDEX_NAME, INDEX_URL, resolve_repository_name

from torchpair import keyring, mirrors
from torchpair.apt import Mirror, apt_install, machine_mirror, os_release
from torchpair.command import run
from torchpair.engine import STATE, Engine, Say
from torchpair.errors import CommandError, EngineError, TorchpairError
from torchpair.held import locked
from torchpair.suite import ARCHIVES, SUITES, Archive, Suite

REPOSITORY = "torchpair-base"

# As nvidia/cuda has them: the container toolkit reads the last two, and puts its programs where PATH begins.
ENVIRONMENT = {
    "PATH": "/usr/local/nvidia/bin:/usr/local/cuda/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "NVIDIA_VISIBLE_DEVICES": "all",
    "NVIDIA_DRIVER_CAPABILITIES": "compute,utility",
}

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


# ---- the local base ---------------------------------------------------------------------------------------------


def ensure_local(engine: Engine, distro: str, say: Say, apt: str | None = None) -> str:
    """The reference of the local base for a distro (`debian12`, `ubuntu22.04`); makes it when the engine lacks it.

    say gets one line at a time. apt: a mirror with debian/, debian-security/ and ubuntu/ below it, for a distribution
    that is not this machine's own. Raises EngineError where it cannot be made here, CommandError when debootstrap
    fails.
    """
    suite = SUITES.get(distro)
    if suite is None:
        remedy = f"one of {', '.join(sorted(SUITES))}"
        raise EngineError(f"there is no local base {distro!r}", remedy=remedy)
    reference = f"{REPOSITORY}:{distro}"
    if _held(engine, reference):
        return reference
    release = os_release(Path("/etc/os-release").read_text())
    if os.geteuid() != 0 or release.get("ID") not in ARCHIVES:
        why = "it takes root on Debian or Ubuntu, whose apt knows a mirror and has the keys"
        remedy = "make it there, or take another base in matrix.yaml: nvidia, or any image reference"
        raise EngineError(f"the local base {reference} cannot be made here", why=why, remedy=remedy)
    work = STATE / "base" / distro
    with locked(STATE / f"base-{distro}.lock", say):
        if _held(engine, reference):  # whoever held the lock before made it
            return reference
        began = time.monotonic()
        umask = os.umask(0o022)  # with a stricter one, the image's own users could not read /etc
        try:
            _remove(work)  # what a killed caller left
            where = _where(suite.archive, release, apt)
            own = suite.archive.id == release["ID"]
            origin = "this machine's apt mirror" if own else mirrors.plain(where.main)
            what = f"{suite.archive.name}'s {suite.codename}"
            say(f"Making {reference}: debootstrap of {what} from {origin}, about a minute.")
            kept = dated(run(["apt-config", "dump"])) if own else []
            if kept:
                say(f"As on this machine, apt in the base has {' '.join(kept)} (a mirror of a fixed date?)")
            stamp = _bootstrap(work, suite, where, kept, say)
            _import(engine, work, stamp, reference, labels(reference, suite.codename, stamp))
        finally:
            _remove(work)
            os.umask(umask)
    with closing(engine.client()) as client:
        size = client.images.get(reference).attrs["Size"] / 1e6
    say(f"{reference} is ready: {size:.0f} MB, after {time.monotonic() - began:.0f} s.")
    return reference


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


def labels(reference: str, suite: str, stamp: int) -> dict[str, str]:
    """What the image says about how it was made; stamp: the suite's date, in seconds since 1970."""
    return {
        "org.opencontainers.image.base.name": reference,
        "torchpair.base.made-by": "debootstrap --variant=minbase",
        "torchpair.base.suite": suite,
        "torchpair.base.date": time.strftime("%Y-%m-%d", time.gmtime(stamp)),
    }


def _where(archive: Archive, release: dict[str, str], apt: str | None) -> Mirror:
    """Where an archive is served from: to this machine's own distribution by its apt, to another by `apt` if given."""
    if archive.id == release["ID"]:
        return machine_mirror(release.get("VERSION_CODENAME", ""), archive)
    if apt:
        return Mirror(f"{apt}/{archive.id}", f"{apt}/{archive.security}")
    common = run(["dpkg", "--print-architecture"]).strip() in ("amd64", "i386")
    main = archive.main if common else archive.ports
    if main is None:
        raise EngineError(
            f"this machine's apt has no mirror of {archive.name}",
            why=f"it is {release.get('PRETTY_NAME', release['ID'])}",
            remedy=f"name one with {archive.id}/ below it: apt in matrix.yaml's mirrors, --mirror",
        )
    return Mirror(main, main)


def _bootstrap(root: Path, suite: Suite, where: Mirror, settings: Sequence[str], say: Say) -> int:
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


def _import(engine: Engine, root: Path, stamp: int, reference: str, said: dict[str, str]) -> None:
    """Stream a root into the engine as an image of one layer; tagged only when it arrived whole."""
    changes = [f'ENV {key}="{value}"' for key, value in ENVIRONMENT.items()]
    changes += [f'LABEL {key}="{value}"' for key, value in sorted(said.items())]
    changes.append('CMD ["bash"]')
    argv = ["tar", "--create", "--sort=name", "--numeric-owner", f"--mtime=@{stamp}", "--clamp-mtime", "-C", str(root)]
    repository, _, tag = reference.partition(":")
    with tempfile.TemporaryFile() as words, subprocess.Popen([*argv, "."], stdout=subprocess.PIPE, stderr=words) as tar:

        def blocks() -> Iterator[bytes]:
            assert tar.stdout is not None
            while block := tar.stdout.read(1 << 20):
                yield block
            if tar.wait():  # an error here breaks the upload off, so the engine drops what it has
                words.seek(0)
                raise EngineError("tar could not read the new root", why=words.read().decode(errors="replace")[-500:])

        try:
            with closing(engine.client(timeout=600)) as client:
                answer = client.api.import_image_from_stream(blocks(), repository, tag, changes)
        except (docker.errors.DockerException, OSError) as error:
            raise EngineError("the engine did not take the new base", where=reference, why=str(error)) from error
        finally:
            tar.kill()
    if '"error"' in answer:
        raise EngineError("the engine did not take the new base", where=reference, why=answer[-500:])


def _held(engine: Engine, reference: str) -> bool:
    """Whether the engine has an image of that name."""
    try:
        with closing(engine.client()) as client:
            client.images.get(reference)
    except docker.errors.ImageNotFound:
        return False
    except (docker.errors.DockerException, OSError) as error:
        raise EngineError(
            f"the engine cannot say whether it has {reference}", where=engine.host, why=str(error)
        ) from error
    return True


def _remove(root: Path) -> None:
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


# ---- which base -------------------------------------------------------------------------------------------------


def choose_base(wanted: str, image: str, engine: Engine) -> tuple[str, str]:
    """`nvidia` or `local`, and one sentence that says why.

    wanted: `nvidia`, `local`, or `auto`: nvidia when the engine holds image or can get it, else local.
    """
    if wanted in ("nvidia", "local"):
        return wanted, f"base {wanted}: asked for"
    if wanted != "auto":
        raise TorchpairError(f"there is no base {wanted!r}", remedy="one of auto, nvidia, local")
    if not image:
        return "local", "base local: no row asked for can stand on nvidia/cuda"
    if _held(engine, image):
        return "nvidia", f"base nvidia: the engine already holds {image}"
    reachable, why = registry_reachable(image)
    if not reachable and _mirrored(image, engine):
        reachable, why = True, "the engine has a mirror of its registry, which answers"
    if reachable:
        return "nvidia", f"base nvidia: {why}"
    return "local", f"base local: {image} cannot be pulled here ({why})"


def registry_reachable(reference: str, timeout: float = 5.0) -> tuple[bool, str]:
    """Whether the registry of an image reference can be asked from here, and a few plain words that say so.

    timeout: seconds in all. An anonymous 401 counts: the registry is there and wants a token.
    """
    try:
        registry, _ = resolve_repository_name(reference)
    except (docker.errors.DockerException, IndexError):
        return False, f"{reference!r} is not an image reference"
    host = urlsplit(INDEX_URL).netloc if registry == INDEX_NAME else registry
    # As the engine does: no TLS asked of this machine's own registry.
    scheme = "http" if re.match(r"(localhost|127\.\d+\.\d+\.\d+)(:\d+)?$", host) else "https"
    return _ping(f"{scheme}://{host}", registry, timeout)


def _mirrored(image: str, engine: Engine) -> bool:
    """Whether a mirror that the engine is set up with answers for this image; they serve the default registry only."""
    if resolve_repository_name(image)[0] != INDEX_NAME:
        return False
    try:
        with closing(engine.client(timeout=10)) as client:
            mirrors: Sequence[str] = (client.info().get("RegistryConfig") or {}).get("Mirrors") or ()
    except (docker.errors.DockerException, OSError):
        return False
    return any(_ping(address.rstrip("/"), address, 3.0)[0] for address in mirrors)


def _ping(address: str, name: str, timeout: float) -> tuple[bool, str]:
    """Ask `address/v2/`. In a thread, because a name look-up takes no timeout."""
    answers: queue.SimpleQueue[tuple[bool, str]] = queue.SimpleQueue()
    threading.Thread(target=lambda: answers.put(_ask(address, name, timeout)), daemon=True).start()
    try:
        return answers.get(timeout=timeout)
    except queue.Empty:
        return False, f"{name} did not answer in {timeout:.0f} s"


def _ask(address: str, name: str, timeout: float) -> tuple[bool, str]:
    # No proxy stands between this machine and itself.
    proxies = [urllib.request.ProxyHandler({})] if address.startswith("http://") else []
    try:
        with urllib.request.build_opener(*proxies).open(f"{address}/v2/", timeout=timeout) as response:
            code = response.status
    except urllib.error.HTTPError as error:
        code = error.code
    except urllib.error.URLError as error:
        return False, f"{name} {_reason(error.reason)}"
    except (OSError, http.client.HTTPException, ValueError) as error:
        return False, f"{name} {_reason(error)}"
    return code in (200, 401), f"{name} answers" if code in (200, 401) else f"{name} answers with HTTP {code}"


def _reason(error: object) -> str:
    """A network error in words that continue `<registry> ...`."""
    if isinstance(error, socket.gaierror):
        return "is not a name that this machine can look up"
    if isinstance(error, TimeoutError):
        return "did not answer in time"
    if isinstance(error, ConnectionRefusedError):
        return "refuses the connection"
    if isinstance(error, ssl.SSLCertVerificationError):
        return "has a certificate that this machine does not trust"
    if isinstance(error, http.client.HTTPException):
        return "does not speak HTTP"
    return f"cannot be reached: {error}"
