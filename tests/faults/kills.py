"""kill -9 at random moments of a build and check of two rows; each next call goes on, and the end is the same.

In a second engine, with an index of its own on 127.0.0.1: what is forgotten between two kills is nobody else's.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import docker

from tests.docker.engines import Second
from torchpair import cage, held
from torchpair.engine import Engine
from torchpair.journal import UNDER_WAY, Entry, Journal

from .index import ROOT, Index

ROWS = (
    '  - {torch: "2.14.0", cuda: "13.0", python: "3.13", default: true}\n'
    '  - {torch: "2.14.1", cuda: "13.0", python: "3.13", default: true}\n'
)
NAMES = ("torch2.14.0-cu130-py313", "torch2.14.1-cu130-py313")
# Seconds. LATEST: the longest step takes about 45, and a kill before its end has it begin anew. Every CHECKED-th kill
# waits until a row is being checked, or few would meet that.
KILLS, EARLIEST, LATEST, LONGEST = 20, 1.0, 60.0, 1500.0
CHECKED, CHECK = 4, 8.0


def children(pid: int) -> list[int]:
    """Every process below one, from /proc."""
    below: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        below.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found, left = [], [pid]
    while left:
        more = below.get(left.pop(), [])
        found += more
        left += more
    return found


class Kills:
    """A folder with a matrix of its own, its images, and the score. seed: of the moments."""

    def __init__(self, host: str, client: docker.DockerClient, index: Index, folder: Path, seed: int) -> None:
        self.host, self.client, self.index = host, client, index
        self.folder, self.random = folder, random.Random(seed)
        (folder / "matrix.yaml").write_text(f"images:\n{ROWS}")
        shutil.copytree(ROOT / "locks", folder / "locks")
        self.journal = Journal(folder / "build" / "journal")
        self.went_on = 0
        self.at: Counter[str] = Counter()
        self.problems: list[str] = []

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "torchpair.cli", "images"], cwd=self.folder, text=True,
            env={**os.environ, "DOCKER_HOST": self.host, "UV_DEFAULT_INDEX": f"{self.index.url}/simple"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def whole(self) -> dict[str, tuple[str, ...]]:
        """Run to the end; the digests of the images' layers by row. AssertionError when that fails.

        Not the images' ids: the engine writes the time of the build into an image's configuration.
        """
        process = self.start()
        out, _ = process.communicate(timeout=LONGEST)
        assert process.returncode == 0, out[-3000:]
        found = {}
        for path in self.reports():
            image = self.client.images.get(json.loads(path.read_text())["image_id"])
            found[path.stem] = tuple(image.attrs["RootFS"]["Layers"])
        assert len(found) == ROWS.count("\n"), f"reports of {', '.join(found) or 'nothing'}"
        return found

    def reports(self) -> list[Path]:
        return sorted((self.folder / "reports").glob("torch*.json"))

    def forget(self) -> None:
        """As on a machine that never built them."""
        for path in self.reports():
            self.client.images.remove(json.loads(path.read_text())["image_id"], force=True)
        for tag in ("2.14.0-cu130-py313-debian13", "2.14.1-cu130-py313-debian13"):
            if self.client.images.list(f"torchpair:{tag}"):
                self.client.images.remove(f"torchpair:{tag}", force=True)
        for name in ("reports", "build"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        self.client.api.prune_builds(all=True)

    def kill(self, number: int) -> None:
        """One run, killed; where it was faster than that, all is forgotten and it starts anew."""
        while True:
            before = self.entries()
            process = self.start()
            moment = self._moment(process, number, before)
            if moment is not None:
                break
            out, _ = process.communicate()
            if process.returncode != 0:
                self.problems.append(f"{number}: a run ended with {process.returncode}: {out[-500:]}")
                return
            self.forget()
        below = children(process.pid)
        os.kill(process.pid, signal.SIGKILL)
        out, _ = process.communicate(timeout=60)
        went_on = "; going on" in out
        self.went_on += went_on
        steps = [entry.step for entry in self.entries()]
        self.at.update(set(steps) & set(UNDER_WAY))
        self._after(number, below)
        told = f"{', went on' if went_on else ''}: {', '.join(steps) or 'nothing begun'}"
        print(f"kill {number:2} after {moment:5.1f} s{told}", flush=True)

    def entries(self) -> list[Entry]:
        return [entry for name in NAMES if (entry := self.journal.read(name))]

    def _moment(self, process: subprocess.Popen[str], number: int, before: list[Entry]) -> float | None:
        """Wait for the moment to kill a run; the seconds it had, or None where it ended before.

        before: what the journal had when it began.
        """
        began, wait = time.monotonic(), self.random.uniform(EARLIEST, LATEST)
        if number % CHECKED == 0:
            while process.poll() is None and time.monotonic() - began < LONGEST:
                if any(entry.step == "checking" for entry in self.entries() if entry not in before):
                    break
                time.sleep(0.05)
            wait = self.random.uniform(0, CHECK)
        try:
            process.wait(timeout=wait)
        except subprocess.TimeoutExpired:
            return time.monotonic() - began
        return None

    def _after(self, number: int, below: list[int]) -> None:
        deadline = time.monotonic() + 10
        while left := [pid for pid in below if Path(f"/proc/{pid}").exists()]:
            if time.monotonic() > deadline:
                self.problems.append(f"{number}: processes {left} outlived it")
                break
            time.sleep(0.1)
        for path in (self.folder / "reports").rglob("*.part"):
            self.problems.append(f"{number}: {path.name} was left half-written")
        for path in self.reports():
            report = json.loads(path.read_text())  # whole, or this ends here
            try:
                self.client.images.get(report["image_id"])
            except docker.errors.ImageNotFound:
                self.problems.append(f"{number}: {path.name} proves an image that is not there")

    def left_running(self) -> list[str]:
        """Containers of checks whose process is gone."""
        found = self.client.containers.list(all=True, filters={"label": cage.OWNER}, ignore_removed=True)
        return [one.name for one in found if held.gone(str(one.labels[cage.OWNER]))]


def run(engine: Engine, count: int = KILLS, seed: int | None = None) -> bool:
    """All of it, with a line for each kill; whether everything was as it must be."""
    seed = random.randrange(10**6) if seed is None else seed
    first = docker.DockerClient(base_url=engine.host, timeout=600)
    with tempfile.TemporaryDirectory(prefix="torchpair-kills-") as name:
        folder = Path(name) / "rows"
        folder.mkdir()
        index = Index(Path(name), seed)  # an honest one
        try:
            with Second(first, Path(name) / "engine") as (host, client):
                kills = Kills(host, client, index, folder, seed)
                print(f"{count} kills, seed {seed}; first an undisturbed run", flush=True)
                undisturbed = kills.whole()
                kills.forget()
                for number in range(1, count + 1):
                    kills.kill(number)
                after = kills.whole()
                for row, layers in undisturbed.items():
                    alike = sum(one == other for one, other in zip(layers, after[row], strict=False))
                    print(
                        f"{row}: {alike} of {len(layers)} layers of one digest with the undisturbed run's", flush=True
                    )
                    if after[row] != layers:
                        kills.problems.append(f"{row}: the end is {after[row]}, undisturbed {layers}")
                kills.problems += [f"{name} still runs" for name in kills.left_running()]
        finally:
            index.close()
    met = ", ".join(f"{number} met a row {step}" for step, number in sorted(kills.at.items()))
    well = f"{count} kills, {kills.went_on} calls that went on; {met}; the end is the same, by digest"
    print("\n".join(kills.problems) or well)
    return not kills.problems
