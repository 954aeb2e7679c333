"""What could be built for a wish: every combination that the facts allow, ranked by use. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Protocol

from packaging.version import Version

from torchpair import compat, source
from torchpair.compat.gpus import covers, serves
from torchpair.errors import ResolveError, TorchpairError
from torchpair.facts import Facts, cuda_family
from torchpair.matrix import Package, Row, named
from torchpair.resolve import candidate, resolve
from torchpair.spec import Spec

# GPT-SoVITS, best first, as its operations were tried on each pair (2.8.0: the last torchaudio that decodes by itself;
# 2.10.0 with torchcodec; 2.5.1 is its README's, but current transformers refuse its `.bin` weights below torch 2.6).
GPT_SOVITS = ("2.8.0", "2.10.0", "2.9.1", "2.7.1", "2.6.0")
GPT_SOVITS_PYTHONS = ("3.10", "3.11", "3.12")
PROFILES = ("gpt-sovits",)


class Build(Protocol):
    """What decides where a torch runs: of a spec that could be built, or of an image that was published."""

    @property
    def torch(self) -> str: ...
    @property
    def cuda(self) -> str: ...
    @property
    def python(self) -> str: ...
    @property
    def sm(self) -> tuple[str, ...] | None: ...
    @property
    def min_driver(self) -> str | None: ...


@dataclass(frozen=True)
class Wish:
    """What a user has, and wants; None: no matter. torch: a version, or its beginning ("2.8")."""

    sm: tuple[str, ...] = ()
    driver: str | None = None
    python: str | None = None
    cuda: str | None = None
    arch: str = "x86_64"
    profile: str | None = None
    torch: str | None = None


def wheel_rows(facts: Facts, arch: str) -> Iterator[Row]:
    """Every combination of torch, CUDA and Python that torch is published in for a CPU architecture."""
    for version, torch in facts.torch.items():
        served = [torch.pypi[arch], *(t for t, v in torch.index.items() if v.arches and arch in v.arches)]
        for tag in dict.fromkeys(served):
            for python in torch.pythons[arch]:
                yield named(Row("", Package(version), cuda_family(tag), python, arch=arch))


@lru_cache(maxsize=8)
def _satisfiable(arch: str, base: str, collected: str) -> tuple[Spec, ...]:
    from torchpair import facts as data

    facts = data.load()
    found = []
    for row in wheel_rows(facts, arch):
        c = candidate(row, facts, base)
        if not compat.problems(c, facts):
            found.append(resolve(row, facts, base))
    return tuple(found)


def satisfiable(facts: Facts, arch: str = "x86_64", base: str = "nvidia") -> tuple[Spec, ...]:
    """Every combination of wheels that resolves on a base. `facts` is the loaded set: the answer is kept for it."""
    return _satisfiable(arch, base, facts.collected)


def from_source(sm: tuple[str, ...], arch: str, python: str, facts: Facts) -> list[Row]:
    """torch and torchaudio compiled for architectures that no wheel serves: the newest torch and CUDA first.

    Only a CUDA that upstream itself builds that torch with.
    """
    built = Package(origin="source")
    return [
        Row("", Package(version, "source"), cuda_family(tag), python, built, sm=sm, arch=arch)
        for version, torch in sorted(facts.torch.items(), key=lambda item: Version(item[0]), reverse=True)
        for tag in sorted({t for t, v in torch.index.items() if v.arches} - {"cpu"}, reverse=True)
    ]


def covered(spec: Build, sm: str, facts: Facts) -> bool:
    """Whether a spec's torch has code for a compute capability, as far as anybody verified."""
    return bool(spec.sm) and serves(spec.sm or (), sm, spec.cuda, facts)


def driver_needed(spec: Build, sms: tuple[str, ...], facts: Facts) -> str | None:
    """The lowest driver for a spec on these GPUs; None for a CPU build.

    Where only PTX serves a GPU, the driver must compile it: that takes the driver of the very toolkit.
    """
    if spec.min_driver is None:
        return None
    floor = facts.driver.get(spec.cuda.split(".")[0], spec.min_driver)
    lowest = max([spec.min_driver, floor, *(d for sm in sms if (d := driver_of_gpu(sm, facts)))], key=Version)
    machine_code = tuple(sm for sm in spec.sm or () if not sm.endswith("+PTX"))
    also = tuple(sm.removesuffix("+PTX") for sm in spec.sm or () if sm.endswith("+PTX"))
    if all(covers(machine_code + also, sm) for sm in sms):
        return lowest
    own = [t.toolkit_driver for t in facts.toolkits.values() if t.family == spec.cuda and t.toolkit_driver]
    return max([lowest, *own], key=Version)


def driver_of_gpu(sm: str, facts: Facts) -> str | None:
    """The first driver that knows a GPU: that of the first CUDA which knows it [inferred]; None for older GPUs."""
    first = facts.min_cuda_for_sm.get(sm)
    drivers = [t.toolkit_driver for t in facts.toolkits.values() if t.family == first and t.toolkit_driver]
    return min(drivers, key=Version, default=None)


def solve(wish: Wish, facts: Facts, base: str = "nvidia", most: int = 5) -> list[Spec]:
    """The best combinations for a wish, best first; [] when none fits."""
    fitting = [
        spec
        for spec in satisfiable(facts, wish.arch, base)
        if not unlike(wish, spec)
        and (spec.cuda == "cpu" or all(covered(spec, sm, facts) for sm in wish.sm))
        and driver_does(wish, spec, facts)
        # Who names a GPU or a driver wants the GPU used.
        and (spec.cuda != "cpu" or wish.cuda == "cpu" or not (wish.sm or wish.driver))
    ]
    fitting.sort(key=lambda spec: preference(wish.profile, spec, elsewhere=spec.index != "pypi"))
    best: list[Spec] = []
    for spec in fitting:
        if wish.python or all((spec.torch, spec.cuda) != (b.torch, b.cuda) for b in best):
            best.append(spec)
    return best[:most]


def unlike(wish: Wish, build: Build) -> tuple[str, ...]:
    """In what a build is not what was wished for: "torch", "cuda", "python", "profile". The machine is left out."""
    named = Version(build.torch).release[: len(Version(wish.torch).release)] if wish.torch else ()
    return tuple(
        key
        for key, fits in (
            ("torch", wish.torch is None or named == Version(wish.torch).release),
            ("cuda", wish.cuda in (None, build.cuda)),
            ("python", wish.python in (None, build.python)),
            (
                "profile",
                wish.profile != "gpt-sovits"
                or (Version(build.torch).public in GPT_SOVITS and build.python in GPT_SOVITS_PYTHONS),
            ),
        )
        if not fits
    )


def driver_does(wish: Wish, spec: Build, facts: Facts) -> bool:
    """Whether the driver runs a build on these GPUs; a driver that nobody named does."""
    needed = driver_needed(spec, wish.sm, facts)
    return wish.driver is None or needed is None or Version(wish.driver) >= _whole(needed, wish.driver)


def _whole(needed: str, given: str) -> Version:
    """A driver is often told by its branch alone ("570"): then only the branch is compared."""
    return Version(needed.split(".")[0]) if "." not in given else Version(needed)


def preference(profile: str | None, build: Build, elsewhere: bool = False) -> tuple[object, ...]:
    """What sorts builds, the best first. elsewhere: its wheels are not PyPI's. A profile's build must be one of its."""
    use = GPT_SOVITS.index(Version(build.torch).public) if profile == "gpt-sovits" else 0
    cpu = build.cuda == "cpu"
    cuda = (0, 0) if cpu else Version(build.cuda).release
    # A GPU that is there is used; then the newest torch; then PyPI, whose wheels all can get; the Python last:
    # 3.11 and 3.12 have wheels of everything.
    python = {"3.12": 0, "3.11": 1, "3.13": 2, "3.10": 3}.get(build.python, 4)
    torch = tuple(-n for n in Version(build.torch).release)
    return (use, cpu, torch, elsewhere, tuple(-n for n in cuda), python)


def gpu(text: str) -> tuple[str, str | None]:
    """Compute capability and, where there is but one, CPU architecture of a GPU: "sm_120", "12.0" or "RTX 5090".

    Raises TorchpairError for a name that is not known.
    """
    plain = " ".join(text.lower().replace("_", " ").replace("-", " ").split())
    number = re.fullmatch(r"(?:sm ?(\d{1,2})\.?|(\d{1,2})\.)(\d)", plain, re.ASCII)
    if number:
        return f"{int(number[1] or number[2])}.{number[3]}", None
    for word in ("nvidia", "geforce", "tesla", "quadro"):
        plain = plain.replace(word, "").strip()
    gpus = source.load().gpus
    match = max((g for g in gpus.values() if _is(g.name.lower(), plain)), key=lambda g: len(g.name), default=None)
    if match is None:
        raise TorchpairError(
            f"no GPU {text!r} is known",
            why=f"known: {', '.join(gpus)}",
            remedy="give its compute capability, as nvidia-smi --query-gpu=compute_cap tells: --gpu sm_86",
        )
    return match.sm, match.arch


def _is(name: str, gpu: str) -> bool:
    """Whether a GPU goes by a name of the table: "a10" is the A10G too, and not the A1000.

    "rtx 50" is the RTX 5090, and not the RTX 5000 Ada, which is of another generation.
    """
    names = [name, name.removesuffix("00") + "[1-9]0"] if re.match("[gr]tx ", name) else [name]
    return any(re.match(one.replace(" ", " ?") + r"(?!\d)", gpu) for one in names)


def relaxed(wish: Wish, facts: Facts, base: str, most: int = 3) -> list[tuple[Spec, tuple[str, ...]]]:
    """What would fit if one thing were otherwise, for a wish that nothing fits: never nothing."""
    found: list[tuple[Spec, tuple[str, ...]]] = []
    anything = replace(wish, python=None, cuda=None, profile=None, driver=None, torch=None)
    for change, words in (
        (replace(wish, torch=None), "another torch"),
        (replace(wish, python=None), "another Python"),
        (replace(wish, cuda=None), "another CUDA"),
        (replace(wish, profile=None), f"not for {wish.profile}"),
        (replace(wish, driver=None), "a newer driver"),
        (replace(wish, python=None, cuda=None, profile=None, torch=None), "another torch, Python or CUDA"),
        (anything, "another torch, Python or CUDA"),
    ):
        if change == wish or (found and change == anything):
            continue
        for spec in solve(change, facts, base, most=1):
            driver = driver_needed(spec, wish.sm, facts)
            more = (f"driver {driver} or newer",) if change.driver is None and wish.driver and driver else ()
            if all(spec != old for old, _ in found):
                found.append((spec, (words, *more)))
    if not found:
        python = wish.python or ("3.13" if base == "local" else "3.12")
        compiled = []
        for row in from_source(wish.sm, wish.arch, python, facts):
            with suppress(ResolveError):
                compiled.append(resolve(named(row), facts, base))
        compiled.sort(key=lambda s: (not driver_does(wish, s, facts), wish.cuda not in (None, s.cuda)))
        for spec in compiled[:1]:
            driver = driver_needed(spec, wish.sm, facts)
            more = () if driver_does(wish, spec, facts) else (f"driver {driver} or newer",)
            found.append((spec, ("torch and torchaudio compiled from source", *more)))
    if not found:  # nothing serves these GPUs, from source neither: the CPU does
        cpu = solve(Wish(arch=wish.arch, cuda="cpu", python=wish.python), facts, base, most=1)
        found += [
            (spec, ("on the CPU",)) for spec in cpu or solve(Wish(arch=wish.arch, cuda="cpu"), facts, base, most=1)
        ]
    return found[:most]


def words(wish: Wish, found: list[Spec], instead: list[tuple[Spec, tuple[str, ...]]], facts: Facts) -> list[str]:
    """An answer for reading."""
    gpus = ", ".join(f"compute capability {sm}" for sm in wish.sm) or "any GPU"
    asked = [gpus, wish.arch]
    asked += [f"driver {wish.driver}"] if wish.driver else []
    asked += [f"torch {wish.torch}"] if wish.torch else []
    asked += [f"Python {wish.python}"] if wish.python else []
    asked += [f"CUDA {wish.cuda}"] if wish.cuda else []
    asked += [f"for {wish.profile}"] if wish.profile else []
    out = [f"asked: {', '.join(asked)}"]

    def line(spec: Spec, more: str) -> list[str]:
        codec = f", torchcodec {spec.torchcodec}" if spec.torchcodec else ""
        needed = driver_needed(spec, wish.sm, facts)
        driver = f"driver {needed} or newer" if needed else "no driver"
        where = {"pypi": "from PyPI", "pytorch": "from PyTorch's own index"}.get(spec.index, "compiled from source")
        return [
            f"  torch {spec.torch}, torchaudio {spec.torchaudio}{codec}, CUDA {spec.cuda}, Python {spec.python}",
            f"      {where}; {driver}{more}",
        ]

    if found:
        out += ["best first:"] + [text for spec in found for text in line(spec, "")]
    else:
        out += ["nothing fits that. What would:"]
        out += [text for spec, changed in instead for text in line(spec, "; " + ", ".join(changed))]
    best = found[0] if found else instead[0][0]
    from torchpair.explain import yaml_row

    return [*out, "in matrix.yaml:", f"  {yaml_row(best)}"]
