"""A voice that needs its model files, as the real one does, and then hums."""

import math
from pathlib import Path

import numpy
import yaml_free

RATE = 32000


class TTS:
    def __init__(self, config):
        self.config = yaml_free.read(config)
        for key in ("t2s_weights_path", "vits_weights_path"):
            if not Path(self.config[key]).is_file():
                raise FileNotFoundError(self.config[key])

    def run(self, request):
        if not Path(request["ref_audio_path"]).is_file():
            raise FileNotFoundError(request["ref_audio_path"])
        step = 2 * math.pi * 330 / RATE
        samples = numpy.sin(step * numpy.arange(RATE)) * 8000
        yield RATE, samples.astype(numpy.int16)
