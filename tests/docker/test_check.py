"""`torchpair check` on images that do not play along: a check that could not run is never a pass."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from docker import DockerClient

from torchpair.engine import Engine
from torchpair.probe.select import QUICK

from .conftest import EIGHT, Run, torchpair

BASE = "torchpair-base:debian12"
pytestmark = pytest.mark.usefixtures("images", "nothing_left")


@pytest.fixture
def fake(engine: Engine, client: DockerClient, tmp_path: Path) -> Iterator[Callable[..., str]]:
    """An image whose `python` is a shell script, and what else its Dockerfile says."""
    made: list[str] = []

    def make(script: str, more: str = "") -> str:
        (tmp_path / "python").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "python").chmod(0o755)
        (tmp_path / "Dockerfile").write_text(f"FROM {BASE}\nCOPY python /usr/bin/python\n{more}\n")
        reference = f"torchpair-test:fake{len(made)}"
        argv = [*engine.buildx, "build", "--quiet", "--load", "--tag", reference, str(tmp_path)]
        subprocess.run(argv, env=engine.env(), check=True, capture_output=True)
        made.append(reference)
        return reference

    yield make
    for reference in made:
        client.images.remove(reference, force=True)


def check(*arguments: str, cwd: Path) -> tuple[int, dict[str, Any]]:
    done = torchpair("check", "--json", *arguments, cwd=cwd)
    return done.code, json.loads(done.out)


def finished(report: dict[str, Any]) -> dict[str, Any]:
    return next(c for c in report["checks"] if c["id"] == "probe.finished")


def test_a_row_by_its_name_and_the_exit_code() -> None:
    done = torchpair("check", EIGHT)
    assert done.code == 0, done.out + done.err
    assert "dsp.rnnt_loss" in done.out
    assert "healthy" in done.out


def test_a_quick_check_is_quick_and_no_report(reports: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    code, report = check("--quick", reports[EIGHT]["image"], cwd=tmp_path)
    assert (code, report["verdict"]) == (0, "healthy")
    assert [c["id"] for c in report["checks"]] == ["probe.finished", *QUICK]
    assert not (tmp_path / "reports").exists()


def test_the_profile_of_gpt_sovits_passes_and_is_kept(reports: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    code, report = check("--profile", "gpt-sovits", reports[EIGHT]["image"], cwd=tmp_path)
    assert (code, report["verdict"]) == (0, "healthy")
    assert "sovits.vocoder" in {c["id"] for c in report["checks"] if c["status"] == "pass"}
    assert len(list((tmp_path / "reports").iterdir())) == 1


def test_a_gpu_that_is_required_and_absent_is_inconclusive(reports: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    if reports[EIGHT]["environment"]["gpu"]:
        pytest.skip("this machine has a GPU")
    code, report = check("--gpu", "require", reports[EIGHT]["image"], cwd=tmp_path)
    assert code == 3
    assert report["verdict"] == "inconclusive"
    assert not [c for c in report["checks"] if c["status"] == "fail"]


def test_the_time_limit_is_inconclusive(reports: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    code, report = check("--timeout", "1", reports[EIGHT]["image"], cwd=tmp_path)
    assert (code, report["verdict"], finished(report)["needs"]) == (3, "inconclusive", "time")
    assert "pair.import" in finished(report)["reason"]  # what it was doing when the time was over


def test_the_memory_limit_is_inconclusive(reports: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    code, report = check("--memory", "100m", reports[EIGHT]["image"], cwd=tmp_path)
    assert (code, report["verdict"], finished(report)["needs"]) == (3, "inconclusive", "memory")


def test_an_image_without_python_is_inconclusive(tmp_path: Path) -> None:
    code, report = check(BASE, cwd=tmp_path)
    assert (code, report["verdict"], finished(report)["needs"]) == (3, "inconclusive", "python")


def test_a_crash_is_unhealthy(fake: Callable[[str], str], tmp_path: Path) -> None:
    reference = fake("echo \"torchpair-probe: running dsp.lfilter\" >&2; sh -c 'kill -SEGV $$'; exit $?")
    code, report = check(reference, cwd=tmp_path)
    assert (code, report["verdict"]) == (1, "unhealthy")
    assert "signal 11" in finished(report)["reason"]
    assert "dsp.lfilter" in finished(report)["reason"]


@pytest.mark.parametrize(
    "script",
    [
        "echo all is well",
        "exit 0",
        """echo '{"schema": "torchpair.probe/1", "checks": "none"}'""",
        """echo '{"schema": "torchpair.probe/1", "environment": {}, "checks": []}'""",
    ],
)
def test_an_answer_that_is_none_is_inconclusive(fake: Callable[[str], str], script: str, tmp_path: Path) -> None:
    code, report = check(fake(script), cwd=tmp_path)
    assert (code, report["verdict"]) == (3, "inconclusive")


def test_the_cage(fake: Callable[[str], str], tmp_path: Path) -> None:
    """What a process in the image can see: no network, no capability, a read-only root."""
    script = (
        "ls /sys/class/net >&2; grep CapEff /proc/self/status >&2; grep NoNewPrivs /proc/self/status >&2; "
        "touch /root/x 2>&1 | head -1 >&2; touch /tmp/x && echo tmp is writable >&2; id -u >&2; exit 3"
    )
    _, report = check(fake(script), cwd=tmp_path)
    lines = report["log"].splitlines()
    assert "lo" in lines
    assert not [line for line in lines if line.startswith("eth")]
    assert any(line.split() == ["CapEff:", "0000000000000000"] for line in lines)
    assert any(line.split() == ["NoNewPrivs:", "1"] for line in lines)
    assert any("Read-only file system" in line for line in lines)
    assert "tmp is writable" in lines


def test_a_volume_that_an_image_declares_has_its_files_and_is_not_writable(
    fake: Callable[..., str], tmp_path: Path
) -> None:
    script = "cat /data/kept >&2; touch /data/x 2>&1 | head -1 >&2; exit 3"
    _, report = check(fake(script, "RUN mkdir /data && echo as it was > /data/kept\nVOLUME /data"), cwd=tmp_path)
    lines = report["log"].splitlines()
    assert "as it was" in lines
    assert any("Read-only file system" in line for line in lines)


def test_an_image_that_is_not_there(tmp_path: Path) -> None:
    done: Run = torchpair("check", "torchpair-test:no-such-image", cwd=tmp_path)
    assert done.code == 3
    assert "docker pull torchpair-test:no-such-image" in done.err
    assert not (tmp_path / "reports").exists()
