"""The rules about wheels: which are published, and which of torch, torchaudio and torchcodec fit each other."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from torchpair.compat.candidate import Candidate, Predicate, entering, from_wheels
from torchpair.facts import Facts, Torch, Torchaudio, Torchcodec, cuda_family

STABLE_ABI = Version("2.11")  # the first torchaudio on torch's stable ABI (facts/releases.yaml)
CODEC_SINCE = Version("2.9")  # the first torchaudio whose load and save need torchcodec
CODEC_ALONE = Version("0.16")  # the first torchcodec that asks for no libpython3.X.so.1.0 (facts/releases.yaml)

PREDICATES: dict[str, Predicate] = {}
_rule = entering(PREDICATES)


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


def numpy_pin(c: Candidate) -> str:
    """What torch's wheel asks of numpy: "<2", or "" where either major works."""
    return "<2" if c.torch and c.torch.numpy == "<2" else ""
