"""Causes in what the pair needs beside it: torchcodec, FFmpeg, another reader of files, NumPy."""

from __future__ import annotations

import re
from collections.abc import Mapping

from packaging.specifiers import SpecifierSet

from torchpair import remedy
from torchpair.diagnose.evidence import Entry, Found, Seen, entering

CAUSES: dict[str, Entry] = {}
_cause = entering(CAUSES)


@_cause(
    "no-torchcodec", "torchcodec is not installed",
    "From 2.9 on torchaudio reads and writes sound files through torchcodec, a package of its own that pip does not"
    " bring.",
    "pair.torchcodec",
)  # fmt: skip
def _no_torchcodec(seen: Seen) -> Found | None:
    reason = seen.failed("pair.torchcodec")
    if (
        not reason
        or "torchcodec" not in seen.measured("pair.torchcodec")
        or seen.measured("pair.torchcodec")["torchcodec"]
    ):
        return None
    return [f"pair.torchcodec: {reason}"], _codec_remedy(seen)


@_cause(
    "wrong-torchcodec", "This torchcodec is for another torch",
    "torchcodec has a table of its own: each release fits certain torches, and a build for CUDA needs torch's CUDA "
    "major.",
    "pair.torchcodec; versions",
)  # fmt: skip
def _wrong_torchcodec(seen: Seen) -> Found | None:
    reason, version = _codec_reason(seen), seen.version("torchcodec")
    if not reason or not version:
        return None
    allowed = remedy.codec_specifier(seen.text("torch"))
    evidence = []
    if allowed and version.public not in SpecifierSet(allowed, prereleases=True):
        evidence.append(
            f"torchcodec {version.public} with torch {seen.text('torch')}, which goes with torchcodec {allowed}"
        )
    elif not (
        _codec_broken(seen)
        or re.search(r"undefined symbol|is built for CUDA|lib(npp\w*|cudart|nvrtc)\.so\S*: cannot", reason)
    ):
        return None
    return [*evidence, *_codec_broken(seen), reason], _codec_remedy(seen)


@_cause(
    "no-ffmpeg", "FFmpeg's libraries are missing",
    "torchcodec uses the shared libraries of an FFmpeg from 4 to 8 that must be installed beside it; the wheel has "
    "none.",
    "pair.torchcodec",
)  # fmt: skip
def _no_ffmpeg(seen: Seen) -> Found | None:
    reason = _codec_reason(seen)
    if (
        not reason
        or _wrong_torchcodec(seen)
        or not re.search(r"Could not load libtorchcodec|lib(av|sw)\w+\.so", reason)
    ):
        return None
    return [reason], ["apt-get install ffmpeg", 'conda install "ffmpeg<8"   # in a conda environment']


@_cause(
    "no-backend", "torchaudio has nothing to read files with",
    "Through 2.8 torchaudio reads files through FFmpeg's shared libraries, libsox or the package soundfile. None is"
    " here.",
    "io.wav; environment backends",
)  # fmt: skip
def _no_backend(seen: Seen) -> Found | None:
    reason = seen.failed("io.wav")
    if not reason or not (reason.startswith("no backend") or "Couldn't find appropriate backend" in reason):
        return None
    return [f"io.wav: {reason}"], ["pip install soundfile", "apt-get install ffmpeg   # for MP3, M4A and Opus too"]


@_cause(
    "numpy-2", "NumPy 2 beside a torch that was built with NumPy 1",
    "Wheels of torch before 2.3 were built against NumPy 1. They import beside NumPy 2 with a warning and fail as "
    "soon as an array becomes a tensor.",
    "pair.numpy; versions",
)  # fmt: skip
def _numpy_2(seen: Seen) -> Found | None:
    numpy, torch = seen.version("numpy"), seen.version("torch")
    reason = seen.failed("pair.numpy")
    if not numpy or not torch or not (reason or seen.import_error):
        return None
    allowed = remedy.numpy_specifier(seen.text("torch")) or ("<2" if torch.release < (2, 3) else "")
    said = reason or (seen.import_error if re.search("numpy|_ARRAY_API", seen.import_error, re.I) else None)
    if not said or numpy.release < (2,) or numpy.public in SpecifierSet(allowed):
        return None
    return [f"NumPy {numpy} with torch {torch}, which needs NumPy {allowed}", said], ['pip install "numpy<2"']


def _codec_reason(seen: Seen) -> str | None:
    """What a torchcodec that is installed said when it could not be loaded; it loads its libraries late."""
    if not seen.version("torchcodec"):
        return None
    for check in seen.report.checks:
        reason = check.reason or ""
        if check.status == "fail" and (check.id == "pair.torchcodec" or "Could not load libtorchcodec" in reason):
            return f"{check.id}: {reason}"
    return None


def _codec_broken(seen: Seen) -> list[str]:
    """torchcodec's libraries that miss something else than FFmpeg."""
    broken = seen.measured("pair.loads").get("broken")
    return [f"{k}: {v}" for k, v in broken.items() if "torchcodec" in k][:2] if isinstance(broken, Mapping) else []


def _codec_remedy(seen: Seen) -> list[str]:
    """torchcodec alone: the torch that is there is kept."""
    for spec in remedy.nearest(seen.env, seen.torch_cuda, most=1):
        if spec.torchcodec and spec.torch == remedy.public(seen.text("torch")):
            where = f" --index-url {spec.index_url}" if spec.index_url else ""
            return [f"pip install --no-deps torchcodec=={spec.torchcodec}{where}"]
    return [f"torchpair explain --torch {remedy.public(seen.text('torch'))}   # which torchcodec goes with it"]
