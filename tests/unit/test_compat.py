"""The rules: each refuses what it is for, and lets the nearest neighbour pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from torchpair import compat
from torchpair.compat import RULES, covers
from torchpair.facts import Facts
from torchpair.matrix import Row
from torchpair.resolve import candidate

EIGHT = 'torch: "2.8.0", cuda: "12.8", python: "3.11"'
NINE = 'torch: "2.9.1", cuda: "12.8", python: "3.11"'

# rule, base, a row that it refuses first, a neighbour that passes
TABLE = [
    ("source-build", "nvidia", 'torch: {version: "2.8.0", from: source}, cuda: "12.8", python: "3.11"', EIGHT),
    ("source-build", "nvidia", EIGHT + ", torchaudio: {from: source}", EIGHT + ", torchaudio: {from: wheel}"),
    ("source-build", "nvidia", 'torch: {from: base}, cuda: "12.8", python: "3.11", base: a/b', EIGHT + ", base: a/b"),
    ("torch-known", "nvidia", 'torch: "2.8.9", cuda: "12.8", python: "3.11"', EIGHT),
    ("torchaudio-known", "nvidia", EIGHT + ', torchaudio: "2.8.9"', EIGHT + ', torchaudio: "2.8.0"'),
    ("torchcodec-known", "nvidia", NINE + ', torchcodec: "0.9.9"', NINE + ', torchcodec: "0.9.0"'),
    ("wheel-cuda", "nvidia", 'torch: "2.8.0", cuda: "13.0", python: "3.11"', 'torch: "2.8.0", cuda: "12.9", python: "3.11"'),
    ("wheel-cuda", "nvidia", 'torch: "2.8.0", cuda: "12.6", python: "3.11", index: pypi', 'torch: "2.8.0", cuda: "12.6", python: "3.11", index: pytorch'),
    ("wheel-cuda", "nvidia", EIGHT + ", arch: aarch64", 'torch: "2.8.0", cuda: "12.9", python: "3.11", arch: aarch64'),
    ("wheel-cuda", "nvidia", 'torch: "2.11.0", cuda: "12.9", python: "3.11"', 'torch: "2.11.0", cuda: "12.8", python: "3.11"'),
    ("wheel-python", "nvidia", 'torch: "2.8.0", cuda: "12.8", python: "3.14"', 'torch: "2.8.0", cuda: "12.8", python: "3.13"'),
    ("wheel-python", "nvidia", 'torch: "2.15.0", cuda: "13.2", python: "3.10"', 'torch: "2.14.1", cuda: "13.0", python: "3.10"'),
    ("lockstep", "nvidia", EIGHT + ', torchaudio: "2.7.1"', EIGHT + ', torchaudio: "2.8.0"'),
    ("lockstep", "nvidia", 'torch: "2.12.0", cuda: "13.0", python: "3.11", torchaudio: "2.10.0"', 'torch: "2.12.0", cuda: "13.0", python: "3.11"'),
    (
        "stable-abi", "nvidia", 'torch: "2.10.0", cuda: "13.0", python: "3.11", index: pytorch, torchaudio: "2.11.0"',
        'torch: "2.11.0", cuda: "13.0", python: "3.11", index: pytorch, torchaudio: "2.11.0"',
    ),
    ("cuda-equality", "nvidia", 'torch: "2.15.0", cuda: "13.2", python: "3.12"', 'torch: "2.14.1", cuda: "13.0", python: "3.12"'),
    ("cuda-equality", "nvidia", 'torch: "2.14.1", cuda: "13.2", python: "3.12"', 'torch: "2.14.1", cuda: "13.0", python: "3.12"'),
    ("torchaudio-served", "nvidia", 'torch: "2.12.0", cuda: "13.0", python: "3.11", torchaudio: "2.11.1"', 'torch: "2.12.0", cuda: "13.0", python: "3.11", torchaudio: "2.11.0"'),
    ("torchaudio-python", "nvidia", 'torch: "2.5.1", cuda: "12.4", python: "3.13"', 'torch: "2.5.1", cuda: "12.4", python: "3.12"'),
    ("torchcodec-pair", "nvidia", NINE + ', torchcodec: "0.7.0"', NINE + ', torchcodec: "0.9.1"'),
    ("torchcodec-pair", "nvidia", 'torch: "2.9.1", cuda: "12.8", python: "3.13t"', 'torch: "2.9.1", cuda: "12.8", python: "3.13"'),
    (
        "torchcodec-pair", "nvidia", 'torch: "2.12.0", cuda: "12.6", python: "3.11", torchcodec: "0.14.0"',
        'torch: "2.12.0", cuda: "13.0", python: "3.11", torchcodec: "0.14.0"',
    ),
    ("image-exists", "nvidia", EIGHT + ", distro: ubuntu26.04", EIGHT + ", distro: ubuntu24.04"),
    ("image-exists", "nvidia", EIGHT + ", distro: debian12", 'torch: "2.8.0", cuda: cpu, python: "3.11", distro: debian12'),
    ("local-python", "local", 'torch: "2.8.0", cuda: "12.8", python: "3.12"', 'torch: "2.8.0", cuda: "12.8", python: "3.13"'),
    ("local-python", "local", EIGHT + ", distro: debian13", EIGHT + ", distro: debian12"),
    ("sm-covered", "nvidia", EIGHT + ', sm: "6.1"', EIGHT + ', sm: "8.9"'),
    ("sm-covered", "nvidia", EIGHT + ', sm: ["8.0", "13.0"]', EIGHT + ', sm: ["8.0", "12.1"]'),
    ("sm-covered", "nvidia", 'torch: "2.8.0", cuda: cpu, python: "3.11", sm: "8.0"', 'torch: "2.8.0", cuda: cpu, python: "3.11"'),
    ("sm-covered", "nvidia", 'torch: "2.6.0", cuda: "12.4", python: "3.11", sm: "8.0"', 'torch: "2.6.0", cuda: "12.4", python: "3.11"'),
]  # fmt: skip
# The oldest base that the facts know has glibc 2.31, and no wheel asks for more than 2.28.
NOT_REACHABLE = {"glibc"}

MakeRow = Callable[[str], Row]


def broken(row: Row, facts: Facts, base: str) -> tuple[compat.Problem, ...]:
    return compat.problems(candidate(row, facts, base), facts)


@pytest.mark.parametrize(("rule", "base", "bad", "good"), TABLE)
def test_a_rule_refuses_and_its_neighbour_passes(
    row: MakeRow, facts: Facts, rule: str, base: str, bad: str, good: str
) -> None:
    first, *_ = broken(row(bad), facts, base)
    assert first.rule is RULES[rule], first
    assert first.key in ("torch", "torchaudio", "torchcodec", "cuda", "python", "distro", "sm")
    assert first.detail and "None" not in first.detail.replace("None is", "")
    assert broken(row(good), facts, base) == ()


def test_every_rule_is_in_the_table() -> None:
    assert {rule for rule, *_ in TABLE} == RULES.keys() - NOT_REACHABLE


def test_glibc_is_out_of_reach_today_and_works_all_the_same(row: MakeRow, facts: Facts) -> None:
    oldest = min((d.glibc for d in facts.distros.values() if d.glibc), key=lambda v: tuple(map(int, v.split("."))))
    needed = max(
        (g for t in facts.torch.values() for g in t.glibc.values()), key=lambda v: tuple(map(int, v.split(".")))
    )
    assert (oldest, needed) == ("2.31", "2.28"), "reachable now: move the rule to the table"
    old = replace(facts.distros["ubuntu22.04"], glibc="2.9")  # as text, 2.9 is more than 2.28
    problems = broken(row(EIGHT), replace(facts, distros={**facts.distros, "ubuntu22.04": old}), "nvidia")
    assert [p.rule.id for p in problems] == ["glibc"]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('torch: "2.8.9", cuda: "12.8", python: "3.11"', "torch 2.15.0 is the newest known"),
        (EIGHT + ', torchaudio: "2.7.1"', "torchaudio 2.8.0 goes with torch 2.8.0"),
        ('torch: "2.8.0", cuda: "13.0", python: "3.11"', "cpu, 12.6, 12.8, 12.9"),
        ('torch: "2.8.0", cuda: "12.8", python: "3.14"', "3.9, 3.10, 3.11, 3.12, 3.13, 3.13t"),
        ('torch: "2.15.0", cuda: "13.2", python: "3.12"', "compile torchaudio"),
        (EIGHT + ", distro: ubuntu26.04", "ubuntu20.04, ubuntu22.04, ubuntu24.04"),
        (EIGHT + ', sm: "6.1"', "7.0, 7.5, 8.0, 8.6, 9.0, 10.0, 12.0"),
    ],
)
def test_the_remedy_names_what_would_pass(row: MakeRow, facts: Facts, text: str, word: str) -> None:
    assert word in str(broken(row(text), facts, "nvidia")[0].remedy)


def test_an_unsure_publication_is_said_to_be_unsure(row: MakeRow, facts: Facts) -> None:
    (problem,) = broken(row('torch: "2.11.0", cuda: "12.9", python: "3.11"'), facts, "nvidia")
    assert "one secondary source" in problem.detail


@pytest.mark.parametrize(
    ("compiled", "wanted", "runs"),
    [
        # machine code: the same major, a minor at least as new
        (("8.0",), "8.0", True),
        (("8.6",), "8.9", True),
        (("8.0",), "8.6", True),
        (("8.6",), "8.0", False),
        (("8.9",), "8.6", False),
        (("12.0",), "12.1", True),
        (("10.0",), "10.3", True),
        (("8.6",), "9.0", False),
        (("9.0",), "8.9", False),
        (("9.0",), "10.0", False),
        (("1.0",), "10.0", False),
        (("10.0",), "1.0", False),
        # PTX: anything newer
        (("9.0+PTX",), "9.0", True),
        (("9.0+PTX",), "10.0", True),
        (("9.0+PTX",), "12.1", True),
        (("12.0+PTX",), "12.0", True),
        (("12.0+PTX",), "9.0", False),
        (("8.6+PTX",), "8.0", False),
        # several, none
        (("7.5", "8.0", "12.0+PTX"), "13.0", True),
        (("7.5", "8.0", "12.0"), "13.0", False),
        (("7.5", "8.0", "12.0"), "8.9", True),
        ((), "8.0", False),
    ],
)
def test_covers(compiled: tuple[str, ...], wanted: str, runs: bool) -> None:
    assert covers(compiled, wanted) is runs
