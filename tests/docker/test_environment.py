"""What is split over layers behaves as any environment: pip and uv change it, compilers and the loader find its files.

Needs PyPI and the distribution's mirror: what is installed here is what a user of an image installs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from docker import DockerClient
from uv import find_uv_bin

from torchpair.build import ca_bundle

from .conftest import EIGHT, FOURTEEN

CA = "/etc/ssl/machine.crt"
Shell = Callable[..., str]
each_row = pytest.mark.parametrize("row", [EIGHT, FOURTEEN])


def start(client: DockerClient, reference: str) -> tuple[Any, Shell]:
    """A throw-away container of an image, as root with the network; and bash in it."""
    volumes = {str(Path(find_uv_bin()).resolve()): {"bind": "/usr/local/bin/uv", "mode": "ro"}}
    environment = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "UV_NO_CACHE": "1", "DEBIAN_FRONTEND": "noninteractive"}
    if bundle := ca_bundle():  # behind a proxy that opens TLS
        volumes[str(bundle)] = {"bind": CA, "mode": "ro"}
        environment |= {"PIP_CERT": CA, "SSL_CERT_FILE": CA}
    container = client.containers.run(
        reference, ["sleep", "1800"], detach=True, user="0", volumes=volumes, environment=environment
    )

    def shell(script: str, code: int = 0) -> str:
        done = container.exec_run(["bash", "-euo", "pipefail", "-c", script], workdir="/tmp", demux=True)
        out, err = (part.decode(errors="replace") if part else "" for part in done.output)
        assert done.exit_code == code, f"ended with {done.exit_code}:\n{out}\n{err}"
        return out if code == 0 else out + err

    return container, shell


@pytest.fixture
def fresh(client: DockerClient, reports: dict[str, dict[str, Any]], row: str) -> Iterator[Shell]:
    """bash in a new container of a row's image."""
    container, shell = start(client, reports[row]["image"])
    yield shell
    container.remove(force=True, v=True)


@pytest.fixture(scope="module")
def compilers(client: DockerClient, reports: dict[str, dict[str, Any]]) -> Iterator[Callable[[str], Shell]]:
    """bash in a container of a row's image that has what compiling takes; one for each row, for every test here."""
    started: dict[str, tuple[Any, Shell]] = {}

    def of(row: str) -> Shell:
        if row not in started:
            started[row] = start(client, reports[row]["image"])
            packages = "g++ ninja-build python3-dev"
            started[row][1](f"apt-get -qq update && apt-get -qq -y install --no-install-recommends {packages}")
        return started[row][1]

    yield of
    for container, _ in started.values():
        container.remove(force=True, v=True)


def installed(shell: Shell) -> dict[str, str]:
    """By pip, which must see what uv sees."""
    by_pip, by_uv = (
        {p["name"].lower().replace("_", "-"): p["version"] for p in json.loads(shell(f"{tool} list --format=json"))}
        for tool in ("pip", "uv pip")
    )
    assert by_pip == by_uv
    return by_pip


def locked(reports: dict[str, dict[str, Any]], row: str) -> dict[str, str]:
    distributions = reports[row]["environment"]["distributions"]
    return {name.lower().replace("_", "-"): version for name, version in distributions.items()}


# ---- pip and uv ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("row", "tool"), [(EIGHT, "pip"), (FOURTEEN, "uv pip")])
def test_another_package_leaves_all_others_alone(
    fresh: Shell, reports: dict[str, dict[str, Any]], row: str, tool: str
) -> None:
    fresh(f"{tool} install einops")
    after = installed(fresh)
    assert after.pop("einops")
    assert after == locked(reports, row)
    assert fresh("python -c 'import einops, torch; print(einops.rearrange(torch.ones(2, 3), \"a b -> b a\").shape)'")
    assert "No broken requirements" in fresh("pip check")


@each_row
def test_the_same_pair_once_more_changes_nothing(fresh: Shell, reports: dict[str, dict[str, Any]], row: str) -> None:
    versions = locked(reports, row)
    same = f"torch=={versions['torch']} torchaudio=={versions['torchaudio']}"
    said = fresh(f"pip install --dry-run {same}")
    assert "Would install" not in said and said.count("already satisfied: torch==") == 1
    assert "Would make no changes" in fresh(f"uv pip install --dry-run {same} 2>&1")


@each_row
@pytest.mark.parametrize("tool", ["pip uninstall -y", "uv pip uninstall"])
def test_what_is_uninstalled_is_gone(fresh: Shell, reports: dict[str, dict[str, Any]], row: str, tool: str) -> None:
    """Files that lie in a layer of their own, behind links, too."""
    nvidia = sorted(name for name in locked(reports, row) if name.startswith("nvidia-"))
    site = fresh("python -c 'import torch; print(torch.__path__[0].rpartition(\"/\")[0])'").strip()
    libraries = "find -L /opt/venv/cuda -name '*.so*' | wc -l"
    assert int(fresh(libraries)) > 20
    for gone in ("triton", "torch", " ".join(nvidia)):
        fresh(f"{tool} {gone}")
    left = installed(fresh)
    assert left == {name: v for name, v in locked(reports, row).items() if name not in ("triton", "torch", *nvidia)}
    assert len(nvidia) >= 10 and "numpy" in left
    for name in ("torch", "triton"):
        assert f"No module named '{name}'" in fresh(f"python -c 'import {name}'", code=1)
        assert fresh(f"find {site}/{name} 2>/dev/null || true") == ""
    assert int(fresh(libraries)) == 0
    # The link to NVIDIA's folder stays, and the next one finds its place.
    fresh(f"uv pip install --no-deps {nvidia[-1]}=={locked(reports, row)[nvidia[-1]]}")
    assert fresh(f"find -L {site}/nvidia -type f -name '*.so*'") != ""


# ---- compiling ----------------------------------------------------------------------------------------------------


@each_row
def test_torch_compile(compilers: Callable[[str], Shell], row: str) -> None:
    said = compilers(row)("""
cat >compiled.py <<'PY'
import torch
@torch.compile(fullgraph=True)
def f(x, y):
    return (torch.sin(x) * y).sum(-1)
x, y = torch.randn(64, 64), torch.randn(64, 64)
assert torch.allclose(f(x, y), (torch.sin(x) * y).sum(-1), atol=1e-4)
print(torch._inductor.metrics.generated_kernel_count)
PY
TORCHINDUCTOR_COMPILE_THREADS=1 python compiled.py
find / -xdev -path '*torchinductor*' -name '*.so' | grep -c .
""")
    kernels, objects = said.split()
    assert int(kernels) >= 1 and int(objects) >= 1


@each_row
def test_an_extension_in_cpp(compilers: Callable[[str], Shell], row: str) -> None:
    said = compilers(row)("""
cat >inline.py <<'PY'
import torch
from torch.utils.cpp_extension import load_inline
twice = load_inline("twice", "torch::Tensor twice(torch::Tensor x) { return x * 2; }", functions=["twice"],
                    extra_ldflags=["-Wl,--no-as-needed", "-ltorch_cuda", "-lc10_cuda"])
print(twice.twice(torch.ones(2)).tolist(), twice.__file__)
PY
python inline.py
""")
    assert said.startswith("[2.0, 2.0] ")
    needed = compilers(row)(f"readelf -d {said.split()[-1]} | grep NEEDED; ldd {said.split()[-1]}")
    assert "[libtorch_cuda.so]" in needed and "[libc10_cuda.so]" in needed


@each_row
def test_a_program_linked_against_cuda_libraries(compilers: Callable[[str], Shell], row: str) -> None:
    """Also through the link that stands for libtorch_cuda.so: all that it needs in turn is found beside the link."""
    said = compilers(row)("""
cat >program.cpp <<'CPP'
#include <cstdio>
extern "C" const char* cudaGetErrorString(int);
int main() { std::puts(cudaGetErrorString(0)); }
CPP
python - >where <<'PY'
import glob, os, sysconfig
from torch.utils import cpp_extension
site = sysconfig.get_path("purelib")
(runtime,) = glob.glob(f"{site}/nvidia/*/lib/libcudart.so.1?")
print(*cpp_extension.library_paths(), os.path.dirname(runtime), os.path.basename(runtime))
PY
read -r torch runtime name <where
g++ program.cpp -o program -L"$torch" -L"$runtime" -Wl,-rpath,"$torch:$runtime" \
  -Wl,--no-as-needed -ltorch_cuda -lc10_cuda -ltorch_cpu "-l:$name"
./program
ldd -r program 2>&1 | sort -u
""")
    assert said.startswith("no error\n")
    assert "not found" not in said and "undefined symbol" not in said, said
    for name in ("libtorch_cuda.so", "libc10_cuda.so", "libcudart.so", "libcublas.so", "libcudnn.so", "libnccl.so"):
        assert f"\t{name}" in said
    assert "/opt/venv/lib/python3" in said


@each_row
def test_triton_finds_its_assembler(fresh: Shell, row: str) -> None:
    said = fresh("""
python - <<'PY'
import json, os
from subprocess import run
from triton import knobs
found = [tool.path for tool in (knobs.nvidia.ptxas, knobs.nvidia.cuobjdump, knobs.nvidia.nvdisasm)]
print(json.dumps([[path, os.path.realpath(path), run([path, "--version"], capture_output=True, text=True).stdout]
                  for path in found]))
PY
""")
    for path, real, version in json.loads(said):
        folder = "triton/backends/nvidia/bin"
        assert path.startswith("/opt/venv/lib/python3") and path.endswith(f"/{folder}/{Path(path).name}")
        assert real == f"/opt/venv/lib/shared/{folder}/{Path(path).name}"
        assert "Cuda compilation tools, release" in version
