"""The facts about the image that every report carries, whatever the checks say."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import sys
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

from . import library
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


# What changes which files a process takes.
VARIABLES = ("LD_LIBRARY_PATH", "LD_PRELOAD", "PYTHONPATH", "PYTHONHOME", "CUDA_VISIBLE_DEVICES")


# The compiler's libraries too: conda's, or an older one of them, are what LD_LIBRARY_PATH brings most.
COMPILERS = re.compile(r"lib(stdc\+\+|gomp|gcc_s)\.so")


def _shadowing() -> List[str]:
    """Files that LD_LIBRARY_PATH and LD_PRELOAD put before the libraries that torch would take, by name."""
    found = [Path(name) for name in re.split("[: ]+", os.environ.get("LD_PRELOAD", "")) if name]
    for folder in os.environ.get("LD_LIBRARY_PATH", "").split(":"):
        if folder and Path(folder).is_dir():
            found += sorted(Path(folder).iterdir())
    return [str(path) for path in found if library.SINGLE.match(path.name) or COMPILERS.match(path.name)][:20]


def _torch_folder() -> Optional[Path]:
    """The torch that `import` would find, whether it can be imported or not."""
    spec = importlib.util.find_spec("torch")
    return Path(spec.origin).parent if spec and spec.origin else None


def _built_for() -> List[str]:
    """The Pythons that torch's own extension was built for, as their file names say: "cpython-311"."""
    folder = _torch_folder()
    names = [path.name.split(".")[1] for path in folder.glob("_C.*.so")] if folder else []
    return sorted({"-".join(name.split("-")[:2]) for name in names if name.startswith("cpython-")})


# Where installers and images put an environment; sys.prefix: this Python's own, for a folder of another version.
PLACES = (
    "opt/*/lib/python3*/site-packages", "opt/*/envs/*/lib/python3*/site-packages", "usr/lib/python3*/dist-packages",
    "usr/local/lib/python3*/*-packages", "root/*/lib/python3*/site-packages", "workspace/*/lib/python3*/site-packages",
    "app/*/lib/python3*/site-packages", "venv/lib/python3*/site-packages",
)  # fmt: skip


def _elsewhere() -> List[str]:
    """Folders of other Pythons that hold a torch, where this Python has none."""
    if _torch_folder():
        return []
    own = Path(sys.prefix).glob("lib/python3*/site-packages")
    folders = {str(path) for place in PLACES for path in Path("/").glob(place)} | {str(path) for path in own}
    return [name for name in sorted(folders) if (Path(name) / "torch" / "__init__.py").is_file()][:5]


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
        "executable": sys.executable,
        "variables": {name: os.environ[name] for name in VARIABLES if os.environ.get(name)},
        "shadowing": _or_none(_shadowing),
        "built_for": _or_none(_built_for),
        "elsewhere": _or_none(_elsewhere),
        "distributions": _or_none(context.distributions) or {},
    }
