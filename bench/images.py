"""Measures of real images: time, bytes stored, bytes pulled, against the Dockerfile that a blog would give.

Its Dockerfile: the same base, apt-get install, one RUN pip install of the same versions. Each side starts from an empty
build cache. The plain images are built one after another and removed, because no disk here holds them all; what they
would share, the base with apt's packages, is built once for each distribution and counted once.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from rich.console import Console

from torchpair import base as bases
from torchpair import build, difference, dockerd, layers, progress
from torchpair.engine import Engine
from torchpair.factory import build_again
from torchpair.spec import Spec
from torchpair.workspace import Workspace

# Two patch releases and three Pythons, the newest that torchaudio's own wheel fits.
TORCHES = ("2.14.0", "2.14.1")
PYTHONS = {"3.11": "debian12", "3.12": "ubuntu24.04", "3.13": "debian13"}
Say = Callable[[str], None]


@dataclass(frozen=True)
class Plain:
    """The blog's image of a row. seconds: of its own RUN; shared: of what rows of its distribution share."""

    seconds: float
    shared: float
    size: int


def matrix(base: str, codec: str | None = None) -> str:
    """Six rows. codec: another torchcodec for the last one than the rules choose, the edit of a late layer."""
    rows = []
    for torch in TORCHES:
        for python, distro in PYTHONS.items():
            more = f", distro: {distro}" if base == "local" else ""
            last = (torch, python) == (TORCHES[-1], [*PYTHONS][-1])
            more += f', torchcodec: "{codec}"' if codec and last else ""
            rows.append(f'  - {{torch: "{torch}", cuda: "13.0", python: "{python}", default: true{more}}}\n')
    return "images:\n" + "".join(rows)


class Bench:
    """One run: a folder with a matrix of its own, its locks, and an engine."""

    def __init__(self, engine: Engine, base: str, folder: Path, say: Say, text: str | None = None) -> None:
        self.engine, self.say = engine, say
        (folder / "matrix.yaml").write_text(text or matrix(base), encoding="utf-8")
        self.workspace = Workspace(folder / "matrix.yaml")
        shutil.copytree(Path(__file__).resolve().parents[1] / "locks", folder / "locks")
        self.base = base
        self.specs = self.workspace.specs(self.workspace.rows, base)
        unlocked = self.workspace.ensure_locks(self.specs, say)
        assert not unlocked, unlocked
        self.workspace.write_rendered()
        self.workspace.uv()
        self.workspace.probe()
        for spec in self.specs:
            if base == "local":
                for distro in (spec.distro, spec.tools_distro):
                    bases.ensure_local(engine, distro, say)
            else:
                self.docker("pull", "--quiet", spec.image)

    def docker(self, *argv: str, text: str | None = None) -> str:
        return self._call([self.engine.docker or "docker", *argv], text)

    def _call(self, argv: Sequence[str], text: str | None) -> str:
        done = subprocess.run(argv, env=self.engine.env(), input=text, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    def forget(self) -> None:
        """An empty build cache, cache mounts too."""
        self.docker("builder", "prune", "--all", "--force")

    def ours(self, specs: Sequence[Spec], workspace: Workspace | None = None) -> float:
        """Build specs with torchpair; seconds."""
        where = workspace or self.workspace
        shown = progress.Lines(Console(file=io.StringIO()))
        began = time.monotonic()
        built = build.images(self.engine, specs, where.folder, where.folder / "logs", shown, 2)
        seconds = time.monotonic() - began
        assert all(item.image_id for item in built), [item.error for item in built]
        self.say(f"  {seconds:.1f} s")
        return seconds

    def remove(self, specs: Sequence[Spec]) -> None:
        for spec in specs:
            if build.image(self.engine, spec.reference):
                self.docker("rmi", "--force", spec.reference)

    @contextmanager
    def shared_plain(self, spec: Spec) -> Iterator[tuple[str, float]]:
        """The blog's first RUN, as an image for as long as the context lasts, and its seconds."""
        name = f"torchpair-bench:plain-{spec.distro}"
        packages = " ".join(sorted({*(package.name for package in spec.apt), "python3-venv"}))
        text = (
            f"FROM {spec.image}\nRUN apt-get update && apt-get install -y --no-install-recommends {packages}"
            " && rm -rf /var/lib/apt/lists/*\n"
        )
        seconds = self._plain_build(name, text)
        try:
            yield name, seconds
        finally:
            self.docker("rmi", "--force", name)

    def plain(self, spec: Spec, below: str, shared: float, codec: str | None = None) -> Plain:
        """The blog's second RUN on top; the image is removed again."""
        name = "torchpair-bench:plain"
        asked = f"torch=={spec.torch} torchaudio=={spec.torchaudio} torchcodec=={codec or spec.torchcodec} numpy"
        text = (
            f"FROM {below}\nRUN --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt"
            " python3 -m venv /opt/venv && PIP_CERT=/etc/ssl/certs/ca-certificates.crt"
            f" /opt/venv/bin/pip install --no-cache-dir {asked}\n"
        )
        seconds = self._plain_build(name, text)
        found = build.image(self.engine, name)
        assert found
        self.docker("rmi", "--force", name)
        self.forget()
        return Plain(seconds, shared, found[1])

    def _plain_build(self, name: str, text: str) -> float:
        secret = ["--secret", f"id=ca,src={bundle}"] if (bundle := build.ca_bundle()) else []
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as empty:
            argv = [*self.engine.buildx, "build", "--quiet", "--load", "--tag", name, *secret, "--file", "-", empty]
            self._call(argv, text)
        seconds = time.monotonic() - began
        self.say(f"  {seconds:.1f} s")
        return seconds


def run(engine: Engine, base: str, say: Say) -> list[dict[str, object]]:
    """Every measure of images. Takes about half an hour on two cores, and 30 GB of disk."""
    with tempfile.TemporaryDirectory(prefix="torchpair-bench-") as name:
        bench = Bench(engine, base, Path(name), say)
        try:
            return _run(bench, Path(name), say)
        finally:
            bench.remove(bench.specs)
            bench.forget()


def cold(engine: Engine, base: str, say: Say) -> list[dict[str, object]]:
    """One image from nothing, beside the blog's, in turn. Takes about ten minutes on two cores."""
    with tempfile.TemporaryDirectory(prefix="torchpair-bench-") as name:
        bench = Bench(engine, base, Path(name), say)
        last = bench.specs[-1]
        pairs = []
        try:
            bench.remove([last])
            for turn in range(COLD_RUNS):
                bench.forget()
                say(f"plain: {last.name}, nothing cached ({turn + 1} of {COLD_RUNS})")
                with bench.shared_plain(last) as (below, shared):
                    other = bench.plain(last, below, shared).seconds + shared
                bench.forget()
                say("ours")
                pairs.append((bench.ours([last]), other))
                bench.remove([last])
        finally:
            bench.remove([last])
            bench.forget()
    ours, others = zip(*pairs, strict=True)
    ratios = [mine / other for mine, other in pairs]
    return [{
        **ratio("cold_build", median(ours), median(others), "s", "one RUN pip install on the same base"),
        "ratio": round(median(ratios), 3), "ratio_min_max": [round(min(ratios), 3), round(max(ratios), 3)],
        "ours_min_max": [round(min(ours), 1), round(max(ours), 1)], "runs": COLD_RUNS,
    }]  # fmt: skip


def _run(bench: Bench, folder: Path, say: Say) -> list[dict[str, object]]:
    last = bench.specs[-1]
    bench.remove(bench.specs)
    bench.forget()
    plain = _plain_side(bench, say)
    say(f"ours: {len(bench.specs)} images, nothing cached")
    whole = bench.ours(bench.specs)
    again = bench.ours(bench.specs)
    sizes = _size_over_floor(bench, last, plain[last.name])
    found = {spec.name: layers.read(bench.engine, spec.reference) for spec in bench.specs}
    edit = _late_edit(bench, folder, say)
    say("ours: one image once more, without the cache")
    with build_again(bench.workspace, bench.engine, last, Console(file=io.StringIO())) as twin:
        alike, size = difference.same(found[last.name], layers.read(bench.engine, twin))
    shared = {spec.distro: plain[spec.name].shared for spec in bench.specs}
    all_plain = sum(plain[spec.name].seconds for spec in bench.specs) + sum(shared.values())
    return [
        ratio("matrix_build", whole, all_plain, "s", f"{len(bench.specs)} such Dockerfiles"),
        {"id": "noop_build", "ours": round(again, 2), "unit": "s", "runs": 1,
         "against": f"an absolute: {len(bench.specs)} rows, nothing changed"},
        ratio("late_edit", edit, plain["late"].seconds, "s", "the same edit in the one RUN: another torchcodec"),
        *_bytes(bench, found, plain),
        sizes,
        ratio("same_digest", alike / 1e9, size / 1e9, "GB", "the whole image; in layers of one digest, two builds"),
    ]  # fmt: skip


def _plain_side(bench: Bench, say: Say) -> dict[str, Plain]:
    """The blog's image of every row by its name, and of the late edit."""
    plain: dict[str, Plain] = {}
    by_distro: dict[str, list[Spec]] = {}
    for spec in bench.specs:
        by_distro.setdefault(spec.distro, []).append(spec)
    for distro, specs in by_distro.items():
        with bench.shared_plain(specs[0]) as (below, shared):
            for spec in specs:
                say(f"plain: {spec.name} on {distro}")
                plain[spec.name] = bench.plain(spec, below, shared)
            if specs[-1] is bench.specs[-1]:
                say("plain: the late edit")
                plain["late"] = bench.plain(specs[-1], below, shared, LATE_CODEC)
    return plain


LATE_CODEC = "0.16.0"
COLD_RUNS = 3


def _late_edit(bench: Bench, folder: Path, say: Say) -> float:
    """Another torchcodec in the last row: seconds."""
    edited = folder / "edited"
    edited.mkdir()
    (edited / "matrix.yaml").write_text(matrix(bench.base, LATE_CODEC), encoding="utf-8")
    shutil.copytree(folder / "locks", edited / "locks")
    workspace = Workspace(edited / "matrix.yaml")
    (spec,) = workspace.specs(workspace.rows[-1:], bench.base)
    workspace.ensure_locks([spec], say)
    workspace.write_rendered()
    workspace.uv()
    workspace.probe()
    seconds = bench.ours([spec], workspace)
    bench.remove([spec])
    return seconds


def _bytes(
    bench: Bench, found: dict[str, tuple[layers.Layer, ...]], plain: dict[str, Plain]
) -> list[dict[str, object]]:
    def gigabytes(some: Sequence[layers.Layer]) -> float:
        return sum(layer.size for layer in some) / 1e9

    names = [spec.name for spec in bench.specs]
    per = len(PYTHONS)
    old, new, beside = found[names[per - 1]], found[names[-1]], found[names[-per]]
    total = sum(gigabytes(some) for some in found.values())
    sum_plain = sum(plain[name].size for name in names) / 1e9
    return [
        ratio("newest_patch_pull", gigabytes(layers.pulled(new, old)), gigabytes(new), "GB",
               f"the whole image; {names[per - 1]} -> {names[-1]}, unpacked"),
        ratio("python_pull", gigabytes(layers.pulled(new, beside)), gigabytes(new), "GB",
               f"the whole image; {names[-per]} -> {names[-1]}, unpacked, another distribution too"),
        {**ratio("matrix_store", layers.stored(found.values()) / 1e9, total, "GB",
                  f"the sum of {len(names)} images, unpacked"), "plain": round(sum_plain, 3)},
    ]  # fmt: skip


def _size_over_floor(bench: Bench, spec: Spec, plain: Plain) -> dict[str, object]:
    """An image against the files of its wheels, its base, and what apt brought: what else is there?"""
    read = layers.read(bench.engine, spec.reference)
    inventory = layers.take_inventory(bench.engine, spec.reference)
    below = sum(layer.size for layer in read if layer.name in ("base", "system"))
    floor = sum(inventory.wheels.values()) + below
    size = sum(layer.size for layer in read)
    return {
        **ratio("size_over_floor", size / 1e9, floor / 1e9, "GB", "files of the lock's wheels + base + apt's packages"),
        "plain": round(plain.size / 1e9, 3),
    }


def ratio(name: str, ours: float, other: float, unit: str, against: str) -> dict[str, object]:
    return {
        "id": name, "ours": round(ours, 3), "other": round(other, 3), "ratio": round(ours / other, 3), "unit": unit,
        "runs": 1, "against": against,
    }  # fmt: skip


def engine_and_base(say: Say) -> tuple[Engine, str]:
    engine = dockerd.ensure(say)
    kind, why = bases.choose_base("auto", "nvidia/cuda:13.0.3-base-ubuntu24.04", engine)
    say(why)
    return engine, kind
