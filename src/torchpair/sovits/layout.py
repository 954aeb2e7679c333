"""Where things lie in the image: the code is read only, models are on one volume, what is written on another."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

CODE = Path("/opt/gpt-sovits")
MODELS = Path("/models")
DATA = Path("/data")
ORIGINALS = Path("/opt/gpt-sovits-originals")  # of folders that are written at run time and do not begin empty
CONFIG = Path("/config/tts_infer.yaml")  # a configuration of the user's own, where one is mounted

ROLE = Path("/tmp/gpt-sovits-role")  # what this container became, for a HEALTHCHECK that is not told
API_PORT = 9880
# Of one WebUI container: main, inference, UVR5, subfix (config.py of GPT-SoVITS).
WEBUI_PORTS = {"main": 9874, "inference": 9872, "uvr5": 9873, "subfix": 9871}

MODEL_LINKS = {
    "GPT_SoVITS/pretrained_models": "pretrained_models",
    "GPT_SoVITS/text/G2PWModel": "G2PWModel",
    "tools/uvr5/uvr5_weights": "uvr5_weights",
}
SUFFIXES = ("", "_v2", "_v3", "_v4", "_v2Pro", "_v2ProPlus")
DATA_FOLDERS = {
    "TEMP": "TEMP",
    "logs": "logs",
    "output": "output",
    "tools/asr/models": "asr_models",  # the ASR tools fetch them themselves
    **{f"{kind}_weights{suffix}": f"{kind}_weights{suffix}" for kind in ("GPT", "SoVITS") for suffix in SUFFIXES},
}
# With files of upstream's own in them, written at the first Japanese request.
DATA_COPIES = {"GPT_SoVITS/text/ja_userdic": "ja_userdic"}
DATA_FILES = {"weight.json": "weight.json"}
# Not linked into the code: for the user's own voices, and for caches.
MORE_FOLDERS = ("reference", "cache")


def prepare(code: Path, models: Path = MODELS, data: Path = DATA, originals: Path = ORIGINALS) -> None:
    """While the image is built: put a link wherever GPT-SoVITS looks for a model or writes. What was there goes."""
    for place, name in MODEL_LINKS.items():
        _link(code / place, models / name)
    for place, name in {**DATA_FOLDERS, **DATA_FILES}.items():
        _link(code / place, data / name)
    for place, name in DATA_COPIES.items():
        if (code / place).is_dir() and not (code / place).is_symlink():
            shutil.copytree(code / place, originals / name, dirs_exist_ok=True)
        _link(code / place, data / name)


def _link(place: Path, target: Path) -> None:
    if place.is_symlink() or place.is_file():
        place.unlink()
    elif place.is_dir():
        shutil.rmtree(place)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(target)


def make_folders(data: Path = DATA, originals: Path = ORIGINALS) -> None:
    """At start: the folders of the volume. OSError where it cannot be written."""
    for name in [*DATA_FOLDERS.values(), *MORE_FOLDERS]:
        (data / name).mkdir(parents=True, exist_ok=True)
    for name in DATA_COPIES.values():
        (data / name).mkdir(exist_ok=True)
        for path in (originals / name).glob("*") if (originals / name).is_dir() else ():
            if path.is_file() and not (data / name / path.name).exists():
                shutil.copyfile(path, data / name / path.name)
    weights = data / "weight.json"
    if not weights.exists():
        weights.write_text("{}\n", encoding="utf-8")
    if not os.access(data / "TEMP", os.W_OK):
        raise PermissionError(13, "may not be written", str(data / "TEMP"))
