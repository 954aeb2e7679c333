"""What a user of an image relies on: who it runs as, what is in it, what it says of itself."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from docker import DockerClient
from uv import find_uv_bin

from .conftest import EIGHT, FOURTEEN, ROOT

IMPORT = ["python", "-c", "import torch, torchaudio; print(torch.__version__, torchaudio.__version__)"]


@pytest.fixture(params=[EIGHT, FOURTEEN])
def report(request: pytest.FixtureRequest, reports: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return reports[request.param]


def run(client: DockerClient, report: dict[str, Any], command: list[str], **kwargs: Any) -> str:
    return client.containers.run(report["image"], command, remove=True, **kwargs).decode().strip()


def test_import_as_the_user_of_the_image(client: DockerClient, report: dict[str, Any]) -> None:
    assert run(client, report, ["id", "-u"]) == "10001"
    assert run(client, report, IMPORT).startswith(report["environment"]["torch"])


def test_import_as_an_arbitrary_uid(client: DockerClient, report: dict[str, Any]) -> None:
    assert run(client, report, IMPORT, user="123456:0", network_mode="none").startswith(report["environment"]["torch"])


def test_import_with_a_read_only_root(client: DockerClient, report: dict[str, Any]) -> None:
    assert run(client, report, IMPORT, read_only=True).startswith(report["environment"]["torch"])


def test_one_environment_for_pip_and_uv(client: DockerClient, report: dict[str, Any], tmp_path: Path) -> None:
    assert "No broken requirements" in run(client, report, ["pip", "check"])
    listed = {
        p["name"].lower().replace("_", "-"): p["version"]
        for p in json.loads(run(client, report, ["pip", "list", "--format=json"]))
    }
    locked = report["environment"]["distributions"]
    assert listed == {name.lower().replace("_", "-"): version for name, version in locked.items()}
    uv = str(Path(find_uv_bin()).resolve())
    mount = {uv: {"bind": "/usr/local/bin/uv", "mode": "ro"}}
    seen = json.loads(run(client, report, ["uv", "pip", "list", "--no-cache", "--format=json"], volumes=mount))
    assert {p["name"].lower().replace("_", "-"): p["version"] for p in seen} == listed


def test_pip_uninstall_of_a_cuda_library_removes_its_files(client: DockerClient, report: dict[str, Any]) -> None:
    name = next(n for n in report["environment"]["distributions"] if n.startswith("nvidia-nvtx"))
    count = "find -L /opt/venv/cuda -ipath '*nvtx*.so*' | wc -l"
    script = f"before=$({count}); pip uninstall -qy {name}; {count}; echo $before"
    left, before = run(client, report, ["sh", "-c", script], user="0").split()[-2:]
    assert int(before) > 0
    assert int(left) == 0


def test_no_compiler_no_cache(client: DockerClient, report: dict[str, Any]) -> None:
    found = run(
        client,
        report,
        ["sh", "-c", "for p in gcc g++ cc c++ nvcc clang make cmake uv; do command -v $p || true; done"],
        user="0",
    )
    assert found == ""
    # pip's own and apt's caches, package lists.
    folders = "/root/.cache /home/torchpair/.cache /var/lib/apt/lists /var/cache/apt /var/log"
    assert run(client, report, ["sh", "-c", f"find {folders} -type f 2>/dev/null || true"], user="0") == ""


def test_bytecode_of_what_torch_loads_and_of_nothing_else(client: DockerClient, report: dict[str, Any]) -> None:
    script = """
import importlib.util, json, pathlib, sys
import torch
loaded = {getattr(module, "__file__", None) or "" for module in sys.modules.values()}
loaded = {path for path in loaded if path.startswith("/opt/") and path.endswith(".py")}
found = {str(path): path.read_bytes()[:16] for path in pathlib.Path("/opt").rglob("*.pyc")}
hashed = {importlib.util.cache_from_source(path): importlib.util.source_hash(pathlib.Path(path).read_bytes())
          for path in loaded}
print(json.dumps({
    "loaded": len(loaded), "lacking": sorted(hashed.keys() - found), "more": sorted(found.keys() - hashed),
    "wrong": sorted(p for p, head in found.items() if p in hashed and head[4:] != b"\\3\\0\\0\\0" + hashed[p]),
}))
"""
    seen = json.loads(run(client, report, ["python", "-c", script]))
    assert seen.pop("loaded") > 500
    assert seen == {"lacking": [], "more": [], "wrong": []}


def test_labels_and_environment(client: DockerClient, report: dict[str, Any]) -> None:
    attributes = client.images.get(report["image"]).attrs["Config"]
    labels = attributes["Labels"]
    seen = report["environment"]
    assert labels["torchpair.row"] == report["row"]
    assert labels["torchpair.torch"] == seen["torch"].split("+")[0]
    assert labels["torchpair.torchaudio"] == seen["torchaudio"].split("+")[0]
    assert labels["torchpair.torchcodec"] == (seen["torchcodec"] or "none").split("+")[0]
    assert labels["torchpair.cuda"] == seen["torch_cuda"]
    assert seen["python"].startswith(labels["torchpair.python"] + ".")
    assert labels["torchpair.base"] == report["base"]
    assert labels["torchpair.sm"].split() == seen["sm"]
    assert labels["torchpair.min-driver"].count(".") >= 1
    assert labels["org.opencontainers.image.version"] == report["image"].split(":")[1]
    assert {"title", "description", "version", "base.name"} <= {
        k.removeprefix("org.opencontainers.image.") for k in labels
    }
    environment = dict(pair.split("=", 1) for pair in attributes["Env"])
    assert environment["NVIDIA_VISIBLE_DEVICES"] == "all"
    assert environment["NVIDIA_DRIVER_CAPABILITIES"] == "compute,utility"
    assert environment["LANG"] == "C.UTF-8"
    assert attributes["Entrypoint"] == ["/usr/bin/tini", "--"]
    assert attributes["User"] == "10001:10001"


def test_utf_8_and_process_one(client: DockerClient, report: dict[str, Any]) -> None:
    script = "import sys, pathlib; print(sys.stdout.encoding, pathlib.Path('/proc/1/comm').read_text().strip(), 'ä')"
    assert run(client, report, ["python", "-c", script]) == "utf-8 tini ä"


def test_the_probe_in_the_image_runs_by_itself(report: dict[str, Any]) -> None:
    command = [
        "python",
        "/opt/torchpair/probe.pyz",
        "--expect",
        "/opt/torchpair/expect.json",
        "--only",
        "pair.versions,pair.lock",
    ]
    done = subprocess.run(
        ["docker", "run", "--rm", "--network", "none", report["image"], *command],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert {check["id"]: check["status"] for check in answer["checks"]}["pair.lock"] == "pass"


def test_the_probe_finds_what_is_wrong_inside(client: DockerClient, report: dict[str, Any], tmp_path: Path) -> None:
    """tests/inside runs where a real torch is: its sabotaged operators and files must be found there."""
    # pytest and what it needs are pure Python: the host's serve any Python of an image.
    for name in ("pytest", "_pytest", "py", "pluggy", "iniconfig", "packaging", "pygments"):
        origin = importlib.util.find_spec(name)
        assert origin and origin.origin
        source = Path(origin.origin)
        if source.name == "__init__.py":
            shutil.copytree(source.parent, tmp_path / name)
        else:
            shutil.copy(source, tmp_path)
    volumes = {
        str(tmp_path): {"bind": "/tests/packages", "mode": "ro"},
        str(ROOT / "src" / "torchpair" / "probe"): {"bind": "/tests/src/torchpair/probe", "mode": "ro"},
        str(ROOT / "tests" / "inside"): {"bind": "/tests/inside", "mode": "ro"},
    }
    # `|| true`: a failure is told by what it prints, which an exit code would swallow.
    pytest_inside = "python -m pytest -q -p no:cacheprovider --rootdir=/tests/inside /tests/inside 2>&1 || true"
    command = ["sh", "-c", pytest_inside]
    paths = {"PYTHONPATH": "/tests/packages:/tests/src"}
    out = run(client, report, command, volumes=volumes, environment=paths, network_mode="none", user="0")
    passed = re.search(r"(\d+) passed", out)
    assert passed and int(passed[1]) >= 10, out
    assert "skipped" not in out
    assert "failed" not in out, out
