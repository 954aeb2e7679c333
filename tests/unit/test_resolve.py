"""Specs: every question of a row answered, for the shipped matrix and for all that the facts allow."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import FrozenInstanceError, fields, is_dataclass

import pytest

from torchpair import compat, lock
from torchpair import resolve as resolving
from torchpair.errors import ResolveError
from torchpair.facts import ARCHES, Facts, cuda_family
from torchpair.matrix import Package, Row, named
from torchpair.resolve import resolve
from torchpair.spec import PYTORCH_INDEX, Spec
from torchpair.workspace import Workspace

MakeRow = Callable[[str], Row]
MakeSpec = Callable[..., Spec]
EIGHT = 'torch: "2.8.0", cuda: "12.8", python: "3.11"'

# ---- the shipped matrix -------------------------------------------------------------------------------------------

BEFORE_CODEC = ["numpy", "pip", "soundfile", "torch==2.8.0", "torchaudio==2.8.0"]
APT = ["ca-certificates", "ffmpeg", "libgomp1", "tini"]
WITH_PYTHON = ["ca-certificates", "ffmpeg", "libgomp1", "python3", "tini"]
SHIPPED = {
    ("torch2.8.0-cu128-py311", "nvidia"): {
        "image": "nvidia/cuda:12.8.1-base-ubuntu22.04", "tag": "2.8.0-cu128-py311-ubuntu22.04", "python_from": "uv",
        "requirements": BEFORE_CODEC, "apt": APT, "min_driver": "525.60.13",
        "sm": "7.0 7.5 8.0 8.6 9.0 10.0 12.0", "index_url": None,
    },
    ("torch2.8.0-cu128-py311", "local"): {
        "image": "torchpair-base:debian12", "tag": "2.8.0-cu128-py311-debian12", "python_from": "distro",
        "requirements": BEFORE_CODEC, "apt": WITH_PYTHON, "min_driver": "525.60.13",
        "sm": "7.0 7.5 8.0 8.6 9.0 10.0 12.0", "index_url": None,
    },
    ("torch2.14.1-cu130-py313", "nvidia"): {
        "image": "nvidia/cuda:13.0.3-base-ubuntu22.04", "tag": "2.14.1-cu130-py313-ubuntu22.04", "python_from": "uv",
        "requirements": ["numpy", "pip", "torch==2.14.1", "torchaudio==2.11.0", "torchcodec==0.17.0"], "apt": APT,
        "min_driver": "580.65.06", "sm": "7.5 8.0 8.6 9.0 10.0 12.0", "index_url": None,
    },
    ("torch2.14.1-cu130-py313", "local"): {
        "image": "torchpair-base:debian13", "tag": "2.14.1-cu130-py313-debian13", "python_from": "distro",
        "requirements": ["numpy", "pip", "torch==2.14.1", "torchaudio==2.11.0", "torchcodec==0.17.0"],
        "apt": WITH_PYTHON, "min_driver": "580.65.06", "sm": "7.5 8.0 8.6 9.0 10.0 12.0", "index_url": None,
    },
    ("torch2.5.1-cu124-py311", "nvidia"): {
        "image": "nvidia/cuda:12.4.1-base-ubuntu22.04", "tag": "2.5.1-cu124-py311-ubuntu22.04", "python_from": "uv",
        "requirements": ["numpy", "pip", "soundfile", "torch==2.5.1", "torchaudio==2.5.1"], "apt": APT,
        "min_driver": "525.60.13", "sm": "5.0 6.0 7.0 7.5 8.0 8.6 9.0", "index_url": None,
    },
    ("torch2.5.1-cu124-py311", "local"): {
        "image": "torchpair-base:debian12", "tag": "2.5.1-cu124-py311-debian12", "python_from": "distro",
        "requirements": ["numpy", "pip", "soundfile", "torch==2.5.1", "torchaudio==2.5.1"], "apt": WITH_PYTHON,
        "min_driver": "525.60.13", "sm": "5.0 6.0 7.0 7.5 8.0 8.6 9.0", "index_url": None,
    },
    ("torch2.1.0-cu118-py310", "nvidia"): {
        "image": "nvidia/cuda:11.8.0-base-ubuntu22.04", "tag": "2.1.0-cu118-py310-ubuntu22.04", "python_from": "distro",
        "requirements": ["numpy<2", "pip", "soundfile", "torch==2.1.0+cu118", "torchaudio==2.1.0+cu118"],
        "apt": WITH_PYTHON, "min_driver": "450.80.02", "sm": "3.7 5.0 6.0 7.0 7.5 8.0 8.6 9.0",
        "index_url": f"{PYTORCH_INDEX}/cu118",
    },
}  # fmt: skip


@pytest.mark.parametrize(("name", "base"), SHIPPED)
def test_the_shipped_rows(shipped: Workspace, facts: Facts, name: str, base: str) -> None:
    (row,) = (r for r in shipped.rows if r.name == name)
    spec = resolve(row, facts, base)
    assert {
        "image": spec.image,
        "tag": spec.tag,
        "python_from": spec.python_from,
        "requirements": [r.name + r.specifier for r in spec.requirements],
        "apt": [package.name for package in spec.apt],
        "min_driver": spec.min_driver,
        "sm": " ".join(spec.sm or ()),
        "index_url": spec.index_url,
    } == SHIPPED[name, base]
    assert spec.reference == f"torchpair:{spec.tag}" and spec.base == base and spec.broken == ()


def test_a_shipped_row_that_debian_has_no_python_for(shipped: Workspace, facts: Facts) -> None:
    (row,) = (r for r in shipped.rows if r.name == "torch2.1.0-cu118-py310")
    with pytest.raises(ResolveError) as caught:
        resolve(row, facts, "local")
    error = caught.value
    assert "rule local-python" in str(error.why) and "3.11 (debian12), 3.13 (debian13)" in str(error.remedy)
    assert str(error.remedy).startswith("distro: ubuntu22.04 has it; ")
    assert str(error.where).startswith(f"{shipped.file}:{row.lines['python']}: python")


def test_everywhere_leaves_out_what_cannot_stand_on_a_base(shipped: Workspace) -> None:
    pairs = {(spec.name, spec.base) for spec in shipped.everywhere()}
    assert pairs >= set(SHIPPED) and ("torch2.1.0-cu118-py310", "local") not in pairs


def cuda(toolkit: str, ubuntu: str) -> str:
    return f"nvidia/cuda:{toolkit}-base-{ubuntu}"


# ---- choices ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "codec"),
    [
        ('torch: "2.8.0", cuda: "12.8", python: "3.11"', None),
        ('torch: "2.9.1", cuda: "12.8", python: "3.11"', "0.9.1"),
        ('torch: "2.9.1", cuda: "12.8", python: "3.11", torchcodec: "0.8.1"', "0.8.1"),
        ('torch: "2.10.0", cuda: "12.8", python: "3.11"', "0.10.0"),
        ('torch: "2.11.0", cuda: "12.8", python: "3.11"', "0.13.0"),
        ('torch: "2.12.0", cuda: "12.6", python: "3.11"', "0.13.0"),
        ('torch: "2.12.0", cuda: "13.0", python: "3.13t"', "0.14.0"),
        ('torch: "2.14.1", cuda: "13.0", python: "3.13"', "0.17.0"),
        ('torch: "2.14.1", cuda: cpu, python: "3.13"', "0.13.0"),
        ('torch: "2.8.0", cuda: "12.8", python: "3.11", torchcodec: "0.7.0"', "0.7.0"),
    ],
)
def test_torchcodec(spec: MakeSpec, text: str, codec: str | None) -> None:
    found = spec(text)
    assert found.torchcodec == codec
    asked = {r.name: r.specifier for r in found.requirements}
    assert asked.get("torchcodec") == (f"=={codec}" if codec else None)
    assert ("soundfile" in asked) == (codec is None)


@pytest.mark.parametrize(
    ("text", "base", "package"),
    [
        ('torch: "2.10.0", cuda: "12.8", python: "3.12", distro: ubuntu24.04', "local", "libpython3.12"),
        ('torch: "2.9.1", cuda: "12.8", python: "3.10"', "nvidia", "libpython3.10"),
        ('torch: "2.14.1", cuda: "13.0", python: "3.13", torchcodec: "0.15.0"', "local", "libpython3.13"),
        ('torch: "2.14.1", cuda: "13.0", python: "3.13", torchcodec: "0.16.0"', "local", None),
        # No torchcodec; and a Python that is not the distribution's.
        ('torch: "2.8.0", cuda: "12.8", python: "3.11"', "local", None),
        ('torch: "2.9.1", cuda: "12.8", python: "3.11"', "nvidia", None),
    ],
)
def test_a_torchcodec_that_links_pythons_library_gets_it(
    spec: MakeSpec, text: str, base: str, package: str | None
) -> None:
    """Its own operators ask for libpython3.X.so.1.0 up to 0.15, and the distribution's python3 has none."""
    found = [a.name for a in spec(text, base).apt if a.name.startswith("libpython")]
    assert found == ([package] if package else [])


@pytest.mark.parametrize(
    ("more", "there"),
    [
        ('torch: "2.15.0", torchaudio: {version: "2.11.0", from: source}, cuda: "13.2"', True),
        ('torch: "2.15.0", torchaudio: {version: "2.11.0", from: source}, cuda: "13.2", arch: aarch64', False),
        ('torch: "2.14.1", cuda: "13.0"', False),
    ],
)
def test_a_wheel_whose_library_asks_for_another_gets_it(spec: MakeSpec, more: str, there: bool) -> None:
    """torch 2.15.0's libgfortran asks for libquadmath on x86_64; the other architecture has no such library."""
    assert ("libquadmath0" in {a.name for a in spec(f'{more}, python: "3.13"', "local").apt}) == there


def test_the_newest_torchcodec_is_taken_where_nothing_holds_it_back(spec: MakeSpec, facts: Facts) -> None:
    from packaging.version import Version

    assert spec('torch: "2.14.1", cuda: "13.0", python: "3.13"').torchcodec == max(facts.torchcodec, key=Version)


@pytest.mark.parametrize(
    ("text", "index", "requirement"),
    [
        (EIGHT, "pypi", "torch==2.8.0"),
        (EIGHT + ", index: pytorch", "pytorch", "torch==2.8.0+cu128"),
        ('torch: "2.8.0", cuda: "12.6", python: "3.11"', "pytorch", "torch==2.8.0+cu126"),
        ('torch: "2.8.0", cuda: cpu, python: "3.11"', "pytorch", "torch==2.8.0+cpu"),
        ('torch: "2.8.0", cuda: cpu, python: "3.11", arch: aarch64', "pypi", "torch==2.8.0"),
    ],
)
def test_pypi_where_its_one_cuda_is_the_one_asked_for(spec: MakeSpec, text: str, index: str, requirement: str) -> None:
    found = spec(text)
    assert found.index == index and (found.index_url is None) == (index == "pypi")
    assert requirement in [r.name + r.specifier for r in found.requirements]
    assert {r.name for r in found.requirements if r.index == "pytorch"} <= {"torch", "torchaudio"}


@pytest.mark.parametrize(
    ("text", "base", "image", "distro", "python_from"),
    [
        (EIGHT.replace("3.11", "3.12"), "nvidia", cuda("12.8.1", "ubuntu24.04"), "ubuntu24.04", "distro"),
        (EIGHT.replace("3.11", "3.10"), "nvidia", cuda("12.8.1", "ubuntu22.04"), "ubuntu22.04", "distro"),
        ('torch: "2.5.1", cuda: "12.4", python: "3.12"', "nvidia", cuda("12.4.1", "ubuntu22.04"), "ubuntu22.04", "uv"),
        (EIGHT + ", distro: ubuntu24.04", "nvidia", cuda("12.8.1", "ubuntu24.04"), "ubuntu24.04", "uv"),
        ('torch: "2.8.0", cuda: cpu, python: "3.11"', "nvidia", "ubuntu:22.04", "ubuntu22.04", "uv"),
        (EIGHT + ", base: local", "nvidia", "torchpair-base:debian12", "debian12", "distro"),
        (
            EIGHT.replace("3.11", "3.10") + ", distro: ubuntu22.04", "local",
            "torchpair-base:ubuntu22.04", "ubuntu22.04", "distro",
        ),
        (EIGHT + ", base: nvidia", "local", cuda("12.8.1", "ubuntu22.04"), "ubuntu22.04", "uv"),
        (EIGHT + ', base: "reg.example/a/b:1"', "local", "reg.example/a/b:1", "ubuntu22.04", "uv"),
    ],
)  # fmt: skip
def test_bases(spec: MakeSpec, text: str, base: str, image: str, distro: str, python_from: str) -> None:
    found = spec(text, base)
    assert (found.image, found.distro, found.python_from) == (image, distro, python_from)


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        (EIGHT + ", arch: x86_64", "2.8.0-cu128-py311-ubuntu22.04"),
        ('torch: "2.8.0", cuda: "12.9", python: "3.13t", arch: aarch64', "2.8.0-cu129-py313t-aarch64-ubuntu22.04"),
        # The same row on nvidia is 2.8.0-cu128-py310-ubuntu22.04: two images, two tags.
        (
            EIGHT.replace("3.11", "3.10") + ", base: local, distro: ubuntu22.04",
            "2.8.0-cu128-py310-local-ubuntu22.04",
        ),
        (EIGHT + ", base: local, distro: debian12", "2.8.0-cu128-py311-debian12"),
        (EIGHT + ", name: mine", "2.8.0-cu128-py311-mine-ubuntu22.04"),
        (EIGHT + ', torchaudio: "2.7.1", force: true', "2.8.0-audio2.7.1-cu128-py311-ubuntu22.04"),
        ('torch: "2.8.0", cuda: cpu, python: "3.12"', "2.8.0-cpu-py312-ubuntu24.04"),
    ],
)
def test_tags(spec: MakeSpec, text: str, tag: str) -> None:
    assert spec(text).tag == tag


@pytest.mark.parametrize(
    "other",
    [
        ', torchaudio: "2.8.0"',
        ", name: torch2.8.0-mine",
        ", index: pytorch, name: torch2.8.0-index",
        ', sm: "9.0", name: a',
    ],
)
@pytest.mark.parametrize("base", ["nvidia", "local"])
def test_rows_of_different_names_have_different_tags(spec: MakeSpec, other: str, base: str) -> None:
    one, two = spec(EIGHT, base), spec(EIGHT + other, base)
    assert one.name != two.name and one.tag != two.tag


def test_an_architecture_with_a_letter_and_ptx(spec: MakeSpec) -> None:
    assert spec(f'{EIGHT}, sm: "9.0a+PTX"').row.sm == ("9.0a+PTX",)


def test_layers() -> None:
    names = {
        "cuda": ["nvidia-cublas-cu12", "nvidia-cusparse-cu12", "nvidia-cuda-runtime", "nvidia-nvtx", "cuda-toolkit"],
        "cudnn": ["nvidia-cudnn-cu12", "nvidia-nccl-cu13", "nvidia-cusparselt-cu13", "nvidia-nvshmem-cu13"],
        "triton": ["triton", "pytorch-triton"],
        "torch": ["torch"],
        "audio": ["torchaudio", "torchcodec", "soundfile", "cffi", "pycparser"],
        "python": ["numpy", "pip", "sympy", "cuda-bindings", "cuda-pathfinder", "torchvision"],
    }
    assert {layer: [resolving.layer_of(name) for name in found] for layer, found in names.items()} == {
        layer: [layer] * len(found) for layer, found in names.items()
    }
    assert set(names) == set(resolving.LAYERS)


def test_every_decision_names_a_rule_or_a_reason(spec: MakeSpec) -> None:
    for text in (EIGHT, 'torch: "2.14.1", cuda: "13.0", python: "3.13"', 'torch: "2.8.0", cuda: cpu, python: "3.11"'):
        decisions = spec(text).decisions
        assert {"torch", "torchaudio", "torchcodec", "base", "python", "sm", "min_driver"} <= {
            d.subject for d in decisions
        }
        assert len({d.subject for d in decisions}) == len(decisions)
        for decision in decisions:
            assert decision.value and decision.because and (decision.rule is None or decision.rule in compat.RULES)


# ---- force --------------------------------------------------------------------------------------------------------


def test_force_passes_and_keeps_what_it_broke(row: MakeRow, facts: Facts) -> None:
    text = 'torch: "2.15.0", cuda: "13.2", python: "3.12"'
    with pytest.raises(ResolveError, match="import torchaudio raises RuntimeError"):
        resolve(row(text), facts)
    forced = resolve(row(text + ", force: true"), facts)
    assert [problem.rule.id for problem in forced.broken] == ["cuda-equality"]
    assert (forced.torch, forced.torchaudio, forced.cuda) == ("2.15.0", "2.11.0", "13.2")


@pytest.mark.parametrize(
    "text",
    [
        'torch: "9.9.9", cuda: "12.8", python: "3.11"',
        'torch: "2.8.0", cuda: "13.0", python: "3.11"',
        EIGHT + ', torchaudio: "9.9.9"',
    ],
)
def test_force_cannot_build_what_has_no_name(spec: MakeSpec, text: str) -> None:
    with pytest.raises(ResolveError, match=r"rule "):
        spec(text + ", force: true")


@pytest.mark.parametrize(
    ("text", "base", "rule"),
    [
        (EIGHT + ", distro: ubuntu18.04", "nvidia", "distro-known"),
        (EIGHT + ", distro: ubuntu99.04, force: true", "nvidia", "distro-known"),
        ('torch: "2.8.0", cuda: "12.8", python: "3.10", distro: ubuntu20.04', "local", "distro-known"),
        (
            'torch: {from: base}, torchaudio: {from: source}, cuda: "12.4", python: "3.10", base: a/b',
            "nvidia",
            "source-tag",
        ),
        (
            'torch: {version: "2.12.0", from: source}, torchaudio: {from: source}, cuda: "14.0", python: "3.11"',
            "local",
            "cuda-known",
        ),
    ],
)
def test_what_no_spec_can_be_made_of(spec: MakeSpec, text: str, base: str, rule: str) -> None:
    with pytest.raises(ResolveError, match=f"rule {rule}: "):
        spec(text, base)


def test_problems_come_in_the_order_of_the_rules(row: MakeRow, facts: Facts) -> None:
    text = EIGHT + ', torchcodec: "0.9.9", sm: ["6.1", "13.0"], distro: debian12'
    many = resolving.candidate(row(text), facts, "nvidia")
    found = [problem.rule.id for problem in compat.problems(many, facts)]
    assert len(found) >= 4 and found == sorted(found, key=list(compat.RULES).index)


def test_a_refusal_counts_the_other_rules(spec: MakeSpec) -> None:
    with pytest.raises(ResolveError) as caught:
        spec('torch: "2.15.0", cuda: "13.2", python: "3.15", sm: "8.0"')
    broken = str(caught.value)
    assert "more rules refuse it" in broken and "matrix.yaml:2: " in broken


# ---- all that the facts allow -------------------------------------------------------------------------------------


def combinations(facts: Facts) -> Iterator[Row]:
    """Every torch with each CUDA that an index serves, each Python from 3.10 on, each CPU architecture."""
    for torch, arch in itertools.product(facts.torch.values(), ARCHES):
        served = {tag for tag, v in torch.index.items() if arch in (v.arches or ())} | {torch.pypi[arch]}
        for tag, python in itertools.product(sorted(served), torch.pythons[arch]):
            if not python.endswith("t") and int(python.split(".")[1]) >= 10:
                yield named(Row("", Package(torch.version), cuda_family(tag), python, arch=arch))


def rule_of(error: ResolveError) -> str:
    return str(error.why).removeprefix("rule ").partition(":")[0]


def test_every_combination_resolves_or_is_refused_by_a_rule(facts: Facts) -> None:
    specs, refused = [], []
    for row in combinations(facts):
        try:
            specs.append(resolve(row, facts))
        except ResolveError as error:
            refused.append(rule_of(error))
    assert len(specs) + len(refused) >= 676
    assert len(specs) >= 450, "the facts of 2026-11-21 give 468"
    assert set(refused) <= {"cuda-equality", "torchcodec-pair", "torchaudio-python"}, "published pairs fail in few ways"
    assert {spec.torch for spec in specs} == set(facts.torch) - {"2.15.0"}, "2.15.0 has no torchaudio of its CUDA"

    tags = [spec.tag for spec in specs]
    assert len(set(tags)) == len(tags)
    for spec in specs:
        assert spec.broken == () and spec.torchaudio in facts.torch[spec.torch].torchaudio
        agree(spec)


def agree(spec: Spec) -> None:
    """What the spec says in one place it says in every other."""
    labels, versions = spec.labels, spec.versions
    for name in ("torch", "torchaudio", "torchcodec", "cuda", "python"):
        told = labels[f"torchpair.{name}"]
        assert versions[name] == (None if told in ("none", "cpu") else told)
    assert labels["torchpair.base"] == f"{spec.base}:{spec.distro}" and labels["torchpair.row"] == spec.name
    asked = {r.name: r.specifier for r in spec.requirements}
    assert (
        asked["torch"].split("+")[0] == f"=={spec.torch}"
        and asked["torchaudio"].split("+")[0] == f"=={spec.torchaudio}"
    )
    assert spec.torch in spec.tag and spec.variant in spec.tag and spec.tag.endswith(spec.distro)
    assert (spec.min_driver is None) == (spec.cuda == "cpu")
    assert spec.python_from in ("distro", "uv") and ("python3" in {a.name for a in spec.apt}) == (
        spec.python_from == "distro"
    )
    assert list(asked) == sorted(asked) and [a.name for a in spec.apt] == sorted(a.name for a in spec.apt)
    for text in (*labels.values(), spec.image, spec.tag):
        assert not set(text) & set("\"'\\$`\n"), text


CHOICES = {
    "torch": [
        Package("2.8.0"), Package("2.9.1"), Package("2.14.1"), Package("2.99.0"), Package(None, "base"),
        Package("2.2.0a0+81ea7a4", "base"), Package("2.5.0", "source"), Package("2.12.0", "source"),
        Package("1.0.0", "source"),
    ],
    "cuda": ["12.8", "13.0", "11.8", "12.7", "14.0", "cpu"],
    "python": ["3.10", "3.11", "3.13", "3.13t", "3.99"],
    "torchaudio": [
        Package(), Package("2.8.0"), Package("2.99.0"), Package("2.11.1"), Package("2.8.0", "source"),
        Package(None, "source"), Package(None, "source", "main"),
    ],
    "torchcodec": [Package(), Package("0.9.1"), Package("0.99.0")],
    "base": [None, None, "local", "a/b"],
    "distro": [None, None, "ubuntu22.04", "ubuntu18.04", "debian12"],
    "index": [None, "pypi", "pytorch"],
    "arch": ["x86_64", "aarch64"],
    "sm": [(), ("8.6",), ("9.0a",), ("9.0a+PTX",), ("12.0+PTX",), ("99.0",)],
    "force": [False, True],
}  # fmt: skip


def test_any_row_resolves_or_is_refused_by_a_rule(facts: Facts) -> None:
    chance, resolved = random.Random(1), 0
    for _ in range(3000):
        row = Row(name="n", **{key: chance.choice(values) for key, values in CHOICES.items()})  # type: ignore[arg-type]
        try:
            spec = resolve(row, facts, chance.choice(["nvidia", "local"]))
        except ResolveError as error:
            assert rule_of(error) in compat.RULES
        else:
            resolved += 1
            assert row.force or not spec.broken
    assert resolved > 200


# ---- frozen -------------------------------------------------------------------------------------------------------


def test_nouns_are_frozen(spec: MakeSpec, facts: Facts) -> None:
    found = spec('torch: "2.15.0", cuda: "13.2", python: "3.12", force: true')
    nouns = [
        found, found.row, found.row.torch, found.row.place, found.requirements[0], found.apt[0], found.decisions[0],
        found.broken[0], found.broken[0].rule, resolving.candidate(found.row, facts, "nvidia"), facts,
        facts.torch["2.8.0"], facts.torchaudio["2.8.0"], facts.torchcodec["0.9.1"], facts.toolkits["12.8.1"],
        facts.distros["debian12"], lock.Lock("", ()), lock.Locked("a", "1", "0", "a", None),
    ]  # fmt: skip
    assert len({type(noun) for noun in nouns}) == len(nouns)
    for noun in nouns:
        assert is_dataclass(noun)
        with pytest.raises(FrozenInstanceError):
            setattr(noun, fields(noun)[0].name, None)
