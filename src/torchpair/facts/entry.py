"""The entry of a release in releases.yaml, written from what its wheels say of themselves."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from packaging.metadata import RawMetadata, parse_email
from packaging.requirements import Requirement
from packaging.version import Version

from torchpair.errors import TorchpairError
from torchpair.facts import ARCHES, RELEASES, Facts, FactsError, Torch, cuda_tag
from torchpair.facts.architectures import architectures
from torchpair.facts.listing import Release, Wheel
from torchpair.facts.pypi import Fetch, PypiError, members

# From here on torchaudio stands still and torch keeps its ABI for it (facts/NOTES: two regimes of compatibility).
STABLE = Version("2.12")
# manylinux1 was only a label: releases that promise less than this need it all the same (head of releases.yaml).
LEAST_GLIBC = Version("2.17")


@dataclass(frozen=True)
class Built:
    """What one wheel says of itself. pins: its requirements on Linux, by name; cuda: "cu132" or "cpu"; sm: torch's GPU
    architectures, None where it does not say."""

    cuda: str
    pins: Mapping[str, Requirement]
    requires_python: str | None
    sm: tuple[str, ...] | None = None

    def exactly(self, prefix: str) -> str | None:
        """The version that a requirement of this name's beginning pins."""
        for name, requirement in self.pins.items():
            for one in requirement.specifier if name.startswith(prefix) else ():
                if one.operator == "==":
                    return one.version
        return None


def built(package: str, release: Release, wheel: Wheel, fetch: Fetch) -> Built:
    """What a wheel says of itself, read from METADATA and version.py in it, and torch's from a library too.

    Raises PypiError.
    """
    wanted = re.compile(rf"{package}-[^/]+\.dist-info/METADATA|{package}/version\.py", re.IGNORECASE)
    texts = members(wheel.url, wanted, fetch)
    metadata: RawMetadata = {}
    for name, text in texts.items():
        if name.endswith("METADATA"):
            metadata = parse_email(text)[0]
    says = texts.get(f"{package}/version.py", "")
    label = re.search(r"""^__version__\s*=\s*["']([0-9][0-9A-Za-z.+]*)["']""", says, re.MULTILINE)
    where = f"{package} {release.version} for {wheel.arch}"
    if not metadata or not label:
        raise PypiError(f"{where} has no {'version.py' if metadata else 'METADATA'} that can be read")
    pythons = sorted({python.rstrip("t") for python in release.pythons(wheel.arch)})
    try:
        itself = (Version(metadata.get("version", "")).public, Version(label[1]).public)
        asked = [Requirement(one) for one in metadata.get("requires_dist", [])]
        # For any of its Pythons: torch 2.5 to 2.10 ask for setuptools from 3.12 on, and that belongs in the entry.
        pins = {r.name: r for r in asked if r.marker is None or any(_holds(r, wheel.arch, p) for p in pythons)}
    except (ValueError, KeyError) as error:  # what packaging raises for a version, requirement or marker that is none
        raise PypiError(f"{where} describes itself in a way that cannot be read", why=str(error)[:200]) from error
    if any(Version(one) != Version(release.version) for one in itself):
        raise PypiError(f"{where} calls itself {' and '.join(sorted(set(itself)))}")
    cuda = re.search(r"""^cuda\b[^=]*=\s*["'](\d+\.\d)["']""", says, re.MULTILINE)  # torch's own; no label on PyPI once
    tag = label[1].partition("+")[2] or (cuda_tag(cuda[1]) if cuda else "cpu")
    sm = architectures(wheel.url, fetch) if package == "torch" else None
    found = Built(tag, pins, metadata.get("requires_python"), sm)
    toolkit = found.exactly("cuda-toolkit") or found.exactly("nvidia-cuda-runtime")
    if package == "torch" and toolkit and cuda_tag(".".join(toolkit.split(".")[:2])) != tag:
        raise PypiError(f"{where} is labelled {tag} and asks for CUDA {toolkit}")
    return found


def _holds(requirement: Requirement, arch: str, python: str) -> bool:
    environment = {
        "platform_machine": arch, "platform_system": "Linux", "sys_platform": "linux", "os_name": "posix",
        "python_version": python, "python_full_version": python + ".0",
        "platform_python_implementation": "CPython", "implementation_name": "cpython", "extra": "",
    }  # fmt: skip
    return requirement.marker is not None and requirement.marker.evaluate(environment)


def lines(package: str, release: Release, built: Mapping[str, Built], facts: Facts, status: str) -> list[str]:
    """The lines of the entry. built: by CPU architecture. Raises TorchpairError where the wheels are at odds."""
    make = {"torch": _torch_entry, "torchaudio": _torchaudio_entry, "torchcodec": _torchcodec_entry}[package]
    return [f"  {_quote(release.version)}:", *(f"    {line}" for line in make(release, built, facts, status))]


def _quote(text: str) -> str:
    # A JSON string is a YAML string in double quotes. https://yaml.org/spec/1.2.2/#12-introduction-to-yaml
    return json.dumps(text, ensure_ascii=True)


def _listed(words: Sequence[str]) -> str:
    return "[" + ", ".join(_quote(word) for word in words) + "]"


def _pypi(built: Mapping[str, Built]) -> str:
    return "pypi: {" + ", ".join(f"{arch}: {_quote(one.cuda)}" for arch, one in built.items()) + "}"


def _torch_entry(release: Release, built: Mapping[str, Built], facts: Facts, status: str) -> list[str]:
    like = _neighbour(release, facts)
    x86, arm = (release.pythons(arch) for arch in ARCHES)
    wheel = built["x86_64"]
    glibc = {arch: str(max(Version(release.glibc(arch) or "2.17"), LEAST_GLIBC)) for arch in ARCHES}
    lines = [f"torchaudio: {_listed(like.torchaudio)}", f"torchcodec: {_quote(like.torchcodec or '')}"]
    lines += [f"pythons: {_listed(x86)}"] + ([f"pythons_aarch64: {_listed(arm)}"] if arm != x86 else [])
    lines += [_pypi(built), "index:"]
    for tag in dict.fromkeys(one.cuda for one in built.values()):
        sm = {arch: _listed(one.sm) for arch, one in built.items() if one.cuda == tag and one.sm}
        own = f"sm: {sm.get('x86_64', 'null')}" + (f", sm_aarch64: {sm['aarch64']}" if "aarch64" in sm else "")
        lines.append(f'  {tag}: {{arches: null, status: "PyPI has it; PyTorch\'s own index was not asked", {own}}}')
    lines.append("glibc: {" + ", ".join(f"{arch}: {_quote(one)}" for arch, one in glibc.items()) + "}")
    for key, prefix in (("cudnn", "nvidia-cudnn"), ("nccl", "nvidia-nccl")):
        pinned = wheel.exactly(prefix)
        lines += [f"{key}: {_quote(pinned)}"] if pinned else []
    if "triton" in wheel.pins and wheel.pins["triton"].specifier:
        lines.append(f"triton: {_quote(str(wheel.pins['triton'].specifier))}")
    if "setuptools" in wheel.pins:
        lines.append(f"setuptools: {_quote(str(wheel.pins['setuptools']))}")
    if wheel.requires_python:
        lines.append(f"requires_python: {_quote(wheel.requires_python)}")
    lines += [f"numpy: {_quote(like.numpy)}", 'sources: ["wheels"]']
    note = f"torchaudio, torchcodec and numpy as for torch {like.version}, by rule; not tried"
    unsure = ("" if all(one.sm for one in built.values()) else "sm and ") + "index variants not verified"
    return [*lines, f"status: {_quote(status + unsure)}", "notes:", f"  - {_quote(note)}"]


def _neighbour(release: Release, facts: Facts) -> Torch:
    """The newest torch before this one whose torchaudio is bound by no pin."""
    older = [t for v, t in facts.torch.items() if STABLE <= Version(v) < Version(release.version)]
    if not older:
        raise TorchpairError(f"the facts know no torch from {STABLE} on that is older than {release.version}")
    return max(older, key=lambda torch: Version(torch.version))


def _torchaudio_entry(release: Release, built: Mapping[str, Built], facts: Facts, status: str) -> list[str]:
    pinned = {one.exactly("torch") for one in built.values()}
    if len(pinned) != 1:
        raise PypiError(f"the wheels of torchaudio {release.version} pin different torch releases")
    (torch,) = pinned
    return [
        f"torch: {_quote(torch) if torch else 'null'}",
        "cuda_check: exact",  # the stricter of the two: a wrong "major" would publish what cannot be imported
        f"pythons: {_listed(_common(release))}",
        _pypi(built),
        *([] if torch else ["index: {}"]),
        'sources: ["wheels"]',
        f"status: {_quote(status + 'cuda_check and index variants not verified; no torch entry names it yet')}",
    ]


def _torchcodec_entry(release: Release, built: Mapping[str, Built], facts: Facts, status: str) -> list[str]:
    return [
        f"pythons: {_listed(_common(release))}",
        _pypi(built),
        'sources: ["wheels"]',
        f"status: {_quote(status + 'which torch it fits follows from the specifiers in the torch table')}",
    ]


def _common(release: Release) -> list[str]:
    """The Pythons that every architecture has: the tables of torchaudio and torchcodec have one list for both."""
    first = release.pythons(release.arches[0])
    return [python for python in first if all(python in release.pythons(arch) for arch in release.arches)]


def inserted(text: str, section: str, version: Version, entry: Sequence[str]) -> str:
    """The text with an entry at its place in a section, oldest first; all else is as it was."""
    lines = text.split("\n")
    start = next((n for n, line in enumerate(lines) if re.match(rf"{section}:\s*(#|$)", line)), None)
    if start is None:
        raise FactsError(f"no line {section!r} to write below", where=RELEASES)
    end = next((n for n in range(start + 1, len(lines)) if re.match(r"[A-Za-z]", lines[n])), len(lines))
    at = None
    for number in range(start + 1, end):
        key = re.match(r'  "([0-9][0-9A-Za-z.]*)":', lines[number])
        if key and Version(key[1]) > version:
            at = number
            break
    if at is None:
        at = end
        while at > start + 1 and (not lines[at - 1].strip() or lines[at - 1].startswith("#")):
            at -= 1
    return "\n".join([*lines[:at], *entry, *lines[at:]])
