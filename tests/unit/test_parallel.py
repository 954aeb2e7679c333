"""Several things at a time: their order, their first error, and that nothing is begun after one."""

from __future__ import annotations

import threading
import time

import pytest

from torchpair.parallel import each


def test_results_keep_their_order() -> None:
    assert each(lambda n: (time.sleep(0.02 * (3 - n)), n)[1], range(4), 4) == [0, 1, 2, 3]
    assert each(str, [], 4) == []


def test_after_an_error_nothing_more_is_begun_and_what_runs_is_told() -> None:
    stop, begun = threading.Event(), []

    def work(number: int) -> None:
        begun.append(number)
        if number == 0:
            raise ValueError("the first")
        assert stop.wait(10), "it was not told"

    with pytest.raises(ValueError, match="the first"):
        each(work, range(100), 2, stop)
    assert len(begun) < 10
