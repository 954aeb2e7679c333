"""The cage in which an image is run that nobody has reason to trust, by testcontainers.

It has no network, no capabilities, no new privileges. Nothing that it writes reaches a disk: the root, the volumes that
the image declares and the files handed in are read-only, /tmp is memory. Processes, memory, time, log and core dumps
have limits. Whatever it does, its container and its volume are removed.
"""

from __future__ import annotations

import io
import os
import tarfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from typing import Any

import docker.errors
import requests.exceptions
from docker import DockerClient
from docker.models.containers import Container
from docker.types import DeviceRequest, LogConfig, Mount, Ulimit

from torchpair import held
from torchpair.engine import Engine

# Its reaper is an image on Docker Hub, which many machines cannot reach; the context manager cleans up here.
os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")
from testcontainers.core.container import DockerContainer

HOME = "/run/torchpair"  # where the files lie that are handed in
MEMORY = "8g"  # a CUDA context with all its modules takes several GB of host memory
PIDS = 512
OUTPUT = "8m"
MOST_VOLUMES = 50
OWNER = "torchpair.owner"  # a label: the process that a container or a volume of a check belongs to


class Answer:
    """What came out of a run: of a container, or of a process of this machine. late: the time limit was reached.

    nonce: what an answer must repeat; None where nothing was asked to.
    """

    stdout = ""
    stderr = ""
    code: int | None = None
    late = False
    out_of_memory = False
    refused: str | None = None
    nonce: str | None = None


def run(
    engine: Engine,
    reference: str,
    files: Mapping[str, bytes],
    command: Sequence[str],
    *,
    declared: Sequence[str] = (),
    devices: Sequence[DeviceRequest] = (),
    seconds: float,
    memory: str = MEMORY,
    cpus: str | None = None,
) -> Answer:
    """Run `sh -c` with a command in an image, the files below HOME, and wait for its end.

    declared: paths of the volumes that the image declares. seconds: until it is killed. cpus: "0" or "0-3".
    Raises DockerException and requests' exceptions where the engine itself fails.
    """
    answer = Answer()
    if len(declared) > MOST_VOLUMES:
        answer.refused = f"it declares {len(declared)} volumes; at most {MOST_VOLUMES} are made"
        return answer
    with closing(engine.client(timeout=120)) as client:
        try:
            with _handed_in(client, reference, files, declared) as volume, _shut(client, declared) as shut:
                container = (
                    DockerContainer(reference, docker_client_kw={"environment": engine.env()})
                    .with_command(list(command))
                    .with_tmpfs_mount("/tmp", "size=1g")
                    .with_kwargs(**_limits(memory, cpus, volume, shut, devices))
                )
                try:
                    container.start()
                    _wait(container.get_wrapped_container(), answer, seconds)
                finally:
                    container.stop()
        except docker.errors.APIError as error:
            answer.refused = str(error.explanation or error)
    return answer


def _limits(
    memory: str, cpus: str | None, volume: str, shut: Sequence[Mount], devices: Sequence[DeviceRequest]
) -> dict[str, Any]:
    return {
        "entrypoint": ["sh", "-c"],
        "network_mode": "none",
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "pids_limit": PIDS,
        "mem_limit": memory,
        "memswap_limit": memory,
        "oom_score_adj": 500,  # where the host itself has too little memory, this goes first
        "ulimits": [Ulimit(name="core", soft=0, hard=0)],
        "cpuset_cpus": cpus,
        "init": False,
        "healthcheck": {"test": ["NONE"]},  # the image's own would be run again and again
        "labels": {OWNER: held.me()},
        "mounts": [Mount(HOME, volume, type="volume", read_only=True), *shut],
        "log_config": LogConfig(type="json-file", config={"max-size": OUTPUT, "max-file": "1"}),
        "device_requests": list(devices) or None,
    }


@contextmanager
def _shut(client: DockerClient, declared: Sequence[str]) -> Iterator[list[Mount]]:
    """Read-only mounts over the declared volumes: the engine's own would be writable, and as large as the disk.

    By name: Docker refuses an anonymous volume that is read-only (26.1).
    """
    volumes = []
    try:
        mounts = []
        for path in declared:
            if path != HOME:
                volumes.append(client.volumes.create(labels={OWNER: held.me()}))
                mounts.append(Mount(path, volumes[-1].name, type="volume", read_only=True))
        yield mounts
    finally:
        for volume in volumes:
            volume.remove(force=True)


@contextmanager
def _handed_in(
    client: DockerClient, reference: str, files: Mapping[str, bytes], declared: Sequence[str]
) -> Iterator[str]:
    """A volume with the files. They go in through a container that is never started: to be filled the volume has to be
    writable there, and in the one that runs it is not."""
    mine = {OWNER: held.me()}
    volume = client.volumes.create(labels=mine)
    try:
        holder = client.containers.create(
            reference, ["sh"], network_mode="none", labels=mine, tmpfs={path: "" for path in declared if path != HOME},
            mounts=[Mount(HOME, volume.name, type="volume", no_copy=True)],
        )  # fmt: skip
        try:
            holder.put_archive(HOME, _tar(files))
        finally:
            holder.remove(force=True, v=True)
        yield str(volume.name)
    finally:
        volume.remove(force=True)


def _tar(files: Mapping[str, bytes]) -> bytes:
    """A tar of files for everyone to read."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o644
            tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def _wait(inside: Container, answer: Answer, seconds: float) -> None:
    """Wait for the end, or make one; what was printed until then."""
    began = time.monotonic()
    try:
        answer.code = int(inside.wait(timeout=seconds)["StatusCode"])
    except (requests.exceptions.ConnectionError, requests.exceptions.ReadTimeout):
        if time.monotonic() - began < 0.9 * seconds:
            raise  # not the time: the engine went away
        answer.late = True
        with suppress(docker.errors.APIError):  # it has ended just now
            inside.kill()
        with suppress(requests.exceptions.ConnectionError, requests.exceptions.ReadTimeout):
            inside.wait(timeout=30)
    inside.reload()
    answer.out_of_memory = bool(inside.attrs["State"].get("OOMKilled"))
    answer.stdout = inside.logs(stdout=True, stderr=False).decode("utf-8", "replace")
    answer.stderr = inside.logs(stdout=False, stderr=True).decode("utf-8", "replace")


def sweep(engine: Engine) -> None:
    """Remove what a check left behind whose process was ended, kill -9 say, before it could clean up."""
    with closing(engine.client()) as client:
        for container in client.containers.list(all=True, filters={"label": OWNER}, ignore_removed=True):
            if held.gone(str(container.labels.get(OWNER, ""))):
                with suppress(docker.errors.NotFound):  # another call was faster
                    container.remove(force=True, v=True)
        for volume in client.volumes.list(filters={"label": OWNER}):
            if held.gone(str((volume.attrs.get("Labels") or {}).get(OWNER, ""))):
                with suppress(docker.errors.NotFound, docker.errors.APIError):
                    volume.remove(force=True)
