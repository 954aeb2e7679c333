"""The model files of GPT-SoVITS: which version needs which, how large, with what sha256.

Sizes and hashes were read on 2026-11-21 from public projects that pin the same files, most of them in two or more
places that do not depend on each other (s2Gv3, BigVGAN and the v2 pair in one); no hub could be reached to compare.
None: not known, so what was fetched is recorded.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import NamedTuple

VERSIONS = ("v1", "v2", "v3", "v4", "v2Pro", "v2ProPlus")
# The configuration that upstream ships has v2 under `custom`.
DEFAULT_VERSION = "v2"
RECORD = "torchpair-models.json"  # sizes and hashes of what was fetched, beside it
HUB_REVISION = "336b2ec4e8d4ac74740798dd40af44e74659ecaf"  # of lj1995/GPT-SoVITS
CHUNK = 1 << 20


class Weight(NamedTuple):
    """One file. path: below the models' folder. size: bytes. versions: that need it; () is all of them."""

    path: str
    size: int | None
    sha256: str | None
    versions: tuple[str, ...] = ()
    archive: str | None = None  # the zip that brings it


class Archive(NamedTuple):
    """A zip of several files. flavours: that ask for it. folder: what it unpacks to, below the models' folder."""

    name: str
    folder: str
    size: int | None
    sha256: str | None
    flavours: tuple[str, ...]


_BASE = "pretrained_models"
_BERT = f"{_BASE}/chinese-roberta-wwm-ext-large"
_HUBERT = f"{_BASE}/chinese-hubert-base"
_BIGVGAN = f"{_BASE}/models--nvidia--bigvgan_v2_24khz_100band_256x"
_S1V3 = ("v3", "v4", "v2Pro", "v2ProPlus")
_PRO = ("v2Pro", "v2ProPlus")

WEIGHTS = (
    Weight(f"{_HUBERT}/config.json", 1449, "c3e5060a1277e0f078cc6be9da4528a605dba6ece93018981fe2c820e5c7b103"),
    Weight(
        f"{_HUBERT}/preprocessor_config.json", 212, "dcd684124d06722947939d41ea6ae58dbf10968c60a11a29f23ddc602c64a29b"
    ),
    Weight(
        f"{_HUBERT}/pytorch_model.bin", 188811417, "24164f129c66499d1346e2aa55f183250c223161ec2770c0da3d3b08cf432d3c"
    ),
    Weight(f"{_BERT}/config.json", 963, "3d57de2fd7e80d0e5c8ff194f0bbb6baa10df7e43fc262a0cc71298a78b0a3e5"),
    Weight(f"{_BERT}/tokenizer.json", 268962, "173796956820ea27bd14f76bf28162607ff4254807e2948253eb5b46f5bb643b"),
    Weight(f"{_BERT}/pytorch_model.bin", 651225145, "e53a693acc59ace251d143d068096ae0d7b79e4b1b503fa84c9dcf576448c1d8"),
    Weight(f"{_BASE}/s1bert25hz-2kh-longer-epoch=68e-step=50232.ckpt", None, None, ("v1",)),
    Weight(f"{_BASE}/s2G488k.pth", None, None, ("v1",)),
    Weight(
        f"{_BASE}/gsv-v2final-pretrained/s1bert25hz-5kh-longer-epoch=12-step=369668.ckpt",
        155315150, "732f94e63b148066e24c7f9d2637f3374083e637635f07fbdb695dee20ddbe1f", ("v2",),
    ),
    Weight(
        f"{_BASE}/gsv-v2final-pretrained/s2G2333k.pth",
        106035259, "924fdccaa3c574bf139c25c9759aa1ed3b3f99e19a7c529ee996c2bc17663695", ("v2",),
    ),
    Weight(
        f"{_BASE}/s1v3.ckpt", 155284856, "87133414860ea14ff6620c483a3db5ed07b44be42e2c3fcdad65523a729a745a", _S1V3
    ),
    Weight(f"{_BASE}/s2Gv3.pth", None, "f33abb1920076d988e1711d5f41b5c9c6d7f92575b4acf0ad4fae6a4ebf0cf19", ("v3",)),
    Weight(
        f"{_BIGVGAN}/bigvgan_generator.pt",
        None, "6f9c5715550c9d0f11159ceb8935638da5aeb19e27d1e63677632df095e376f5", ("v3",),
    ),
    Weight(
        f"{_BIGVGAN}/config.json", None, "d77e2c96583ca2296ac112a56ec7cc6bd5da4bf7681ceff18448bedc4fcf6512", ("v3",)
    ),
    Weight(
        f"{_BASE}/gsv-v4-pretrained/s2Gv4.pth",
        769025545, "906fe22f48c3e037a389df291d4d32a9414e15dbb8f9628643e83aaced109ea4", ("v4",),
    ),
    Weight(
        f"{_BASE}/gsv-v4-pretrained/vocoder.pth",
        57781109, "4d611913df7b12d49e8976c944558d2d096816365edfc6c35a9e85b67dd14ed9", ("v4",),
    ),
    Weight(
        f"{_BASE}/v2Pro/s2Gv2Pro.pth",
        162303657, "0f8ead815234365edf045c6d86370ed6e4f440e8195be77ff0ea72684ad406a5", ("v2Pro",),
    ),
    Weight(
        f"{_BASE}/v2Pro/s2Gv2ProPlus.pth",
        200125741, "d42a22bbbf65fb2bbdd45ad6a66841156977db45c7aabe0a6992ff378d9c7d3b", ("v2ProPlus",),
    ),
    Weight(
        f"{_BASE}/sv/pretrained_eres2netv2w24s4ep4.ckpt",
        107528697, "4f5a0bf73c61eb41b174e1bb54e7ee3c83233892be8e0af1f187024e8e581a35", _PRO,
    ),
    Weight(
        f"{_BASE}/fast_langdetect/lid.176.bin",
        131266198, "7e69ec5451bc261cc7844e49e4792a85d7f09c06789ec800fc4a44aec362764e",
    ),
    Weight("G2PWModel/g2pW.onnx", None, None, archive="G2PWModel.zip"),
    Weight("G2PWModel/config.py", None, None, archive="G2PWModel.zip"),
    Weight("G2PWModel/POLYPHONIC_CHARS.txt", None, None, archive="G2PWModel.zip"),
    Weight("G2PWModel/MONOPHONIC_CHARS.txt", None, None, archive="G2PWModel.zip"),
)  # fmt: skip

ARCHIVES = (
    Archive(
        "G2PWModel.zip", "G2PWModel", 588856634, "46292be0374a49308069233cd5c147ae4c41806558e4781a2467a31a4d8099da",
        ("api", "lite", "full"),
    ),
    Archive("uvr5_weights.zip", "uvr5_weights", None, None, ("full",)),
)  # fmt: skip


class Problem(NamedTuple):
    """A file that is not as it should be. kind: "missing", "truncated", "changed" or "broken"."""

    path: str
    kind: str
    why: str

    def __str__(self) -> str:
        return f"{self.path}: {self.kind} ({self.why})"


def needed(version: str) -> tuple[Weight, ...]:
    """The files that a version of the model needs to speak."""
    return tuple(weight for weight in WEIGHTS if not weight.versions or version in weight.versions)


def recorded(folder: Path) -> dict[str, tuple[int, str]]:
    """Size and sha256 of what was fetched into this folder, by path; nothing where no record is, or none that reads."""
    try:
        found = json.loads((folder / RECORD).read_text(encoding="utf-8"))["files"]
        return {str(path): (int(item["size"]), str(item["sha256"])) for path, item in found.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def look(folder: Path, wanted: tuple[Weight, ...], *, hashes: bool = False) -> list[Problem]:
    """What is wrong with these files: presence, size and form; with hashes also every byte (about 1 s per GB)."""
    record = recorded(folder)
    problems = []
    for weight in wanted:
        known = record.get(weight.path)
        # A known hash stands above a record: the record says what came, not what should have come.
        size = weight.size if weight.size is not None else (known[0] if known else None)
        sha256 = weight.sha256 or (known[1] if known else None)
        problem = _look(folder / weight.path, weight.path, size, sha256 if hashes else None)
        problems += [problem] if problem else []
    return problems


def _look(file: Path, path: str, size: int | None, sha256: str | None) -> Problem | None:
    try:
        there = file.stat().st_size
    except OSError:
        return Problem(path, "missing", "not there" if not file.is_symlink() else "a link to nothing")
    if not file.is_file():
        return Problem(path, "missing", "a folder of that name")
    if size is not None and there < size:
        return Problem(path, "truncated", f"{there} of {size} bytes")
    if size is not None and there != size:
        return Problem(path, "changed", f"{there} bytes instead of {size}")
    why = form(file, there)
    if why:
        return Problem(path, "broken", why)
    if sha256 and (found := digest(file)) != sha256:
        return Problem(path, "changed", f"sha256 is {found[:12]} instead of {sha256[:12]}")
    return None


def form(file: Path, size: int) -> str | None:
    """What a file shows about being whole without anything to compare with; None: nothing against it."""
    if size == 0:
        return "empty"
    with file.open("rb") as stream:
        head = stream.read(64)
        if head.startswith(b"version https://git-lfs"):
            return "a pointer of git-lfs instead of the file"
        if head.lstrip()[:1] == b"<" and b"html" in head.lower():
            return "a web page instead of the file"
        if file.suffix == ".json":
            try:
                json.loads(head + stream.read())
            except ValueError:
                return "not JSON"
        # torch writes zip files. GPT-SoVITS puts a mark of its version where "PK" was, so the end is looked at.
        if head[2:4] == b"\x03\x04" and file.suffix in (".pth", ".ckpt", ".pt", ".bin"):
            stream.seek(max(0, size - 66000))
            if b"PK\x05\x06" not in stream.read():
                return "cut off: torch's zip file has no end"
    if file.suffix == ".zip" and not zipfile.is_zipfile(file):
        return "not a zip file, or cut off"
    return None


def digest(file: Path) -> str:
    """The sha256 of a file."""
    found = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            found.update(chunk)
    return found.hexdigest()
