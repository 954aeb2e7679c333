"""Shards: every row once, what rows share kept together, and no run of rows divides better."""

from __future__ import annotations

import random
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from torchpair import facts as facts_data
from torchpair import search, shard
from torchpair.errors import TorchpairError
from torchpair.shard import Cost, Job, Part
from torchpair.workspace import Workspace

FACTS = facts_data.load()


def made(name: str, **parts: tuple[str, float]) -> Job:
    return Job(name, tuple(Part(f"{kind} {key}", Cost(cost, int(cost) * 10)) for kind, (key, cost) in parts.items()))


JOBS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(1, 90)), max_size=8
).map(
    lambda rows: [
        made(f"r{i}", cuda=(str(a), 40.0), torch=(f"{a} {b}", 20.0), image=(f"r{i}", float(c)))
        for i, (a, b, c) in enumerate(rows)
    ]
)  # fmt: skip


def slowest(shards: tuple[tuple[Job, ...], ...]) -> float:
    return max(map(shard.seconds, shards), default=0.0)


@settings(max_examples=200, deadline=None)
@given(JOBS, st.integers(1, 6), st.randoms(use_true_random=False))
def test_every_row_once_in_any_order_and_no_run_divides_better(jobs: list[Job], n: int, rng: random.Random) -> None:
    shards = shard.divide(jobs, n)
    assert len(shards) == n
    assert sorted(one.name for run in shards for one in run) == sorted(one.name for one in jobs)
    shuffled = list(jobs)
    rng.shuffle(shuffled)
    assert shard.divide(shuffled, n) == shards
    ordered = shard.in_order(jobs)
    assert [one for run in shards for one in run] == ordered
    cuts = combinations(range(1, len(ordered)), min(n, len(ordered)) - 1) if ordered else iter([()])
    best = min(
        slowest(tuple(tuple(ordered[a:b]) for a, b in zip((0, *cut), (*cut, len(ordered)), strict=True)))
        for cut in cuts
    )
    assert slowest(shards) <= best + 1e-6


@settings(max_examples=100, deadline=None)
@given(JOBS, st.integers(1, 6))
def test_what_rows_share_is_cut_no_more_often_than_there_are_cuts(jobs: list[Job], n: int) -> None:
    shards = [run for run in shard.divide(jobs, n) if run]
    places = sum(len({part.key for one in run for part in one.parts if part.key.startswith("cuda")}) for run in shards)
    kinds = len({part.key for one in jobs for part in one.parts if part.key.startswith("cuda")})
    assert places <= kinds + max(0, len(shards) - 1)
    total = sum(map(shard.seconds, shards))
    assert shard.seconds(jobs) <= total + 1e-9


def test_rows_of_one_torch_stay_together() -> None:
    """The Pythons of one torch share 2.9 GB of CUDA libraries."""
    found = [s for s in search.satisfiable(FACTS) if s.torch in ("2.8.0", "2.14.1", "2.5.1") and s.cuda != "cpu"]
    jobs = [shard.job(spec) for spec in found]
    count = len({(s.torch, s.cuda) for s in found})
    homes: dict[str, set[int]] = {}
    for index, run in enumerate(shard.divide(jobs, 3)):
        for one in run:
            homes.setdefault(one.parts[0].key, set()).add(index)
    assert len(homes) == count and sum(map(len, homes.values())) <= count + 2


def test_the_lock_says_what_is_shared(shipped: Workspace) -> None:
    specs = {spec.name: spec for spec in shipped.specs(shipped.rows[:2], "nvidia")}
    with_lock = [shard.job(spec, shipped.lock(spec)) for spec in specs.values()]
    assert [part.key.split()[0] for part in with_lock[0].parts] == [
        "cuda", "base", "tools", "python", "triton", "torch", "audio", "image",
    ]  # fmt: skip
    keys = [{part.key for part in one.parts} for one in with_lock]
    shared = {key.split()[0] for key in keys[0] & keys[1]}
    # CUDA 12.8 and 13.0: nothing but what wheels are unpacked with.
    assert shared == {"tools"}
    spec = next(iter(specs.values()))
    assert shard.job(spec).parts[0].key != with_lock[0].parts[0].key


def test_what_is_compiled_costs_more(shipped: Workspace) -> None:
    jobs = {spec.name: shard.seconds([shard.job(spec)]) for spec in shipped.everywhere()}
    assert jobs["torch2.5.0src-audiosrc-cu124-py311"] > 3600 > jobs["torch2.6.0-audiosrc-cu124-py313"]
    assert jobs["torch2.6.0-audiosrc-cu124-py313"] > jobs["torch2.8.0-cu128-py311"] + 60


@pytest.mark.parametrize(("text", "found"), [("1/1", (1, 1)), ("2/8", (2, 8)), ("256/256", (256, 256))])
def test_parse(text: str, found: tuple[int, int]) -> None:
    assert shard.parse(text) == found


@pytest.mark.parametrize("text", ["", "0/8", "9/8", "1", "1/0", "-1/8", "a/b", "1/8/9", "٢/8", "1/99999"])
def test_parse_refuses(text: str) -> None:
    with pytest.raises(TorchpairError, match="--shard"):
        shard.parse(text)


def test_nothing_to_divide() -> None:
    assert shard.divide([], 3) == ((), (), ())
