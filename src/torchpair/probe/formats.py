"""Compressed formats: stored samples of two known tones, decoded by whatever the release uses."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Dict, List

from . import reference
from .context import Context
from .fileio import in_folder
from .registry import Outcome, Skip, check, told, within, worst
from .samples import SAMPLES
from .spectrogram import channel

SECONDS = 0.3
TONES = ((441.0, 0.5), (1000.0, 0.25))  # Hz and amplitude: left, right
RATES = {"mp3": 44100, "ogg": 44100, "m4a": 44100, "opus": 48000}  # Opus is always 48 kHz (RFC 6716)
MIDDLE = slice(4000, 6400)  # past the encoders' start and before their end


def tones(rate: int) -> List[List[float]]:
    """What the samples were made from: one tone per channel."""
    return [reference.sine(round(rate * SECONDS), rate, hertz, amplitude) for hertz, amplitude in TONES]


def tone_errors(channels: List[List[float]], rate: int, right_rate: int) -> Dict[str, Any]:
    """How far decoded channels are from the tones: channels, rate, samples, dB, Hz, and what is not the tone in dB."""
    measured: Dict[str, Any] = {
        "channel_error": abs(len(channels) - len(TONES)),
        "rate_error": abs(rate - right_rate),
        "length_error": worst(abs(len(row) - round(right_rate * SECONDS)) for row in channels),
    }
    if measured["channel_error"]:
        return measured
    level, pitch, residual = [], [], []
    for row, (hertz, amplitude) in reference.both(channels, TONES):
        got_hertz, got, left = reference.fit_sine(row[MIDDLE], rate, hertz)
        level.append(abs(20 * math.log10(got / amplitude)) if got > 0 else math.inf)
        pitch.append(abs(got_hertz - hertz))
        residual.append(20 * math.log10(left * math.sqrt(2) / got) if left > 0 and got > 0 else math.inf)
    return dict(measured, level_db=worst(level), frequency_hz=worst(pitch), residual_db=worst(residual))


# FFmpeg, libsndfile and torchcodec decode these files alike: MP3 0.45 dB low (LAME scales by 0.95), the others within
# 0.3 dB; off by 0.11 Hz at most; -31 dB of noise at worst (AAC). The length differs by what a decoder cuts off of the
# encoder's padding: at most two frames of AAC, 2048 samples, and sox cuts nothing.
LIMITS = {
    "channel_error": 0, "rate_error": 0, "length_error": 3200, "level_db": 0.7, "frequency_hz": 0.3, "residual_db": -27,
}  # fmt: skip


def has_ffmpeg(context: Context) -> bool:
    """Whether torchaudio reads through FFmpeg here; from 2.9 on torchcodec has no other way."""
    if context.audio_release >= (2, 9):
        return True
    if context.audio_release >= (2, 1):
        return "ffmpeg" in context.torchaudio.list_audio_backends()
    return bool(getattr(context.torchaudio._extension, "_FFMPEG_INITIALIZED", False))


def _format_check(kind: str, name: str) -> None:
    @check(
        "io." + kind,
        "A stored {} file of two tones decodes to them: channels, rate, length, level, pitch, noise.".format(name),
        limit=LIMITS,
        unit="channels; Hz; samples; dB; Hz; dB",
    )
    def decoded(context: Context) -> Outcome:
        def work(folder: Path) -> Outcome:
            file = folder / ("sound." + kind)
            file.write_bytes(SAMPLES[kind])
            try:
                signal, rate = context.torchaudio.load(str(file))
            except Exception as error:
                if has_ffmpeg(context) or not context.torchaudio.list_audio_backends():
                    raise
                raise Skip(
                    "ffmpeg", "torchaudio finds no FFmpeg that it knows; by what is left: " + told(error)
                ) from error
            got = signal.tolist()
            errors = tone_errors(got, int(rate), RATES[kind])
            return within(errors, LIMITS, lambda: channel(got, tones(RATES[kind]), RATES[kind]))

        return in_folder(context, work)


for _kind, _name in (("mp3", "MP3"), ("ogg", "Ogg Vorbis"), ("m4a", "M4A (AAC)"), ("opus", "Opus")):
    _format_check(_kind, _name)
