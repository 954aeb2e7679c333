"""Room on the disk, from the lock."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from torchpair import space
from torchpair.engine import Engine
from torchpair.errors import EngineError
from torchpair.lock import Lock, Locked
from torchpair.spec import Spec

MakeSpec = Callable[..., Spec]
GB = 10**9
ONE, OTHER = (f'name: {name}, torch: "2.8.0", cuda: "12.8", python: "3.11"' for name in ("one", "other"))


def locked(*sizes: tuple[str, int | None]) -> Lock:
    return Lock(
        "", tuple(Locked(name, "1", name * 64, f"{name}-1-py3-none-any.whl", None, size) for name, size in sizes)
    )


def test_what_rows_share_is_unpacked_once_and_lies_in_each(spec: MakeSpec) -> None:
    one, other = spec(ONE), spec(OTHER)
    alone = space.needed([one], {"one": locked(("a", GB))})
    assert alone == int(space.UNPACKED * 2 * GB) + space.BASE
    both = space.needed([one, other], {"one": locked(("a", GB)), "other": locked(("a", GB), ("b", None))})
    assert both == int(space.UNPACKED * 3 * GB) + 2 * space.BASE
    assert space.needed([one], {}) == space.BASE


def test_refused_with_both_figures(spec: MakeSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine("unix:///nowhere", "26", None, ())
    rows, locks = [spec(ONE)], {"one": locked(("a", GB))}
    need = space.needed(rows, locks)
    for seen in (None, (Path("/data"), need), (Path("/data"), need + 1)):
        monkeypatch.setattr(space, "free", lambda engine, seen=seen: seen)
        space.refuse_without(engine, rows, locks)
    monkeypatch.setattr(space, "free", lambda engine: (Path("/data"), need - 10**8))
    with pytest.raises(EngineError) as refused:
        space.refuse_without(engine, rows, locks)
    assert "about 4.3 GB are needed, 4.2 GB are free" in str(refused.value) and "one" in str(refused.value)
    space.refuse_without(engine, [], {})  # all is there already


def test_an_engine_elsewhere_is_not_looked_into() -> None:
    assert space.free(Engine("tcp://10.0.0.1:2376", "26", None, ())) is None
