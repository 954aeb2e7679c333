"""What upstream published, as data: releases.yaml and cuda.yaml beside this file, read into frozen types.

Nothing is decided here. Versions are strings as upstream writes them; CUDA variants are the wheel tags
("cu128", "cpu"); a Python is "3.11" or, free-threaded, "3.13t"; a GPU architecture is "9.0" or "12.0+PTX".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from packaging.version import Version

# libyaml's parser is ten times as fast; PyYAML's own reads the same where a build lacks it.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

ARCHES = ("x86_64", "aarch64")


@dataclass(frozen=True)
class Variant:
    """One CUDA variant of a release on PyTorch's own index."""

    arches: tuple[str, ...] | None
    sm: Mapping[str, tuple[str, ...] | None]  # by CPU architecture; None: not verified
    status: str | None


@dataclass(frozen=True)
class Torch:
    """One release of torch and what goes with it."""

    version: str
    torchaudio: tuple[str, ...]  # usable versions, best first
    torchcodec: str | None  # a version specifier
    pythons: Mapping[str, tuple[str, ...]]  # by CPU architecture
    pypi: Mapping[str, str]  # CPU architecture -> CUDA variant
    index: Mapping[str, Variant]
    glibc: Mapping[str, str]
    numpy: str
    notes: tuple[str, ...]
    sources: tuple[str, ...]


@dataclass(frozen=True)
class Torchaudio:
    """One release of torchaudio."""

    version: str
    torch: str | None  # the one torch that its metadata pins
    cuda_check: str  # "exact" or "major"
    pythons: tuple[str, ...]
    pypi: Mapping[str, str]
    index: Mapping[str, tuple[str, ...] | None] | None  # None: as torch's of the same number
    status: str | None


@dataclass(frozen=True)
class Torchcodec:
    """One release of torchcodec on PyPI."""

    version: str
    pythons: tuple[str, ...]
    pypi: Mapping[str, str]


@dataclass(frozen=True)
class Toolkit:
    """One CUDA toolkit release and the nvidia/cuda images of it."""

    version: str
    toolkit_driver: str | None
    cudnn: str
    ubuntu: tuple[str, ...]
    gcc_max: int | None

    @property
    def family(self) -> str:
        return self.version.rsplit(".", 1)[0]


@dataclass(frozen=True)
class Distro:
    """A Linux distribution that can be a base."""

    name: str
    family: str
    version: str
    codename: str
    glibc: str | None
    python: str
    ffmpeg: int | None


@dataclass(frozen=True)
class Facts:
    collected: str
    torch: Mapping[str, Torch]
    torchaudio: Mapping[str, Torchaudio]
    torchcodec: Mapping[str, Torchcodec]
    toolkits: Mapping[str, Toolkit]
    distros: Mapping[str, Distro]
    driver: Mapping[str, str]  # CUDA major -> lowest driver
    min_cuda_for_sm: Mapping[str, str]
    dropped_sm: Mapping[str, tuple[str, ...]]
    sources: Mapping[str, str]

    def newest_toolkit(self, family: str) -> Toolkit | None:
        """The newest nvidia/cuda release of a CUDA family ("12.8"), or None."""
        fitting = [t for t in self.toolkits.values() if t.family == family]
        return max(fitting, key=lambda t: Version(t.version), default=None)


def cuda_tag(cuda: str) -> str:
    """ "12.8" -> "cu128"; "cpu" stays."""
    return cuda if cuda == "cpu" else "cu" + cuda.replace(".", "")


def cuda_family(tag: str) -> str:
    """ "cu128" -> "12.8"; "cpu" stays."""
    return tag if tag == "cpu" else f"{tag[2:-1]}.{tag[-1]}"


def _tuple(value: Any) -> tuple[str, ...] | None:
    return None if value is None else tuple(value)


def _torch(version: str, entry: Mapping[str, Any]) -> Torch:
    pythons = tuple(entry["pythons"])
    return Torch(
        version=version,
        torchaudio=tuple(entry["torchaudio"]),
        torchcodec=entry["torchcodec"],
        pythons={"x86_64": pythons, "aarch64": tuple(entry.get("pythons_aarch64", pythons))},
        pypi=entry["pypi"],
        index={
            tag: Variant(
                arches=_tuple(v["arches"]),
                sm={"x86_64": _tuple(v.get("sm")), "aarch64": _tuple(v.get("sm_aarch64"))},
                status=v.get("status"),
            )
            for tag, v in entry["index"].items()
        },
        glibc=entry["glibc"],
        numpy=entry["numpy"],
        notes=tuple(entry.get("notes", ())),
        sources=tuple(entry["sources"]),
    )


def _torchaudio(version: str, entry: Mapping[str, Any]) -> Torchaudio:
    index = entry.get("index")
    if index is None and entry["pypi"] is None:
        index = {}  # published nowhere that was found
    return Torchaudio(
        version=version,
        torch=entry["torch"],
        cuda_check=entry["cuda_check"],
        pythons=tuple(entry["pythons"]),
        pypi=entry["pypi"] or {},
        index=None if index is None else {tag: _tuple(v["arches"]) for tag, v in index.items()},
        status=entry.get("status"),
    )


@lru_cache(maxsize=1)
def load(folder: Path = Path(__file__).parent) -> Facts:
    """Read both files. Raises KeyError or TypeError when a file is not as described in its head."""
    releases = yaml.load((folder / "releases.yaml").read_text(encoding="utf-8"), _LOADER)
    cuda = yaml.load((folder / "cuda.yaml").read_text(encoding="utf-8"), _LOADER)
    return Facts(
        collected=str(releases["collected"]),
        torch={v: _torch(v, e) for v, e in releases["torch"].items()},
        torchaudio={v: _torchaudio(v, e) for v, e in releases["torchaudio"].items()},
        torchcodec={v: Torchcodec(v, tuple(e["pythons"]), e["pypi"]) for v, e in releases["torchcodec"].items()},
        toolkits={
            v: Toolkit(v, e["toolkit_driver"], e["cudnn"], tuple(e["ubuntu"]), e["gcc_max"])
            for v, e in cuda["toolkits"].items()
        },
        distros={
            n: Distro(n, e["family"], e["version"], e["codename"], e["glibc"], e["python"], e["ffmpeg"])
            for n, e in cuda["distros"].items()
        },
        driver=cuda["driver"],
        min_cuda_for_sm=cuda["min_cuda_for_sm"],
        dropped_sm={k: tuple(v) for k, v in cuda["dropped_sm"].items()},
        sources={**releases["sources"], **cuda["sources"]},
    )
