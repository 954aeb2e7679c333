"""The rules: each refuses what it is for, and lets the nearest neighbour pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from torchpair import compat
from torchpair.compat import RULES
from torchpair.compat.gpus import covers, serves
from torchpair.facts import Facts
from torchpair.matrix import Row
from torchpair.resolve import candidate


def at(torch: str, cuda: str, python: str) -> str:
    return f'torch: "{torch}", cuda: "{cuda}", python: "{python}"'


EIGHT = at("2.8.0", "12.8", "3.11")
NINE = at("2.9.1", "12.8", "3.11")

FIVE = 'torch: {version: "2.5.0", from: source}, cuda: "12.4", python: "3.11"'
IN_BASE = 'torch: {from: base}, torchaudio: {from: source, ref: v2.2.0}, cuda: "12.4", python: "3.10"'

NEW_CUDA = FIVE + ", torchaudio: {from: source, ref: main}, base: a/b"

# rule, a row that it refuses first, a neighbour that passes; local-python on the local base, the others on nvidia
TABLE = [
    ("base-image", IN_BASE, IN_BASE + ", base: a/b"),
    ("base-image", IN_BASE.replace("3.10", "3.11") + ", base: local", IN_BASE + ", base: a/b"),
    ("source-abi", FIVE, FIVE + ", torchaudio: {from: source}"),
    ("source-abi", 'torch: {from: base}, cuda: "12.4", python: "3.10", base: a/b', IN_BASE + ", base: a/b"),
    (
        "source-tag",
        EIGHT + ', torchaudio: {version: "2.6.0", from: source}',
        EIGHT + ', torchaudio: {version: "2.8.0", from: source}',
    ),
    (
        "source-tag",
        FIVE.replace("2.5.0", "1.13.0") + ", torchaudio: {from: source}",
        FIVE + ", torchaudio: {from: source}",
    ),
    (
        "source-cuda",
        'torch: {version: "2.8.0", from: source}, cuda: "13.0", python: "3.11", torchaudio: {from: source}',
        'torch: {version: "2.8.0", from: source}, cuda: "12.9", python: "3.11", torchaudio: {from: source}',
    ),
    (
        "source-sm",
        EIGHT + ', torchaudio: {from: source}, sm: "10.3"',
        EIGHT + ', torchaudio: {from: source}, sm: "10.0"',
    ),
    (
        "source-sm",
        'torch: {version: "2.12.0", from: source}, torchaudio: {from: source}, cuda: "13.0", python: "3.11", sm: "7.0"',
        'torch: {version: "2.12.0", from: source}, torchaudio: {from: source}, cuda: "13.0", python: "3.11", sm: "7.5"',
    ),
    (
        "source-torch",
        FIVE.replace("12.4", "13.0") + ", torchaudio: {from: source, ref: main}",
        FIVE + ", torchaudio: {from: source, ref: main}",
    ),
    ("torch-known", at("2.8.9", "12.8", "3.11"), EIGHT),
    ("torchaudio-known", EIGHT + ', torchaudio: "2.8.9"', EIGHT + ', torchaudio: "2.8.0"'),
    ("torchcodec-known", NINE + ', torchcodec: "0.9.9"', NINE + ', torchcodec: "0.9.0"'),
    ("wheel-cuda", at("2.8.0", "13.0", "3.11"), at("2.8.0", "12.9", "3.11")),
    ("wheel-cuda", at("2.8.0", "12.6", "3.11") + ", index: pypi", at("2.8.0", "12.6", "3.11") + ", index: pytorch"),
    ("wheel-cuda", EIGHT + ", arch: aarch64", at("2.8.0", "12.9", "3.11") + ", arch: aarch64"),
    ("wheel-cuda", at("2.11.0", "12.9", "3.11"), at("2.11.0", "12.8", "3.11")),
    ("wheel-python", at("2.8.0", "12.8", "3.14"), at("2.8.0", "12.8", "3.13")),
    ("wheel-python", at("2.15.0", "13.2", "3.10"), at("2.14.1", "13.0", "3.10")),
    ("lockstep", EIGHT + ', torchaudio: "2.7.1"', EIGHT + ', torchaudio: "2.8.0"'),
    ("lockstep", at("2.12.0", "13.0", "3.11") + ', torchaudio: "2.10.0"', at("2.12.0", "13.0", "3.11")),
    (
        "stable-abi",
        at("2.10.0", "13.0", "3.11") + ', index: pytorch, torchaudio: "2.11.0"',
        at("2.11.0", "13.0", "3.11") + ', index: pytorch, torchaudio: "2.11.0"',
    ),
    ("cuda-equality", at("2.15.0", "13.2", "3.12"), at("2.14.1", "13.0", "3.12")),
    ("cuda-equality", at("2.14.1", "13.2", "3.12"), at("2.14.1", "13.0", "3.12")),
    (
        "torchaudio-served",
        at("2.12.0", "13.0", "3.11") + ', torchaudio: "2.11.1"',
        at("2.12.0", "13.0", "3.11") + ', torchaudio: "2.11.0"',
    ),
    ("torchaudio-python", at("2.5.1", "12.4", "3.13"), at("2.5.1", "12.4", "3.12")),
    ("torchcodec-pair", NINE + ', torchcodec: "0.7.0"', NINE + ', torchcodec: "0.9.1"'),
    ("torchcodec-pair", at("2.9.1", "12.8", "3.13t"), at("2.9.1", "12.8", "3.13")),
    (
        "torchcodec-pair",
        at("2.12.0", "12.6", "3.11") + ', torchcodec: "0.14.0"',
        at("2.12.0", "13.0", "3.11") + ', torchcodec: "0.14.0"',
    ),
    ("image-exists", EIGHT + ", distro: ubuntu26.04", EIGHT + ", distro: ubuntu24.04"),
    ("distro-known", EIGHT + ", distro: ubuntu18.04", EIGHT + ", distro: ubuntu20.04"),
    ("distro-known", at("2.8.0", "cpu", "3.11") + ", distro: debian12", EIGHT + ", distro: debian12, base: local"),
    ("distro-known", EIGHT + ", distro: ubuntu20.04, base: local", EIGHT + ", distro: ubuntu20.04, base: a/b"),
    ("distro-known", EIGHT + ", distro: ubuntu26.04, base: local", EIGHT + ", distro: debian13, base: a/b"),
    ("cuda-known", NEW_CUDA.replace("12.4", "14.0"), NEW_CUDA),
    ("local-python", at("2.8.0", "12.8", "3.12"), at("2.8.0", "12.8", "3.13")),
    ("local-python", EIGHT + ", distro: debian13", EIGHT + ", distro: debian12"),
    ("toolkit", EIGHT + ", toolkit: devel", EIGHT),
    ("local-python", at("2.8.0", "12.8", "3.10"), at("2.8.0", "12.8", "3.10") + ", distro: ubuntu22.04"),
    ("local-python", EIGHT + ", distro: ubuntu24.04", at("2.8.0", "12.8", "3.12") + ", distro: ubuntu24.04"),
    ("sm-covered", EIGHT + ', sm: "6.1"', EIGHT + ', sm: "8.9"'),
    ("sm-covered", EIGHT + ', sm: ["8.0", "13.0"]', EIGHT + ', sm: ["8.0", "12.1"]'),
    ("sm-covered", at("2.8.0", "cpu", "3.11") + ', sm: "8.0"', at("2.8.0", "cpu", "3.11")),
    ("sm-covered", at("2.6.0", "12.6", "3.11") + ', sm: "8.0"', at("2.6.0", "12.6", "3.11")),
]
# glibc: the oldest base that the facts know has 2.31, and no wheel asks for more than 2.28.
# numpy, driver-floor: they explain a decision and refuse nothing.
NOT_REACHABLE = {"glibc", "numpy", "driver-floor"}

MakeRow = Callable[[str], Row]


def broken(row: Row, facts: Facts, base: str) -> tuple[compat.Problem, ...]:
    return compat.problems(candidate(row, facts, base), facts)


@pytest.mark.parametrize(("rule", "bad", "good"), TABLE)
def test_a_rule_refuses_and_its_neighbour_passes(row: MakeRow, facts: Facts, rule: str, bad: str, good: str) -> None:
    base = "local" if rule == "local-python" else "nvidia"
    first, *_ = broken(row(bad), facts, base)
    assert first.rule is RULES[rule], first
    assert first.key in ("torch", "torchaudio", "torchcodec", "cuda", "python", "base", "distro", "sm", "toolkit")
    assert first.detail and "None" not in first.detail
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
        (at("2.8.9", "12.8", "3.11"), "torch 2.15.0 is the newest known"),
        (EIGHT + ', torchaudio: "2.7.1"', "torchaudio 2.8.0 goes with torch 2.8.0"),
        (at("2.8.0", "13.0", "3.11"), "cpu, 12.6, 12.8, 12.9"),
        (at("2.8.0", "12.8", "3.14"), "3.9, 3.10, 3.11, 3.12, 3.13, 3.13t"),
        (at("2.15.0", "13.2", "3.12"), "torchaudio: {from: source}"),
        (EIGHT + ", distro: ubuntu26.04", "ubuntu20.04, ubuntu22.04, ubuntu24.04"),
        (EIGHT + ', sm: "6.1"', "7.0, 7.5, 8.0, 8.6, 9.0, 10.0, 12.0"),
    ],
)
def test_the_remedy_names_what_would_pass(row: MakeRow, facts: Facts, text: str, word: str) -> None:
    assert word in str(broken(row(text), facts, "nvidia")[0].remedy)


def test_an_unsure_publication_is_said_to_be_unsure(row: MakeRow, facts: Facts) -> None:
    (problem,) = broken(row(at("2.11.0", "12.9", "3.11")), facts, "nvidia")
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


@pytest.mark.parametrize(
    ("compiled", "wanted", "cuda", "runs"),
    [
        (("9.0", "12.0"), "12.0", "12.8", True),
        (("9.0",), "12.0", "12.8", False),
        # PTX alone, from a CUDA that knows the GPU, and from one that came before it
        (("9.0+PTX",), "12.0", "12.8", True),
        (("9.0+PTX",), "12.0", "12.4", False),
        (("9.0+PTX",), "9.0", "12.4", True),
        (("8.6+PTX",), "8.9", "11.7", True),
        (("9.0+PTX",), "13.0", "12.4", True),
        ((), "8.0", "12.8", False),
    ],
)
def test_serves(facts: Facts, compiled: tuple[str, ...], wanted: str, cuda: str, runs: bool) -> None:
    assert serves(compiled, wanted, cuda, facts) is runs
