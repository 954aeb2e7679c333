"""The rules about what is compiled: torchaudio's source against a torch, torch itself, and the compiler for both."""

from __future__ import annotations

from collections.abc import Iterator

from packaging.version import Version

from torchpair import recipe, source
from torchpair.compat.candidate import Candidate, Predicate, entering
from torchpair.compat.gpus import numbers
from torchpair.facts import Facts

PREDICATES: dict[str, Predicate] = {}
_rule = entering(PREDICATES)


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
            if numbers(sm) > numbers(line.max_sm):
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
