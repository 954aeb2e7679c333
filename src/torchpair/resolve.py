"""Row + facts -> Spec: every decision about an image is made here, none in a template.

Pure: no network, no engine. The machine's part (which base can be had) comes in as an argument.
"""

from __future__ import annotations

from dataclasses import dataclass

from packaging.version import Version

from torchpair import compat
from torchpair.errors import ResolveError
from torchpair.facts import Distro, Facts, Toolkit, Torch, Torchaudio, Torchcodec, cuda_tag
from torchpair.matrix import Row

# The variant indexes of PyTorch: https://pytorch.org/get-started/previous-versions/
PYTORCH_INDEX = "https://download.pytorch.org/whl"

# One user in every image, fixed so that volumes keep their owner. Not 1000: Ubuntu 24.04 has a user of that id.
UID = 10001

# What lies where in an image. One layer per name; what changes least comes first (DESIGN: layers by content).
LAYERS = ("cuda", "python", "torch", "audio")
_AUDIO = frozenset({"torchaudio", "torchcodec", "soundfile", "cffi", "pycparser"})
_TORCH = frozenset({"torch", "triton", "pytorch-triton"})


@dataclass(frozen=True)
class Requirement:
    """A package that the environment asks for by name; its dependencies come with the lock."""

    name: str
    specifier: str  # "==2.8.0", "<2" or ""
    index: str  # "pypi" or "pytorch"
    why: str


@dataclass(frozen=True)
class Apt:
    """A package of the distribution, and the reason it is in the image."""

    name: str
    why: str


@dataclass(frozen=True)
class Decision:
    """One answer, and the rule or fact that gave it."""

    subject: str
    value: str
    because: str


@dataclass(frozen=True)
class Spec:
    """A row with every question answered: all that rendering, building and checking need to know."""

    row: Row
    name: str
    tag: str  # "2.8.0-cu128-py311-ubuntu22.04"
    torch: str
    torchaudio: str
    torchcodec: str | None
    cuda: str  # "12.8" or "cpu"
    variant: str  # "cu128" or "cpu"
    index: str  # "pypi" or "pytorch"
    arch: str
    python: str
    python_from: str  # "distro" or "uv"
    base: str  # "nvidia", "local" or "image"
    image: str  # the reference that FROM takes
    distro: str
    requirements: tuple[Requirement, ...]
    apt: tuple[Apt, ...]
    sm: tuple[str, ...] | None  # None: not verified
    min_driver: str | None  # None for a CPU build
    decisions: tuple[Decision, ...]
    broken: tuple[compat.Problem, ...]  # rules that a forced row breaks

    @property
    def reference(self) -> str:
        """The image's local name."""
        return f"torchpair:{self.tag}"

    @property
    def index_url(self) -> str | None:
        """The index of torch and torchaudio; None: PyPI, as the installer knows it."""
        return f"{PYTORCH_INDEX}/{self.variant}" if self.index == "pytorch" else None

    @property
    def versions(self) -> dict[str, str | None]:
        """What the running image must report; None: nothing of that kind."""
        return {
            "torch": self.torch,
            "torchaudio": self.torchaudio,
            "torchcodec": self.torchcodec,
            "cuda": None if self.cuda == "cpu" else self.cuda,
            "python": self.python,
        }

    @property
    def labels(self) -> dict[str, str]:
        """The image's own labels, beside the OCI ones."""
        return {
            "torchpair.row": self.name,
            "torchpair.torch": self.torch,
            "torchpair.torchaudio": self.torchaudio,
            "torchpair.torchcodec": self.torchcodec or "none",
            "torchpair.cuda": self.cuda,
            "torchpair.python": self.python,
            "torchpair.base": f"{self.base}:{self.distro}",
            "torchpair.sm": "unknown" if self.sm is None else " ".join(self.sm) or "none",
            "torchpair.min-driver": self.min_driver or "none",
        }


def layer_of(package: str) -> str:
    """The layer of a locked package, by its name."""
    # py3-none wheels of NVIDIA only: cuda-bindings is compiled per Python and must not sit in the shared layer.
    if package.startswith("nvidia-") or package == "cuda-toolkit":
        return "cuda"
    if package in _TORCH:
        return "torch"
    return "audio" if package in _AUDIO else "python"


def resolve(row: Row, facts: Facts, base: str = "nvidia") -> Spec:
    """The spec of a row on a base ("nvidia", "local"; the row's own `base` wins).

    Raises ResolveError with the first broken rule, its evidence and a way out; a row with `force: true` passes.
    """
    c = candidate(row, facts, base)
    broken = compat.problems(c, facts)
    if broken and not row.force:
        raise refusal(row, broken)
    return _spec(c, facts, broken)


def refusal(row: Row, broken: tuple[compat.Problem, ...]) -> ResolveError:
    first = broken[0]
    more = f" ({len(broken) - 1} more rules refuse it)" if len(broken) > 1 else ""
    return ResolveError(
        f"{row.name}: {first.detail}{more}",
        where=str(row.at(first.key)),
        why=f"rule {first.rule.id}: {first.rule.sentence}",
        remedy=first.remedy,
    )


def candidate(row: Row, facts: Facts, base: str) -> compat.Candidate:
    """The best choices that the facts allow for a row, None where they allow none."""
    tag = cuda_tag(row.cuda)
    torch = facts.torch.get(row.torch.version or "")
    index = _index(row, torch, tag)
    where = row.base or base
    toolkit = facts.newest_toolkit(row.cuda)
    return compat.Candidate(
        row=row,
        tag=tag,
        torch=torch,
        index=index,
        torchaudio=_torchaudio(row, torch, facts),
        torchcodec=_torchcodec(row, torch, tag, facts),
        base=where,
        distro=_distro(row, facts, where, toolkit),
        toolkit=toolkit,
    )


def _index(row: Row, torch: Torch | None, tag: str) -> str | None:
    """PyPI where its one CUDA is the one asked for, else PyTorch's index where it serves the variant."""
    if torch is None:
        return None
    if row.index in (None, "pypi") and torch.pypi[row.arch] == tag:
        return "pypi"
    variant = torch.index.get(tag)
    if row.index in (None, "pytorch") and variant and variant.arches and row.arch in variant.arches:
        return "pytorch"
    return None


def _torchaudio(row: Row, torch: Torch | None, facts: Facts) -> Torchaudio | None:
    if row.torchaudio.version:
        return facts.torchaudio.get(row.torchaudio.version)
    return facts.torchaudio[torch.torchaudio[0]] if torch else None


def _torchcodec(row: Row, torch: Torch | None, tag: str, facts: Facts) -> Torchcodec | None:
    if row.torchcodec.version:
        return facts.torchcodec.get(row.torchcodec.version)
    if torch is None or Version(torch.version) < compat.CODEC_SINCE:
        return None
    fitting = [
        codec
        for codec in facts.torchcodec.values()
        if compat.torchcodec_fits(codec, torch, tag, row.arch, row.python) is None
    ]
    return max(fitting, key=lambda codec: Version(codec.version), default=None)


def _distro(row: Row, facts: Facts, base: str, toolkit: Toolkit | None) -> Distro | None:
    if row.distro:
        return facts.distros.get(row.distro)
    if base == "local":
        return next((d for d in facts.distros.values() if d.family == "debian" and d.python == row.python), None)
    names = toolkit.ubuntu if toolkit else ("22.04", "24.04")
    ubuntus = [facts.distros[f"ubuntu{u}"] for u in names if f"ubuntu{u}" in facts.distros]
    own = [d for d in ubuntus if d.python == row.python]
    if own:
        return own[0]
    # 22.04 runs everything that the facts know: glibc 2.35, FFmpeg 4.4, and it has every CUDA from 11.7 to 13.3.
    return next((d for d in ubuntus if d.version == "22.04"), ubuntus[-1] if ubuntus else None)


def _spec(c: compat.Candidate, facts: Facts, broken: tuple[compat.Problem, ...]) -> Spec:
    row = c.row
    # Even `force` cannot build what has no name: these must be known to write a Dockerfile at all.
    if c.torch is None or c.torchaudio is None or c.index is None or c.distro is None:
        raise refusal(row, broken)
    kind = c.base if c.base in ("nvidia", "local") else "image"
    image = _image(c, kind)
    python_from = "distro" if c.distro.python == row.python else "uv"
    cuda_major = row.cuda.split(".")[0]
    min_driver = None if c.tag == "cpu" else facts.driver[cuda_major]
    sm = compat.compiled_sm(c)
    decisions = (
        Decision("index", c.index, f"PyPI's one CUDA of torch {c.torch.version} is {c.torch.pypi[row.arch]}"),
        Decision("torchaudio", c.torchaudio.version, _why_torchaudio(c)),
        Decision("torchcodec", c.torchcodec.version if c.torchcodec else "none", _why_torchcodec(c)),
        Decision(
            "base",
            image,
            f"{kind}: {c.distro.name}" + (f", newest toolkit of {row.cuda}" if kind == "nvidia" and c.toolkit else ""),
        ),
        Decision("python", f"{row.python} from {python_from}", f"{c.distro.name} has {c.distro.python} of its own"),
        Decision(
            "min_driver",
            min_driver or "none",
            f"lowest driver of CUDA {cuda_major}" if min_driver else "a CPU build needs no driver",
        ),
    )
    return Spec(
        row=row,
        name=row.name,
        tag=_tag(c),
        torch=c.torch.version,
        torchaudio=c.torchaudio.version,
        torchcodec=c.torchcodec.version if c.torchcodec else None,
        cuda=row.cuda,
        variant=c.tag,
        index=c.index,
        arch=row.arch,
        python=row.python,
        python_from=python_from,
        base=kind,
        image=image,
        distro=c.distro.name,
        requirements=_requirements(c),
        apt=_apt(c, python_from),
        sm=sm,
        min_driver=min_driver,
        decisions=decisions,
        broken=broken,
    )


def _image(c: compat.Candidate, kind: str) -> str:
    assert c.distro is not None
    if kind == "local":
        return f"torchpair-base:{c.distro.name}"
    if kind == "image":
        return c.base
    if c.tag == "cpu" or c.toolkit is None:
        return f"{c.distro.family}:{c.distro.version}"
    # `base` is enough: with wheels the CUDA libraries come from PyPI, and a toolkit beside them would be a second copy.
    return f"nvidia/cuda:{c.toolkit.version}-base-ubuntu{c.distro.version}"


def _tag(c: compat.Candidate) -> str:
    """ "2.8.0-cu128-py311-ubuntu22.04". A row that chose its torchaudio itself, or its name, carries that."""
    assert c.torch is not None and c.torchaudio is not None and c.distro is not None
    python = "py" + c.row.python.replace(".", "")
    parts = [c.torch.version.replace("+", "."), c.tag, python]
    if c.torchaudio.version != c.torch.torchaudio[0]:
        parts.insert(1, f"audio{c.torchaudio.version}")
    if c.row.arch != "x86_64":
        parts.append(c.row.arch)
    if not c.row.name.startswith("torch" + c.torch.version.replace("+", ".")):
        parts.append(c.row.name)
    return "-".join([*parts, c.distro.name])


def _why_torchaudio(c: compat.Candidate) -> str:
    assert c.torch is not None and c.torchaudio is not None
    if c.row.torchaudio.version:
        return "the row says so"
    if c.torchaudio.torch:
        return compat.RULES["lockstep"].sentence
    return f"{compat.RULES['stable-abi'].sentence} CUDA must be equal, and is."


def _why_torchcodec(c: compat.Candidate) -> str:
    assert c.torch is not None
    if c.row.torchcodec.version:
        return "the row says so"
    if c.torchcodec:
        return f"the newest that fits torch {c.torch.version} ({c.torch.torchcodec}) on CUDA {c.row.cuda}"
    return f"torchaudio before {compat.CODEC_SINCE} reads files by itself"


def _requirements(c: compat.Candidate) -> tuple[Requirement, ...]:
    assert c.torch is not None and c.torchaudio is not None and c.index is not None
    local = f"+{c.tag}" if c.index == "pytorch" else ""
    found = [
        Requirement("torch", f"=={c.torch.version}{local}", c.index, "the row"),
        Requirement("torchaudio", f"=={c.torchaudio.version}{local}", c.index, _why_torchaudio(c)),
        Requirement(
            "numpy",
            "<2" if c.torch.numpy == "<2" else "",
            "pypi",
            f"no torch wheel declares it; {'built against numpy 1' if c.torch.numpy == '<2' else 'either major works'}",
        ),
        Requirement("pip", "", "pypi", "so that an image can be built upon with pip"),
    ]
    if c.torchcodec:
        found.append(Requirement("torchcodec", f"=={c.torchcodec.version}", "pypi", _why_torchcodec(c)))
    else:
        found.append(Requirement("soundfile", "", "pypi", "torchaudio's reader and writer where its FFmpeg is another"))
    return tuple(sorted(found, key=lambda r: r.name))


def _apt(c: compat.Candidate, python_from: str) -> tuple[Apt, ...]:
    packages = [
        Apt("ca-certificates", "downloads over TLS"),
        Apt(
            "ffmpeg",
            "torchcodec opens files through FFmpeg" if c.torchcodec else "torchaudio opens files through FFmpeg",
        ),
        Apt("libgomp1", "OpenMP for packages that do not bring their own"),
        Apt("tini", "process 1: forwards signals, reaps children"),
    ]
    if python_from == "distro":
        packages.append(Apt("python3", f"Python {c.row.python}, the distribution's own"))
    return tuple(sorted(packages, key=lambda p: p.name))
