"""Spectra, worked out in plain Python floats (IEEE double), independent of torch: right answers, as reference.py.

A spectrum is a list of complex numbers, a spectrogram a list of frames.
"""

from __future__ import annotations

import cmath
import math
from typing import Dict, List, Sequence, Tuple

from .reference import Row, Table, both, dot

Spectrum = List[complex]
_TURNS: Dict[int, Spectrum] = {}


def fft(values: Sequence[complex]) -> Spectrum:
    """The discrete Fourier transform: by halves (Cooley and Tukey, 1965) down to an odd length, then by definition."""
    count = len(values)
    if count % 2:
        turns = [cmath.exp(-2j * math.pi * k / count) for k in range(count)]
        return [sum(values[n] * turns[k * n % count] for n in range(count)) for k in range(count)]
    if count not in _TURNS:
        _TURNS[count] = [cmath.exp(-2j * math.pi * k / count) for k in range(count // 2)]
    even, odd = fft(values[0::2]), fft(values[1::2])
    turned = [turn * value for turn, value in both(_TURNS[count], odd)]
    return [a + b for a, b in both(even, turned)] + [a - b for a, b in both(even, turned)]


def hann(count: int, periodic: bool = True) -> Row:
    """The Hann window; periodic: one sample of a longer, symmetric one is left out, as for spectra."""
    length = count if periodic else count - 1
    return [0.5 - 0.5 * math.cos(2 * math.pi * n / length) for n in range(count)]


def reflected(signal: Sequence[float], pad: int) -> Row:
    """The signal with `pad` samples mirrored at both ends; the end samples are not repeated."""
    return list(signal[pad:0:-1]) + list(signal) + list(signal[-2 : -pad - 2 : -1])


def stft(signal: Sequence[float], window: Sequence[float], hop: int, pad: int) -> List[Spectrum]:
    """Frames of len(window) samples under the window, every `hop` samples: [frame][len(window) / 2 + 1]."""
    padded, count = reflected(signal, pad) if pad else list(signal), len(window)
    starts = range(0, len(padded) - count + 1, hop)
    return [frame(padded, window, start) for start in starts]


def frame(padded: Sequence[float], window: Sequence[float], start: int) -> Spectrum:
    """One frame's spectrum, from 0 to half the rate."""
    count = len(window)
    part = [value * weight for value, weight in both(padded[start : start + count], window)]
    return fft(part)[: count // 2 + 1]


def triangles(corners: Sequence[float], points: Sequence[float]) -> Table:
    """Triangles over neighbouring corners, each 1 at its middle: [band][point]."""
    return [
        [max(0.0, min((x - low) / (mid - low), (high - x) / (high - mid))) for x in points]
        for low, mid, high in (corners[i : i + 3] for i in range(len(corners) - 2))
    ]


def slaney_hertz(mel: float) -> float:
    """Slaney's mel scale: 3 mel are 200 Hz up to 1 kHz, then 27 steps for a factor of 6.4.

    Source: Slaney, "Auditory Toolbox" (1998), the default of librosa.
    """
    return mel * 200 / 3 if mel < 15 else 1000 * math.exp((mel - 15) * math.log(6.4) / 27)


def slaney_filters(bins: int, rate: float, bands: int) -> Table:
    """Triangles of equal area on Slaney's scale, [band][bin], from 0 to rate / 2."""
    top = 15 + 27 * math.log(rate / 2 / 1000) / math.log(6.4)
    corners = [slaney_hertz(top * i / (bands + 1)) for i in range(bands + 2)]
    points = [rate / 2 * k / (bins - 1) for k in range(bins)]
    filters = triangles(corners, points)
    return [[2 / (corners[i + 2] - corners[i]) * x for x in row] for i, row in enumerate(filters)]


def mfcc(mel: Table, count: int) -> Table:
    """Cepstral coefficients [coefficient][frame] of a power mel spectrogram [band][frame]: log and orthonormal DCT-II.

    Source: Davis and Mermelstein (1980). 1e-6 keeps the logarithm finite, as torchaudio's `log_mels` does.
    """
    bands = len(mel)
    basis = [
        [math.cos(math.pi / bands * (n + 0.5) * k) * math.sqrt((1 if k == 0 else 2) / bands) for n in range(bands)]
        for k in range(count)
    ]
    frames = [[math.log(row[t] + 1e-6) for row in mel] for t in range(len(mel[0]))]
    return [[dot(line, column) for column in frames] for line in basis]


def fbank(signal: Sequence[float], rate: int, bands: int) -> Table:
    """Kaldi's log mel filter bank without dither, [frame][band]: 25 ms every 10 ms, no padding.

    Source: Kaldi, feat/feature-window.cc and feat/mel-computations.cc (defaults): mean removed, pre-emphasis 0.97,
    "povey" window (a symmetric Hann to the power 0.85), triangles that are linear in mel = 1127 ln(1 + f / 700) from
    20 Hz to half the rate, and the logarithm of at least float32's epsilon.
    """
    count, hop = rate * 25 // 1000, rate // 100
    window = [value**0.85 for value in hann(count, periodic=False)]
    size = 1 << (count - 1).bit_length()

    def mel(hertz: float) -> float:
        return 1127 * math.log(1 + hertz / 700)

    low, top = mel(20.0), mel(rate / 2)
    corners = [low + (top - low) * i / (bands + 1) for i in range(bands + 2)]
    filters = triangles(corners, [mel(rate * k / size) for k in range(size // 2)])
    table: Table = []
    for start in range(0, len(signal) - count + 1, hop):
        part = list(signal[start : start + count])
        mean = sum(part) / count
        part = [value - mean for value in part]
        part = [part[n] - 0.97 * part[max(n - 1, 0)] for n in range(count)]
        part = [value * weight for value, weight in both(part, window)]
        power = [abs(value) ** 2 for value in fft(part + [0.0] * (size - count))[: size // 2]]
        table.append([math.log(max(dot(row, power), 2.0**-23)) for row in filters])
    return table


def resample_response(hertz: float, rate: int, new: int) -> float:
    """The gain of torchaudio's default resampling filter at one frequency, by Simpson's rule.

    The filter as its documentation defines it (transforms.Resample): a sinc cut off at 0.99 of the lower Nyquist
    frequency, under a Hann window of 6 zero crossings on either side.
    """
    cut, width, steps = 0.99 * min(rate, new), 6.0, 600
    step = width / steps

    def value(t: float) -> float:
        sinc = 1.0 if t == 0 else math.sin(math.pi * t) / (math.pi * t)
        return sinc * math.cos(math.pi * t / width / 2) ** 2 * math.cos(2 * math.pi * hertz / cut * t)

    inner = sum((4 if n % 2 else 2) * value(n * step) for n in range(1, steps))
    return 2 * step / 3 * (value(0.0) + inner + value(width))


def attention(query: Table, key: Table, value: Table) -> Table:
    """Causal softmax attention [step][width]. Source: Vaswani et al., "Attention Is All You Need", equation 1."""
    out: Table = []
    for t, row in enumerate(query):
        weights = [math.exp(dot(row, key[s]) / math.sqrt(len(row))) for s in range(t + 1)]
        total = sum(weights)
        out.append([sum(weights[s] * value[s][d] for s in range(t + 1)) / total for d in range(len(value[0]))])
    return out


def convolution(signal: Sequence[float], kernel: Sequence[float]) -> Row:
    """The full convolution: what conv_transpose1d does with one channel and stride 1."""
    out = [0.0] * (len(signal) + len(kernel) - 1)
    for n, value in enumerate(signal):
        for k, weight in enumerate(kernel):
            out[n + k] += value * weight
    return out


def complex_error(got: Sequence[Sequence[complex]], right: Sequence[Sequence[complex]]) -> float:
    """The largest absolute difference of two tables, relative to the largest right value; infinity for other shapes."""
    if [len(row) for row in got] != [len(row) for row in right]:
        return math.inf
    pairs: List[Tuple[complex, complex]] = [pair for row, ref in both(got, right) for pair in both(row, ref)]
    errors = [abs(x - y) for x, y in pairs]
    if not errors or any(math.isnan(error) for error in errors):
        return math.nan if errors else math.inf
    return max(errors) / max(abs(y) for _, y in pairs)
