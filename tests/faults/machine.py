"""The engine killed in the middle of a build, and a disk that is full: a clear end, nothing tagged, and the next call
succeeds. Both in a second engine, whose data root is a file of a few GB mounted for the purpose."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker

from tests.docker.engines import Second
from torchpair.engine import Engine

from .index import ROOT, ROW, TAG, Index

# GB. LARGE: a killed engine keeps the layers of the builds that it was at, up to 8 GB each (README, overlay2).
SMALL, LARGE = 5, 55
LONGEST = 900.0  # seconds


@contextmanager
def disk(folder: Path, size: int) -> Iterator[Path]:
    """A mounted file system of so many GB; what is not written takes no room."""
    place = Path(tempfile.mkdtemp(prefix="mounted-", dir=folder))
    image = place.with_suffix(".disk")
    with image.open("wb") as file:
        file.truncate(size * 10**9)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)
        image.unlink()


def start(folder: Path, host: str, index: Index) -> subprocess.Popen[str]:
    environment = {**os.environ, "DOCKER_HOST": host, "UV_DEFAULT_INDEX": f"{index.url}/simple"}
    return subprocess.Popen(
        [sys.executable, "-m", "torchpair.cli", "images"], cwd=folder, env=environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def run(engine: Engine) -> bool:
    """Both faults; whether each ended as it must."""
    problems: list[str] = []
    first = docker.DockerClient(base_url=engine.host, timeout=600)
    with tempfile.TemporaryDirectory(prefix="torchpair-machine-") as name:
        folder = Path(name)
        (folder / "files").mkdir()
        (folder / "matrix.yaml").write_text(f"images:\n{ROW}")
        shutil.copytree(ROOT / "locks", folder / "locks")
        index = Index(folder / "files", 1)  # an honest one, which makes builds use the host's network
        try:
            with disk(folder, LARGE) as data:
                problems += _killed(first, folder, index, data)
            shutil.rmtree(folder / "reports", ignore_errors=True)
            problems += _full(first, folder, index)
        finally:
            index.close()
    print("\n".join(problems) or "engine killed and disk full: said, nothing tagged, and the next call succeeded")
    return not problems


def _said(out: str) -> str:
    return "\n    ".join(out.strip().splitlines()[-8:])


def _unbroken(out: str) -> str:
    return " ".join(out.lower().split())


def _killed(first: docker.DockerClient, folder: Path, index: Index, data: Path) -> list[str]:
    problems = []
    second = Second(first, folder / "killed", data)
    with second as (host, _):
        for number in range(3):
            process = start(folder, host, index)
            moment = random.uniform(40, 70) if number == 0 else random.uniform(3, 25)  # the first one makes a base too
            try:
                out, _ = process.communicate(timeout=moment)
                if process.returncode != 0:
                    problems.append(f"before it was killed: exit code {process.returncode}: {out[-2000:]}")
                break  # it was faster
            except subprocess.TimeoutExpired:
                pass
            second.kill()
            began = time.monotonic()
            out, _ = process.communicate(timeout=120)
            took = time.monotonic() - began
            print(f"engine killed after {moment:.0f} s; the call ended {took:.1f} s later with {process.returncode}:\n"
                  f"    {_said(out)}", flush=True)  # fmt: skip
            if process.returncode not in (2, 3, 4) or "Traceback" in out:
                problems.append(f"engine killed: exit code {process.returncode}: {out[-800:]}")
            client = second.start()
            if client.images.list(TAG) and not (folder / "reports").exists():
                problems.append("engine killed: there is an image of a build that did not end")
        process = start(folder, host, index)
        out, _ = process.communicate(timeout=LONGEST)
        if process.returncode != 0:
            problems.append(f"engine back: exit code {process.returncode}: {out[-2000:]}")
    return problems


def _full(first: docker.DockerClient, folder: Path, index: Index) -> list[str]:
    problems = []
    lock = folder / "locks/torch2.14.1-cu130-py313.txt"
    told = lock.read_text()
    with disk(folder, SMALL) as data, Second(first, folder / "full", data) as (host, client):
        process = start(folder, host, index)
        out, _ = process.communicate(timeout=LONGEST)
        print(f"a disk of {SMALL} GB: {process.returncode}\n    {_said(out)}", flush=True)
        if process.returncode == 0 or not re.search(r"about [\d.]+ gb are needed, [\d.]+ gb are free", _unbroken(out)):
            problems.append(f"a small disk was not refused with its figures: {out[-800:]}")
        # A lock whose index told no sizes: nothing is known before, and the disk is full in the middle.
        lock.write_text(re.sub(r", \d+ bytes$", "", told, flags=re.MULTILINE))
        process = start(folder, host, index)
        out, _ = process.communicate(timeout=LONGEST)
        print(f"the same without sizes in the lock: {process.returncode}\n    {_said(out)}", flush=True)
        # The table breaks its lines anywhere.
        if process.returncode == 0 or "no space left on device" not in _unbroken(out) or "Traceback" in out:
            problems.append(f"disk full: not said: {out[-800:]}")
        if client.images.list(TAG):
            problems.append("disk full: there is an image all the same")
    lock.write_text(told)
    shutil.rmtree(folder / "reports", ignore_errors=True)
    with disk(folder, LARGE) as data, Second(first, folder / "room", data) as (host, _):
        process = start(folder, host, index)
        out, _ = process.communicate(timeout=LONGEST)
        if process.returncode != 0:
            problems.append(f"with room: exit code {process.returncode}: {out[-2000:]}")
    return problems
