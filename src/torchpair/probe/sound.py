"""Resampling and mel spectrograms: torch code under torchaudio's name, judged as audio.

The functions that take a device are shared with the CUDA checks. Ids keep the prefix `dsp`.
"""

from __future__ import annotations

import math
from typing import Any, Dict

from . import reference
from .context import Context
from .registry import Outcome, check, within, worst
from .spectrogram import Sound

TONE_HZ, TONE_AMPLITUDE, TONE_SECONDS = 1000.0, 0.5, 0.25
NEW_RATE = 32000  # GPT-SoVITS brings every reference voice to this rate


def resample(context: Context, device: str, rate: int) -> Any:
    """Resample the tone from `rate` to NEW_RATE; returns a 1-D float32 tensor on the CPU."""
    torch = context.torch
    tone = reference.sine(int(rate * TONE_SECONDS), rate, TONE_HZ, TONE_AMPLITUDE)
    transform = context.torchaudio.transforms.Resample(rate, NEW_RATE).to(device)
    return transform(torch.tensor([tone], dtype=torch.float32, device=device))[0].cpu()


def resample_errors(context: Context, device: str, rate: int) -> Dict[str, float]:
    """Level error in dB, frequency error in Hz, everything that is not the tone in dB below it, and a wrong length."""
    out = resample(context, device, rate).tolist()
    # The ends, where the filter reaches beyond the signal, are cut off: 10 ms each.
    middle = out[NEW_RATE // 100 : -NEW_RATE // 100]
    hertz, amplitude, left = reference.fit_sine(middle, NEW_RATE, TONE_HZ)
    return {
        "level_db": abs(20 * math.log10(amplitude / TONE_AMPLITUDE)) if amplitude > 0 else math.inf,
        "frequency_hz": abs(hertz - TONE_HZ),
        "residual_db": 20 * math.log10(left * math.sqrt(2) / amplitude) if left > 0 and amplitude > 0 else math.inf,
        "length_error": abs(len(out) - math.ceil(int(rate * TONE_SECONDS) * NEW_RATE / rate)),
    }


# The default filter (6 zero crossings, Hann) is 0.0014 dB off at 1 kHz and leaves -88 dB: the same on torchaudio
# 2.0.2, 2.8.0 and 2.11.0. A level 0.1 % off, a tone 0.01 Hz off, noise of 1e-4 or a filter of width 1 all fail (tests).
RESAMPLE_LIMITS = {"level_db": 0.005, "frequency_hz": 0.001, "residual_db": -80.0, "length_error": 0}


def resampled_sound(context: Context, rate: int) -> Sound:
    """The resampled tone, and the tone as it is at the new rate."""
    tone = reference.sine(int(NEW_RATE * TONE_SECONDS), NEW_RATE, TONE_HZ, TONE_AMPLITUDE)
    return Sound(resample(context, "cpu", rate).tolist(), tone, NEW_RATE)


def _resample_check(rate: int) -> None:
    @check(
        "dsp.resample_{}_{}".format(rate, NEW_RATE),
        "A 1 kHz tone at {} Hz is the same tone at {} Hz: level, frequency, purity, length.".format(rate, NEW_RATE),
        limit=RESAMPLE_LIMITS,
        unit="dB; Hz; dB; samples",
    )
    def resampled(context: Context) -> Outcome:
        return within(resample_errors(context, "cpu", rate), RESAMPLE_LIMITS, lambda: resampled_sound(context, rate))


for _rate in (44100, 48000):
    _resample_check(_rate)


def gradient_errors(context: Context, device: str) -> Dict[str, float]:
    """How far the gradient of resampling R is from its adjoint, in float64: |<Rx, y> - <x, gradient>| over |Rx| |y|.

    R is linear, so the gradient of <Rx, y> must be R^T y, and its product with x that same number.
    """
    torch, double = context.torch, context.torch.float64
    rate, count = 44100, 2205
    noise, other = reference.noise(count, 5), reference.noise(1600, 6)
    x = [a + b / 4 for a, b in reference.both(reference.sine(count, rate, TONE_HZ, 1.0), noise)]
    y = [a + b / 4 for a, b in reference.both(reference.sine(1600, NEW_RATE, TONE_HZ, 1.0, 0.5), other)]
    signal = torch.tensor(x, dtype=double, device=device, requires_grad=True)
    weight = torch.tensor(y, dtype=double, device=device)
    out = context.torchaudio.functional.resample(signal, rate, NEW_RATE)
    product = (out * weight).sum()
    product.backward()
    back, forward = reference.dot(x, signal.grad.tolist()), reference.dot(out.tolist(), y)
    scale = math.sqrt(reference.dot(out.tolist(), out.tolist()) * reference.dot(y, y))
    # The tone is in both, so the product is large; without that a gradient of zero would pass.
    return {"adjoint": abs(forward - back) / scale, "uncorrelated": 1 - abs(forward) / scale}


# Double precision leaves about 1e-15; float32 anywhere on the way would leave 1e-8.
GRADIENT_LIMITS = {"adjoint": 1e-12, "uncorrelated": 0.5}


@check(
    "dsp.resample_gradient",
    "Gradients flow back through resampling and are its adjoint.",
    limit=GRADIENT_LIMITS,
    unit="relative error",
)
def resample_gradient(context: Context) -> Outcome:
    return within(gradient_errors(context, "cpu"), GRADIENT_LIMITS)


MEL_RATE, MEL_FFT, MEL_HOP, MEL_BANDS, MEL_SAMPLES = 16000, 128, 64, 10, 512


def mel(context: Context, device: str, dtype: str) -> Any:
    """The mel spectrogram of noise, (MEL_BANDS, frames), on the CPU."""
    torch = context.torch
    kind = getattr(torch, dtype)
    transform = context.torchaudio.transforms.MelSpectrogram(
        sample_rate=MEL_RATE, n_fft=MEL_FFT, hop_length=MEL_HOP, n_mels=MEL_BANDS
    )
    signal = torch.tensor(reference.noise(MEL_SAMPLES, 7), dtype=kind, device=device)
    return transform.to(device=device, dtype=kind)(signal).cpu()


def mel_errors(context: Context, device: str) -> Dict[str, float]:
    """Per dtype the largest error of a value relative to the right value; the input is noise, so none is near 0."""
    right = reference.mel_spectrogram(reference.noise(MEL_SAMPLES, 7), MEL_RATE, MEL_FFT, MEL_HOP, MEL_BANDS)
    measured: Dict[str, float] = {}
    for dtype in ("float32", "float64"):
        got = mel(context, device, dtype).tolist()
        if [len(row) for row in got] != [len(row) for row in right]:
            measured[dtype] = math.inf
            continue
        pairs = [pair for row, ref in reference.both(got, right) for pair in reference.both(row, ref)]
        measured[dtype] = worst(abs(x / y - 1) for x, y in pairs)
    return measured


# torchaudio makes window and filters in float32 and converts them, so float64 is no better than float32 here.
MEL_LIMITS = {"float32": 1e-4, "float64": 1e-4}


@check(
    "dsp.mel",
    "MelSpectrogram equals a Fourier sum and HTK triangles written out.",
    limit=MEL_LIMITS,
    unit="max relative error",
)
def mel_cpu(context: Context) -> Outcome:
    return within(mel_errors(context, "cpu"), MEL_LIMITS)
