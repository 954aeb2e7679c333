"""What can be compiled: which torchaudio tag fits which torch, and what CUDA and compiler a tag takes. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import yaml
from packaging.version import Version

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# A pre-release torch of a vendor: 2.2.0a0+81ea7a4, 2.6.0a0+ecf3bae40a.nv25.01. Only the start says what it is.
_TORCH = re.compile(r"(\d+)\.(\d+)\.(\d+)(a0|b\d+|rc\d+|\.dev\d+)?(?:\+.*)?", re.ASCII)


@dataclass(frozen=True)
class Line:
    """One release line of torchaudio's source ("2.6"), by its newest tag."""

    name: str
    tag: str
    torch: tuple[str, ...]  # torch minors; "+" stands for every later one
    system: str  # "cmake" or "cpp_extension"
    max_cuda: str | None
    ctc_max_cuda: str | None
    gcc_max: int | None
    sources: tuple[str, ...]


@dataclass(frozen=True)
class Gpu:
    """A GPU by the name people use."""

    name: str
    sm: str
    arch: str | None  # the CPU architecture it comes with, where there is but one


@dataclass(frozen=True)
class TorchLine:
    """What limits a build of torch itself."""

    cuda: tuple[str, ...]
    max_sm: str | None
    cmake_below: str | None


@dataclass(frozen=True)
class DistroToolkit:
    """nvcc as a distribution packages it."""

    cuda: str
    packages: tuple[str, ...]


@dataclass(frozen=True)
class SourceFacts:
    torchaudio: Mapping[str, Line]
    torch: Mapping[str, TorchLine]
    commits: Mapping[str, Mapping[str, str]]  # package ("audio", "torch") -> tag -> the first digits of its commit
    upstream: Mapping[str, str]
    switches: Mapping[str, Mapping[str, str]]  # by the first line that they are for
    torch_switches: Mapping[str, Mapping[str, str]]
    compilers: Mapping[str, tuple[int, ...]]
    toolkits: Mapping[str, DistroToolkit]
    gpus: Mapping[str, Gpu]
    sources: Mapping[str, str]


@lru_cache(maxsize=1)
def load(file: Path = Path(__file__).parent / "facts" / "source.yaml") -> SourceFacts:
    data = yaml.load(file.read_text(encoding="utf-8"), _LOADER)
    return SourceFacts(
        torchaudio={
            name: Line(
                name, e["tag"], tuple(e["torch"]), e["system"], e["max_cuda"], e["ctc_max_cuda"], e["gcc_max"],
                tuple(e["sources"]),
            )
            for name, e in data["torchaudio"].items()
        },
        torch={n: TorchLine(tuple(e["cuda"]), e["max_sm"], e["cmake_below"]) for n, e in data["torch"].items()},
        commits=data["commits"],
        upstream=data["upstream"],
        switches=data["switches"],
        torch_switches=data["torch_switches"],
        compilers={name: tuple(found) for name, found in data["compilers"].items()},
        toolkits={n: DistroToolkit(e["cuda"], tuple(e["packages"])) for n, e in data["toolkits"].items()},
        gpus={name: Gpu(name, e["sm"], e.get("arch")) for name, e in data["gpus"].items()},
        sources=data["sources"],
    )  # fmt: skip


def minor(torch: str) -> str | None:
    """ "2.6.0a0+ecf3bae40a.nv25.01" -> "2.6"; None for what is no torch version."""
    match = _TORCH.fullmatch(torch)
    return f"{match[1]}.{match[2]}" if match else None


def lines_for(torch: str, facts: SourceFacts) -> tuple[Line, ...]:
    """The torchaudio lines that can be compiled against a torch, its own first, then the fallbacks."""
    name = minor(torch)
    if name is None:
        return ()
    version = Version(name)

    def fits(line: Line) -> bool:
        return name in line.torch or ("+" in line.torch and version > Version(line.name))

    fitting = [line for line in facts.torchaudio.values() if fits(line)]
    return tuple(sorted(fitting, key=lambda line: (line.name != name, -Version(line.name).release[1])))


def tag_for(torch: str, line: Line) -> str:
    """The tag to compile: for a released torch of this line the tag of the same number, else the line's newest."""
    match = _TORCH.fullmatch(torch)
    # torchaudio 2.0.1 belongs to torch 2.0.0 and 2.0.2 to 2.0.1: that line counts otherwise, its newest tag serves.
    if match and not match[4] and line.name == f"{match[1]}.{match[2]}" != "2.0" and "+" not in line.torch:
        return f"v{match[1]}.{match[2]}.{match[3]}"
    return line.tag


def too_new(cuda: str, limit: str | None) -> bool:
    """Whether a CUDA ("12.8", "cpu") lies beyond a limit (None: no limit known)."""
    return cuda != "cpu" and limit is not None and Version(cuda) > Version(limit)
