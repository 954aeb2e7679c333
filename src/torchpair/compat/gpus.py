"""The rule about GPUs: which compute capabilities a build's machine code and PTX serve."""

from __future__ import annotations

from collections.abc import Iterator

from packaging.version import Version

from torchpair.compat.candidate import Candidate, Predicate, entering
from torchpair.facts import Facts

PREDICATES: dict[str, Predicate] = {}
_rule = entering(PREDICATES)


def covers(compiled: tuple[str, ...], wanted: str) -> bool:
    """Whether a wheel with these architectures runs on a GPU of compute capability `wanted` ("8.9").

    Machine code runs on the same major and a minor at least as new; PTX ("12.0+PTX") also on anything newer.
    https://docs.nvidia.com/cuda/cuda-c-programming-guide/#compute-capabilities
    """
    major, minor = numbers(wanted)
    for arch in compiled:
        a_major, a_minor = numbers(arch)
        if a_major == major and a_minor <= minor:
            return True
        if arch.endswith("+PTX") and (a_major, a_minor) <= (major, minor):
            return True
    return False


def numbers(sm: str) -> tuple[int, int]:
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
