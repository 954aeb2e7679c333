"""Why a combination is as it is, and what stands in its place: as data, as lines, and as rows to paste."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from torchpair import compat, matrix, search
from torchpair.errors import TorchpairError
from torchpair.explain import Explanation, described, evidence, explain, lines, request, to_json, yaml_row
from torchpair.facts import Facts, cuda_family
from torchpair.matrix import Package, Row
from torchpair.neighbours import nearest
from torchpair.resolve import resolve
from torchpair.spec import Spec

MakeRow = Callable[[str], Row]
GOOD = 'torch: "2.8.0", cuda: "12.8", python: "3.11"'


def pasted(*offered: str) -> list[Row]:
    """Rows of a matrix that has these lines."""
    return list(matrix.parse("images:\n" + "".join(f"  {line}\n" for line in offered)))


def offers(e: Explanation, facts: Facts, base: str = "nvidia") -> list[dict[str, Any]]:
    """The alternatives of an explanation, after what holds for each: pasted into a matrix they are what they say."""
    found: list[dict[str, Any]] = to_json(e, facts)["alternatives"]
    assert 0 < len(found) <= 3 and len(found) == len(e.options)
    for body, option in zip(found, e.options, strict=True):
        (row,) = pasted(body["write"])
        assert body["changes"] == list(option.changes)
        got = described(resolve(row, facts, base))
        assert got == {key: body[key] for key in got}
    text = lines(e, facts)
    assert [line.strip() for line in text if line.strip().startswith("- {")] == [body["write"] for body in found]
    return found


# ---- refused ------------------------------------------------------------------------------------------------------

Short = tuple[str, str, str, str]
REFUSED: list[tuple[dict[str, Any], list[str], Short, Short | None]] = [
    (
        {"torch": "2.15.0", "cuda": "13.2", "python": "3.12"}, ["cuda-equality"],
        ("2.15.0", "13.2", "3.12", "source"), ("2.14.1", "13.0", "3.12", "wheel"),
    ),
    (
        {"torch": "2.15.0", "cuda": "13.2", "python": "3.10"}, ["wheel-python", "cuda-equality"],
        ("2.14.1", "13.0", "3.10", "wheel"), None,
    ),
    ({"torch": "2.8.0", "python": "3.14"}, ["wheel-python", "torchaudio-python"], ("2.9.1", "12.8", "3.14", "wheel"),
     ("2.8.0", "12.8", "3.13", "wheel")),
    ({"torch": "2.8.0", "cuda": "12.4"}, ["wheel-cuda"], ("2.8.0", "12.8", "3.12", "wheel"),
     ("2.8.0", "12.6", "3.12", "wheel")),
    ({"torch": "2.5.1", "python": "3.13"}, ["torchaudio-python"], ("2.6.0", "12.4", "3.13", "wheel"),
     ("2.5.1", "12.4", "3.12", "wheel")),
    ({"torch": "2.1.0", "sm": ["12.0"]}, ["sm-covered"], ("2.7.1", "12.8", "3.11", "wheel"), None),
    ({"torch": "9.9.9"}, ["torch-known"], ("2.14.1", "13.0", "3.12", "wheel"), None),
    ({"torch": "2.8.0", "torchaudio": "2.7.1"}, ["lockstep", "cuda-equality"], ("2.8.0", "12.8", "3.12", "wheel"),
     None),
    ({"torch": "2.10.0", "torchaudio": "2.11.0"}, ["stable-abi", "cuda-equality"], ("2.10.0", "12.8", "3.12", "wheel"),
     None),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "rules", "first", "also"), REFUSED, ids=lambda v: str(v)[:60])
def test_refused_by_its_rule_with_a_way_out(
    facts: Facts, asked: dict[str, Any], rules: list[str], first: Short, also: Short | None
) -> None:
    e = explain(request(facts, **asked), facts)
    assert e.spec is None
    assert [p.rule.id for p in e.problems] == rules
    found = [
        (o["torch"]["version"], o["cuda"], o["python"], o["torchaudio"]["from"]) for o in offers(e, facts, "nvidia")
    ]
    assert found[0] == first
    assert also is None or also in found

    body = to_json(e, facts)
    assert body["ok"] is False and "torch" not in body and "decisions" not in body
    assert [p["rule"] for p in body["problems"]] == [p.rule.id for p in e.problems]
    text = "\n".join(lines(e, facts))
    for problem in body["problems"]:
        assert f"refused by rule {problem['rule']}: {problem['detail']}\n    {problem['sentence']}" in text
        assert problem["evidence"] and all(f"    evidence: {source}" in text for source in problem["evidence"])
        assert problem["remedy"] is None or f"    try: {problem['remedy']}" in text
    assert "forced" not in text


def test_the_best_comes_first(facts: Facts) -> None:
    """In the order of neighbours.nearest: distances grow (test_search.py); the CUDA asked for before another one."""
    row = request(facts, "2.15.0", cuda="13.2", python="3.12")
    e = explain(row, facts)
    assert e.options == tuple(nearest(row, facts, "nvidia"))
    assert [o.distance for o in e.options] == sorted(o.distance for o in e.options)
    assert [o["torch"]["version"] for o in offers(e, facts)] == ["2.15.0", "2.14.1", "2.14.0"]
    assert offers(e, facts)[0]["changes"][0] == "compile torchaudio"


@pytest.mark.parametrize("base", ["nvidia", "local"])
def test_an_offer_keeps_the_base_that_the_row_names(row: MakeRow, facts: Facts, base: str) -> None:
    """On whatever base the command line asks: the row's own wins."""
    e = explain(row(f'torch: "2.8.0", cuda: "12.4", python: "3.11", base: {base}'), facts, "nvidia")
    for body in offers(e, facts, "local" if base == "nvidia" else "nvidia"):
        assert body["base"] == base and f'base: "{base}"' in body["write"]
    plain = explain(row('torch: "2.8.0", cuda: "12.4", python: "3.11"'), facts, base)
    assert all("base: " not in body["write"] for body in offers(plain, facts, base))


def test_an_offer_that_only_leaves_something_out_says_so(row: MakeRow, facts: Facts) -> None:
    e = explain(row('torch: "2.8.0", cuda: "12.8", python: "3.12", distro: debian13'), facts)
    assert "distro-known" in {p.rule.id for p in e.problems}
    assert offers(e, facts)[0]["write"] == '- {torch: "2.8.0", cuda: "12.8", python: "3.12"}'
    assert "      torchaudio 2.8.0, from PyPI; distro ubuntu24.04 instead of debian13" in lines(e, facts)


def test_force_shows_the_problems_and_what_is_built(row: MakeRow, facts: Facts) -> None:
    e = explain(row('torch: "2.5.1", cuda: "12.4", python: "3.13", force: true'), facts)
    assert e.spec and [p.rule.id for p in e.problems] == ["torchaudio-python"]
    text = lines(e, facts)
    assert text[0].startswith("refused by rule torchaudio-python: ")
    assert text.index("forced: built all the same, the check decides") < next(
        i for i, line in enumerate(text) if line.startswith("torchaudio  2.5.1")
    )
    assert {"decisions", "problems"} <= to_json(e, facts).keys() and offers(e, facts)
    unknown = explain(row('torch: "9.9.9", cuda: "12.8", python: "3.13", force: true'), facts)
    assert unknown.spec is None and "forced" not in "\n".join(lines(unknown, facts))


# ---- resolved -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("base", "image"), [("nvidia", "nvidia/cuda:12.8"), ("local", "torchpair-base:debian12")])
def test_what_was_decided_by_which_rule(row: MakeRow, facts: Facts, base: str, image: str) -> None:
    e = explain(row(GOOD), facts, base)
    assert e.spec == resolve(row(GOOD), facts, base) and e.problems == e.options == ()
    body = to_json(e, facts)
    assert body["ok"] is True and body["problems"] == body["alternatives"] == []
    assert body["torchaudio"]["version"] == "2.8.0" and body["base"] == base and body["image"].startswith(image)
    assert json.loads(json.dumps(body)) == body
    by_subject = {d["subject"]: d for d in body["decisions"]}
    assert {"torch", "torchaudio", "torchcodec", "numpy", "base", "python", "sm", "min_driver"} == by_subject.keys()
    assert (by_subject["torchaudio"]["rule"], by_subject["torch"]["rule"]) == ("lockstep", "wheel-cuda")
    text = lines(e, facts)
    assert len(text) == len(by_subject)
    for line, decision in zip(text, body["decisions"], strict=True):
        assert line.startswith(decision["subject"]) and decision["value"] in line and decision["because"] in line
        assert line.endswith(f"[{decision['rule']}]") == bool(decision["rule"]) == bool(decision["evidence"])


def test_a_row_from_source_says_what_is_compiled_and_with_what(facts: Facts) -> None:
    e = explain(request(facts, "2.15.0", python="3.12", from_source=True), facts)
    body = to_json(e, facts)
    assert body["torchaudio"] == {"version": "2.11.0", "from": "source", "ref": "v2.11.0"}
    assert body["compiled"] == ["torchaudio"]
    (toolkit,) = [d for d in body["decisions"] if d["subject"] == "toolkit"]
    assert (toolkit["value"], toolkit["rule"]) == ("devel", "toolkit") and "devel" in toolkit["because"]


def test_every_rule_has_its_evidence_in_words(facts: Facts) -> None:
    for rule in compat.RULES.values():
        assert all(len(text) > 10 for text in evidence(rule, facts))
        assert evidence(rule, facts) or rule.id == "base-image"


# ---- a request ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
def test_by_default_what_most_people_would_get(facts: Facts, arch: str) -> None:
    """PyPI's CUDA, and a Python that torch and torchaudio both have: 3.12 wherever they do."""
    for version, torch in facts.torch.items():
        row = request(facts, version, arch=arch)
        assert row.torch == Package(version) and row.arch == arch and row.name
        assert row.cuda == cuda_family(torch.pypi[arch]) and row.python in torch.pythons[arch]
        has = set(torch.pythons[arch]) & set(facts.torchaudio[torch.torchaudio[0]].pythons)
        assert row.python in has and ("3.12" in has) == (row.python == "3.12")


@pytest.mark.parametrize(
    ("torch", "cuda", "python"), [("2.1.0", "12.1", "3.11"), ("2.5.1", "12.4", "3.12"), ("9.9.9", "13.0", "3.12")]
)
def test_defaults(facts: Facts, torch: str, cuda: str, python: str) -> None:
    row = request(facts, torch)
    assert (row.cuda, row.python) == (cuda, python)


def test_the_same_gpu_twice_is_one(facts: Facts) -> None:
    """A matrix refuses the same value twice: an offer that repeated it could not be pasted."""
    row = request(facts, "2.8.0", sm=["3.5", "3.5"])
    assert row.sm == ("3.5",)
    assert offers(explain(row, facts), facts)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("torch", "2.8"), ("torch", ""), ("torch", "2.8.0\n"), ("torch", "2.8.0 "), ("torch", "\u0662.8.0"),
        ("cuda", "12"), ("cuda", "128"), ("python", "3"), ("python", "2.7"), ("torchaudio", "latest"),
        ("arch", "arm64"), ("sm", ["120"]), ("sm", ["8.0", "\x1b[31m"]),
    ],
)  # fmt: skip
def test_a_value_of_the_wrong_form(facts: Facts, option: str, value: Any) -> None:
    with pytest.raises(TorchpairError) as refused:
        request(facts, **{"torch": "2.8.0", option: value})
    shown = value[-1] if isinstance(value, list) else value
    assert refused.value.what == f"--{option} {shown!r} is not allowed"
    assert (refused.value.remedy or "").startswith("write ") and "\x1b" not in str(refused.value)


# ---- rows to paste ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", ["nvidia", "local"])
@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
def test_every_combination_of_wheels_survives_pasting(facts: Facts, arch: str, base: str) -> None:
    specs = search.satisfiable(facts, arch, base)
    rows = pasted(*(yaml_row(spec) for spec in specs))
    assert [resolve(row, facts, base) for row in rows] == list(specs)


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        f"{GOOD}, base: local, distro: debian12, index: pypi",
        f'{GOOD}, sm: ["8.6", "9.0a", "12.0+PTX"]',
        'torch: "2.8.0", cuda: "12.6", python: "3.11", index: pytorch, torchaudio: "2.8.0"',
        'torch: "2.14.1", cuda: "13.0", python: "3.14t", arch: aarch64',
        'torch: "2.14.1", cuda: "13.0", python: "3.13", torchcodec: "0.17.0", torchaudio: {from: source}',
        f"{GOOD}, torchaudio: {{from: source, ref: release/2.8}}",
        'torch: {version: "2.8.0", from: source}, cuda: "12.8", python: "3.11", torchaudio: {from: source}',
        'torch: {version: "2.6.0a0+ecf3bae40a.nv25.01", from: base}, cuda: "12.8", python: "3.12", '
        'base: "nvcr.io/nvidia/pytorch:25.01-py3", distro: ubuntu24.04, torchaudio: {version: "2.6.0", from: source}',
    ],
)  # fmt: skip
def test_every_kind_of_row_survives_pasting(row: MakeRow, spec: Callable[..., Spec], facts: Facts, text: str) -> None:
    base = "local" if "base: local" in text else "nvidia"
    written = yaml_row(spec(text, base))
    (again,) = pasted(written)
    assert again == row(text) and resolve(again, facts, base) == spec(text, base)
    assert yaml_row(resolve(again, facts, base)) == written
