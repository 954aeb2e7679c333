"""The rules: what cannot work, why, on what evidence, and what to do instead.

A rule is data (`RULES`); beside it stands a small predicate over a `Candidate`, a row with every choice made as well
as the facts allow. The predicates stand by what they are about: wheels, what is compiled, GPUs, bases. resolve.py makes
the choices; nothing here chooses.
"""

from __future__ import annotations

from dataclasses import dataclass

from torchpair.compat import bases, compiling, gpus, wheels
from torchpair.compat.candidate import Candidate, Predicate
from torchpair.facts import Facts


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

_PREDICATES: dict[str, Predicate] = {
    **wheels.PREDICATES,
    **compiling.PREDICATES,
    **gpus.PREDICATES,
    **bases.PREDICATES,
}
assert _PREDICATES.keys() <= RULES.keys()


def problems(candidate: Candidate, facts: Facts) -> tuple[Problem, ...]:
    """Every rule that the candidate breaks, in the order of RULES."""
    return tuple(
        Problem(RULES[rule_id], key, detail, remedy)
        for rule_id in RULES
        if rule_id in _PREDICATES
        for key, detail, remedy in _PREDICATES[rule_id](candidate, facts)
    )
