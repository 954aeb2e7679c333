"""A Docker engine of this machine's own: started where none answers and it is allowed, and stopped again.

`plan` decides, without touching anything, what starting one would take; `ensure` gives the engine that answers in the
end.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import docker.errors
from docker.api import APIClient

from torchpair.apt import Mirror, apt_install, machine_mirror, os_release
from torchpair.command import run
from torchpair.engine import INSTALL_PAGE, OLDEST_MAJOR, PLUGINS, RUN, SOCKET, STATE, Engine, Say, find, numbers, plugin
from torchpair.errors import CommandError, EngineError
from torchpair.held import locked
from torchpair.suite import DEBIAN

BIN = Path("/usr/local/bin")
# Debian 12's docker.io is 20.10. Debian 13's programs need no newer C library than Debian 12 has (2026-11).
DONOR_SUITE = "trixie"
DONOR_PACKAGES = ("docker.io", "docker-cli", "docker-buildx", "docker-compose", "containerd", "tini")
START_SECONDS = 60.0
STOP_SECONDS = 30.0


@dataclass(frozen=True)
class StartPlan:
    """How to get an engine on this machine.

    kind: `run` a dockerd that is here, `unpack` Debian 13's beside the system's packages, `install` the system's own
    packages, or `refuse`. packages: for apt-get install. says: told to the user before anything happens.
    why, remedy: only for `refuse`.
    """

    kind: Literal["run", "unpack", "install", "refuse"]
    packages: tuple[str, ...] = ()
    says: tuple[str, ...] = ()
    why: str = ""
    remedy: str = ""


def plan(
    os_id: str, version_id: str, *, is_root: bool, may_mount: bool = True, dockerd: str | None = None
) -> StartPlan:
    """What starting an engine takes on this machine.

    os_id, version_id: ID and VERSION_ID of os-release. dockerd: the path of one that is new enough, if there is one.
    """
    elsewhere = (
        f"install Docker {OLDEST_MAJOR} or newer with buildx ({INSTALL_PAGE}) and start it; "
        "a running engine is picked up through DOCKER_HOST or the docker context"
    )
    name = f"{os_id} {version_id}".strip() or "this system"
    if not is_root:
        return StartPlan("refuse", why="only root may start one, and this is another user", remedy=elsewhere)
    if not may_mount:
        why = "this root may not mount file systems (a container without --privileged?)"
        return StartPlan("refuse", why=why, remedy="start an engine outside and give its address in DOCKER_HOST")
    where = f"Its data goes to {STATE}/docker, it listens on {SOCKET} and keeps running afterwards."
    if dockerd:
        return StartPlan("run", says=(f"No Docker engine answers: starting {dockerd}.", where))
    release = numbers(version_id)
    # Debian's testing and unstable have no VERSION_ID.
    if os_id == "debian" and (not release or release >= (13,)):
        packages: tuple[str, ...] = ("docker.io", "docker-cli", "docker-buildx", "docker-compose", "iptables")
    elif os_id == "ubuntu" and release >= (22, 4):
        packages = ("docker.io", "docker-buildx", "docker-compose-v2", "iptables")
    elif os_id == "debian" and release >= (12,):
        says = f"No Docker engine answers: unpacking Debian 13's into {STATE}/engine (90 MB) and starting it."
        return StartPlan("unpack", ("runc", "iptables"), (says, where))
    else:
        why = f"torchpair starts one on Debian 12 or newer and Ubuntu 22.04 or newer, and this is {name}"
        return StartPlan("refuse", why=why, remedy=elsewhere)
    says = f"No Docker engine answers: installing {' '.join(packages)} and starting it."
    return StartPlan("install", packages, (says, f"Unless systemd starts it: {where[0].lower()}{where[1:]}"))


def dockerd_flags(settings: Mapping[str, object]) -> list[str]:
    """The flags of torchpair's dockerd.

    settings: the machine's daemon.json; dockerd refuses a flag that this file sets too, so the file wins.
    """
    flags = {
        "hosts": f"--host=unix://{SOCKET}",
        "data-root": f"--data-root={STATE}/docker",
        "exec-root": f"--exec-root={RUN}/exec",
        "storage-driver": "--storage-driver=overlay2",
    }
    return [f"--pidfile={RUN}/dockerd.pid", *(flag for key, flag in flags.items() if key not in settings)]


def ensure(say: Say, offline: bool = False) -> Engine:
    """The engine that answers, or one that this call starts; offline: one that is here already.

    say gets one line at a time, and hears what will happen before it happens. Raises EngineError where torchpair
    may not or cannot start one, CommandError when apt fails.
    """
    if engine := find():
        return engine
    release = os_release(_text(Path("/etc/os-release")))
    path = _dockerd()
    start = plan(
        release.get("ID", ""),
        release.get("VERSION_ID", ""),
        is_root=os.geteuid() == 0,
        may_mount=_may_mount(_text(Path("/proc/self/status"))),
        dockerd=str(path) if path else None,
    )
    if start.kind == "refuse":
        raise EngineError("no Docker engine answers", why=start.why, remedy=start.remedy)
    if offline and start.kind != "run":
        remedy = f"install Docker {OLDEST_MAJOR} or newer with buildx from packages of your own ({INSTALL_PAGE})"
        raise EngineError("no Docker engine answers", why="there is none here, and no network", remedy=remedy)
    for line in start.says:
        say(line)
    began = time.monotonic()
    with locked(STATE / "engine.lock", say):
        # Whoever held the lock before may have started it.
        if engine := find():
            return engine
        if start.kind == "install":
            apt_install(start.packages)
        elif start.kind == "unpack":
            where = machine_mirror(release["VERSION_CODENAME"])
            with concurrent.futures.ThreadPoolExecutor() as pool:  # the two share no lock: apt has a state of its own
                installing = pool.submit(apt_install, [p for p in start.packages if not shutil.which(p)])
                _unpack(where)
                installing.result()
        _link_cli()
        if not _answers():  # under systemd, installing the package has started it
            _start()
        engine = find()
    if engine is None:
        raise EngineError("dockerd was started but does not answer", why=_last_words(0))
    say(f"Docker {engine.version} answers on {engine.host} after {time.monotonic() - began:.1f} s.")
    return engine


def stop(say: Say) -> bool:
    """Stop the engine that torchpair started, and no other. Whether there was one; EngineError if it will not end."""
    with locked(STATE / "engine.lock", say):
        pid = _running(RUN / "dockerd.pid", f"--pidfile={RUN}/dockerd.pid")
        if pid is None:
            say("torchpair has no Docker engine running.")
            return False
        say(f"Stopping the Docker engine that torchpair started (process {pid}).")
        os.kill(pid, signal.SIGTERM)
        if not _wait(lambda: _running(RUN / "dockerd.pid", "dockerd") is None, STOP_SECONDS):
            raise EngineError(f"dockerd (process {pid}) did not end in {STOP_SECONDS:.0f} s", remedy=f"kill -9 {pid}")
    return True


def _unpack(where: Mirror) -> None:
    """Debian 13's programs into STATE/engine, leaving apt's own state as it is."""
    work = STATE / "engine.new"
    shutil.rmtree(work, ignore_errors=True)
    try:
        root, debs = work / "root", work / "debs"
        for folder in (root, debs, work / "lists/partial", work / "cache/archives/partial"):
            folder.mkdir(parents=True)
        with contextlib.suppress(LookupError):
            shutil.chown(debs, "_apt")  # apt downloads as this user
        line = f"deb [signed-by={DEBIAN.keyring}] {where.main} {DONOR_SUITE} main\n"
        (work / "sources.list").write_text(line)
        settings = {
            "Dir::Etc::sourcelist": work / "sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::Etc::preferences": "/dev/null",
            "Dir::Etc::preferencesparts": "/dev/null",
            "Dir::State::lists": work / "lists",
            "Dir::State::status": "/dev/null",
            "Dir::Cache": work / "cache",
            "Acquire::Languages": "none",
            "Acquire::AllowInsecureRepositories": "false",
            "APT::Get::AllowUnauthenticated": "false",
        }
        apt = ["env", "-C", str(debs), "apt-get", "-qq", *(f"-o{key}={value}" for key, value in settings.items())]
        remedy = f"check that this machine's apt mirror has Debian's suite {DONOR_SUITE}"
        run([*apt, "update"], remedy=remedy)
        run([*apt, "download", *DONOR_PACKAGES], remedy=remedy)
        with concurrent.futures.ThreadPoolExecutor() as pool:
            list(pool.map(lambda deb: run(["dpkg", "-x", str(deb), str(root)]), sorted(debs.glob("*.deb"))))
        shutil.rmtree(STATE / "engine", ignore_errors=True)
        root.rename(STATE / "engine")
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _dockerd() -> Path | None:
    """An installed dockerd that is new enough: the system's, else the unpacked one."""
    for name in ("dockerd", "/usr/sbin/dockerd", str(STATE / "engine/usr/sbin/dockerd")):
        path = shutil.which(name)
        with contextlib.suppress(CommandError):
            if path and numbers(run([path, "--version"]).partition("version ")[2]) >= (OLDEST_MAJOR,):
                return Path(path)
    return None


def _link_cli() -> None:
    """Make the unpacked docker CLI and plugins reachable where there are none."""
    own = STATE / "engine/usr"
    links = [(own / "bin/docker", BIN / "docker", bool(shutil.which("docker")))]
    for name in ("docker-buildx", "docker-compose"):
        links.append((own / "libexec/docker/cli-plugins" / name, PLUGINS / name, bool(plugin(name))))
    for target, link, there in links:
        if target.exists() and not there:
            link.parent.mkdir(parents=True, exist_ok=True)
            link.unlink(missing_ok=True)  # a link whose target is gone
            link.symlink_to(target)


def _start() -> None:
    """Start dockerd, detached, and wait until it answers; EngineError with its last words when it does not."""
    program = _dockerd()
    if program is None:
        raise EngineError("dockerd is still missing after its installation", remedy=INSTALL_PAGE)
    own = STATE / "engine/usr"
    RUN.mkdir(parents=True, exist_ok=True)
    # After kill -9 the files stay. dockerd refuses to start (or waits for ever) when another process has that number.
    pid = _running(RUN / "dockerd.pid", f"--pidfile={RUN}/dockerd.pid")
    _running(RUN / "exec/containerd/containerd.pid", "containerd")
    log = STATE / "dockerd.log"
    offset = log.stat().st_size if log.exists() else 0
    child = None
    if pid is None:
        try:
            settings = json.loads(_text(Path("/etc/docker/daemon.json")) or "{}")
        except ValueError as error:
            raise EngineError("not JSON", where="/etc/docker/daemon.json", why=str(error)) from error
        argv = [str(program), *dockerd_flags(settings)]
        if program.is_relative_to(own):
            argv += [f"--init-path={own}/bin/docker-init", f"--userland-proxy-path={own}/sbin/docker-proxy"]
        path = f"{own}/sbin:{own}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        with log.open("ab") as out:
            child = subprocess.Popen(
                argv,
                env={**os.environ, "PATH": path},
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
    _wait(lambda: _answers() or (child is not None and child.poll() is not None), START_SECONDS)
    if not _answers():
        alive = pid if child is None else child.pid if child.poll() is None else None
        why = _last_words(offset)
        remedy = f"kill -9 {alive}, then try again" if alive else remedy_for(why)
        raise EngineError("dockerd does not come up", where=str(log), why=why, remedy=remedy)


def _answers() -> bool:
    try:
        client = APIClient(base_url=f"unix://{SOCKET}", timeout=5)
        client.close()
    except (docker.errors.DockerException, OSError):
        return False
    return True


def _running(pidfile: Path, needle: str) -> int | None:
    """The process in a pidfile, if its command line has needle in it; else None, and the stale file is removed."""
    try:
        pid = int(pidfile.read_text())
        if needle in Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace"):
            return pid
    except (OSError, ValueError):
        pass
    pidfile.unlink(missing_ok=True)
    return None


def _wait(done: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not (answer := done()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return answer


def _last_words(offset: int) -> str:
    """What dockerd complained of since this start: its log from offset (bytes) on, without the reports of progress."""
    log = STATE / "dockerd.log"
    text = log.read_bytes()[offset:].decode(errors="replace") if log.exists() else ""
    return "\n    ".join([line for line in text.splitlines() if "level=info" not in line][-8:]) or "its log is empty"


def remedy_for(log: str) -> str:
    """What to do about a dockerd that ended, from its last words."""
    if "overlay2" in log and ("not supported" in log or "driver" in log):
        return f"overlay2 needs a file system such as ext4 or xfs (ftype=1) under {STATE}/docker: mount one there"
    if "iptables" in log:
        return "check that iptables works here, for instance: iptables -t nat -L"
    return "mend what the log says, then try again"


def _may_mount(status: str) -> bool:
    """Whether /proc/self/status shows CAP_SYS_ADMIN (bit 21), without which dockerd cannot work."""
    effective = re.search(r"^CapEff:\s*([0-9a-f]+)", status, re.MULTILINE)
    return effective is None or bool(int(effective.group(1), 16) >> 21 & 1)


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""
