"""What a default image weighs, what lies in it, and that every file of the official wheels is there as published."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from docker import DockerClient

from torchpair import inventory, layers
from torchpair.engine import Engine
from torchpair.errors import TorchpairError

from .conftest import EIGHT, FOURTEEN, torchpair

MB = 1_000_000
# Files that no package owns, and why: what the distribution's packages make while they are installed.
EXPLAINED = {
    "bytecode of the distribution's Python": 20 * MB,
    "bytecode of what torch loads": 30 * MB,
    "/usr/share/mime": 5 * MB,  # shared-mime-info, of FFmpeg's own dependencies
    "/var/cache/debconf": 3 * MB,
    "/var/lib/dpkg": 3 * MB,
}


@pytest.fixture(params=[EIGHT, FOURTEEN])
def row(request: pytest.FixtureRequest, reports: dict[str, dict[str, Any]]) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def weighed(reports: dict[str, dict[str, Any]]) -> Callable[[str], dict[str, Any]]:
    """`torchpair layers ROW --json`, once for each row."""
    seen: dict[str, dict[str, Any]] = {}

    def weigh(row: str) -> dict[str, Any]:
        if row not in seen:
            done = torchpair("layers", row, "--json")
            assert done.code == 0, done.err
            seen[row] = json.loads(done.out)
        return seen[row]

    return weigh


@pytest.fixture
def inside(
    client: DockerClient, reports: dict[str, dict[str, Any]], row: str, tmp_path: Path
) -> Callable[[str], dict[str, Any]]:
    """Python code in a row's image, with inventory.py to import; what it prints as JSON."""

    def run(code: str) -> dict[str, Any]:
        (tmp_path / "code.py").write_text(code)
        volumes = {
            str(Path(inventory.__file__)): {"bind": "/tests/inventory.py", "mode": "ro"},
            str(tmp_path / "code.py"): {"bind": "/tests/code_.py", "mode": "ro"},
        }
        command = ["python", "-B", "/tests/code_.py"]
        out = client.containers.run(
            reports[row]["image"], command, remove=True, user="0", network_mode="none", volumes=volumes
        )
        answer = json.loads(out)
        assert isinstance(answer, dict)
        return answer

    return run


# ---- torchpair layers ---------------------------------------------------------------------------------------------


def test_layers_of_a_row_for_reading(row: str, weighed: Callable[[str], dict[str, Any]]) -> None:
    done = torchpair("layers", row)
    assert done.code == 0, done.err
    shown = re.findall(r"^ *([\d.]+)  (\S.*?)(?:  [0-9a-f]{12})?$", done.out, re.MULTILINE)
    body = weighed(row)
    sizes = [float(size) for size, name in shown if name in {layer["name"] for layer in body["layers"]}]
    assert len(sizes) >= len(body["layers"]) - 1 and sizes[0] == max(sizes)
    for name in ("cuda", "torch-cuda", "torch-linalg", "triton-nvidia", "nvidia-cudnn-cu", "of no package"):
        assert name in done.out
    assert "pulls" not in done.out


def test_layers_of_a_row_as_json(
    row: str, weighed: Callable[[str], dict[str, Any]], client: DockerClient, reports: dict[str, dict[str, Any]]
) -> None:
    body = weighed(row)
    attributes = client.images.get(reports[row]["image"]).attrs
    assert [layer["digest"] for layer in body["layers"]] == attributes["RootFS"]["Layers"]
    order = ["base", "system", "cuda", "cudnn", "metadata", "venv", "python", "triton-nvidia", "triton"]
    order += ["torch-linalg", "torch-cuda", "torch", "bytecode", "audio", "probe", "other"]
    assert [layer["name"] for layer in body["layers"]] == order
    assert body["size"] == sum(layer["size"] for layer in body["layers"]) == attributes["Size"]
    listed = {name for packages in body["wheels"].values() for name in packages}
    assert listed == {name.lower().replace("_", "-") for name in reports[row]["environment"]["distributions"]}
    assert {"ffmpeg", "tini", "libc6"} <= body["debs"].keys()


def test_what_is_pulled_beside_another_image(row: str, weighed: Callable[[str], dict[str, Any]]) -> None:
    other = next(name for name in (EIGHT, FOURTEEN) if name != row)
    done = torchpair("layers", row, "--json", "--have", other)
    assert done.code == 0, done.err
    there = {layer["digest"] for layer in weighed(other)["layers"]}
    pull = json.loads(done.out)["pull"]
    assert pull == [layer for layer in weighed(row)["layers"] if layer["digest"] not in there]
    assert 0 < len(pull) < len(weighed(row)["layers"]), "at least WORKDIR's empty layer is the same"
    own = torchpair("layers", row, "--have", row)
    assert own.code == 0 and f"who has {row} pulls 0.00 GB of" in own.out


def test_an_image_that_is_not_there(images: object) -> None:
    for arguments in (("torchpair-test:no-such-image",), (EIGHT, "--have", "torchpair-test:no-such-image")):
        done = torchpair("layers", *arguments)
        assert done.code == 4
        assert "no image torchpair-test:no-such-image" in done.err
    done = torchpair("layers", "torchpair-test:no-such-image", "--diff")
    assert done.code == 2
    assert "name one" in done.err


# ---- any image ----------------------------------------------------------------------------------------------------


@pytest.fixture
def fake(engine: Engine, client: DockerClient, tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """An image from a few lines of a Dockerfile, on the base."""
    made: list[str] = []

    def make(steps: str) -> str:
        (tmp_path / "Dockerfile").write_text(f"FROM torchpair-base:debian12\n{steps}\n")
        reference = f"torchpair-test:layers{len(made)}"
        argv = [*engine.buildx, "build", "--quiet", "--load", "--tag", reference, str(tmp_path)]
        subprocess.run(argv, env=engine.env(), check=True, capture_output=True)
        made.append(reference)
        return reference

    yield make
    for reference in made:
        client.images.remove(reference, force=True)


@pytest.mark.usefixtures("images")
def test_layers_without_files_keep_the_names_in_their_places(engine: Engine, fake: Callable[[str], str]) -> None:
    reference = fake("ENV A=b\nRUN true\nRUN echo hello >/hello\nWORKDIR /somewhere\nUSER 1\nWORKDIR /somewhere\nRUN :")
    found = layers.read(engine, reference)
    assert "?" not in {layer.name for layer in found}
    base = layers.read(engine, "torchpair-base:debian12")
    assert found[: len(base)] == base
    assert [layer.size for layer in found if layer.size == len("hello\n")] == [6]


@pytest.mark.usefixtures("images")
@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("echo all is well", "not readable as JSON"),
        ("echo '{}'", "no list of its files"),
        ("yes; true", "cannot be counted"),
        ("echo 'no module' >&2; exit 3", "python ended with 3: no module"),
        ("", "cannot be counted"),  # no python at all
    ],
)
def test_an_image_that_does_not_answer(
    engine: Engine,
    client: DockerClient,
    fake: Callable[[str], str],
    script: str,
    says: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also one that prints without end: it is stopped, and nothing of it stays."""
    monkeypatch.setattr(layers, "SECONDS", 10)
    step = f"RUN printf '%s\\n' '#!/bin/sh' {json.dumps(script)} >/usr/bin/python && chmod 755 /usr/bin/python"
    reference = fake(step if script else "")
    with pytest.raises(TorchpairError) as error:
        layers.take_inventory(engine, reference)
    assert says in str(error.value)
    assert client.containers.list(all=True, filters={"ancestor": reference}) == []


# ---- nothing twice, nothing without a reason ----------------------------------------------------------------------


def test_no_cuda_library_lies_twice_but_what_an_official_wheel_brings(
    row: str, weighed: Callable[[str], dict[str, Any]]
) -> None:
    body = weighed(row)
    wheels = {name for packages in body["wheels"].values() for name in packages}
    for name, places in body["twice"].items():
        owners = [owner for _, owner, _ in places]
        assert set(owners) <= wheels, (name, places)
        # triton's profiler brings a CUPTI of its own; any other second copy would be news.
        assert name.startswith("libcupti.so") and "triton" in owners, (name, places)


def test_what_no_package_owns_is_explained_and_small(row: str, weighed: Callable[[str], dict[str, Any]]) -> None:
    nobody = weighed(row)["nobody"]
    too_much = {area: size for area, size in nobody.items() if size > EXPLAINED.get(area, MB)}
    assert too_much == {}
    assert nobody.pop("bytecode of what torch loads") > 10 * MB
    assert sum(nobody.values()) < 30 * MB


def test_the_image_is_hardly_larger_than_what_it_must_hold(
    row: str, weighed: Callable[[str], dict[str, Any]], client: DockerClient, reports: dict[str, dict[str, Any]]
) -> None:
    body = weighed(row)
    wheels = sum(size for packages in body["wheels"].values() for size in packages.values())
    floor = wheels + sum(body["debs"].values())  # the base's own packages among them
    size = client.images.get(reports[row]["image"]).attrs["Size"]
    assert wheels > 4_000 * MB
    assert floor <= size <= 1.05 * floor, f"{size / floor:.4f}"


def test_nothing_for_building_or_testing_outside_official_wheels(inside: Callable[[str], dict[str, Any]]) -> None:
    found = inside("""
import json, os, inventory
wheels, debs = inventory.wheels(), inventory.debs()
compilers = set("cc gcc g++ c++ cpp clang clang++ ld as ar nvcc ptxas rustc go make cmake ninja".split())
found = {"static": [], "compiler": [], "tests": {}, "in wheels": 0}
for folder, folders, files in os.walk("/"):
    folders[:] = [name for name in folders if os.path.join(folder, name) not in ("/proc", "/sys", "/dev", "/tests")]
    for name in files:
        path = os.path.join(folder, name)
        if os.path.realpath(path) in wheels:
            found["in wheels"] += 1
        elif name.endswith((".a", ".la", ".o")):
            found["static"].append(path)
        elif name in compilers or "gcc-" in name and os.access(path, os.X_OK):
            found["compiler"].append(path)
        elif {"test", "tests", "testsuite"} & set(folder.split("/")):
            source = path.replace("/__pycache__", "").split(".cpython")[0] + ".py" if path.endswith(".pyc") else path
            owner = debs.get(source, "nobody")
            found["tests"][owner] = found["tests"].get(owner, 0) + os.lstat(path).st_size
print(json.dumps(found))
""")
    assert found["in wheels"] > 10_000
    assert found["static"] == []
    assert found["compiler"] == []
    # The distribution's Python keeps a part of its `test` package in its standard library: not ours to take out.
    assert all(re.fullmatch(r"libpython3\.\d+-stdlib", owner) for owner in found["tests"]), found["tests"]
    assert sum(found["tests"].values()) < 2 * MB


# ---- the official files -------------------------------------------------------------------------------------------


def test_every_file_of_the_official_wheels_is_there_as_published(
    inside: Callable[[str], dict[str, Any]], reports: dict[str, dict[str, Any]], row: str
) -> None:
    """By their RECORDs: every hash of the pair, of triton and torchcodec; of every other wheel every size."""
    found = inside("""
import base64, csv, hashlib, json, os
from importlib import metadata

def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode()

wrong, hashed, sized, without = [], {}, {}, set()
for one in metadata.distributions():
    name = one.metadata["Name"].lower().replace("_", "-")
    for path, digest, size in csv.reader(one.read_text("RECORD").splitlines()):
        where = str(one.locate_file(path))
        if not os.path.isfile(where):
            wrong.append([where, "is missing"])
        elif not digest:
            without.add(os.path.basename(path))
        elif os.path.getsize(where) != int(size):
            wrong.append([where, "has another size"])
        else:
            sized[name] = sized.get(name, 0) + 1
            if name in ("torch", "torchaudio", "triton", "torchcodec"):
                hashed[name] = hashed.get(name, 0) + 1
                if "sha256=" + sha256(where) != digest:
                    wrong.append([where, "has another content"])
print(json.dumps({"wrong": wrong, "hashed": hashed, "sized": sized, "without": sorted(without)}))
""")
    assert found["wrong"] == []
    locked = {name.lower().replace("_", "-") for name in reports[row]["environment"]["distributions"]}
    assert found["sized"].keys() == locked
    assert found["hashed"].keys() == {"torch", "torchaudio", "triton", "torchcodec"} & locked
    assert found["hashed"]["torch"] > 5_000 and found["hashed"]["triton"] > 100
    # Only what RECORD cannot hash (itself, and signatures) has none.
    assert set(found["without"]) <= {"RECORD", "RECORD.jws", "RECORD.p7s"}
