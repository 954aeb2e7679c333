"""Row + facts -> Recipe: how a package is compiled. Pure; resolve.py asks, templates/source.j2 writes it down."""

from __future__ import annotations

import re
from dataclasses import dataclass

from torchpair import source
from torchpair.facts import Distro, Toolkit
from torchpair.matrix import Row

_RELEASE = re.compile(r"v?(\d+\.\d+\.\d+)", re.ASCII)
WHEELS_SINCE = 13  # CUDA 12's wheels hold ptxas, not nvcc

# What a build of torch itself takes from the distribution, beside the compiler (facts/NOTES.md 4).
TORCH_PACKAGES = ("libopenblas-dev", "libomp-dev", "libnuma-dev", "pkg-config")


@dataclass(frozen=True)
class Recipe:
    """How one package of a row is compiled."""

    package: str  # "torchaudio" or "torch"
    row: str
    version: str | None  # "2.6.0"; None: what the source says
    label: str  # "cu124" or "cpu": what it was compiled for
    torch: str | None  # the torch that must be there; None: whichever the base has
    cuda: str  # "12.4" or "cpu"
    python: str
    sm: tuple[str, ...]  # (): those of the torch in place
    system: str  # "cmake" or "cpp_extension"
    url: str  # upstream's git
    ref: str
    commit: str | None  # its first digits, where known
    source: str | None  # another source that the row names
    gcc_max: int | None
    cxx: str  # "g++-13"
    packages: tuple[str, ...]  # of the distribution, in the builder
    environment: tuple[tuple[str, str], ...]
    toolkit: str | None  # "devel", "base", "debian" or "wheels"; None: for the CPU alone
    toolkit_image: str | None  # of "devel"
    toolkit_packages: tuple[str, ...]  # of "debian"
    base: bool  # torch is the base's own

    @property
    def context(self) -> str:
        """The build context, and the stage, that holds the source."""
        return "audio-source" if self.package == "torchaudio" else "torch-source"

    @property
    def toolkit_home(self) -> str:
        """Where the toolkit lies in its own stage."""
        if self.toolkit == "devel":
            return f"/usr/local/cuda-{self.cuda}"
        return f"/opt/toolkit/nvidia/cu{self.cuda.split('.')[0]}" if self.toolkit == "wheels" else "/opt/toolkit"

    @property
    def cuda_home(self) -> str:
        """Where the compile sees it."""
        return "/usr/local/cuda" if self.toolkit == "base" else "/opt/toolkit"

    @property
    def wheel_version(self) -> str | None:
        return f"{self.version}+{self.label}" if self.version else None

    def plan(self) -> dict[str, object]:
        """What the compiler inside the builder is told."""
        return {
            "package": self.package,
            "row": self.row,
            "version": self.version,
            "version_variable": "BUILD_VERSION" if self.package == "torchaudio" else "PYTORCH_BUILD_VERSION",
            "label": self.label,
            "torch": self.torch,
            "cuda": self.cuda,
            "python": self.python,
            "sm": list(self.sm),
            "system": self.system,
            "ref": self.ref,
            "commit": self.commit,
            "gcc_max": self.gcc_max,
            "cxx": self.cxx,
            "environment": dict(self.environment),
            "tools": "/opt/build",
            "base": self.base,
        }


def released(ref: str) -> str | None:
    """ "v2.6.0" -> "2.6.0"; None for a branch or a commit."""
    match = _RELEASE.fullmatch(ref)
    return match[1] if match else None


def toolkit_of(row: Row, base: str, distro: Distro | None, devel: Toolkit | None) -> tuple[str | None, str | None]:
    """Where nvcc comes from, and why that cannot be; the first is None for a build for the CPU alone."""
    if row.cuda == "cpu":
        return None, None
    packaged = source.load().toolkits.get(distro.name if distro else "")
    wheels = int(row.cuda.split(".")[0]) >= WHEELS_SINCE
    chosen = row.toolkit
    if chosen is None:
        if base == "nvidia":
            chosen = "devel"
        elif row.torch.origin == "base":
            chosen = "base"
        elif wheels:
            chosen = "wheels"
        elif base == "local":
            chosen = "debian"
        else:
            chosen = "base"
    where = distro.name if distro else "this distribution"
    if chosen == "wheels" and not wheels:
        return chosen, f"NVIDIA's wheels of CUDA {row.cuda} hold no nvcc (only those of CUDA 13 and later do)"
    if chosen == "devel" and devel is None:
        return chosen, f"no nvidia/cuda devel image of CUDA {row.cuda} is known"
    if chosen == "debian" and (packaged is None or packaged.cuda != row.cuda):
        has = f"packages nvcc {packaged.cuda}" if packaged else "packages no nvcc that is known"
        return chosen, f"nvcc {row.cuda} is needed, and {where} {has}"
    return chosen, None


def audio(
    row: Row, ref: str, torchaudio: str | None, distro: Distro, devel: Toolkit | None, base: str, image: str | None
) -> Recipe:
    """How a row's torchaudio is compiled. torchaudio: its version where the row or the facts name one."""
    known = source.load()
    version = released(ref) or torchaudio
    line = known.torchaudio.get(source.minor(version) or "") if version else None
    toolkit, _ = toolkit_of(row, base, distro, devel)
    limits = [n for n in (line.gcc_max if line else None, _gcc_of_toolkit(devel, toolkit)) if n is not None]
    gcc_max = min(limits) if limits else None
    switches = dict(_switches(line.name if line else None))
    if line and source.too_new(row.cuda, line.ctc_max_cuda):
        switches["BUILD_CUDA_CTC_DECODER"] = "0"
    switches.update(_own(row.torchaudio.switches))
    cxx = compiler(distro.name, gcc_max)
    python = ("python3-dev",) if distro.python == row.python or row.torch.origin == "base" else ()
    packaged = known.toolkits.get(distro.name) if toolkit == "debian" else None
    return Recipe(
        package="torchaudio",
        row=row.name,
        version=version,
        label="cpu" if row.cuda == "cpu" else "cu" + row.cuda.replace(".", ""),
        torch=row.torch.version,
        cuda=row.cuda,
        python=row.python,
        sm=row.sm if row.cuda != "cpu" else (),
        system=line.system if line else "cpp_extension" if _newest(ref) else "cmake",
        url=known.upstream["audio"],
        ref=ref,
        commit=known.commits["audio"].get(ref),
        source=row.torchaudio.source,
        gcc_max=gcc_max,
        cxx=cxx,
        packages=tuple(sorted((cxx, "ccache", "git", *python))),
        environment=tuple(sorted(switches.items())),
        toolkit=toolkit,
        toolkit_image=image,
        toolkit_packages=packaged.packages if packaged else (),
        base=row.torch.origin == "base",
    )


def torch(row: Row, distro: Distro, devel: Toolkit | None, base: str, image: str | None) -> Recipe:
    """How a row's torch itself is compiled."""
    known = source.load()
    assert row.torch.version is not None
    toolkit, _ = toolkit_of(row, base, distro, devel)
    gcc_max = _gcc_of_toolkit(devel, toolkit)
    of_cuda = known.torch_switches["cpu" if row.cuda == "cpu" else "cuda"]
    switches = {**known.torch_switches["common"], **of_cuda, **_own(row.torch.switches)}
    ref = row.torch.ref or f"v{row.torch.version}"
    cxx = compiler(distro.name, gcc_max)
    python = ("python3-dev",) if distro.python == row.python else ()
    return Recipe(
        package="torch",
        row=row.name,
        version=row.torch.version,
        label="cpu" if row.cuda == "cpu" else "cu" + row.cuda.replace(".", ""),
        torch=None,
        cuda=row.cuda,
        python=row.python,
        sm=row.sm if row.cuda != "cpu" else (),
        system="cmake",
        url=known.upstream["torch"],
        ref=ref,
        commit=known.commits["torch"].get(ref),
        source=row.torch.source,
        gcc_max=gcc_max,
        cxx=cxx,
        packages=tuple(sorted((cxx, "ccache", "git", *TORCH_PACKAGES, *python))),
        environment=tuple(sorted(switches.items())),
        toolkit=toolkit,
        toolkit_image=image,
        toolkit_packages=(),
        base=False,
    )


def _own(switches: str | None) -> dict[str, str]:
    """The switches that a row names itself."""
    return dict(pair.split("=", 1) for pair in (switches or "").split())


def compiler(distro: str, limit: int | None) -> str:
    """The distribution's own g++ where the limit allows it, else the newest that it does: "g++-13"."""
    has = source.load().compilers.get(distro, ())
    fitting = [n for n in has if limit is None or n <= limit]
    return f"g++-{fitting[0]}" if fitting else "g++"


def _gcc_of_toolkit(devel: Toolkit | None, toolkit: str | None) -> int | None:
    return devel.gcc_max if devel and toolkit else None


def _switches(line: str | None) -> dict[str, str]:
    """The switches of a line: those of the newest set that is not newer than it."""
    sets = source.load().switches
    order = sorted(sets, key=lambda name: tuple(map(int, name.split("."))))
    if line is None:
        return dict(sets[order[1]])  # a branch or commit: switches that a newer tag does not know do no harm
    wanted = tuple(map(int, line.split(".")))
    return dict(sets[[name for name in order if tuple(map(int, name.split("."))) <= wanted][-1]])


def _newest(ref: str) -> bool:
    """Whether a ref without a version is of the line that torch.utils.cpp_extension builds."""
    return ref == "main" or ref.startswith("release/2.11")
