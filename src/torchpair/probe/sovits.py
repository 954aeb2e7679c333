"""Profile gpt-sovits: the audio operations of GPT-SoVITS, with its parameters and shapes, on any device.

Which operations: its source at 48b1a01 (2026-08-18), where audio is read, resampled and analysed. None of its code is
here. Shapes are those of a 5 s reference voice. The functions that take a device are shared with cuda.sovits.
"""

from __future__ import annotations

import math
from typing import Any, Dict, List, Tuple

from . import fourier, reference
from .context import Context
from .registry import Outcome, check, within, worst
from .resampling import coefficient, decibel

# Reference voice to 32 kHz (all versions), 24 kHz (v3), 16 kHz (speaker embedding), and super-sampling.
PAIRS = ((44100, 32000), (48000, 32000), (22050, 32000), (16000, 32000), (44100, 24000), (32000, 16000), (24000, 48000))


def resampled(context: Context, device: str, rate: int, new: int) -> Any:
    """A second of a stereo tone, at a new rate: (2, n) on the CPU."""
    torch = context.torch
    tone = reference.sine(rate, rate, 1000.0, 0.5)
    stereo = torch.tensor([tone, tone], dtype=torch.float32, device=device)
    return context.torchaudio.transforms.Resample(rate, new).to(device)(stereo).cpu()


def resample_errors(context: Context, device: str) -> Dict[str, float]:
    """Wrong samples in length, and how far the tone's level is from the filter's closed form, in dB."""
    lengths, levels = [], []
    for rate, new in PAIRS:
        out = resampled(context, device, rate, new)
        lengths.append(abs(out.shape[-1] - new) + abs(out.shape[0] - 2))
        part = out[1][new // 2 : new // 2 + new // 10].tolist()
        gain = abs(coefficient(part, new, 1000.0, new // 2)) / 0.5
        levels.append(abs(decibel(gain) - decibel(fourier.resample_response(1000.0, rate, new))))
    return {"length_error": worst(float(value) for value in lengths), "level_db": worst(levels)}


RESAMPLE_LIMITS = {"length_error": 0, "level_db": 0.001}  # as dsp.resample_passband


@check(
    "sovits.resample",
    "Reference voices from 16, 22.05, 44.1 and 48 kHz come to 16, 24 and 32 kHz, and 24 kHz to 48: level and length.",
    limit=RESAMPLE_LIMITS,
    unit="samples; dB from the closed form",
)
def resample(context: Context) -> Outcome:
    return within(resample_errors(context, "cpu"), RESAMPLE_LIMITS)


def voice(rate: int, seconds: float = 5.0) -> reference.Row:
    """A tone under noise, as loud as a clipped voice (peak about 1.6): exact in neither format."""
    count = round(rate * seconds)
    tone = reference.sine(count, rate, 440.0, 0.9)
    return [a + 0.7 * b for a, b in reference.both(tone, reference.noise(count, 50))]


def mono(context: Context, device: str, rate: int) -> Any:
    """Stereo to mono and the peak rule: divided by its peak, by 2 at most, when that is above 1. (1, n)."""
    torch = context.torch
    signal = torch.tensor([voice(rate)] * 2, dtype=torch.float32, device=device).mean(0, keepdim=True)
    peak = signal.abs().max()
    return signal / min(2.0, float(peak)) if peak > 1 else signal


def spectrogram(context: Context, signal: Any, n_fft: int, hop: int, floor: float) -> Any:
    """Magnitudes (1, n_fft / 2 + 1, frames): edges mirrored, frames not centred, stft as pairs of real numbers."""
    torch = context.torch
    pad = (n_fft - hop) // 2
    padded = torch.nn.functional.pad(signal.unsqueeze(1), (pad, pad), mode="reflect").squeeze(1)
    window = torch.hann_window(n_fft, dtype=signal.dtype, device=signal.device)
    options = {"hop_length": hop, "win_length": n_fft, "window": window, "center": False}
    pairs = torch.stft(padded, n_fft, return_complex=False, **options)
    return torch.sqrt(pairs.pow(2).sum(-1) + floor)


# n_fft, hop, bands, rate, floor: training and v1 to v2Pro; v3; v4.
MELS: Dict[str, Tuple[int, int, int, int, float]] = {
    "v2": (2048, 640, 128, 32000, 1e-8),
    "v3": (1024, 256, 100, 24000, 1e-9),
    "v4": (1280, 320, 100, 32000, 1e-9),
}


def mel(context: Context, device: str, version: str) -> Tuple[Any, Any]:
    """The spectrogram and its log mel bands on the CPU, for one version's parameters."""
    n_fft, hop, bands, rate, floor = MELS[version]
    torch, functional = context.torch, context.torchaudio.functional
    spectrum = spectrogram(context, mono(context, device, rate), n_fft, hop, floor)
    filters = functional.melscale_fbanks(
        n_fft // 2 + 1, 0.0, rate / 2, bands, rate, norm="slaney", mel_scale="slaney"
    ).to(device)
    bands_of = torch.matmul(filters.T, spectrum)
    return spectrum.cpu(), torch.log(torch.clamp(bands_of, min=1e-5)).cpu()


def mel_errors(context: Context, device: str, version: str) -> Dict[str, Any]:
    """Wrong dimensions; the largest error of two frames, of magnitudes relative to the largest and of log mels."""
    n_fft, hop, bands, rate, floor = MELS[version]
    spectrum, logs = mel(context, device, version)
    frames = 5 * rate // hop
    wrong = [
        abs(have - want)
        for have, want in reference.both([*spectrum.shape, *logs.shape], [1, n_fft // 2 + 1, frames, 1, bands, frames])
    ]
    signal = voice(rate)
    peak = max(abs(value) for value in signal)
    padded = fourier.reflected([value / min(2.0, peak) for value in signal], (n_fft - hop) // 2)
    filters = fourier.slaney_filters(n_fft // 2 + 1, rate, bands)
    magnitude_errors, log_errors = [], []
    for index in (0, frames // 2):
        right = [math.sqrt(abs(x) ** 2 + floor) for x in fourier.frame(padded, fourier.hann(n_fft), index * hop)]
        top = max(right)
        got = spectrum[0, :, index].tolist()
        magnitude_errors.append(reference.largest_error([got], [right]) / top)
        right_logs = [math.log(max(reference.dot(row, right), 1e-5)) for row in filters]
        log_errors.append(reference.largest_error([logs[0, :, index].tolist()], [right_logs]))
    return {"shape_error": sum(wrong), "magnitude": worst(magnitude_errors), "log_mel": worst(log_errors)}


# float32 sums of 2048 products; noise fills every band, so no logarithm is of nothing.
MEL_LIMITS = {"shape_error": 0, "magnitude": 2e-6, "log_mel": 2e-4}


def _mel_check(version: str, what: str) -> None:
    n_fft, hop, bands, rate, _ = MELS[version]

    @check(
        "sovits.mel_" + version,
        "{}: n_fft {}, hop {}, {} bands, {} Hz equal a Fourier transform and Slaney's bands written out.".format(
            what, n_fft, hop, bands, rate
        ),
        limit=MEL_LIMITS,
        unit="dimensions; relative error; error of log",
    )
    def spectra(context: Context) -> Outcome:
        return within(mel_errors(context, "cpu", version), MEL_LIMITS)


_mel_check("v2", "Reference spectrogram after mono and the peak rule, and training mel")
_mel_check("v3", "Mel of v3")
_mel_check("v4", "Mel of v4")


def fbank(context: Context, device: str, dtype: str) -> Any:
    """Kaldi's filter bank of 5 s at 16 kHz, 80 bands: (498, 80) on the CPU."""
    torch = context.torch
    kaldi = __import__("torchaudio.compliance.kaldi", fromlist=["fbank"])
    signal = torch.tensor([voice(16000)], device=device).to(getattr(torch, dtype))
    return kaldi.fbank(signal, num_mel_bins=80, sample_frequency=16000, dither=0.0).cpu()


def fbank_errors(context: Context, device: str) -> Dict[str, Any]:
    """Wrong dimensions, and the largest error of the first and the last frame."""
    got = fbank(context, device, "float32")
    signal = voice(16000)
    first, last = fourier.fbank(signal[:400], 16000, 80), fourier.fbank(signal[497 * 160 : 497 * 160 + 400], 16000, 80)
    ends = [got[0].tolist(), got[-1].tolist()]
    return {
        "shape_error": abs(got.shape[0] - 498) + abs(got.shape[1] - 80),
        "error": reference.largest_error(ends, first + last),
    }


FBANK_LIMITS = {"shape_error": 0, "error": 2e-3}  # as dsp.fbank


@check(
    "sovits.fbank",
    "The speaker embedding's filter bank: Kaldi, 80 bands, 16 kHz, no dither, 5 s.",
    limit=FBANK_LIMITS,
    unit="dimensions; error of log",
)
def speaker_fbank(context: Context) -> Outcome:
    return within(fbank_errors(context, "cpu"), FBANK_LIMITS)


# n_fft, hop, window, rate: super-sampling (AP_BWE), and the voice separators (roformer, MDX).
ROUND_TRIPS = ((1024, 80, 320, 48000), (2048, 441, 2048, 44100), (6144, 1024, 6144, 44100), (7680, 1024, 7680, 44100))


def round_trip_errors(context: Context, device: str) -> Dict[str, float]:
    """The largest error per n_fft of half a second of stereo, transformed and back."""
    torch = context.torch
    measured = {}
    for n_fft, hop, width, rate in ROUND_TRIPS:
        signals: List[reference.Row] = [reference.noise(rate // 2, 51), reference.noise(rate // 2, 52)]
        stereo = torch.tensor(signals, device=device)
        window = torch.hann_window(width, device=device)
        spectrum = torch.stft(stereo, n_fft, hop, width, window=window, center=True, return_complex=True)
        back = torch.istft(spectrum, n_fft, hop, width, window=window, center=True, length=rate // 2)
        measured[str(n_fft)] = float((back - stereo).abs().max())
    return measured


# float32 rounding of a sum over overlapping windows is near 1e-6; a wrong window or hop is wrong in the first digit.
ROUND_TRIP_LIMITS = {str(item[0]): 1e-4 for item in ROUND_TRIPS}


@check(
    "sovits.stft",
    "STFT and back for super-sampling (48 kHz) and voice separation (44.1 kHz stereo) lose nothing.",
    limit=ROUND_TRIP_LIMITS,
    unit="max absolute error",
)
def round_trip(context: Context) -> Outcome:
    return within(round_trip_errors(context, "cpu"), ROUND_TRIP_LIMITS)
