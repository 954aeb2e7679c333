"""The probe's own sound files, without torch: what it writes, what it stores, and how it judges a tone."""

from __future__ import annotations

import math
import struct
import wave
from pathlib import Path

import pytest

from torchpair.probe import fileio, formats, reference, samples, sovits_tools, wavs


@pytest.mark.parametrize(("bits", "scale"), [(16, 32768), (24, 8388608)])
def test_integers_are_written_as_another_reader_reads_them(tmp_path: Path, bits: int, scale: int) -> None:
    signal = [[0.5, -1.0, 0.25], [0.0, 0.125, -0.5]]
    wavs.write(tmp_path / "a.wav", signal, 48000, bits)
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert file.getparams()[:4] == (2, bits // 8, 48000, 3)
        data = file.readframes(3)
    width = bits // 8
    values = [int.from_bytes(data[n : n + width], "little", signed=True) / scale for n in range(0, len(data), width)]
    assert [values[0::2], values[1::2]] == signal


def test_floats_are_written_as_floats(tmp_path: Path) -> None:
    wavs.write(tmp_path / "a.wav", [[0.1, -0.2]], 8000, 32)
    data = (tmp_path / "a.wav").read_bytes()
    assert struct.unpack("<2f", data[-8:]) == pytest.approx((0.1, -0.2), abs=1e-8)
    assert fileio.wav_header(data) == {"channels": 1, "rate": 8000, "bits": 32, "frames": 2}
    assert struct.unpack_from("<H", data, 20) == (3,)  # WAVE_FORMAT_IEEE_FLOAT


def test_right_tones_are_within_the_limits_and_wrong_ones_are_not() -> None:
    right = formats.tones(44100)

    def good(channels: list[list[float]], rate: int = 44100) -> bool:
        measured = formats.tone_errors(channels, rate, 44100)
        return all(measured.get(key, math.inf) <= limit for key, limit in formats.LIMITS.items())

    assert good(right)
    assert not good(right[::-1])  # left and right swapped
    assert not good(right[:1])
    assert not good(right, 48000)
    assert not good([[0.0] * len(row) for row in right])
    assert not good([row[: len(row) // 2] for row in right])
    assert not good([[value * 0.9 for value in row] for row in right])
    assert not good([[a + 0.05 * b for a, b in reference.both(row, reference.noise(len(row), 3))] for row in right])


def test_broken_files_are_broken() -> None:
    files = wavs.broken_files()
    assert files["empty.wav"] == b"" and b"moov" in samples.SAMPLES["m4a"] and b"moov" not in files["cut.m4a"]


def test_the_model_for_onnxruntime_is_a_protocol_buffer() -> None:
    # Wire format: every field's length ends where the next field begins, down to the end.
    data, position = sovits_tools.doubling_model(), 0
    fields = []
    while position < len(data):
        key = data[position]
        fields.append(key >> 3)
        position += 2 if key & 7 == 0 else 2 + data[position + 1]
    assert (position, fields) == (len(data), [1, 7, 8])
