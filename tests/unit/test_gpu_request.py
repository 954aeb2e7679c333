"""What goes out to the engine: a small engine of our own answers on 127.0.0.1 and keeps what it was sent."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from torchpair import cage, check
from torchpair.engine import Engine
from torchpair.errors import EngineError

NVIDIA = {"Runtimes": {"runc": {}, "nvidia": {}}}
CDI = {"Runtimes": {"runc": {}}, "DiscoveredDevices": [{"Source": "cdi", "ID": "nvidia.com/gpu=all"}]}
OTHER = {"Runtimes": {"runc": {}}, "DiscoveredDevices": [{"Source": "cdi", "ID": "vendor.example/nic=0"}]}
PLAIN: dict[str, Any] = {"Runtimes": {"runc": {}}}


class FakeEngine(BaseHTTPRequestHandler):
    """Knows one image, and refuses every container that would run, after writing down what was asked."""

    info: ClassVar[dict[str, Any]] = PLAIN
    declared: ClassVar[dict[str, Any]] = {}
    created: ClassVar[list[dict[str, Any]]] = []
    handed_in: ClassVar[list[dict[str, Any]]] = []
    removed: ClassVar[list[str]] = []

    def log_message(self, *_: Any) -> None:
        pass

    def _answer(self, code: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        path = re.sub(r"^/v[\d.]+", "", self.path)
        if path == "/version":
            self._answer(200, {"ApiVersion": "1.45", "MinAPIVersion": "1.24", "Version": "26.1.5"})
        elif path == "/info":
            self._answer(200, self.info)
        elif path.startswith("/images/"):
            self._answer(200, {"Id": "sha256:0", "Size": 1, "Config": {"Labels": {}, "Volumes": self.declared}})
        elif path.startswith("/containers/json"):
            self._answer(200, [])  # none that a check before left behind
        elif path == "/containers/holder/json":
            self._answer(200, {"Id": "holder"})
        elif path.startswith("/volumes?"):
            self._answer(200, {"Volumes": None})
        else:
            self._answer(404, {"message": "no such page"})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if "/containers/create" in self.path:
            asked = json.loads(body)
            if asked["HostConfig"].get("ReadonlyRootfs"):
                self.created.append(asked)
                self._answer(500, {"message": "could not select device driver"})
            else:
                self.handed_in.append(asked)
                self._answer(201, {"Id": "holder", "Warnings": []})
        elif self.path.endswith("/volumes/create"):
            self._answer(201, {"Name": "files"})
        else:
            self._answer(404, {"message": "no such page"})

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._answer(200, {})

    def do_DELETE(self) -> None:
        self.removed.append(re.sub(r"^/v[\d.]+|\?.*", "", self.path))
        self.send_response(204)
        self.end_headers()


@pytest.fixture
def engine() -> Iterator[Engine]:
    for kept in (FakeEngine.created, FakeEngine.handed_in, FakeEngine.removed, FakeEngine.declared):
        kept.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), FakeEngine)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Engine(f"tcp://127.0.0.1:{server.server_port}", "26.1.5", None, ("docker", "buildx"))
    server.shutdown()
    server.server_close()


def asked(engine: Engine, info: dict[str, Any], gpu: Any, tmp_path: Path) -> list[dict[str, Any]]:
    """The HostConfigs of the containers that a check asks the engine for."""
    FakeEngine.info = info
    probe = tmp_path / "probe.pyz"
    probe.write_bytes(b"")
    with pytest.raises(EngineError) as refused:
        check.image(engine, "example/image:1", probe=probe, probe_sha256="0", gpu=gpu)
    assert "could not select device driver" in str(refused.value)
    return [body["HostConfig"] for body in FakeEngine.created]


def test_the_nvidia_runtime_is_asked_for_all_gpus(engine: Engine, tmp_path: Path) -> None:
    first, *rest = asked(engine, NVIDIA, "auto", tmp_path)
    (request,) = first["DeviceRequests"]
    assert (request["Count"], request["Capabilities"]) == (-1, [["gpu"]])
    # An engine that then cannot: the CPU's part is tried without.
    assert ["DeviceRequests" in config for config in rest] == [False]


def test_cdi_is_asked_by_device_name(engine: Engine, tmp_path: Path) -> None:
    (request,) = asked(engine, CDI, "require", tmp_path)[0]["DeviceRequests"]
    assert (request["Driver"], request["DeviceIDs"]) == ("cdi", ["nvidia.com/gpu=all"])


def test_a_required_gpu_is_not_silently_left_out(engine: Engine, tmp_path: Path) -> None:
    assert len(asked(engine, NVIDIA, "require", tmp_path)) == 1


@pytest.mark.parametrize(("info", "gpu"), [(PLAIN, "auto"), (OTHER, "auto"), (NVIDIA, "off"), (PLAIN, "require")])
def test_no_gpu_is_asked_for(engine: Engine, info: dict[str, Any], gpu: str, tmp_path: Path) -> None:
    (config,) = asked(engine, info, gpu, tmp_path)
    assert "DeviceRequests" not in config


def test_the_cage_is_in_the_request(engine: Engine, tmp_path: Path) -> None:
    (config,) = asked(engine, PLAIN, "auto", tmp_path)
    assert config["NetworkMode"] == "none"
    assert config["ReadonlyRootfs"] is True
    assert config["CapDrop"] == ["ALL"]
    assert config["SecurityOpt"] == ["no-new-privileges"]
    assert config["PidsLimit"] == cage.PIDS
    assert config["Memory"] == config["MemorySwap"] == 8 * 2**30
    assert config["LogConfig"]["Config"]["max-size"] == cage.OUTPUT
    assert config["Ulimits"] == [{"Name": "core", "Soft": 0, "Hard": 0}]
    assert FakeEngine.created[0]["Healthcheck"]["Test"] == ["NONE"]
    (files,) = config["Mounts"]
    assert (files["Target"], files["Source"], files["ReadOnly"]) == (cage.HOME, "files", True)


def test_nothing_that_the_image_declares_is_writable(engine: Engine, tmp_path: Path) -> None:
    FakeEngine.declared |= {"/data": {}, cage.HOME: {}}
    (config,) = asked(engine, PLAIN, "auto", tmp_path)
    assert {mount["Target"]: mount["ReadOnly"] for mount in config["Mounts"]} == {cage.HOME: True, "/data": True}
    (holder,) = FakeEngine.handed_in
    assert holder["HostConfig"]["Tmpfs"] == {"/data": ""}, "what is only filled copies nothing out of the image"


def test_more_volumes_than_any_image_has_are_refused(engine: Engine, tmp_path: Path) -> None:
    FakeEngine.declared |= {f"/{number}": {} for number in range(cage.MOST_VOLUMES + 1)}
    probe = tmp_path / "probe.pyz"
    probe.write_bytes(b"")
    with pytest.raises(EngineError, match="cannot start") as refused:
        check.image(engine, "example/image:1", probe=probe, probe_sha256="0")
    assert "declares 51 volumes" in str(refused.value) and not FakeEngine.handed_in


def test_what_was_made_for_a_container_that_cannot_start_is_removed(engine: Engine, tmp_path: Path) -> None:
    asked(engine, PLAIN, "auto", tmp_path)
    assert FakeEngine.removed == ["/containers/holder", "/volumes/files"]


def test_an_engine_that_goes_away_is_an_error_of_the_engine(engine: Engine, tmp_path: Path) -> None:
    probe = tmp_path / "probe.pyz"
    probe.write_bytes(b"")
    with pytest.raises(EngineError, match="the engine does not answer while it checks"):
        check.image(replace(engine, host="tcp://127.0.0.1:9"), "example/image:1", probe=probe, probe_sha256="0")
