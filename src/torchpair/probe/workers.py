"""DataLoader workers, forked and spawned: what every training run does with torch and torchaudio in a container.

The data set is a class of this module, not of a check, because a spawned worker imports it anew. It computes with
torchaudio's compiled code, and the results come back through shared memory (/dev/shm).
"""

from __future__ import annotations

import importlib
import time
from typing import Any, Dict, List

from . import reference
from .context import Context
from .registry import Outcome, check, within

COUNT, SAMPLES = 4, 2000
SECONDS = 90.0  # a spawned worker imports torch again, on a slow disk
A, B = [1.0, -0.5], [0.5, 0.25]


class Filtered:
    """COUNT signals, filtered by torchaudio in whatever process asks for them."""

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, index: int) -> Any:
        torch = importlib.import_module("torch")
        functional = importlib.import_module("torchaudio.functional")
        if not 0 <= index < COUNT:
            raise IndexError(index)
        signal = torch.tensor(reference.noise(SAMPLES, 20 + index))
        return functional.lfilter(signal, torch.tensor(A), torch.tensor(B), clamp=False)


class Run:
    """One DataLoader at work: begun when made, waited for by errors()."""

    def __init__(self, context: Context, method: str, workers: int) -> None:
        loader = context.torch.utils.data.DataLoader(
            Filtered(), batch_size=1, num_workers=workers, multiprocessing_context=method, timeout=SECONDS
        )
        self.iterator = iter(loader)

    def errors(self) -> Dict[str, Any]:
        """The largest error of what came, and how many signals are missing."""
        began = time.monotonic()
        got: List[List[float]] = [batch[0].tolist() for batch in self.iterator]
        right = [reference.lfilter(reference.noise(SAMPLES, 20 + index), A, B) for index in range(COUNT)]
        measured = {"error": reference.largest_error(got, right), "missing": COUNT - len(got)}
        return dict(measured, waited=round(time.monotonic() - began, 3))


# As dsp.lfilter: float32 rounding of a recursion with gain below 10.
LIMITS = {"error": 5e-6, "missing": 0}


def begin_spawn(context: Context) -> None:
    """Start the spawned worker: it imports torch while other checks run, on another core where there is one."""
    if "spawn" not in context.memory:
        try:
            context.memory["spawn"] = Run(context, "spawn", 1)
        except Exception as error:  # told by the check
            context.memory["spawn"] = error


@check(
    "runtime.fork",
    "Two forked DataLoader workers compute with torchaudio and hand back the right numbers.",
    limit=LIMITS,
    unit="max absolute error; signals",
)
def fork(context: Context) -> Outcome:
    return within(Run(context, "fork", 2).errors(), LIMITS)


@check(
    "runtime.spawn",
    "A spawned DataLoader worker imports torch and torchaudio anew and hands back the right numbers.",
    limit=LIMITS,
    unit="max absolute error; signals",
    begin=begin_spawn,
)
def spawn(context: Context) -> Outcome:
    begin_spawn(context)
    run = context.memory.pop("spawn")
    if isinstance(run, Exception):
        raise run
    return within(run.errors(), LIMITS)
