"""The facts: the files read, and none says what another contradicts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from torchpair import compat
from torchpair import facts as facts_data
from torchpair.compat.wheels import STABLE_ABI
from torchpair.facts import ARCHES, Facts, cuda_family, cuda_tag

FILES = Path(facts_data.__file__).parent
RAW = {file.name: yaml.safe_load(file.read_text(encoding="utf-8")) for file in sorted(FILES.glob("*.yaml"))}
PYTHON = re.compile(r"3\.\d{1,2}t?")
TAG = re.compile(r"cpu|cu\d\d\d")


def test_the_files_load(facts: Facts) -> None:
    assert {"releases.yaml", "cuda.yaml"} <= RAW.keys()
    assert len(facts.torch) >= 26 and len(facts.torchaudio) >= 23 and len(facts.torchcodec) >= 25
    assert len(facts.toolkits) >= 30 and len(facts.distros) >= 6
    assert list(facts.torch) == sorted(facts.torch, key=Version), "a reader looks for a release where it belongs"


def test_every_torch_names_torchaudios_that_are_described(facts: Facts) -> None:
    for torch in facts.torch.values():
        assert torch.torchaudio, torch.version
        assert set(torch.torchaudio) <= facts.torchaudio.keys(), torch.version
    assert "2.11.1" in facts.torchaudio
    assert facts.torch["2.12.0"].torchaudio == ("2.11.0", "2.11.1")


def test_lockstep_pins_go_both_ways(facts: Facts) -> None:
    for audio in facts.torchaudio.values():
        pinned = Version(audio.version) < STABLE_ABI
        assert bool(audio.torch) == pinned, audio.version
        if audio.torch:
            assert facts.torch[audio.torch].torchaudio == (audio.version,)


def test_a_torch_and_its_torchaudio_share_pypi_variants_and_glibc_keys(facts: Facts) -> None:
    for torch in facts.torch.values():
        assert set(torch.pypi) == set(torch.glibc) == set(torch.pythons) == set(ARCHES), torch.version
        if torch.version in facts.torchaudio:
            assert torch.pypi == facts.torchaudio[torch.version].pypi, torch.version


@pytest.mark.parametrize("kind", ["torch", "torchaudio", "torchcodec"])
def test_pythons_and_variants_are_sane(facts: Facts, kind: str) -> None:
    for release in getattr(facts, kind).values():
        pythons = release.pythons.values() if kind == "torch" else [release.pythons]
        for found in pythons:
            assert found and len(set(found)) == len(found), release.version
            assert all(PYTHON.fullmatch(python) for python in found), release.version
            plain = [Version(python.rstrip("t")) for python in found]
            assert plain == sorted(plain), release.version
        assert set(release.pypi) <= set(ARCHES)
        tags = {*release.pypi.values(), *(getattr(release, "index", None) or ())}
        assert all(TAG.fullmatch(tag) for tag in tags), release.version


@pytest.mark.parametrize(
    ("version", "x86_64", "aarch64"),
    [
        ("2.0.1", "cu117", "cpu"),
        ("2.1.0", "cu121", "cpu"),
        ("2.5.1", "cu124", "cpu"),
        ("2.7.1", "cu126", "cpu"),
        ("2.10.0", "cu128", "cpu"),
        ("2.11.0", "cu130", "cu130"),
        ("2.15.0", "cu132", "cu132"),
    ],
)
def test_what_a_plain_install_brings(facts: Facts, version: str, x86_64: str, aarch64: str) -> None:
    assert facts.torch[version].pypi == {"x86_64": x86_64, "aarch64": aarch64}


def test_architectures_parse_and_variants_name_known_cpus(facts: Facts) -> None:
    for torch in facts.torch.values():
        for tag, variant in torch.index.items():
            assert set(variant.arches or ()) <= set(ARCHES), (torch.version, tag)
            for sm in variant.sm.values():
                assert all(re.fullmatch(r"\d{1,2}\.\d(\+PTX)?", one) for one in sm or ()), (torch.version, tag)


def test_torchcodec_specifiers_match_a_release(facts: Facts) -> None:
    for torch in facts.torch.values():
        if torch.torchcodec:
            fitting = [v for v in facts.torchcodec if SpecifierSet(torch.torchcodec).contains(v)]
            assert fitting, torch.version
        else:
            assert Version(torch.version) < Version("2.4"), torch.version


def sources_used(value: object) -> set[str]:
    if isinstance(value, dict):
        own = value.get("sources") or ([value["source"]] if "source" in value else [])
        return {*own, *(s for child in value.values() for s in sources_used(child))}
    return set()


@pytest.mark.parametrize("name", RAW)
def test_every_source_is_explained_in_its_file(name: str) -> None:
    body = {key: value for key, value in RAW[name].items() if key != "sources"}
    used = sources_used(body)
    assert used and used <= RAW[name]["sources"].keys()


def test_every_rule_names_evidence_that_exists(facts: Facts) -> None:
    explained = {key for body in RAW.values() for key in body["sources"]}
    assert facts.sources.keys() <= explained
    for rule in compat.RULES.values():
        assert set(rule.evidence) <= explained, rule.id
        assert rule.evidence or rule.id == "base-image", "which asks for a key and claims nothing"


def test_toolkits_stand_on_known_distributions(facts: Facts) -> None:
    # 18.04 is listed because the tags exist; no base of ours is that old.
    known = {d.version for d in facts.distros.values() if d.family == "ubuntu"} | {"18.04"}
    for toolkit in facts.toolkits.values():
        assert toolkit.ubuntu and set(toolkit.ubuntu) <= known, toolkit.version
        assert toolkit.family.split(".")[0] in facts.driver


def test_every_published_cuda_has_a_toolkit_and_a_driver(facts: Facts) -> None:
    tags = {t for torch in facts.torch.values() for t in (*torch.pypi.values(), *torch.index)} - {"cpu"}
    for tag in tags:
        family = cuda_family(tag)
        assert facts.newest_toolkit(family), family
        assert family.split(".")[0] in facts.driver


@pytest.mark.parametrize(
    ("family", "newest"),
    [("12.8", "12.8.1"), ("12.6", "12.6.3"), ("12.9", "12.9.2"), ("13.0", "13.0.3"), ("12.7", None)],
)
def test_newest_toolkit(facts: Facts, family: str, newest: str | None) -> None:
    found = facts.newest_toolkit(family)
    assert (found.version if found else None) == newest


def test_newest_is_by_version_not_by_text(facts: Facts) -> None:
    from dataclasses import replace

    toolkit = facts.toolkits["12.8.1"]
    more = {v: replace(toolkit, version=v) for v in ("12.8.10", "12.8.9")}
    newest = replace(facts, toolkits={**more, **facts.toolkits}).newest_toolkit("12.8")
    assert newest and newest.version == "12.8.10"


@pytest.mark.parametrize(("cuda", "tag"), [("12.8", "cu128"), ("11.8", "cu118"), ("13.0", "cu130"), ("cpu", "cpu")])
def test_tag_and_family_round_trip(cuda: str, tag: str) -> None:
    assert cuda_tag(cuda) == tag
    assert cuda_family(tag) == cuda


def test_every_tag_in_the_facts_round_trips(facts: Facts) -> None:
    for torch in facts.torch.values():
        for tag in (*torch.pypi.values(), *torch.index):
            assert cuda_tag(cuda_family(tag)) == tag


def test_a_file_that_is_not_as_described_is_an_error(tmp_path: Path) -> None:
    for name in RAW:
        (tmp_path / name).write_text((FILES / name).read_text(encoding="utf-8").replace("\ntorchaudio:", "\naudio:"))
    with pytest.raises(facts_data.FactsError, match="torchaudio"):
        facts_data.load(tmp_path)
