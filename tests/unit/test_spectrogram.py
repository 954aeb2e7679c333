"""The pictures of a sound that failed: levels, size, and what no picture can be made of."""

from __future__ import annotations

import math

import pytest

from torchpair.probe import reference, spectrogram
from torchpair.probe.registry import within
from torchpair.probe.runner import clean
from torchpair.probe.spectrogram import BANDS, FRAMES, Sound, channel, rows


def tone(hertz: float, amplitude: float = 1.0, count: int = 8000, rate: int = 16000) -> list[float]:
    return reference.sine(count, rate, hertz, amplitude)


@pytest.mark.parametrize(("hertz", "line"), [(125, 31), (1125, 27), (4125, 15), (7875, 0)])
def test_a_tone_is_a_line_at_its_height(hertz: float, line: int) -> None:
    drawn = rows(tone(hertz))
    assert (len(drawn), {len(row) for row in drawn}) == (BANDS, {FRAMES})
    assert max(range(BANDS), key=lambda n: sum(int(digit, 16) for digit in drawn[n])) == line
    assert set(drawn[line]) == {"f"}


@pytest.mark.parametrize(
    ("amplitude", "digit"), [(1.0, "f"), (0.5, "e"), (10 ** (-60 / 20), "5"), (1e-6, "0"), (0, "0")]
)
def test_six_decibels_a_step(amplitude: float, digit: str) -> None:
    # 4 kHz is in the middle of a bin of every window.
    assert set(rows(tone(4000, amplitude))[15]) == {digit}


def test_time_goes_from_left_to_right() -> None:
    drawn = rows([0.0] * 4000 + tone(4000, 1.0, 4000))[15]
    assert set(drawn[: FRAMES // 2 - 2]) == {"0"} and set(drawn[FRAMES // 2 + 2 :]) == {"f"}


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 255, 256, 257])
def test_short_signals(count: int) -> None:
    assert [len(row) for row in rows(tone(1000, 1.0, count))] == [FRAMES] * BANDS


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_no_number_is_as_loud_as_can_be(value: float) -> None:
    assert {digit for row in rows([value] * 300) for digit in row} == {"f"}


def test_the_channel_that_differs() -> None:
    one, other = [0.5] * 3, [0.25] * 3
    assert channel([one, one], [one, other], 8000) == Sound(one, other, 8000)
    assert channel([one], [one, other], 8000) == Sound([], other, 8000)


def test_drawn_only_where_it_failed() -> None:
    made = []

    def sound() -> Sound:
        made.append(1)
        return Sound(tone(1000), tone(2000), 16000)

    assert within({"error": 0.1}, {"error": 1}, sound).spectrograms is None and not made
    drawn = within({"error": 2}, {"error": 1}, sound).spectrograms
    assert drawn and clean(drawn) == drawn and drawn["rate"] == 16000
    assert drawn["got"] == rows(tone(1000)) and drawn["expected"] == rows(tone(2000))


def test_a_picture_that_cannot_be_made_changes_no_verdict() -> None:
    def sound() -> Sound:
        raise RuntimeError("gone")

    outcome = within({"error": 2}, {"error": 1}, sound)
    assert not outcome.passed and outcome.spectrograms is None
    assert "error is 2, allowed is 1" in outcome.reason and "no spectrogram: gone" in outcome.reason
    assert spectrogram.LEVELS == 15
