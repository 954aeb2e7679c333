"""Spectra, cepstra, filter banks and pitch: torch's and torchaudio's against fourier.py. Ids keep the prefix `dsp`.

The functions that take a device are shared with the CUDA checks.
"""

from __future__ import annotations

import math
from typing import Any, Dict

from . import fourier, reference
from .context import Context
from .registry import Outcome, check, within, worst

FFT, HOP, SAMPLES = 64, 16, 320


def stft(context: Context, device: str, dtype: str) -> Any:
    """The spectrogram of noise, complex, (FFT / 2 + 1, frames), on the CPU: centred frames, reflected ends."""
    torch = context.torch
    kind = getattr(torch, dtype)
    signal = torch.tensor(reference.noise(SAMPLES, 11), dtype=kind, device=device)
    window = torch.hann_window(FFT, dtype=kind, device=device)
    return torch.stft(signal, FFT, HOP, window=window, center=True, return_complex=True).cpu()


def stft_errors(context: Context, device: str) -> Dict[str, float]:
    """The largest error relative to the largest coefficient: of torch.stft per dtype, of torchaudio's Spectrogram."""
    torch = context.torch
    right = fourier.stft(reference.noise(SAMPLES, 11), fourier.hann(FFT), HOP, FFT // 2)
    measured = {}
    for dtype in ("float32", "float64"):
        measured[dtype] = fourier.complex_error(stft(context, device, dtype).T.tolist(), right)
    transform = context.torchaudio.transforms.Spectrogram(n_fft=FFT, hop_length=HOP, power=None).to(device)
    signal = torch.tensor(reference.noise(SAMPLES, 11), dtype=torch.float32, device=device)
    measured["transform"] = fourier.complex_error(transform(signal).cpu().T.tolist(), right)
    return measured


# Sums of 64 products: a few units in the last place of float32 (6e-8) and float64 (1e-16).
STFT_LIMITS = {"float32": 1e-6, "float64": 1e-14, "transform": 1e-6}


@check(
    "dsp.stft",
    "torch.stft and torchaudio's Spectrogram equal a Fourier transform written out.",
    limit=STFT_LIMITS,
    unit="max error relative to the largest",
)
def stft_cpu(context: Context) -> Outcome:
    return within(stft_errors(context, "cpu"), STFT_LIMITS)


def istft_errors(context: Context, device: str) -> Dict[str, float]:
    """Per dtype the largest error of the signal that a right spectrogram, made here, is turned back into."""
    torch = context.torch
    signal = reference.noise(SAMPLES, 11)
    table = fourier.stft(signal, fourier.hann(FFT), HOP, FFT // 2)
    measured = {}
    for dtype, kind in (("float32", torch.complex64), ("float64", torch.complex128)):
        spectrum = torch.tensor(table, dtype=kind, device=device).T
        window = torch.hann_window(FFT, dtype=getattr(torch, dtype), device=device)
        back = torch.istft(spectrum, FFT, HOP, window=window, center=True, length=SAMPLES)
        measured[dtype] = reference.largest_error([back.tolist()], [signal])
    inverse = context.torchaudio.transforms.InverseSpectrogram(n_fft=FFT, hop_length=HOP).to(device)
    spectrum = torch.tensor(table, dtype=torch.complex64, device=device).T
    measured["transform"] = reference.largest_error([inverse(spectrum, SAMPLES).tolist()], [signal])
    return measured


# The signal is below 1; the sum over overlapping frames is divided by at least 1.
ISTFT_LIMITS = {"float32": 2e-6, "float64": 1e-14, "transform": 2e-6}


@check(
    "dsp.istft",
    "torch.istft and torchaudio's InverseSpectrogram give back the signal that a spectrogram was made from.",
    limit=ISTFT_LIMITS,
    unit="max absolute error",
)
def istft_cpu(context: Context) -> Outcome:
    return within(istft_errors(context, "cpu"), ISTFT_LIMITS)


MFCC_RATE, MFCC_FFT, MFCC_HOP, MFCC_BANDS, MFCC_COUNT = 16000, 128, 64, 16, 12


def mfcc(context: Context, device: str, dtype: str) -> Any:
    """Cepstral coefficients of noise, (MFCC_COUNT, frames), on the CPU."""
    torch = context.torch
    kind = getattr(torch, dtype)
    shape = {"n_fft": MFCC_FFT, "hop_length": MFCC_HOP, "n_mels": MFCC_BANDS}
    transform = context.torchaudio.transforms.MFCC(MFCC_RATE, MFCC_COUNT, log_mels=True, melkwargs=shape)
    signal = torch.tensor(reference.noise(512, 12), dtype=kind, device=device)
    return transform.to(device=device, dtype=kind)(signal).cpu()


def mfcc_errors(context: Context, device: str) -> Dict[str, float]:
    """Per dtype the largest absolute error; the coefficients are up to about 10."""
    mel = reference.mel_spectrogram(reference.noise(512, 12), MFCC_RATE, MFCC_FFT, MFCC_HOP, MFCC_BANDS)
    right = fourier.mfcc(mel, MFCC_COUNT)
    return {
        dtype: reference.largest_error(mfcc(context, device, dtype).tolist(), right) for dtype in ("float32", "float64")
    }


# torchaudio makes window, filters and DCT in float32: float64 is no better. Logarithms turn 1e-5 relative into 1e-5.
MFCC_LIMITS = {"float32": 2e-4, "float64": 2e-4}


@check(
    "dsp.mfcc",
    "MFCC equals mel, logarithm and cosine transform written out.",
    limit=MFCC_LIMITS,
    unit="max absolute error",
)
def mfcc_cpu(context: Context) -> Outcome:
    return within(mfcc_errors(context, "cpu"), MFCC_LIMITS)


FBANK_RATE, FBANK_BANDS, FBANK_SAMPLES = 16000, 80, 720  # three frames


def fbank(context: Context, device: str, dtype: str) -> Any:
    """Kaldi's filter bank of noise and a tone, (frames, FBANK_BANDS), on the CPU."""
    torch = context.torch
    signal = torch.tensor([fbank_signal()], dtype=getattr(torch, dtype), device=device)
    kaldi = __import__("torchaudio.compliance.kaldi", fromlist=["fbank"])
    return kaldi.fbank(signal, num_mel_bins=FBANK_BANDS, sample_frequency=FBANK_RATE, dither=0.0).cpu()


def fbank_signal() -> reference.Row:
    """What both sides analyse."""
    tone = reference.sine(FBANK_SAMPLES, FBANK_RATE, 440.0, 0.5)
    return [a + b / 4 for a, b in reference.both(tone, reference.noise(FBANK_SAMPLES, 13))]


def fbank_errors(context: Context, device: str) -> Dict[str, float]:
    """Per dtype the largest absolute error of the logarithms."""
    right = fourier.fbank(fbank_signal(), FBANK_RATE, FBANK_BANDS)
    return {
        dtype: reference.largest_error(fbank(context, device, dtype).tolist(), right)
        for dtype in ("float32", "float64")
    }


# The narrow low bands have weights near 0 that float32 knows to 1e-5; noise fills every band, so no logarithm is of 0.
FBANK_LIMITS = {"float32": 2e-3, "float64": 2e-3}


@check(
    "dsp.fbank",
    "Kaldi's filter bank, 80 bands, equals the one written out from Kaldi's definition.",
    limit=FBANK_LIMITS,
    unit="max absolute error of the log",
)
def fbank_cpu(context: Context) -> Outcome:
    return within(fbank_errors(context, "cpu"), FBANK_LIMITS)


PITCH_RATE, PITCH_HZ = 16000, (100.0, 200.0)  # periods of 160 and 80 samples: exact lags
PITCH_LIMITS = {"float32": 0.01, "float64": 0.01}


@check(
    "dsp.pitch",
    "The pitch found in a harmonic tone is its fundamental, exactly: the period is a whole number of samples.",
    limit=PITCH_LIMITS,
    unit="Hz",
)
def pitch(context: Context) -> Outcome:
    torch = context.torch
    measured: Dict[str, Any] = {}
    for dtype in PITCH_LIMITS:
        errors = []
        for hertz in PITCH_HZ:
            parts = [reference.sine(8000, PITCH_RATE, hertz * k, 0.4 / k) for k in (1, 2, 3)]
            voice = torch.tensor([[sum(values) for values in zip(*parts)]], dtype=getattr(torch, dtype))  # noqa: B905
            found = context.torchaudio.functional.detect_pitch_frequency(voice, PITCH_RATE)[0].tolist()
            errors += [abs(value - hertz) for value in found] or [math.inf]
        measured[dtype] = worst(errors)
    return within(measured, PITCH_LIMITS)
