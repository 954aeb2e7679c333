"""Bundles: what is listed is compared, what is not whole is refused with its file, and what rows take is all there."""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner
from test_render import parse

from torchpair import bundle, bundling, cli, debs, locking, materials, mirrors, wheels
from torchpair.bundle import BundleError
from torchpair.errors import EngineError, LockError, TorchpairError
from torchpair.lock import Lock, Locked
from torchpair.matrix import Mirror
from torchpair.resolve import tools_apt
from torchpair.spec import PYTORCH_INDEX, Spec
from torchpair.workspace import Workspace

EIGHT = 'torch: "2.8.0", cuda: "12.8", python: "3.11"'
SOURCE = 'torch: "2.6.0", cuda: "12.4", python: "3.13", sm: "8.0", torchaudio: {from: source}'
MATRIX = f"images:\n  - {{{EIGHT}, default: true}}\n"
ROW = "torch2.8.0-cu128-py311"
MakeSpec = Callable[..., Spec]


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def folder(tmp_path: Path, shipped: Workspace) -> Path:
    """A bundle of one row, with small files in the place of large ones."""
    made = tmp_path / "bundle"
    about = {
        "schema": bundle.SCHEMA, "torchpair": "0", "rows": [ROW], "base": "local",
        "images": {"torchpair-base:debian12": "images/12.tar", "torchpair-base:debian13": "images/13.tar"},
        "sources": [{"row": ROW, "package": "torchaudio", "file": "sources/a.tar", "told": "git audio.git (v2)"}],
    }  # fmt: skip
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        member = tarfile.TarInfo("setup.py")
        member.size = 1
        tar.addfile(member, io.BytesIO(b"x"))
    files = {
        "bundle.json": json.dumps(about).encode(), "images/12.tar": b"12", "images/13.tar": b"13",
        "downloads/wheels/numpy-2.4.6-cp311-x.whl": b"wheel", "sources/a.tar": packed.getvalue(),
        **{f"locks/{name}": (shipped.locks / name).read_bytes() for name in ("tools.txt", f"{ROW}.txt")},
    }  # fmt: skip
    for name, data in files.items():
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_bytes(data)
    (made / bundle.SUMS).write_text("".join(f"{sha(data)}  {name}\n" for name, data in sorted(files.items())))
    return made


def listed(folder: Path, name: str, data: bytes) -> None:
    """Put other content in and list it as what it is."""
    (folder / name).write_bytes(data)
    sums = folder / bundle.SUMS
    lines = [line for line in sums.read_text().splitlines() if not line.endswith(f"  {name}")]
    sums.write_text("\n".join([*lines, f"{sha(data)}  {name}"]) + "\n")


def about(folder: Path, **other: Any) -> None:
    body = json.loads((folder / bundle.ABOUT).read_text())
    listed(folder, bundle.ABOUT, json.dumps({**body, **other}).encode())


# ---- reading ------------------------------------------------------------------------------------------------------


def test_a_bundle_that_is_whole(folder: Path) -> None:
    found = bundle.read(folder)
    bundle.verify(found)
    assert (found.rows, found.base, found.size) == ((ROW,), "local", 5)
    assert Workspace(folder / "matrix.yaml", None, found).mirror == bundle.HERE


def test_every_file_that_is_not_as_listed_is_named(folder: Path) -> None:
    (folder / "images/12.tar").write_bytes(b"1x")
    (folder / "images/13.tar").unlink()
    with pytest.raises(BundleError) as caught:
        bundle.verify(bundle.read(folder))
    assert "images/12.tar was changed" in str(caught.value) and "images/13.tar is missing" in str(caught.value)


def test_a_link_out_of_the_folder_is_no_file_of_it(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"12")
    (folder / "images/12.tar").unlink()
    (folder / "images/12.tar").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleError, match=r"images/12\.tar is missing"):
        bundle.verify(bundle.read(folder))


@pytest.mark.parametrize(
    "path",
    ["../x", "/etc/passwd", "a/../../x", ".hidden", "a//b", "a b", "-x", "x\x1b[2J", "SHA256SUMS", "", "a/" * 7 + "b"],
)
def test_no_path_leaves_the_folder(folder: Path, path: str) -> None:
    with (folder / bundle.SUMS).open("a") as sums:
        sums.write(f"{'0' * 64}  {path}\n")
    with pytest.raises(BundleError, match="not a line of a bundle"):
        bundle.read(folder)


@pytest.mark.parametrize(
    "wrong",
    [
        {"schema": "torchpair.bundle/9"}, {"base": "other"}, {"rows": None}, {"rows": [1]}, {"rows": ["x\x1b[2J"]},
        {"rows": ["x" * 301]}, {"images": {"a": "images/none.tar"}}, {"images": ["a"]}, {"images": {"a": {}}},
        {"sources": [{}]}, {"sources": [{"row": "a", "package": "b", "file": "/etc/passwd", "told": "c"}]},
        {"torchpair": None},
    ],
)  # fmt: skip
def test_what_describes_no_bundle(folder: Path, wrong: dict[str, Any]) -> None:
    about(folder, **wrong)
    with pytest.raises(TorchpairError):
        bundle.read(folder)


def test_what_is_no_bundle_or_was_not_finished(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is no bundle") as caught:
        bundle.read(tmp_path)
    assert caught.value.why is None and "torchpair bundle" in str(caught.value.remedy)
    (folder / bundle.SUMS).unlink()
    with pytest.raises(BundleError) as caught:
        bundle.read(folder)
    assert "was not finished" in str(caught.value.why)


def test_locks_are_taken_and_one_that_differs_is_refused(folder: Path, tmp_path: Path, spec: MakeSpec) -> None:
    found, locks, row = bundle.read(folder), tmp_path / "locks", spec(EIGHT, "local")
    bundle.take_locks(found, locks, [row])
    assert sorted(path.name for path in locks.iterdir()) == ["tools.txt", f"{ROW}.txt"]
    own = locks / f"{ROW}.txt"
    own.write_text(own.read_text().replace(" bytes", "0 bytes"))  # told beside it, and no other wheel
    bundle.take_locks(found, locks, [row])
    own.write_text(own.read_text().replace("numpy==2", "numpy==1"))
    with pytest.raises(LockError, match="is not the bundle's"):
        bundle.take_locks(found, locks, [row])
    with pytest.raises(BundleError, match=r"has no locks/build/compile\.txt"):
        bundle.take_locks(found, locks, [spec(SOURCE, "local")])


def test_a_source_is_unpacked_once(folder: Path, tmp_path: Path, spec: MakeSpec) -> None:
    found, row = bundle.read(folder), spec(EIGHT, "local")
    place, told = bundle.source(found, row, "torchaudio", tmp_path / "sources")
    assert ((place / "setup.py").read_text(), told) == ("x", "git audio.git (v2)")
    (place / "setup.py").write_text("kept")
    assert bundle.source(found, row, "torchaudio", tmp_path / "sources")[0] == place
    assert (place / "setup.py").read_text() == "kept"
    with pytest.raises(BundleError, match="has no source of torch "):
        bundle.source(found, row, "torch", tmp_path / "sources")


class Images:
    """An engine's images, of which each tar holds one of a name."""

    def __init__(self, names: dict[bytes, str]) -> None:
        self.names = names
        self.loaded: list[str] = []

    def load(self, file: Any) -> list[SimpleNamespace]:
        name = self.names[file.read()]
        self.loaded.append(name)
        return [SimpleNamespace(tags=[name])]


def engine_of(images: Images) -> Any:
    client = SimpleNamespace(images=images, close=lambda: None)
    return SimpleNamespace(client=lambda timeout=60: client)


def test_images_are_loaded_and_are_those_that_were_named(folder: Path, spec: MakeSpec) -> None:
    found, row = bundle.read(folder), spec(EIGHT, "local")
    right = Images({b"12": "torchpair-base:debian12", b"13": "torchpair-base:debian13"})
    said: list[str] = []
    materials.load_images(found, engine_of(right), [row], said.append)
    assert right.loaded == ["torchpair-base:debian12", "torchpair-base:debian13"]
    assert "made by torchpair 0" in said[0]
    with pytest.raises(BundleError, match=r"images/12\.tar is no image torchpair-base:debian12"):
        materials.load_images(found, engine_of(Images({b"12": "other:1", b"13": "x"})), [row], said.append)
    with pytest.raises(BundleError, match="has no image nvidia/cuda"):
        materials.load_images(found, engine_of(right), [spec(EIGHT, "nvidia")], said.append)


def test_a_build_from_a_bundle_has_it_as_a_context_and_no_network(
    folder: Path, project: Callable[..., Workspace], spec: MakeSpec
) -> None:
    row, file = spec(EIGHT, "local"), project(MATRIX).file
    found = bundle.read(folder)
    made = materials.inputs(Workspace(file, None, found, True), row, materials.NOTHING, print)
    assert (dict(made.contexts), made.network) == ({"bundle": folder / "downloads"}, "none")
    assert materials.inputs(Workspace(file, None, found), row, materials.NOTHING, print).network is None
    assert mirrors.build_arguments(row, bundle.HERE) == {"PYPI_INDEX": "file:///mnt/simple"}
    with pytest.raises(TorchpairError, match="is for the base local, and not for nvidia"):
        materials.base(Workspace(file, None, found), [], "nvidia", None, print)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--offline"], "--offline builds from a --bundle"),
        (["--bundle", "{}", "--mirror", "cn"], "no --mirror"),
        (["--bundle", "{}/images"], "is no bundle"),
    ],
)
def test_the_command_line(folder: Path, arguments: list[str], words: str, project: Callable[..., Workspace]) -> None:
    filled = [one.format(folder) for one in arguments]
    done = CliRunner().invoke(cli.cli, ["images", *filled, "--matrix", str(project(MATRIX).file)])
    assert done.exit_code != 0 and words in done.output + str(done.exception)


def test_a_damaged_bundle_is_refused_before_an_engine_is_looked_for(
    folder: Path, project: Callable[..., Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_engine(*_: object, **__: object) -> None:
        raise AssertionError("an engine was asked for")

    monkeypatch.setattr(materials.dockerd, "ensure", no_engine)
    (folder / "images/12.tar").write_bytes(b"x")
    arguments = ["images", "--bundle", str(folder), "--offline", "--matrix", str(project(MATRIX).file)]
    done = CliRunner().invoke(cli.cli, arguments)
    assert "images/12.tar was changed" in str(done.exception)


# ---- making -------------------------------------------------------------------------------------------------------


def test_a_folder_of_somebody_elses_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(BundleError, match="holds something else"):
        bundling.prepare(tmp_path, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_folder_of_an_earlier_call_is_gone_on_with_and_is_no_bundle_until_the_end(folder: Path) -> None:
    bundling.prepare(folder, 1)
    assert (folder / "images/12.tar").is_file() and not (folder / bundle.SUMS).exists()
    with pytest.raises(BundleError, match=r"about 1000000000\.0 GB are needed"):
        bundling.prepare(folder, 10**18)


WHEEL = Locked("numpy", "2.4.6", "a" * 64, "numpy-2.4.6-cp311-x.whl", None, 5)
FILE = "torch-2.1.0+cu118-x.whl"
TORCH = Locked("torch", "2.1.0+cu118", "b" * 64, FILE, f"{PYTORCH_INDEX}/cu118/{FILE.replace('+', '%2B')}")


def test_the_address_of_each_wheel_is_the_index_s(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def settle(name: str, project: str, python: str, *_: object) -> list[dict[str, Any]]:
        seen.append((project.splitlines()[-1], python))
        others = {"url": "https://i/other.whl", "hashes": {"sha256": "c" * 64}}
        return [{"wheels": [others, {"url": "https://me:secret@i/numpy.whl", "hashes": {"sha256": "a" * 64}}]}]

    monkeypatch.setattr(locking, "settle", settle)
    both = Lock("", (WHEEL, TORCH))
    mirror = Mirror("m", pytorch="https://mirror.example/whl")
    found = {wheel.name: url for wheel, url in wheels.addresses(both, "3.11", "x86_64", mirror)}
    assert found == {
        "numpy": "https://i/numpy.whl", "torch": "https://mirror.example/whl/cu118/torch-2.1.0%2Bcu118-x.whl",
    }  # fmt: skip
    assert seen == [('dependencies = ["numpy==2.4.6"]', "3.11")]
    gone = Lock("", (Locked("numpy", "2.4.6", "d" * 64, "numpy-2.4.6-cp311-x.whl", None),))
    with pytest.raises(LockError, match=r"has no numpy-2\.4\.6-cp311-x\.whl with the sha256 of the lock"):
        list(wheels.addresses(gone, "3.11", "x86_64", mirror))


def test_where_a_bundle_keeps_a_wheel_and_the_page_that_names_it() -> None:
    assert str(wheels.place(WHEEL)) == "wheels/numpy-2.4.6-cp311-x.whl"
    # Where the Dockerfile looks when PyTorch's index is file:///mnt/pytorch.
    assert str(wheels.place(TORCH)) == "pytorch/cu118/torch-2.1.0+cu118-x.whl"
    assert f'href="../../wheels/numpy-2.4.6-cp311-x.whl#sha256={"a" * 64}"' in wheels.page([WHEEL])
    for url in ("https://elsewhere/x.whl", f"{PYTORCH_INDEX}/../x.whl", f"{PYTORCH_INDEX}/%2e%2e/x.whl"):
        with pytest.raises(LockError):
            wheels.place(Locked("torch", "1", "0" * 64, "x.whl", url))


def test_what_is_installed_is_what_the_stages_of_a_row_install(spec: MakeSpec, shipped: Workspace) -> None:
    row = spec(EIGHT, "local")
    base, tools, interpreter = debs.needed(row)
    assert base.steps == (tuple(package.name for package in row.apt),) and "python3" in base.steps[0]
    assert (base.image, tools.image, interpreter.image) == (row.image, "torchpair-base:debian13", row.image)
    assert tools.steps == (tools_apt("debian13"),) != interpreter.steps == (tools_apt(row.distro),)
    for one in shipped.everywhere():
        (text,) = shipped.rendered([one]).values()
        runs = " ; ".join(line.rest for line in parse(text) if line.word == "RUN")
        named = re.findall(r"apt-get (?:install -y --no-install-recommends|download) (?!-)([a-z0-9.+ -]+)", runs)
        sets = debs.needed(one)
        assert {word for words in named for word in words.split()} == {
            word for made in sets for step in (*made.steps, made.unpacked) for word in step
        }, one.name
        assert {made.image for made in sets} <= {one.image, one.tools, one.toolkit_image}


def test_packages_of_two_sets_become_one_repository(tmp_path: Path) -> None:
    for number, names in enumerate((("a", "b"), ("b", "c"))):
        made = tmp_path / str(number)
        made.mkdir()
        for name in names:
            (made / f"{name}.deb").write_text(f"{name}{number}")
        told = (f"Package: {name}\nDescription: x\n .\n y\nFilename: ./{name}.deb\nSize: 2\n" for name in names)
        (made / "Packages").write_text("\n".join(told))
        debs.gather(made, tmp_path / "out")
    text = (tmp_path / "out/Packages").read_text()
    assert text.split("\n\n")[:-1] == [
        f"Package: {name}\nDescription: x\n .\n y\nFilename: ./{name}.deb\nSize: 2" for name in "abc"
    ]
    assert sorted(path.name for path in (tmp_path / "out").glob("*.deb")) == ["a.deb", "b.deb", "c.deb"]
    assert (tmp_path / "out/b.deb").read_text() == "b0"


def test_without_a_network_no_engine_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    dockerd = materials.dockerd
    monkeypatch.setattr(dockerd, "find", lambda: None)
    monkeypatch.setattr(dockerd, "_dockerd", lambda: None)
    monkeypatch.setattr(dockerd, "plan", lambda *_, **__: dockerd.StartPlan("install", ("docker.io",)))
    with pytest.raises(EngineError, match="no Docker engine answers") as caught:
        dockerd.ensure(print, offline=True)
    assert "no network" in str(caught.value.why)
