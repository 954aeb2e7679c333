"""Several things at a time, that end at once when one of them fails or somebody presses Ctrl-C."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_In = TypeVar("_In")
_Out = TypeVar("_Out")


def each(
    function: Callable[[_In], _Out], items: Iterable[_In], workers: int, stop: threading.Event | None = None
) -> list[_Out]:
    """What a function gives for each item, in their order; the first error, in their order, is raised.

    After an error nothing more is begun. stop: is set then, for what looks at it while it works.
    """
    pool = ThreadPoolExecutor(max_workers=max(1, workers))
    try:
        return [future.result() for future in [pool.submit(function, item) for item in items]]
    except BaseException:
        if stop:
            stop.set()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
