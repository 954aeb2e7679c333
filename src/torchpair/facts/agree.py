"""What the entries of the facts say of each other: every contradiction is a FactsError with its line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from torchpair.facts import ARCHES, Facts, FactsError, Torch, cuda_family

Keys = tuple[str, ...]  # the keys that lead to a value


@dataclass(frozen=True)
class Spot:
    """A file and the line of every value in it, by its keys."""

    file: Path
    lines: dict[Keys, int]

    def refuse(self, path: Keys, what: str, why: str | None = None) -> NoReturn:
        """Raises FactsError with the line of the value, or of the nearest key above it."""
        near = path
        while near and near not in self.lines:
            near = near[:-1]
        line = f":{self.lines[near]}" if near in self.lines else ""
        raise FactsError(what, where=f"{self.file}{line}: {'.'.join(path)}", why=why)


def agree(facts: Facts, releases: Spot, cuda: Spot) -> None:
    """Raises FactsError at the first contradiction. The texts have passed their schema."""
    _sources(facts, releases, cuda)
    for torch in facts.torch.values():
        _torch(torch, facts, releases)
        _variants(torch, facts, releases)
    _torchaudios(facts, releases)
    _cuda(facts, cuda)


def _sources(facts: Facts, releases: Spot, cuda: Spot) -> None:
    def own(spot: Spot, path: tuple[str, ...], names: tuple[str, ...]) -> None:
        for name in names:
            if ("sources", name) not in spot.lines:
                spot.refuse(path, f"the source {name!r} is not explained under sources")

    for section, table in (("torch", facts.torch), ("torchaudio", facts.torchaudio), ("torchcodec", facts.torchcodec)):
        for version, entry in table.items():
            own(releases, (section, version, "sources"), entry.sources)
    for section, entries in (("toolkits", facts.toolkits), ("distros", facts.distros)):
        for name, one in entries.items():
            own(cuda, (section, name, "source"), (one.source or "",))


def _torch(torch: Torch, facts: Facts, spot: Spot) -> None:
    at = ("torch", torch.version)
    for key, table in (("pypi", torch.pypi), ("glibc", torch.glibc)):
        missing = [arch for arch in ARCHES if arch not in table]
        if missing:
            spot.refuse((*at, key), f"says nothing of {missing[0]}")
    for version in torch.torchaudio:
        audio = facts.torchaudio.get(version)
        if audio is None:
            spot.refuse((*at, "torchaudio"), f"torchaudio {version} is not in the torchaudio table")
        if audio.torch not in (None, torch.version):
            spot.refuse((*at, "torchaudio"), f"torchaudio {version} pins torch {audio.torch}, not {torch.version}")
        # Lockstep: both come from one build, so PyPI's torchaudio refuses PyPI's torch where the CUDA differs.
        for arch in ARCHES if audio.torch else ():
            if audio.pypi.get(arch) != torch.pypi[arch]:
                spot.refuse(
                    (*at, "pypi"),
                    f"{torch.pypi[arch]} for {arch}, and torchaudio {version} has {audio.pypi.get(arch)}",
                    "torch and the torchaudio that pins it are published for one CUDA",
                )
    if torch.torchcodec and not any(SpecifierSet(torch.torchcodec).contains(v) for v in facts.torchcodec):
        spot.refuse((*at, "torchcodec"), f"no torchcodec in the table satisfies {torch.torchcodec!r}")
    if torch.requires_python:
        allowed = SpecifierSet(torch.requires_python)
        for python in {p for arch in ARCHES for p in torch.pythons[arch]}:
            if not allowed.contains(python.rstrip("t")):
                spot.refuse((*at, "pythons"), f"{python} contradicts requires_python {torch.requires_python!r}")


def _variants(torch: Torch, facts: Facts, spot: Spot) -> None:
    for tag in (*torch.pypi.values(), *torch.index):
        if tag != "cpu" and cuda_family(tag).split(".")[0] not in facts.driver:
            spot.refuse(("torch", torch.version), f"{tag}: cuda.yaml has no driver for that CUDA major")
    for tag, variant in torch.index.items():
        at = ("torch", torch.version, "index", tag)
        if variant.arches is None and not variant.status:
            spot.refuse(at, "arches is null (not verified) and no status says why")
        for arch, compiled in variant.sm.items():
            if not compiled:
                continue
            if tag == "cpu":
                spot.refuse(at, "a CPU build has no code for GPUs")
            if variant.arches is not None and arch not in variant.arches:
                spot.refuse(at, f"architectures for {arch}, and no wheel for it")
            _compiled(compiled, Version(cuda_family(tag)), facts, spot, at)


def _compiled(compiled: tuple[str, ...], toolkit: Version, facts: Facts, spot: Spot, at: tuple[str, ...]) -> None:
    """No architecture that the toolkit does not know yet, or no longer."""
    for sm in (one.removesuffix("+PTX") for one in compiled):
        since = facts.min_cuda_for_sm.get(sm)
        if since and toolkit < Version(since):
            spot.refuse(at, f"CUDA {toolkit} cannot make code for {sm}", f"cuda.yaml: known since CUDA {since}")
        for dropped, gone in facts.dropped_sm.items():
            if sm in gone and toolkit >= Version(dropped):
                spot.refuse(at, f"CUDA {toolkit} cannot make code for {sm}", f"cuda.yaml: dropped in CUDA {dropped}")


def _torchaudios(facts: Facts, spot: Spot) -> None:
    for version, audio in facts.torchaudio.items():
        at = ("torchaudio", version)
        if audio.torch:
            twin = facts.torch.get(audio.torch)
            if twin is None:
                spot.refuse((*at, "torch"), f"torch {audio.torch} is not in the torch table")
            if twin.torchaudio != (version,):
                named = ", ".join(twin.torchaudio)
                spot.refuse((*at, "torch"), f"pins torch {audio.torch}, whose entry names torchaudio {named}")
        elif audio.index is None and version not in facts.torch:
            spot.refuse((*at, "index"), f"is missing, and there is no torch {version} to take it from")
        if not audio.pypi and not audio.status:
            spot.refuse((*at, "pypi"), "is null (not on PyPI) and no status says why")


def _cuda(facts: Facts, spot: Spot) -> None:
    for name, distro in facts.distros.items():
        if name != distro.family + distro.version:
            spot.refuse(("distros", name), f"is named {name}, and describes {distro.family}{distro.version}")
    for version, toolkit in facts.toolkits.items():
        for ubuntu in toolkit.ubuntu:
            if f"ubuntu{ubuntu}" not in facts.distros:
                spot.refuse(("toolkits", version, "ubuntu"), f"ubuntu{ubuntu} is not among distros")
        if toolkit.family.split(".")[0] not in facts.driver:
            spot.refuse(("toolkits", version), f"driver says nothing of CUDA {toolkit.family.split('.')[0]}")
    for family, architectures in facts.dropped_sm.items():
        for sm in architectures:
            since = facts.min_cuda_for_sm.get(sm)
            if since and Version(since) >= Version(family):
                spot.refuse(("min_cuda_for_sm", sm), f"known since CUDA {since}, and dropped in {family}")
