"""What a check is, what it can answer, and the table of all checks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterable, List, Mapping, Optional

if TYPE_CHECKING:
    from .context import Context
    from .spectrogram import Sound

CheckFunction = Callable[["Context"], "Outcome"]


class Skip(Exception):
    """Raised by a check that does not apply or cannot run here.

    needs: a word from the table in this package's docstring; reason: a sentence.
    """

    def __init__(self, needs: str, reason: str) -> None:
        super().__init__(reason)
        self.needs = needs
        self.reason = reason


@dataclass(frozen=True)
class Outcome:
    """What a check that ran has found. measured is any JSON value; reason says why it failed, or is empty.

    spectrograms: of a sound that failed and the expected one, as spectrogram.both has them.
    """

    passed: bool
    measured: Any
    reason: str = ""
    spectrograms: Optional[Dict[str, Any]] = None


@dataclass(frozen=True)
class Check:
    """One named test. limit is a JSON value or a sentence: what measured must satisfy."""

    id: str
    purpose: str
    limit: Any
    unit: str
    run: CheckFunction
    imports: bool
    gpu: bool
    begin: Optional[Callable[["Context"], None]] = None


REGISTRY: Dict[str, Check] = {}

# Skips whose reason is understood and leaves the verdict alone, by their word; the table is in the package's docstring.
HARMLESS = ("expectation", "torchcodec", "ffmpeg", "record", "package", "non-root", "read-only")
GPU_NEEDS = ("gpu", "cuda-build")


def harmless(needs: Optional[str], gpu: str) -> bool:
    """Whether a check skipped for want of `needs` leaves the verdict alone. gpu: "auto", "require" or "off"."""
    if needs in GPU_NEEDS:
        return gpu in ("auto", "off")
    # A release that does not have a function yet, or no more.
    return needs in HARMLESS or (needs or "").startswith(("torchaudio>=", "torchaudio<"))


def check(
    id: str,
    purpose: str,
    *,
    limit: Any,
    unit: str = "",
    imports: bool = True,
    gpu: bool = False,
    begin: Optional[Callable[["Context"], None]] = None,
) -> Callable[[CheckFunction], CheckFunction]:
    """Register a function as a check.

    imports: it needs torch and torchaudio, and is skipped when they do not import.
    gpu: it needs a CUDA device that torch can use, and is skipped without one.
    begin: starts what can run beside the checks before it; called once torch and torchaudio are imported.
    """

    def register(run: CheckFunction) -> CheckFunction:
        if id in REGISTRY:
            raise ValueError("two checks are called " + id)
        REGISTRY[id] = Check(id, purpose, limit, unit, run, imports, gpu, begin)
        return run

    return register


def told(error: BaseException) -> str:
    """An exception and what lies behind it in one line: "could not load this library" hides its cause there."""
    parts: List[str] = []
    current: Optional[BaseException] = error
    while current is not None and len(parts) < 4:
        parts.append("{}: {}".format(type(current).__name__, current))
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return "; because of ".join(parts)


def worst(values: Iterable[float]) -> float:
    """The largest of some errors; NaN as soon as one is NaN (Python's max would lose it), infinity for none."""
    numbers = list(values)
    if not numbers:
        return math.inf
    return math.nan if any(math.isnan(number) for number in numbers) else max(numbers)


def within(
    measured: Mapping[str, Any], limits: Mapping[str, float], sound: Optional[Callable[[], "Sound"]] = None
) -> Outcome:
    """Pass when every limited value was measured and is not above its limit; NaN is above every limit.

    Values without a limit are there for the reader. sound: makes the sound once more, to be drawn where it failed.
    """
    over = []
    for key, limit in limits.items():
        value = measured.get(key)
        if not isinstance(value, (int, float)) or not value <= limit:
            over.append("{} is {}, allowed is {:g}".format(key, value, limit))
    drawn = None
    if over and sound:
        from . import spectrogram  # it stands on this module

        try:
            drawn = spectrogram.both(sound())
        except Exception as error:  # the check has its answer already: a picture is no reason for another
            over.append("no spectrogram: {}".format(error))
    return Outcome(not over, dict(measured), "; ".join(over), drawn)
