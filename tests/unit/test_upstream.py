"""PyPI against the facts, without PyPI: pages and wheels made here, and one server on 127.0.0.1 that misbehaves."""

from __future__ import annotations

import http.server
import io
import json
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from test_facts_files import SMALL

from torchpair import upstream
from torchpair.errors import TorchpairError
from torchpair.facts import CUDA, RELEASES, Facts, FactsError, listing, pypi, schema
from torchpair.facts.architectures import LIBRARY, architectures
from torchpair.facts.pypi import PypiError

INDEX = "https://index.example/simple"
TODAY = date(2026, 12, 24)
TORCH_REQUIRES = (
    "filelock",
    'setuptools>=77.0.3; python_version >= "3.13"',
    'cuda-toolkit[cublas]==13.2.2; platform_system == "Linux"',
    'nvidia-cudnn-cu13==9.30.0.1; platform_system == "Linux"',
    'nvidia-nccl-cu13==2.31.1; platform_system == "Linux"',
    'triton~=4.0.0; platform_system == "Linux" and python_version < "3.14"',
    'triton-windows; platform_system == "Windows"',
    'optree>=0.13; extra == "optree"',
)


def quiet(_: str) -> None:
    pass


def file_name(package: str, version: str, python: str = "cp310-cp310", arch: str = "x86_64", glibc: int = 28) -> str:
    return f"{package}-{version}-{python}-manylinux_2_{glibc}_{arch}.whl"


def html(*files: str, more: str = "") -> bytes:
    links = "".join(f'<a href="../../files/{file}#sha256=0"{more}>{file}</a>\n' for file in files)
    return f"<!DOCTYPE html><html><body>{links}</body></html>".encode()


def read(package: str, data: bytes) -> listing.Listing:
    return listing.read(package, f"{INDEX}/{package}/", data)


def wheel(
    package: str, version: str, label: str, requires: tuple[str, ...] = (), more: str = "", flags: bytes | None = None
) -> bytes:
    """A wheel with what is read from it, and a megabyte that must not be fetched. flags: in a library of its own."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr(f"{package}/lib/big.so", b"\0" * 1_000_000)
        if flags is not None:
            archive.writestr(LIBRARY, b"\0the sm_80 of a sentence\0" + flags + b"\0" * 9)
        archive.writestr(f"{package}/version.py", f"__version__ = '{version}{label}'\n{more}")
        lines = ["Metadata-Version: 2.4", f"Name: {package}", f"Version: {version}", "Requires-Python: >=3.10"]
        lines += [f"Requires-Dist: {one}" for one in requires]
        archive.writestr(f"{package}-{version}.dist-info/METADATA", "\n".join(lines) + "\n\n# Readme\nVersion: 9\n")
        archive.writestr(f"vendored/{package}-9.dist-info/METADATA", "Version: 9\n\n")
    return data.getvalue()


class Server:
    """A `fetch` over a dictionary of pages; remembers what was asked."""

    def __init__(self, pages: dict[str, bytes]) -> None:
        self.pages = pages
        self.asked: list[tuple[str, tuple[int, int] | None]] = []
        self.sent = 0

    def __call__(self, url: str, span: tuple[int, int] | None = None) -> bytes:
        self.asked.append((url, span))
        data = self.pages[url]
        if span:
            start, length = span
            data = data[start:] if start < 0 else data[start : start + length]
        self.sent += len(data)
        return data


def serving(package: str, wheels: dict[str, bytes], more: str = "") -> Server:
    pages = {f"https://index.example/files/{file}": data for file, data in wheels.items()}
    return Server({f"{INDEX}/{package}/": html(*wheels, more=more), **pages})


def torch_wheels(version: str = "2.16.0", cuda: str = "13.2", **other: Any) -> dict[str, bytes]:
    tag = "+cu" + cuda.replace(".", "")
    data = wheel("torch", version, tag, **{"requires": TORCH_REQUIRES, "more": f"cuda: str = '{cuda}'\n", **other})
    pythons = ("cp313-cp313t", "cp310-cp310", "cp313-cp313")
    arm = {file_name("torch", version, python, "aarch64"): data for python in pythons[1:]}
    return {**{file_name("torch", version, python): data for python in pythons}, **arm}


@pytest.fixture(scope="module")
def small() -> Facts:
    return schema.check(SMALL[RELEASES], SMALL[CUDA])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in SMALL.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


# Listings.


def test_html_and_json_pages_read_the_same() -> None:
    files = (file_name("torch", "2.16.0"), file_name("torch", "2.16.0", arch="aarch64"), "torch-2.16.0.tar.gz")
    entries = [{"filename": f, "url": f"https://index.example/files/{f}", "hashes": {}, "yanked": False} for f in files]
    page = json.dumps({"meta": {"api-version": "1.1"}, "name": "torch", "files": entries}).encode()
    assert read("torch", page) == read("torch", html(*files))


def test_what_file_names_say() -> None:
    found = read(
        "torch",
        html(
            "torch-2.6.0-cp39-cp39-manylinux1_x86_64.whl",
            "torch-2.6.0-cp310-cp310-manylinux_2_17_aarch64.manylinux2014_aarch64.whl",
            "torch-2.6.0-3-cp313-cp313t-manylinux1_x86_64.whl",
            "torch-2.6.0-cp313-cp313-manylinux_2_28_x86_64.whl",
            "torch-2.6.0-cp312-none-macosx_11_0_arm64.whl",
            "torch-2.6.0-cp312-cp312-win_amd64.whl",
            "torch-2.6.0+cu126-cp312-cp312-manylinux_2_28_x86_64.whl",
        ),
    )
    release = found.releases["2.6.0"]
    assert release.pythons("x86_64") == ("3.9", "3.13", "3.13t")
    assert release.pythons("aarch64") == ("3.10",)
    assert (release.glibc("x86_64"), release.glibc("aarch64")) == ("2.28", "2.17")
    assert found.find("2.6") == release and found.find("2.7") is None
    assert found.unreadable == 0


def test_a_wheel_for_every_python_is_one_for_those_that_exist() -> None:
    old = [file_name("torchaudio", "2.11.0", f"cp3{m}-cp3{m}") for m in ("9", "10", "14")]
    free = file_name("torchaudio", "2.11.0", "cp314-cp314t")
    any_python = file_name("torchaudio", "2.11.1", "py3-none")
    stable = file_name("torchaudio", "2.11.2", "cp310-abi3")
    page = html(*old, free, any_python, stable, more=' data-requires-python="&gt;=3.10"')
    found = read("torchaudio", page).releases
    assert found["2.11.0"].pythons("x86_64") == ("3.9", "3.10", "3.14", "3.14t")
    assert found["2.11.1"].pythons("x86_64") == found["2.11.2"].pythons("x86_64") == ("3.10", "3.14")


@pytest.mark.parametrize(
    "file",
    [
        'torch-2.16.0"\n  evil: "-cp310-cp310-manylinux_2_28_x86_64.whl',
        "torch-2.16.0%0A-cp310-cp310-manylinux_2_28_x86_64.whl",
        "torch-$(id)-cp310-cp310-manylinux_2_28_x86_64.whl",
        "numpy-2.16.0-cp310-cp310-manylinux_2_28_x86_64.whl",
        "torch-2.16.0.whl",
    ],
)
def test_a_hostile_file_name_is_skipped_and_counted(file: str) -> None:
    entries = [{"filename": file, "url": "https://index.example/x.whl"}]
    found = read("torch", json.dumps({"files": entries}).encode())
    assert not found.releases and found.unreadable == 1


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://index.example/x.whl", "javascript:alert(1)"])
def test_only_web_addresses_are_followed(url: str) -> None:
    entries = [{"filename": file_name("torch", "2.16.0"), "url": url}]
    assert read("torch", json.dumps({"files": entries}).encode()).unreadable == 1


@pytest.mark.parametrize("data", [b"{", b'{"files": ' + b"[" * 100_000, b"\xff\xfe", b'{"files": [{"filename": '])
def test_a_page_that_cannot_be_read(data: bytes) -> None:
    with pytest.raises(PypiError, match="cannot be read"):
        read("torch", data)


@pytest.mark.parametrize("data", [b"", b"<html>no such page", b"{}", b'{"files": null}', b'{"files": [1, {}]}', b"[]"])
def test_a_page_without_wheels(data: bytes) -> None:
    with pytest.raises(PypiError, match="lists no Linux wheel"):
        upstream.look_up("torch", quiet, Server({f"{INDEX}/torch/": data}), INDEX)


# Comparing.


def as_the_facts_say(facts: Facts, package: str) -> listing.Listing:
    releases = {}
    for version, known in upstream._known(facts, package).items():
        wheels = tuple(
            listing.Wheel("https://x", "f", arch, known.pythons[arch], known.glibc.get(arch, "2.28"))
            for arch in known.pypi
        )
        if wheels:
            releases[version] = listing.Release(version, wheels, False)
    return listing.Listing(package, releases)


def test_no_difference(small: Facts) -> None:
    listings = {package: as_the_facts_say(small, package) for package in upstream.PACKAGES}
    assert upstream.compare(small, listings) == []
    assert upstream.describe([]).startswith("No difference")


def test_every_kind_of_difference(small: Facts) -> None:
    old, new = small.torch["2.0.0"], small.torch["2.12.0"]

    def release(version: str, *wheels: tuple[str, tuple[str, ...], str], yanked: bool = False) -> listing.Release:
        return listing.Release(version, tuple(listing.Wheel("u", "f", a, p, g) for a, p, g in wheels), yanked)

    x86, arm = new.pythons["x86_64"], new.pythons["aarch64"]
    releases = (
        release("1.13.1", ("x86_64", ("3.7",), "2.17")),  # older than anything described: no news
        release("2.0.0", ("x86_64", old.pythons["x86_64"], "2.5"), ("aarch64", old.pythons["aarch64"], "2.17")),
        release("2.12.0", ("x86_64", (*x86, "3.14"), "2.34"), yanked=True),
        release("2.13.0rc1", ("x86_64", x86, "2.28")),
        release("2.13.0", ("x86_64", x86, "2.28"), ("aarch64", arm[:1], "2.28")),
        release("2.14.0", ("x86_64", x86, "2.28"), yanked=True),
    )
    audio = (release("2.11.0", ("x86_64", ("3.10", "3.13t"), "2.28"), ("aarch64", ("3.10", "3.13", "3.13t"), "2.28")),)
    audio += (release("2.11.1", ("x86_64", ("3.10",), "2.28")),)
    found = upstream.compare(
        small,
        {
            "torch": listing.Listing("torch", {r.version: r for r in releases}),
            "torchaudio": listing.Listing("torchaudio", {r.version: r for r in audio}),
        },
    )
    assert [(d.package, d.version, d.kind) for d in found] == [
        ("torch", "2.12.0", "yanked"),
        ("torch", "2.12.0", "arches"),
        ("torch", "2.12.0", "pythons"),
        ("torch", "2.12.0", "glibc"),
        ("torch", "2.13.0", "new"),
        ("torchaudio", "2.0.1", "gone"),
        ("torchaudio", "2.11.0", "pythons"),
        ("torchaudio", "2.11.1", "served"),
    ]
    text = upstream.describe(found)
    assert "torchpair facts add torch 2.13.0" in text
    assert "Python on x86_64: new 3.14" in text and "Python on x86_64: gone 3.13" in text
    assert "2.34 on x86_64; the facts: 2.28" in text
    assert "x86_64: Python 3.10, 3.13, 3.13t; aarch64: Python 3.10" in text


def test_check_asks_three_pages_and_validates_first(folder: Path, small: Facts) -> None:
    names = {
        package: [
            file_name(package, v, f"cp{p.replace('.', '').rstrip('t')}-cp{p.replace('.', '')}", arch,
                      int(known.glibc.get(arch, "2.28").split(".")[1]))
            for v, known in upstream._known(small, package).items() for arch in known.pypi for p in known.pythons[arch]
        ]
        for package in upstream.PACKAGES
    }  # fmt: skip
    server = Server({f"{INDEX}/{package}/": html(*files) for package, files in names.items()})
    said: list[str] = []
    assert upstream.check_facts(said.append, server, folder, INDEX) == []
    assert len(server.asked) == 3 and said == [f"asking PyPI for {package}" for package in upstream.PACKAGES]
    (folder / RELEASES).write_text(SMALL[RELEASES].replace("cu117", "cu118", 1), encoding="utf-8")
    with pytest.raises(TorchpairError, match=r"releases\.yaml:\d+"):
        upstream.check_facts(quiet, Server({}), folder, INDEX)


# What wheels were compiled for.


@pytest.mark.parametrize(
    ("flags", "found"),
    [
        (b"sm_75 sm_80 sm_120", ("7.5", "8.0", "12.0")),
        (b"sm_80 sm_90 compute_90 sm_100", ("8.0", "9.0+PTX", "10.0")),
        (b"compute_120", ("12.0+PTX",)),
        (b"std::string ipc_hsm_70 sm_75", ("7.0", "7.5")),  # as in 2.8.0
        (b"sm_80 sm_90\0again\0sm_80 sm_90", ("8.0", "9.0")),
        (b"", ()),
        (None, None),
    ],
)
def test_the_architectures_of_a_wheel(flags: bytes | None, found: tuple[str, ...] | None) -> None:
    server = Server({"https://x.example/a.whl": wheel("torch", "2.16.0", "", flags=flags)})
    assert architectures("https://x.example/a.whl", server) == found
    assert server.sent < 200_000  # and not the megabyte beside it


def test_a_wheel_that_names_its_architectures_twice_is_refused() -> None:
    server = Server({"https://x.example/a.whl": wheel("torch", "2.16.0", "", flags=b"sm_80\0sm_80 sm_90")})
    with pytest.raises(PypiError, match="more than one way"):
        architectures("https://x.example/a.whl", server)


def test_facts_that_say_other_architectures_than_the_wheel(folder: Path) -> None:
    facts = schema.validate(folder)
    (arch, tag), version = next(iter(facts.torch["2.12.0"].pypi.items())), "2.12.0"
    said = facts.torch[version].index[tag].sm[arch]
    for flags, differ in ((b"sm_75 sm_80", True), (_flags(said or ()), False)):
        listing_ = read("torch", html(file_name("torch", version, "cp310-cp310", arch)))
        server = Server({listing_.releases[version].wheels[0].url: wheel("torch", version, "", flags=flags)})
        found = upstream._compiled(facts, listing_, quiet, server)
        assert [(d.version, d.kind) for d in found] == ([(version, "sm")] if differ else [])


def _flags(sm: tuple[str, ...]) -> bytes:
    plain = [f"sm_{one.removesuffix('+PTX').replace('.', '')}" for one in sm]
    return " ".join([*plain, *(f"compute_{one[:-4].replace('.', '')}" for one in sm if "PTX" in one)]).encode()


# Adding.


def add(folder: Path, server: Server, package: str = "torch", version: str = "2.16.0") -> str:
    return upstream.add_release(package, version, folder, quiet, server, INDEX, TODAY)


TORCH_ENTRY = """\
  "2.16.0":
    torchaudio: ["2.11.0", "2.11.1"]
    torchcodec: ">=0.12"
    pythons: ["3.10", "3.13", "3.13t"]
    pythons_aarch64: ["3.10", "3.13"]
    pypi: {x86_64: "cu132", aarch64: "cu132"}
    index:
      cu132: {arches: null, status: "PyPI has it; PyTorch's own index was not asked", sm: null}
    glibc: {x86_64: "2.28", aarch64: "2.28"}
    cudnn: "9.30.0.1"
    nccl: "2.31.1"
    triton: "~=4.0.0"
    setuptools: "setuptools>=77.0.3; python_version >= \\"3.13\\""
    requires_python: ">=3.10"
    numpy: ">=1.21"
    sources: ["wheels"]
    status: "added 2026-12-24 by torchpair facts add; sm and index variants not verified"
    notes:
      - "torchaudio, torchcodec and numpy as for torch 2.12.0, by rule; not tried"
"""


def test_adding_torch_writes_its_architectures_where_the_wheel_says_them(folder: Path) -> None:
    add(folder, serving("torch", torch_wheels(flags=b"sm_80 sm_120 compute_120")))
    added = schema.validate(folder).torch["2.16.0"]
    assert dict(added.index["cu132"].sm) == dict.fromkeys(("x86_64", "aarch64"), ("8.0", "12.0+PTX"))
    assert added.status == "added 2026-12-24 by torchpair facts add; index variants not verified"


def test_adding_torch_writes_what_its_wheels_say_and_nothing_else(folder: Path) -> None:
    server = serving("torch", torch_wheels())
    said = add(folder, server)
    # The end of the section is the end of the file.
    assert (folder / RELEASES).read_bytes().decode() == SMALL[RELEASES] + TORCH_ENTRY
    assert TORCH_ENTRY.rstrip() in said and str(folder) in said
    assert sorted(path.name for path in folder.iterdir()) == [CUDA, RELEASES]
    torch = schema.validate(folder).torch["2.16.0"]
    assert torch.index["cu132"].sm["x86_64"] is None and "not verified" in (torch.status or "")
    assert len(server.asked) <= 9 and server.sent < 400_000, "the wheel itself is not fetched"
    with pytest.raises(TorchpairError, match=r"know torch 2\.16\.0 already"):
        add(folder, server)


def test_an_entry_goes_to_its_place_between_others(folder: Path) -> None:
    add(folder, serving("torch", torch_wheels("2.14.0")), version="2.14.0")
    before = (folder / RELEASES).read_text(encoding="utf-8")
    add(folder, serving("torch", torch_wheels("2.13.0")), version="2.13")
    after = (folder / RELEASES).read_text(encoding="utf-8")
    assert list(schema.validate(folder).torch) == ["2.0.0", "2.12.0", "2.13.0", "2.14.0"]
    cut = after.index('  "2.13.0":\n'), after.index('  "2.14.0":\n')
    assert after[: cut[0]] + after[cut[1] :] == before


@pytest.mark.parametrize(
    ("package", "version", "next_line"),
    [
        ("torchcodec", "0.12.1", "\ntorch:\n"),
        ("torchcodec", "0.6", '  "0.12.0": {'),
        ("torchaudio", "2.11.2", "\n# torchcodec on PyPI."),
    ],
)
def test_adding_the_other_two(folder: Path, package: str, version: str, next_line: str) -> None:
    files = {
        file_name(package, version, "cp310-cp310"): wheel(package, version, "+cpu"),
        file_name(package, version, "cp310-cp310", "aarch64"): wheel(package, version, "+cu130"),
        file_name(package, version, "cp313-cp313"): wheel(package, version, "+cpu"),
    }
    add(folder, serving(package, files), package, version)
    text = (folder / RELEASES).read_text(encoding="utf-8")
    start = text.index(f'  "{version}":\n')
    end = text.index(next_line, start)
    assert text[:start] + text[end:] == SMALL[RELEASES]
    facts = schema.validate(folder)
    entry = (facts.torchaudio if package == "torchaudio" else facts.torchcodec)[version]
    assert entry.pypi == {"x86_64": "cpu", "aarch64": "cu130"}
    assert entry.pythons == ("3.10",), "only what both architectures have"
    assert "added 2026-12-24" in (entry.status or "")


def test_an_unlabelled_wheel_is_a_cpu_build(folder: Path) -> None:
    files = {file_name("torchcodec", "0.13.0"): wheel("torchcodec", "0.13.0", "")}
    add(folder, serving("torchcodec", files), "torchcodec", "0.13.0")
    assert schema.validate(folder).torchcodec["0.13.0"].pypi == {"x86_64": "cpu"}


def only_x86(wheels: dict[str, bytes]) -> dict[str, bytes]:
    return {file: data for file, data in wheels.items() if "x86_64" in file}


REFUSED: list[tuple[Callable[[], Server], str, str, str]] = [
    (lambda: serving("torch", torch_wheels()), "torch", "2.17.0", "no Linux wheel of torch 2.17.0"),
    (lambda: serving("torch", torch_wheels()), "torch", "2.12", "know torch 2.12 already"),
    (lambda: serving("torch", torch_wheels()), "torch", "newest", "'newest' is not a version"),
    (lambda: serving("torch", torch_wheels()), "numpy", "2.0.0", "no table of 'numpy'"),
    (lambda: serving("torch", torch_wheels(), ' data-yanked=""'), "torch", "2.16.0", "is yanked"),
    (lambda: serving("torch", torch_wheels("2.16.0rc1")), "torch", "2.16.0rc1", "is a pre-release"),
    (lambda: serving("torch", torch_wheels("2.8.0")), "torch", "2.8.0", "no rule says which torchaudio"),
    (lambda: serving("torch", torch_wheels("3.0.0")), "torch", "3.0.0", "no rule says which torchaudio"),
    (lambda: serving("torch", only_x86(torch_wheels())), "torch", "2.16.0", "wheels for x86_64 only"),
    (lambda: serving("torch", torch_wheels(cuda="13.0")), "torch", "2.16.0", "labelled cu130 and asks for CUDA 13.2.2"),
    (lambda: serving("torch", torch_wheels(requires=("a b c",))), "torch", "2.16.0", "cannot be read"),
    (lambda: serving("torch", torch_wheels(requires=("cuda-toolkit==14.0.1",), cuda="14.0")), "torch", "2.16.0",
     "no driver for that CUDA major"),
    (lambda: serving("torch", dict.fromkeys(torch_wheels(), wheel("torch", "2.15.0", "+cu132"))), "torch", "2.16.0",
     "calls itself 2.15.0"),
    (lambda: serving("torch", dict.fromkeys(torch_wheels(), wheel("other", "2.16.0", ""))), "torch", "2.16.0",
     "no METADATA"),
    (lambda: serving("torch", dict.fromkeys(torch_wheels(), b"PK no zip")), "torch", "2.16.0", "cannot be read"),
    (lambda: serving("torch", dict.fromkeys(torch_wheels(), b"PK\5\6" + b"\xff" * 18)), "torch", "2.16.0", "zip64"),
]  # fmt: skip


@pytest.mark.parametrize(("server", "package", "version", "says"), REFUSED, ids=[r[3] for r in REFUSED])
def test_what_cannot_be_added_leaves_the_file_alone(
    folder: Path, server: Callable[[], Server], package: str, version: str, says: str
) -> None:
    with pytest.raises(TorchpairError) as caught:
        add(folder, server(), package, version)
    assert says in str(caught.value)
    assert (folder / RELEASES).read_text(encoding="utf-8") == SMALL[RELEASES]


def test_hostile_metadata_cannot_write_yaml(folder: Path) -> None:
    evil = "setuptools>=1; python_version > \"3\" and platform_system != '\\nevil: true'"
    before = (folder / RELEASES).read_bytes()
    with pytest.raises(FactsError, match="is not a requirement"):
        add(folder, serving("torch", torch_wheels(requires=(*TORCH_REQUIRES[2:], evil))))
    assert (folder / RELEASES).read_bytes() == before


# Asking over HTTP: a server of our own on this machine.


class Handler(http.server.BaseHTTPRequestHandler):
    seen: list[tuple[str, str | None]] = []  # noqa: RUF012 - one server, one list

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self.seen.append((self.path, self.headers.get("Authorization")))
        kind = self.path.strip("/").split("/")[0]
        if kind in ("404", "500"):
            self.send_error(int(kind), "x\x1b[31m")
            return
        data = b"0123456789" * 10
        span = self.headers.get("Range")
        self.send_response(206 if span and kind != "whole" else 200)
        self.send_header("Content-Length", str(1000 if kind == "short" else 10**9 if kind == "huge" else len(data)))
        self.end_headers()
        try:
            if kind == "huge":
                for _ in range(2000):
                    self.wfile.write(b"x" * 10_000)
            elif kind == "slow":
                for byte in data:
                    self.wfile.write(bytes([byte]))
                    time.sleep(0.05)
            else:
                self.wfile.write(data)
        except OSError:
            pass  # the client had enough, as it should


@pytest.fixture(scope="module")
def local() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL", "http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(pypi, "DEADLINE_SECONDS", 0.3)
    monkeypatch.setattr(pypi, "MAX_PAGE", 1_000_000)


def test_a_good_answer_and_a_part_of_one(local: str) -> None:
    assert pypi.fetch(f"{local}/good/") == b"0123456789" * 10
    assert pypi.fetch(f"{local}/good/", (0, 100)) == b"0123456789" * 10


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("404", "PyPI answers 404 here"),
        ("500", "PyPI answers 500 here"),
        ("short", "cut short"),
        ("huge", "too large"),
        ("slow", "takes too long"),
    ],
)
def test_a_server_that_misbehaves(local: str, kind: str, says: str) -> None:
    start = time.monotonic()
    with pytest.raises(PypiError, match=says) as caught:
        pypi.fetch(f"{local}/{kind}/torch/")
    assert time.monotonic() - start < 2
    assert caught.value.where == f"{local}/{kind}/torch/" and "\x1b" not in str(caught.value)


def test_parts_are_bounded_and_needed(local: str) -> None:
    with pytest.raises(PypiError, match="too large"):
        pypi.fetch(f"{local}/good/", (0, 10))
    with pytest.raises(PypiError, match="does not serve parts"):
        pypi.fetch(f"{local}/whole/", (0, 100))


def test_nobody_answers() -> None:
    with pytest.raises(PypiError, match="PyPI cannot be reached from here") as caught:
        pypi.fetch("http://127.0.0.1:1/simple/torch/")
    assert caught.value.why and "UV_DEFAULT_INDEX" in (caught.value.remedy or "")


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "http://[::1", "http://127.0.0.1:port/", "http://127.0.0.1/a b\n"]
)
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(PypiError):
        pypi.fetch(url)


def test_a_password_is_sent_and_not_shown(local: str) -> None:
    with_password = local.replace("//", "//me:p%40ss@")
    pypi.fetch(f"{with_password}/good/secret")
    assert ("/good/secret", "Basic bWU6cEBzcw==") in Handler.seen
    with pytest.raises(PypiError) as caught:
        pypi.fetch(f"{with_password}/404/")
    assert "p%40ss" not in str(caught.value) and "p@ss" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "url"),
    [
        ("UV_DEFAULT_INDEX", "mine=https://mirror.example/simple/", "https://mirror.example/simple"),
        ("UV_INDEX_URL", "https://mirror.example/simple", "https://mirror.example/simple"),
        ("PIP_INDEX_URL", "https://u:p@mirror.example/x=y/", "https://u:p@mirror.example/x=y"),
    ],
)
def test_the_index_is_the_one_that_uv_and_pip_use(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, url: str
) -> None:
    monkeypatch.setenv(name, value)
    assert pypi.index_url() == url


def test_without_a_setting_uv_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "uv.toml").write_text('[[index]]\nurl = "https://mirror.example/simple"\ndefault = true\n')
    monkeypatch.setenv("UV_CONFIG_FILE", str(tmp_path / "uv.toml"))
    assert pypi.index_url() == "https://mirror.example/simple"
    monkeypatch.delenv("UV_CONFIG_FILE")
    monkeypatch.setenv("UV_NO_CONFIG", "1")
    assert pypi.index_url().startswith("https://")
