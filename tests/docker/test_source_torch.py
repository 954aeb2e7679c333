"""A torch newer than any torchaudio, and a torch that is compiled: what of them a small machine can show."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from docker import DockerClient

from torchpair import base as bases
from torchpair.engine import Engine

from .conftest import ROOT, torchpair
from .test_source import HERE, image_of, run, tags

NEWEST = "torch2.15.0-audio2.11.0src-cu132-py313"
DEPS = "torchpair-test:torch-deps"


def test_the_compiler_of_nvidias_wheels_makes_code_that_the_newest_torch_runs(
    client: DockerClient, tmp_path: Path
) -> None:
    """An extension of our own in torchaudio's place, compiled by the row that compiles torchaudio 2.11.0."""
    shutil.copyfile(ROOT / "matrix.yaml", tmp_path / "matrix.yaml")
    shutil.copytree(ROOT / "locks", tmp_path / "locks")
    before = tags(client)
    try:
        done = torchpair(
            "build", NEWEST, "--base", "local", "--source", str(HERE / "stable_abi"), cwd=tmp_path, timeout=3000
        )
        # It is not torchaudio, and the check says so.
        assert done.code == 1, done.out + done.err
        (image,) = tags(client) - before
        script = (
            "import torch, torchaudio; x = torch.arange(5.0); y = torch.ops.torchpair_stable.plus_one(x); "
            "print(torch.__version__, y.tolist()); "
            "print(torch._C._dispatch_has_kernel_for_dispatch_key('torchpair_stable::plus_one', 'CUDA'))"
        )
        said = run(client, image, f'cd / && python -c "{script}"')
        assert said.splitlines() == ["2.15.0+cu132 [1.0, 2.0, 3.0, 4.0, 5.0]", "True"]
        library = "import sys; sys.path.insert(0, '/opt/torchpair/probe.pyz'); from pathlib import Path; "
        library += "from torchpair_probe import fatbin; import torchaudio; "
        library += "print(*fatbin.architectures(next(Path(torchaudio.__file__).parent.glob('_stable*')).read_bytes()))"
        assert run(client, image, f'cd / && python -c "{library}"') == "8.0 9.0"
        rows = torchpair("rows", "--json", "--base", "local", cwd=tmp_path).out
        assert '"torchaudio": "a folder stable_abi"' in rows
    finally:
        for tag in tags(client) - before:
            client.images.remove(tag, force=True)


@pytest.fixture
def debian_torch(engine: Engine, tmp_path: Path) -> Path:
    """Debian 13's source package of torch 2.6.0, unpacked with Debian's patches."""
    reference = bases.ensure_local(engine, "debian13", print)
    script = (
        "sed 's/^deb /deb-src /' /etc/apt/sources.list > /etc/apt/sources.list.d/source.list; apt-get update -qq; "
        "apt-get install -qq -y --no-install-recommends dpkg-dev > /dev/null; "
        "cd /out; apt-get source pytorch; mv pytorch-2.6.0*/ torch; chmod -R a+rwX torch"
    )
    argv = ["docker", "run", "--rm", "--volume", f"{tmp_path}:/out", reference, "bash", "-ec", script]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr[-2000:]
    return tmp_path / "torch"


def test_cmake_says_before_the_compile_which_switches_it_keeps(
    engine: Engine, client: DockerClient, debian_torch: Path, tmp_path: Path
) -> None:
    reference = bases.ensure_local(engine, "debian13", print)
    context = tmp_path / "deps"
    context.mkdir()
    dockerfile = (ROOT / "examples" / "torch-source" / "Dockerfile").read_text()
    before = tags(client)
    try:
        image_of(engine, DEPS, dockerfile, context, "--build-arg", f"BASE={reference}")
        row = (
            f'{{name: %s, base: "{DEPS}", distro: debian13, python: "3.13", cuda: "cpu",\n'
            '     torch: {version: "2.6.0", from: source%s}, torchaudio: {from: source}}\n'
        )
        without = ', switches: "USE_FBGEMM=0 USE_KINETO=0"'
        (tmp_path / "matrix.yaml").write_text(
            f"images:\n  - {row % ('torch-deps', without)}  - {row % ('torch-whole', '')}"
        )
        shutil.copytree(ROOT / "locks", tmp_path / "locks")
        began = time.monotonic()
        sources = ["--source", str(HERE / "small_audio"), "--torch-source", str(debian_torch)]
        done = torchpair("preflight", "torch-deps", *sources, cwd=tmp_path)
        said = (tmp_path / "reports" / "logs" / "torch-deps.log").read_text()
        switches = dict(re.findall(r"^(USE_\w+): (on|off)$", said, re.MULTILINE))
        # What was asked for, as CMake's own summary has it.
        assert done.code == 0, done.out + done.err + said[-3000:]
        off = ("USE_CUDA", "USE_CUDNN", "USE_NCCL", "USE_FBGEMM", "USE_KINETO")
        assert {name: switches.get(name) for name in off if name in switches} == dict.fromkeys(
            (name for name in off if name in switches), "off"
        )
        assert switches["USE_CUDA"] == "off" and switches["USE_FBGEMM"] == "off"
        assert {switches[name] for name in ("USE_OPENMP", "USE_MKLDNN")} == {"on"}, switches
        assert time.monotonic() - began < 900
        # Who asks once more is told once more.
        log = tmp_path / "reports" / "logs" / "torch-deps.log"
        log.unlink()
        assert torchpair("preflight", "torch-deps", *sources, cwd=tmp_path).code == 0
        assert dict(re.findall(r"^(USE_\w+): (on|off)$", log.read_text(), re.MULTILINE)) == switches

        # Debian's source has no FBGEMM: whoever asks for it hears so in minutes.
        done = torchpair("preflight", "torch-whole", *sources, cwd=tmp_path)
        flat = " ".join((done.out + done.err).split())
        assert done.code == 4 and "CMake Error" in flat and "third_party/fbgemm" in flat
    finally:
        for tag in tags(client) - before:
            client.images.remove(tag, force=True)
