"""The figure of docs/compatibility.md is made of the facts, and of today's."""

from __future__ import annotations

import importlib.util
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from types import ModuleType

import pytest

from torchpair.facts import Facts

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def figures() -> ModuleType:
    spec = importlib.util.spec_from_file_location("figures", DOCS / "figures.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_committed_figure_is_what_the_facts_give(figures: ModuleType, facts: Facts) -> None:
    committed = (DOCS / "compatibility.svg").read_text(encoding="utf-8")
    assert figures.compatibility(facts) == committed, "make figures"
    ElementTree.fromstring(committed)


@pytest.mark.parametrize(
    ("torch", "torchaudio", "kind"),
    [
        ("2.0", "2.0", "wheels"), ("2.8", "2.8", "wheels"), ("2.8", "2.7", "none"), ("2.10", "2.11", "none"),
        ("2.10", "2.9", "compiled"), ("2.14", "2.11", "wheels"), ("2.15", "2.11", "compiled"),
    ],
)  # fmt: skip
def test_a_pair_of_release_lines(figures: ModuleType, facts: Facts, torch: str, torchaudio: str, kind: str) -> None:
    assert figures.pair(facts, torch, torchaudio) == kind
