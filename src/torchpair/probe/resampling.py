"""How well resampling keeps what it should and removes what it must: closed forms for single tones.

dsp.resample_<rate>_<rate> in sound.py are the level, the frequency and the purity of one tone.
"""

from __future__ import annotations

import cmath
import math
from typing import Any, Dict, List

from . import fourier, reference
from .context import Context
from .registry import Outcome, check, within, worst

AMPLITUDE = 0.5


def tone_out(
    context: Context, rate: int, new: int, hertz: float, seconds: float, dtype: str = "float32"
) -> List[float]:
    """A tone at `rate`, resampled to `new` on the CPU."""
    torch = context.torch
    tone = reference.sine(round(rate * seconds), rate, hertz, AMPLITUDE)
    signal = torch.tensor(tone, dtype=getattr(torch, dtype))
    out: List[float] = context.torchaudio.functional.resample(signal, rate, new).tolist()
    return out


def decibel(gain: float) -> float:
    """A ratio of amplitudes in dB."""
    return 20 * math.log10(max(gain, 1e-9))


def coefficient(part: List[float], rate: int, hertz: float, start: int) -> complex:
    """Amplitude and phase of a tone of known frequency, over a whole number of its periods."""
    turn = -2j * math.pi * hertz / rate
    return 2 * sum(value * cmath.exp(turn * (start + n)) for n, value in enumerate(part)) / len(part)


PASSBAND = (100.0, 1000.0, 4000.0, 8000.0, 12000.0)
# The sampled filter is within 1e-5 dB of the closed form (2.1.2, 2.8.0, 2.11.0); a filter of width 5 or 7, or a
# cut-off at 0.98, differs by more than 0.01 dB at 12 kHz.
PASSBAND_LIMITS = {"level_db": 0.001}


@check(
    "dsp.resample_passband",
    "Tones up to 12 kHz keep their level from 44.1 to 32 kHz as the filter's closed form says.",
    limit=PASSBAND_LIMITS,
    unit="dB from the closed form",
)
def passband(context: Context) -> Outcome:
    apart = {}
    for hertz in PASSBAND:
        # The middle 0.1 s: whole periods of every tone, none of the ends.
        out = tone_out(context, 44100, 32000, hertz, 0.2)
        gain = abs(coefficient(out[1600:4800], 32000, hertz, 1600)) / AMPLITUDE
        apart[hertz] = decibel(gain) - decibel(fourier.resample_response(hertz, 44100, 32000))
    measured = {"{:g} Hz".format(hertz): value for hertz, value in apart.items()}
    return within(dict(measured, level_db=worst(abs(value) for value in apart.values())), PASSBAND_LIMITS)


# From 44.1 to 16 kHz tones beyond 8 kHz would fold back to 16 kHz minus their frequency, at 0 dB without a filter. The
# filter leaves -45 and -55 dB at these two; the margin is for the filter's own images, 15 dB below that.
ALIASING = (10000.0, 12000.0)
ALIASING_LIMITS = {"10000 Hz": 1.5, "12000 Hz": 1.5}


@check(
    "dsp.resample_aliasing",
    "Tones above the new Nyquist frequency are gone as far as the filter's closed form says, and not folded back.",
    limit=ALIASING_LIMITS,
    unit="dB above the closed form",
)
def aliasing(context: Context) -> Outcome:
    measured = {}
    for hertz in ALIASING:
        out = tone_out(context, 44100, 16000, hertz, 0.1)[200:-200]
        residue = decibel(math.sqrt(2 * reference.dot(out, out) / len(out)) / AMPLITUDE)
        key = "{:g} Hz".format(hertz)
        measured[key] = residue - decibel(abs(fourier.resample_response(hertz, 44100, 16000)))
        measured[key + " residue"] = residue
    return within(measured, ALIASING_LIMITS)


DRIFT_SECONDS = 2.0
# The phase at both ends of 2 s must be that of the tone: a ratio wrong by 1e-7, or a delay of 1/100 sample, would show.
DRIFT_LIMITS = {"float32": 1e-3, "float64": 1e-3}


@check(
    "dsp.resample_drift",
    "After 2 s a resampled tone is where it should be: no drift, no delay, in float32 and float64.",
    limit=DRIFT_LIMITS,
    unit="samples",
)
def drift(context: Context) -> Outcome:
    measured: Dict[str, Any] = {}
    for dtype in DRIFT_LIMITS:
        out = tone_out(context, 44100, 32000, 1000.0, DRIFT_SECONDS, dtype)
        late = []
        for start in (320, len(out) - 640):
            phase = cmath.phase(coefficient(out[start : start + 320], 32000, 1000.0, start) * 1j)
            late.append(abs(phase) / (2 * math.pi) * 32)  # 32 samples a period
        measured[dtype] = worst(late)
        measured[dtype + "_length_error"] = abs(len(out) - round(32000 * DRIFT_SECONDS))
    return within(measured, dict(DRIFT_LIMITS, float32_length_error=0, float64_length_error=0))
