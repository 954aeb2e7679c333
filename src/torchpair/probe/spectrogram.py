"""Small spectrograms of a sound that failed and of the expected one: for the eye, nothing is judged by them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Dict, List, Sequence

from . import fourier

FRAMES, BANDS = 64, 32
WINDOWS = (256, 64)  # samples
# One hexadecimal digit a cell: 6 dB a step, 0 is -90 dB of full scale or less, f full scale.
FLOOR_DB, STEP_DB, LEVELS = -90.0, 6.0, 15


@dataclass(frozen=True)
class Sound:
    """What a check got and what it should have got: samples of one channel, at `rate` Hz."""

    got: Sequence[float]
    expected: Sequence[float]
    rate: int


def channel(got: Sequence[Sequence[float]], expected: Sequence[Sequence[float]], rate: int) -> Sound:
    """The first channel that differs, or that is missing on one side."""
    for n in range(max(len(got), len(expected))):
        one, other = (list(rows[n]) if n < len(rows) else [] for rows in (got, expected))
        if one != other:
            return Sound(one, other, rate)
    return Sound([], [], rate)


def rows(signal: Sequence[float]) -> List[str]:
    """BANDS lines of FRAMES digits, the highest frequencies first, from 0 to half the rate."""
    size = next((n for n in WINDOWS if n <= len(signal)), WINDOWS[-1])
    padded = list(signal) + [0.0] * max(0, size - len(signal))
    window = fourier.hann(size)
    scale = 2 / sum(window)
    columns = []
    for n in range(FRAMES):
        spectrum = fourier.frame(padded, window, (len(padded) - size) * n // (FRAMES - 1))
        bins = [scale * abs(value) for value in spectrum[:-1]]
        each = len(bins) // BANDS
        columns.append([digit(bins[k * each : (k + 1) * each]) for k in range(BANDS)])
    return ["".join(column[k] for column in columns) for k in reversed(range(BANDS))]


def digit(amplitudes: Sequence[float]) -> str:
    """The loudest of some amplitudes as a level; what is no number is as loud as can be."""
    if not all(map(math.isfinite, amplitudes)):
        return "f"
    loudest = max(amplitudes)
    level = (20 * math.log10(loudest) - FLOOR_DB) / STEP_DB if loudest > 0 else 0
    return "{:x}".format(min(LEVELS, max(0, round(level))))


def both(sound: Sound) -> Dict[str, Any]:
    """{"rate": Hz, "got": rows, "expected": rows}."""
    return {"rate": sound.rate, "got": rows(sound.got), "expected": rows(sound.expected)}
