"""Mirrors: the block in the matrix, and what each download is told."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from test_render import parse, stages

from torchpair import build, lock, matrix, mirrors, render
from torchpair.engine import Engine
from torchpair.errors import MatrixError, TorchpairError
from torchpair.matrix import Mirror, fields
from torchpair.spec import PYTORCH_INDEX, Spec
from torchpair.workspace import Workspace

MakeSpec = Callable[..., Spec]
ROW = 'torch: "2.8.0", cuda: "12.8", python: "3.11"'  # PyPI; Python from uv
OWN = 'torch: "2.8.0", cuda: "12.6", python: "3.10"'  # PyTorch's index; Ubuntu's own Python
IMAGES = f"images:\n  - {{{ROW}}}\n"
ALL = Mirror(
    "all", registry="mirror.example/hub", apt="https://mirror.example/apt", pypi="https://mirror.example/simple",
    pytorch="https://mirror.example/whl", layout="flat", python="https://mirror.example/python",
    git="https://mirror.example/git", models="https://mirror.example/models",
)  # fmt: skip


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("UV_DEFAULT_INDEX", "PIP_INDEX_URL", "UV_PYTHON_INSTALL_MIRROR"):
        monkeypatch.delenv(name, raising=False)


def read(tmp_path: Path, block: str) -> dict[str, Mirror]:
    file = tmp_path / "matrix.yaml"
    file.write_text(IMAGES + block, encoding="utf-8")
    return matrix.load_mirrors(file)


# ---- the block ----------------------------------------------------------------------------------------------------


def test_the_block(tmp_path: Path) -> None:
    values = "\n".join(f"    {key}: {getattr(ALL, key)}" for key in fields.MIRROR_KEYS)
    assert read(tmp_path, f"mirrors:\n  all:\n{values}\n  none: {{}}\n") == {"all": ALL, "none": Mirror("none")}
    assert [row.name for row in matrix.load(tmp_path / "matrix.yaml")] == ["torch2.8.0-cu128-py311"]


def test_a_matrix_without_a_block(tmp_path: Path) -> None:
    assert read(tmp_path, "") == {}


def test_a_slash_at_the_end_is_dropped(tmp_path: Path) -> None:
    (found,) = read(tmp_path, "mirrors: {a: {pypi: 'https://mirror.example/simple/', apt: 'http://m:8080/'}}").values()
    assert (found.pypi, found.apt) == ("https://mirror.example/simple", "http://m:8080")


def test_the_shipped_mirrors(shipped: Workspace) -> None:
    (china,) = matrix.load_mirrors(shipped.file).values()
    assert china.name == "cn" and china.layout == "flat"
    assert all((china.registry, china.apt, china.pypi, china.pytorch, china.python, china.models))
    assert Workspace(shipped.file, "cn").mirror == china


@pytest.mark.parametrize(
    ("block", "line", "words"),
    [
        ("mirrors: cn\n", 3, "expected names and mirrors"),
        ("mirrors: [cn]\n", 3, "expected names and mirrors"),
        ("mirrors:\n  cn: x\n", 4, "expected keys and values"),
        ("mirrors:\n  cn:\n    pypii: https://m\n", 5, "did you mean 'pypi'?"),
        ("mirrors:\n  cn:\n    pypi: https://m\n    pypi: https://n\n", 6, "stands here twice"),
        ("mirrors:\n  cn: {}\n  cn: {}\n", 5, "the same mirror twice"),
        ("mirrors:\n  CN: {}\n", 4, "is not allowed here"),
        ("mirrors:\n  12: {}\n", 4, "is a number to YAML"),
        ("mirrors:\n  [a]: {}\n", 4, "a mirror without a name"),
        ("mirrors:\n  cn: {layout: tree}\n", 4, '"simple" or "flat"'),
        ("mirrors:\n  cn: {pypi: }\n", 4, "is not allowed here"),
        ("mirrors:\n  cn: {pypi: [https://m]}\n", 4, "expected one value"),
        ("mirrors:\n  cn: {registry: https://m}\n", 4, 'a registry such as "mirror.example/hub"'),
        ("mirrors:\n  cn: {registry: m/UPPER}\n", 4, "is not allowed here"),
        ("mirrors:\n  cn: {registry: '-it m'}\n", 4, "is not allowed here"),
        ("mirrors:\n  cn: {registry: m/}\n", 4, "is not allowed here"),
    ],
)
def test_a_bad_block_is_an_error_with_its_line(tmp_path: Path, block: str, line: int, words: str) -> None:
    with pytest.raises(MatrixError) as caught:
        read(tmp_path, block)
    assert str(caught.value.where).startswith(f"{tmp_path / 'matrix.yaml'}:{line}: mirrors")
    assert words in str(caught.value)


@pytest.mark.parametrize("key", [key for key, kind in fields.MIRROR_KEYS.items() if kind is fields.URL])
@pytest.mark.parametrize(
    "value",
    [
        "https://me:secret@mirror.example/simple",
        "https://me@mirror.example/simple",
        "https://:secret@mirror.example",
        "https://mirror.example:secret@other/simple",
        "https://mirror.example/simple?token=secret",
        "https://mirror.example/#secret",
        "ftp://mirror.example",
        "mirror.example/simple",
        "https://",
        "https://mirror.example/a b",
        "https://mirror.example/$(id)",
        "https://mirror.example/`id`",
        "https://mirror.example/a'b",
        "https://mirror.example/a&b",
        "https://mirror.example//x",
        "https://mirror.example/x\nRUN id",
        "https://mirror.\u0435xample",
        "file:///etc/passwd",
    ],
)
def test_no_password_and_no_instruction_in_an_address(tmp_path: Path, key: str, value: str) -> None:
    with pytest.raises(MatrixError) as caught:
        read(tmp_path, f"mirrors:\n  cn: {{{key}: {json.dumps(value)}}}\n")
    assert caught.value.remedy == f"write {fields.URL.allowed}"


def test_no_password_in_a_registry(tmp_path: Path) -> None:
    with pytest.raises(MatrixError):
        read(tmp_path, "mirrors:\n  cn: {registry: 'me:secret@mirror.example'}\n")


def test_an_unknown_mirror_names_those_that_are(project: Callable[..., Workspace]) -> None:
    workspace = project(IMAGES + "mirrors: {a: {}, b: {}}\n", locks=False)
    with pytest.raises(TorchpairError) as caught:
        _ = Workspace(workspace.file, "c").mirror
    assert "no mirror 'c'" in str(caught.value) and "its mirrors: a, b" in str(caught.value)


# ---- what each download is told -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("ubuntu:22.04", "mirror.example/hub/library/ubuntu:22.04"),
        ("debian", "mirror.example/hub/library/debian"),
        ("nvidia/cuda:12.8.1-base-ubuntu22.04", "mirror.example/hub/nvidia/cuda:12.8.1-base-ubuntu22.04"),
        ("user/name@sha256:" + "0" * 64, "mirror.example/hub/user/name@sha256:" + "0" * 64),
        ("docker.io/user/name:1", "mirror.example/hub/user/name:1"),
        ("docker.io/library/debian:12", "mirror.example/hub/library/debian:12"),
        ("ghcr.io/user/name:1", None),
        ("nvcr.io/nvidia/pytorch:24.01-py3", None),
        ("localhost:5000/name:1", None),
        ("localhost/name:1", None),
        ("host:5000/user/name", None),
        ("torchpair-base:debian12", None),
    ],
)
def test_image(reference: str, expected: str | None) -> None:
    assert mirrors.image(reference, ALL) == (expected or reference)
    assert mirrors.image(reference, mirrors.NONE) == reference


BASE = "mirror.example/hub/nvidia/cuda:12.8.1-base-ubuntu22.04"
TOOLS = "mirror.example/hub/library/ubuntu:24.04"
BOTH = {"APT_MIRROR": ALL.apt, "PYPI_INDEX": ALL.pypi, "TOOLS": TOOLS}


@pytest.mark.parametrize(
    ("text", "base", "mirror", "expected"),
    [
        (ROW, "nvidia", mirrors.NONE, {}),
        (ROW, "local", mirrors.NONE, {}),
        (ROW, "nvidia", ALL, BOTH | {"BASE": BASE, "UV_PYTHON_INSTALL_MIRROR": ALL.python}),
        (ROW, "local", ALL, {"PYPI_INDEX": ALL.pypi}),
        (OWN, "nvidia", ALL, BOTH | {"BASE": BASE.replace("12.8.1", "12.6.3"), "PYTORCH_INDEX": ALL.pytorch}),
        (ROW + ", base: ghcr.io/a/b", "nvidia", Mirror("m", registry="mirror.example"), {}),
        (ROW, "nvidia", Mirror("m", pytorch="https://m/whl"), {}),
    ],
)
def test_build_arguments(spec: MakeSpec, text: str, base: str, mirror: Mirror, expected: dict[str, str]) -> None:
    assert mirrors.build_arguments(spec(text, base), mirror) == expected


def test_pytorch_index_and_its_layout(spec: MakeSpec) -> None:
    found = spec(OWN)
    assert mirrors.pytorch_index(found, mirrors.NONE) == (f"{PYTORCH_INDEX}/cu126", "simple")
    assert mirrors.pytorch_index(found, Mirror("m", layout="flat")) == (f"{PYTORCH_INDEX}/cu126", "simple")
    assert mirrors.pytorch_index(found, ALL) == ("https://mirror.example/whl/cu126", "flat")
    simple = Mirror("m", pytorch="https://m/whl")
    assert mirrors.pytorch_index(found, simple) == ("https://m/whl/cu126", "simple")


@pytest.mark.parametrize(
    ("url", "upstream"),
    [
        ("https://mirror.example/whl/cu126/torch.whl", f"{PYTORCH_INDEX}/cu126/torch.whl"),
        ("https://mirror.example/whl2/cu126/torch.whl", None),
        ("https://mirror.example/whl", None),
        (f"{PYTORCH_INDEX}/cu126/torch.whl", None),
    ],
)
def test_upstream_url(url: str, upstream: str | None) -> None:
    assert mirrors.upstream_url(url, ALL) == (upstream or url)
    assert mirrors.upstream_url(url, mirrors.NONE) == url


@pytest.mark.parametrize(
    ("variables", "pypi", "python"),
    [
        ({}, None, None),
        ({"PIP_INDEX_URL": "https://pip"}, "https://pip", None),
        ({"UV_DEFAULT_INDEX": "https://uv", "PIP_INDEX_URL": "https://pip"}, "https://uv", None),
        ({"UV_DEFAULT_INDEX": "", "PIP_INDEX_URL": "https://pip"}, "https://pip", None),
        ({"PIP_INDEX_URL": "", "UV_PYTHON_INSTALL_MIRROR": "https://py"}, None, "https://py"),
    ],
)
def test_from_environment(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], pypi: str | None, python: str | None
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert mirrors.from_environment(mirrors.NONE) == Mirror("none", pypi=pypi, python=python)
    assert mirrors.from_environment(ALL) == ALL, "what the matrix says counts"


# ---- locks and builds ---------------------------------------------------------------------------------------------


def test_a_project_with_a_mirror(spec: MakeSpec) -> None:
    text = lock.project(spec(OWN), mirror=ALL)
    assert 'url = "https://mirror.example/whl/cu126"' in text and 'format = "flat"' in text
    assert PYTORCH_INDEX not in text
    simple = lock.project(spec(OWN), mirror=Mirror("m", pytorch="https://m/whl"))
    assert 'url = "https://m/whl/cu126"' in simple and "format" not in simple
    assert lock.project(spec(OWN)) == lock.project(spec(OWN), mirror=Mirror("m", pypi="https://m", layout="flat"))
    assert lock.project(spec(ROW), mirror=ALL) == lock.project(spec(ROW)), "a row of PyPI names no index"
    assert lock.asked(spec(OWN)).endswith(f"{PYTORCH_INDEX}/cu126"), "a lock made through a mirror holds everywhere"


class Silent:
    """A Progress that says nothing."""

    def say(self, line: str) -> None: ...

    def step(self, row: str, doing: str, done: int, total: int) -> None: ...

    def stage(self, row: str, name: str, seconds: float) -> None: ...

    def end(self, row: str, result: str) -> None: ...


@pytest.mark.parametrize(
    ("text", "base", "mirror"),
    [(ROW, "nvidia", ALL), (OWN, "nvidia", ALL), (ROW, "local", ALL), (ROW, "nvidia", mirrors.NONE)],
)
def test_buildx_is_called_with_the_arguments(
    spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, base: str, mirror: Mirror
) -> None:
    script = tmp_path / "buildx.py"
    script.write_text("import json, sys\njson.dump(sys.argv[1:], open('argv.json', 'w'))\n", encoding="utf-8")
    monkeypatch.setattr(build, "image", lambda engine, reference: ("sha256:1", 5))
    monkeypatch.setattr(build, "ca_bundle", lambda: None)
    engine = Engine("unix:///nonexistent", "26.1", None, (sys.executable, str(script)))
    wanted = spec(text, base)
    (built,) = build.images(engine, [wanted], tmp_path, tmp_path / "logs", Silent(), 1, mirror)
    assert built.error is None
    argv = json.loads((tmp_path / "argv.json").read_text(encoding="utf-8"))
    arguments = {f"{name}={value}" for name, value in mirrors.build_arguments(wanted, mirror).items()}
    told = [value for flag, value in pairwise(argv) if flag == "--build-arg"]
    assert set(told) == arguments and len(told) == len(arguments)
    assert argv[0] == "build" and f"dockerfiles/{render.file_name(wanted)}" in argv


# These reach a program through the environment: apt and uv read them there.
BY_ENVIRONMENT = {"DEBIAN_FRONTEND", "UV_PYTHON_INSTALL_MIRROR"}


def test_a_dockerfile_declares_what_a_mirror_sets_and_uses_what_it_declares(
    project: Callable[..., Workspace], spec: MakeSpec
) -> None:
    workspace = project(f"images:\n  - {{{ROW}}}\n  - {{{OWN}}}\n")
    file = "torch-2.8.0-cp310-cp310-manylinux_2_28_x86_64.whl"
    torch = lock.Locked("torch", "2.8.0", "0" * 64, file, f"{PYTORCH_INDEX}/cu126/{file}")
    own = spec(OWN)
    locked = lock.text(own.name, lock.Lock(lock.asked(own), (torch,)))
    lock.path_of(own, workspace.locks).write_text(locked, encoding="utf-8")
    specs = workspace.everywhere()
    assert len(specs) == 3 and {s.index for s in specs} == {"pypi", "pytorch"}
    for wanted, text in zip(specs, workspace.rendered(specs).values(), strict=True):
        declared = set(re.findall(r"^ARG (\w+)", text, re.MULTILINE))
        assert mirrors.build_arguments(wanted, ALL).keys() <= declared
        for name in declared - BY_ENVIRONMENT:
            assert re.search(rf"\$\{{?{name}\b", text), f"{name} is declared and never used"
        assert "mirror.example" not in text, "a rendered file is the same with every mirror"
        assert reached(text) == [], "a stage sees the arguments of its own and of those it is from, and no others"


def reached(dockerfile: str) -> list[str]:
    """The stages that use an argument which neither they nor those that they are from declare."""
    seen: dict[str, set[str]] = {}
    lost = []
    for name, own in stages(parse(dockerfile)).items():
        parent = re.search(rf"^FROM (\S+) AS {name}$", dockerfile, re.MULTILINE) if name else None
        seen[name] = set(seen.get(parent[1], ())) if parent else set()
        for instruction in own:
            if instruction.word == "ARG":
                seen[name].add(instruction.rest.partition("=")[0])
            elif instruction.word == "RUN":
                used = set(re.findall(r"\$\{?([A-Z_]+_(?:INDEX|MIRROR))\b", instruction.rest))
                lost += [f"{name}: {one}" for one in sorted(used - seen[name])]
    return lost


@pytest.mark.parametrize(
    ("address", "plain", "netrc"),
    [
        ("https://m/simple", "https://m/simple", ""),
        ("https://me:secret@m:8080/simple", "https://m:8080/simple", "machine m login me password secret\n"),
        ("https://token@m/simple", "https://m/simple", "machine m login token password \n"),
        ("https://m/a@b", "https://m/a@b", ""),
        ("file:///mnt/simple", "file:///mnt/simple", ""),
    ],
)
def test_logins(address: str, plain: str, netrc: str) -> None:
    assert (mirrors.plain(address), mirrors.logins(Mirror("m", pypi=address))) == (plain, netrc)


def test_a_login_that_netrc_cannot_hold_is_refused_and_not_shown() -> None:
    with pytest.raises(TorchpairError) as caught:
        mirrors.logins(Mirror("m", pypi="https://me:sec%20ret@m/simple"))
    assert "https://m/simple" in str(caught.value) and "ret" not in str(caught.value)
