"""The schema of the facts: the shipped files pass, and every kind of mistake is refused with its place."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from torchpair.facts import CUDA, FOLDER, RELEASES, FactsError, load, parse, schema

TEXT = {name: (FOLDER / name).read_text(encoding="utf-8") for name in (RELEASES, CUDA)}


# The two files in small, in the layout of the shipped ones: checking those takes 0.1 s, too much for every mistake.
SMALL = {
    RELEASES: """\
# What upstream published.
schema: torchpair.facts.releases/1
collected: 2026-11-21
sources:
  wheels: "package metadata"

torchaudio:
  "2.0.1":
    torch: "2.0.0"
    cuda_check: exact
    pythons: ["3.8", "3.9", "3.10"]
    pypi: {x86_64: "cu117", aarch64: "cpu"}
    sources: ["wheels"]
  "2.11.0":
    torch: null
    cuda_check: exact
    pythons: ["3.10", "3.13", "3.13t"]
    pypi: {x86_64: "cu130", aarch64: "cu130"}
    index:
      cu130: {arches: ["x86_64", "aarch64"]}
    sources: ["wheels"]
  "2.11.1":
    torch: null
    cuda_check: major
    pythons: ["3.10", "3.13"]
    pypi: null
    index: null
    status: "not on PyPI as seen"
    sources: ["wheels"]

# torchcodec on PyPI.
torchcodec:
  "0.5": {pythons: ["3.9", "3.10"], pypi: {x86_64: "cpu"}, sources: ["wheels"]}
  "0.12.0": {pythons: ["3.10", "3.13"], pypi: {x86_64: "cpu", aarch64: "cu130"}, sources: ["wheels"]}

torch:
  "2.0.0":
    torchaudio: ["2.0.1"]
    torchcodec: null
    torchvision: "0.15.1"
    pythons: ["3.8", "3.9", "3.10"]
    pypi: {x86_64: "cu117", aarch64: "cpu"}
    index:
      cpu: {arches: ["x86_64"]}
      cu117: {arches: ["x86_64"], sm: ["3.7", "5.0", "8.6"], cudnn: "8.5.0.96"}
    glibc: {x86_64: "2.17", aarch64: "2.17"}
    cxx_standard: 17
    nccl: "2.14.3"
    triton: "==2.0.0"
    setuptools: "setuptools ; python_version >= '3.12'"
    numpy: "<2"
    sources: ["wheels"]
    notes:
      - "a note"
  "2.12.0":
    torchaudio: ["2.11.0", "2.11.1"]
    torchcodec: ">=0.12"
    pythons: ["3.10", "3.13", "3.13t"]
    pypi: {x86_64: "cu130", aarch64: "cu130"}
    index:
      cu130: {arches: ["x86_64", "aarch64"], sm: ["7.5", "9.0", "12.0+PTX"], sm_aarch64: ["9.0", "11.0"]}
      cu132: {arches: null, status: "planned", sm: null}
    glibc: {x86_64: "2.28", aarch64: "2.28"}
    numpy: ">=1.21"
    sources: ["wheels"]
""",
    CUDA: """\
schema: torchpair.facts.cuda/1
collected: 2026-11-21
sources:
  cog: "a list of tags"
driver: {"11": "450.80.02", "13": "580.65.06"}
dropped_sm: {"12.0": ["3.7"], "13.0": ["5.0", "7.0"]}
min_cuda_for_sm: {"9.0": "11.8", "11.0": "13.0", "12.0": "12.8"}
distros:
  ubuntu22.04: {family: ubuntu, version: "22.04", codename: jammy, glibc: "2.35", python: "3.10", ffmpeg: 4,
    source: cog}
  debian12: {family: debian, version: "12", codename: bookworm, glibc: null, python: "3.11", ffmpeg: 5, source: cog}
toolkits:
  "11.7.1": {toolkit_driver: "515.48.07", cudnn: "cudnn8", ubuntu: ["22.04"], gcc_max: 11,
    gcc_max_status: "verified", source: "cog"}
""",
}


def line_of(text: str, part: str) -> int:
    return text[: text.index(part)].count("\n") + 1


def changed(name: str, old: str, new: str) -> dict[str, str]:
    """Both texts, with the first `old` of one replaced."""
    assert old in SMALL[name], "this test breaks something that is not there"
    return {**SMALL, name: SMALL[name].replace(old, new, 1)}


def refused(texts: dict[str, str]) -> FactsError:
    with pytest.raises(FactsError) as caught:
        schema.check(texts[RELEASES], texts[CUDA], Path("facts"))
    return caught.value


def test_the_shipped_files_pass_and_keep_their_sources_and_marks() -> None:
    facts = schema.validate()
    assert facts == load()
    assert all(entry.sources for entry in (*facts.torch.values(), *facts.torchaudio.values()))
    assert all(entry.sources for entry in facts.torchcodec.values())
    assert all(entry.source for entry in (*facts.toolkits.values(), *facts.distros.values()))
    assert facts.toolkits["13.2.0"].gcc_max_status == "inferred"
    assert (facts.torch["2.15.0"].cudnn, facts.torch["2.15.0"].triton) == ("9.26.0.51", "~=3.9.0")
    assert "not on PyPI" in (facts.torchaudio["2.11.1"].status or "")


def test_what_was_found_in_the_wheels() -> None:
    facts = load()
    assert facts.torchcodec["0.11.0"].pypi == {"x86_64": "cu130", "aarch64": "cu130"}
    assert facts.torchcodec["0.12.0"].pypi == {"x86_64": "cpu", "aarch64": "cu130"}
    assert facts.torch["2.14.1"].index["cu130"].sm["x86_64"] == ("7.5", "8.0", "8.6", "9.0", "10.0", "12.0")


def test_loading_stays_cheap() -> None:
    best = min(_seconds() for _ in range(3))
    assert best < 0.15, "every command pays for this; 0.04 s on two cores in 2026, with libyaml"


def _seconds() -> float:
    start = time.perf_counter()
    parse(TEXT[RELEASES], TEXT[CUDA])
    return time.perf_counter() - start


SPELLING = [
    (RELEASES, "facts.releases/1", "facts.releases/2", "schema", "facts.releases/2"),
    (RELEASES, "triton: ", "tritn: ", "torch.2.0.0.tritn", "unknown key"),
    (RELEASES, 'numpy: "<2"\n', 'status: "s"\n', "torch.2.0.0", "'numpy' is missing"),
    (RELEASES, "collected: 2026-11-21", "collected: soon", "collected", "not a timestamp"),
    (RELEASES, 'nccl: "2.14.3"', "nccl: 2.14", "torch.2.0.0.nccl", "not a text"),
    (RELEASES, "cxx_standard: 17", 'cxx_standard: "17"', "torch.2.0.0.cxx_standard", "not a int"),
    (RELEASES, "cu117: {arches", "cu11: {arches", "torch.2.0.0.index.cu11", "CUDA variant"),
    (RELEASES, '{x86_64: "cu117"', '{x86_64: "cu117\\n"', "torchaudio.2.0.1.pypi.x86_64", "CUDA variant"),
    (RELEASES, '{x86_64: "cu117"', '{amd64: "cu117"', "torchaudio.2.0.1.pypi.amd64", "x86_64"),
    (RELEASES, 'pypi: {x86_64: "cu117", aarch64: "cpu"}', 'pypi: "cu117"', "torchaudio.2.0.1.pypi", "not a mapping"),
    (RELEASES, '["3.7", "5.0",', '["5.0", "3.7",', "torch.2.0.0.index.cu117.sm", "ascending"),
    (RELEASES, '["3.7", "5.0",', '["3.7", "3.7+PTX",', "torch.2.0.0.index.cu117.sm", "twice"),
    (RELEASES, '["3.7", "5.0",', '["3.7", "sm_50",', "torch.2.0.0.index.cu117.sm", "compute capability"),
    (RELEASES, '"3.8", "3.9", "3.10"', '"3.10", "3.8", "3.9"', "torchaudio.2.0.1.pythons", "ascending"),
    (RELEASES, '"3.8", "3.9"', '"3.8", "3.9 "', "torchaudio.2.0.1.pythons", "a Python"),
    (RELEASES, '"3.8", "3.9"', '3.8, "3.9"', "torchaudio.2.0.1.pythons", "put it in quotes"),
    (RELEASES, '"3.8", "3.9"', '"3.8", "3.8"', "torchaudio.2.0.1.pythons", "twice"),
    (RELEASES, "cuda_check: exact", "cuda_check: same", "torchaudio.2.0.1.cuda_check", '"exact" or "major"'),
    (RELEASES, 'glibc: {x86_64: "2.17"', 'glibc: {x86_64: "2,17"', "torch.2.0.0.glibc.x86_64", "a glibc"),
    (RELEASES, '">=0.12"', '"=>0.12"', "torch.2.12.0.torchcodec", "specifier"),
    (RELEASES, '"setuptools ;', '"set tools ;', "torch.2.0.0.setuptools", "requirement"),
    (RELEASES, '"0.12.0": {', '"0.5": {', "torchcodec.0.5", "twice"),
    (RELEASES, '"0.12.0": {', '"0.5.0": {', "torchcodec", "twice"),
    (RELEASES, '"0.12.0": {', '"0.4": {', "torchcodec", "ascending"),
    (RELEASES, '"0.5": {', "0.5: {", "torchcodec", "put it in quotes"),
    (RELEASES, "notes:\n", "status:\n", "torch.2.0.0.status", "not a text"),
    (CUDA, 'ubuntu: ["22.04"]', "ubuntu: []", "toolkits.11.7.1.ubuntu", "empty"),
    (CUDA, 'gcc_max_status: "verified"', 'gcc_max_status: "sure"', "toolkits.11.7.1.gcc_max_status", '"verified"'),
    (CUDA, 'cudnn: "cudnn8"', 'cudnn: "8"', "toolkits.11.7.1.cudnn", '"cudnn8"'),
    (CUDA, 'driver: {"11"', 'driver: {"elf"', "driver.elf", "CUDA major"),
    (CUDA, "family: ubuntu", "family: fedora", "distros.ubuntu22.04.family", "debian"),
]


def test_the_small_files_pass() -> None:
    assert list(schema.check(SMALL[RELEASES], SMALL[CUDA]).torch) == ["2.0.0", "2.12.0"]


@pytest.mark.parametrize(("name", "old", "new", "key", "says"), SPELLING, ids=[f"{s[3]}-{s[4]}" for s in SPELLING])
def test_a_misspelt_file_is_refused_with_its_line(name: str, old: str, new: str, key: str, says: str) -> None:
    error = refused(changed(name, old, new))
    assert says in str(error)
    # What concerns a whole entry or table has the line where that begins.
    line = line_of(SMALL[name], {"torchcodec": "torchcodec:\n", "torch.2.0.0": '"2.0.0":\n'}.get(key, old))
    if key != "schema":  # refused by load already, before there are lines
        assert error.where == f"facts/{name}:{line}: {key}"


TORCH = '"2.0.0":\n    torchaudio: '
PYPI = 'pypi: {x86_64: "cu117", aarch64: "cpu"}'
CONTRADICTIONS = [
    (RELEASES, TORCH + '["2.0.1"]', TORCH + '["2.0.9"]', "torchaudio 2.0.9 is not in the torchaudio table"),
    (RELEASES, '["2.11.0", "2.11.1"]', '["2.11.0", "2.0.1"]', "torchaudio 2.0.1 pins torch 2.0.0, not 2.12.0"),
    (RELEASES, TORCH + '["2.0.1"]', TORCH + '["2.11.0"]', "whose entry names torchaudio 2.11.0"),
    (RELEASES, 'torch: "2.0.0"', 'torch: "2.0.7"', "pins torch 2.0.7, not 2.0.0"),
    (RELEASES, 'torch: null\n', 'torch: "2.9.9"\n', "pins torch 2.9.9, not 2.12.0"),
    (RELEASES, '["wheels"]', '["hearsay"]', "'hearsay' is not explained"),
    (CUDA, "source: cog", "source: wheels", "'wheels' is not explained"),
    (RELEASES, PYPI, PYPI.replace("cu117", "cu118"), "published for one CUDA"),
    (RELEASES, PYPI, 'pypi: {x86_64: "cu117"}', "torchaudio 2.0.1 has None"),
    (RELEASES, 'glibc: {x86_64: "2.17", aarch64: "2.17"}', 'glibc: {x86_64: "2.17"}', "says nothing of aarch64"),
    (RELEASES, '">=0.12"', '">=7"', "no torchcodec in the table satisfies"),
    (RELEASES, 'arches: null, status: "planned"', "arches: null", "no status says why"),
    (RELEASES, 'cpu: {arches: ["x86_64"]}', 'cpu: {arches: ["x86_64"], sm: ["8.0"]}', "no code for GPUs"),
    (RELEASES, '"5.0", "8.6"]', '"5.0", "9.0"]', "CUDA 11.7 cannot make code for 9.0"),
    (RELEASES, '["7.5", "9.0"', '["7.0", "9.0"', "dropped in CUDA 13.0"),
    (RELEASES, 'cu117: {arches: ["x86_64"], sm', 'cu117: {arches: ["aarch64"], sm', "and no wheel for it"),
    (RELEASES, '    status: "not on PyPI as seen"\n', "", "no status says why"),
    (RELEASES, '    index:\n      cu130: {arches: ["x86_64", "aarch64"]}\n', "", "there is no torch 2.11.0 to"),
    (RELEASES, 'numpy: ">=1.21"', 'numpy: ">=1.21"\n    requires_python: ">=3.11"', "3.10 contradicts"),
    (CUDA, 'ubuntu: ["22.04"]', 'ubuntu: ["18.04", "22.04"]', "ubuntu18.04 is not among distros"),
    (CUDA, ', "13": "580.65.06"}', "}", "no driver for that CUDA major"),
    (CUDA, '{"11": "450.80.02", ', '{"12": "450.80.02", ', "no driver for that CUDA major"),
    (CUDA, "  debian12: {", "  debian11: {", "is named debian11"),
    (CUDA, '"9.0": "11.8"', '"9.0": "13.1"', "cannot make code for 9.0"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "old", "new", "says"), CONTRADICTIONS, ids=[c[3] for c in CONTRADICTIONS])
def test_a_contradiction_is_refused(name: str, old: str, new: str, says: str) -> None:
    error = refused(changed(name, old, new))
    assert says in str(error)
    assert error.where and error.where.split(":")[1].isdigit(), "a line to look at"


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "torch: [\n", "a: b: c\n", "\0", "schema: x\n"])
def test_what_is_no_facts_file_at_all(text: str) -> None:
    error = refused({**SMALL, CUDA: text})
    assert error.where and error.where.startswith(f"facts/{CUDA}")
    with pytest.raises(FactsError):
        parse(SMALL[RELEASES], text)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("    cuda_check: exact\n", "", "torchaudio.2.0.1: the key 'cuda_check' is missing"),
        ('["3.8", "3.9", "3.10"]', '"3.8"', "a list of texts is needed, not '3.8'"),
        ('["3.8", "3.9"', '[3.8, "3.9"', "a list of texts"),
        ('  "0.5": {', "  0.5: {", "must stand in quotes"),
    ],
)
def test_the_cheap_reading_refuses_what_would_mislead_it(old: str, new: str, says: str) -> None:
    texts = changed(RELEASES, old, new)
    with pytest.raises(FactsError, match=RELEASES) as caught:
        parse(texts[RELEASES], texts[CUDA])
    assert says in str(caught.value)


def test_a_missing_or_unreadable_file(tmp_path: Path) -> None:
    with pytest.raises(FactsError, match=RELEASES):
        schema.validate(tmp_path)
    shutil.copy(FOLDER / CUDA, tmp_path)
    (tmp_path / RELEASES).write_bytes(b"\xff\xfe")
    with pytest.raises(FactsError, match="cannot be read"):
        load(tmp_path)
