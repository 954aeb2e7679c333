"""Tag, labels, lock and report of one image: every disagreement is named."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from published import EIGHT, labels, lock, report, spec
from tests.docker.registries import failed

from torchpair import catalog, truth
from torchpair.catalog import Layer
from torchpair.report import Report

ID = "sha256:" + "1" * 64
SPEC = spec()


def said(**changes: str) -> dict[str, str]:
    return labels(SPEC) | {f"torchpair.{key.replace('_', '-')}": value for key, value in changes.items()}


def seen(**changes: Any) -> Report:
    found = report(SPEC, ID)
    return replace(found, environment={**found.environment, **changes})


@pytest.mark.parametrize(
    "text",
    [
        EIGHT,
        'torch: "2.14.1", cuda: "13.0", python: "3.13"',
        'torch: "2.6.0", cuda: "12.4", python: "3.12", base: local, distro: ubuntu24.04',
        'torch: "2.15.0", cuda: "13.2", python: "3.13", torchaudio: {version: "2.11.0", from: source}, sm: ["8.0"]',
        'torch: {version: "2.5.0", from: source}, cuda: "12.4", python: "3.11", torchaudio: {from: source}, '
        "base: nvidia",
        'name: mine, torch: "2.8.0", cuda: "12.8", python: "3.11"',
    ],
)
def test_what_the_factory_makes_agrees(text: str) -> None:
    of = spec(text)
    good = report(of, ID)
    assert truth.unproven(good) == []
    assert truth.disagreements(of.tag, labels(of), good, (ID,)) == []
    assert truth.of_row(of, labels(of), good, lock(of)) == []


def test_a_report_that_is_no_proof() -> None:
    good = report(SPEC, ID)
    assert truth.unproven(failed(good)) == ["the report says unhealthy: dsp.lfilter"]
    some = replace(good, checks=good.checks[:-1])
    assert some.verdict == "healthy" and "leaves out 1 checks" in truth.unproven(some)[0]
    waiting = replace(good, checks=tuple(replace(check, status="skip", needs="time") for check in good.checks))
    assert truth.unproven(waiting) == ["the report says inconclusive"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"row": "other"}, "row torch2.8.0-cu128-py311, the label says other"),
        ({"torch": "2.8.1"}, "torchpair.torch says 2.8.1, the running image 2.8.0+cu128"),
        ({"torchaudio": "2.7.1"}, "torchpair.torchaudio says 2.7.1"),
        ({"torchcodec": "0.7.0"}, "torchpair.torchcodec says 0.7.0, the running image none"),
        ({"cuda": "12.6"}, "torchpair.cuda says 12.6, the running image 12.8"),
        ({"cuda": "cpu"}, "torchpair.cuda says cpu"),
        ({"python": "3.1"}, "torchpair.python says 3.1, the running image 3.11.9"),
        ({"base": "nvidia:ubuntu22.04"}, "the report saw the base local:debian12"),
        ({"sm": "7.0 12.1+PTX"}, "torchpair.sm says 12.1+PTX"),
        ({"sm": "many"}, "torchpair.sm is many"),
        ({"min_driver": "none"}, "torchpair.min-driver says none"),
    ],
)
def test_a_label_that_lies(changes: dict[str, str], words: str) -> None:
    wrong = truth.disagreements(SPEC.tag, said(**changes), report(SPEC, ID), (ID,))
    assert any(words in line for line in wrong), wrong


@pytest.mark.parametrize("name", [f"torchpair.{name}" for name in truth.LABELS if name not in truth.OPTIONAL])
def test_a_label_that_is_missing(name: str) -> None:
    found = said()
    del found[name]
    assert f"there is no label {name}" in truth.disagreements(SPEC.tag, found, report(SPEC, ID), (ID,))


@pytest.mark.parametrize(
    "tag",
    [
        "2.8.1-cu128-py311-debian12", "2.8.0-cu126-py311-debian12", "2.8.0-cu128-py310-debian12",
        "2.8.0-cu128-py311-debian13", "latest",
    ],
)  # fmt: skip
def test_a_tag_that_lies(tag: str) -> None:
    wrong = truth.disagreements(tag, said() | {truth.TAG: tag}, report(SPEC, ID), (ID,))
    assert any(line.startswith(f"the tag {tag} ") for line in wrong), wrong
    assert any(truth.TAG in line for line in truth.disagreements(tag, said(), report(SPEC, ID), (ID,)))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"torch": "2.8.0+cu126"}, None),  # PyPI's label has no local part: the CUDA is compared by itself
        ({"torch_cuda": "12.6"}, "torchpair.cuda says 12.8, the running image 12.6"),
        ({"torch": None}, "the running image none"),
        ({"torch": 2.8}, "the running image none"),
        ({"sm": ["7.0"]}, None),  # machine code for 7.0 serves no 12.0
        ({"sm": None}, "torchpair.sm says"),
    ],
)
def test_a_running_image_that_is_another(changes: dict[str, Any], words: str | None) -> None:
    wrong = truth.disagreements(SPEC.tag, said(), seen(**changes), (ID,))
    if changes == {"torch": "2.8.0+cu126"}:
        assert wrong == []
    else:
        assert any((words or "torchpair.sm says") in line for line in wrong), wrong


def test_a_report_of_another_image() -> None:
    (line,) = truth.disagreements(SPEC.tag, said(), report(SPEC, ID), ("sha256:" + "2" * 64,))
    assert line.startswith("the report is of the image sha256:1111")


def test_the_row_and_its_lock() -> None:
    good = report(SPEC, ID)
    other = {**good.environment["distributions"], "numpy": "1.26.4"}
    wrong = replace(good, environment={**good.environment, "distributions": other})
    assert truth.of_row(SPEC, said(), wrong, lock(SPEC)) == ["numpy is locked at 2.4.6, the running image has 1.26.4"]
    none = replace(good, environment={})
    assert len(truth.of_row(SPEC, said(), none, lock(SPEC))) == 3
    assert truth.of_row(SPEC, said(), good, None) == ["the row has no lock"]
    drifted = truth.of_row(SPEC, said(min_driver="450.0"), good, lock(SPEC))
    assert drifted == ["the label torchpair.min-driver says 450.0, the row 525.60.13"]
    elsewhere = replace(good, image="torchpair:other")
    assert "the report is of torchpair:other" in truth.of_row(SPEC, said(), elsewhere, lock(SPEC))[0]


def test_the_catalogs_entry() -> None:
    layers = (Layer("base", "sha256:" + "3" * 64, 5), Layer("torch", "sha256:" + "4" * 64, 7))
    entry = truth.published(
        SPEC.tag, ("latest",), ID, "linux/amd64", layers, said(), seen(sm=["9.0a", "12.0 (PTX only)"]), None
    )
    assert (entry.size, entry.tags, entry.sm) == (12, (SPEC.tag, "latest"), ("9.0a", "12.0+PTX"))
    assert (entry.torch, entry.cuda, entry.torchcodec, entry.min_driver) == ("2.8.0", "12.8", None, "525.60.13")
    assert (entry.gpu_checked, entry.verdict) == (False, "healthy")
    assert catalog.published(catalog.plain(entry) | {"layers": [], "size": 0, "sm": []}, "x").tag == SPEC.tag
