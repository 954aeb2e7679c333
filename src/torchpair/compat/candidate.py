"""A row with every choice made, and the form of a rule's predicate over it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torchpair.facts import Distro, Facts, Toolkit, Torch, Torchaudio, Torchcodec
from torchpair.matrix import Row


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


def from_wheels(c: Candidate) -> bool:
    return c.row.torch.origin == "wheel" and c.row.torchaudio.origin == "wheel"


def from_source(row: Row) -> bool:
    """Whether anything of a row is compiled, or is the base's own."""
    return row.torch.origin != "wheel" or row.torchaudio.origin == "source"


# Yields the key of the row to look at, what is wrong and what to do instead, once for each thing that breaks the rule.
Predicate = Callable[[Candidate, Facts], Iterator[tuple[str, str, str | None]]]


def entering(table: dict[str, Predicate]) -> Callable[[str], Callable[[Predicate], Predicate]]:
    """A decorator that enters a predicate into a table, by the id of its rule in compat.RULES."""

    def rule(rule_id: str) -> Callable[[Predicate], Predicate]:
        def add(predicate: Predicate) -> Predicate:
            table[rule_id] = predicate
            return predicate

        return add

    return rule
