"""A Deployment on this host: look whether it can work, start it, wait until it answers; status, logs, down.

The only part of the deployment that talks to an engine. It drives `docker compose`, so whatever is started here can be
looked after by hand, in the folder that holds compose.yaml.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker.errors
from packaging.version import InvalidVersion, Version

from torchpair import compat, deploy, host
from torchpair.command import run
from torchpair.deploy import Deployment
from torchpair.diagnose import Host
from torchpair.engine import Engine
from torchpair.errors import EXIT_UNHEALTHY, CommandError, EngineError, TorchpairError, visible
from torchpair.files import write_whole
from torchpair.progress import Progress
from torchpair.sovits import layout, start, weights

FREE_GB = 5  # for logs, caches and output
GIB = 1 << 30
EVERY = 1.0  # seconds between two looks at a container that starts
TAIL = 15
RESTARTS = 3  # a container that ended as often does not come up by itself
PROJECT = "com.docker.compose.project"
SERVICE = "com.docker.compose.service"


class NotReady(TorchpairError):
    """The host, the image or the models are not as the deployment needs them."""


class NotHealthy(TorchpairError):
    """It was started and does not answer."""

    exit_code = EXIT_UNHEALTHY


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. problem: None, or what is wrong; remedy: what to do then."""

    what: str
    problem: str | None = None
    remedy: str = ""

    def __str__(self) -> str:
        if self.problem is None:
            return f"✓ {self.what}"
        return f"✗ {self.what}: {self.problem}" + (f"\n    try: {self.remedy}" if self.remedy else "")


@dataclass(frozen=True)
class State:
    """A service of a deployment, as the engine has it."""

    service: str
    status: str  # "running", "exited", "restarting"
    health: str  # "starting", "healthy", "unhealthy", "none"
    exit_code: int
    restarts: int
    image: str
    container: str

    @property
    def healthy(self) -> bool:
        return self.status == "running" and self.health == "healthy"


# ---- before: what can be known without starting anything -----------------------------------------------------------


def examine(engine: Engine, deployment: Deployment, folder: Path) -> list[Finding]:
    """Engine, image, GPU, disk, ports, models and folders, each with what is wrong with it."""
    found = [_compose(engine), *_image(engine, deployment)]
    if deployment.gpu:
        labels = _labels(engine, deployment.image)
        found += gpu_findings(host.look(engine), labels.get("torchpair.min-driver"), labels.get("torchpair.sm"))
    found += [_disk(folder), *_ports(engine, deployment), models_finding(_below(folder, deployment.models), deployment)]
    found += [_writable(_below(folder, deployment.data), deployment.user)]
    return found


def refuse(findings: Sequence[Finding]) -> None:
    """Raises NotReady when anything is wrong."""
    wrong = [finding for finding in findings if finding.problem]
    if wrong:
        raise NotReady(
            f"{len(wrong)} thing{'s' if len(wrong) > 1 else ''} to settle before GPT-SoVITS can start here",
            why="\n       ".join(f"{f.what}: {f.problem}" for f in wrong),
            remedy="\n       ".join(dict.fromkeys(f.remedy for f in wrong if f.remedy)) or None,
        )


def _below(folder: Path, path: str) -> Path:
    return Path(path) if Path(path).is_absolute() else folder / path


def _compose(engine: Engine) -> Finding:
    what = "docker compose"
    install = "https://docs.docker.com/compose/install/"
    if engine.docker is None:
        return Finding(what, "there is no docker command here", install)
    try:
        version = run([engine.docker, "compose", "version", "--short"], env=engine.env(), timeout=30).strip()
    except CommandError:
        return Finding(what, "the docker command has no compose", install)
    return Finding(f"{what} {version}")


def _image(engine: Engine, deployment: Deployment) -> list[Finding]:
    labels = _labels(engine, deployment.image)
    what = f"image {deployment.tag}"
    if not labels:
        return [
            Finding(what, "the engine does not have it", "torchpair deploy gpt-sovits, without --image, builds one")
        ]
    flavour = labels.get("torchpair.app.flavour", "")
    if labels.get("torchpair.app") != "gpt-sovits":
        return [Finding(what, "it is no image of GPT-SoVITS made by torchpair", "leave --image out")]
    if deployment.webui and flavour == "api":
        return [Finding(what, "its flavour is api, which has no WebUI", f"an image of flavour {deployment.flavour}")]
    return [Finding(f"{what}: flavour {flavour}, torch {labels.get('torchpair.torch', 'unknown')}")]


def _labels(engine: Engine, reference: str) -> dict[str, str]:
    with closing(engine.client()) as client:
        try:
            return dict(client.images.get(reference).attrs["Config"].get("Labels") or {})
        except docker.errors.APIError:
            return {}


def gpu_findings(seen: Host, min_driver: str | None, sm: str | None) -> list[Finding]:
    """Driver, cards and engine against what the image's labels say it needs. sm: "8.0 9.0+PTX"."""
    found = []
    if seen.driver is None:
        found.append(Finding("NVIDIA driver", "none answers here", "nvidia-smi; or deploy with --cpu"))
    else:
        found.append(_driver(seen.driver, min_driver))
    compiled = tuple((sm or "").split())
    for gpu in seen.gpus:
        if gpu.capability and compiled and not compat.covers(compiled, gpu.capability):
            remedy = f"torchpair solve --gpu {gpu.capability} --for gpt-sovits"
            found.append(
                Finding(gpu.name, f"no code for {gpu.capability} in this torch ({', '.join(compiled)})", remedy)
            )
        else:
            found.append(Finding(f"{gpu.name}{f', {gpu.capability}' if gpu.capability else ''}"))
    if seen.passes_gpus:
        found.append(Finding("the engine hands GPUs to containers"))
    else:
        page = "https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/"
        found.append(Finding("GPUs in containers", seen.how or "the engine was not asked", page))
    return found


def _driver(driver: str, needed: str | None) -> Finding:
    try:
        old = needed is not None and Version(driver) < Version(needed)
    except InvalidVersion:
        old = False
    if old:
        return Finding(f"NVIDIA driver {driver}", f"the image needs {needed}", f"install driver {needed} or newer")
    return Finding(f"NVIDIA driver {driver}")


def _disk(folder: Path) -> Finding:
    place = next(path for path in (folder.resolve(), *folder.resolve().parents) if path.is_dir())
    free = shutil.disk_usage(place).free / GIB
    if free < FREE_GB:
        return Finding("disk", f"{free:.1f} GB free at {place}", f"{FREE_GB} GB are needed for logs, caches and output")
    return Finding(f"disk: {free:.0f} GB free")


def _ports(engine: Engine, deployment: Deployment) -> list[Finding]:
    running = {state.service for state in states(engine, deployment.name) if state.status == "running"}
    wanted = {"api": deployment.all_ports["api"]}
    if "api" in running:
        return [Finding(f"port {wanted['api']}: this deployment's own, which runs already")]
    return [port_finding(deployment.address, name, port) for name, port in wanted.items()]


def port_finding(address: str, name: str, port: int) -> Finding:
    """Whether a port can be listened on here."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            return Finding(f"port {port}", f"{address}: {error.strerror}", f"another one: --port {name}={port + 1}")
    return Finding(f"port {port} on {address} is free")


def models_finding(folder: Path, deployment: Deployment) -> Finding:
    """Whether every file of the version lies there, as far as names, sizes and forms show."""
    what = f"models of {deployment.version} in {folder}"
    problems = weights.look(folder, weights.needed(deployment.version))
    remedy = f"torchpair models gpt-sovits fetch --version {deployment.version} --models {folder}"
    if problems:
        listed = "; ".join(str(problem) for problem in problems[:3])
        more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
        return Finding(what, listed + more, remedy)
    return Finding(what)


def _writable(folder: Path, user: str) -> Finding:
    uid, gid = (int(part) for part in user.split(":"))
    what = f"data in {folder}"
    if not folder.exists():
        return Finding(f"{what}: will be made")
    there = folder.stat()
    if uid == 0 or there.st_uid == uid or (there.st_gid == gid and there.st_mode & 0o020) or there.st_mode & 0o002:
        return Finding(what)
    return Finding(
        what, f"it belongs to {there.st_uid}, and the container runs as {user}", f"--user {there.st_uid}:{there.st_gid}"
    )


# ---- files ---------------------------------------------------------------------------------------------------------


def write(deployment: Deployment, folder: Path) -> list[Path]:
    """compose.yaml, .env and kubernetes.yaml; an .env that was changed by hand is kept beside as .env.old."""
    written = []
    for name, text in deploy.files(deployment).items():
        path = folder / name
        if name == deploy.ENV and path.is_file() and path.read_text(encoding="utf-8") != text:
            path.replace(folder / f"{deploy.ENV}.old")
        write_whole(path, text)
        written.append(path)
    return written


def make_folders(deployment: Deployment, folder: Path) -> None:
    """The folders that are mounted; new ones belong to the container's user where this process may give them away."""
    uid, gid = (int(part) for part in deployment.user.split(":"))
    _below(folder, deployment.models).mkdir(parents=True, exist_ok=True)
    data = _below(folder, deployment.data)
    for place in (data, data / "reference"):
        if not place.is_dir():
            place.mkdir(parents=True)
            if os.geteuid() == 0:
                os.chown(place, uid, gid)


# ---- the engine ----------------------------------------------------------------------------------------------------


def pinned(engine: Engine, reference: str) -> str:
    """An image by its digest in a registry, else by its id: a tag may be another image tomorrow. Raises EngineError."""
    with closing(engine.client()) as client:
        try:
            attributes = client.images.get(reference).attrs
        except docker.errors.APIError as error:
            raise EngineError(
                f"the engine has no image {reference}", remedy="leave --image out to build one"
            ) from error
    digests = attributes.get("RepoDigests") or []
    return str(digests[0] if digests else attributes["Id"])


def _compose_of(engine: Engine, folder: Path) -> list[str]:
    """`docker compose` of the deployment in a folder."""
    file = str(folder / deploy.COMPOSE)
    return [engine.docker or "docker", "compose", "--project-directory", str(folder), "--file", file]


def compose(engine: Engine, folder: Path, *arguments: str, timeout: float = 600) -> str:
    """`docker compose` in a deployment's folder. Raises CommandError, or NotReady where none lies there."""
    if not deploy.written_to(folder):
        raise NotReady(
            f"there is no deployment in {folder}", remedy="torchpair deploy gpt-sovits, or --output with its folder"
        )
    return run([*_compose_of(engine, folder), *arguments], env=engine.env(), timeout=timeout)


def name_of(folder: Path) -> str:
    """The compose project of a folder. Raises NotReady."""
    try:
        text = (folder / deploy.COMPOSE).read_text(encoding="utf-8")
    except OSError:
        text = ""
    match = re.search(r"^name: (\S+)$", text, re.MULTILINE)
    if match is None:
        raise NotReady(f"there is no deployment in {folder}", remedy="--output with its folder")
    return match[1]


def states(engine: Engine, name: str) -> list[State]:
    """Every service of a deployment that has a container."""
    with closing(engine.client()) as client:
        found = []
        for container in client.containers.list(all=True, filters={"label": f"{PROJECT}={name}"}):
            found.append(_state(container.attrs))
    return sorted(found, key=lambda state: state.service)


def _state(attributes: dict[str, Any]) -> State:
    state = attributes.get("State", {})
    labels = attributes.get("Config", {}).get("Labels") or {}
    return State(
        service=str(labels.get(SERVICE, "?")),
        status=str(state.get("Status", "unknown")),
        health=str((state.get("Health") or {}).get("Status", "none")),
        exit_code=int(state.get("ExitCode") or 0),
        restarts=int(attributes.get("RestartCount") or 0),
        image=str(attributes.get("Image", "")),
        container=str(attributes.get("Id", "")),
    )


def up(engine: Engine, deployment: Deployment, folder: Path, shown: Progress, seconds: float) -> None:
    """Start, and wait until every service answers. Raises NotHealthy with the container's own last words.

    What cannot start is stopped again: it would only be started and end for ever.
    """
    compose(engine, folder, "up", "--detach", "--remove-orphans")
    try:
        wait(engine, deployment.name, shown, seconds)
    except NotHealthy:
        compose(engine, folder, "stop")
        raise


def wait(
    engine: Engine, name: str, shown: Progress, seconds: float, sleep: Callable[[float], None] = time.sleep
) -> None:
    """Until every service of a deployment is healthy. Raises NotHealthy."""
    began, told = time.monotonic(), set()
    while True:
        passed = time.monotonic() - began
        found = states(engine, name)
        for state in found:
            if state.healthy and state.service not in told:
                told.add(state.service)
                shown.end(state.service, f"healthy after {passed:.0f} s")
            elif not state.healthy:
                lines = logs_of(engine, state.container, 1)
                shown.step(
                    state.service, lines[-1] if lines else state.status, min(int(passed), int(seconds)), int(seconds)
                )
            given_up = state.status in ("exited", "dead") or state.restarts >= RESTARTS or (
                state.restarts and state.exit_code == start.EXIT_CONFIG
            )  # fmt: skip
            if given_up or state.health == "unhealthy":
                raise _not_healthy(engine, state, "it does not answer" if not given_up else "it ended")
        if found and all(state.healthy for state in found):
            return
        if passed > seconds:
            late = next((state for state in found if not state.healthy), None)
            if late is None:
                raise NotHealthy("nothing was started", remedy="COMPOSE_PROFILES in .env names what is")
            raise _not_healthy(engine, late, f"no answer in {seconds:.0f} s")
        sleep(EVERY)


def _not_healthy(engine: Engine, state: State, what: str) -> NotHealthy:
    lines = logs_of(engine, state.container, 200)
    # A refusal of start.py says why and what to do; what else is in the log is beside it.
    last = [i for i, line in enumerate(lines) if line.startswith("gpt-sovits: ")]
    lines = lines[last[-1] :] if last else lines[-TAIL:]
    return NotHealthy(
        f"{state.service}: {what}", why="its last words:\n    " + "\n    ".join(lines or ["none"]),
        remedy="torchpair deploy logs",
    )  # fmt: skip


def logs_of(engine: Engine, container: str, lines: int) -> list[str]:
    """The last lines of a container's output."""
    with closing(engine.client()) as client:
        try:
            text = client.containers.get(container).logs(tail=lines).decode("utf-8", "replace")
        except docker.errors.APIError:
            return []
    return [visible(line) for line in text.splitlines() if line.strip()]


def follow(engine: Engine, folder: Path, service: str | None, tail: int, on: bool) -> int:
    """`docker compose logs`, straight to the terminal; its exit code."""
    if not deploy.written_to(folder):
        raise NotReady(f"there is no deployment in {folder}", remedy="--output with its folder")
    argv = _compose_of(engine, folder)
    argv += [
        "--profile",
        "*",
        "logs",
        "--tail",
        str(tail),
        *(["--follow"] if on else []),
        *([service] if service else []),
    ]
    return subprocess.run(argv, env=engine.env(), stdin=subprocess.DEVNULL, check=False).returncode


def voices(folder: Path) -> Path:
    """Where a user puts reference voices."""
    return folder / layout.MORE_FOLDERS[0]
