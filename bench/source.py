"""`source_rebuild`: what a change of one source file costs against compiling everything, of torchaudio 2.6.0.

The row takes 12 GB of disk while it is built.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from torchpair import base as bases
from torchpair import dockerd
from torchpair.console import console
from torchpair.factory import wheel
from torchpair.materials import Given
from torchpair.sources import fetch, parse
from torchpair.workspace import Workspace

ROOT = Path(__file__).resolve().parents[1]
ROW = "torch2.6.0-audiosrc-cu124-py313"
# Debian 13's source package pytorch-audio 2.6.0-1: upstream's own archive.
ARCHIVE = "pytorch-audio_2.6.0.orig.tar.gz"
SHA256 = "3335d8fcf58c26acf3c628d751103b59226e01c91847ce56efb2a4e7ae8351ef"
TOUCHED = "src/libtorchaudio/utils.cpp"


def debian_archive(folder: Path) -> str:
    """Fetch the archive as Debian's apt does, into a folder; its name for --source."""
    reference = bases.ensure_local(dockerd.ensure(print), "debian13", print)
    # The packaging files beside the archive are not needed, and a mirror may have them no more: `|| true`.
    script = (
        "sed 's/^deb /deb-src /' /etc/apt/sources.list > /etc/apt/sources.list.d/source.list; apt-get update -qq; "
        f"cd /out; apt-get source --download-only pytorch-audio || true; test -s {ARCHIVE}; chmod a+r {ARCHIVE}"
    )
    argv = ["docker", "run", "--rm", "--volume", f"{folder}:/out", reference, "bash", "-ec", script]
    subprocess.run(argv, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    assert hashlib.sha256((folder / ARCHIVE).read_bytes()).hexdigest() == SHA256
    return f"{folder / ARCHIVE}#sha256={SHA256}"


def source_rebuild(archive: str | None = None) -> dict[str, object]:
    """The measure, in bench/run.py's form: seconds of the second compile, of the first, and their ratio."""
    workspace = Workspace(ROOT / "matrix.yaml")
    with tempfile.TemporaryDirectory(prefix="torchpair-bench-") as name:
        folder = Path(name)
        archive = archive or debian_archive(folder)
        source = folder / "audio"
        unpacked = fetch(parse(archive), folder / "sources", workspace.mirror, lambda line: None)
        shutil.copytree(unpacked, source)

        def seconds(recache: bool) -> float:
            given = Given({"torchaudio": str(source)}, recache=recache)
            began = time.perf_counter()
            wheel(workspace, ROW, folder / "out", base="local", given=given, console=console())
            return time.perf_counter() - began

        # Its own content each time: what BuildKit has of an earlier run would be no compile at all.
        (source / "bench").write_text(str(time.time_ns()))
        whole = seconds(recache=True)
        with (source / TOUCHED).open("a") as file:
            file.write(f"// {time.time_ns()}\n")
        again = seconds(recache=False)
    return {
        "id": "source_rebuild",
        "ours": round(again, 3),
        "other": round(whole, 3),
        "ratio": round(again / whole, 3),
        "unit": "s",
        "runs": 1,
        "against": f"the first compile of torchaudio 2.6.0 for CUDA; then {TOUCHED} was changed",
    }
