"""Profile gpt-sovits: what it uses beside torch and torchaudio. Packages are tried where they are installed.

The ffmpeg command is not a package: GPT-SoVITS cannot read or answer without it, so its absence is a failure.
"""

from __future__ import annotations

import array
import importlib
import importlib.util
import io
import math
import shutil
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Dict, List, Sequence

from . import formats, reference, wavs
from .context import Context
from .fileio import in_folder
from .registry import Outcome, Skip, check, told, within, worst
from .samples import SAMPLES

SECONDS = 60.0


def package(name: str) -> Any:
    """An optional package; Skip where it is not installed. One that is there and does not import is a failure."""
    if importlib.util.find_spec(name) is None:
        raise Skip("package", name + " is not installed")
    return importlib.import_module(name)


def ffmpeg(arguments: Sequence[str], given: bytes = b"") -> bytes:
    """What the ffmpeg command writes to its standard output. RuntimeError with its own words when it fails."""
    if shutil.which("ffmpeg") is None:
        raise RuntimeError("there is no ffmpeg command on PATH")
    done = subprocess.run(
        ["ffmpeg", "-nostdin", "-loglevel", "error", *arguments, "pipe:1"],
        input=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=SECONDS, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError("ffmpeg: " + done.stderr.decode("utf-8", "replace").strip()[-400:])
    return done.stdout


def tone_error(samples: Sequence[float], rate: int, hertz: float, amplitude: float) -> Dict[str, float]:
    """Level in dB and frequency in Hz of a tone, from its middle, and what is not the tone in dB."""
    middle = list(samples[len(samples) // 2 - 1200 : len(samples) // 2 + 1200])
    found, got, left = reference.fit_sine(middle, rate, hertz)
    if not got > 0:
        return {"level_db": math.inf, "frequency_hz": math.inf, "residual_db": math.inf}
    residual = 20 * math.log10(max(left, 1e-12) * math.sqrt(2) / got)
    return {
        "level_db": abs(20 * math.log10(got / amplitude)), "frequency_hz": abs(found - hertz), "residual_db": residual,
    }  # fmt: skip


def five_seconds(folder: Path) -> Path:
    """5 s of the tone at 44.1 kHz, stereo, 16 bits."""
    tone = reference.sine(5 * 44100, 44100, 441.0, 0.5)
    wavs.write(folder / "voice.wav", [tone, tone], 44100)
    return folder / "voice.wav"


# FFmpeg mixes stereo to mono as (left + right) / sqrt(2) where the output is float: two like channels are 3 dB louder.
MIXED = 0.5 * math.sqrt(2)
# 16 bits leave -90 dB; a resampler's own noise and ripple are allowed a little more.
READ_LIMITS = {"length_error": 2, "level_db": 0.05, "frequency_hz": 0.02, "residual_db": -60}


@check(
    "sovits.ffmpeg_read",
    "The ffmpeg command turns 5 s of 44.1 kHz stereo into 160000 floats, mono, 32 kHz, the same tone.",
    limit=READ_LIMITS,
    unit="samples; dB; Hz; dB",
)
def ffmpeg_read(context: Context) -> Outcome:
    def work(folder: Path) -> Outcome:
        file = five_seconds(folder)
        data = ffmpeg(["-i", str(file), "-f", "f32le", "-acodec", "pcm_f32le", "-ac", "1", "-ar", "32000"])
        got = struct.unpack("<{}f".format(len(data) // 4), data)
        return within(dict(tone_error(got, 32000, 441.0, MIXED), length_error=abs(len(got) - 160000)), READ_LIMITS)

    return in_folder(context, work, told)


def pcm(hertz: float, rate: int, seconds: float) -> bytes:
    """A tone of 0.5 as 16-bit little-endian samples, mono."""
    values = array.array("h", (round(32767 * x) for x in reference.sine(round(rate * seconds), rate, hertz, 0.5)))
    if sys.byteorder == "big":
        values.byteswap()
    return values.tobytes()


# AAC at 192 kbit/s leaves -40 dB of a tone; atempo keeps the pitch and joins pieces, which costs the level a little.
WRITE_LIMITS = {"aac_residual_db": -25, "aac_level_db": 0.5, "tempo_frequency_hz": 2.0, "tempo_length_error": 0.05}


@check(
    "sovits.ffmpeg_write",
    "The ffmpeg command encodes an answer as AAC (ADTS, 192 kbit/s) that decodes back, and speeds one up by 1.2.",
    limit=WRITE_LIMITS,
    unit="dB; dB; Hz; relative",
)
def ffmpeg_write(context: Context) -> Outcome:
    raw = ["-f", "s16le", "-ar", "32000", "-ac", "1"]
    answer = pcm(1000.0, 32000, 1.0)
    aac = ffmpeg([*raw, "-i", "pipe:0", "-c:a", "aac", "-b:a", "192k", "-f", "adts"], answer)
    back = ffmpeg(["-f", "aac", "-i", "pipe:0", *raw], aac)
    fast = ffmpeg([*raw, "-i", "pipe:0", "-filter:a", "atempo=1.2", *raw], answer)
    decoded, quick = ([value / 32767 for (value,) in struct.iter_unpack("<h", data)] for data in (back, fast))
    kept, moved = tone_error(decoded, 32000, 1000.0, 0.5), tone_error(quick, 32000, 1000.0, 0.5)
    measured = {
        "aac_bytes": len(aac), "aac_residual_db": kept["residual_db"], "aac_level_db": kept["level_db"],
        "tempo_frequency_hz": moved["frequency_hz"], "tempo_length_error": abs(len(quick) * 1.2 / 32000 - 1),
    }  # fmt: skip
    return within(measured, WRITE_LIMITS)


# Vorbis is lossy: as io.ogg. The rest is 16 bits.
SOUNDFILE_LIMITS = {"wav_error": 1.001 / 32768, "ogg_level_db": 0.7, "ogg_residual_db": -27.0, "failed": 0}


@check(
    "sovits.soundfile",
    "soundfile writes an answer to memory as WAV and, in a thread with a 16 MiB stack, as Ogg; both read back.",
    limit=SOUNDFILE_LIMITS,
    unit="absolute error; dB; dB; threads",
)
def soundfile(context: Context) -> Outcome:
    library, numpy = package("soundfile"), package("numpy")
    tone = reference.sine(32000, 32000, 1000.0, 0.5)
    values = numpy.array([round(32767 * value) for value in tone], dtype="int16")
    found: Dict[str, Any] = {}

    def write(kind: str) -> None:
        try:
            buffer = io.BytesIO()
            library.write(buffer, values, 32000, format=kind)
            buffer.seek(0)
            found[kind] = [float(value) for value in library.read(buffer)[0]]
        except Exception as error:
            found[kind + " error"] = told(error)

    write("wav")
    # libvorbis needs more stack than a thread has by default in some libcs; GPT-SoVITS asks for 16 MiB.
    before = threading.stack_size(16 << 20)
    try:
        thread = threading.Thread(target=write, args=("ogg",))
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)
    failures = [value for key, value in found.items() if key.endswith("error")]
    if failures:
        return Outcome(False, {"failed": len(failures)}, "; ".join(failures))
    ogg = tone_error(found["ogg"], 32000, 1000.0, 0.5)
    measured = {
        "wav_error": reference.largest_error([found["wav"]], [[value * 32767 / 32768 for value in tone]]),
        "ogg_level_db": ogg["level_db"], "ogg_residual_db": ogg["residual_db"], "failed": 0,
    }  # fmt: skip
    return within(measured, SOUNDFILE_LIMITS)


# Level and length of decoded files as in formats.LIMITS, the length at 16 kHz; a resampler may round its length up.
LIBROSA_LIMITS = {
    "length_error": 1200, "level_db": 0.7, "frequency_hz": 0.3, "resampled_error": 1, "resampled_db": 0.05,
}  # fmt: skip


@check(
    "sovits.librosa",
    "librosa reads WAV, MP3 and M4A at 16 kHz, as the HuBERT prompt is read, and resamples 32 to 16 kHz.",
    limit=LIBROSA_LIMITS,
    unit="samples; dB; Hz; samples; dB",
)
def librosa(context: Context) -> Outcome:
    library, numpy = package("librosa"), package("numpy")

    def work(folder: Path) -> Outcome:
        lengths: List[float] = []
        levels: List[float] = []
        hertz: List[float] = []
        wavs.write(folder / "a.wav", formats.tones(44100), 44100)
        for kind in ("mp3", "m4a"):
            (folder / ("a." + kind)).write_bytes(SAMPLES[kind])
        for kind in ("wav", "mp3", "m4a"):
            got, rate = library.load(str(folder / ("a." + kind)), sr=16000, mono=False)
            found = tone_error([float(value) for value in got[0]], int(rate), *formats.TONES[0])
            lengths.append(abs(got.shape[-1] - 4800))
            levels.append(found["level_db"])
            hertz.append(found["frequency_hz"])
        tone = numpy.array(reference.sine(32000, 32000, 1000.0, 0.5), dtype="float32")
        half = library.resample(tone, orig_sr=32000, target_sr=16000)
        level = tone_error([float(value) for value in half], 16000, 1000.0, 0.5)["level_db"]
        measured = {"length_error": worst(lengths), "level_db": worst(levels), "frequency_hz": worst(hertz)}
        measured.update(resampled_error=abs(len(half) - 16000), resampled_db=level)
        return within(measured, LIBROSA_LIMITS)

    return in_folder(context, work, told)


def _field(number: int, value: Any) -> bytes:
    """One field of a protocol buffer: a small number, or bytes with their length."""
    if isinstance(value, int):
        return bytes([number << 3, value])
    data = value.encode() if isinstance(value, str) else value
    return bytes([number << 3 | 2, len(data)]) + bytes(data)


def doubling_model() -> bytes:
    """An ONNX model y = x + x over four floats (onnx.proto: ModelProto), every length below 128."""
    shape = _field(1, _field(1, 1) + _field(2, _field(1, _field(1, 4))))
    node = _field(1, "x") + _field(1, "x") + _field(2, "y") + _field(4, "Add")
    graph = _field(1, node) + _field(2, "g")
    graph += _field(11, _field(1, "x") + _field(2, shape)) + _field(12, _field(1, "y") + _field(2, shape))
    return _field(1, 8) + _field(7, graph) + _field(8, _field(1, "") + _field(2, 13))


@check(
    "sovits.onnxruntime",
    "onnxruntime runs a model; with a GPU build and a GPU, on CUDA, and not quietly on the CPU.",
    limit="y = x + x; the CUDA provider first where torch has a GPU and onnxruntime is a GPU build",
)
def onnxruntime(context: Context) -> Outcome:
    library, numpy = package("onnxruntime"), package("numpy")
    names = [name for name in context.distributions() if name in ("onnxruntime", "onnxruntime-gpu")]
    wanted = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    options = library.SessionOptions()
    options.log_severity_level = 4
    offered = [name for name in wanted if name in library.get_available_providers()]
    if hasattr(library, "preload_dlls") and wanted[0] in offered:
        library.preload_dlls()  # finds CUDA in the nvidia wheels, as GPT-SoVITS calls it
    session = library.InferenceSession(doubling_model(), options, providers=offered)
    values = reference.noise(4, 95)
    got = [float(value) for value in session.run(None, {"x": numpy.array(values, dtype="float32")})[0]]
    measured = {"installed": names, "offered": offered, "providers": list(session.get_providers())}
    if got != [2 * value for value in values]:
        return Outcome(False, measured, "the model computes {}".format(got))
    if len(names) > 1:
        return Outcome(False, measured, "onnxruntime and onnxruntime-gpu overwrite each other's files")
    if wanted[0] in offered and context.gpu != "off" and context.torch.cuda.is_available():
        on_gpu = measured["providers"][:1] == wanted[:1]
        return Outcome(on_gpu, measured, "" if on_gpu else "CUDA is offered and was not used: it runs on the CPU")
    return Outcome(True, measured)


@check(
    "sovits.ctranslate2",
    "ctranslate2, under faster-whisper, sees the GPUs that torch sees and can compute.",
    limit="float32 on the CPU; as many GPUs as torch has",
)
def ctranslate2(context: Context) -> Outcome:
    library = package("ctranslate2")
    kinds = sorted(str(name) for name in library.get_supported_compute_types("cpu"))
    seen = int(library.get_cuda_device_count())
    cuda = 0 if context.gpu == "off" or not context.torch.cuda.is_available() else context.torch.cuda.device_count()
    measured = {"cpu": kinds, "gpus": seen, "torch_gpus": cuda}
    if "float32" not in kinds:
        return Outcome(False, measured, "ctranslate2 cannot compute in float32 on this CPU")
    if context.gpu != "off" and seen != cuda:
        return Outcome(False, measured, "ctranslate2 sees {} GPUs, torch {}".format(seen, cuda))
    return Outcome(True, measured)
