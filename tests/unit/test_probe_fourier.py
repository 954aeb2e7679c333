"""The probe's spectra against cases whose answer is known without them."""

from __future__ import annotations

import cmath
import math

import pytest

from torchpair.probe import fourier, reference


@pytest.mark.parametrize("count", [1, 2, 8, 5, 20, 12])
def test_fft_is_the_sum_that_defines_it(count: int) -> None:
    values = reference.noise(count, 1)
    for k, got in enumerate(fourier.fft(values)):
        right = sum(value * cmath.exp(-2j * math.pi * k * n / count) for n, value in enumerate(values))
        assert abs(got - right) < 1e-12


def test_stft_frames_lie_where_they_should() -> None:
    signal = [0.0] * 32
    signal[10] = 1.0
    frames = fourier.stft(signal, [1.0] * 8, 4, 0)
    # An impulse has magnitude 1 in every bin of the frames that hold it, and only there.
    assert [round(abs(row[3]), 9) for row in frames] == [0, 1, 1, 0, 0, 0, 0]
    assert fourier.reflected([1, 2, 3, 4], 2) == [3, 2, 1, 2, 3, 4, 3, 2]


def test_windows_and_bands() -> None:
    assert fourier.hann(4) == pytest.approx([0, 0.5, 1, 0.5])
    assert fourier.hann(5, periodic=False) == pytest.approx([0, 0.5, 1, 0.5, 0])
    assert fourier.slaney_hertz(15) == pytest.approx(1000) and fourier.slaney_hertz(42) == pytest.approx(6400)
    bins = 4001
    for row in fourier.slaney_filters(bins, 8000, 10):
        assert sum(row) * 4000 / (bins - 1) == pytest.approx(1, rel=1e-3)  # every triangle has area 1


def test_mfcc_of_a_flat_spectrum_is_its_first_coefficient() -> None:
    table = fourier.mfcc([[math.e**2]] * 16, 4)
    assert table[0][0] == pytest.approx(2 * math.sqrt(16), abs=1e-5)
    assert [abs(row[0]) < 1e-9 for row in table[1:]] == [True] * 3


def test_fbank_is_largest_where_the_tone_is() -> None:
    table = fourier.fbank(reference.sine(720, 16000, 1000.0, 0.5), 16000, 80)
    assert [len(row) for row in table] == [80, 80, 80]
    top = 1127 * math.log(1 + 8000 / 700)
    low = 1127 * math.log(1 + 20 / 700)
    band = (1127 * math.log(1 + 1000 / 700) - low) / ((top - low) / 81) - 1
    assert all(abs(row.index(max(row)) - band) <= 1 for row in table)
    # A constant is removed as the mean: nothing is left but the floor.
    assert set(fourier.fbank([0.25] * 400, 16000, 8)[0]) == {math.log(2.0**-23)}


def test_the_resampling_filter_passes_low_and_stops_high_tones() -> None:
    assert fourier.resample_response(0, 44100, 32000) == pytest.approx(1, abs=2e-3)
    assert fourier.resample_response(0.99 * 8000, 44100, 16000) == pytest.approx(0.5, abs=0.01)  # at the cut
    assert abs(fourier.resample_response(12000, 44100, 16000)) < 0.01


def test_attention_takes_what_the_key_points_at_and_never_the_future() -> None:
    keys = [[9.0, 0.0], [0.0, 9.0], [9.0, 0.0]]
    values = [[1.0], [2.0], [9.0]]
    out = fourier.attention([[1.0, 0.0], [0.0, 9.0], [0.0, 9.0]], keys, values)
    assert [row[0] for row in out] == pytest.approx([1.0, 2.0, 2.0])


def test_convolution_and_errors() -> None:
    assert fourier.convolution([1.0, 2.0], [3.0, 0.0, 4.0]) == [3.0, 6.0, 4.0, 8.0]
    assert fourier.complex_error([[1 + 0j]], [[1j, 2]]) == math.inf
    assert fourier.complex_error([[1 + 1j, 0]], [[1 + 0j, 2]]) == 1.0
    assert math.isnan(fourier.complex_error([[complex("nan")]], [[1]]))
    assert fourier.complex_error([], []) == math.inf
