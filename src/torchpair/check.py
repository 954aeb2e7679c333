"""An image -> a Report: testcontainers starts the image in a cage, the probe runs inside, its answer is judged here.

The probe is this torchpair's own, copied in: what an image carries, or prints about itself, is not trusted.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import docker.errors
import requests.exceptions
from docker.types import DeviceRequest

from torchpair import cage, render, strict_json
from torchpair import report as reports
from torchpair.cage import HOME, MEMORY, Answer
from torchpair.engine import Engine
from torchpair.errors import EngineError, TorchpairError, visible
from torchpair.lock import Lock
from torchpair.probe.select import PROFILES
from torchpair.report import CheckResult, GpuMode, Report
from torchpair.spec import Spec

SECONDS = 300.0
BARE = ("pair.origin", "pair.files")  # import nothing
LABELS = ("torch", "torchaudio", "torchcodec", "cuda", "python")
MOST_TEXT = 200  # characters of a label that are read

# Becomes the probe. `sh` because a base image may have nothing else.
_START = (
    "for p in python python3; do command -v $p >/dev/null && "
    f'exec $p {HOME}/probe.pyz --gpu "$1" --only "$2" --nonce "$3" --expect {HOME}/expect.json; done; '
    'echo "torchpair-probe: no python in this image" >&2; exit 127'
)
_RUNNING = re.compile(r"torchpair-probe: running (\S+)")


def gpu_request(engine: Engine) -> tuple[list[DeviceRequest], str]:
    """What to ask of the engine so that a container sees its GPUs, and how that was found out; [] when it has none."""
    with closing(engine.client()) as client:
        info = client.info()
    # The NVIDIA runtime registered with the engine: https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/
    if "nvidia" in (info.get("Runtimes") or {}):
        return [DeviceRequest(count=-1, capabilities=[["gpu"]])], "the engine has the NVIDIA runtime"
    # CDI devices that the engine lists itself (Docker 28.2 and later, API 1.50).
    devices = [str(device.get("ID", "")) for device in info.get("DiscoveredDevices") or () if isinstance(device, dict)]
    if any(device.startswith("nvidia.com/gpu=") for device in devices):
        return [DeviceRequest(driver="cdi", device_ids=["nvidia.com/gpu=all"])], "the engine lists NVIDIA's CDI devices"
    return [], "the engine has neither the NVIDIA runtime nor NVIDIA's CDI devices"


def image(
    engine: Engine,
    reference: str,
    *,
    probe: Path,
    probe_sha256: str,
    spec: Spec | None = None,
    lock: Lock | None = None,
    gpu: GpuMode = "auto",
    names: Sequence[str] = PROFILES["core"],
    seconds: float = SECONDS,
    memory: str = MEMORY,
    cpus: str | None = None,
) -> Report:
    """Check one image. spec and lock: what a row expects; without them only what the image says of itself.

    names: the ids of the checks to run. seconds, memory, cpus ("0", "0-3"): the cage's limits.
    Raises EngineError when the image is not there or cannot be started at all.
    """
    try:
        return _image(engine, reference, probe, probe_sha256, spec, lock, gpu, names, seconds, memory, cpus)
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        raise EngineError(f"the engine does not answer while it checks {reference}", why=str(error)) from error


def _image(
    engine: Engine,
    reference: str,
    probe: Path,
    probe_sha256: str,
    spec: Spec | None,
    lock: Lock | None,
    gpu: GpuMode,
    names: Sequence[str],
    seconds: float,
    memory: str,
    cpus: str | None,
) -> Report:
    began, started = time.monotonic(), datetime.now(timezone.utc)
    attributes = _inspect(engine, reference)
    config = attributes.get("Config") or {}
    said = {str(key): visible(str(text))[:MOST_TEXT] for key, text in (config.get("Labels") or {}).items()}
    expect: dict[str, object] = dict(render.expectation(spec, lock)) if spec else {}
    # "none" and "cpu" are a label's words for what a running image does not have.
    labels = {
        name: None if (text := said[f"torchpair.{name}"]) in ("none", "cpu") else text
        for name in LABELS
        if f"torchpair.{name}" in said
    }
    if spec or labels:
        expect["labels"] = labels
    files = {"probe.pyz": probe.read_bytes(), "expect.json": json.dumps(expect).encode()}

    requests_gpu, how = ([], "") if gpu == "off" else gpu_request(engine)

    def caged(asked: Sequence[str], devices: Sequence[DeviceRequest]) -> Answer:
        nonce = secrets.token_hex(16)
        answer = cage.run(
            engine, reference, files, [_START, "sh", gpu, ",".join(asked), nonce], devices=devices, seconds=seconds,
            memory=memory, cpus=cpus, declared=sorted(config.get("Volumes") or {}),
        )  # fmt: skip
        answer.nonce = nonce
        return answer

    def run(asked: Sequence[str]) -> Answer:
        nonlocal requests_gpu
        answer = caged(asked, requests_gpu)
        if answer.refused and requests_gpu and gpu == "auto":
            # The engine promises GPUs and cannot hand one over: the CPU's part can still be checked.
            requests_gpu = []
            answer = caged(asked, requests_gpu)
        if answer.refused:
            raise EngineError(f"the engine cannot start {reference}", why=answer.refused, remedy=how or None)
        return answer

    cage.sweep(engine)
    answer, environment, checks = ask(run, names)
    return Report(
        row=spec.name if spec else None,  # an image that names a row is not that row's report
        image=reference,
        image_id=str(attributes["Id"]),
        base=said.get("torchpair.base"),
        started=started.isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - began, 3),
        gpu=gpu,
        environment=environment,
        checks=checks,
        size=int(attributes["Size"]),
        probe=probe_sha256,
        log=answer.stderr,
    )


def _inspect(engine: Engine, reference: str) -> dict[str, Any]:
    try:
        with closing(engine.client()) as client:
            return dict(client.images.get(reference).attrs)
    except docker.errors.ImageNotFound as error:
        remedy = f"docker pull {reference}, or build it"
        raise EngineError(f"no image {reference} in the engine", remedy=remedy) from error
    except docker.errors.APIError as error:
        raise EngineError(f"the engine refuses {reference!r}", why=str(error.explanation or error)) from error


def ask(
    run: Callable[[Sequence[str]], Answer], names: Sequence[str]
) -> tuple[Answer, dict[str, Any], tuple[CheckResult, ...]]:
    """A probe's answer, environment and checks. run: starts a probe with these checks.

    A crash loses every answer (a library that was cut short ends the process as it is imported): then the checks that
    import nothing are asked once more, because they may know why.
    """
    answer = run(names)
    environment, checks = judge(answer, names)
    if checks[0].status == "fail":
        environment, more = judge(run(BARE), BARE)
        checks = (*checks, *more[1:])
    return answer, environment, checks


def judge(answer: Answer, names: Sequence[str]) -> tuple[dict[str, Any], tuple[CheckResult, ...]]:
    """Environment and checks of an answer; the first check says whether the probe came to its end.

    names: the checks that were asked for, and that a whole answer has.
    """
    running = _RUNNING.findall(answer.stderr)
    during = f" during {running[-1][:80]}" if running else ""
    if answer.late:
        return {}, (_finished("skip", answer, f"the time limit was reached{during}", "time"),)
    if answer.out_of_memory:
        return {}, (_finished("skip", answer, f"the memory limit was reached{during}", "memory"),)
    if answer.code == 127:
        return {}, (_finished("skip", answer, "there is no Python in this image", "python"),)
    if answer.code not in (0, 1, 3):
        signal = f" (signal {answer.code - 128})" if answer.code and answer.code > 128 else ""
        return {}, (_finished("fail", answer, f"the probe ended with {answer.code}{signal}{during}"),)
    try:
        body = strict_json.parse(answer.stdout, "probe")
        if not isinstance(body, dict) or body.get("schema") != "torchpair.probe/1":
            raise TorchpairError("not an answer of the probe")
        if answer.nonce is not None and body.get("nonce") != answer.nonce:
            raise TorchpairError("not the answer to this question: it was made before")
        environment = body.get("environment")
        checks = reports.checks_from_json(body.get("checks"), "probe.checks")
    except TorchpairError as error:
        return {}, (_finished("skip", answer, f"what the image printed cannot be read: {error.what}", "answer"),)
    missing = sorted(set(names) - {check.id for check in checks})
    if missing:
        # An answer that leaves a check out would pass by silence.
        return {}, (_finished("skip", answer, f"the answer leaves out {', '.join(missing[:5])}", "answer"), *checks)
    return (environment if isinstance(environment, dict) else {}), (_finished("pass", answer, None), *checks)


def _finished(status: reports.Status, answer: Answer, reason: str | None, needs: str | None = None) -> CheckResult:
    return CheckResult(
        id="probe.finished",
        purpose="The probe came to its end: no crash, no limit reached, a readable answer.",
        status=status,
        measured={"exit": answer.code},
        limit="exit code 0, 1 or 3 and one JSON document",
        unit=None,
        seconds=0.0,
        reason=reason,
        needs=needs,
    )
