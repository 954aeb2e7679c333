"""GPT-SoVITS deployed with a stand-in for its code: the same Dockerfile, start-up, health, compose file and commands.

Real containers on loopback. What the stand-in cannot show (the requirements, the real server) is in the README.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from docker import DockerClient
from docker.models.containers import Container

from torchpair import launch, sovits_image, sovits_lock
from torchpair.deploy import Deployment
from torchpair.engine import Engine
from torchpair.matrix import Mirror
from torchpair.progress import Silent
from torchpair.sovits import smoke, start, weights

from .conftest import EIGHT, Run, torchpair

CODE = Path(__file__).parent / "stand_in"
TAG = "torchpair-test:stand-in"
pytestmark = pytest.mark.usefixtures("images")


@pytest.fixture(scope="module")
def build(engine: Engine, client: DockerClient, reports: dict[str, dict[str, Any]]) -> Iterator[Callable[..., str]]:
    """Build from a folder of code, with the template and the build of the real thing; nothing is fetched."""
    made: list[str] = []

    def make(code: Path = CODE, tag: str = TAG) -> str:
        application = sovits_image.Application(
            flavour="api", base=reports[EIGHT]["image"], row=EIGHT, python="3.11", lock=sovits_lock.EMPTY,
            tools=sovits_lock.EMPTY, uv=(), data=False, code="stand-in",
        )  # fmt: skip
        log = Path(os.environ.get("TMPDIR", "/tmp")) / f"{tag.replace(':', '-')}.log"
        made.append(sovits_image.image(engine, application, code, None, log, Silent(), Mirror("none"), tag))
        log.unlink()
        return made[-1]

    yield make
    for tag in made:
        client.images.remove(tag, force=True)


@pytest.fixture(scope="module")
def image(build: Callable[..., str]) -> str:
    return build()


def put_models(folder: Path) -> Path:
    """Files of the sizes that are known; sparse, so that they weigh nothing."""
    for weight in weights.needed("v2"):
        path = folder / weight.path
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".json":
            path.write_text("{}".ljust(weight.size or 2))
            continue
        with path.open("wb") as out:
            out.write(b"x")
            out.truncate(weight.size or 10)
    return folder


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def place(tmp_path: Path, engine: Engine) -> Iterator[Path]:
    """A folder for a deployment, which is taken down afterwards whatever happened."""
    folder = tmp_path / "tts"
    yield folder
    if (folder / "compose.yaml").is_file():
        launch.compose(engine, folder, "--profile", "*", "down", "--timeout", "5")


def deploy(image: str, folder: Path, port: int, *more: str) -> Run:
    return torchpair(
        "deploy", "gpt-sovits", "--image", image, "--output", str(folder), "--port", str(port), "--name",
        f"torchpair-test-{port}", "--timeout", "120", *more,
    )  # fmt: skip


def the_container(client: DockerClient, name: str) -> Container:
    (container,) = client.containers.list(all=True, filters={"label": f"{launch.PROJECT}={name}"})
    return container


def run(image: str, client: DockerClient, **more: Any) -> tuple[int, str]:
    """A container to its end: exit code, output."""
    container = client.containers.run(image, detach=True, network_mode="none", **more)
    try:
        code = int(container.wait(timeout=120)["StatusCode"])
        return code, container.logs().decode()
    finally:
        container.remove(force=True, v=True)


def test_start_healthy_answer_kill_healthy_down(
    image: str, client: DockerClient, engine: Engine, place: Path, tmp_path: Path
) -> None:
    port, models = free_port(), put_models(tmp_path / "models")
    done = deploy(image, place, port, "--cpu", "--models", str(models))
    assert done.code == 0, done.out + done.err
    assert f"http://127.0.0.1:{port}" in done.out and "curl --fail" in done.out
    name = f"torchpair-test-{port}"
    container = the_container(client, name)
    assert container.attrs["HostConfig"]["PortBindings"] == {
        "9880/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(port)}]
    }
    assert container.attrs["HostConfig"]["ReadonlyRootfs"] and container.attrs["Config"]["User"] == "10001:10001"
    assert container.attrs["Image"] == client.images.get(image).id, "what was checked is what runs"

    # The command that was printed, with a voice where it says that one has to be.
    smoke.write_voice(place / "data" / "reference" / "voice.wav")
    command = next(line for line in done.out.splitlines() if line.startswith("curl"))
    spoken = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert spoken.returncode == 0, spoken.stderr
    with wave.open(str(tmp_path / "speech.wav")) as speech:
        assert (speech.getframerate(), speech.getnchannels()) == (32000, 1) and speech.getnframes() >= 32000

    assert torchpair("deploy", "status", "--output", str(place)).code == 0
    assert "listening on 0.0.0.0:9880" in torchpair("deploy", "logs", "--output", str(place)).out

    # The server dies. tini ends with it, the engine starts the container again.
    (server,) = [row for row in container.top(ps_args="-eo pid,args")["Processes"] if " api_v2.py" in row[1]
                 and "tini" not in row[1]]  # fmt: skip
    os.kill(int(server[0]), signal.SIGKILL)
    end = time.monotonic() + 60
    while not (container.attrs["RestartCount"] == 1 and container.attrs["State"]["Running"]):
        assert time.monotonic() < end, container.attrs["State"]
        time.sleep(0.2)
        container.reload()
    launch.wait(engine, name, Silent(), 60)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/openapi.json", timeout=10) as answer:
        assert "/tts" in json.loads(answer.read())["paths"]

    again = deploy(image, place, port, "--cpu", "--models", str(models))
    assert again.code == 0, "its own port is no obstacle: " + again.err

    assert torchpair("deploy", "down", "--output", str(place)).code == 0
    assert not client.containers.list(all=True, filters={"label": f"{launch.PROJECT}={name}"})
    assert (place / "data" / "reference" / "voice.wav").is_file()
    assert torchpair("deploy", "status", "--output", str(place)).code == 1


def test_health_is_honest(image: str, client: DockerClient, tmp_path: Path) -> None:
    """Not healthy before it answers, unhealthy when it stops answering."""
    models = put_models(tmp_path / "models")
    container = client.containers.run(
        image, detach=True, network_mode="none", volumes={str(models): {"bind": "/models", "mode": "ro"}},
    )  # fmt: skip
    health = ["python", "/opt/torchpair/sovits.pyz", "health", "api"]
    try:
        assert container.exec_run(health).exit_code == 1
        end = time.monotonic() + 60
        while container.exec_run(health).exit_code != 0:
            assert time.monotonic() < end, container.logs().decode()
            time.sleep(0.3)
        assert container.exec_run(["python", "/opt/torchpair/sovits.pyz", "health", "webui"]).exit_code == 1
        (server,) = [row for row in container.top(ps_args="-eo pid,args")["Processes"] if " api_v2.py" in row[1]
                     and "tini" not in row[1]]  # fmt: skip
        os.kill(int(server[0]), signal.SIGSTOP)
        assert container.exec_run(health).exit_code == 1
        os.kill(int(server[0]), signal.SIGCONT)
        assert container.exec_run(health).exit_code == 0
    finally:
        container.remove(force=True, v=True)


def test_missing_models_are_said_before_and_inside(
    image: str, client: DockerClient, place: Path, tmp_path: Path
) -> None:
    models = put_models(tmp_path / "models")
    (gone,) = models.rglob("s2G2333k.pth")
    gone.unlink()
    done = deploy(image, place, free_port(), "--cpu", "--models", str(models))
    assert done.code == 2 and "s2G2333k.pth: missing" in done.err and "models gpt-sovits fetch" in done.err
    code, said = run(image, client, volumes={str(models): {"bind": "/models", "mode": "ro"}})
    assert code == start.EXIT_CONFIG
    assert "s2G2333k.pth: missing" in said and "torchpair models gpt-sovits fetch" in said and "Traceback" not in said


def test_a_gpu_that_is_asked_for_and_absent_is_refused_before_and_inside(
    image: str, client: DockerClient, place: Path, tmp_path: Path
) -> None:
    if shutil.which("nvidia-smi"):
        pytest.skip("this machine has a GPU")
    models = put_models(tmp_path / "models")
    done = deploy(image, place, free_port(), "--gpu", "--models", str(models))
    assert done.code == 2 and "NVIDIA driver: none answers here" in done.err
    volumes = {str(models): {"bind": "/models", "mode": "ro"}}
    code, said = run(image, client, volumes=volumes, environment={"SOVITS_DEVICE": "gpu"})
    assert code == start.EXIT_CONFIG
    assert "a GPU was asked for and there is none" in said and "Traceback" not in said


def test_what_cannot_start_is_said_and_stopped(
    image: str, client: DockerClient, engine: Engine, place: Path, tmp_path: Path
) -> None:
    """Past every check of the host: the container's own refusal reaches the reader, and does not go round for ever."""
    port, name = free_port(), "torchpair-test-refused"
    (tmp_path / "models").mkdir()
    deployment = Deployment(
        image=launch.pinned(engine, image), tag=image, models=str(tmp_path / "models"), name=name, ports={"api": port}
    )
    launch.write(deployment, place)
    launch.make_folders(deployment, place)
    with pytest.raises(launch.NotHealthy) as caught:
        launch.up(engine, deployment, place, Silent(), 60)
    assert "model files of v2 cannot be used" in (caught.value.why or "")
    assert the_container(client, name).status == "exited"


def test_a_port_that_is_taken(image: str, place: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = deploy(image, place, port, "--cpu", "--models", str(put_models(tmp_path / "models")))
    assert done.code == 2 and f"--port api={port + 1}" in done.err


def test_the_smoke(image: str, client: DockerClient) -> None:
    done = torchpair("check", image, "--smoke", "--json")
    assert done.code == 0, done.out + done.err
    cases = json.loads(done.out)["cases"]
    names = {case["name"] for case in cases}
    assert len(cases) == 1 + 48 + 9 + 1 and not [case for case in cases if case["reason"]]
    for kind in smoke.FORMATS:
        for method in ("GET", "POST"):
            assert {f"{method} {kind}, streaming_mode {mode}" for mode in ("0", "3", "false", "true")} <= names


def test_the_smoke_hears_what_is_wrong(build: Callable[..., str], tmp_path: Path) -> None:
    """A server that sends silence as aac, and one that takes every request for good."""
    code = tmp_path / "code"
    shutil.copytree(CODE, code)
    text = (code / "api_v2.py").read_text()
    text = text.replace("input=samples.tobytes()", "input=(samples * 0).tobytes()")
    text = re.sub(r'return "text_split_method is not supported"', "pass", text)
    (code / "api_v2.py").write_text(text)
    done = torchpair("check", build(code, "torchpair-test:stand-in-broken"), "--smoke", "--json")
    assert done.code == 1, done.out + done.err
    wrong = {case["name"]: case["reason"] for case in json.loads(done.out)["cases"] if case["reason"]}
    assert {name for name in wrong if "aac" in name} == {
        f"{method} aac, streaming_mode {mode}" for method in ("GET", "POST") for mode in (0, 1, 2, 3, "false", "true")
    }
    assert "its level" in wrong["POST aac, streaming_mode 0"]
    assert "answered with 200" in wrong["an unknown way of splitting"] and len(wrong) == 13


def test_the_smoke_of_what_is_no_such_image(reports: dict[str, dict[str, Any]]) -> None:
    done = torchpair("check", reports[EIGHT]["image"], "--smoke")
    assert done.code == 3 and "gave no answer" in done.err
