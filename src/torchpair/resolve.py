"""Row + facts -> Spec: every decision about an image is made here, none in a template.

Pure: no network, no engine. The machine's part (which base can be had) comes in as an argument.
"""

from __future__ import annotations

from dataclasses import replace

from packaging.version import Version

from torchpair import recipe as recipes
from torchpair import source
from torchpair.compat import Problem, problems
from torchpair.compat.candidate import Candidate, from_source
from torchpair.compat.gpus import compiled_sm
from torchpair.compat.wheels import CODEC_ALONE, CODEC_SINCE, STABLE_ABI, numpy_pin, torchcodec_fits
from torchpair.errors import ResolveError
from torchpair.facts import Distro, Facts, Toolkit, Torch, Torchaudio, Torchcodec, cuda_tag
from torchpair.matrix import Row, named
from torchpair.reasons import decisions, why_torchaudio, why_torchcodec
from torchpair.recipe import Recipe
from torchpair.spec import Apt, Requirement, Spec

# One user in every image, fixed so that volumes keep their owner. Not 1000: Ubuntu 24.04 has a user of that id.
UID = 10001

# What lies where in an image. One layer per name; what changes least comes first (DESIGN: layers by content).
LAYERS = ("cuda", "cudnn", "python", "triton", "torch", "audio")
_AUDIO = frozenset({"torchaudio", "torchcodec", "soundfile", "cffi", "pycparser"})
# What torch's own metadata names, for a torch that no index has (2.5's; setuptools from 3.12 on).
_TORCH_NEEDS = (
    ("filelock", ""), ("fsspec", ""), ("jinja2", ""), ("networkx", ""), ("pyyaml", ""), ("setuptools", "<82"),
    ("sympy", ">=1.13.1"), ("typing-extensions", ">=4.8.0"),
)  # fmt: skip
# NVIDIA's libraries with releases of their own. The others are the CUDA toolkit's, and change with it.
_NO_TOOLKIT = ("nvidia-cudnn", "nvidia-nccl", "nvidia-cusparselt", "nvidia-nvshmem")
_TRITON = frozenset({"triton", "pytorch-triton"})
# Files that the wheels of several Pythons have alike, byte by byte: a layer each, at a path that names no Python. By
# the RECORDs of PyPI's wheels, read 2026-11-21: libtorch_cuda.so for 2.14's Pythons, the others for all from 2.5 on,
# over patch releases too. libtorch_cpu.so, libtorch_python.so and libtriton.so differ with every Python.
_SHARED: dict[str, dict[str, tuple[str, ...]]] = {
    "triton": {"triton-nvidia": ("triton/backends/nvidia/bin", "triton/backends/nvidia/lib")},
    "torch": {
        "torch-linalg": ("torch/lib/libtorch_cuda_linalg.so",),
        "torch-cuda": ("torch/lib/libtorch_cuda.so",),
    },
}
# The distribution that wheels are unpacked on, whatever a row's own is: what needs no Python is then made once for all.
TOOLS = {"nvidia": "ubuntu24.04", "local": "debian13"}


def tools_apt(distro: str) -> tuple[str, ...]:
    """What is installed where wheels are unpacked: uv asks a Python what fits it, and that one needs the module json.

    Debian 13 has it in python3-minimal, half of python3 and 3 s sooner there; Debian 12, Ubuntu 22.04 and 24.04 do not
    (tried on 2026-11-29).
    """
    return ("python3-minimal" if distro == "debian13" else "python3",)


def layer_of(package: str) -> str:
    """The layer of a locked package, by its name."""
    # py3-none wheels of NVIDIA only: cuda-bindings is compiled per Python and must not sit in the shared layer.
    if package.startswith(_NO_TOOLKIT):
        return "cudnn"
    if package.startswith("nvidia-") or package == "cuda-toolkit":
        return "cuda"
    if package == "torch":
        return "torch"
    if package in _TRITON:
        return "triton"
    return "audio" if package in _AUDIO else "python"


def shared(spec: Spec) -> dict[str, dict[str, tuple[str, ...]]]:
    """By layer: the layers split off from it for what no Python changes, and their paths in site-packages."""
    return {layer: {} if spec.variant == "cpu" else _SHARED.get(layer, {}) for layer in LAYERS}


def resolve(row: Row, facts: Facts, base: str = "nvidia") -> Spec:
    """The spec of a row on a base ("nvidia", "local"; the row's own `base` wins).

    Raises ResolveError with the first broken rule, its evidence and a way out; a row with `force: true` passes.
    """
    c = candidate(row, facts, base)
    broken = problems(c, facts)
    if broken and not row.force:
        raise refusal(row, broken)
    return _spec(c, facts, broken)


def refusal(row: Row, broken: tuple[Problem, ...]) -> ResolveError:
    """The first of the rules that refuse a row, as an error; there is at least one."""
    first = broken[0]
    more = f" ({len(broken) - 1} more rules refuse it)" if len(broken) > 1 else ""
    return ResolveError(
        f"{row.name}: {first.detail}{more}",
        where=str(row.at(first.key)),
        why=f"rule {first.rule.id}: {first.rule.sentence}",
        remedy=first.remedy,
    )


def candidate(row: Row, facts: Facts, base: str) -> Candidate:
    """The best choices that the facts allow for a row, None where they allow none."""
    tag = cuda_tag(row.cuda)
    torch = facts.torch.get(row.torch.version or "")
    index = _index(row, torch, tag)
    where = row.base or base
    toolkit = facts.newest_toolkit(row.cuda)
    return Candidate(
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
    if torch is None or row.torch.origin != "wheel":
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
    if row.torchaudio.origin == "source":
        return facts.torchaudio.get((_ref(row) or "").removeprefix("v"))
    if torch is None:
        return None
    return facts.torchaudio[torch.torchaudio[0]]


def _ref(row: Row) -> str | None:
    """The git ref of the torchaudio that a row compiles; None for a wheel, or where no tag fits."""
    if row.torchaudio.origin != "source":
        return None
    if row.torchaudio.ref:
        return row.torchaudio.ref
    if row.torchaudio.version:
        return f"v{row.torchaudio.version}"
    lines = source.lines_for(row.torch.version or "", source.load())
    return source.tag_for(row.torch.version or "", lines[0]) if lines else None


def _torchcodec(row: Row, torch: Torch | None, tag: str, facts: Facts) -> Torchcodec | None:
    if row.torchcodec.version:
        return facts.torchcodec.get(row.torchcodec.version)
    if torch is None or Version(torch.version) < CODEC_SINCE:
        return None
    if row.torch.origin != "wheel" and Version(torch.version) < STABLE_ABI:
        return None  # such a torchcodec fits the official torch only
    fitting = [
        codec for codec in facts.torchcodec.values() if torchcodec_fits(codec, torch, tag, row.arch, row.python) is None
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


def _spec(c: Candidate, facts: Facts, broken: tuple[Problem, ...]) -> Spec:
    row = c.row
    ref = _ref(row)
    # Even `force` cannot build what has no name: these must be known to write a Dockerfile at all.
    known = c.torch is not None and c.index is not None if row.torch.origin == "wheel" else True
    driver = c.tag == "cpu" or row.cuda.split(".")[0] in facts.driver
    if c.distro is None or not known or not driver or (c.torchaudio is None and ref is None):
        raise refusal(row, broken)
    kind = c.base if c.base in ("nvidia", "local") else "image"
    python_from = "distro" if c.distro.python == row.python else "uv"
    min_driver = None if c.tag == "cpu" else facts.driver[row.cuda.split(".")[0]]
    torch_recipe, audio_recipe = _recipes(c, ref)
    spec = Spec(
        row=row,
        name=row.name,
        tag=_tag(c),
        torch=row.torch.version or "of-the-base",
        torchaudio=c.torchaudio.version if c.torchaudio else str(ref),
        torchcodec=c.torchcodec.version if c.torchcodec else None,
        cuda=row.cuda,
        variant=c.tag,
        index=c.index or "none",
        arch=row.arch,
        python=row.python,
        python_from=python_from,
        base=kind,
        image=_image(c, kind),
        distro=c.distro.name,
        tools=_tools_image(c, kind),
        tools_distro=TOOLS.get(kind, c.distro.name),
        torch_from=row.torch.origin,
        torchaudio_from=row.torchaudio.origin,
        torchaudio_ref=ref,
        compile_torch=torch_recipe,
        compile_audio=audio_recipe,
        requirements=_requirements(c),
        apt=_apt(c, python_from),
        sm=row.sm or None if c.tag != "cpu" and from_source(row) else compiled_sm(c),
        min_driver=min_driver,
        decisions=(),
        broken=broken,
    )
    return replace(spec, decisions=decisions(c, spec))


def _recipes(c: Candidate, ref: str | None) -> tuple[Recipe | None, Recipe | None]:
    """How torch, and how torchaudio, is compiled."""
    assert c.distro is not None
    torch = audio = None
    if c.row.torch.origin == "source":
        torch = recipes.torch(c.row, c.distro, c.toolkit, c.base, _devel(c))
    if ref is not None:
        version = c.torchaudio.version if c.torchaudio else c.row.torchaudio.version
        audio = recipes.audio(c.row, ref, version, c.distro, c.toolkit, c.base, _devel(c))
    return torch, audio


def _devel(c: Candidate) -> str | None:
    """The nvidia/cuda image that has the compiler; with cuDNN and NCCL where torch itself is compiled."""
    if c.toolkit is None or c.tag == "cpu":
        return None
    ubuntu = c.distro.version if c.distro and c.distro.version in c.toolkit.ubuntu else c.toolkit.ubuntu[0]
    cudnn = f"{c.toolkit.cudnn}-" if c.row.torch.origin == "source" else ""
    return f"nvidia/cuda:{c.toolkit.version}-{cudnn}devel-ubuntu{ubuntu}"


def _image(c: Candidate, kind: str) -> str:
    assert c.distro is not None
    if kind == "local":
        return f"torchpair-base:{c.distro.name}"
    if kind == "image":
        return c.base
    if c.tag == "cpu" or c.toolkit is None:
        return f"{c.distro.family}:{c.distro.version}"
    if c.row.torch.origin == "source":
        return f"nvidia/cuda:{c.toolkit.version}-{c.toolkit.cudnn}-runtime-ubuntu{c.distro.version}"
    # `base` is enough: with wheels the CUDA libraries come from PyPI, and a toolkit beside them would be a second copy.
    return f"nvidia/cuda:{c.toolkit.version}-base-ubuntu{c.distro.version}"


def _tools_image(c: Candidate, kind: str) -> str:
    if kind == "image":  # whoever names an image may have no way to another
        return c.base
    if kind == "local":
        return f"torchpair-base:{TOOLS[kind]}"
    return TOOLS[kind].replace("ubuntu", "ubuntu:")


def _tag(c: Candidate) -> str:
    """ "2.8.0-cu128-py311-ubuntu22.04". A row that chose its torchaudio itself, or its name, carries that."""
    assert c.distro is not None
    row = c.row
    torch = (row.torch.version or "base").replace("+", ".")
    parts = [torch, c.tag, "py" + row.python.replace(".", "")]
    if row.torch.origin == "source":
        parts[0] += "src"
    if row.torchaudio.origin == "source":
        parts.insert(1, f"audio{c.torchaudio.version if c.torchaudio else _ref(row)}src")
    elif row.torchaudio.version:
        parts.insert(1, f"audio{row.torchaudio.version}")
    if row.arch != "x86_64":
        parts.append(row.arch)
    # A name that is not the one a row gets by itself stands for something that the rest of the tag does not say.
    if row.name != named(row).name:
        parts.append(row.name)
    # An Ubuntu alone says nvidia, a Debian local.
    local = ["local"] if c.base == "local" and c.distro.family == "ubuntu" else []
    return "-".join([*parts, *local, c.distro.name])


def _requirements(c: Candidate) -> tuple[Requirement, ...]:
    """What pip installs by name; what is compiled, or in the base already, is not among it."""
    if c.row.torch.origin == "base":
        # What the base has stays as it is: only what it lacks is installed of these.
        return (Requirement("soundfile", "", "pypi", "torchaudio's reader and writer where its FFmpeg is another"),)
    found = [
        Requirement("numpy", numpy_pin(c), "pypi", "no torch wheel declares it"),
        Requirement("pip", "", "pypi", "so that an image can be built upon with pip"),
    ]
    if c.row.torch.origin == "source":
        found += [Requirement(name, pin, "pypi", "torch needs it") for name, pin in _TORCH_NEEDS]
    local = f"+{c.tag}" if c.index == "pytorch" else ""
    if c.torch and c.index and c.row.torch.origin == "wheel":
        found.append(Requirement("torch", f"=={c.torch.version}{local}", c.index, "the row"))
        if c.torchaudio and c.row.torchaudio.origin == "wheel":
            found.append(Requirement("torchaudio", f"=={c.torchaudio.version}{local}", c.index, why_torchaudio(c)))
    if c.torchcodec:
        found.append(Requirement("torchcodec", f"=={c.torchcodec.version}", "pypi", why_torchcodec(c)))
    else:
        found.append(Requirement("soundfile", "", "pypi", "torchaudio's reader and writer where its FFmpeg is another"))
    return tuple(sorted(found, key=lambda r: r.name))


def _apt(c: Candidate, python_from: str) -> tuple[Apt, ...]:
    reader = "torchcodec" if c.torchcodec else "torchaudio"
    packages = [
        Apt("ca-certificates", "downloads over TLS"),
        Apt("ffmpeg", f"{reader} opens files through FFmpeg"),
        Apt("libgomp1", "OpenMP for packages that do not bring their own"),
        Apt("tini", "process 1: forwards signals, reaps children"),
    ]
    if python_from == "distro":
        packages.append(Apt("python3", f"Python {c.row.python}, the distribution's own"))
        if c.torchcodec and Version(c.torchcodec.version) < CODEC_ALONE:
            # Debian and Ubuntu link Python itself without its shared library, and package that apart.
            why = f"torchcodec {c.torchcodec.version} links Python's shared library"
            packages.append(Apt(f"libpython{c.row.python}", why))
    if c.torch and c.row.torch.origin == "wheel":
        why = f"a library in torch {c.torch.version}'s wheel asks for it"
        packages += [Apt(name, why) for name in c.torch.system.get(c.row.arch, ())]
    return tuple(sorted(packages, key=lambda p: p.name))
