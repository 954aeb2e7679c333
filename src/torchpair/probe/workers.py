"""Workers, forked and spawned: what every training run does with torch and torchaudio in a container.

The data set is a class of this module, not of a check, because a spawned worker imports it anew. It computes with
torchaudio's compiled code, and the results come back through shared memory (/dev/shm).
"""

from __future__ import annotations

import importlib
import os
import queue
import time
from pathlib import Path
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


def compared(got: List[List[float]]) -> Dict[str, Any]:
    """The largest error of what workers handed back, and how many signals are missing."""
    right = [reference.lfilter(reference.noise(SAMPLES, 20 + index), A, B) for index in range(COUNT)]
    return {"error": reference.largest_error(got, right), "missing": COUNT - len(got)}


def serve(results: Any, taken: Any) -> None:
    """A spawned worker's whole life: hand out every signal, and stay until they are taken, for they live in it."""
    filtered = Filtered()
    for index in range(COUNT):
        results.put(filtered[index])
    taken.wait(SECONDS)


class Spawned:
    """A worker that is begun when this is made, and waited for by results().

    Not a DataLoader: when a worker of one dies, it raises in whatever check is running then.
    """

    def __init__(self, context: Context) -> None:
        start = context.torch.multiprocessing.get_context("spawn")
        self.queue, self.taken = start.Queue(), start.Event()
        self.process = start.Process(target=serve, args=(self.queue, self.taken), daemon=True)
        self.process.start()

    def results(self) -> List[List[float]]:
        """What the worker computed. RuntimeError when it ends or takes too long before that."""
        got: List[List[float]] = []
        until = time.monotonic() + SECONDS
        try:
            while len(got) < COUNT:
                ended = not self.process.is_alive()  # asked before the queue: what it left there still counts
                try:
                    got.append(self.queue.get(timeout=0.2).tolist())
                except queue.Empty:
                    if ended:
                        raise RuntimeError(self._why()) from None
                    if time.monotonic() > until:
                        raise RuntimeError("the worker took longer than {:g} s".format(SECONDS)) from None
        finally:
            self.taken.set()
            self.process.join(5)
            if self.process.is_alive():
                self.process.kill()
        return got

    def _why(self) -> str:
        said = "the worker ended with exit code {}".format(self.process.exitcode)
        # multiprocessing lets a worker go to its parent's folder first.
        if not os.access(str(Path.cwd()), os.X_OK):
            said += ": the working directory {} cannot be entered by uid {}".format(Path.cwd(), os.getuid())
        return said


# As dsp.lfilter: float32 rounding of a recursion with gain below 10.
LIMITS = {"error": 5e-6, "missing": 0}


def begin_spawn(context: Context) -> None:
    """Start the spawned worker: it imports torch while other checks run, on another core where there is one."""
    if "spawn" not in context.memory:
        try:
            context.memory["spawn"] = Spawned(context)
        except Exception as error:  # told by the check
            context.memory["spawn"] = error


@check(
    "runtime.fork",
    "Two forked DataLoader workers compute with torchaudio and hand back the right numbers.",
    limit=LIMITS,
    unit="max absolute error; signals",
)
def fork(context: Context) -> Outcome:
    loader = context.torch.utils.data.DataLoader(
        Filtered(), batch_size=1, num_workers=2, multiprocessing_context="fork", timeout=SECONDS
    )
    return within(compared([batch[0].tolist() for batch in loader]), LIMITS)


@check(
    "runtime.spawn",
    "A spawned worker imports torch and torchaudio anew and hands back the right numbers, through shared memory.",
    limit=LIMITS,
    unit="max absolute error; signals",
    begin=begin_spawn,
)
def spawn(context: Context) -> Outcome:
    begin_spawn(context)
    worker = context.memory.pop("spawn")
    if isinstance(worker, Exception):
        raise worker
    began = time.monotonic()
    measured = compared(worker.results())
    measured["waited"] = round(time.monotonic() - began, 3)
    return within(measured, LIMITS)
