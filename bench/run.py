"""`make bench`: speed and size as ratios against what one would do otherwise, measured side by side in one run.

Writes bench/results.json ({"measures": [{"id", "ours", "other", "ratio", "unit", "runs", ...}]}), results.md and
results.svg. `python bench/run.py images` (or cold, pulls, source, quick, shards) runs a part and keeps the figures of
the others.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import images
import pulls
import shards
import show
import source

from torchpair import facts as facts_data
from torchpair import lock as lockfile
from torchpair.errors import ResolveError
from torchpair.facts import cuda_family
from torchpair.matrix import parse
from torchpair.resolve import resolve
from torchpair.workspace import Workspace

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results.json"
TORCHPAIR = [sys.executable, "-m", "torchpair.cli"]
ROW = "torch2.8.0-cu128-py311"
RUNS = 5
PARTS = {"cold", "images", "pulls", "source", "quick", "shards"}


def seconds(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def call(*argv: str) -> Callable[[], object]:
    return lambda: subprocess.run(argv, cwd=ROOT, check=True, capture_output=True, stdin=subprocess.DEVNULL)


def measure(name: str, ours: Callable[[], object], other: Callable[[], object] | None, against: str) -> dict[str, Any]:
    """Both sides in turn, so that what else the machine does falls on both."""
    ours()  # the first run warms what a second call of a user finds warm
    if other:
        other()
    pairs = [(seconds(ours), seconds(other) if other else None) for _ in range(RUNS)]
    mine = [a for a, _ in pairs]
    theirs = [b for _, b in pairs if b is not None]
    result: dict[str, Any] = {
        "id": name,
        "ours": round(statistics.median(mine), 3),
        "ours_min_max": [round(min(mine), 3), round(max(mine), 3)],
        "unit": "s",
        "runs": RUNS,
        "against": against,
    }
    if theirs:
        ratios = [a / b for a, b in zip(mine, theirs, strict=True)]
        result["other"] = round(statistics.median(theirs), 3)
        result["ratio"] = round(statistics.median(ratios), 3)
        result["ratio_min_max"] = [round(min(ratios), 3), round(max(ratios), 3)]
    return result


def large_matrix(folder: Path) -> int:
    """A matrix of every torch and Python on PyPI, locked and rendered; how many files that gives.

    The locks are one real lock under other names: what is measured is reading, rendering and comparing.
    """
    facts = facts_data.load()
    rows = [
        f'  - {{torch: "{version}", cuda: "{cuda_family(torch.pypi["x86_64"])}", python: "{python}"}}\n'
        for version, torch in facts.torch.items()
        for python in torch.pythons["x86_64"]
    ]
    specs = []
    for line in rows:
        try:
            specs.append((line, resolve(parse("images:\n" + line)[0], facts)))
        except ResolveError:
            continue
    (folder / "matrix.yaml").write_text("images:\n" + "".join(line for line, _ in specs), encoding="utf-8")
    shutil.copytree(ROOT / "locks", folder / "locks")
    real = Workspace(ROOT / "matrix.yaml")
    sample = real.lock(resolve(real.rows[0], facts))
    assert sample is not None
    for _, spec in specs:
        text = lockfile.text(spec.name, lockfile.Lock(lockfile.asked(spec), sample.wheels))
        lockfile.path_of(spec, folder / "locks").write_text(text, encoding="utf-8")
    Workspace(folder / "matrix.yaml").write_rendered()
    return len(list((folder / "dockerfiles").rglob("*Dockerfile")))


def quick() -> list[dict[str, Any]]:
    """What takes seconds, five times each. Builds the default images where they are not there yet."""
    call(*TORCHPAIR, "images")()
    report = json.loads((ROOT / "reports" / f"{ROW}.json").read_text(encoding="utf-8"))
    importing = ("python", "-c", "import torch, torchaudio")
    imported = call("docker", "run", "--rm", report["image"], *importing)
    with tempfile.TemporaryDirectory() as name:
        files = large_matrix(Path(name))
        rendering = measure(
            "render_check",
            call(*TORCHPAIR, "render", "--check", "--matrix", f"{name}/matrix.yaml"),
            call(*TORCHPAIR, "--version"),
            f"start-up alone; whole process, {files} Dockerfiles of a matrix of every torch and Python on PyPI",
        )
    with running(report["image"]) as container:
        inside = measure(
            "check_quick",
            call("docker", "exec", container, "python", "/opt/torchpair/probe.pyz", "--quick"),
            call("docker", "exec", container, *importing),
            "docker exec CONTAINER python -c 'import torch, ...'; as a HEALTHCHECK runs it",
        )
    return [
        rendering,
        inside,
        measure("noop", call(*TORCHPAIR, "images"), None, "an absolute: both default rows, nothing changed"),
        measure(
            "check_full", call(*TORCHPAIR, "check", ROW), imported, "docker run IMAGE python -c 'import torch, ...'"
        ),
    ]


@contextmanager
def running(image: str) -> Iterator[str]:
    """A container of an image for as long as the context lasts: its id."""
    argv = ["docker", "run", "--detach", "--rm", "--network", "none", image, "sleep", "600"]
    container = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()
    try:
        yield container
    finally:
        subprocess.run(["docker", "kill", container], check=True, capture_output=True)


def main() -> None:
    wanted = set(sys.argv[1:]) or PARTS
    if wanted - PARTS:
        sys.exit("usage: python bench/run.py [cold] [images] [pulls] [source] [quick] [shards]")
    measures: list[dict[str, Any]] = []
    if "shards" in wanted:
        measures += shards.run()
    if wanted - {"shards"}:
        engine, base = images.engine_and_base(print)
    if "quick" in wanted:
        measures += quick()
    if "cold" in wanted:
        measures += images.cold(engine, base, print)
    if "images" in wanted:
        measures += images.run(engine, base, print)
    if "pulls" in wanted:
        measures += pulls.run(engine, base, print)
    if "source" in wanted:
        measures.append(source.source_rebuild())
    fresh = {m["id"] for m in measures}
    old = json.loads(RESULTS.read_text(encoding="utf-8"))["measures"] if RESULTS.exists() else []
    measures += [m for m in old if m["id"] not in fresh and wanted != PARTS]
    measures.sort(key=lambda m: str(m["id"]))
    RESULTS.write_text(json.dumps({"measures": measures}, indent=1) + "\n", encoding="utf-8")
    RESULTS.with_suffix(".md").write_text(show.table(measures), encoding="utf-8")
    RESULTS.with_suffix(".svg").write_text(show.picture(measures), encoding="utf-8")
    print(show.table(measures))


if __name__ == "__main__":
    main()
