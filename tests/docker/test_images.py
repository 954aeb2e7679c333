"""`torchpair images`: the default images are healthy, a second call does nothing, a broken pair is found."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from docker import DockerClient
from docker.errors import ImageNotFound

from .conftest import EIGHT, FOURTEEN, ROOT, Run, torchpair

PAIR = [f"pair.{name}" for name in ("import", "versions", "labels", "lock", "cuda", "extension", "architectures")]
DSP = [f"dsp.{name}" for name in ("lfilter", "rnnt_loss", "forced_align", "mel", "resample_gradient")]
DSP += ["dsp.resample_44100_32000", "dsp.resample_48000_32000"]
IO = ["io.wav", "io.flac"]


def test_both_default_images_are_healthy(reports: dict[str, dict[str, Any]]) -> None:
    for row, report in reports.items():
        assert report["schema"] == "torchpair.report/1"
        assert report["verdict"] == "healthy"
        assert report["row"] == row
        by_id = {check["id"]: check for check in report["checks"]}
        needed = PAIR + DSP + IO
        assert {by_id[name]["status"] for name in needed} == {"pass"}
        for name in needed:
            assert by_id[name]["measured"] is not None
            assert by_id[name]["limit"] not in (None, "")
        # Without a GPU its checks are counted apart: they neither pass nor vanish.
        gpu = [check for check in report["checks"] if check["id"].startswith("cuda.")]
        assert len(gpu) >= 6
        if not report["environment"]["gpu"]:
            assert {(check["status"], check["needs"]) for check in gpu} == {("skip", "gpu")}


def test_versions_in_the_reports(reports: dict[str, dict[str, Any]]) -> None:
    seen = {row: report["environment"] for row, report in reports.items()}
    assert seen[EIGHT]["torch"].split("+")[0] == "2.8.0"
    assert seen[EIGHT]["torchaudio"].split("+")[0] == "2.8.0"
    assert seen[EIGHT]["torch_cuda"] == "12.8"
    assert seen[EIGHT]["python"].startswith("3.11.")
    assert seen[FOURTEEN]["torch"].split("+")[0] == "2.14.1"
    assert seen[FOURTEEN]["torchaudio"].split("+")[0] == "2.11.0"
    assert seen[FOURTEEN]["torchcodec"].split("+")[0] == "0.17.0"
    assert seen[FOURTEEN]["torch_cuda"] == "13.0"
    assert seen[FOURTEEN]["python"].startswith("3.13.")


def test_the_table_and_the_report_files(images: Run) -> None:
    assert "2 images: 2 healthy" in images.out
    assert "base " in images.out  # which base, and why, is said in a line
    page = (ROOT / "reports" / "index.html").read_text(encoding="utf-8")
    assert EIGHT in page
    assert FOURTEEN in page
    assert (ROOT / "reports" / "junit.xml").read_text(encoding="utf-8").count("<testsuite ") == 2


def test_again_changes_nothing_and_takes_seconds(images: Run, reports: dict[str, Any], client: DockerClient) -> None:
    began = time.monotonic()
    again = torchpair("images")
    took = time.monotonic() - began
    assert again.code == 0
    for row, report in reports.items():
        assert f"{row}: unchanged" in again.out
        assert f"{row}: proven already" in again.out
        assert client.images.get(report["image"]).id == report["image_id"]
    # Generous: it takes about two seconds on two cores, a build takes a hundred.
    assert took < 30


def test_live_display_on_a_terminal(images: Run) -> None:
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "torchpair.cli", "images"], cwd=ROOT, stdin=follower, stdout=follower, stderr=follower,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "120"},
    )  # fmt: skip
    os.close(follower)
    seen = b""
    while True:
        try:
            chunk = os.read(leader, 65536)
        except OSError:  # Linux answers EIO when the other end is closed
            break
        if not chunk:
            break
        seen += chunk
    os.close(leader)
    assert process.wait() == 0
    assert b"\x1b[" in seen  # cursor movement: bars are redrawn in place
    plain = re.sub(rb"\x1b\[[0-9;?]*[a-zA-Z]", b"", seen).decode()
    assert EIGHT in plain
    assert "healthy" in plain


def test_a_forced_mismatch_is_built_and_found(matrix: Callable[[str], Path], images: Run, client: DockerClient) -> None:
    folder = matrix(
        '  - {torch: "2.8.0", cuda: "12.8", python: "3.11", default: true}\n'
        '  - {torch: "2.8.0", torchaudio: "2.7.1", cuda: "12.8", python: "3.11", default: true, force: true}\n'
    )
    forced = "torch2.8.0-audio2.7.1-cu128-py311"
    try:
        done = torchpair("images", cwd=folder)
        assert done.code == 1, done.out + done.err
        assert re.search(rf"{EIGHT}\W.*healthy", done.out)
        assert re.search(rf"{forced}\W.*unhealthy", done.out)
        report = json.loads((folder / "reports" / f"{forced}.json").read_text())
        assert report["verdict"] == "unhealthy"
        first = next(check for check in report["checks"] if check["status"] == "fail")
        assert first["id"] == "pair.import"
        assert "undefined symbol" in first["reason"]
        assert "undefined symbol" in done.out  # the cause is named where a person looks first
        sound = json.loads((folder / "reports" / f"{EIGHT}.json").read_text())
        assert sound["verdict"] == "healthy"
        assert (folder / "reports" / "junit.xml").read_text().count("<failure") >= 1
    finally:
        _remove(client, "torchpair:2.8.0-audio2.7.1-cu128-py311-debian12")


def test_a_failed_build_stops_no_other_row(matrix: Callable[[str], Path], images: Run, client: DockerClient) -> None:
    folder = matrix(
        '  - {name: broken, torch: "2.8.0", cuda: "12.8", python: "3.11", default: true}\n'
        '  - {torch: "2.8.0", cuda: "12.8", python: "3.11", default: true}\n'
    )
    good = (folder / "locks" / f"{EIGHT}.txt").read_text()
    # pycparser's hash, one digit turned: the index serves a file that is not the locked one.
    name, digest = re.search(r"pycparser==\S+ --hash=sha256:(\w)(\w+)", good).groups()  # type: ignore[union-attr]
    wrong = good.replace(name + digest, ("0" if name != "0" else "1") + digest)
    (folder / "locks" / "broken.txt").write_text(wrong.replace(EIGHT, "broken"))
    done = torchpair("images", cwd=folder)
    assert done.code == 4, done.out + done.err
    assert re.search(r"broken\W.*build failed", done.out)
    assert re.search(rf"{EIGHT}\W.*healthy", done.out)
    assert "pycparser" in done.out  # the file is named
    assert "Hash mismatch" in (folder / "reports" / "logs" / "broken.log").read_text()
    assert not [tag for image in client.images.list("torchpair") for tag in image.tags if "broken" in tag]


def _remove(client: DockerClient, reference: str) -> None:
    with contextlib.suppress(ImageNotFound):
        client.images.remove(reference, force=True)
