"""How a row is compiled, and what of it stands in its Dockerfile."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from test_render import FILES, ROOT, UID, parse, spec_of, stages

from torchpair import mirrors, recipe, render, source
from torchpair.errors import ResolveError
from torchpair.matrix import Mirror
from torchpair.spec import Spec
from torchpair.workspace import Workspace

MakeSpec = Callable[..., Spec]
COMPILED = [f for f in FILES if "compiler.pyz" in f.read_text(encoding="utf-8")]
compiled_file = pytest.mark.parametrize("file", COMPILED, ids=[f"{f.parent.name}/{f.name}" for f in COMPILED])
AUDIO = 'torch: "%s", cuda: "%s", python: "%s", torchaudio: {from: source}'


def audio(spec: MakeSpec, torch: str, cuda: str, python: str, base: str = "local", more: str = "") -> recipe.Recipe:
    (found,) = spec((AUDIO % (torch, cuda, python)) + more, base).recipes
    return found


@pytest.mark.parametrize(
    ("torch", "cuda", "python", "base", "more", "toolkit", "cxx"),
    [
        ("2.6.0", "12.4", "3.13", "local", "", "debian", "g++-13"),
        ("2.15.0", "13.2", "3.13", "local", "", "wheels", "g++-14"),
        ("2.6.0", "12.4", "3.11", "nvidia", "", "devel", "g++-11"),
        ("2.15.0", "13.2", "3.12", "nvidia", ", toolkit: wheels", "wheels", "g++-13"),
        ("2.6.0", "12.4", "3.13", "local", ", toolkit: base", "base", "g++-13"),
        ("2.8.0", "cpu", "3.11", "nvidia", "", None, "g++-11"),
    ],
)
def test_where_nvcc_comes_from_and_which_compiler_it_takes(
    spec: MakeSpec, torch: str, cuda: str, python: str, base: str, more: str, toolkit: str | None, cxx: str
) -> None:
    found = audio(spec, torch, cuda, python, base, more)
    assert (found.toolkit, found.cxx) == (toolkit, cxx)
    assert cxx in found.packages and "ccache" in found.packages


@pytest.mark.parametrize(
    ("torch", "cuda", "python", "base", "more", "said"),
    [
        ("2.8.0", "12.8", "3.13", "local", "", "nvcc 12.8 is needed, and debian13 packages nvcc 12.4"),
        ("2.6.0", "12.4", "3.13", "local", ", toolkit: wheels", "hold no nvcc"),
        ("2.6.0", "12.6", "3.13", "nvidia", ", toolkit: debian", "packages no nvcc that is known"),
    ],
)
def test_no_nvcc_of_torchs_cuda(
    spec: MakeSpec, torch: str, cuda: str, python: str, base: str, more: str, said: str
) -> None:
    with pytest.raises(ResolveError, match=said):
        audio(spec, torch, cuda, python, base, more)


@pytest.mark.parametrize(
    ("torch", "cuda", "switches"),
    [
        ("2.0.0", "11.8", {"BUILD_SOX": "0", "BUILD_KALDI": "0", "BUILD_CTC_DECODER": "0", "USE_FFMPEG": "0"}),
        ("2.5.1", "12.4", {"BUILD_SOX": "0", "USE_FFMPEG": "0"}),
        ("2.9.1", "12.8", {}),
        ("2.15.0", "13.2", {}),
    ],
)
def test_nothing_is_downloaded_while_it_compiles(
    spec: MakeSpec, torch: str, cuda: str, switches: dict[str, str]
) -> None:
    python = "3.10" if torch == "2.0.0" else "3.12" if torch == "2.15.0" else "3.11"
    assert dict(audio(spec, torch, cuda, python, "nvidia").environment) == switches


def test_a_decoder_that_a_newer_cuda_does_not_compile_is_left_out(spec: MakeSpec) -> None:
    (found,) = spec(
        'torch: {version: "2.5.0a0+872d972e41", from: base}, base: "a/b", cuda: "12.6", python: "3.10", '
        "torchaudio: {from: source}"
    ).recipes
    assert dict(found.environment)["BUILD_CUDA_CTC_DECODER"] == "0"


def test_a_row_has_the_last_word_on_switches(spec: MakeSpec) -> None:
    both = spec(
        'torch: {version: "2.5.0", from: source, switches: "USE_FBGEMM=0 USE_ROCM=0"}, cuda: "12.4", python: "3.11", '
        'torchaudio: {from: source, switches: "USE_FFMPEG=1"}, sm: ["9.0"]'
    ).recipes
    found = {recipe.package: dict(recipe.environment) for recipe in both}
    assert found["torch"]["USE_FBGEMM"] == "0" and found["torch"]["USE_ROCM"] == "0"
    assert found["torch"]["USE_CUDA"] == "1" and found["torchaudio"] == {"BUILD_SOX": "0", "USE_FFMPEG": "1"}


def test_the_plan_is_whole_and_plain(spec: MakeSpec) -> None:
    found = audio(spec, "2.6.0", "12.4", "3.13", more=', sm: ["8.0", "9.0"]')
    plan = found.plan()
    assert json.loads(json.dumps(plan)) == plan
    assert (plan["version"], plan["label"], plan["sm"]) == ("2.6.0", "cu124", ["8.0", "9.0"])
    assert (found.wheel_version, found.commit, found.ref) == ("2.6.0+cu124", "d8831425", "v2.6.0")


def test_a_branch_has_the_sources_own_version(spec: MakeSpec) -> None:
    found = spec(
        'torch: "2.6.0", cuda: "12.4", python: "3.13", sm: "8.0", torchaudio: {from: source, ref: main}', "local"
    )
    assert found.compile_audio and found.compile_audio.version is None and found.compiled is None
    assert "torchaudio" not in found.versions and "torchpair.torchaudio" not in found.labels


def test_every_tag_with_a_known_commit_is_a_tag_of_its_line() -> None:
    facts = source.load()
    assert {line.tag for line in facts.torchaudio.values()} <= facts.commits["audio"].keys()
    assert all(re.fullmatch(r"[0-9a-f]{8}", str(c)) for known in facts.commits.values() for c in known.values())


def test_a_mirror_of_the_registry_serves_the_toolkit_too(spec: MakeSpec) -> None:
    found = spec(AUDIO % ("2.6.0", "12.4", "3.11"), "nvidia")
    arguments = mirrors.build_arguments(found, Mirror("x", registry="mirror.example/hub"))
    assert arguments["TOOLKIT"] == "mirror.example/hub/nvidia/cuda:12.4.1-devel-ubuntu22.04"
    assert "TOOLKIT" not in mirrors.build_arguments(found, mirrors.NONE)


# ---- what is rendered -----------------------------------------------------------------------------------------------


@compiled_file
def test_the_compiler_is_not_in_the_image(file: Path, shipped: Workspace) -> None:
    text = file.read_text(encoding="utf-8")
    spec = spec_of(file, {render.file_name(s): s for s in shipped.everywhere()})
    parents = {name: parent for parent, name in re.findall(r"^FROM (\S+) AS (\S+)$", text, re.MULTILINE)}
    line = ["image"]
    while line[-1] in parents:
        line.append(parents[line[-1]])
    assert line[-1] == "${BASE}" and not [name for name in line if name.startswith(("compile", "preflight", "torch-"))]
    found = stages(parse(text))
    copied = {match[1] for i in found["image"] if (match := re.search(r"--from=(\S+)", i.rest))}
    assert {"audio", "proof"} <= copied and not copied & {"compiler", "toolkit", "compile-torchaudio"}
    if spec.torch_from == "base":
        assert not [i for i in found["image"] if i.word in ("USER", "ENTRYPOINT", "CMD")], "the base keeps its own"
    else:
        assert [i.rest for i in found["image"] if i.word == "USER"] == [f"{UID}:{UID}"]


@compiled_file
def test_what_is_looked_at_before_and_proven_after(file: Path, shipped: Workspace) -> None:
    text = file.read_text(encoding="utf-8")
    spec = spec_of(file, {render.file_name(s): s for s in shipped.everywhere()})
    found = stages(parse(text))
    for made in spec.recipes:
        (plan,) = [i.heredocs["PLAN"] for i in found[f"preflight-{made.package}"] if "PLAN" in i.heredocs]
        assert json.loads("\n".join(plan)) == made.plan()
        runs = [i.rest for i in found[f"preflight-{made.package}"] if i.word == "RUN"]
        assert "compiler.pyz preflight" in runs[0]
        assert ("compiler.pyz configure" in runs[-1]) == (made.package == "torch")
        (run,) = [i.rest for i in found[f"compile-{made.package}"] if i.word == "RUN"]
        assert "compiler.pyz compile" in run and "id=torchpair-compile" in run and f"from={made.context}," in run
        assert [i.rest for i in found[made.context]] == [f"--keep-git-dir=true {made.url}#{made.ref} /"]
    assert "compiler.pyz proof" in " ".join(i.rest for i in found["proof"])
    assert (ROOT / "locks" / "build" / "compile.txt").is_file()


def test_torch_2_5_0_on_cuda_12_4_has_everything() -> None:
    """The row that no small machine can compile: whole, down to its submodules."""
    text = (ROOT / "dockerfiles" / "torch2.5.0src-audiosrc-cu124-py311" / "Dockerfile").read_text()
    assert "pytorch/pytorch.git#v2.5.0 /" in text  # BuildKit fetches a repository with its submodules
    assert "ARG TOOLKIT=nvidia/cuda:12.4.1-cudnn-devel-ubuntu22.04" in text
    assert "ARG BASE=nvidia/cuda:12.4.1-cudnn-runtime-ubuntu22.04" in text
    for name in ("USE_CUDA", "USE_CUDNN", "USE_NCCL", "USE_FBGEMM", "USE_KINETO", "USE_OPENMP", "USE_MKLDNN"):
        assert f'"{name}": "1"' in text
    for package in ("g++-11", "ccache", "git", "libopenblas-dev", "ninja==", "cmake==3."):
        assert package in text
