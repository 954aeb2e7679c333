"""Rows that are compiled, for real: torchaudio against a torch that must not be touched.

One whole compile of torchaudio 2.6.0 for CUDA; the other tests use its objects again (ccache), or a source of a few
objects (small_audio). What comes later finds the stages of what came first.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from bench.source import ROW, SHA256, debian_archive
from docker import DockerClient
from docker.errors import APIError, ImageNotFound

from torchpair import base as bases
from torchpair.build import ca_bundle
from torchpair.engine import Engine

from .conftest import ROOT, Run, torchpair

HERE = Path(__file__).parent
IMAGE = "torchpair:2.6.0-audio2.6.0src-cu124-py313-debian13"
LABEL = "2.6.0a0+81ea7a4.nv25.01"
VENDOR, DEBIAN, BROKEN = (f"torchpair-test:{name}" for name in ("vendor", "debian-torch", "broken"))
KEPT = 'name: %s, base: "%s", distro: debian13, python: "3.13", torch: {version: "%s", from: base}, '
MATRIX = f"""images:
  - {{torch: "2.6.0", cuda: "12.4", python: "3.13", torchaudio: {{from: source}}, sm: ["8.0", "9.0"]}}
  - {{{KEPT % ("vendor", VENDOR, LABEL)} cuda: "12.4", toolkit: debian,
     torchaudio: {{from: source}}, sm: ["8.0", "9.0"]}}
  - {{{KEPT % ("debian-torch", DEBIAN, "2.6.0+debian")} cuda: "cpu", torchaudio: {{from: source}}}}
  - {{{KEPT % ("no-nvcc", DEBIAN, "2.6.0+debian")} cuda: "12.4", torchaudio: {{from: source}}, sm: "9.0"}}
  - {{{KEPT % ("wrong-torch", DEBIAN, "2.7.0")} cuda: "cpu", torchaudio: {{from: source, ref: v2.6.0}}}}
  - {{{KEPT % ("no-torch", BROKEN, "2.6.0")} cuda: "cpu", torchaudio: {{from: source}}}}
  - {{name: other-nvcc, torch: "2.6.0", cuda: "12.4", python: "3.13", torchaudio: {{from: source}}, sm: "9.0",
     toolkit: base}}
"""
# Says which files of torch an image has, by their content, and without any code of ours: find, sha256sum.
HASHES = (
    "cd $(python3 -c 'import sysconfig; print(sysconfig.get_paths()[\"platlib\"])') && "
    "find -L torch torchgen functorch torch-*.dist-info -type f ! -name '*.pyc' | sort | xargs -d '\\n' sha256sum"
)


@pytest.fixture(scope="module")
def archive(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Debian's source archive of torchaudio 2.6.0, fetched as Debian's apt does."""
    return debian_archive(tmp_path_factory.mktemp("archive"))


@pytest.fixture(scope="module")
def folder(client: DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a matrix of its own; what was built from it is removed behind it."""
    folder = tmp_path_factory.mktemp("source")
    (folder / "matrix.yaml").write_text(MATRIX, encoding="utf-8")
    shutil.copytree(ROOT / "locks", folder / "locks")
    before = tags(client)
    yield folder
    for tag in tags(client) - before:
        with suppress(ImageNotFound, APIError):
            client.images.remove(tag, force=True)


def tags(client: DockerClient) -> set[str]:
    """What these tests can make, and nothing of anybody who uses the engine meanwhile."""
    ours = re.compile(rf"torchpair:.*src-.*|{VENDOR}|{DEBIAN}|{BROKEN}|torchpair-test:torch-deps")
    return {tag for image in client.images.list() for tag in image.tags if ours.fullmatch(tag)}


def build(folder: Path, row: str, source: str, command: str = "build", *more: str) -> Run:
    return torchpair(command, row, "--base", "local", "--source", source, *more, cwd=folder, timeout=3000)


def report(folder: Path, row: str) -> dict[str, Any]:
    return dict(json.loads((folder / "reports" / f"{row}.json").read_text()))


def checks(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {check["id"]: check for check in found["checks"]}


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A small source that no cache has seen."""
    path = tmp_path / "small"
    shutil.copytree(HERE / "small_audio", path)
    (path / "SALT").write_text(uuid.uuid4().hex)
    return path


def image_of(engine: Engine, reference: str, dockerfile: str, context: Path, *more: str) -> str:
    (context / "Dockerfile").write_text(dockerfile)
    argv = [*engine.buildx, "build", "--quiet", "--load", "--tag", reference, *more, str(context)]
    done = subprocess.run(argv, env=engine.env(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return reference


def run(client: DockerClient, image: str, script: str, **options: Any) -> str:
    options = {"entrypoint": ["bash", "-euo", "pipefail", "-c"], "user": "0", **options}
    return client.containers.run(image, [script], remove=True, **options).decode().strip()


# ---- an official torch ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def compiled(folder: Path, archive: str) -> Run:
    done = build(folder, ROW, archive)
    assert done.code == 0, done.out + done.err
    return done


def test_compiled_against_an_official_torch(compiled: Run, folder: Path, client: DockerClient) -> None:
    found = report(folder, ROW)
    assert found["verdict"] == "healthy"
    by_id = checks(found)
    assert by_id["pair.compiled"]["status"] == "pass"
    assert by_id["pair.compiled"]["measured"] == {
        "running": "2.6.0+cu124", "installed": "2.6.0+cu124", "compiled": ["8.0", "9.0"],
    }  # fmt: skip
    assert by_id["pair.cuda"]["measured"]["torchaudio"] == "12.4"
    for name in ("dsp.lfilter", "dsp.rnnt_loss", "dsp.forced_align", "io.wav"):
        assert by_id[name]["status"] == "pass"
    # No compiler comes with it, and torch's files are those that were compiled against.
    tools = "for p in gcc g++ cc c++ nvcc cicc cmake ninja ccache git; do command -v $p || true; done"
    assert run(client, IMAGE, f"{tools}; ls -d /opt/toolkit /opt/build /src 2>/dev/null || true") == ""
    assert run(client, IMAGE, "sha256sum --check --quiet /opt/torchpair/torch.sha256; pip check").startswith(
        "No broken"
    )


def test_the_wheel_alone(compiled: Run, folder: Path, archive: str, tmp_path: Path) -> None:
    """The compile is not run again for it: BuildKit has it."""
    began = time.monotonic()
    done = build(folder, ROW, archive, "wheel", "--output", str(tmp_path / "wheels"))
    assert done.code == 0, done.out + done.err
    (wheel,) = (tmp_path / "wheels").iterdir()
    assert re.fullmatch(r"torchaudio-2\.6\.0\+cu124-cp313-cp313-linux_x86_64\.whl", wheel.name)
    assert done.out.rstrip().endswith(str(wheel))
    assert time.monotonic() - began < 60


# ---- going on where a build was ended -------------------------------------------------------------------------------


def test_ended_by_its_id_and_started_again_compiles_the_rest(compiled: Run, folder: Path, small: Path) -> None:
    argv = [sys.executable, "-m", "torchpair.cli", "wheel", ROW, "--base", "local", "--source", str(small)]
    argv += ["--output", str(folder / "out"), "--max-jobs", "1"]
    log = folder / "reports" / "logs" / f"{ROW}.log"
    process = subprocess.Popen(argv, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        until(lambda: "[objects] 3/8" in read(log) and str(process.pid), 300)
    finally:
        process.send_signal(signal.SIGTERM)
    assert "stopped" in process.communicate(timeout=60)[0]
    assert process.returncode == 130
    done = build(folder, ROW, str(small), "wheel", "--output", str(folder / "out"))
    assert done.code == 0, done.out + done.err
    match = re.search(r"(\d+) objects compiled, (\d+) taken from the cache", done.out)
    assert match, done.out
    again, cached = map(int, match.groups())
    assert cached >= 3 and again == 8 - cached, done.out
    assert re.search(r"objects \d/8", done.out)
    whole = folder / "reports" / "logs" / f"{ROW}.torchaudio.log"
    assert "[8/8]" in whole.read_text()

    (small / "setup.py").write_text((small / "setup.py").read_text() + "# touched\n")
    done = build(folder, ROW, str(small), "wheel", "--output", str(folder / "out"))
    assert "0 objects compiled, 8 taken from the cache" in done.out


def read(path: Path) -> str:
    return path.read_text() if path.is_file() else ""


def until(ready: Callable[[], object], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end
        time.sleep(0.2)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("g++: fatal error: Killed signal terminated program cc1plus", ["out of memory", "--max-jobs 1"]),
        ("x.cu(3): error: identifier FLT_MAX is undefined", ["does not compile", "FLT_MAX is undefined"]),
    ],
)
def test_a_compile_that_fails(
    compiled: Run, folder: Path, small: Path, client: DockerClient, words: str, said: list[str]
) -> None:
    before = client.images.get(IMAGE).id
    (small / "setup.py").write_text(f"print({words!r})\nraise SystemExit(1)\n")
    done = build(folder, ROW, str(small), "build", "--max-jobs", "2")
    assert done.code == 4
    flat = " ".join(done.out.split())
    assert all(word in flat for word in said), flat
    assert words in (folder / "reports" / "logs" / f"{ROW}.torchaudio.log").read_text()
    assert client.images.get(IMAGE).id == before


# ---- a torch that the base has --------------------------------------------------------------------------------------

RELABEL = f"""
import pathlib, re, shutil, sysconfig
site = pathlib.Path(sysconfig.get_paths()["platlib"])
version = site / "torch" / "version.py"
version.write_text(re.sub(r"__version__ = '[^']*'", "__version__ = '{LABEL}'", version.read_text()))
(old,) = site.glob("torch-2*.dist-info")
# Not rename: overlayfs refuses it for a folder of a lower layer.
new = pathlib.Path(shutil.move(old, site / "torch-2.6.0a0+81ea7a4.nv25.1.dist-info"))
metadata = new / "METADATA"
metadata.write_text(re.sub(r"(?m)^Version: .*$", "Version: 2.6.0a0+81ea7a4.nv25.1", metadata.read_text()))
record = new / "RECORD"
lines = record.read_text().replace(old.name, new.name)
# A vendor's own build has a record of its own files.
record.write_text(re.sub(r"(?m)^torch/version\\.py,.*$", "torch/version.py,,", lines))
"""


@pytest.fixture(scope="module")
def vendor(compiled: Run, engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A base as NVIDIA's: a torch under a label of its own, no torchaudio, a constraint, PYTORCH_VERSION."""
    context = tmp_path_factory.mktemp("vendor")
    # The salt: a base that BuildKit has not seen. A cache that an earlier run left would hold the whole compile.
    (context / "relabel.py").write_text(f"{RELABEL}# {uuid.uuid4().hex}\n")
    dockerfile = f"""FROM {IMAGE}
USER 0
COPY relabel.py /tmp/
RUN pip uninstall -qy torchaudio soundfile cffi pycparser && python -B /tmp/relabel.py && rm -r /opt/torchpair \\
 && mkdir /etc/pip && echo 'numpy<3' > /etc/pip/constraint.txt
ENV PIP_CONSTRAINT=/etc/pip/constraint.txt PYTORCH_VERSION=2.6.0a0+81ea7a4
USER 10001
"""
    return image_of(engine, VENDOR, dockerfile, context)


def test_the_torch_of_a_base_is_left_alone(vendor: str, folder: Path, archive: str, client: DockerClient) -> None:
    done = build(folder, "vendor", archive)
    assert done.code == 0, done.out + done.err
    found = report(folder, "vendor")
    image = found["image"]
    assert found["verdict"] == "healthy"
    assert found["environment"]["torch"] == LABEL
    assert checks(found)["pair.compiled"]["measured"]["compiled"] == ["8.0", "9.0"]
    # The objects are those of the official torch: none of the 27 was compiled twice. What was are CMake's own small
    # questions to the compiler, each in a folder of a random name.
    counts = re.search(r"(\d+) objects compiled, (\d+) taken from the cache", done.out)
    assert counts and int(counts[2]) >= 27 and int(counts[1]) < 10, done.out
    before, after = (run(client, name, HASHES) for name in (vendor, image))
    assert len(before.splitlines()) > 5000 and before == after
    old, new = (
        dict(p.split("==") for p in run(client, name, "pip list --format=freeze").splitlines())
        for name in (vendor, image)
    )
    assert set(new.items()) - set(old.items()) == {
        (name, new[name]) for name in ("torchaudio", "soundfile", "cffi", "pycparser")
    }
    assert new["torchaudio"] == "2.6.0+cu124"

    # What a TTS project installs afterwards changes neither; what would have to replace torch is refused.
    secrets = {str(ca_bundle()): {"bind": "/etc/ssl/certs/ca-certificates.crt", "mode": "ro"}}
    script = (
        "pip install -q torchmetrics pytorch-lightning einops librosa transformers torchaudio 1>&2; "
        f"pip list --format=freeze | grep -E '^torch(audio)?=='; ({HASHES}) | sha256sum; "
        "python -c 'import torchaudio; torchaudio.functional.lfilter'; "
        "pip install 'torch>=2.7' 2>&1 | grep -o ResolutionImpossible | sort -u || true"
    )
    said = run(client, image, script, volumes=secrets, environment={"PIP_CERT": "/etc/ssl/certs/ca-certificates.crt"})
    lines = said.splitlines()
    assert "torch==2.6.0a0+81ea7a4.nv25.1" in lines and "torchaudio==2.6.0+cu124" in lines
    assert lines[-1] == "ResolutionImpossible"
    assert run(client, image, f"({HASHES}) | sha256sum") in lines


@pytest.fixture(scope="module")
def debian(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A base with a torch for the CPU alone: the example's, of Debian's own package."""
    reference = bases.ensure_local(engine, "debian13", print)
    dockerfile = (ROOT / "examples" / "debian-torch" / "Dockerfile").read_text()
    return image_of(engine, DEBIAN, dockerfile, tmp_path_factory.mktemp("debian"), "--build-arg", f"BASE={reference}")


def test_for_the_cpu_alone(debian: str, folder: Path, archive: str) -> None:
    done = build(folder, "debian-torch", archive)
    assert done.code == 0, done.out + done.err
    found = report(folder, "debian-torch")
    assert found["verdict"] == "healthy"
    assert found["environment"]["torch_cuda"] is None and found["environment"]["torchaudio_sm"] == []
    assert checks(found)["pair.compiled"]["measured"]["running"] == "2.6.0+cpu"
    assert checks(found)["dsp.rnnt_loss"]["status"] == "pass"


# ---- what cannot be built -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def broken(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> str:
    reference = bases.ensure_local(engine, "debian13", print)
    dockerfile = f"FROM {reference}\nRUN apt-get update -qq && apt-get install -y --no-install-recommends python3-pip\n"
    return image_of(engine, BROKEN, dockerfile, tmp_path_factory.mktemp("broken"))


@pytest.mark.parametrize(
    ("row", "source", "said"),
    [
        (ROW, "{archive}#sha256=" + "0" * 64, "is not the archive that was meant"),
        (ROW, "git+http://127.0.0.1:9/audio.git@v2.6.0", "cannot be reached"),
        (ROW, "git+file://{git}@v2.6.9", "has no tag, branch or commit v2.6.9"),
        (ROW, "git+file://{git}@v2.6.0", "there is no setup.py"),
        (ROW, "{other}", "the source is torchaudio 2.5.1, the row asks for 2.6.0"),
        ("no-nvcc", "{small}", "is built for the CPU alone, the row says CUDA 12.4"),
        ("wrong-torch", "{small}", "the image has torch 2.6.0+debian, the row says 2.7.0"),
        ("no-torch", "{small}", "no torch can be imported"),
        ("other-nvcc", "{small}", "there is no nvcc in /usr/local/cuda"),
    ],
)
def test_what_cannot_be_built_is_said_before_the_compile(
    compiled: Run, debian: str, broken: str, client: DockerClient, folder: Path, archive: str, small: Path,
    tmp_path: Path, row: str, source: str, said: str,
) -> None:  # fmt: skip
    git, other = tmp_path / "git", tmp_path / "other"
    shutil.copytree(small, other)
    (other / "version.txt").write_text("2.5.1\n")
    git.mkdir()
    for argv in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "x"], ["tag", "v2.6.0"]):
        subprocess.run(["git", "-C", str(git), "-c", "user.name=x", "-c", "user.email=x@x", *argv], check=True)
    before = tags(client)
    places = {"archive": archive.partition("#")[0], "git": git, "small": small, "other": other}
    done = build(folder, row, source.format(**places))
    flat = " ".join((done.out + done.err).split())
    assert done.code == 4 and said in flat, flat
    assert "[objects]" not in flat and tags(client) == before


def test_the_archive_is_the_one_that_the_design_names(archive: str) -> None:
    assert archive.endswith(SHA256)
