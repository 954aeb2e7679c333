"""What upstream published, as data: releases.yaml and cuda.yaml beside this file, read into frozen types.

Nothing is decided here. Versions are strings as upstream writes them; CUDA variants are the wheel tags
("cu128", "cpu"); a Python is "3.11" or, free-threaded, "3.13t"; a GPU architecture is "9.0" or "12.0+PTX".

`load` makes sure of the shape that it needs and no more, because every command pays for it. schema.py checks the rest:
spelling, order, and that no entry contradicts another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import yaml
from packaging.version import Version

from torchpair.errors import TorchpairError

# libyaml's parser is ten times as fast; PyYAML's own reads the same where a build lacks it.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

ARCHES = ("x86_64", "aarch64")
RELEASES, CUDA = "releases.yaml", "cuda.yaml"
FOLDER = Path(__file__).parent
T = TypeVar("T")


class FactsError(TorchpairError):
    """A file of the facts is malformed, or contradicts itself or the other."""


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
    # What PyPI's x86_64 wheel declares, as upstream writes it; None: not declared, or not verified.
    torchvision: str | None = None
    cudnn: str | None = None
    nccl: str | None = None
    triton: str | None = None
    setuptools: str | None = None  # a whole requirement
    requires_python: str | None = None
    cxx11_abi: str | None = None
    cxx_standard: int | None = None
    status: str | None = None
    # Packages of Debian and Ubuntu, by CPU architecture: what the wheel's libraries ask for and no wheel brings.
    system: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


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
    notes: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()


@dataclass(frozen=True)
class Torchcodec:
    """One release of torchcodec on PyPI."""

    version: str
    pythons: tuple[str, ...]
    pypi: Mapping[str, str]
    status: str | None = None
    notes: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()


@dataclass(frozen=True)
class Toolkit:
    """One CUDA toolkit release and the nvidia/cuda images of it."""

    version: str
    toolkit_driver: str | None
    cudnn: str
    ubuntu: tuple[str, ...]
    gcc_max: int | None
    gcc_max_status: str | None = None
    source: str | None = None

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
    source: str | None = None


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


def _texts(value: Any) -> tuple[str, ...]:
    # tuple("3.10") would be four characters and no error.
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise TypeError(f"a list of texts is needed, not {value!r}")
    return tuple(value)


def _maybe(value: Any) -> tuple[str, ...] | None:
    return None if value is None else _texts(value)


def _torch(version: str, entry: Mapping[str, Any]) -> Torch:
    pythons = _texts(entry["pythons"])
    return Torch(
        version=version,
        torchaudio=_texts(entry["torchaudio"]),
        torchcodec=entry["torchcodec"],
        pythons={"x86_64": pythons, "aarch64": _texts(entry.get("pythons_aarch64", entry["pythons"]))},
        pypi=dict(entry["pypi"]),
        index={
            tag: Variant(
                arches=_maybe(v["arches"]),
                sm={"x86_64": _maybe(v.get("sm")), "aarch64": _maybe(v.get("sm_aarch64"))},
                status=v.get("status"),
            )
            for tag, v in entry["index"].items()
        },
        glibc=dict(entry["glibc"]),
        numpy=entry["numpy"],
        notes=_texts(entry.get("notes", [])),
        sources=_texts(entry["sources"]),
        torchvision=entry.get("torchvision"),
        cudnn=entry.get("cudnn"),
        nccl=entry.get("nccl"),
        triton=entry.get("triton"),
        setuptools=entry.get("setuptools"),
        requires_python=entry.get("requires_python"),
        cxx11_abi=entry.get("cxx11_abi"),
        cxx_standard=entry.get("cxx_standard"),
        status=entry.get("status"),
        system={arch: _texts(packages) for arch, packages in entry.get("system", {}).items()},
    )


def _torchaudio(version: str, entry: Mapping[str, Any]) -> Torchaudio:
    index = entry.get("index")
    if index is None and entry["pypi"] is None:
        index = {}  # published nowhere that was found
    return Torchaudio(
        version=version,
        torch=entry["torch"],
        cuda_check=entry["cuda_check"],
        pythons=_texts(entry["pythons"]),
        pypi=dict(entry["pypi"] or {}),
        index=None if index is None else {tag: _maybe(v["arches"]) for tag, v in index.items()},
        status=entry.get("status"),
        notes=_texts(entry.get("notes", [])),
        sources=_texts(entry["sources"]),
    )


def _torchcodec(version: str, entry: Mapping[str, Any]) -> Torchcodec:
    return Torchcodec(
        version=version,
        pythons=_texts(entry["pythons"]),
        pypi=dict(entry["pypi"]),
        status=entry.get("status"),
        notes=_texts(entry.get("notes", [])),
        sources=_texts(entry["sources"]),
    )


def _toolkit(version: str, e: Mapping[str, Any]) -> Toolkit:
    return Toolkit(
        version, e["toolkit_driver"], e["cudnn"], _texts(e["ubuntu"]), e["gcc_max"], e["gcc_max_status"], e["source"]
    )


def _distro(name: str, e: Mapping[str, Any]) -> Distro:
    return Distro(name, e["family"], e["version"], e["codename"], e["glibc"], e["python"], e["ffmpeg"], e["source"])


def _document(text: str, path: Path, schema: str) -> Mapping[str, Any]:
    try:
        found = yaml.load(text, _LOADER)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise FactsError(
            "not readable as YAML", where=where, why=getattr(error, "problem", None) or str(error)
        ) from error
    if not isinstance(found, dict):
        raise FactsError("not a mapping of keys", where=str(path))
    if found.get("schema") != schema:
        raise FactsError(
            f"the schema is {found.get('schema')!r}; this torchpair reads {schema!r}",
            where=f"{path}: schema",
            remedy="take the facts and torchpair from the same release",
        )
    return found


def _table(document: Mapping[str, Any], path: Path, section: str, make: Callable[[str, Any], T]) -> dict[str, T]:
    entries = document.get(section)
    if not isinstance(entries, dict):
        raise FactsError("is missing, or not a mapping of keys", where=f"{path}: {section}")
    table = {}
    for key, entry in entries.items():
        where = f"{path}: {section}.{key}"
        if not isinstance(key, str):
            raise FactsError("the key must stand in quotes", where=where, why=f"YAML reads it as {key!r}")
        try:
            table[key] = make(key, entry)
        except KeyError as error:
            raise FactsError(f"the key {error} is missing", where=where) from error
        except (TypeError, ValueError, AttributeError) as error:
            raise FactsError("is not written as the head of the file describes", where=where, why=str(error)) from error
    return table


def parse(releases_text: str, cuda_text: str, folder: Path = FOLDER) -> Facts:
    """Facts from the text of both files. folder: named in errors, never read. Raises FactsError."""
    at_releases, at_cuda = folder / RELEASES, folder / CUDA
    releases = _document(releases_text, at_releases, "torchpair.facts.releases/1")
    cuda = _document(cuda_text, at_cuda, "torchpair.facts.cuda/1")

    def text(_: str, value: Any) -> str:
        if not isinstance(value, str):
            raise TypeError(f"a text is needed, not {value!r}")
        return value

    def texts(_: str, value: Any) -> tuple[str, ...]:
        return _texts(value)

    return Facts(
        collected=str(releases.get("collected")),
        torch=_table(releases, at_releases, "torch", _torch),
        torchaudio=_table(releases, at_releases, "torchaudio", _torchaudio),
        torchcodec=_table(releases, at_releases, "torchcodec", _torchcodec),
        toolkits=_table(cuda, at_cuda, "toolkits", _toolkit),
        distros=_table(cuda, at_cuda, "distros", _distro),
        driver=_table(cuda, at_cuda, "driver", text),
        min_cuda_for_sm=_table(cuda, at_cuda, "min_cuda_for_sm", text),
        dropped_sm=_table(cuda, at_cuda, "dropped_sm", texts),
        sources={
            **_table(releases, at_releases, "sources", text),
            **_table(cuda, at_cuda, "sources", text),
        },
    )


def text_of(path: Path) -> str:
    """The text of one file of the facts, its line ends as they are. Raises FactsError."""
    try:
        return path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FactsError("cannot be read", where=str(path), why=str(error)) from error


@lru_cache(maxsize=1)
def load(folder: Path = FOLDER) -> Facts:
    """The facts of a folder, cheaply (schema.validate checks them in full). Raises FactsError."""
    return parse(text_of(folder / RELEASES), text_of(folder / CUDA), folder)
