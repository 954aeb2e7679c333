"""A simulation: 1,000 rows on n builders, divided by torchpair and round robin. Nothing is built or timed.

A builder does each step once that its rows share. What a step costs is torchpair.shard.COSTS, which says where it was
measured. bytes: what all builders together make and send, a shared layer once on each builder that needs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torchpair import facts as facts_data
from torchpair import search, shard
from torchpair.errors import ResolveError
from torchpair.resolve import resolve
from torchpair.shard import Job
from torchpair.spec import Spec

ROWS = 1_000
BUILDERS = (2, 8, 32, 256)


def rows() -> list[Spec]:
    """The 1,000 newest combinations of wheels that resolve for x86_64, on either Ubuntu and on the local base."""
    facts = facts_data.load()
    found = {(spec.name, spec.tag): spec for spec in search.satisfiable(facts)}
    for spec in list(found.values()):
        for distro in ("ubuntu22.04", "ubuntu24.04"):
            try:
                other = resolve(replace(spec.row, distro=distro, name=f"{spec.name}-{distro}"), facts)
            except ResolveError:
                continue
            found.setdefault((spec.name, other.tag), other)
    for spec in search.satisfiable(facts, base="local"):
        found[spec.name, spec.tag] = replace(spec, name=f"{spec.name}-local")
    ordered = sorted(found.values(), key=lambda spec: (search.preference(None, spec), spec.tag))
    return ordered[:ROWS]


def round_robin(jobs: Sequence[Job], count: int) -> list[list[Job]]:
    """What one would do otherwise: row i to builder i modulo n, in the order of the matrix."""
    return [list(jobs[index::count]) for index in range(count)]


def equal_counts(jobs: Sequence[Job], count: int) -> list[list[Job]]:
    """The better of what one would do otherwise: runs of the matrix's order, of as many rows each."""
    return [list(jobs[len(jobs) * i // count : len(jobs) * (i + 1) // count]) for i in range(count)]


def run() -> list[dict[str, object]]:
    specs = rows()
    jobs = [shard.job(spec) for spec in specs]
    whole, total = shard.seconds(jobs), shard.size(jobs)
    longest = max(shard.seconds([one]) for one in jobs)
    measures: list[dict[str, object]] = []
    for count in BUILDERS:
        ours, naive = shard.divide(jobs, count), round_robin(jobs, count)
        slowest, naively = (max(map(shard.seconds, runs)) for runs in (ours, naive))
        made, naive_made = (sum(map(shard.size, runs)) for runs in (ours, naive))
        # No division is faster than all the work, shared steps once, spread evenly; or than the longest row.
        ideal = max(whole / count, longest)
        told = f"simulated, {len(jobs)} rows on {count} builders, costs of torchpair.shard"
        measures += [
            {
                **_ratio(f"shard_time_{count}", slowest / 3600, naively / 3600, "h", f"round robin; {told}"),
                "equal_counts": round(max(map(shard.seconds, equal_counts(jobs, count))) / 3600, 3),
            },
            _ratio(f"shard_ideal_{count}", slowest / 3600, ideal / 3600, "h", f"the work spread evenly; {told}"),
            _ratio(f"shard_bytes_{count}", made / 1e9, naive_made / 1e9, "GB", f"round robin; {told}"),
            _ratio(f"shard_moved_{count}", made / 1e9, total / 1e9, "GB", f"each layer made once; {told}"),
        ]
    return measures


def _ratio(name: str, ours: float, other: float, unit: str, against: str) -> dict[str, object]:
    return {
        "id": name, "ours": round(ours, 3), "other": round(other, 3), "ratio": round(ours / other, 3), "unit": unit,
        "runs": 1, "against": against,
    }  # fmt: skip
