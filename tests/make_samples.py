"""Makes src/torchpair/probe/samples.py: python tests/make_samples.py (needs ffmpeg with the usual encoders)."""

from __future__ import annotations

import base64
import re
import subprocess
import tempfile
import textwrap
from pathlib import Path

from torchpair.probe import formats, wavs

TARGET = Path(formats.__file__).with_name("samples.py")
ENCODERS = {
    "mp3": ["-c:a", "libmp3lame", "-b:a", "96k"],
    "ogg": ["-c:a", "libvorbis", "-q:a", "2"],
    "m4a": ["-c:a", "aac", "-b:a", "96k"],
    "opus": ["-c:a", "libopus", "-b:a", "64k"],
}
HEAD = '''"""Two tones in four compressed formats, at most 6 KB each: no image needs an encoder to be tested.

Origin: tests/make_samples.py, which encodes formats.tones() (0.3 s, stereo)
with ffmpeg {version}:
{recipes}
and -map_metadata -1 -fflags +bitexact -flags:a +bitexact.
"""

from __future__ import annotations

import base64
from typing import Dict

_TEXT: Dict[str, str] = {{
{entries}}}

SAMPLES: Dict[str, bytes] = {{name: base64.b85decode(text) for name, text in _TEXT.items()}}
'''


def main() -> None:
    said = subprocess.run(["ffmpeg", "-version"], capture_output=True, text=True, check=True).stdout
    version = (re.search(r"version (\S+)", said) or ["", "?"])[1]
    entries, recipes = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind, encoder in ENCODERS.items():
            rate = formats.RATES[kind]
            wavs.write(folder / "in.wav", formats.tones(rate), rate)
            end = ["-map_metadata", "-1", "-fflags", "+bitexact", "-flags:a", "+bitexact", str(folder / f"out.{kind}")]
            argv = ["ffmpeg", "-loglevel", "error", "-y", "-i", str(folder / "in.wav"), *encoder, *end]
            subprocess.run(argv, check=True)
            text = base64.b85encode((folder / f"out.{kind}").read_bytes()).decode()
            lines = "\n".join(f'        "{line}"' for line in textwrap.wrap(text, 108, break_on_hyphens=False))
            entries.append(f'    "{kind}": (\n{lines}\n    ),\n')
            recipes.append(f"    {kind} at {rate} Hz: {' '.join(encoder)}")
    TARGET.write_text(HEAD.format(version=version, recipes="\n".join(recipes), entries="".join(entries)))


if __name__ == "__main__":
    main()
