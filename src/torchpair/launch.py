"""A Deployment on this host: start it, wait until it answers; status, logs, down.

Only this part of the deployment and torchpair.readiness talk to an engine. It drives `docker compose`, so whatever is
started here can be looked after by hand, in the folder that holds compose.yaml.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker.errors

from torchpair import deploy
from torchpair.command import run
from torchpair.deploy import Deployment
from torchpair.engine import Engine
from torchpair.errors import EXIT_UNHEALTHY, EngineError, TorchpairError, visible
from torchpair.files import write_whole
from torchpair.progress import Progress
from torchpair.sovits import layout, start

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


def below(folder: Path, path: str) -> Path:
    """A path of a deployment, which counts from its folder."""
    return Path(path) if Path(path).is_absolute() else folder / path


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
    below(folder, deployment.models).mkdir(parents=True, exist_ok=True)
    data = below(folder, deployment.data)
    for place in (data, data / "reference"):
        if not place.is_dir():
            place.mkdir(parents=True)
            if os.geteuid() == 0:
                os.chown(place, uid, gid)


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
    """`docker compose` of the deployment in a folder. Raises NotReady where none lies there."""
    if not deploy.written_to(folder):
        raise NotReady(
            f"there is no deployment in {folder}", remedy="torchpair deploy gpt-sovits, or --output with its folder"
        )
    file = str(folder / deploy.COMPOSE)
    return [engine.docker or "docker", "compose", "--project-directory", str(folder), "--file", file]


def compose(engine: Engine, folder: Path, *arguments: str, timeout: float = 600) -> str:
    """`docker compose` in a deployment's folder. Raises CommandError, or NotReady where none lies there."""
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
    """`docker compose logs`, straight to the terminal; its exit code. Raises NotReady where none lies there."""
    argv = [*_compose_of(engine, folder), "--profile", "*", "logs", "--tail", str(tail)]
    argv += [*(["--follow"] if on else []), *([service] if service else [])]
    return subprocess.run(argv, env=engine.env(), stdin=subprocess.DEVNULL, check=False).returncode


def voices(folder: Path) -> Path:
    """Where a user puts reference voices."""
    return folder / layout.MORE_FOLDERS[0]
