"""What runs inside a builder stage, as far as it needs no compiler and no torch."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from torchpair.compiler import add, files, toolchain, work
from torchpair.compiler.problem import Problem

PLAN: dict[str, Any] = {
    "package": "torchaudio", "row": "row", "version": "2.6.0", "version_variable": "BUILD_VERSION", "label": "cu124",
    "torch": "2.6.0", "cuda": "12.4", "python": "{}.{}".format(*sys.version_info[:2]), "sm": ["8.0", "9.0"],
    "system": "cmake", "ref": "v2.6.0", "commit": "d8831425", "gcc_max": 13, "cxx": "g++-13",
    "environment": {"BUILD_SOX": "0"}, "tools": "/opt/build", "base": False,
}  # fmt: skip
TORCH = {"version": "2.6.0+cu124", "cuda": "12.4", "flags": "sm_80 sm_90 compute_90", "path": "/x"}


def script(path: Path, body: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


# ---- before the compile --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "torch", "said"),
    [
        ({}, {}, None),
        ({"torch": None}, {"version": "2.2.0a0+81ea7a4"}, None),
        ({"torch": "2.2.0a0+81ea7a4"}, {"version": "2.2.0a0+81ea7a4"}, None),
        ({"torch": "2.6.0a0+ecf3bae40a"}, {"version": "2.6.0a0+ecf3bae40a.nv25.01"}, None),
        ({}, {"version": "2.7.0+cu124"}, "torch 2.7.0"),
        ({}, {"version": "2.6.01"}, "torch 2.6.01"),
        ({}, {"cuda": "12.6"}, 'cuda: "12.6"'),
        ({}, {"cuda": None}, "the CPU alone"),
        ({"cuda": "cpu"}, {}, "CUDA 12.4"),
        ({"cuda": "cpu"}, {"cuda": None}, None),
        ({"python": "3.7"}, {}, "the row says 3.7"),
    ],
)
def test_the_torch_in_place_is_the_rows(row: dict[str, Any], torch: dict[str, Any], said: str | None) -> None:
    if said is None:
        toolchain.check_torch({**PLAN, **row}, {**TORCH, **torch})
        return
    with pytest.raises(Problem) as caught:
        toolchain.check_torch({**PLAN, **row}, {**TORCH, **torch})
    assert said in str(caught.value)


def test_a_torch_that_does_not_import(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", str(script(tmp_path / "python", "echo ImportError: libx.so >&2; exit 1")))
    with pytest.raises(Problem, match="no torch can be imported") as caught:
        toolchain.torch_in_place()
    assert caught.value.why == "ImportError: libx.so"


@pytest.mark.parametrize(
    ("release", "said"),
    [("12.4", None), ("12.6", "another minor"), ("11.8", "another major"), ("13.2", "another major")],
)
def test_nvcc_is_of_torchs_cuda(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, release: str, said: str | None
) -> None:
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    nvcc = script(tmp_path / "bin" / "nvcc", f"echo 'Cuda compilation tools, release {release}, V{release}.131'")
    if said is None:
        assert toolchain.check_nvcc(PLAN) == nvcc
        return
    with pytest.raises(Problem) as caught:
        toolchain.check_nvcc(PLAN)
    assert said in caught.value.what and "nvcc 12.4 is needed" in str(caught.value)


def test_no_nvcc_and_no_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    with pytest.raises(Problem, match="there is no nvcc in"):
        toolchain.check_nvcc(PLAN)
    assert toolchain.check_nvcc({**PLAN, "cuda": "cpu"}) is None
    with pytest.raises(Problem, match=r"there is no C\+\+ compiler g\+\+-999"):
        toolchain.check_compiler({**PLAN, "cxx": "g++-999"})


def test_a_compiler_that_is_too_new(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script(tmp_path / "g++-14", "echo 14")
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(Problem, match=r"g\+\+ 14 is too new.*takes g\+\+ 13 at most"):
        toolchain.check_compiler({**PLAN, "cxx": "g++-14"})


@pytest.mark.parametrize(
    ("version", "head", "said"),
    [
        ("2.6.0a0", None, None),
        ("2.6.0", "d8831425203385077a03c1d92cfbbe3bf2106008", None),
        ("2.6.0", "ref: refs/heads/main", None),
        ("2.5.1", None, "the source is torchaudio 2.5.1"),
        ("2.6.01", None, "the row asks for 2.6.0"),
        ("2.6.0", "0123456789012345678901234567890123456789", "commit 012345678901"),
    ],
)
def test_the_source_is_the_one_asked_for(tmp_path: Path, version: str, head: str | None, said: str | None) -> None:
    (tmp_path / "setup.py").touch()
    (tmp_path / "version.txt").write_text(version + "\n")
    if head:
        (tmp_path / ".git").mkdir()
        (tmp_path / ".git" / "HEAD").write_text(head + "\n")
    if said is None:
        toolchain.check_source(PLAN, tmp_path)
        return
    with pytest.raises(Problem) as caught:
        toolchain.check_source(PLAN, tmp_path)
    assert said in str(caught.value)


def test_a_folder_that_is_no_source(tmp_path: Path) -> None:
    with pytest.raises(Problem, match=r"no setup\.py"):
        toolchain.check_source(PLAN, tmp_path)


def test_architectures_are_always_explicit() -> None:
    assert toolchain.arch_list(PLAN, TORCH) == ["8.0", "9.0"]
    assert toolchain.arch_list({**PLAN, "sm": []}, {**TORCH, "flags": "sm_50 sm_90a sm_120 compute_120"}) == [
        "5.0", "9.0a", "12.0",
    ]  # fmt: skip
    assert toolchain.arch_list({**PLAN, "cuda": "cpu"}, TORCH) == []
    with pytest.raises(Problem, match="for which GPUs"):
        toolchain.arch_list({**PLAN, "sm": []}, {**TORCH, "flags": ""})


# ---- the compile --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("package", "given", "cores", "gigabytes", "expected"),
    [
        ("torchaudio", None, 2, 24, 2),
        ("torchaudio", None, 64, 24, 12),
        ("torch", None, 64, 24, 4),
        ("torch", None, 8, 5, 1),
        ("torch", 9, 2, 5, 9),
    ],
)
def test_jobs_from_memory_and_cores(package: str, given: int | None, cores: int, gigabytes: int, expected: int) -> None:
    assert work.jobs(package, given, cores, gigabytes * work.GIGABYTE) == expected


def test_the_environment_of_a_base_does_not_reach_the_build(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PYTORCH_VERSION", "2.2.0a0+81ea7a4")
    monkeypatch.setenv("PIP_CONSTRAINT", "/etc/pip/constraint.txt")
    monkeypatch.setenv("CUDA_HOME", "/opt/toolkit")
    env = work.environment(PLAN, "/usr/bin/g++-13", ["8.0", "9.0"], 2, tmp_path, tmp_path)
    assert not {"PYTORCH_VERSION", "PIP_CONSTRAINT", "BUILD_VERSION"} & env.keys()
    assert (env["TORCH_CUDA_ARCH_LIST"], env["USE_CUDA"], env["BUILD_SOX"]) == ("8.0;9.0", "1", "0")
    assert (env["CC"], env["CXX"], env["MAX_JOBS"]) == ("/usr/bin/gcc-13", "/usr/bin/g++-13", "2")
    env = work.environment({**PLAN, "cuda": "cpu"}, "/usr/bin/g++", [], 2, tmp_path, tmp_path)
    assert env["USE_CUDA"] == "0" and not {"CUDA_HOME", "TORCH_CUDA_ARCH_LIST"} & env.keys()


class Clock:
    now = 0.0

    def __call__(self) -> float:
        self.now += 5
        return self.now


def test_objects_done_of_total_with_an_estimate() -> None:
    said: list[str] = []
    follower = work.Follower(said.append, Clock())
    follower.line("[1/1] a probe of CMake's own")
    for n in (1, 2, 3, 4):
        follower.line(f"[{n}/4] ccache g++ -c x -o dir/part{n}.cpp.o")
    assert said == [
        "[objects] 1/4: part1.cpp",
        "[objects] 2/4, about 10 s left: part2.cpp",
        "[objects] 3/4, about 5 s left: part3.cpp",
        "[objects] 4/4, about 0 s left: part4.cpp",
    ]


def test_the_first_error_is_shown_with_what_stands_around_it() -> None:
    follower = work.Follower(lambda line: None)
    for line in ("one", "two", "three", "four", "a.cu(3): error: FLT_MAX is undefined", "  x", "b.cu: error: second"):
        follower.line(line)
    told = str(work.failure(PLAN, 1, follower, 2))
    assert told.index("four") < told.index("FLT_MAX") < told.index("second") and "two" in told and "one" not in told
    assert told.startswith("error: torchaudio does not compile (exit code 1)")


def test_a_warning_about_errors_is_no_error() -> None:
    follower = work.Follower(lambda line: None)
    follower.line("[3/9] g++ -Werror=format -c error.cpp -o error.cpp.o")
    follower.line("-- Looking for error_t")
    assert not follower.error


@pytest.mark.parametrize(
    "line",
    [
        "g++-13: fatal error: Killed signal terminated program cc1plus",
        "nvcc error   : 'cicc' died due to signal 9 (Kill signal)",
        "cc1plus: out of memory allocating 65536 bytes",
        "virtual memory exhausted: Cannot allocate memory",
    ],
)
def test_out_of_memory_is_answered_with_the_jobs_to_try(line: str) -> None:
    follower = work.Follower(lambda text: None)
    follower.line("[7/28] x")
    follower.line(line)
    told = work.failure(PLAN, 1, follower, 4)
    assert told.what == "out of memory with MAX_JOBS=4" and told.remedy == "--max-jobs 2"
    assert "7 of 28" in str(told)
    assert "fewer architectures" in str(work.failure(PLAN, 1, follower, 1).remedy)


def test_a_build_is_run_and_its_whole_log_kept(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"]
    follower = work.Follower(lambda text: None)
    assert work.run(argv, {}, tmp_path, tmp_path / "log" / "x.log", follower) == 3
    assert sorted((tmp_path / "log" / "x.log").read_text().split()) == ["err", "out"]


def test_a_compile_at_the_lowest_priority(tmp_path: Path) -> None:
    asks = [sys.executable, "-c", "import os; print(os.nice(0))"]
    for wished, expected in (({"nice": "1"}, 19), ({}, os.nice(0))):
        argv = [*work.priority(wished), *asks]
        assert work.run(argv, dict(os.environ), tmp_path, tmp_path / "log", work.Follower(lambda text: None)) == 0
        assert int((tmp_path / "log").read_text()) == expected


def test_setup_py_finds_distutils_and_what_lies_beside_it(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("here = 1\n")
    (tmp_path / "setup.py").write_text("import sys, distutils, beside\nprint(sys.argv, __name__)\n")
    (tmp_path / "setuptools.py").write_text("import sys\nsys.modules['distutils'] = sys\n")
    done = subprocess.run(work.setup("a", "b"), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == "['setup.py', 'a', 'b'] __main__\n", done.stderr


def test_counts_come_from_ccaches_own_log(tmp_path: Path) -> None:
    (tmp_path / "stats").write_text("# a\ndirect_cache_miss\ncache_miss\n# b\ndirect_cache_hit\n# c\ncache_miss\n")
    assert work.counted(tmp_path / "stats") == {"cached": 1, "compiled": 2}
    assert work.counted(tmp_path / "none") == {"cached": 0, "compiled": 0}


SUMMARY = """-- ******** Summary ********
--   USE_CUDA              : ON
--     Split CUDA          : OFF
--   USE_NCCL              : 0
--   USE_MKLDNN            : OFF
"""


def test_switches_that_cmake_did_not_keep() -> None:
    switches = work.cmake_summary(SUMMARY)
    assert switches == {"USE_CUDA": True, "USE_NCCL": False, "USE_MKLDNN": False}
    assert work.not_kept({"USE_CUDA": "1", "USE_NCCL": "0", "USE_MKLDNN": "1", "USE_NUMPY": "1"}, switches) == [
        "USE_MKLDNN=1"
    ]


# ---- torch stays as it is ------------------------------------------------------------------------------------------


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Python path with a torch of three files, one of them only in its record."""
    site = tmp_path / "site"
    for name, text in (("torch/__init__.py", ""), ("torch/lib/libtorch.so", "code"), ("torch/x/__pycache__/y.pyc", "")):
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(text)
    info = site / "torch-2.6.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.6.0a0+x.nv25.01\n")
    (tmp_path / "torchrun").write_text("#!")
    record = "torch/__init__.py,,\ntorch/lib/libtorch.so,,\n../torchrun,,\ntorch-2.6.0.dist-info/METADATA,,\n"
    (info / "RECORD").write_text(record)
    monkeypatch.setattr(sys, "path", [str(site)])
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    return site


def test_every_file_of_torch_is_hashed(site: Path) -> None:
    found = files.parse(files.manifest())
    names = {Path(path).name for path in found}
    assert names == {"__init__.py", "libtorch.so", "METADATA", "torchrun"}
    assert found[str(site / "torch/lib/libtorch.so")] == hashlib.sha256(b"code").hexdigest()
    assert files.distributions()["torch"].startswith("2.6.0a0+x.nv25.01 ")


@pytest.mark.parametrize("how", ["changed", "removed", "added"])
def test_a_difference_is_a_problem(site: Path, how: str) -> None:
    before = files.parse(files.manifest())
    file = site / "torch" / ("new.py" if how == "added" else "lib/libtorch.so")
    if how == "removed":
        file.unlink()
    else:
        file.write_text("other")
    with pytest.raises(Problem, match="torch is not what it was") as caught:
        files.compare(before, files.parse(files.manifest()), "torch")
    assert f"1 {how}: {file}" in str(caught.value)


def test_only_what_the_base_lacks_is_added() -> None:
    lock = [
        "cffi==2.1.0 --hash=sha256:0  # f",
        "numpy==2.5.5 --hash=sha256:1  # f",
        "soundfile @ https://x --hash=y",
        "",
    ]
    assert add.missing(lock, {"numpy": "1.24.4 x"}) == [lock[0], lock[2]]


def test_the_constraint_keeps_the_two_and_what_the_base_constrains() -> None:
    old = "numpy==1.24.4\ntorch==9\nTorchaudio>=2\ntorchvision==0.17.0a0\n"
    lines = add.constraint(old, {"torch": "2.2.0a0+81ea7a4", "torchaudio": "2.2.2+cu123"}).splitlines()
    assert [line for line in lines if not line.startswith("#")] == [
        "numpy==1.24.4", "torchvision==0.17.0a0", "torch==2.2.0a0+81ea7a4", "torchaudio==2.2.2+cu123",
    ]  # fmt: skip
