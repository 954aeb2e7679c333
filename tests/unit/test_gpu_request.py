"""What goes out to the engine: a small engine of our own answers on 127.0.0.1 and keeps what it was sent."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from torchpair import check
from torchpair.engine import Engine
from torchpair.errors import EngineError

NVIDIA = {"Runtimes": {"runc": {}, "nvidia": {}}}
CDI = {"Runtimes": {"runc": {}}, "DiscoveredDevices": [{"Source": "cdi", "ID": "nvidia.com/gpu=all"}]}
OTHER = {"Runtimes": {"runc": {}}, "DiscoveredDevices": [{"Source": "cdi", "ID": "vendor.example/nic=0"}]}
PLAIN: dict[str, Any] = {"Runtimes": {"runc": {}}}


class FakeEngine(BaseHTTPRequestHandler):
    """Knows one image, and refuses every container after writing down what was asked."""

    info: ClassVar[dict[str, Any]] = PLAIN
    created: ClassVar[list[dict[str, Any]]] = []

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
            self._answer(200, {"Id": "sha256:0", "Size": 1, "Config": {"Labels": {}}})
        elif path.startswith("/containers/json"):
            self._answer(200, [])  # none that a check before left behind
        else:
            self._answer(404, {"message": "no such page"})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if "/containers/create" in self.path:
            self.created.append(json.loads(body))
            self._answer(500, {"message": "could not select device driver"})
        else:
            self._answer(404, {"message": "no such page"})


@pytest.fixture
def engine() -> Iterator[Engine]:
    FakeEngine.created.clear()
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
    assert config["PidsLimit"] == check.PIDS
    assert config["Memory"] == config["MemorySwap"] == 8 * 2**30
    assert config["LogConfig"]["Config"]["max-size"] == check.OUTPUT
