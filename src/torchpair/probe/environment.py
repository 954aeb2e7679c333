"""The facts about the image that every report carries, whatever the checks say."""

from __future__ import annotations

import os
import platform
import sys
from typing import Any, Callable, Dict, List, Optional

from .context import Context


def _or_none(read: Callable[[], Any]) -> Any:
    """A fact, or None where the image cannot say it: facts are told, checks judge."""
    try:
        return read()
    except (Exception, SystemExit):
        return None


def _version(context: Context, name: str) -> Optional[str]:
    """The version the imported module gives, else the one that was installed."""
    module = sys.modules.get(name)
    return getattr(module, "__version__", None) or context.distributions().get(name)


def _ffmpeg(context: Context) -> Optional[str]:
    """The FFmpeg that torchaudio (2.1 to 2.8) or torchcodec has loaded, if any; never searches for one."""
    module = sys.modules.get("torchcodec")
    if module is not None and getattr(module, "ffmpeg_major_version", None):
        return str(module.ffmpeg_major_version)
    if (2, 1) <= context.audio_release < (2, 9):
        codec = context.torchaudio.utils.ffmpeg_utils.get_versions()["libavcodec"]
        # FFmpeg 4, 5, 6, 7 carry libavcodec 58, 59, 60, 61.
        return "{} (libavcodec {})".format(codec[0] - 54, ".".join(map(str, codec)))
    return None


def _backends(context: Context) -> Optional[List[str]]:
    listing = getattr(context.torchaudio, "list_audio_backends", None)  # removed in 2.9
    return None if listing is None else [str(name) for name in listing()]


def _gpus(context: Context) -> List[Dict[str, Any]]:
    torch = context.torch
    context.device()
    driver = context.driver()
    return [
        {
            "name": torch.cuda.get_device_name(index),
            "capability": "{}.{}".format(*torch.cuda.get_device_capability(index)),
            "driver": driver.version,
            "driver_cuda": driver.cuda,
        }
        for index in range(torch.cuda.device_count())
    ]


def describe(context: Context) -> Dict[str, Any]:
    """Collect the facts. Imports nothing beyond torch and torchaudio."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        # Not platform.libc_ver(): that looks into Python's own binary, built elsewhere.
        "glibc": _or_none(lambda: (os.confstr("CS_GNU_LIBC_VERSION") or "").split()[1]),
        "uid": os.getuid() if hasattr(os, "getuid") else None,
        "torch": _or_none(lambda: _version(context, "torch")),
        "torchaudio": _or_none(lambda: _version(context, "torchaudio")),
        "torchcodec": _or_none(lambda: _version(context, "torchcodec")),
        "numpy": _or_none(lambda: _version(context, "numpy")),
        "soundfile": _or_none(lambda: _version(context, "soundfile")),
        "torch_git": _or_none(lambda: context.modules()["torch"].version.git_version),
        "torchaudio_git": _or_none(lambda: context.torchaudio.version.git_version),
        "torch_cuda": _or_none(lambda: context.modules()["torch"].version.cuda),
        "torchaudio_cuda": _or_none(context.audio_cuda),
        "sm": _or_none(lambda: [str(target) for target in context.compiled()]),
        "torchaudio_sm": _or_none(lambda: [str(target) for target in context.audio_compiled() or []]),
        "cxx11_abi": _or_none(lambda: bool(context.modules()["torch"].compiled_with_cxx11_abi())),
        "backends": _or_none(lambda: _backends(context)),
        "ffmpeg": _or_none(lambda: _ffmpeg(context)),
        "gpu": _or_none(lambda: _gpus(context)) or [],
        "distributions": _or_none(context.distributions) or {},
    }
