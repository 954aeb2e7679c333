"""What counts an image's files, on a small root of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from torchpair import inventory


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with a package of the distribution, a wheel, a link, a second name of a file, and what nobody owns."""
    files = {
        "usr/lib/libx.so": 10,
        "usr/bin/tool": 20,
        "usr/lib/python3/__pycache__/x.pyc": 5,
        "usr/share/mime/one/a": 100,
        "usr/share/mime/two/b": 200,
        "opt/venv/lib/pair.py": 1000,
        "opt/venv/cuda/libcublas.so.12": 2000,
        "opt/other/libcublas.so.12": 3000,
        "opt/other/libcublas.txt": 7,
        "proc/1/mem": 10**6,
        "opt/proc/kept": 1,
    }
    for name, size in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x" * size)
    (tmp_path / "lib").symlink_to("usr/lib")
    info = tmp_path / "var/lib/dpkg/info"
    info.mkdir(parents=True)
    # Packages name /lib and /bin as they were before these became links.
    (info / "libx:amd64.list").write_text("/.\n/lib\n/lib/libx.so\n")
    (info / "tool.list").write_text("/usr/bin/tool\n/usr/bin/gone\n")
    (info / "tool.md5sums").write_text("ab")
    (tmp_path / "opt/venv/libcublas.so.12").symlink_to("cuda/libcublas.so.12")
    os.link(tmp_path / "usr/bin/tool", tmp_path / "usr/bin/tool-as-well")
    os.mkfifo(tmp_path / "opt/pipe")
    return tmp_path


def counted(root: Path) -> dict[str, Any]:
    by_wheel = {f"{root}/opt/venv/lib/pair.py": "pair", f"{root}/opt/venv/cuda/libcublas.so.12": "nvidia-cublas-cu12"}
    return inventory.count(str(root), by_wheel, inventory.debs(str(root)))


def test_every_file_has_one_owner_and_is_counted_once(root: Path) -> None:
    found = counted(root)
    assert found["wheel"] == {"pair": 1000, "nvidia-cublas-cu12": 2000}
    records = {name: len((root / "var/lib/dpkg/info" / name).read_bytes()) for name in ("libx:amd64.list", "tool.list")}
    # A file of two names counts once, whichever comes first.
    owned = found["deb"]["tool"] + found["nobody"].get("/usr/bin/tool-as-well", 0)
    assert owned == 20 + records["tool.list"] + 2
    assert found["deb"]["libx"] == 10 + records["libx:amd64.list"]
    assert {area: size for area, size in found["nobody"].items() if "tool" not in area} == {
        "bytecode of the distribution's Python": 5,
        "/usr/share/mime": 300,
        "/opt/other/libcublas.so.12": 3000,
        "/opt/other/libcublas.txt": 7,
        "/opt/proc/kept": 1,
    }


def test_a_cuda_library_at_two_places(root: Path) -> None:
    found = counted(root)["twice"]
    assert {name: sorted(places) for name, places in found.items()} == {
        "libcublas.so.12": [
            ("/opt/other/libcublas.so.12", "", 3000),
            ("/opt/venv/cuda/libcublas.so.12", "nvidia-cublas-cu12", 2000),
        ]
    }
    (root / "opt/other/libcublas.so.12").unlink()
    assert counted(root)["twice"] == {}, "a link is no copy"


def test_a_deep_path_of_nobody_has_a_short_name(root: Path) -> None:
    """Keys of the answer are bounded where it is read: an image must not be refused for its long paths."""
    deep = root.joinpath("srv", *["d" * 50] * 6)
    deep.mkdir(parents=True)
    for number in range(300):
        (deep / f"{number}.js").write_bytes(b"xx")
    found = counted(root)["nobody"]
    assert found["/srv/" + "/".join(["d" * 50] * 2)] == 600
    assert max(map(len, found)) < 200


def test_without_dpkg(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    assert inventory.debs(str(tmp_path)) == {}
    empty: dict[str, int] = {}
    assert inventory.count(str(tmp_path), {}, {}) == {"wheel": empty, "deb": empty, "nobody": {"/file": 3}, "twice": {}}


def test_wheels_are_owned_through_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site, shared = tmp_path / "site", tmp_path / "shared"
    for folder in (site / "pair", shared, site / "Pair_Of.Two-1.0.dist-info", site / "no_name-1.0.dist-info"):
        folder.mkdir(parents=True)
    (shared / "big.so").write_bytes(b"x" * 9)
    (site / "pair/big.so").symlink_to(shared / "big.so")
    metadata = site / "Pair_Of.Two-1.0.dist-info"
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: Pair_Of.Two\nVersion: 1.0\n")
    (metadata / "RECORD").write_text('pair/big.so,sha256=x,9\n"pair/a,b.py",,\n../bin/pair,,\n')
    # What an interrupted uninstall leaves behind.
    (site / "no_name-1.0.dist-info/RECORD").write_text("pair/lost.py,,\n")
    monkeypatch.setattr(sys, "path", [str(site)])
    assert inventory.wheels() == {
        str(shared / "big.so"): "pair-of-two",
        str(site / "pair/a,b.py"): "pair-of-two",
        str(tmp_path / "bin/pair"): "pair-of-two",
    }


def test_as_a_program_it_prints_one_json() -> None:
    """As it runs in an image: as text, by `python -c`. Here everything but its own folder is left out."""
    code = Path(inventory.__file__).read_text(encoding="utf-8")
    small = code.replace('count("/",', f"count({str(Path(inventory.__file__).parent / 'facts')!r},")
    assert small != code
    done = subprocess.run([sys.executable, "-S", "-c", small], capture_output=True, text=True, check=True, timeout=120)
    assert set(json.loads(done.stdout)) == {"wheel", "deb", "nobody", "twice"}
