"""The base of an image: nvidia/cuda where a registry can be reached, else a root made on this machine."""

from __future__ import annotations

import http.client
import os
import queue
import re
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import docker.errors
from docker.auth import INDEX_NAME, INDEX_URL, resolve_repository_name

from torchpair import debootstrap, mirrors
from torchpair.apt import Mirror, machine_mirror, os_release
from torchpair.command import run
from torchpair.engine import STATE, Engine, Say
from torchpair.errors import EngineError, TorchpairError
from torchpair.held import locked
from torchpair.suite import ARCHIVES, SUITES, Archive

REPOSITORY = "torchpair-base"

# As nvidia/cuda has them: the container toolkit reads the last two, and puts its programs where PATH begins.
ENVIRONMENT = {
    "PATH": "/usr/local/nvidia/bin:/usr/local/cuda/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "NVIDIA_VISIBLE_DEVICES": "all",
    "NVIDIA_DRIVER_CAPABILITIES": "compute,utility",
}


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
            debootstrap.remove(work)  # what a killed caller left
            where = _where(suite.archive, release, apt)
            own = suite.archive.id == release["ID"]
            origin = "this machine's apt mirror" if own else mirrors.plain(where.main)
            what = f"{suite.archive.name}'s {suite.codename}"
            say(f"Making {reference}: debootstrap of {what} from {origin}, about a minute.")
            kept = debootstrap.dated(run(["apt-config", "dump"])) if own else []
            if kept:
                say(f"As on this machine, apt in the base has {' '.join(kept)} (a mirror of a fixed date?)")
            stamp = debootstrap.bootstrap(work, suite, where, kept, say)
            _import(engine, work, stamp, reference, labels(reference, suite.codename, stamp))
        finally:
            debootstrap.remove(work)
            os.umask(umask)
    with closing(engine.client()) as client:
        size = client.images.get(reference).attrs["Size"] / 1e6
    say(f"{reference} is ready: {size:.0f} MB, after {time.monotonic() - began:.0f} s.")
    return reference


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
