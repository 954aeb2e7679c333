"""WAV files written by this probe and read through torchaudio: sample formats, rates, parts, channels, backends.

And files that are none: they must raise. Written without torchaudio, so that two errors cannot cancel out.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

from . import reference
from .context import Context
from .fileio import RATE, in_folder, stereo, wav_header
from .registry import Outcome, Skip, check, told, within, worst
from .samples import SAMPLES

Signal = Sequence[Sequence[float]]
# bits: (format tag of RIFF, scale of full range); 32 is IEEE float, as in most tools that write "32 bit".
FORMATS = {16: (1, 32768.0), 24: (1, 8388608.0), 32: (3, 1.0)}


def write(file: Path, signal: Signal, rate: int, bits: int = 16) -> None:
    """A WAV file of 16 or 24-bit integers or 32-bit floats."""
    tag, scale = FORMATS[bits]
    flat = [row[n] for n in range(len(signal[0])) for row in signal]
    if tag == 3:
        data = struct.pack("<{}f".format(len(flat)), *flat)
    else:
        width = bits // 8
        data = b"".join(round(value * scale).to_bytes(width, "little", signed=True) for value in flat)
    align = len(signal) * bits // 8
    form = struct.pack("<HHIIHH", tag, len(signal), rate, rate * align, align, bits)
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(data)) + data
    file.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)


def load(context: Context, file: Path, **options: Any) -> Tuple[List[List[float]], int]:
    """The channels and the rate that torchaudio reads."""
    signal, rate = context.torchaudio.load(str(file), **options)
    return signal.tolist(), int(rate)


def loaded_errors(context: Context, file: Path, signal: Signal, rate: int) -> Dict[str, Any]:
    """How far a file's content, as loaded, is from the signal and the rate."""
    got, got_rate = load(context, file)
    return {"error": reference.largest_error(got, signal), "rate_error": abs(got_rate - rate)}


def _format_check(name: str, bits: int, what: str, limit: float) -> None:
    limits = {"error": limit, "rate_error": 0.0}

    @check(name, "A stereo WAV file of {} loads as it was written.".format(what), limit=limits, unit="max error; Hz")
    def read(context: Context) -> Outcome:
        def work(folder: Path) -> Outcome:
            write(folder / "sound.wav", stereo(), RATE, bits)
            return within(loaded_errors(context, folder / "sound.wav", stereo(), RATE), limits)

        return in_folder(context, work)


# Half a step of rounding when written, and float32's own 3e-8 below 0.5: one step in all.
_format_check("io.wav_24", 24, "24-bit integers", 1 / 8388608)
# float32 both ways: only the rounding of a value below 1.
_format_check("io.wav_float", 32, "32-bit floats", 6e-8)

RATES = (8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000, 96000, 192000)
STEP = 1.001 / 32768  # one step of 16-bit samples, as in fileio


@check(
    "io.rates",
    "WAV files from 8 to 192 kHz keep their rate and samples.",
    limit={"error": STEP, "rate_error": 0.0},
    unit="max absolute error; Hz",
)
def rates(context: Context) -> Outcome:
    def work(folder: Path) -> Outcome:
        found = []
        for rate in RATES:
            tone = [reference.sine(400, rate, 1000.0, 0.5)]
            write(folder / "sound.wav", tone, rate)
            found.append(loaded_errors(context, folder / "sound.wav", tone, rate))
        measured = {key: worst(float(item[key]) for item in found) for key in ("error", "rate_error")}
        return within(dict(measured, rates=list(RATES)), {"error": STEP, "rate_error": 0.0})

    return in_folder(context, work)


@check(
    "io.channels",
    "Mono stays one channel, stereo two, and channels_first=False is the same with its axes swapped.",
    limit={"mono": STEP, "stereo": STEP, "last": STEP},
    unit="max absolute error",
)
def channels(context: Context) -> Outcome:
    def work(folder: Path) -> Outcome:
        both = stereo()
        write(folder / "mono.wav", both[:1], RATE)
        write(folder / "stereo.wav", both, RATE)
        last = load(context, folder / "stereo.wav", channels_first=False)[0]
        measured = {
            "mono": reference.largest_error(load(context, folder / "mono.wav")[0], both[:1]),
            "stereo": reference.largest_error(load(context, folder / "stereo.wav")[0], both),
            "last": reference.largest_error(last, [list(pair) for pair in reference.both(both[0], both[1])]),
        }
        return within(measured, {"mono": STEP, "stereo": STEP, "last": STEP})

    return in_folder(context, work)


OFFSET, COUNT = 1234, 567


@check(
    "io.partial",
    "frame_offset and num_frames give exactly that part of a WAV and of a FLAC file, and what is left at the end.",
    limit={"wav": STEP, "wav_end": STEP, "flac": STEP},
    unit="max absolute error",
)
def partial(context: Context) -> Outcome:
    def work(folder: Path) -> Outcome:
        signal = stereo()
        write(folder / "sound.wav", signal, RATE)
        tensor = context.torch.tensor(signal, dtype=context.torch.float32)
        context.torchaudio.save(str(folder / "sound.flac"), tensor, RATE)
        part = [row[OFFSET : OFFSET + COUNT] for row in signal]
        end = [row[-100:] for row in signal]
        measured = {"wav_end": load(context, folder / "sound.wav", frame_offset=len(signal[0]) - 100)[0]}
        for kind in ("wav", "flac"):
            measured[kind] = load(context, folder / ("sound." + kind), frame_offset=OFFSET, num_frames=COUNT)[0]
        right = {"wav": part, "flac": part, "wav_end": end}
        errors = {key: reference.largest_error(got, right[key]) for key, got in measured.items()}
        return within(errors, {"wav": STEP, "wav_end": STEP, "flac": STEP})

    return in_folder(context, work)


def broken_files() -> Dict[str, bytes]:
    """Files that hold no sound, by name. Text, not noise: in noise some decoder may find a frame of MP3."""
    text = b"This is not a sound file.\n" * 200
    return {
        "empty.wav": b"",
        "text.wav": text,
        "text.mp3": text,
        "text.flac": text,
        "cut.wav": b"RIFF\x24\x08\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00",  # ends within the format chunk
        "cut.m4a": SAMPLES["m4a"][: len(SAMPLES["m4a"]) // 2],  # its index is at the end, and gone
    }


@check(
    "io.broken",
    "An empty, a cut, a missing file and one that is text raise an exception; silence would be read as a result.",
    limit="an exception for each",
)
def broken(context: Context) -> Outcome:
    def work(folder: Path) -> Outcome:
        # First a good file: where nothing can be loaded at all, exceptions prove nothing.
        write(folder / "good.wav", stereo(), RATE)
        load(context, folder / "good.wav")
        raised: Dict[str, str] = {}
        silent: Dict[str, str] = {}
        for name, data in broken_files().items():
            (folder / name).write_bytes(data)
        for name in [*broken_files(), "missing.wav"]:
            try:
                got, rate = load(context, folder / name)
                silent[name] = "{} channels at {} Hz".format(len(got), rate)
            except Exception as error:
                raised[name] = told(error)[:120]
        measured = {"raised": sorted(raised), "loaded": silent}
        return Outcome(not silent, measured, "loaded without a word: " + ", ".join(sorted(silent)) if silent else "")

    return in_folder(context, work)


def backends(context: Context) -> List[str]:
    """The backends that this torchaudio lists (2.0 to 2.8)."""
    return [str(name) for name in context.torchaudio.list_audio_backends()]


def load_by(context: Context, file: Path, name: str) -> List[List[float]]:
    """Load through one backend, named as the release wants it."""
    if context.audio_release >= (2, 1):
        return load(context, file, backend=name)[0]
    before = context.torchaudio.get_audio_backend()
    try:
        context.torchaudio.set_audio_backend(name)
        return load(context, file)[0]
    finally:
        context.torchaudio.set_audio_backend(before)


@check(
    "io.backends",
    "Every backend that torchaudio lists (sox, soundfile, ffmpeg) reads the same WAV file.",
    limit="each listed backend within {:.2g}, and at least one".format(STEP),
    unit="max absolute error",
)
def each_backend(context: Context) -> Outcome:
    if context.audio_release >= (2, 9):
        raise Skip("torchaudio<2.9", "torchaudio has no backends from 2.9 on; torchcodec reads and writes")

    def work(folder: Path) -> Outcome:
        write(folder / "sound.wav", stereo(), RATE)
        names = backends(context)
        if not names:
            return Outcome(False, {}, "no backend: FFmpeg's libraries, libsox and soundfile are all missing")
        measured = {
            name: reference.largest_error(load_by(context, folder / "sound.wav", name), stereo()) for name in names
        }
        return within(measured, dict.fromkeys(names, STEP))

    return in_folder(context, work)


@check(
    "io.save_float",
    "A WAV file saved as 32-bit float has float samples in it: read here byte by byte.",
    limit={"error": 6e-8, "bits_error": 0},
    unit="max absolute error; bits",
)
def save_float(context: Context) -> Outcome:
    if context.audio_release >= (2, 9):
        raise Skip("torchaudio<2.9", "torchaudio.save takes no encoding from 2.9 on")

    def work(folder: Path) -> Outcome:
        signal = stereo()
        file = folder / "sound.wav"
        tensor = context.torch.tensor(signal, dtype=context.torch.float32)
        context.torchaudio.save(str(file), tensor, RATE, encoding="PCM_F", bits_per_sample=32)
        data = file.read_bytes()
        header = wav_header(data)
        start = data.index(b"data") + 8
        count = 2 * header["frames"]
        flat = struct.unpack_from("<{}f".format(count), data, start) if header["bits"] == 32 else ()
        got = [list(flat[0::2]), list(flat[1::2])]
        measured = {"error": reference.largest_error(got, signal), "bits_error": abs(header["bits"] - 32)}
        return within(measured, {"error": 6e-8, "bits_error": 0})

    return in_folder(context, work)
