"""A bundle of one row, then a build from it where there is no network: a checkout without .venv, an engine without
images or build cache, both in a network namespace that has its loopback and no route."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import docker

from tests.docker.engines import Second
from torchpair.engine import Engine
from torchpair.facts.pypi import index_url

from .index import ROOT

ROW = "torch2.8.0-cu128-py311"  # stands on one Debian, its wheels are unpacked on another
NAMESPACE = "torchpair-airgap"
LONGEST = 1800.0  # seconds
ASK = f"import socket; socket.create_connection(({urlsplit(index_url()).hostname!r}, 443), 5)"


@contextmanager
def no_route() -> Iterator[Path]:
    """A network namespace with a loopback and nothing else; its path."""
    subprocess.run(["ip", "netns", "add", NAMESPACE], check=True)
    path = Path("/run/netns") / NAMESPACE
    try:
        subprocess.run(["nsenter", f"--net={path}", "--", "ip", "link", "set", "lo", "up"], check=True)
        yield path
    finally:
        subprocess.run(["ip", "netns", "del", NAMESPACE], check=True)


def checkout(target: Path) -> Path:
    """What git has of this checkout, as it lies here."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in names.split("\0"):
        if name and (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    return target


def made(folder: Path, engine: Engine) -> Path:
    """The bundle."""
    bundle = folder / "bundle"
    done = subprocess.run(
        [sys.executable, "-m", "torchpair.cli", "bundle", ROW, "--output", str(bundle)], cwd=checkout(folder / "there"),
        env={**os.environ, "DOCKER_HOST": engine.host}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, timeout=LONGEST, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
    print("    " + "\n    ".join(done.stdout.strip().splitlines()[-2:]), flush=True)
    return bundle


def run(engine: Engine) -> bool:
    """Whether the build without a network is healthy, and a damaged bundle is refused with its file."""
    problems: list[str] = []
    first = docker.DockerClient(base_url=engine.host, timeout=600)
    with tempfile.TemporaryDirectory(prefix="torchpair-airgap-") as name:
        folder = Path(name)
        print(f"a bundle of {ROW}", flush=True)
        bundle = made(folder, engine)
        here = checkout(folder / "here")
        with no_route() as netns, Second(first, folder / "engine", netns=netns) as (host, client):
            inside = ["nsenter", f"--net={netns}", "--"]
            # Nothing of this machine's settings: neither its index nor its caches.
            environment = {
                "PATH": os.environ["PATH"], "HOME": str(folder), "DOCKER_HOST": host, "PIP_CONFIG_FILE": os.devnull,
            }  # fmt: skip

            def call(*argv: str) -> subprocess.CompletedProcess[str]:
                return subprocess.run(
                    [*inside, *argv], cwd=here, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT, text=True, timeout=LONGEST, check=False,
                )  # fmt: skip

            def images() -> subprocess.CompletedProcess[str]:
                python = getattr(sys, "_base_executable", sys.executable)
                return call("make", "images", f"BUNDLE={bundle}", "OFFLINE=1", f"PYTHON={python}")

            assert not call("ip", "route").stdout.strip(), "a namespace with a route shows nothing"
            assert call(sys.executable, "-c", ASK).returncode != 0, "a namespace with a way out shows nothing"
            assert client.images.list(all=True) == []
            problems += _damaged(bundle, images)
            done = images()
            print("    " + "\n    ".join(done.stdout.strip().splitlines()[-6:]), flush=True)
            problems += _built(done, here, client)
    print(
        "\n".join(problems) or "no route, no image, no cache: built from the bundle, healthy; damage is refused by name"
    )
    return not problems


def _damaged(bundle: Path, images: Callable[[], subprocess.CompletedProcess[str]]) -> list[str]:
    """One byte of a wheel is another, a package is gone: both are named, and nothing is built."""
    wheel = next((bundle / "downloads/wheels").glob("jinja2-*.whl"))
    package = next((bundle / "downloads/apt").glob("*/tini_*.deb"))
    whole, away = wheel.read_bytes(), bundle.parent / package.name
    wheel.write_bytes(whole[:1000] + bytes([whole[1000] ^ 1]) + whole[1001:])
    package.rename(away)
    done = images()
    wheel.write_bytes(whole)
    away.rename(package)
    said = [line for line in done.stdout.splitlines() if "not whole" in line]
    print(f"    {done.returncode}: {' '.join(said)}", flush=True)
    if done.returncode != 2 or f"{wheel.name} was changed" not in done.stdout:
        return [f"a changed wheel: {done.returncode}: {done.stdout[-1500:]}"]
    return [] if f"{package.name} is missing" in done.stdout else [f"a missing package is not named: {said}"]


def _built(done: subprocess.CompletedProcess[str], here: Path, client: docker.DockerClient) -> list[str]:
    if done.returncode != 0:
        log = here / "reports/logs" / f"{ROW}.log"
        return [
            f"ended with {done.returncode}: {done.stdout[-2500:]}\n{log.read_text()[-1500:] if log.exists() else ''}"
        ]
    report = json.loads((here / "reports" / f"{ROW}.json").read_text())
    print(f"    {report['image_id']}: {report['verdict']}", flush=True)
    if report["verdict"] != "healthy" or client.images.get(report["image"]).id != report["image_id"]:
        return [f"the image is {report['verdict']}"]
    return []
