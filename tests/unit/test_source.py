"""Which torchaudio can be compiled against which torch, and what refuses a row that is compiled."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from torchpair import compat, source
from torchpair.compat.gpus import covers
from torchpair.facts import Facts
from torchpair.matrix import Row
from torchpair.matrix.fields import ARCH, SM
from torchpair.resolve import candidate
from torchpair.spec import Spec
from torchpair.workspace import Workspace

MakeRow = Callable[[str], Row]
FILE = Path(source.__file__).parent / "facts" / "source.yaml"

# torch -> the tags that compile against it, best first
TAGS = {
    "2.0.0": ["v2.0.2"],
    "2.0.1": ["v2.0.2"],
    "2.1.2": ["v2.1.2"],
    "2.2.0": ["v2.2.0", "v2.1.2"],
    "2.2.0a0+81ea7a4": ["v2.2.2", "v2.1.2"],
    "2.5.0": ["v2.5.0"],
    "2.5.1": ["v2.5.1"],
    "2.5.1+cu124": ["v2.5.1"],
    "2.6.0": ["v2.6.0"],
    "2.6.0rc1": ["v2.6.0"],
    "2.6.0.dev20250101": ["v2.6.0"],
    "2.6.0a0+ecf3bae40a.nv25.01": ["v2.6.0"],
    "2.9.0": ["v2.9.0"],
    "2.10.0": ["v2.10.0", "v2.9.1"],
    "2.10.0a0+b4e4ee81d3": ["v2.10.0", "v2.9.1"],
    "2.11.0": ["v2.11.0"],
    "2.11.0a0+a6c236b9fd.nv26.03.46836102": ["v2.11.0"],
    "2.13.0a0+8145d630e8": ["v2.11.0"],
    "2.15.0": ["v2.11.0"],
    "2.99.0": ["v2.11.0"],
    "3.0.0": ["v2.11.0"],
    "1.13.1": [],
    "0.1.0": [],
    "": [],
    "2": [],
    "2.6": [],
    "2.6.0.1": [],
    "2.6.0a1": [],
    "v2.6.0": [],
    "2.6.0 ": [],
    "2.6.0\n": [],
    "\uff12.6.0": [],
    "rubbish": [],
}
# What each NGC container that names a torch is compiled with: facts/NOTES.md, section 5.
NGC = {
    "2.2": ["6a974bec", "81ea7a4"],
    "2.3": ["ebedce2", "40ec155e58", "6ddf5cf85e"],
    "2.4": ["07cecf4168", "f70bd71a48", "3bcc3cddb5"],
    "2.5": ["872d972e41", "b465a5843b", "e000cf0ad9"],
    "2.6": ["df5bbc09d1", "ecf3bae40a"],
    "2.7": ["6c54963f75", "7c8ec84dab", "79aa17489c"],
    "2.8": ["5228986c39", "34c6371d24"],
    "2.9": ["50eac811a6", "145a3a7bda"],
    "2.10": ["b4e4ee81d3", "a36e1d39eb"],
    "2.11": ["eb65b36914", "a6c236b9fd"],
    "2.12": ["0291f960b6"],
    "2.13": ["8145d630e8", "9186a08b2c"],
}
FALLBACK = {"2.2": ["2.1"], "2.10": ["2.9"]}


def tags(torch: str) -> list[str]:
    return [source.tag_for(torch, line) for line in source.lines_for(torch, source.load())]


@pytest.mark.parametrize(("torch", "expected"), TAGS.items())
def test_the_tags_of_a_torch(torch: str, expected: list[str]) -> None:
    assert tags(torch) == expected


@pytest.mark.parametrize(("minor", "commit"), [(minor, commit) for minor, all_ in NGC.items() for commit in all_])
def test_the_torch_of_an_ngc_container(minor: str, commit: str) -> None:
    for suffix in ("", ".nv25.01", ".nv26.03.46836102"):
        torch = f"{minor}.0a0+{commit}{suffix}"
        assert source.minor(torch) == minor
        first, *others = (line.name for line in source.lines_for(torch, source.load()))
        assert first == (minor if minor in source.load().torchaudio else "2.11")
        assert others == FALLBACK.get(minor, [])


@pytest.mark.parametrize(
    ("torch", "minor"),
    [
        ("2.6.0", "2.6"),
        ("2.10.0", "2.10"),
        ("1.13.1", "1.13"),
        ("2.6.0a0+ecf3bae40a.nv25.01", "2.6"),
        ("2.6", None),
        ("", None),
        ("2.6.0-rc1", None),
        ("\u0662.\u0666.\u0660", None),
    ],
)
def test_minor(torch: str, minor: str | None) -> None:
    assert source.minor(torch) == minor


@pytest.mark.parametrize(
    ("cuda", "limit", "beyond"),
    [
        ("12.9", "12.9", False),
        ("13.0", "12.9", True),
        ("12.10", "12.9", True),
        ("12.4", "12.10", False),
        ("9.2", "12.9", False),
        ("cpu", "12.9", False),
        ("13.0", None, False),
        ("cpu", None, False),
    ],
)
def test_too_new(cuda: str, limit: str | None, beyond: bool) -> None:
    assert source.too_new(cuda, limit) is beyond


# ---- source.yaml --------------------------------------------------------------------------------------------------


def test_every_source_is_defined_and_used(facts: Facts) -> None:
    data = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    used = {key for section in ("torchaudio", "torch") for entry in data[section].values() for key in entry["sources"]}
    used |= {key for rule in compat.RULES.values() for key in rule.evidence} - facts.sources.keys()
    assert used == data["sources"].keys()


def test_the_lines_are_whole() -> None:
    for name, line in source.load().torchaudio.items():
        assert line.name == name == source.minor(line.tag.removeprefix("v"))
        assert line.torch[0] == name, "its own torch first"
        assert line.system in ("cmake", "cpp_extension") and line.sources
    assert [name for name, line in source.load().torchaudio.items() if "+" in line.torch] == ["2.11"]


def test_the_gpus_are_sane(facts: Facts) -> None:
    gpus = source.load().gpus
    known = {sm for torch in facts.torch.values() for v in torch.index.values() for sm in v.sm["x86_64"] or ()}
    assert len(gpus) >= 20
    for name, gpu in gpus.items():
        assert gpu.name == name and SM(gpu.sm) and "+" not in gpu.sm
        assert gpu.arch is None or ARCH(gpu.arch)
        assert covers(tuple(known), gpu.sm), f"{name}: no wheel at all has code for {gpu.sm}"
    assert {name for name, gpu in gpus.items() if gpu.arch == "aarch64"} == {"T4G", "GH200", "GB10"}
    assert (gpus["RTX 50"].sm, gpus["H100"].sm, gpus["P100"].sm) == ("12.0", "9.0", "6.0")
    assert [f.name for f in fields(source.Gpu)] == ["name", "sm", "arch"]


# ---- rows that are compiled ---------------------------------------------------------------------------------------


def row_text(torch: str, cuda: str, audio: str = "{from: source}", more: str = "") -> str:
    shown = torch if torch.startswith("{") else f'"{torch}"'
    return f'torch: {shown}, cuda: "{cuda}", python: "3.11", torchaudio: {audio}{more}'


FIVE = '{version: "2.5.0", from: source}'
# rule (None: resolves), torch, CUDA, torchaudio, the rest
ROWS = [
    ("source-cuda", "2.8.0", "13.0", "{from: source}", ""),
    (None, "2.8.0", "12.9", "{from: source}", ""),
    (None, "2.9.1", "13.0", "{from: source}", ""),
    (None, "2.15.0", "13.2", "{from: source}", ""),
    (None, "2.8.0", "cpu", "{from: source}", ""),
    ("source-sm", "2.5.1", "12.4", "{from: source}", ', sm: "12.0"'),
    (None, "2.7.1", "12.8", "{from: source}", ', sm: "12.0"'),
    ("source-sm", "2.9.1", "13.0", "{from: source}", ', sm: "6.1"'),
    (None, "2.9.1", "12.6", "{from: source}", ', sm: "6.1"'),
    ("source-sm", "2.15.0", "13.2", "{from: source}", ', sm: ["8.0", "7.0"]'),
    ("source-abi", FIVE, "12.4", '"2.5.0"', ""),
    ("source-abi", "{from: base}", "12.4", '"2.5.0"', ", base: a/b"),
    ("base-image", "{from: base}", "12.4", "{from: source, ref: v2.5.0}", ""),
    ("base-image", "{from: base}", "12.4", "{from: source, ref: v2.5.0}", ", base: local"),
    (None, "{from: base}", "12.4", "{from: source, ref: v2.5.0}", ", base: a/b"),
    ("source-tag", "{from: base}", "12.4", "{from: source}", ", base: a/b"),
    (None, '{version: "2.5.0a0+872d972e41", from: base}', "12.4", "{from: source}", ", base: a/b"),
    ("source-tag", "2.8.0", "12.8", '{version: "2.7.1", from: source}', ""),
    (None, "2.8.0", "12.8", '{version: "2.7.1", from: source, ref: main}', ""),
    ("source-tag", '{version: "1.13.1", from: source}', "12.4", "{from: source}", ""),
    (None, FIVE, "12.4", "{from: source}", ""),
    ("source-torch", FIVE, "13.0", "{from: source}", ""),
    ("source-torch", FIVE, "12.8", "{from: source}", ', sm: "12.0"'),
    (None, FIVE, "12.4", "{from: source}", ', sm: ["8.0", "9.0a"]'),
    (None, '{version: "2.8.0", from: source}', "12.8", "{from: source}", ', sm: "12.0"'),
]


@pytest.mark.parametrize(("rule", "torch", "cuda", "audio", "more"), ROWS)
def test_a_rule_for_what_is_compiled(
    row: MakeRow, facts: Facts, rule: str | None, torch: str, cuda: str, audio: str, more: str
) -> None:
    found = [
        p.rule.id for p in compat.problems(candidate(row(row_text(torch, cuda, audio, more)), facts, "nvidia"), facts)
    ]
    assert rule in found if rule else found == []


def test_the_row_of_an_ngc_container(spec: Callable[..., Spec]) -> None:
    found = spec(
        'name: ngc-24.01, base: "nvcr.io/nvidia/pytorch:24.01-py3", cuda: "12.3", python: "3.10", '
        "torch: {from: base}, torchaudio: {from: source, ref: v2.2.0}"
    )
    assert found.tag.startswith("base-audio2.2.0src-cu123-py310-ngc-24.01")
    assert (found.torchaudio, found.torchaudio_ref) == ("2.2.0", "v2.2.0")
    assert (found.base, found.image) == ("image", "nvcr.io/nvidia/pytorch:24.01-py3")
    assert (found.torch_from, found.torchaudio_from) == ("base", "source")
    (recipe,) = found.recipes
    assert (recipe.toolkit, recipe.cuda_home, recipe.sm, recipe.torch) == ("base", "/usr/local/cuda", (), None)
    assert not {"torch", "torchaudio"} & {r.name for r in found.requirements}, "pip would replace what is in the base"


def test_torch_and_torchaudio_from_source(spec: Callable[..., Spec]) -> None:
    found = spec(row_text(FIVE, "12.4", more=', sm: "8.0"'))
    assert (found.torch, found.torchaudio, found.torchaudio_ref, found.sm) == ("2.5.0", "2.5.0", "v2.5.0", ("8.0",))
    torch, audio = found.recipes
    assert (torch.package, torch.version, torch.ref, torch.commit) == ("torch", "2.5.0", "v2.5.0", None)
    assert (audio.package, audio.ref, audio.commit, audio.torch) == ("torchaudio", "v2.5.0", "56bc006d", "2.5.0")
    assert found.toolkit_image == "nvidia/cuda:12.4.1-cudnn-devel-ubuntu22.04"
    assert found.image == "nvidia/cuda:12.4.1-cudnn-runtime-ubuntu22.04"
    assert {"USE_CUDA", "USE_CUDNN", "USE_NCCL", "USE_FBGEMM", "USE_KINETO", "USE_OPENMP", "USE_MKLDNN"} <= {
        name for name, value in torch.environment if value == "1"
    }
    assert found.tag.startswith("2.5.0src-audio2.5.0src-cu124-py311")


def test_rows_from_source_are_rendered_like_any_other(project: Callable[..., Workspace]) -> None:
    workspace = project(
        f"images:\n  - {{{row_text('2.15.0', '13.2')}}}\n  - {{{row_text(FIVE, '12.4')}}}\n"
        '  - {torch: "2.8.0", cuda: "12.8", python: "3.11"}\n'
    )
    assert {s.name for s in workspace.everywhere()} == {row.name for row in workspace.rows}
    for text in workspace.rendered(workspace.everywhere()).values():
        assert text.count("\nFROM ") == len(set(re.findall(r"^FROM \S+ AS (\S+)", text, re.MULTILINE)))
