"""`torchpair doctor`: a Report of an image or of a Python of this machine, and the causes that it shows.

An image runs caged, as in check.py. A Python of this machine runs as its user would run it: with this environment, in
this folder, because both can be the cause; only time and output are bounded.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Any

from torchpair import check, formatting, present, views
from torchpair.cage import Answer
from torchpair.diagnose import Cause
from torchpair.diagnose.evidence import Host
from torchpair.errors import TorchpairError
from torchpair.probe.pack import pack
from torchpair.probe.select import PROFILES
from torchpair.report import GpuMode, Report
from torchpair.strict_json import MAX_BYTES

SCHEMA = "torchpair.doctor/1"


@contextmanager
def packed() -> Iterator[tuple[Path, str]]:
    """The probe as one file, and its sha256; in a folder of its own, so that no matrix is needed."""
    with tempfile.TemporaryDirectory(prefix="torchpair-") as folder:
        probe = Path(folder) / "probe.pyz"
        yield probe, pack(probe)


def python(
    executable: str,
    *,
    probe: Path,
    probe_sha256: str,
    gpu: GpuMode = "auto",
    names: Sequence[str] = PROFILES["core"],
    seconds: float = check.SECONDS,
) -> Report:
    """Check the environment of a Python of this machine. Raises TorchpairError when there is no such program."""
    path = shutil.which(executable)
    if path is None:
        there = Path(executable)
        venv = there / "bin" / "python"
        raise TorchpairError(
            f"no program {executable}",
            why="it is a folder" if there.is_dir() else None,
            remedy=f"torchpair doctor --python {venv}"
            if venv.exists()
            else "name an interpreter, such as .venv/bin/python",
        )
    began, started = time.monotonic(), datetime.now(timezone.utc)

    def run(asked: Sequence[str]) -> Answer:
        # Not resolved: a virtual environment is the link, not what it points to. -B: nothing is written there.
        argv = [os.path.abspath(path), "-B", str(probe), "--gpu", gpu, "--only", ",".join(asked)]  # noqa: PTH100
        return run_bounded(argv, max(1.0, seconds - (time.monotonic() - began)))

    answer, environment, checks = check.ask(run, names)
    return Report(
        row=None,
        image=f"python {formatting.plain(path)}"[:500],
        image_id=None,
        base=None,
        started=started.isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - began, 3),
        gpu=gpu,
        environment=environment,
        checks=checks,
        size=None,
        probe=probe_sha256,
        log=answer.stderr,
    )


def run_bounded(argv: Sequence[str], seconds: float, most: int = MAX_BYTES) -> Answer:
    """Run a program with limits on time and on what is read of its output; what it started ends with it."""
    answer = Answer()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        try:
            child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True)
        except OSError as error:
            raise TorchpairError(f"{argv[0]} cannot be started", why=error.strerror) from error
        until, flood = time.monotonic() + seconds, False
        try:
            while child.poll() is None:
                # Files, not pipes: nothing waits for a reader. A flood is ended before it fills the disk.
                flood = max(os.fstat(out.fileno()).st_size, os.fstat(err.fileno()).st_size) > 4 * most
                if flood or time.monotonic() > until:
                    answer.late = not flood
                    break
                time.sleep(0.02)
        finally:
            # The group: workers that the probe forked are its own.
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        # A signal is told as a shell tells it, as containers do. A flood is no crash: it is an answer too long to read.
        answer.code = 0 if flood else child.returncode if child.returncode >= 0 else 128 - child.returncode
        answer.stdout, answer.stderr = _read(out, most + 1, end=False), _read(err, most, end=True)
    return answer


def _read(file: IO[bytes], most: int, end: bool) -> str:
    file.seek(max(0, file.seek(0, os.SEEK_END) - most) if end else 0)
    return file.read(most).decode("utf-8", "replace")


def to_json(report: Report, causes: Sequence[Cause], host: Host) -> dict[str, Any]:
    """The whole answer as plain data."""
    return {
        "schema": SCHEMA,
        "verdict": report.verdict,
        "causes": [asdict(cause) for cause in causes],
        "host": asdict(host),
        "report": report.to_json(),
    }


def lines(report: Report, causes: Sequence[Cause], host: Host) -> list[str]:
    """Verdict and causes in plain words; whatever came from outside is made harmless."""
    symbol = present.VERDICTS[report.verdict][0]
    seen = report.environment
    pair = ", ".join(
        f"{name} {formatting.value(seen.get(name))}" for name in ("torch", "torchaudio", "torchcodec", "python")
    )
    out = [f"{symbol} {report.verdict}: {formatting.plain(report.image)}", f"  {formatting.plain(pair)}"]
    if host.driver or host.gpus:
        gpus = ", ".join(gpu.name + (f" ({gpu.capability})" if gpu.capability else "") for gpu in host.gpus) or "no GPU"
        out.append(f"  this machine: driver {formatting.plain(host.driver or 'unknown')}, {formatting.plain(gpus)}")
    for index, cause in enumerate(causes):
        out += ["", f"{'Cause' if index == 0 else 'Also'}: {cause.title} [{cause.id}]", f"  {cause.explanation}"]
        out += [f"  seen: {formatting.plain(text, 400)}" for text in cause.evidence[:4]]
        out += [f"  try:  {formatting.plain(text, 400)}" for text in cause.remedy]
    if not causes and report.verdict != "healthy":
        out += ["", "No known cause: what follows is what failed.", f"  {views.cause(report)}"]
    return out
