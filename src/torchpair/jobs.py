"""Rows as jobs, divided over machines: shards, and the matrix of GitHub Actions."""

from __future__ import annotations

from collections.abc import Sequence

from torchpair import materials, plan, shard
from torchpair.errors import LockError
from torchpair.matrix import Row
from torchpair.workspace import BASES, Workspace


def in_shard(workspace: Workspace, rows: Sequence[Row], index: int, count: int) -> tuple[Row, ...]:
    """The rows of one shard, in the matrix's order. Every machine divides alike, whatever base it then finds."""
    names = {one.name for one in shard.divide(_jobs(workspace, rows), count)[index - 1]}
    return tuple(row for row in rows if row.name in names)


def github(workspace: Workspace, names: Sequence[str], everything: bool, most: int) -> str:
    """The matrix of GitHub's jobs for rows, as JSON."""
    return plan.github(_jobs(workspace, workspace.choose(names, everything)), most)


def _jobs(workspace: Workspace, rows: Sequence[Row]) -> list[shard.Job]:
    jobs = []
    for row in rows:
        materials.on_any_base(workspace, row)
        found = (spec for kind in BASES for spec in materials.possible(workspace, [row], kind))
        spec = next(found)
        try:
            lock = workspace.lock(spec)
        except LockError:  # stale: the torch alone says what rows share
            lock = None
        jobs.append(shard.job(spec, lock))
    return jobs
