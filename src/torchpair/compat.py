"""The rules: what cannot work, why, on what evidence, and what to do instead.

A rule is data (`RULES`); beside it stands a small predicate over a `Candidate`, a row with every choice made as well
as the facts allow. resolve.py makes the choices; nothing here chooses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from torchpair import recipe, source
from torchpair.facts import Distro, Facts, Toolkit, Torch, Torchaudio, Torchcodec, cuda_family
from torchpair.matrix import Row
from torchpair.suite import SUITES

STABLE_ABI = Version("2.11")  # the first torchaudio on torch's stable ABI (facts/releases.yaml)
CODEC_SINCE = Version("2.9")  # the first torchaudio whose load and save need torchcodec
CODEC_ALONE = Version("0.16")  # the first torchcodec that asks for no libpython3.X.so.1.0 (facts/releases.yaml)


@dataclass(frozen=True)
class Rule:
    """A rule of compatibility: its id, what it says, and where that is known from."""

    id: str
    sentence: str
    evidence: tuple[str, ...]


@dataclass(frozen=True)
class Problem:
    """A rule that a candidate breaks. key: the key of the row to look at."""

    rule: Rule
    key: str
    detail: str
    remedy: str | None = None


@dataclass(frozen=True)
class Candidate:
    """A row with every choice made as well as the facts allow; None where they allow none."""

    row: Row
    tag: str  # CUDA variant: "cu128" or "cpu"
    torch: Torch | None
    index: str | None  # "pypi" or "pytorch"
    torchaudio: Torchaudio | None
    torchcodec: Torchcodec | None
    base: str  # "nvidia", "local" or an image reference
    distro: Distro | None
    toolkit: Toolkit | None


RULES: dict[str, Rule] = {
    rule.id: rule
    for rule in (
        Rule("torch-known", "A row's torch must be a release that the facts describe.", ("wheels",)),
        Rule("torchaudio-known", "A row's torchaudio must be a release that the facts describe.", ("wheels",)),
        Rule("torchcodec-known", "A row's torchcodec must be a release that the facts describe.", ("pypi-listing",)),
        Rule(
            "wheel-cuda",
            "torch must be published for this CUDA and CPU architecture.",
            ("wheels", "index-mirror", "test-infra"),
        ),
        Rule("wheel-python", "torch must be published for this Python.", ("wheels",)),
        Rule("lockstep", "Through 2.10 a torchaudio fits exactly the one torch that its metadata pins.", ("wheels",)),
        Rule(
            "stable-abi",
            "torchaudio 2.11 and later use torch's stable ABI: they need torch 2.11 or later.",
            ("wheel-source",),
        ),
        Rule(
            "cuda-equality",
            "torchaudio compares its CUDA with torch's at import: 2.0 to 2.11.0 major.minor, 2.11.1 the major only.",
            ("wheel-source", "audio-releases"),
        ),
        Rule("torchaudio-python", "torchaudio must be published for this Python.", ("wheels",)),
        Rule("torchaudio-served", "torchaudio's wheel must be served by an index that was found.", ("audio-releases",)),
        Rule(
            "torchcodec-pair",
            "From 2.9 on torchaudio reads and writes files through torchcodec, which fits torch by a table of its own.",
            ("torchcodec-readme", "pypi-listing"),
        ),
        Rule("numpy", "Wheels before 2.3 were built against numpy 1 and need it.", ("builder-2.2", "builder-2.3")),
        Rule("image-exists", "The base image must be published for this CUDA.", ("cog", "cog-3016", "dockerfiles")),
        Rule(
            "distro-known",
            "A row's distribution must be one that the facts describe, and that its base can be.",
            ("general",),
        ),
        Rule("cuda-known", "A row's CUDA must be of a major whose lowest driver is known.", ("nvidia-notes",)),
        Rule(
            "local-python",
            "The local base is a Debian, or an Ubuntu that the row names, and its own Python is the image's.",
            ("general",),
        ),
        Rule("glibc", "The base's glibc must be as new as the wheel's tag promises to need.", ("wheels", "general")),
        Rule(
            "sm-covered",
            "A GPU architecture that a row asks for must be compiled into torch's wheel.",
            ("manywheel", "cpp-extension"),
        ),
        Rule(
            "source-tag",
            "A torchaudio can be compiled only against the torches that its source was written for.",
            ("audio-setup", "ngc"),
        ),
        Rule(
            "source-cuda",
            "A tag compiles up to a CUDA: before 2.9 not with CUDA 13, whose CUB lost what it uses.",
            ("audio-4068",),
        ),
        Rule(
            "source-sm",
            "A compiler makes code only for the architectures that its CUDA knows.",
            ("cpp-extension", "general"),
        ),
        Rule(
            "source-abi",
            "A torch that is not an official wheel needs a torchaudio compiled against it.",
            ("audio-setup",),
        ),
        Rule(
            "source-torch",
            "torch itself compiles with the CUDA, and for the GPUs, that its release was made for.",
            ("torch-arch", "torch-setup"),
        ),
        Rule(
            "toolkit",
            "A CUDA build needs nvcc of torch's own CUDA: torchaudio takes its CUDA from it.",
            ("audio-setup", "debian", "general"),
        ),
        Rule("base-image", "A torch that the base has already needs a base that is named.", ()),
        Rule(
            "driver-floor",
            "A driver runs what was built for its CUDA major from a lowest version on.",
            ("nvidia-notes", "uv-backend"),
        ),
    )
}

Predicate = Callable[[Candidate, Facts], Iterator[tuple[str, str, str | None]]]
_PREDICATES: dict[str, Predicate] = {}


def _rule(rule_id: str) -> Callable[[Predicate], Predicate]:
    def add(predicate: Predicate) -> Predicate:
        assert rule_id in RULES
        _PREDICATES[rule_id] = predicate
        return predicate

    return add


def problems(candidate: Candidate, facts: Facts) -> tuple[Problem, ...]:
    """Every rule that the candidate breaks, in the order of RULES."""
    return tuple(
        Problem(RULES[rule_id], key, detail, remedy)
        for rule_id in RULES
        if rule_id in _PREDICATES
        for key, detail, remedy in _PREDICATES[rule_id](candidate, facts)
    )


def covers(compiled: tuple[str, ...], wanted: str) -> bool:
    """Whether a wheel with these architectures runs on a GPU of compute capability `wanted` ("8.9").

    Machine code runs on the same major and a minor at least as new; PTX ("12.0+PTX") also on anything newer.
    https://docs.nvidia.com/cuda/cuda-c-programming-guide/#compute-capabilities
    """
    major, minor = _numbers(wanted)
    for arch in compiled:
        a_major, a_minor = _numbers(arch)
        if a_major == major and a_minor <= minor:
            return True
        if arch.endswith("+PTX") and (a_major, a_minor) <= (major, minor):
            return True
    return False


def _numbers(sm: str) -> tuple[int, int]:
    """ "9.0a+PTX" -> (9, 0)."""
    major, minor = sm.removesuffix("+PTX").rstrip("af").split(".")
    return int(major), int(minor)


def serves(compiled: tuple[str, ...], wanted: str, cuda: str, facts: Facts) -> bool:
    """Whether a build of this CUDA runs on a compute capability: `covers`, and PTX only from a CUDA that knows the GPU.

    torch's own kernels would be compiled from PTX by any newer driver; cuBLAS and cuDNN of a CUDA from before the GPU
    have nothing for it (RTX 50 on CUDA 12.4: pytorch/pytorch, "no kernel image is available").
    """
    if covers(tuple(arch for arch in compiled if not arch.endswith("+PTX")), wanted):
        return True
    also = tuple(arch.removesuffix("+PTX") for arch in compiled if arch.endswith("+PTX"))
    if covers(also, wanted):
        return True
    first = facts.min_cuda_for_sm.get(wanted.removesuffix("+PTX").rstrip("af"))
    return covers(compiled, wanted) and (first is None or Version(cuda) >= Version(first))


def compiled_sm(c: Candidate) -> tuple[str, ...] | None:
    """Architectures in torch's wheel for this candidate; () for a CPU build, None where nobody verified them."""
    if c.tag == "cpu":
        return ()
    variant = c.torch.index.get(c.tag) if c.torch else None
    return variant.sm[c.row.arch] if variant else None


def from_wheels(c: Candidate) -> bool:
    return c.row.torch.origin == "wheel" and c.row.torchaudio.origin == "wheel"


@_rule("base-image")
def _base_image(c: Candidate, facts: Facts) -> Iterator[tuple[str, str, str | None]]:
    if c.row.torch.origin == "base" and c.base in ("nvidia", "local"):
        yield "base", "torch from the base, and no base image is named", "base: nvcr.io/nvidia/pytorch:24.01-py3, say"


@_rule("source-abi")
def _source_abi(c: Candidate, facts: Facts) -> Iterator[tuple[str, str, str | None]]:
    if c.row.torch.origin != "wheel" and c.row.torchaudio.origin == "wheel":
        yield (
            "torchaudio",
            f"torch from {c.row.torch.origin} beside an official torchaudio wheel",
            "torchaudio: {from: source}",
        )


@_rule("source-tag")
def _source_tag(c: Candidate, facts: Facts) -> Iterator[tuple[str, str, str | None]]:
    if c.row.torchaudio.origin != "source" or c.row.torchaudio.ref:
        return
    if c.row.torch.version is None:
        if c.row.torchaudio.version is None:
            yield (
                "torch",
                "nobody says which torch the base has",
                "torch: {from: base, version: ...}, or a ref for torchaudio",
            )
        return
    lines = source.lines_for(c.row.torch.version, source.load())
    wanted = c.row.torchaudio.version
    if not lines:
        yield "torch", f"no torchaudio source is known for torch {c.row.torch.version}", "torch 2.0 or later"
    elif wanted and source.minor(wanted) not in {line.name for line in lines}:
        has = ", ".join(line.tag for line in lines)
        yield (
            "torchaudio",
            f"torchaudio {wanted} does not compile against torch {c.row.torch.version}",
            f"tags that do: {has}",
        )


@_rule("source-cuda")
def _source_cuda(c: Candidate, facts: Facts) -> Iterator[tuple[str, str, str | None]]:
    line = source_line(c)
    if line and source.too_new(c.row.cuda, line.max_cuda):
        yield (
            "cuda",
            f"torchaudio {line.tag} does not compile with CUDA {c.row.cuda}",
            f"CUDA up to {line.max_cuda}, or torch 2.9 and later",
        )


@_rule("source-sm")
def _source_sm(c: Candidate, facts: Facts) -> Iterator[tuple[str, str, str | None]]:
    if c.row.torchaudio.origin != "source" or c.tag == "cpu":
        return
    for sm in c.row.sm:
        plain = sm.removesuffix("+PTX").rstrip("af")
        first = facts.min_cuda_for_sm.get(plain)
        if first and Version(c.row.cuda) < Version(first):
            yield (
                "sm",
                f"the compiler of CUDA {c.row.cuda} does not know compute capability {plain}",
                f"CUDA {first} is the first that does",
            )
        gone = [
            since
            for since, archs in facts.dropped_sm.items()
            if plain in archs and Version(c.row.cuda) >= Version(since)
        ]
        if gone:
            yield (
                "sm",
                f"the compiler of CUDA {c.row.cuda} no longer makes code for compute capability {plain}",
                f"a CUDA before {gone[0]}",
            )


@_rule("toolkit")
def _toolkit(c: Candidate, facts: Facts) -> Iterator[tuple[str, str, str | None]]:
    if c.row.torchaudio.origin != "source" and c.row.torch.origin != "source":
        if c.row.toolkit:
            yield "toolkit", "a toolkit, and nothing of this row is compiled", "remove toolkit"
        return
    _, missing = recipe.toolkit_of(c.row, c.base, c.distro, c.toolkit)
    if missing:
        yield "toolkit", missing, "the nvidia base has every nvcc (BASE=nvidia), or name another toolkit: in the row"
    if c.row.torch.origin == "source" and c.base == "local" and c.tag != "cpu":
        yield "torch", "the local base has no cuDNN and no NCCL to compile torch with", "the nvidia base (BASE=nvidia)"


@_rule("source-torch")
def _source_torch(c: Candidate, facts: Facts) -> Iterator[tuple[str, str, str | None]]:
    if c.row.torch.origin != "source" or c.row.torch.version is None:
        return
    line = source.load().torch.get(source.minor(c.row.torch.version) or "")
    if line and line.max_sm and c.tag != "cpu":
        for sm in c.row.sm:
            if _numbers(sm) > _numbers(line.max_sm):
                yield (
                    "sm",
                    f"the build of torch {c.row.torch.version} does not know compute capability {sm}",
                    f"compute capabilities up to {line.max_sm}, or a newer torch",
                )
    if (
        line
        and c.tag != "cpu"
        and Version(c.row.cuda) > max(Version(v) for v in line.cuda)
        and (c.row.cuda.split(".")[0] != line.cuda[-1].split(".")[0])
    ):
        yield (
            "cuda",
            f"torch {c.row.torch.version} was not written for CUDA {c.row.cuda}",
            f"CUDA of that release: {', '.join(line.cuda)}",
        )


def source_line(c: Candidate) -> source.Line | None:
    """The torchaudio line that a source row compiles; None for a wheel row, or where the tag is the row's own."""
    if c.row.torchaudio.origin != "source" or c.row.torchaudio.ref or c.row.torch.version is None:
        return None
    lines = source.lines_for(c.row.torch.version, source.load())
    wanted = source.minor(c.row.torchaudio.version) if c.row.torchaudio.version else None
    return next((line for line in lines if wanted in (None, line.name)), None)


@_rule("torch-known")
def _torch_known(c: Candidate, facts: Facts) -> Iterator[tuple[str, str, str | None]]:
    if c.torch is None and c.row.torch.origin == "wheel":
        newest = max(facts.torch, key=Version)
        yield (
            "torch",
            f"torch {c.row.torch.version} is not among the releases known on {facts.collected}",
            f"torch {newest} is the newest known; if PyPI has it: torchpair facts add torch {c.row.torch.version}",
        )


@_rule("torchaudio-known")
def _torchaudio_known(c: Candidate, facts: Facts) -> Iterator[tuple[str, str, str | None]]:
    wanted = c.row.torchaudio.version
    if wanted and c.row.torchaudio.origin == "wheel" and wanted not in facts.torchaudio:
        best = f"torchaudio {c.torch.torchaudio[0]} goes with torch {c.torch.version}" if c.torch else None
        yield "torchaudio", f"torchaudio {wanted} is not among the releases known on {facts.collected}", best


@_rule("torchcodec-known")
def _torchcodec_known(c: Candidate, facts: Facts) -> Iterator[tuple[str, str, str | None]]:
    wanted = c.row.torchcodec.version
    if wanted and wanted not in facts.torchcodec:
        yield (
            "torchcodec",
            f"torchcodec {wanted} is not among the releases known on {facts.collected}",
            "leave torchcodec out: it is chosen by rule",
        )


@_rule("wheel-cuda")
def _wheel_cuda(c: Candidate, facts: Facts) -> Iterator[tuple[str, str, str | None]]:
    if c.torch is None or c.index is not None or c.row.torch.origin != "wheel":
        return
    arch = c.row.arch
    served = sorted({c.torch.pypi[arch]} | {t for t, v in c.torch.index.items() if v.arches and arch in v.arches})
    shown = ", ".join(cuda_family(t) for t in served)
    where = f" on {c.row.index}" if c.row.index else ""
    variant = c.torch.index.get(c.tag)
    status = f" ({variant.status})" if variant and variant.status else ""
    yield (
        "cuda",
        f"torch {c.torch.version} for CUDA {c.row.cuda} on {arch} is not published{where}{status}",
        f"its CUDA variants for {arch}: {shown}",
    )


@_rule("wheel-python")
def _wheel_python(c: Candidate, facts: Facts) -> Iterator[tuple[str, str, str | None]]:
    if c.torch and c.row.torch.origin == "wheel" and c.row.python not in c.torch.pythons[c.row.arch]:
        has = ", ".join(c.torch.pythons[c.row.arch])
        yield (
            "python",
            f"torch {c.torch.version} has no wheel for Python {c.row.python} on {c.row.arch}",
            f"its Pythons: {has}",
        )


@_rule("lockstep")
def _lockstep(c: Candidate, facts: Facts) -> Iterator[tuple[str, str, str | None]]:
    if c.torch and c.torchaudio and from_wheels(c) and c.torchaudio.torch not in (None, c.torch.version):
        yield (
            "torchaudio",
            f"torchaudio {c.torchaudio.version} is built for torch {c.torchaudio.torch}, not {c.torch.version}",
            f"torchaudio {c.torch.torchaudio[0]} goes with torch {c.torch.version}",
        )


@_rule("stable-abi")
def _stable_abi(c: Candidate, facts: Facts) -> Iterator[tuple[str, str, str | None]]:
    if (
        c.torch
        and c.torchaudio
        and from_wheels(c)
        and c.torchaudio.torch is None
        and Version(c.torch.version) < STABLE_ABI
    ):
        yield (
            "torchaudio",
            f"torchaudio {c.torchaudio.version} beside torch {c.torch.version} ends in undefined symbols",
            f"torchaudio {c.torch.torchaudio[0]} goes with torch {c.torch.version}",
        )


def torchaudio_variants(torchaudio: Torchaudio, facts: Facts, index: str, arch: str) -> tuple[str, ...]:
    """CUDA variants of a torchaudio on one index for one CPU architecture."""
    if index == "pypi":
        return (torchaudio.pypi[arch],) if arch in torchaudio.pypi else ()
    if torchaudio.index is not None:
        return tuple(t for t, arches in torchaudio.index.items() if arches and arch in arches)
    twin = facts.torch[torchaudio.torch or torchaudio.version]
    return tuple(t for t, v in twin.index.items() if v.arches and arch in v.arches)


@_rule("cuda-equality")
def _cuda_equality(c: Candidate, facts: Facts) -> Iterator[tuple[str, str, str | None]]:
    if c.torch is None or c.torchaudio is None or c.index is None or not from_wheels(c):
        return
    served = torchaudio_variants(c.torchaudio, facts, c.index, c.row.arch)
    if served and c.tag not in served:
        shown = ", ".join(cuda_family(t) for t in served)
        yield (
            "cuda",
            f"torch {c.torch.version} is a CUDA {cuda_family(c.tag)} build and torchaudio {c.torchaudio.version} there "
            f"is built with CUDA {shown}: import torchaudio raises RuntimeError",
            "take a torch of the same CUDA, or compile torchaudio: torchaudio: {from: source}",
        )


@_rule("torchaudio-served")
def _torchaudio_served(c: Candidate, facts: Facts) -> Iterator[tuple[str, str, str | None]]:
    if (
        c.torchaudio
        and c.index
        and from_wheels(c)
        and not torchaudio_variants(c.torchaudio, facts, c.index, c.row.arch)
    ):
        detail = f": {c.torchaudio.status}" if c.torchaudio.status else ""
        yield (
            "torchaudio",
            f"torchaudio {c.torchaudio.version} for {c.row.arch} is not served by {c.index}{detail}",
            "leave torchaudio out: it is chosen by rule",
        )


@_rule("torchaudio-python")
def _torchaudio_python(c: Candidate, facts: Facts) -> Iterator[tuple[str, str, str | None]]:
    if c.torchaudio and from_wheels(c) and c.row.python not in c.torchaudio.pythons:
        has = ", ".join(c.torchaudio.pythons)
        yield (
            "python",
            f"torchaudio {c.torchaudio.version} has no wheel for Python {c.row.python}",
            f"its Pythons: {has}",
        )


@lru_cache(maxsize=4096)
def _within(specifier: str, version: str) -> bool:
    return SpecifierSet(specifier).contains(version)


def torchcodec_fits(codec: Torchcodec, torch: Torch, tag: str, arch: str, python: str) -> str | None:
    """Why a torchcodec from PyPI does not fit, or None when it does."""
    if torch.torchcodec and not _within(torch.torchcodec, codec.version):
        return f"torch {torch.version} goes with torchcodec {torch.torchcodec}"
    if arch not in codec.pypi:
        return f"it has no {arch} wheel"
    if python not in codec.pythons:
        return f"it has no wheel for Python {python}"
    built = codec.pypi[arch]
    # A CPU build decodes audio on any torch; a CUDA build links libraries of its own CUDA major.
    if built != "cpu" and built[:-1] != tag[:-1]:
        return f"PyPI's build is for CUDA {cuda_family(built)} and links libraries of that major"
    return None


@_rule("torchcodec-pair")
def _torchcodec_pair(c: Candidate, facts: Facts) -> Iterator[tuple[str, str, str | None]]:
    if c.torch is None or c.row.torch.origin == "base":
        return
    if c.torchcodec:
        why = torchcodec_fits(c.torchcodec, c.torch, c.tag, c.row.arch, c.row.python)
        if why:
            yield (
                "torchcodec",
                f"torchcodec {c.torchcodec.version} does not fit: {why}",
                "leave torchcodec out: it is chosen by rule",
            )
    elif Version(c.torch.version) >= CODEC_SINCE and not c.row.torchcodec.version:
        yield (
            "torchcodec",
            f"no torchcodec on PyPI fits torch {c.torch.version}, CUDA {c.row.cuda}, Python {c.row.python} on "
            f"{c.row.arch}, and without one torchaudio.load raises ImportError",
            None,
        )


@_rule("image-exists")
def _image_exists(c: Candidate, facts: Facts) -> Iterator[tuple[str, str, str | None]]:
    if c.base != "nvidia" or c.tag == "cpu":
        return
    if c.toolkit is None:
        yield "cuda", f"no nvidia/cuda image of CUDA {c.row.cuda} is known", None
    elif c.row.distro and c.distro and c.distro.version not in c.toolkit.ubuntu:
        has = ", ".join("ubuntu" + u for u in c.toolkit.ubuntu)
        yield "distro", f"nvidia/cuda {c.toolkit.version} is not published for {c.row.distro}", f"published for: {has}"


@_rule("distro-known")
def _distro_known(c: Candidate, facts: Facts) -> Iterator[tuple[str, str, str | None]]:
    fitting = [
        d.name
        for d in facts.distros.values()
        if (d.name in SUITES if c.base == "local" else d.family == "ubuntu" or c.base != "nvidia")
    ]
    if c.row.distro and c.row.distro not in fitting:
        yield (
            "distro",
            f"{c.row.distro} is not a distribution of the base {c.base}",
            f"its distributions: {', '.join(fitting)}",
        )


@_rule("cuda-known")
def _cuda_known(c: Candidate, facts: Facts) -> Iterator[tuple[str, str, str | None]]:
    if c.tag != "cpu" and c.row.cuda.split(".")[0] not in facts.driver:
        known = ", ".join(facts.driver)
        yield "cuda", f"CUDA {c.row.cuda} is of a major that the facts do not know", f"known majors: {known}"


@_rule("local-python")
def _local_python(c: Candidate, facts: Facts) -> Iterator[tuple[str, str, str | None]]:
    if c.base != "local" or (c.row.distro and c.row.distro not in SUITES):
        return
    if c.distro is None or c.distro.python != c.row.python:
        suites = [d for d in facts.distros.values() if d.name in SUITES]
        has = ", ".join(f"{d.python} ({d.name})" for d in sorted(suites, key=lambda d: d.family))
        named = "".join(f"distro: {d.name} has it; " for d in suites if d.python == c.row.python)
        yield (
            "python",
            f"{c.distro.name} has Python {c.distro.python} of its own, not {c.row.python}"
            if c.distro
            else f"no Debian here has Python {c.row.python} of its own",
            f"{named}Pythons of the local base: {has}; the nvidia base has every Python (BASE=nvidia)",
        )


@_rule("glibc")
def _glibc(c: Candidate, facts: Facts) -> Iterator[tuple[str, str, str | None]]:
    if c.torch is None or c.distro is None or c.distro.glibc is None:
        return
    needed = c.torch.glibc[c.row.arch]
    if Version(c.distro.glibc) < Version(needed):
        yield (
            "distro",
            f"{c.distro.name} has glibc {c.distro.glibc}, and torch {c.torch.version} needs {needed}",
            "take a newer distribution",
        )


@_rule("sm-covered")
def _sm_covered(c: Candidate, facts: Facts) -> Iterator[tuple[str, str, str | None]]:
    if c.row.torch.origin != "wheel":
        return  # torch is compiled for what the row asks for, or is the base's own
    compiled = compiled_sm(c)
    for sm in c.row.sm:
        if c.tag == "cpu":
            yield "sm", f"a CPU build has no code for GPUs (asked for: {sm})", "take a CUDA, or remove sm"
        elif compiled is None and c.row.torchaudio.origin == "source":
            continue  # torchaudio is compiled for it, and the check looks whether torch serves it
        elif compiled is None:
            yield (
                "sm",
                f"nobody has verified which architectures torch {c.row.torch.version} for CUDA {c.row.cuda} holds "
                f"(asked for: {sm})",
                "take a release whose list is known",
            )
        elif not serves(compiled, sm, c.row.cuda, facts):
            yield (
                "sm",
                f"torch {c.row.torch.version} for CUDA {c.row.cuda} has no code for compute capability {sm}",
                f"compiled in: {', '.join(compiled)}",
            )
