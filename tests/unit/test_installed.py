"""The wheel and the sdist: whole, and a torchpair that works far from its checkout."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from uv import find_uv_bin

from torchpair import __version__

ROOT = Path(__file__).resolve().parents[2]
ROW = "torch2.8.0-cu128-py311"
MATRIX = 'images:\n  - {torch: "2.8.0", cuda: "12.8", python: "3.11", default: true}\n'
Program = Callable[..., "subprocess.CompletedProcess[str]"]
OUTSIDE = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("PYTHON", "VIRTUAL_ENV", "BASE", "MIRROR"))
}


@dataclass(frozen=True)
class Built:
    wheel: Path
    sdist: Path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The sdist of the checkout, and the wheel that is made of that sdist."""
    folder = tmp_path_factory.mktemp("dist")
    uv("build", "--no-build-isolation", "--python", sys.executable, "--out-dir", str(folder), str(ROOT))
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return Built(wheel, sdist)


@pytest.fixture(scope="module")
def torchpair(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Program:
    """The program of a fresh environment: the wheel is its own, the rest is lent by the environment of the tests."""
    fresh = tmp_path_factory.mktemp("fresh") / "venv"
    uv("venv", "--python", sys.executable, str(fresh))
    uv("pip", "install", "--python", str(fresh / "bin/python"), "--no-deps", str(built.wheel))
    (site,) = fresh.glob("lib/python*/site-packages")
    # A path in a .pth is added as it is, its own .pth files are not read: the editable torchpair is not seen.
    lent = dict.fromkeys(sysconfig.get_path(kind) for kind in ("purelib", "platlib"))
    (site / "lent.pth").write_text("\n".join(lent) + "\n")

    def call(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(fresh / "bin/torchpair"), *arguments],
            cwd=folder,
            env=OUTSIDE,
            capture_output=True,
            text=True,
            timeout=60,
        )

    where = "import torchpair, sys; sys.exit(not torchpair.__file__.startswith(sys.prefix))"
    subprocess.run([str(fresh / "bin/python"), "-c", where], cwd=fresh, env=OUTSIDE, check=True)
    return call


def uv(*arguments: str) -> None:
    done = subprocess.run([find_uv_bin(), *arguments, "--offline"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_the_wheel_has_all_that_the_package_has(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as archive:
        held = {name.removeprefix("torchpair/"): archive.read(name) for name in archive.namelist()}
    package = ROOT / "src" / "torchpair"
    wanted = {path.relative_to(package).as_posix(): path for path in package.rglob("*") if path.is_file()}
    wanted |= {f"templates/{path.name}": path for path in (ROOT / "templates").iterdir()}
    wanted["tools.txt"] = ROOT / "locks" / "tools.txt"
    wanted = {name: path for name, path in wanted.items() if "__pycache__" not in name}
    assert {name for name in held if ".dist-info/" not in name} == set(wanted)
    assert all(held[name] == path.read_bytes() for name, path in wanted.items())
    assert f"torchpair-{__version__}.dist-info/licenses/LICENSE" in held


def test_the_sdist_has_all_that_a_reader_needs(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        names = {name.removeprefix(f"torchpair-{__version__}/") for name in archive.getnames()}
    assert {
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "docs/report-format.md",
        "LICENSE",
        "Makefile",
        "matrix.yaml",
        "tests/unit/test_installed.py",
    } <= names
    assert not [name for name in names if name.startswith((".venv", "build/", "reports/")) or "__pycache__" in name]


def test_help_and_version_anywhere(torchpair: Program, tmp_path: Path) -> None:
    assert torchpair("--version", folder=tmp_path).stdout == f"torchpair, version {__version__}\n"
    done = torchpair("--help", folder=tmp_path)
    assert done.returncode == 0 and "images" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_facts_come_along(torchpair: Program, tmp_path: Path) -> None:
    done = torchpair("explain", "--torch", "2.8.0", "--cuda", "12.8", "--python", "3.11", folder=tmp_path)
    assert done.returncode == 0 and re.search(r"^torchaudio +2\.8\.0 ", done.stdout, re.M), done.stderr


def test_a_matrix_of_ones_own_in_an_empty_folder(torchpair: Program, tmp_path: Path) -> None:
    nothing = torchpair("render", folder=tmp_path)
    assert nothing.returncode == 2 and "matrix.yaml" in nothing.stderr and "Traceback" not in nothing.stderr
    (tmp_path / "matrix.yaml").write_text(MATRIX)
    done = torchpair("render", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.split()[1::2]) == [
        "docker-bake.json", "locks/tools.txt", f"{ROW}/Dockerfile", f"{ROW}/local.Dockerfile"
    ]  # fmt: skip
    assert torchpair("render", "--check", folder=tmp_path).returncode == 0
    # With the checkout's lock it renders what the checkout renders, to the byte.
    shutil.copy(ROOT / "locks" / f"{ROW}.txt", tmp_path / "locks")
    assert torchpair("render", folder=tmp_path).returncode == 0
    for name in ("Dockerfile", "local.Dockerfile"):
        path = Path("dockerfiles", ROW, name)
        assert (tmp_path / path).read_bytes() == (ROOT / path).read_bytes()
    done = torchpair("plan", folder=tmp_path)
    assert done.returncode == 0 and zipfile.is_zipfile(tmp_path / "build/context/probe.pyz"), done.stderr
