"""`torchpair doctor --python`: a real probe in a real process, against packages that only claim to be torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from torchpair import check, doctor, host
from torchpair.diagnose.evidence import Gpu

MISMATCH = (
    "raise RuntimeError('Detected that PyTorch and TorchAudio were compiled with different CUDA versions. PyTorch has "
    "CUDA version 13.2 whereas TorchAudio has CUDA version 13.0. Please install the TorchAudio version that matches')"
)
Doctor = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path) -> Doctor:
    """torchpair doctor in a folder of its own; env is added to this process's."""

    def make(*arguments: str, **env: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, "-m", "torchpair.cli", "doctor", *arguments],
            cwd=tmp_path, env={**os.environ, **env}, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, done.stdout, done.stderr

    return make


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with what claims to be torch 2.15.0 for CUDA 13.2 and torchaudio 2.11.0."""
    folder = tmp_path / "site"
    for name, version, code in (
        ("torch", "2.15.0", "from . import version\n__version__ = '2.15.0+cu132'\n"),
        ("torchaudio", "2.11.0", MISMATCH),
    ):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(code)
        info = folder / f"{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        size = len(code)
        (info / "RECORD").write_text(f"{name}/__init__.py,sha256=x,{size}\n")
    (folder / "torch" / "version.py").write_text("cuda = '13.2'\ngit_version = 'x'\n")
    return folder


def test_torch_2_15_beside_torchaudio_2_11(run: Doctor, site: Path) -> None:
    code, out, _ = run("--python", sys.executable, PYTHONPATH=str(site))
    assert code == 1
    first = out.index("Cause: torch and torchaudio are for different CUDA versions [cuda-minor]")
    assert "pip install torch==2.14.1 torchaudio==2.11.0 torchcodec==0.17.0" in out
    assert first < out.index("pair.import", out.index("try:"))  # the cause on top, then what failed


def test_the_same_as_data(run: Doctor, site: Path) -> None:
    code, out, _ = run("--json", "--python", sys.executable, PYTHONPATH=str(site))
    answer = json.loads(out)
    assert (code, answer["schema"], answer["verdict"]) == (1, "torchpair.doctor/1", "unhealthy")
    assert [cause["id"] for cause in answer["causes"]] == ["cuda-minor"]
    assert answer["report"]["environment"]["torch_cuda"] == "13.2"
    assert answer["report"]["environment"]["executable"]


def test_what_lies_in_the_working_folder(run: Doctor, site: Path, tmp_path: Path) -> None:
    (tmp_path / "torchaudio.py").write_text("")
    _, out, _ = run("--json", "--python", sys.executable, PYTHONPATH=str(site))
    assert json.loads(out)["causes"][0]["id"] == "shadowed"


def test_a_file_cut_short(run: Doctor, site: Path) -> None:
    (site / "torchaudio" / "__init__.py").write_text("raise Imp")
    _, out, _ = run("--json", "--python", sys.executable, PYTHONPATH=str(site))
    assert json.loads(out)["causes"][0]["id"] == "truncated"


def test_a_crash_at_import_is_still_explained(run: Doctor, site: Path) -> None:
    """The process ends before it can answer; what needs no import is asked once more."""
    (site / "torchaudio" / "__init__.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    code, out, _ = run("--json", "--python", sys.executable, PYTHONPATH=str(site))
    answer = json.loads(out)
    checks = {one["id"]: one for one in answer["report"]["checks"]}
    assert code == 1 and "signal 11) during pair.import" in checks["probe.finished"]["reason"]
    assert checks["pair.files"]["status"] == "fail"
    assert answer["causes"][0]["id"] == "truncated"
    assert answer["report"]["environment"]["torch"] == "2.15.0"


@pytest.fixture
def fake(tmp_path: Path) -> Callable[[str], str]:
    def make(script: str) -> str:
        file = tmp_path / "python"
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)
        return str(file)

    return make


def test_what_a_python_prints_is_shown_and_not_obeyed(run: Doctor, fake: Callable[[str], str]) -> None:
    evil = "\\u001b[2J\\u001b]0;title\\u0007\\u202e[red]"
    entry = {"purpose": "p", "status": "fail", "measured": None, "limit": None, "unit": "", "seconds": 0}
    body = {"schema": "torchpair.probe/1", "environment": {"torch": "EVIL", "python": "EVIL"}}
    body["checks"] = [{"id": "pair.import", "reason": "No module named 'torch' EVIL", **entry}]
    text = json.dumps(body).replace("EVIL", evil)
    python = fake(f"cat <<'END'\n{text}\nEND\nprintf '\\033[2J' >&2; exit 1")
    code, out, err = run("--python", python)
    assert code in (1, 3)
    assert all(c.isprintable() or c == "\n" for c in out + err)
    assert "[red]" in out


@pytest.mark.parametrize(
    ("script", "needs"),
    [("echo all is well", "answer"), ("exit 127", "python"), ("yes flood", "answer"), ("sleep 60", "time")],
)
def test_an_answer_that_is_none_is_inconclusive(
    run: Doctor, fake: Callable[[str], str], script: str, needs: str
) -> None:
    began = time.monotonic()
    code, out, _ = run("--json", "--timeout", "3", "--python", fake(script))
    (finished,) = json.loads(out)["report"]["checks"]
    assert (code, finished["needs"]) == (3, needs)
    assert time.monotonic() - began < 40


def test_what_a_probe_started_ends_with_it() -> None:
    answer = doctor.run_bounded(["/bin/sh", "-c", "sleep 300 & echo $!; wait"], 0.5)
    assert answer.late
    pid = int(answer.stdout)
    for _ in range(100):
        if not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text().split()[2]:
            return
        time.sleep(0.05)
    raise AssertionError("it still runs")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--python", "/no/such/python"], 2, "no program /no/such/python"),
        (["image", "--python", "python3"], 2, "not both"),
        (["--python", "."], 2, "it is a folder"),
    ],
)
def test_a_wrong_command_line(run: Doctor, arguments: list[str], code: int, words: str) -> None:
    ended, out, err = run(*arguments)
    assert (ended, out) == (code, "") and words in err


def test_without_an_engine_nothing_is_learned_about_an_image(run: Doctor, tmp_path: Path) -> None:
    code, _, err = run("some/image:tag", DOCKER_HOST=f"unix://{tmp_path}/no.sock", DOCKER_CONTEXT="default")
    assert code == 3 and "no" in err


def test_nvidia_smi() -> None:
    text = "NVIDIA GeForce RTX 5090, 12.0, 580.65.06\nNVIDIA H100, [N/A], 580.65.06\nrubbish\n"
    driver, gpus = host.parse(text)
    assert driver == "580.65.06"
    assert gpus == (Gpu("NVIDIA GeForce RTX 5090", "12.0"), Gpu("NVIDIA H100", None))
    assert host.parse("Failed to initialize NVML\n") == (None, ())


def test_the_gpu_of_this_machine_is_told(run: Doctor, site: Path, tmp_path: Path) -> None:
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 'NVIDIA L4, 8.9, 570.124.06'\n")
    program.chmod(0o755)
    path = f"{program.parent}:{os.environ['PATH']}"
    _, out, _ = run("--json", "--python", sys.executable, PYTHONPATH=str(site), PATH=path)
    seen: dict[str, Any] = json.loads(out)["host"]
    assert seen["driver"] == "570.124.06"
    assert seen["gpus"] == [{"name": "NVIDIA L4", "capability": "8.9"}]


def test_the_checks_that_import_nothing_are_those() -> None:
    from torchpair.probe.registry import REGISTRY

    assert all(not REGISTRY[name].imports and name != "pair.import" for name in check.BARE)
