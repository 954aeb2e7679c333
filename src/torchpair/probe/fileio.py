"""Writing and reading sound files by whatever the release uses: backends through 2.8, torchcodec from 2.9.

The files are also read and written without torchaudio, so that two errors cannot cancel out.
"""

from __future__ import annotations

import array
import shutil
import struct
import sys
import tempfile
import wave
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

from . import reference
from .context import Context
from .registry import Outcome, Skip, check, told, within
from .spectrogram import channel

RATE, FRAMES = 44100, 4999  # an odd length: padding to a block shows


def stereo() -> List[List[float]]:
    """Two channels that no shift, swap or mix maps onto each other."""
    left = reference.sine(FRAMES, RATE, 440.0, 0.5, 0.3)
    right = reference.sine(FRAMES, RATE, 997.0, 0.25, 1.1)
    return [[a + b / 8 for a, b in reference.both(tone, reference.noise(FRAMES, 8))] for tone in (left, right)]


# One step of 16-bit samples: rounding costs half of it, cutting off all of it. Any wider format is better.
LIMITS = {"error": 1.001 / 32768, "rate_error": 0, "header_error": 0}


def _no_backend(context: Context, error: Exception) -> str:
    """Say what is missing in words; the libraries' own messages point elsewhere."""
    said = told(error)
    if context.audio_release >= (2, 9):
        version = context.distributions().get("torchcodec")
        if version is None:
            return "torchcodec is not installed, and torchaudio needs it from 2.9 on to load and save; " + said
        needs = "which needs a matching torch and FFmpeg's shared libraries"
        return "through torchcodec {}, {}: {}".format(version, needs, said)
    backends = context.torchaudio.list_audio_backends()
    if not backends:
        return "no backend: FFmpeg's shared libraries, libsox and the soundfile package are all missing; " + said
    return "by the backends {}: {}".format(", ".join(backends), said)


def in_folder(
    context: Context, work: Callable[[Path], Outcome], explain: Optional[Callable[[Exception], str]] = None
) -> Outcome:
    """Run work in a temporary folder (TMPDIR is respected) and remove it; errors become a fail with a clear reason.

    explain: says what an error means; without it, what torchaudio reads and writes through.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix="torchpair-probe-"))
    except OSError as error:
        raise Skip("writable-temp", "no folder can be written: {}".format(error)) from error
    try:
        return work(folder)
    except Skip:
        raise
    except Exception as error:
        return Outcome(False, None, explain(error) if explain else _no_backend(context, error))
    finally:
        shutil.rmtree(str(folder), ignore_errors=True)


def _round_trip(context: Context, file: Path) -> Tuple[List[List[float]], List[List[float]], Dict[str, Any]]:
    """Save the signal, load it again; returns it, what was loaded, and the error with the rate's."""
    signal = stereo()
    context.torchaudio.save(str(file), context.torch.tensor(signal, dtype=context.torch.float32), RATE)
    loaded, rate = context.torchaudio.load(str(file))
    got: List[List[float]] = loaded.tolist()
    return signal, got, {"error": reference.largest_error(got, signal), "rate_error": abs(int(rate) - RATE)}


def wav_header(data: bytes) -> Dict[str, int]:
    """Channels, rate, bits and frames as the RIFF chunks of a WAV file state them."""
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise ValueError("the file is not a WAV file")
    found: Dict[str, int] = {}
    position = 12
    while position + 8 <= len(data):
        name, size = data[position : position + 4], struct.unpack_from("<I", data, position + 4)[0]
        if name == b"fmt ":
            _, channels, rate, _, align, bits = struct.unpack_from("<HHIIHH", data, position + 8)
            found.update(channels=channels, rate=rate, bits=bits, align=align)
        elif name == b"data" and found:
            found["frames"] = min(size, len(data) - position - 8) // found.pop("align")
        position += 8 + size + size % 2
    return found


def flac_header(data: bytes) -> Dict[str, int]:
    """Channels, rate, bits and frames as STREAMINFO states them (RFC 9639, section 8.2)."""
    if data[:4] != b"fLaC" or data[4] & 0x7F != 0:
        raise ValueError("the file is not a FLAC file")
    packed = int.from_bytes(data[18:26], "big")
    return {
        "channels": (packed >> 41 & 0x7) + 1,
        "rate": packed >> 44,
        "bits": (packed >> 36 & 0x1F) + 1,
        "frames": packed & 0xFFFFFFFFF,
    }


def header_error(header: Dict[str, int]) -> int:
    """How many of the header's facts are not those of the signal."""
    right = {"channels": 2, "rate": RATE, "frames": FRAMES}
    return sum(header.get(key) != value for key, value in right.items())


def _write_wav(file: Path, signal: List[List[float]]) -> None:
    """16-bit WAV by Python's own writer; wavs.write makes the other kinds."""
    samples = array.array("h", (round(32768 * row[n]) for n in range(FRAMES) for row in signal))
    if sys.byteorder == "big":
        samples.byteswap()
    with wave.open(str(file), "wb") as out:
        out.setnchannels(len(signal))
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes(samples.tobytes())


@check(
    "io.wav",
    "A stereo WAV file is saved and loaded again, its header is right, and one from another writer loads the same.",
    limit=dict(LIMITS, foreign_error=LIMITS["error"], foreign_rate_error=0),
    unit="max absolute error; Hz; fields",
)
def wav(context: Context) -> Outcome:
    def work(folder: Path) -> Outcome:
        signal, got, measured = _round_trip(context, folder / "sound.wav")
        header = wav_header((folder / "sound.wav").read_bytes())
        measured.update(header=header, header_error=header_error(header))
        _write_wav(folder / "foreign.wav", signal)
        loaded, rate = context.torchaudio.load(str(folder / "foreign.wav"))
        measured["foreign_error"] = reference.largest_error(loaded.tolist(), signal)
        measured["foreign_rate_error"] = abs(int(rate) - RATE)
        shown = got if measured["error"] > LIMITS["error"] else loaded.tolist()
        limits = dict(LIMITS, foreign_error=LIMITS["error"], foreign_rate_error=0)
        return within(measured, limits, lambda: channel(shown, signal, RATE))

    return in_folder(context, work)


@check(
    "io.flac",
    "A stereo FLAC file is saved and loaded again, and its header is right.",
    limit=LIMITS,
    unit="max absolute error; Hz; fields",
)
def flac(context: Context) -> Outcome:
    def work(folder: Path) -> Outcome:
        signal, got, measured = _round_trip(context, folder / "sound.flac")
        header = flac_header((folder / "sound.flac").read_bytes())
        measured.update(header=header, header_error=header_error(header))
        return within(measured, LIMITS, lambda: channel(got, signal, RATE))

    return in_folder(context, work)
