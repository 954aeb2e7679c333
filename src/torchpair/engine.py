"""A Docker engine to build with: find the one that answers. torchpair.dockerd starts one where none does."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import docker.errors
from docker.api import APIClient
from docker.client import DockerClient
from docker.context import ContextAPI
from docker.utils import kwargs_from_env

from torchpair.command import run
from torchpair.errors import CommandError, EngineError

STATE = Path("/var/lib/torchpair")
RUN = Path("/run/torchpair")
SOCKET = Path("/var/run/docker.sock")
PLUGINS = Path("/usr/local/lib/docker/cli-plugins")
# Where the docker CLI looks for plugins, after the user's own folder (docker/cli, cli-plugins/manager, 2026-11).
SYSTEM_PLUGINS = (
    PLUGINS,
    Path("/usr/local/libexec/docker/cli-plugins"),
    Path("/usr/lib/docker/cli-plugins"),
    Path("/usr/libexec/docker/cli-plugins"),
)
INSTALL_PAGE = "https://docs.docker.com/engine/install/"

# COPY --link and heredocs need the BuildKit of Docker 23, whose API is 1.42.
OLDEST_MAJOR = 23
OLDEST_API = (1, 42)
BUILDER_SECONDS = 180.0  # a pod of Kubernetes is started first

Say = Callable[[str], None]


@dataclass(frozen=True)
class Engine:
    """A Docker engine that answered.

    host: its address as DOCKER_HOST takes it. version: the server's. docker: path of a docker CLI, if there is one.
    buildx: the start of an argv that calls buildx.
    """

    host: str
    version: str
    docker: str | None
    buildx: tuple[str, ...]

    def env(self) -> dict[str, str]:
        """The environment for a program that shall talk to this engine."""
        return {**os.environ, "DOCKER_HOST": self.host}

    def client(self, timeout: int = 60) -> DockerClient:
        """A docker-py client of this engine; timeout in seconds."""
        return DockerClient(**_connection(self.host), timeout=timeout)


def too_old(version: Mapping[str, object]) -> str | None:
    """Why an engine cannot build torchpair's images, from its answer to /version; None when it can."""
    if numbers(str(version.get("ApiVersion", ""))) >= OLDEST_API:
        return None
    return (
        f"it is version {version.get('Version', '?')} with API {version.get('ApiVersion', '?')}; "
        f"COPY --link and heredocs need Docker {OLDEST_MAJOR} (API {'.'.join(map(str, OLDEST_API))})"
    )


def numbers(text: str) -> tuple[int, ...]:
    """The leading dotted number of a version: `26.1.5+dfsg1` -> (26, 1, 5)."""
    head = re.match(r"\d+(\.\d+)*", text)
    return tuple(int(part) for part in head.group().split(".")) if head else ()


def find(builds: bool = True) -> Engine | None:
    """The engine that DOCKER_HOST, the docker CLI's context or the standard socket names; None when none answers.

    builds: buildx is needed too; to pull and run takes none.

    Raises EngineError when an engine that the user named does not answer, or when it is too old or without buildx.
    """
    host, named_by = _where()
    path = Path(host[len("unix://") :]) if host.startswith("unix://") else None
    if path and path.exists() and not os.access(path, os.R_OK | os.W_OK):
        remedy = "ask for membership of the group docker, or use another engine through DOCKER_HOST"
        raise EngineError("this user may not talk to the Docker engine", where=str(path), remedy=remedy)
    try:
        client = APIClient(**_connection(host), timeout=10)
        version = client.version(api_version=False)
        client.close()
    except (docker.errors.DockerException, OSError) as error:
        if named_by is None or (path and path.resolve() == SOCKET.resolve()):
            return None
        remedy = f"start that engine, or take it out of {named_by}"
        raise EngineError(
            f"the Docker engine that {named_by} names does not answer", where=host, why=str(error), remedy=remedy
        ) from error
    if why := too_old(version):
        remedy = f"install Docker {OLDEST_MAJOR} or newer ({INSTALL_PAGE})"
        raise EngineError("the Docker engine is too old", where=host, why=why, remedy=remedy)
    return Engine(host, str(version["Version"]), _cli(), _buildx() if builds else ())


def _where() -> tuple[str, str | None]:
    """The engine's address, and what named it when the user did."""
    if host := os.environ.get("DOCKER_HOST"):
        return host, "DOCKER_HOST"
    name = os.environ.get("DOCKER_CONTEXT")
    try:
        context = ContextAPI.get_context(name)
    except Exception as error:  # docker-py raises a bare Exception for a broken file (7.2.0, context.py)
        raise EngineError("the docker context cannot be read", why=str(error), remedy="docker context ls") from error
    if context is None:
        raise EngineError(f"there is no docker context {name or 'of the current name'}", remedy="docker context ls")
    if context.name == "default":
        return f"unix://{SOCKET}", None
    if context.TLSConfig:
        raise EngineError(
            f"the docker context {context.name} uses TLS, which torchpair does not read from a context",
            remedy="set DOCKER_HOST, DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH instead",
        )
    return str(context.Host), f"the docker context {context.name}"


def _connection(host: str) -> dict[str, Any]:
    """Arguments for docker-py's clients."""
    tls = kwargs_from_env().get("tls", False) if host.startswith("tcp://") else False
    return {"base_url": host, "tls": tls, "use_ssh_client": host.startswith("ssh://")}


def _cli() -> str | None:
    return shutil.which("docker") or shutil.which(STATE / "engine/usr/bin/docker")


def plugin(name: str) -> Path | None:
    """The CLI plugin of that name that is installed, if one is."""
    user = Path(os.environ.get("DOCKER_CONFIG") or "~/.docker").expanduser() / "cli-plugins"
    return next((folder / name for folder in (user, *SYSTEM_PLUGINS) if os.access(folder / name, os.X_OK)), None)


def _buildx() -> tuple[str, ...]:
    """How to call buildx here; EngineError when there is none."""
    standalone = plugin("docker-buildx") or shutil.which("docker-buildx")
    ways: list[tuple[str, ...]] = [("docker", "buildx")]
    if standalone:
        ways.append((str(standalone),))
    for argv in ways:
        with contextlib.suppress(CommandError):
            run([*argv, "version"], timeout=20)
            return argv
    remedy = f"install docker-buildx-plugin ({INSTALL_PAGE}), or docker-buildx from Debian or Ubuntu"
    raise EngineError("the docker CLI has no buildx plugin", where="docker buildx version", remedy=remedy)


def on_builder(engine: Engine, name: str) -> tuple[Engine, str]:
    """The engine with its builds sent to a builder of buildx, and that builder's driver ("kubernetes", "remote").

    The image comes back into the engine. Raises EngineError for a builder that is not there or does not answer.
    """
    try:
        told = run([*engine.buildx, "inspect", name, "--bootstrap"], env=engine.env(), timeout=BUILDER_SECONDS)
    except CommandError as error:
        why = (error.why or "").splitlines()[-1].strip() or error.what
        remedy = "docker buildx ls names those that there are; docker buildx create makes one"
        raise EngineError(f"the builder {name} cannot be used", why=why, remedy=remedy) from error
    driver = re.search(r"^Driver:\s*(\S+)", told, re.MULTILINE)
    return replace(engine, buildx=(*engine.buildx, "--builder", name)), driver[1] if driver else "unknown"
