"""Libraries and installations: what the probe reads from them, and which of them it calls broken."""

from __future__ import annotations

import ctypes  # noqa: F401 - loads the library that is read here
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from torchpair.probe import elf, environment, library, network, origin
from torchpair.probe.context import Context


def a_library() -> Path:
    """A library that the running Python has loaded and that needs another one."""
    return Path(sys.modules["_ctypes"].__file__ or "")


def test_elf_tables_are_those_of_the_system_tools() -> None:
    path = a_library()
    table = elf.read(path)
    assert table is not None
    assert any(name.startswith("libffi.so.") for name in table.needed)
    assert "PyInit__ctypes" in table.given
    assert any(name.startswith("Py") for name in table.taken)
    assert not set(table.given) & set(table.taken)


def test_what_is_no_library_is_none(tmp_path: Path) -> None:
    for data in (b"", b"text", b"\x7fELF\x02\x01" + bytes(100), a_library().read_bytes()[:200]):
        (tmp_path / "a.so").write_bytes(data)
        found = elf.read(tmp_path / "a.so")
        assert found is None or found == elf.Library((), (), ())
    assert elf.read(tmp_path / "absent.so") is None


def test_libraries_are_loaded_in_another_process(tmp_path: Path) -> None:
    broken = tmp_path / "broken.so"
    broken.write_bytes(b"no library")
    answer = library.load_all([a_library(), broken])
    assert list(answer["errors"]) == [str(broken)]
    assert str(a_library()) in answer["mapped"]


def test_a_library_that_needs_a_later_one_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    held: set[str] = set()

    def load(path: str, mode: int) -> None:
        if path == "/s/never.so" or (path == "/s/decoder.so" and "/s/libtext.so" not in held):
            raise OSError(f"{path} needs another")
        held.add(path)

    monkeypatch.setattr(library.ctypes, "CDLL", load)
    paths = [Path("/s/decoder.so"), Path("/s/libtext.so"), Path("/s/never.so")]
    assert library._load_all(paths)["errors"] == {"/s/never.so": "/s/never.so needs another"}
    assert library._load_all(paths[1:2])["errors"] == {}


def test_a_library_that_ends_the_process_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "_load_all", lambda paths: os.abort())
    with pytest.raises(RuntimeError, match="signal 6"):
        library.load_all([])
    monkeypatch.setattr(library, "_load_all", lambda paths: __import__("time").sleep(30))
    with pytest.raises(RuntimeError, match=r"longer than 0\.2 s"):
        library.load_all([], 0.2)


MISSING = "{}: cannot open shared object file: No such file or directory"


def test_only_what_an_image_need_not_have_is_excused() -> None:
    errors = {
        "/s/torch/lib/libcaffe2_nvrtc.so": MISSING.format("libcuda.so.1"),
        "/s/torio/lib/libtorio_ffmpeg4.so": MISSING.format("libavutil.so.56"),
        "/s/torio/lib/_torio_ffmpeg4.so": MISSING.format("libtorio_ffmpeg4.so"),
        "/s/torchaudio/lib/libtorchaudio_sox.so": MISSING.format("libsox.so"),
    }
    assert library.excused(errors) == ({}, errors)
    wrong = {
        "/s/torchaudio/lib/libtorchaudio.so": MISSING.format("libcudart.so.13"),
        "/s/torchaudio/lib/_torchaudio.so": MISSING.format("libtorchaudio.so"),
        "/s/torchcodec/libtorchcodec_core7.so": "undefined symbol: torch_dtype_float4_e2m1fn_x2",
        "/s/torchcodec/libtorchcodec_custom_ops7.so": MISSING.format("libtorchcodec_core7.so"),
        "/s/torch/lib/libc10.so": MISSING.format("libavutil.so"[:6] + "x.so"),
    }
    assert library.excused({**wrong, **errors}) == (wrong, errors)
    circle = {"/s/a.so": MISSING.format("b.so"), "/s/b.so": MISSING.format("a.so")}
    assert library.excused(circle) == (circle, {})


def test_two_copies_and_a_foreign_one_are_found() -> None:
    own = {"libcublas.so.12": "/v/nvidia/cublas/lib/libcublas.so.12", "libc10.so": "/v/torch/lib/libc10.so"}
    good = [*own.values(), "/usr/lib/libz.so.1", "/v/nvidia/cublas/lib/libcublasLt.so.12"]
    assert library.copies(good) == {} and library.shadowed(good, own) == {}
    two = [*good, "/usr/local/cuda/lib64/libcublas.so.11"]
    assert list(library.copies(two)) == ["libcublas"]
    other = ["/usr/local/cuda/lib64/libcublas.so.12", "/v/torch/lib/libc10.so"]
    assert library.shadowed(other, own) == {"libcublas.so.12": other[0]}
    # An image whose CUDA is the system's has one copy, and that is right.
    assert library.shadowed(["/usr/local/cuda/lib64/libcudart.so.12"], own) == {}
    assert library.copies(["/a/libcublas.so.12", "/a/libcublasLt.so.12", "/a/libcusparseLt.so.0"]) == {}


def test_the_string_abi_is_read_from_mangled_names() -> None:
    new = "_ZN3c106detail14torchCheckFailEPKcS2_jRKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE"
    old = "_ZN3c106detail14torchCheckFailEPKcS2_jRKSs"
    assert library.string_abi([new, "_ZN2at4_ops3abs4callERKNS_6TensorE"]) is True
    assert library.string_abi([old]) is False
    assert library.string_abi(["_ZN2at4_ops3abs4callERKNS_6TensorE", "memcpy", "_ZNSsC1Ev"]) is None


def test_cuda_majors_are_read_from_needs() -> None:
    assert library.cuda_majors(["libcudart.so.12", "libnvrtc.so.13", "libnppicc.so.12", "libc.so.6"]) == [12, 13]
    assert library.cuda_majors(["libtorch.so", "libavutil.so.57"]) == []


def installation(folder: Path, version: str, size: int | None = None) -> Path:
    """A made-up torchaudio in a folder."""
    package = folder / "torchaudio"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").write_text("x = 1\n")
    info = folder / f"torchaudio-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: torchaudio\nVersion: {version}\n")
    (info / "RECORD").write_text(
        f"torchaudio/__init__.py,sha256=x,{6 if size is None else size}\ntorchaudio/gone.txt,sha256=x,9\n"
        f"torchaudio-{version}.dist-info/RECORD,,\n"
    )
    return folder


def looked(monkeypatch: pytest.MonkeyPatch, *paths: Path) -> tuple[Any, Any]:
    monkeypatch.setattr(sys, "path", [str(path) for path in paths])
    monkeypatch.delitem(sys.modules, "torchaudio", raising=False)
    return origin.origin(Context("off")), origin.files(Context("off"))


def test_one_whole_installation_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, files = looked(monkeypatch, installation(tmp_path / "a", "2.8.0"))
    assert (found.passed, files.passed) == (True, True), (found, files)
    assert files.measured["torchaudio"] == 0


def test_a_cut_file_a_second_copy_and_a_folder_in_front_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = installation(tmp_path / "a", "2.8.0", size=600)
    _, files = looked(monkeypatch, one)
    assert files.passed is False and "has 6 bytes of 600" in files.reason
    (one / "torchaudio" / "__init__.py").unlink()
    assert "is missing" in looked(monkeypatch, one)[1].reason
    two = installation(tmp_path / "b", "2.7.1")
    found, _ = looked(monkeypatch, two, installation(tmp_path / "c", "2.8.0"))
    assert found.passed is False and "installed 2 times" in found.reason
    (tmp_path / "work" / "torchaudio").mkdir(parents=True)
    (tmp_path / "work" / "torchaudio" / "__init__.py").write_text("")
    found, _ = looked(monkeypatch, tmp_path / "work", two)
    assert found.passed is False and "not what is installed" in found.reason


def test_names_in_quotes_are_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torchcodec 0.9 has every name of its RECORD in quotes."""
    one = installation(tmp_path / "a", "2.8.0")
    record = one / "torchaudio-2.8.0.dist-info" / "RECORD"
    record.write_text('"torchaudio/__init__.py","sha256=x",6\n"torchaudio/lib.so","sha256=x",9\n')
    _, files = looked(monkeypatch, one)
    assert files.passed is False and files.reason.startswith("torchaudio/lib.so is missing")
    (one / "torchaudio" / "lib.so").write_bytes(b"123456789")
    assert looked(monkeypatch, one)[1].passed is True


@pytest.mark.parametrize("name", ["torchaudio.py", "torchaudio/__init__.py"])
def test_what_an_import_from_the_working_folder_would_take(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = installation(tmp_path / "a", "2.8.0")
    work = tmp_path / "work"
    (work / "torchaudio").mkdir(parents=True)
    monkeypatch.chdir(work)
    assert looked(monkeypatch, one)[0].passed is True  # a folder without Python in it loses to what is installed
    (work / name).write_text("")
    found, _ = looked(monkeypatch, one)
    assert found.passed is False and "in this folder import torchaudio takes" in found.reason
    monkeypatch.chdir(one)  # where it is installed nothing stands before it
    assert looked(monkeypatch, one)[0].passed is True


def test_a_working_folder_that_cannot_be_looked_into_stands_before_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = installation(tmp_path / "a", "2.8.0")

    def refuse(_: Path) -> bool:
        raise PermissionError("Permission denied")

    monkeypatch.setattr(Path, "is_file", refuse)
    assert looked(monkeypatch, one)[0].passed is True
    monkeypatch.undo()
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert looked(monkeypatch, one)[0].passed is True


def test_facts_about_where_things_are_taken_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("libcudart.so.12", "libstdc++.so.6", "libother.so"):
        (tmp_path / name).write_bytes(b"")
    monkeypatch.setenv("LD_LIBRARY_PATH", f":{tmp_path}:/no/such/folder")
    monkeypatch.setenv("LD_PRELOAD", "/old/libcudnn.so.9")
    torch = tmp_path / "torch"
    torch.mkdir()
    (torch / "__init__.py").write_text("raise ImportError")
    (torch / "_C.cpython-312-x86_64-linux-gnu.so").write_bytes(b"")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    context = Context("off")
    context.imports = False
    facts = environment.describe(context)
    assert facts["shadowing"] == ["/old/libcudnn.so.9", f"{tmp_path}/libcudart.so.12", f"{tmp_path}/libstdc++.so.6"]
    assert facts["variables"]["LD_PRELOAD"] == "/old/libcudnn.so.9"
    assert (facts["built_for"], facts["elsewhere"]) == (["cpython-312"], [])
    assert "torch" not in sys.modules and context.import_error == "nothing was imported"
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(environment, "PLACES", (str(tmp_path.relative_to("/")),))
    assert environment.describe(context)["elsewhere"] == [str(tmp_path)]


def test_the_watch_sees_a_network_and_not_a_socket_file(tmp_path: Path) -> None:
    # In a process of its own: an audit hook stays for the life of a process.
    program = (
        "import socket, sys; sys.path.insert(0, sys.argv[1]); from torchpair.probe import network\n"
        "watch = network.Watch(); s = socket.socket(socket.AF_UNIX)\n"
        "try: s.connect(sys.argv[2])\nexcept OSError: pass\n"
        "assert watch.attempts == [], watch.attempts\n"
        "try: socket.create_connection(('127.0.0.1', 9), 0.2)\nexcept OSError: pass\n"
        "assert any('127.0.0.1' in one for one in watch.attempts), watch.attempts\n"
    )
    source = str(Path(network.__file__).parents[2])
    argv = [sys.executable, "-c", program, source, str(tmp_path / "socket")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert network.has_network() in (True, False) and socket
