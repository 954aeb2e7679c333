"""The rules about the base: that its image is published, and what its distribution and its CUDA must have."""

from __future__ import annotations

from collections.abc import Iterator

from packaging.version import Version

from torchpair.compat.candidate import Candidate, Predicate, entering
from torchpair.facts import Facts
from torchpair.suite import SUITES

PREDICATES: dict[str, Predicate] = {}
_rule = entering(PREDICATES)


@_rule("base-image")
def _base_image(c: Candidate, facts: Facts) -> Iterator[tuple[str, str, str | None]]:
    if c.row.torch.origin == "base" and c.base in ("nvidia", "local"):
        yield "base", "torch from the base, and no base image is named", "base: nvcr.io/nvidia/pytorch:24.01-py3, say"


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
