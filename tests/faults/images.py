"""Eight images that mean harm, each checked: the right verdict in time, nothing of it left, the host as it was."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker

from torchpair import base as bases
from torchpair.engine import Engine
from torchpair.probe.select import CHECKS, PROFILES

from .hostile import MOVES

DISTRO = "debian13"
SECONDS = 12  # the time limit that each check is given
SPARE = 25  # seconds that a check may take beyond it: to start, to kill, to read
LOG = 40_000_000  # bytes that the engine's log of a container may have on the disk (its limit is 8 MB, rotated)
# Where BuildKit mounts: its ids have 25 signs, a container's layer 64 and more.
BUILDS = re.compile(r"/buildkit|/overlay2/[a-z0-9]{25}/")
ESCAPES = r"\033]0;PWNED\007\033[2J\033[31mPWNED\033[0m\r\033[1A\302\233 31m\342\200\256PWNED"


@dataclass(frozen=True)
class Case:
    """An image: its `python`, a script of sh, and what else its Dockerfile says. The verdict, and words of it."""

    name: str
    python: str
    verdict: str
    reason: str
    more: str = ""
    files: dict[str, str] = field(default_factory=dict)


def answer(**other: Any) -> str:
    """A healthy answer of a probe, made up beforehand: every check passed."""
    checks = [
        {"id": name, "purpose": "made up", "status": "pass", "measured": 1, "limit": 1, "unit": None, "seconds": 0.1,
         "reason": ""} for name in PROFILES["core"]
    ]  # fmt: skip
    return json.dumps({"schema": "torchpair.probe/1", "environment": {"torch": "2.8.0"}, "checks": checks, **other})


def cases(outside: Path) -> list[Case]:
    """outside: a folder of this machine that one of the images would like to change."""
    deep = "[" * 100_000 + "]" * 100_000
    return [
        Case("fork bomb", "exec perl -e 'fork while 1'", "inconclusive", "time limit"),
        # To the log, and to each place where a container might find a disk.
        Case("endless output", "yes PWNED > /fill/x & yes PWNED > /run/torchpair/x & yes PWNED >&2 & yes PWNED",
             "inconclusive", "time limit", "VOLUME /fill"),
        Case("endless sleep", "trap '' TERM INT HUP; while :; do sleep 1000; done", "inconclusive", "time limit"),
        Case("fake report", "cat /fake.json", "inconclusive", "made before", files={"fake.json": answer()}),
        Case("terminal escapes", f"printf '{ESCAPES}'; printf '{ESCAPES}' >&2; exit 7", "unhealthy", "ended with 7",
             f'LABEL torchpair.base="{chr(27)}[2J{chr(27)}]0;PWNED{chr(7)}"'),
        Case("giant JSON", "cat /deep.json; head -c 200000000 /dev/zero | tr '\\0' '['", "inconclusive",
             "cannot be read", files={"deep.json": deep}),
        # A real Python, and a package that calls itself torch: what the labels say is compared with what runs.
        Case("label lies", "", "unhealthy", "", "\n".join([
            "RUN apt-get update && apt-get install -y --no-install-recommends python3 && ln -s python3 /usr/bin/python",
            "COPY torch.py /usr/lib/python3/dist-packages/torch/__init__.py",
            'LABEL torchpair.torch="9.9.9" torchpair.torchaudio="9.9.9" torchpair.cuda="99.9" torchpair.row="mine" \\',
            f'      torchpair.python="2.7" torchpair.base="{"x" * 50_000}" torchpair.verdict="healthy"',
        ]), {"torch.py": "__version__ = '9.9.8'\n"}),
        Case("symlink tricks", f"echo PWNED > {outside}/file; echo PWNED > /run/torchpair/probe.pyz; "
             "cat /run/torchpair/probe.pyz | head -c 4; exit 0", "inconclusive", "cannot be read", "\n".join([
                 # Where the files are handed in, where /tmp is made, what is run: links out of the container, it hopes.
                 f"RUN rm -rf /run /tmp && ln -s {outside} /run && ln -s ../../../../../../../..{outside} /tmp \\",
                 " && ln -s loop /loop && ln -s /loop /usr/bin/python3",
             ])),
    ]  # fmt: skip


@contextmanager
def image(engine: Engine, case: Case, folder: Path) -> Iterator[str]:
    """The image in the engine, as long as the context lasts."""
    context = folder / case.name.replace(" ", "-")
    context.mkdir()
    (context / "python").write_text(f"#!/bin/sh\n{case.python}\n")
    (context / "python").chmod(0o755)
    for name, text in case.files.items():
        (context / name).write_text(text)
    given = [name for name in case.files if name.endswith(".json")]
    lines = [f"FROM {bases.REPOSITORY}:{DISTRO}", *(f"COPY {name} /{name}" for name in given)]
    lines += ["COPY python /usr/bin/python"] if case.python else []
    (context / "Dockerfile").write_text("\n".join([*lines, case.more]) + "\n")
    reference = f"torchpair-faults:{context.name}"
    argv = [*engine.buildx, "build", "--quiet", "--load", "--tag", reference, str(context)]
    made = subprocess.run(argv, env=engine.env(), check=False, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr[-2000:]
    try:
        yield reference
    finally:
        docker.DockerClient(base_url=engine.host).images.remove(reference, force=True)


def run(engine: Engine) -> bool:
    """Whether each of them got its verdict and left nothing."""
    problems: list[str] = []
    client = docker.DockerClient(base_url=engine.host, timeout=120)
    bases.ensure_local(engine, DISTRO, print)
    assert set(PROFILES["core"]) <= {check.id for check in CHECKS}
    # Not below /tmp, which one of them makes a link.
    with tempfile.TemporaryDirectory(prefix="torchpair-images-", dir="/var/tmp") as name:
        folder = Path(name)
        outside = folder / "outside"
        outside.mkdir(mode=0o777)
        (outside / "file").write_text("as it was")
        for case in cases(outside):
            with image(engine, case, folder) as reference:
                before = _state(client)
                found = _checked(engine, client, case, reference, folder)
                left = [f"{what} left: {sorted(more)}" for what, more in _more(before, _state(client)).items() if more]
                if (outside / "file").read_text() != "as it was" or len(list(outside.iterdir())) != 1:
                    left.append("the host's folder was changed")
            problems += [f"{case.name}: {problem}" for problem in [*found, *left]]
    print("\n".join(problems) or "8 images: 8 right verdicts, nothing left running, the host as it was")
    return not problems


def _checked(engine: Engine, client: docker.DockerClient, case: Case, reference: str, folder: Path) -> list[str]:
    """What was wrong with the check of one image."""
    root = Path(client.info()["DockerRootDir"]) / "containers"
    largest, done = [0], threading.Event()

    def watch(look: Callable[[], int]) -> None:
        while not done.wait(0.2):
            largest[0] = max(largest[0], look())

    watching = threading.Thread(target=watch, args=(lambda: _bytes(root),))
    watching.start()
    began = time.monotonic()
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "torchpair.cli", "check", reference, "--timeout", str(SECONDS), "--gpu", "off",
             "--memory", "1g"],
            cwd=folder, env={**os.environ, "DOCKER_HOST": engine.host}, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, timeout=10 * (SECONDS + SPARE), check=False,
        )  # fmt: skip
    finally:
        took = time.monotonic() - began
        done.set()
        watching.join()
    wanted = {"healthy": 0, "unhealthy": 1, "inconclusive": 3}[case.verdict]
    said = " ".join(ended.stdout.split())
    told = f"{case.name}: {ended.returncode} ({case.verdict} is {wanted}) after {took:.1f} s"
    print(f"{told}, log {largest[0] / 1e6:.1f} MB at most", flush=True)
    problems = []
    if ended.returncode != wanted or "Traceback" in ended.stderr:
        problems.append(f"ended with {ended.returncode}: {ended.stdout[-800:]}{ended.stderr[-800:]}")
    elif case.reason not in said + ended.stderr:
        problems.append(f"nothing of {case.reason!r}: {said[-800:]}")
    if took > SECONDS + SPARE:
        problems.append(f"it took {took:.0f} s")
    if largest[0] > LOG:
        problems.append(f"the engine's log had {largest[0]} bytes")
    if MOVES.search(ended.stdout + ended.stderr):
        problems.append("a control character came through")
    for report in (folder / "reports").glob("*"):
        if MOVES.search(report.read_text(encoding="utf-8")):
            problems.append(f"a control character is in {report.name}")
    return problems


def _state(client: docker.DockerClient) -> dict[str, set[str]]:
    """What could be left: containers, volumes, networks, their processes, mounts. Builds beside it do not count."""
    owned = set()
    for cgroup in Path("/proc").glob("[0-9]*/cgroup"):
        try:
            if re.search("/docker/(?!buildkit)", cgroup.read_text()):
                owned.add(cgroup.parent.name)
        except OSError:
            continue
    mounts = {line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()}
    return {
        "containers": {one.id for one in client.containers.list(all=True, ignore_removed=True)},
        "volumes": {one.id for one in client.volumes.list()},
        "networks": {one.id for one in client.networks.list()},
        "processes": owned,
        "mounts": {mount for mount in mounts if "docker" in mount and not BUILDS.search(mount)},
    }


def _more(before: dict[str, set[str]], after: dict[str, set[str]]) -> dict[str, set[str]]:
    return {what: after[what] - before[what] for what in before}


def _bytes(root: Path) -> int:
    total = 0
    for folder, _, names in os.walk(root):  # which passes over a folder that went in between
        for name in names:
            if ".log" in name:
                with suppress(OSError):
                    total += (Path(folder) / name).stat().st_size
    return total
