"""Which checks there are, and which of them to run: profiles, names, the quick ones; inside images and on the host.

Importing this module registers every check.
"""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Iterable, List, Optional, Sequence, Set

from . import (
    cuda,
    cudalibs,
    dsp,
    fileio,
    formats,
    library,
    origin,
    pair,
    resampling,
    runtime,
    sound,
    sovits,
    sovits_nets,
    sovits_tools,
    spectral,
    wavs,
    workers,
)
from .registry import REGISTRY, Check

# In this order: the pair first, because after a failed import nothing else can run; the workers last, because one of
# them imports torch anew beside the others.
GROUPS = (
    pair, origin, library,
    dsp, sound, resampling, spectral,
    fileio, wavs, formats,
    cuda, cudalibs,
    sovits, sovits_nets, sovits_tools,
    runtime, workers,
)  # fmt: skip
CHECKS: List[Check] = [
    check for group in GROUPS for check in REGISTRY.values() if check.run.__module__ == group.__name__
]
IDS = [check.id for check in CHECKS]

# core: what every pair must do. gpt-sovits: that, and what GPT-SoVITS does with it.
PROFILES = {
    "core": [name for name in IDS if "sovits" not in name],
    "gpt-sovits": IDS,
}
# For a container's HEALTHCHECK: the pair imports, belongs together and computes with compiled code; the GPU is there.
# No file is read: where torchcodec reads, it imports torch's compiler first, which takes as long as all of this.
QUICK = [
    "pair.import", "pair.cuda", "pair.extension", "dsp.lfilter", "dsp.rnnt_loss", "dsp.forced_align", "cuda.device",
]  # fmt: skip


class SelectionError(Exception):
    """What was asked for does not exist; a bad command line."""


def expand(names: Iterable[str]) -> List[str]:
    """The checks that names stand for, in the order in which they run: a check's id, or a group such as `io`.

    SelectionError for an unknown name, and for none at all.
    """
    groups = sorted({name.split(".")[0] for name in IDS})
    wanted: Set[str] = set()
    for name in names:
        if name in groups:
            wanted.update(known for known in IDS if known.startswith(name + "."))
        elif name in REGISTRY:
            wanted.add(name)
        else:
            near = difflib.get_close_matches(name, [*IDS, *groups], 1)
            raise SelectionError(
                "no check is called {}{}".format(name[:80], "; did you mean " + near[0] if near else "")
            )
    if not wanted:
        raise SelectionError("no check is named")
    return [name for name in IDS if name in wanted]


def split(text: str) -> List[str]:
    """Names between commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def read(file: Path) -> List[str]:
    """The checks that a file lists: a JSON list of names, or a name a line, with comments after #.

    SelectionError says what is wrong with the file.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not text"
        raise SelectionError(
            "{} is no profile ({}) and no file that can be read: {}".format(file, ", ".join(PROFILES), why)
        ) from error
    names: object
    if text.lstrip()[:1] in ("[", "{", '"'):
        try:
            names = json.loads(text)
        except ValueError as error:
            raise SelectionError("{}: not JSON: {}".format(file, error)) from error
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise SelectionError('{}: a list of checks is expected, such as ["pair", "io.mp3"]'.format(file))
        lines: Sequence[str] = names
    else:
        lines = [line.split("#")[0].strip() for line in text.splitlines()]
    try:
        return expand([line for line in lines if line])
    except SelectionError as error:
        raise SelectionError("{}: {}".format(file, error)) from error


def choose(profile: Optional[str] = None, only: Optional[str] = None, quick: bool = False) -> List[str]:
    """The ids to run, in their order. profile: a name or a file; only: names between commas. At most one of the three.

    Without any the profile is core. SelectionError for what does not exist.
    """
    if sum((profile is not None, only is not None, quick)) > 1:
        raise SelectionError("--profile, --only and --quick exclude each other")
    if quick:
        return list(QUICK)
    if only is not None:
        return expand(split(only))
    if profile is None or profile in PROFILES:
        return list(PROFILES[profile or "core"])
    return read(Path(profile))
