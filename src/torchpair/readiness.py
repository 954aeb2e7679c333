"""Whether a Deployment can work on this host: what can be known without starting anything."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import docker.errors
from packaging.version import InvalidVersion, Version

from torchpair import host
from torchpair.command import run
from torchpair.compat.gpus import covers
from torchpair.deploy import Deployment
from torchpair.diagnose.evidence import Host
from torchpair.engine import Engine
from torchpair.errors import CommandError
from torchpair.launch import NotReady, below, states
from torchpair.sovits import weights

FREE_GB = 5  # for logs, caches and output
GIB = 1 << 30


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


def examine(engine: Engine, deployment: Deployment, folder: Path) -> list[Finding]:
    """Engine, image, GPU, disk, ports, models and folders, each with what is wrong with it."""
    found = [_compose(engine), *_image(engine, deployment)]
    if deployment.gpu:
        labels = _labels(engine, deployment.image)
        found += gpu_findings(host.look(engine), labels.get("torchpair.min-driver"), labels.get("torchpair.sm"))
    found += [_disk(folder), *_ports(engine, deployment), models_finding(below(folder, deployment.models), deployment)]
    found += [_writable(below(folder, deployment.data), deployment.user)]
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
        if gpu.capability and compiled and not covers(compiled, gpu.capability):
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
