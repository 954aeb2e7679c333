"""How much disk a build will take, from the lock, before it begins: a full disk in the middle of one helps nobody."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from torchpair.engine import Engine
from torchpair.errors import EngineError
from torchpair.lock import Lock
from torchpair.spec import Spec

# Measured on 2026-11-21: 2.8.0 has 7.36 GB from wheels of 3.94 GB, 2.14.1 6.20 GB from 3.05 GB, some 0.6 GB of each
# base and FFmpeg. The wheels are unpacked in a stage, and copied from there into the image.
UNPACKED = 1.85
BASE = 600_000_000


def needed(specs: Sequence[Spec], locks: Mapping[str, Lock]) -> int:
    """Bytes that building all of these from nothing takes: a wheel is unpacked once, and lies in each image.

    locks: by row. What has no lock, or whose wheels have no size, counts as nothing but its base.
    """
    once = {wheel.sha256: wheel.size or 0 for lock in locks.values() for wheel in lock.wheels}
    each = sum(wheel.size or 0 for spec in specs if spec.name in locks for wheel in locks[spec.name].wheels)
    return int(UNPACKED * (sum(once.values()) + each)) + BASE * len(specs)


def free(engine: Engine) -> tuple[Path, int] | None:
    """Where an engine of this machine keeps its data, and the bytes free there; None where that cannot be seen."""
    if not engine.host.startswith("unix://"):
        return None
    with closing(engine.client()) as client:
        root = Path(str(client.info().get("DockerRootDir") or "/nonexistent"))
    try:
        return root, shutil.disk_usage(root).free
    except OSError:  # in a virtual machine, or not for this user to see
        return None


def refuse_without(engine: Engine, specs: Sequence[Spec], locks: Mapping[str, Lock], bundle: int = 0) -> None:
    """Raises EngineError with both figures when the disk cannot hold what these rows, which have no image yet, take.

    bundle: bytes of the downloads in a bundle, of which BuildKit keeps a copy.
    """
    seen, need = free(engine), needed(specs, locks) + (bundle if specs else 0)
    if seen is None or need <= seen[1]:
        return
    rows = ", ".join(spec.name for spec in specs)
    raise EngineError(
        f"the disk cannot hold these images: about {need / 1e9:.1f} GB are needed, {seen[1] / 1e9:.1f} GB are free",
        where=str(seen[0]),
        why=f"wheels unpacked once, and once more in each image of {rows}",
        remedy="torchpair clean, docker builder prune, or fewer rows in one call",
    )
