"""What could be built instead of a row: every combination that the facts allow, ranked by nearness. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from packaging.version import Version

from torchpair import source
from torchpair.errors import ResolveError
from torchpair.facts import Facts
from torchpair.matrix import Package, Row, named
from torchpair.resolve import resolve
from torchpair.search import covered, from_source, satisfiable
from torchpair.spec import Spec


@dataclass(frozen=True)
class Option:
    """A combination that resolves, and what it changes against the one asked for."""

    spec: Spec
    changes: tuple[str, ...]
    distance: float


def nearest(row: Row, facts: Facts, base: str, most: int = 3) -> list[Option]:
    """Combinations that resolve, best first: the fewest and smallest changes to what a row asks for."""
    where = row.base if row.base in ("nvidia", "local") else base
    options = [
        Option(spec, _changes(row, spec), _distance(row, spec))
        for spec in satisfiable(facts, row.arch, where)
        if all(covered(spec, sm, facts) for sm in row.sm)
    ]
    if row.torch.origin == "wheel":
        compiled = replace(row, torchaudio=Package(origin="source"), torchcodec=Package(), force=False, distro=None)
        options += _resolving([compiled], facts, where, row, "compile torchaudio")
    if row.sm and not options:
        options += _resolving(from_source(row.sm, row.arch, row.python, facts), facts, where, row, "compile torch")
    if not options:  # no one build serves all these GPUs: those that serve most of them
        options = [_lacking(row, spec, facts) for spec in satisfiable(facts, row.arch, where)]
    options.sort(key=lambda o: (o.distance, [-n for n in Version(o.spec.torch).release], o.spec.index != "pypi"))
    best: list[Option] = []
    for option in options:
        # Two Pythons of one answer are one answer.
        if all((option.spec.torch, option.spec.cuda) != (b.spec.torch, b.spec.cuda) for b in best):
            best.append(option)
    return best[:most]


def _lacking(row: Row, spec: Spec, facts: Facts) -> Option:
    without = tuple(f"no code for {sm}" for sm in row.sm if not covered(spec, sm, facts))
    return Option(spec, (*without, *_changes(row, spec)), 20.0 * len(without) + _distance(row, spec))


def _resolving(rows: list[Row], facts: Facts, base: str, asked: Row, what: str) -> list[Option]:
    found = []
    for row in rows:
        try:
            spec = resolve(named(row), facts, base)
        except ResolveError:
            continue
        found.append(Option(spec, (what, *_changes(asked, spec)), 2.0 + _distance(asked, spec)))
    return found


def _changes(row: Row, spec: Spec) -> tuple[str, ...]:
    pairs = (
        ("torch", row.torch.version, spec.torch),
        ("cuda", row.cuda, spec.cuda),
        ("python", row.python, spec.python),
        # What a row leaves open changes nothing by being chosen.
        *((name, old, new) for name, old, new in _chosen(row, spec) if old),
    )
    return tuple(f"{name} {new or 'none'} instead of {old}" for name, old, new in pairs if old != new)


def _chosen(row: Row, spec: Spec) -> tuple[tuple[str, str | None, str | None], ...]:
    return (
        ("torchaudio", row.torchaudio.version, spec.torchaudio),
        ("torchcodec", row.torchcodec.version, spec.torchcodec),
        ("distro", row.distro, spec.distro),
        ("index", row.index, spec.index if spec.index != "none" else row.index),
    )


def _distance(row: Row, spec: Spec) -> float:
    """How far a combination is from the one asked for: a CUDA major weighs most, a patch release least."""
    far = 0.0
    if row.torch.version and row.torch.version != spec.torch:
        match = source.minor(row.torch.version)
        if match is None:
            far += 5
        else:
            (old_major, old_minor), (new_major, new_minor) = (Version(v).release[:2] for v in (match, spec.torch))
            minors = abs(20 * (old_major - new_major) + old_minor - new_minor)  # 1.13 was the last before 2.0
            far += 0.5 if minors == 0 else min(minors, 9.0)
    if row.cuda != spec.cuda:
        if "cpu" in (row.cuda, spec.cuda):
            far += 6
        else:
            old, new = Version(row.cuda), Version(spec.cuda)
            far += 1.0 if old.major == new.major else 3.0
    far += 0.25 * sum(1 for _, old, new in _chosen(row, spec) if old and old != new)
    if row.python != spec.python:
        old_python, new_python = (int(p.removesuffix("t").split(".")[1]) for p in (row.python, spec.python))
        far += abs(old_python - new_python) + (0.5 if row.python.endswith("t") != spec.python.endswith("t") else 0)
    return far
