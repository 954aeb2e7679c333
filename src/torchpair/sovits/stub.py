"""A voice without weights: the real server code, with a tone in the place of speech."""

from __future__ import annotations

import array
import importlib
import math
import os
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

RATE = 32000
HERTZ = 440.0
AMPLITUDE = 0.5
FRAGMENTS = 4
FRAGMENT_SECONDS = 0.5
MODULE = "GPT_SoVITS.TTS_infer_pack.TTS"


class StubVoice:
    """Answers like GPT_SoVITS.TTS_infer_pack.TTS.TTS: pairs of a rate and 16-bit samples."""

    def __init__(self, configs: Any) -> None:
        self.configs = configs

    def run(self, request: dict[str, Any]) -> Iterator[tuple[int, Any]]:
        """One piece, or FRAGMENTS of them where a stream was asked for; together always the same tone."""
        self.set_ref_audio(request["ref_audio_path"])
        if request.get("streaming_mode") or request.get("return_fragment"):
            for number in range(FRAGMENTS):
                yield RATE, tone(number * FRAGMENT_SECONDS, FRAGMENT_SECONDS)
        else:
            yield RATE, tone(0.0, FRAGMENTS * FRAGMENT_SECONDS)

    def set_ref_audio(self, path: str) -> None:
        if not Path(path).is_file():
            raise FileNotFoundError(f"{path} not found")

    def init_t2s_weights(self, path: str) -> None:
        self.set_ref_audio(path)

    init_vits_weights = init_t2s_weights


def tone(begin: float, seconds: float) -> Any:
    """A NumPy array, as the server's packers take it."""
    numpy = importlib.import_module("numpy")
    first, count = round(begin * RATE), round(seconds * RATE)
    step = 2 * math.pi * HERTZ / RATE
    samples = (round(32767 * AMPLITUDE * math.sin(step * n)) for n in range(first, first + count))
    return numpy.frombuffer(array.array("h", samples).tobytes(), dtype=numpy.int16)


def serve(code: Path, argv: list[str]) -> None:
    """Run api_v2.py of this folder as it would run, but for its voice. argv: api_v2.py's own arguments."""
    os.chdir(code)
    # As a script in that folder would have it, and as api_v2.py itself then adds.
    sys.path[:0] = [str(code)]
    sys.path += [str(code / "GPT_SoVITS")]
    module = importlib.import_module(MODULE)
    module.TTS = StubVoice  # type: ignore[attr-defined]
    sys.argv = ["api_v2.py", *argv]
    runpy.run_path("api_v2.py", run_name="__main__")
