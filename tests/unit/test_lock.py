"""Locks: their text, what makes one stale, which wheel is taken, and what an index may not say."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from torchpair import lock as locks
from torchpair import locking
from torchpair.errors import CommandError, LockError
from torchpair.lock import Lock, Locked
from torchpair.spec import Spec
from torchpair.workspace import Workspace

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MakeSpec = Callable[..., Spec]
EIGHT = 'torch: "2.8.0", cuda: "12.8", python: "3.11"'
ON_INDEX = 'torch: "2.1.0", cuda: "11.8", python: "3.10"'
SHA = "0123456789abcdef" * 4
URL = "https://wheels.example/whl/cu118/"


@pytest.fixture
def eight(spec: MakeSpec) -> Spec:
    return spec(EIGHT)


@pytest.fixture
def on_index(spec: MakeSpec) -> Spec:
    return spec(ON_INDEX)


# ---- the file -----------------------------------------------------------------------------------------------------

PLAIN = Locked("numpy", "2.5.5", SHA, "numpy-2.5.5-cp311-cp311-manylinux_2_28_x86_64.whl", None)
FROM_URL = Locked(
    "torch",
    "2.1.0+cu118",
    SHA,
    "torch-2.1.0+cu118-cp310-cp310-linux_x86_64.whl",
    f"{URL}torch-2.1.0%2Bcu118-cp310-cp310-linux_x86_64.whl",
)


def test_text_and_read_are_inverse(eight: Spec, tmp_path: Path) -> None:
    lock = Lock(locks.asked(eight), (PLAIN, FROM_URL))
    locks.path_of(eight, tmp_path).write_text(locks.text(eight.name, lock), encoding="utf-8")
    assert locks.read(eight, tmp_path) == lock
    assert lock.versions == {"numpy": "2.5.5", "torch": "2.1.0+cu118"}


def test_a_size_stands_in_the_lock_and_not_in_a_dockerfile(eight: Spec, tmp_path: Path) -> None:
    sized = replace(PLAIN, size=12345)
    lock = Lock(locks.asked(eight), (sized, FROM_URL))
    text = locks.text(eight.name, lock)
    assert text.splitlines()[3] == f"{PLAIN.line}, 12345 bytes" and sized.line == PLAIN.line
    locks.path_of(eight, tmp_path).write_text(text, encoding="utf-8")
    assert locks.read(eight, tmp_path) == lock


def test_the_text_is_pips_own_format(eight: Spec) -> None:
    lines = locks.text(eight.name, Lock(locks.asked(eight), (PLAIN, FROM_URL))).splitlines()
    assert lines[0] == "# torch2.8.0-cu128-py311: exact versions, made by `torchpair lock`. Do not edit."
    assert lines[1] == "# asked: numpy, pip, soundfile, torch==2.8.0, torchaudio==2.8.0; python 3.11; x86_64; PyPI"
    assert lines[3] == f"numpy==2.5.5 --hash=sha256:{SHA}  # {PLAIN.file}"
    assert lines[4] == f"torch @ {FROM_URL.url} --hash=sha256:{SHA}  # {FROM_URL.file}"


def test_every_committed_lock_says_the_same_when_written_again(shipped: Workspace) -> None:
    seen = set()
    extras: dict[str, Lock] = {}
    for found in shipped.everywhere():
        lock = shipped.lock(found)
        if lock:
            path = locks.path_of(found, shipped.locks)
            assert path.read_text(encoding="utf-8") == locks.text(found.name, lock)
            assert [w.name for w in lock.wheels] == sorted({w.name for w in lock.wheels})
            seen.add(path.name)
        extras |= shipped.extras(found, make=False)
    tools = locks.read_tools(shipped.locks)
    assert (shipped.locks / "tools.txt").read_text(encoding="utf-8") == locks.text("tools", tools)
    there = {path.name for path in shipped.locks.iterdir()}
    assert there == seen | {"tools.txt", "build", "gpt-sovits"}, "a lock that no row asks for"
    for name, lock in extras.items():
        assert locks.extra_path(name, shipped.locks).read_text(encoding="utf-8") == locks.text(name, lock)
    assert {path.stem for path in (shipped.locks / "build").iterdir()} == extras.keys()


def test_no_lock_is_none(eight: Spec, tmp_path: Path) -> None:
    assert locks.read(eight, tmp_path) is None
    assert locks.read_stale(eight, tmp_path) is None


@pytest.mark.parametrize(
    "other",
    [
        'torch: "2.8.0", cuda: "12.8", python: "3.12"',
        'torch: "2.8.0", cuda: "12.6", python: "3.11"',
        'torch: "2.7.1", cuda: "12.8", python: "3.11"',
        f'{EIGHT}, torchcodec: "0.7.0"',
    ],
)
def test_another_question_makes_a_lock_stale(spec: MakeSpec, tmp_path: Path, other: str) -> None:
    asked, name = spec(EIGHT), "name: one"
    old, new = spec(f"{name}, {EIGHT}"), spec(f"{name}, {other}")
    assert locks.asked(asked) == locks.asked(old), "a name asks nothing"
    path = locks.path_of(old, tmp_path)
    path.write_text(locks.text("one", Lock(locks.asked(old), (PLAIN,))), encoding="utf-8")
    with pytest.raises(LockError) as caught:
        locks.read(new, tmp_path)
    error = caught.value
    assert (error.what, error.where, error.remedy) == ("the lock is stale", str(path), "torchpair lock one")
    assert locks.asked(old) in str(error.why) and locks.asked(new) in str(error.why)
    kept = locks.read_stale(new, tmp_path)
    assert kept and kept.versions == {"numpy": "2.5.5"}


def test_the_base_does_not_make_a_lock_stale(spec: MakeSpec) -> None:
    assert locks.asked(spec(EIGHT, "local")) == locks.asked(spec(EIGHT, "nvidia"))


GOOD = PLAIN.line


@pytest.mark.parametrize(
    "line",
    [
        "numpy==2.5.5",
        "numpy>=2 --hash=sha256:" + SHA,
        GOOD.replace(SHA, SHA[1:]),
        GOOD.replace(SHA, SHA.upper()),
        GOOD.replace("==", " == "),
        GOOD + "\\",
        GOOD + " LOCK",
        GOOD + ", many bytes",
        GOOD + ", 1 bytes, 2 bytes",
        GOOD + f", {'9' * 16} bytes",
        " " + GOOD,
        GOOD.replace("numpy", "num py", 1),
        GOOD.replace("2.5.5", "2.5.5;id", 1),
        GOOD.replace("2.5.5", "$(id)", 1),
        GOOD.replace(".whl", ".tar.gz"),
        "-r other.txt",
        "--index-url https://wheels.example",
        FROM_URL.line.replace("https", "file"),
        FROM_URL.line.replace("/whl/", "/$HOME/"),
        FROM_URL.line.replace("/whl/", "/`id`/"),
        FROM_URL.line.replace("/whl/", '/"/'),
    ],
)
def test_a_malformed_line_is_named(eight: Spec, tmp_path: Path, line: str) -> None:
    path = locks.path_of(eight, tmp_path)
    path.write_text(f"# asked: {locks.asked(eight)}\n\n{GOOD}\n{line}\n", encoding="utf-8")
    with pytest.raises(LockError) as caught:
        locks.read(eight, tmp_path)
    error = caught.value
    assert (error.where, error.remedy) == (f"{path}:4", f"torchpair lock {eight.name}")
    assert locks.read_stale(eight, tmp_path) is None


@pytest.mark.parametrize("damage", ["folder", "bytes"])
def test_a_lock_that_cannot_be_read(eight: Spec, tmp_path: Path, damage: str) -> None:
    path = locks.path_of(eight, tmp_path)
    path.mkdir() if damage == "folder" else path.write_bytes(b"\xff\n")
    with pytest.raises(LockError, match="cannot read the lock"):
        locks.read(eight, tmp_path)


def test_the_lock_of_the_tools_is_needed(tmp_path: Path) -> None:
    with pytest.raises(LockError) as caught:
        locks.read_tools(tmp_path)
    assert caught.value.remedy == "torchpair lock --tools"


# ---- which wheel --------------------------------------------------------------------------------------------------

X = "x86_64"


@pytest.mark.parametrize(
    ("files", "python", "arch", "best"),
    [
        (["py2.py3-none-manylinux1_x86_64", "py3-none-any"], "3.11", X, 0),
        (["py3-none-any", "py2.py3-none-manylinux2010_x86_64"], "3.11", X, 1),
        (["py3-none-any", "cp311-cp311-manylinux_2_28_x86_64"], "3.11", X, 1),
        (["cp310-cp310-manylinux_2_28_x86_64", "cp311-cp311-manylinux_2_28_x86_64"], "3.11", X, 1),
        (["cp311-cp311-manylinux_2_28_x86_64"], "3.10", X, None),
        (["cp311-cp311-manylinux_2_28_x86_64"], "3.12", X, None),
        (["cp311-cp311-manylinux_2_28_x86_64"], "3.1", X, None),
        (["cp311-none-any"], "3.11", X, 0),
        (["py311-none-any"], "3.12", X, 0),
        (["py313-none-any"], "3.12", X, None),
        (["cp36-abi3-manylinux2014_x86_64"], "3.11", X, 0),
        (["cp312-abi3-manylinux2014_x86_64"], "3.11", X, None),
        (["cp36-abi3-manylinux2014_x86_64", "cp311-cp311-manylinux2014_x86_64"], "3.11", X, 1),
        (["cp36-abi3-manylinux2014_x86_64", "cp39-abi3-manylinux2014_x86_64"], "3.11", X, 1),
        (["cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64", "cp311-cp311-manylinux_2_28_x86_64"], "3.11", X, 1),
        (["cp311-cp311-linux_x86_64"], "3.11", X, 0),
        # never
        (["cp311-cp311-musllinux_1_2_x86_64"], "3.11", X, None),
        (["py3-none-musllinux_1_2_x86_64", "py3-none-any"], "3.11", X, 1),
        (["cp311-cp311-manylinux_2_34_x86_64"], "3.11", X, None),
        (["cp311-cp311-win_amd64", "cp311-cp311-macosx_11_0_arm64"], "3.11", X, None),
        (["py2-none-any"], "3.11", X, None),
        # CPU architectures
        (["cp311-cp311-manylinux_2_28_aarch64", "cp311-cp311-manylinux_2_28_x86_64"], "3.11", X, 1),
        (["cp311-cp311-manylinux_2_28_aarch64", "cp311-cp311-manylinux_2_28_x86_64"], "3.11", "aarch64", 0),
        # free-threaded
        (["cp313-cp313-manylinux_2_28_x86_64", "cp313-cp313t-manylinux_2_28_x86_64"], "3.13t", X, 1),
        (["cp313-cp313-manylinux_2_28_x86_64", "cp313-cp313t-manylinux_2_28_x86_64"], "3.13", X, 0),
        (["cp313-cp313-manylinux_2_28_x86_64"], "3.13t", X, None),
        (["cp36-abi3-manylinux2014_x86_64"], "3.13t", X, None),
        (["py3-none-any"], "3.13t", X, 0),
        # builds of one version: the later one
        (["1-cp311-cp311-manylinux_2_28_x86_64", "cp311-cp311-manylinux_2_28_x86_64"], "3.11", X, 0),
        (["10-py3-none-any", "9-py3-none-any"], "3.11", X, 0),
        # what is not a wheel's name is passed over
        (["nonsense", "py3-none-any"], "3.11", X, 1),
        (["py3-none-any-too-many-parts-of-it"], "3.11", X, None),
        ([], "3.11", X, None),
    ],
)
def test_best_wheel(files: list[str], python: str, arch: str, best: int | None) -> None:
    names = [f"a-1.0-{file}.whl" for file in files]
    for order in (names, names[::-1]):
        assert locking.best_wheel(order, python, arch) == (None if best is None else names[best])


# ---- what uv is asked ---------------------------------------------------------------------------------------------


def read_toml(text: str) -> dict[str, Any]:
    return tomllib.loads(text)


def test_project_of_a_row_on_pypi(eight: Spec) -> None:
    body = read_toml(locks.project(eight))
    assert body["project"]["dependencies"] == ["numpy", "pip", "soundfile", "torch==2.8.0", "torchaudio==2.8.0"]
    assert body["tool"]["uv"] == {}


def test_project_of_a_row_on_pytorchs_index(on_index: Spec) -> None:
    body = read_toml(locks.project(on_index))
    assert body["project"]["dependencies"] == [
        "numpy<2", "pip", "soundfile", "torch==2.1.0+cu118", "torchaudio==2.1.0+cu118",
    ]  # fmt: skip
    (index,) = body["tool"]["uv"]["index"]
    assert index == {"name": "row", "url": on_index.index_url, "explicit": True}
    assert str(on_index.index_url).endswith("/cu118")
    assert body["tool"]["uv"]["sources"] == {"torch": {"index": "row"}, "torchaudio": {"index": "row"}}


def test_project_of_a_forced_row_overrides_the_wheels_own_pins(spec: MakeSpec, eight: Spec) -> None:
    forced = spec(f'{EIGHT}, torchaudio: "2.7.1", force: true')
    body = read_toml(locks.project(forced))
    assert body["tool"]["uv"]["override-dependencies"] == ["torch==2.8.0", "torchaudio==2.7.1"]
    assert "override-dependencies" not in locks.project(eight)
    harmless = spec(f"{EIGHT}, force: true")
    assert locks.project(harmless) == locks.project(eight)


def test_project_keeps_what_was_locked_but_not_what_the_row_names(eight: Spec) -> None:
    keep = Lock("", (PLAIN, Locked("torch", "2.7.1", SHA, "torch-2.7.1-py3-none-any.whl", None)))
    body = read_toml(locks.project(eight, keep))
    assert body["tool"]["uv"]["constraint-dependencies"] == ["numpy==2.5.5"]


# ---- what uv answers ----------------------------------------------------------------------------------------------


def package(name: str, version: str, *files: str, size: int | None = None, **other: Any) -> dict[str, Any]:
    said = {} if size is None else {"size": size}
    wheels = [{"url": f"https://wheels.example/x/{file}", "hashes": {"sha256": SHA}, **said} for file in files]
    return {"name": name, "version": version, "wheels": wheels, **other}


def toml(value: Any) -> str:
    """The little of TOML that a pylock.toml needs; JSON's strings are TOML's too."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(k)} = {toml(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


@pytest.fixture
def uv(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[dict[str, Any]]]:
    """Puts an answer in uv's place; the list that comes back is filled with the project files that uv was given."""

    def install(*packages: dict[str, Any], error: CommandError | None = None) -> list[dict[str, Any]]:
        asked: list[dict[str, Any]] = []

        def run(argv: list[str], **_: Any) -> str:
            folder = Path(argv[argv.index("--directory") + 1])
            asked.append({**read_toml((folder / "pyproject.toml").read_text(encoding="utf-8")), "argv": list(argv)})
            if error:
                raise error
            body = f'lock-version = "1.0"\npackages = {toml(list(packages))}\n'
            (folder / argv[argv.index("--output-file") + 1]).write_text(body, encoding="utf-8")
            return ""

        monkeypatch.setattr(locking, "run", run)
        return asked

    return install


UV = Callable[..., list[dict[str, Any]]]


def test_resolve_takes_one_wheel_per_package_sorted(eight: Spec, uv: UV) -> None:
    asked = uv(
        package("torch", "2.8.0", *(f"torch-2.8.0-cp3{m}-cp3{m}-manylinux_2_28_x86_64.whl" for m in (10, 11, 12))),
        package("Nvidia_NVTX.cu12", "12.8.90", "nvidia_nvtx_cu12-12.8.90-py3-none-any.whl", size=5),
        package("numpy", "2.5.5", PLAIN.file),
    )
    lock = locking.resolve(eight)
    assert lock.asked == locks.asked(eight)
    assert [w.line.split(" --hash")[0] for w in lock.wheels] == [
        "numpy==2.5.5",
        "nvidia-nvtx-cu12==12.8.90",
        "torch==2.8.0",
    ]
    assert lock.wheels[2].file == "torch-2.8.0-cp311-cp311-manylinux_2_28_x86_64.whl"
    assert [w.size for w in lock.wheels] == [None, 5, None], "PyPI says it; a flat index does not"
    (question,) = asked
    argv = question["argv"]
    assert argv[argv.index("--python-version") + 1] == "3.11"
    assert argv[argv.index("--python-platform") + 1] == "x86_64-manylinux_2_28"
    assert "--only-binary" in argv and question["project"]["dependencies"][0] == "numpy"


def test_only_what_pypi_does_not_have_keeps_its_address(on_index: Spec, uv: UV) -> None:
    uv(
        package("torch", "2.1.0+cu118", "torch-2.1.0%2Bcu118-cp310-cp310-linux_x86_64.whl"),
        package("sympy", "1.14.0", "sympy-1.14.0-py3-none-any.whl"),
    )
    sympy, torch = locking.resolve(on_index).wheels
    assert sympy.url is None
    assert torch.url == "https://wheels.example/x/torch-2.1.0%2Bcu118-cp310-cp310-linux_x86_64.whl"
    assert (torch.version, torch.file) == ("2.1.0+cu118", "torch-2.1.0+cu118-cp310-cp310-linux_x86_64.whl")


def test_resolve_hands_on_what_to_keep(eight: Spec, uv: UV) -> None:
    asked = uv(package("numpy", "2.5.5", PLAIN.file))
    locking.resolve(eight, Lock("", (PLAIN,)))
    assert asked[0]["tool"]["uv"]["constraint-dependencies"] == ["numpy==2.5.5"]


def test_a_free_threaded_python_is_asked_for_by_its_number(spec: MakeSpec, uv: UV) -> None:
    asked = uv()
    locking.resolve(spec('torch: "2.8.0", cuda: "12.8", python: "3.13t"'))
    argv = asked[0]["argv"]
    assert argv[argv.index("--python-version") + 1] == "3.13"


def test_the_tools_are_locked_by_themselves(uv: UV) -> None:
    asked = uv(
        package("uv", "0.13.9", "uv-0.13.9-py3-none-manylinux_2_17_x86_64.whl", "uv-0.13.9-py3-none-win_amd64.whl")
    )
    lock = locking.resolve_tools()
    assert (lock.asked, lock.versions) == (locks.TOOLS_ASKED, {"uv": "0.13.9"})
    assert asked[0]["project"]["dependencies"] == ["uv"]


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Puts a file in place of what uv would install; the calls."""
    calls: list[list[str]] = []

    def run(argv: list[str], **_: Any) -> str:
        calls.append(argv)
        path = Path(argv[argv.index("--target") + 1], "bin/uv")
        path.parent.mkdir()
        path.write_bytes(b"uv itself")
        return ""

    monkeypatch.setattr(locking, "run", run)
    return calls


def test_uv_is_put_into_the_context_and_fetched_once(
    tmp_path: Path, fetched: list[list[str]], monkeypatch: pytest.MonkeyPatch, shipped: Workspace
) -> None:
    monkeypatch.chdir(tmp_path)  # a folder that is named by a relative path, as on the command line
    workspace = Workspace(Path("matrix.yaml"))
    for _ in range(2):
        workspace.uv()
    (argv,) = fetched
    assert {"--no-deps", "--require-hashes"} <= set(argv) and "--no-index" not in argv
    made = tmp_path / "build/context/uv"
    assert made.read_bytes() == b"uv itself"
    made.write_bytes(b"another")
    workspace.uv()
    assert made.read_bytes() == b"uv itself" and len(fetched) == 1
    (kept,) = (tmp_path / "build/tools").iterdir()
    assert locks.read_tools(shipped.locks).wheels[0].sha256.startswith(kept.name)


def test_uv_comes_out_of_a_bundle(tmp_path: Path, fetched: list[list[str]]) -> None:
    bundle = SimpleNamespace(downloads=tmp_path / "downloads")
    Workspace(tmp_path / "matrix.yaml", bundle=bundle).uv()  # type: ignore[arg-type]
    (argv,) = fetched
    assert argv[argv.index("--find-links") + 1] == str(tmp_path / "downloads/wheels") and "--no-index" in argv


def test_uv_that_cannot_be_fetched_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(argv: list[str], **_: Any) -> str:
        raise CommandError("uv ended with 2", why="error: no such index")

    monkeypatch.setattr(locking, "run", run)
    with pytest.raises(LockError) as caught:
        Workspace(tmp_path / "matrix.yaml").uv()
    assert "tools.txt" in str(caught.value.where) and "no such index" in str(caught.value.why)
    assert list((tmp_path / "build/tools").iterdir()) == []


def test_uv_failing_is_one_error_with_its_words_and_a_remedy(eight: Spec, uv: UV) -> None:
    uv(error=CommandError("uv ended with 2", why="error: no such index\n    caused by: the network"))
    with pytest.raises(LockError) as caught:
        locking.resolve(eight)
    error = caught.value
    assert (
        error.where == eight.name
        and "no such index" in str(error.why)
        and f"torchpair lock {eight.name}" in str(error.remedy)
    )
    assert error.exit_code == 2


ANY = "a-1.0-py3-none-any.whl"
EVIL = ['"', "'", "\n", "\r", "\nLOCK\nRUN id", " ", "$(id)", "`id`", "\\", "\x1b[2J", "\u2028", ";id", "#"]


HARMLESS = {("address", ";id"), ("address", "#")}  # as long as no blank stands before it
PLACES = ("name", "version", "file", "file name", "address", "sha256")


@pytest.mark.parametrize(("where", "evil"), [(p, e) for p in PLACES for e in EVIL if (p, e) not in HARMLESS])
def test_a_hostile_index_is_refused(on_index: Spec, uv: UV, where: str, evil: str) -> None:
    found = package("torch", "1.0", ANY)
    wheel = found["wheels"][0]
    if where in ("name", "version"):
        found[where] += evil
    elif where == "file":
        wheel["url"] = f"https://wheels.example/x/a-1.0-py3-none-any{evil}.whl"
    elif where == "file name":
        wheel["name"] = f"a-1.0-py3-none-any{evil}.any.whl"
    elif where == "address":
        wheel["url"] = f"https://wheels.example/x{evil}/{ANY}"
    else:
        wheel["hashes"]["sha256"] = SHA[: -len(evil)] + evil
    uv(found)
    with pytest.raises(LockError) as caught:
        locking.resolve(on_index)
    assert all(line.isprintable() for line in str(caught.value).split("\n"))


@pytest.mark.parametrize(
    "found",
    [
        {"name": "a", "version": "1.0"},
        {"name": "a", "version": "1.0", "sdist": {"url": "https://wheels.example/a-1.0.tar.gz"}},
        {"name": "a", "version": "1.0", "wheels": [{"path": f"x/{ANY}", "hashes": {"sha256": SHA}}]},
        {"name": "a", "version": "1.0", "wheels": [{"url": f"https://wheels.example/{ANY}", "hashes": {"md5": "0"}}]},
        {"name": "a", "version": "1.0", "wheels": [{"url": f"https://wheels.example/{ANY}"}]},
        package("a", "1.0", "a-1.0-cp310-cp310-manylinux_2_28_x86_64.whl"),
        package("a", "1.0", "not a wheel"),
    ],
)
def test_a_package_without_a_fitting_wheel(eight: Spec, uv: UV, found: dict[str, Any]) -> None:
    uv(found)
    with pytest.raises(LockError, match=r"no wheel with a sha256 for a 1\.0 that fits Python 3\.11 on x86_64"):
        locking.resolve(eight)


# ---- in a folder --------------------------------------------------------------------------------------------------


def test_make_lock_writes_what_read_takes(shipped: Workspace, tmp_path: Path, eight: Spec, uv: UV) -> None:
    shutil.copy(shipped.file, tmp_path / "matrix.yaml")
    workspace = Workspace(tmp_path / "matrix.yaml")
    asked = uv(package("numpy", "2.5.5", PLAIN.file))
    workspace.make_lock(eight)
    assert workspace.lock(eight) == Lock(locks.asked(eight), (PLAIN,))
    workspace.make_lock(eight)
    workspace.make_lock(eight, upgrade=True)
    kept = [question["tool"]["uv"].get("constraint-dependencies") for question in asked]
    assert kept == [None, ["numpy==2.5.5"], None]
