"""Rows -> shards: which machine builds what, so that each is done at about the same time. Pure.

Rows that share layers are put side by side, and a shard is a run of them: n shards cut at most n - 1 times through what
rows share. Of all such runs those are taken whose slowest shard is fastest.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torchpair.errors import TorchpairError
from torchpair.lock import Lock
from torchpair.resolve import layer_of
from torchpair.spec import Spec


@dataclass(frozen=True)
class Cost:
    """Of one step of a build. seconds: of two cores; size: bytes that it makes, compressed."""

    seconds: float
    size: int


# Measured 2026-11-21. seconds: the log of a build of torch2.14.1-cu130-py313 without a cache, two cores, local base.
# size: the layers of torchpair:2.8.0-cu128-py311-debian12 as a registry has them. image: what each row does for itself:
# its layers are put together, taken into the engine, and checked (10 s). audio-source: torchaudio 2.11 compiled for one
# architecture. torch-source was not measured: upstream calls it hours.
COSTS = {
    "base": Cost(52.8, 216_312_759),
    "tools": Cost(16.8, 0),
    "cuda": Cost(27.9, 2_879_717_702),
    "python": Cost(6.6, 28_038_391),
    "triton": Cost(17.0, 158_265_179),
    "torch": Cost(22.7, 890_958_351),
    "audio": Cost(3.0, 5_586_538),
    "audio-source": Cost(104.0, 5_586_538),
    "torch-source": Cost(4 * 3600.0, 890_958_351),
    "image": Cost(62.7, 5_665_759),
}
_SHARD = re.compile(r"([1-9]\d{0,3})/([1-9]\d{0,3})", re.ASCII)


@dataclass(frozen=True)
class Part:
    """One step. key: the same for rows that share it."""

    key: str
    cost: Cost


@dataclass(frozen=True)
class Job:
    """A row and its steps. What rows share most of their bytes by comes first: it decides who stands beside whom."""

    name: str
    parts: tuple[Part, ...]


def job(spec: Spec, lock: Lock | None = None) -> Job:
    """The steps of a row. lock: says exactly which rows have the same CUDA libraries; without it, the torch does."""
    ground = f"{spec.tools} {spec.arch}"
    place = f"{spec.image} {spec.arch} {' '.join(package.name for package in spec.apt)}"
    venv = f"{place} {spec.python}"
    torch = "torch" if spec.torch_from == "wheel" else "torch-source" if spec.torch_from == "source" else None
    audio = "audio-source" if spec.torchaudio_from == "source" else "audio"
    steps: list[tuple[str, str]] = []
    if spec.variant != "cpu" and torch == "torch":
        steps.append(("cuda", f"{ground} {_wheels(lock, 'cuda', 'cudnn') or f'{spec.torch} {spec.variant}'}"))
    steps += [("base", place), ("tools", ground), ("python", f"{venv} {_wheels(lock, 'python') or spec.torch}")]
    if spec.variant != "cpu" and torch:
        steps.append(("triton", f"{venv} {_wheels(lock, 'triton') or spec.torch}"))
    if torch:
        steps.append((torch, f"{venv} {spec.torch} {spec.variant} {spec.index}"))
    steps += [(audio, f"{venv} {spec.torch} {spec.torchaudio} {spec.torchcodec} {spec.variant}"), ("image", spec.name)]
    return Job(spec.name, tuple(Part(f"{name} {key}", COSTS[name]) for name, key in steps))


def _wheels(lock: Lock | None, *layers: str) -> str:
    """What layers hold, in few letters; nothing where there is no lock."""
    found = [wheel.sha256 for wheel in lock.wheels if layer_of(wheel.name) in layers] if lock else []
    return hashlib.sha256("".join(found).encode()).hexdigest()[:16] if found else ""


def seconds(jobs: Iterable[Job]) -> float:
    """What one machine takes for some rows: each step that they share is done once."""
    return sum({part.key: part.cost.seconds for one in jobs for part in one.parts}.values())


def size(jobs: Iterable[Job]) -> int:
    """Bytes that one machine makes for some rows, compressed."""
    return sum({part.key: part.cost.size for one in jobs for part in one.parts}.values())


def in_order(jobs: Iterable[Job]) -> list[Job]:
    """Rows that share steps side by side; the same for any order that they come in."""
    return sorted(jobs, key=lambda one: ([part.key for part in one.parts], one.name))


def divide(jobs: Iterable[Job], count: int) -> tuple[tuple[Job, ...], ...]:
    """`count` shards, some of them empty where there are too few rows; every row in exactly one."""
    ordered = in_order(jobs)
    low = max((seconds([one]) for one in ordered), default=0.0)
    high = seconds(ordered)
    for _ in range(50):  # a double is halved no finer
        middle = (low + high) / 2
        low, high = (low, middle) if len(_runs(ordered, middle)) <= count else (middle, high)
    runs = _runs(ordered, high)
    return (*runs, *((),) * (count - len(runs)))


def _runs(ordered: Sequence[Job], most: float) -> list[tuple[Job, ...]]:
    """The fewest runs that take no longer than `most` seconds each (or are a single row)."""
    runs: list[tuple[Job, ...]] = []
    run: list[Job] = []
    have: set[str] = set()
    spent = 0.0
    for one in ordered:
        new = {part.key: part.cost.seconds for part in one.parts if part.key not in have}
        if run and spent + sum(new.values()) > most * (1 + 1e-12):
            runs.append(tuple(run))
            run, have, spent = [], set(), 0.0
            new = {part.key: part.cost.seconds for part in one.parts}
        run.append(one)
        have |= new.keys()
        spent += sum(new.values())
    return [*runs, tuple(run)] if run else runs


def parse(text: str) -> tuple[int, int]:
    """ "2/8" -> (2, 8). Raises TorchpairError."""
    match = _SHARD.fullmatch(text)
    if not match or int(match[1]) > int(match[2]):
        raise TorchpairError(f"--shard {text!r} is not allowed", remedy="write i/n, such as 2/8: the second of eight")
    return int(match[1]), int(match[2])
