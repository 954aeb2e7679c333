"""`make bench`: speed as ratios against what one would do otherwise, measured side by side in one run.

Writes bench/results.json: {"measures": [{"id", "ours", "other", "ratio", "unit", "runs", ...}]}.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from torchpair import facts as facts_data
from torchpair import lock as lockfile
from torchpair.errors import ResolveError
from torchpair.facts import cuda_family
from torchpair.matrix import parse
from torchpair.resolve import resolve
from torchpair.workspace import Workspace

ROOT = Path(__file__).resolve().parents[1]
TORCHPAIR = [sys.executable, "-m", "torchpair.cli"]
IMAGE = "torchpair:2.8.0-cu128-py311-debian12"
RUNS = 5


def seconds(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def call(*argv: str) -> Callable[[], object]:
    return lambda: subprocess.run(argv, cwd=ROOT, check=True, capture_output=True, stdin=subprocess.DEVNULL)


def measure(
    name: str, ours: Callable[[], object], other: Callable[[], object] | None, against: str
) -> dict[str, object]:
    """Both sides in turn, so that what else the machine does falls on both."""
    ours()  # the first run warms what a second call of a user finds warm
    if other:
        other()
    pairs = [(seconds(ours), seconds(other) if other else None) for _ in range(RUNS)]
    mine = [a for a, _ in pairs]
    theirs = [b for _, b in pairs if b is not None]
    result: dict[str, object] = {
        "id": name,
        "ours": round(statistics.median(mine), 3),
        "ours_min_max": [round(min(mine), 3), round(max(mine), 3)],
        "unit": "s",
        "runs": RUNS,
        "against": against,
    }
    if theirs:
        result["other"] = round(statistics.median(theirs), 3)
        result["ratio"] = round(statistics.median(a / b for a, b in zip(mine, theirs, strict=True)), 3)
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


def main() -> None:
    call(*TORCHPAIR, "images")()
    with tempfile.TemporaryDirectory() as name:
        files = large_matrix(Path(name))
        rendering = measure(
            "render_check",
            call(*TORCHPAIR, "render", "--check", "--matrix", f"{name}/matrix.yaml"),
            call(*TORCHPAIR, "--version"),
            f"start-up alone; whole process, {files} Dockerfiles of a matrix of every torch and Python on PyPI",
        )
    measures = [
        rendering,
        measure("noop", call(*TORCHPAIR, "images"), None, "an absolute: both default rows, nothing changed"),
        measure(
            "check_full",
            call(*TORCHPAIR, "check", IMAGE),
            call("docker", "run", "--rm", IMAGE, "python", "-c", "import torch, torchaudio"),
            "docker run IMAGE python -c 'import torch, torchaudio'",
        ),
    ]
    (ROOT / "bench" / "results.json").write_text(json.dumps({"measures": measures}, indent=1) + "\n", encoding="utf-8")
    for m in measures:
        ratio = f"{m['ratio']:>7} x" if "ratio" in m else " " * 9
        print(f"{m['id']:14} {m['ours']:>7} s {ratio}  {m['against']}")


if __name__ == "__main__":
    main()
