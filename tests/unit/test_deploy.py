"""Deployment -> compose.yaml, .env, Kubernetes: docker compose and Kubernetes' own schemas have the last word."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from click.testing import CliRunner

from torchpair import deploy, launch, readiness
from torchpair.cli import cli
from torchpair.deploy import Deployment
from torchpair.diagnose.evidence import Gpu, Host
from torchpair.errors import TorchpairError
from torchpair.launch import NotReady, State
from torchpair.readiness import Finding

ID = "sha256:" + "a" * 64
ROOT = Path(__file__).resolve().parents[2]


def make(**more: Any) -> Deployment:
    return Deployment(**{"image": ID, "tag": "torchpair-gpt-sovits:api-2.8.0", **more})


def variants() -> list[Any]:
    found = []
    for flavour in deploy.FLAVOURS:
        for gpu, driver in ((False, "nvidia"), (True, "nvidia"), (True, "cdi")):
            found.append(
                pytest.param(make(flavour=flavour, gpu=gpu, gpu_driver=driver), id=f"{flavour}-{gpu}-{driver}")
            )
    return found


def written(deployment: Deployment, folder: Path) -> dict[str, str]:
    launch.write(deployment, folder)
    return {path.name: path.read_text() for path in folder.iterdir()}


def config(folder: Path, *more: str) -> dict[str, Any]:
    """What docker compose makes of the file; compose's own schema decides."""
    docker = shutil.which("docker")
    assert docker, "docker compose is needed: torchpair engine start"
    done = subprocess.run(
        [docker, "compose", "--profile", "*", *more, "config", "--format", "json"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "variable is not set" not in done.stderr
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize("deployment", variants())
def test_compose_accepts_it(deployment: Deployment, tmp_path: Path) -> None:
    written(deployment, tmp_path)
    services = config(tmp_path)["services"]
    assert set(services) == ({"api"} if deployment.flavour == "api" else {"api", "webui"})
    for name, service in services.items():
        assert service["image"] == ID
        assert service["restart"] == "unless-stopped" and service["read_only"] and service["cap_drop"] == ["ALL"]
        assert service["user"] == "10001:10001"
        assert service["command"] == ["start", name]
        assert service["healthcheck"]["test"][-2:] == ["health", name]
        assert service["healthcheck"]["start_period"] == "10m0s"
        assert service["environment"]["SOVITS_DEVICE"] == ("gpu" if deployment.gpu else "cpu")
        assert {port["host_ip"] for port in service["ports"]} == {"127.0.0.1"}
        mounts = {volume["target"]: volume for volume in service["volumes"]}
        assert mounts["/models"]["read_only"] and "read_only" not in mounts["/data"]
        reserved = service.get("deploy", {}).get("resources", {}).get("reservations", {}).get("devices")
        assert bool(reserved) == deployment.gpu
        if reserved:
            assert reserved[0]["capabilities"] == ["gpu"] and reserved[0]["driver"] == deployment.gpu_driver


@pytest.mark.parametrize("deployment", variants())
@pytest.mark.parametrize("kubernetes", ["1.29", "1.31", "1.33"])
def test_kubernetes_schemas_accept_it(deployment: Deployment, kubernetes: str) -> None:
    documents = [doc for doc in yaml.safe_load_all(deploy.files(deployment)[deploy.KUBERNETES]) if doc]
    for document in documents:
        kubernetes_validate.validate(document, kubernetes, strict=True)
    kinds = [document["kind"] for document in documents]
    assert kinds.count("Deployment") == (1 if deployment.flavour == "api" else 2)
    for document in documents:
        if document["kind"] == "Service":
            assert document["spec"]["type"] == "ClusterIP"
        if document["kind"] != "Deployment":
            continue
        pod = document["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        role = container["name"]
        assert pod["securityContext"]["runAsNonRoot"] and container["securityContext"]["readOnlyRootFilesystem"]
        assert container["resources"]["limits"].get("nvidia.com/gpu") == ("1" if deployment.gpu else None)
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert container[probe]["exec"]["command"] == deploy.health_command(role)
        assert {"medium": "Memory", "sizeLimit": "1Gi" if role == "api" else "16Gi"} in [
            volume.get("emptyDir") for volume in pod["volumes"]
        ]
    policy = next(document for document in documents if document["kind"] == "NetworkPolicy")
    assert policy["spec"]["ingress"][0]["from"] == [{"podSelector": {"matchLabels": {"gpt-sovits-client": "true"}}}]


def test_a_wrong_manifest_would_be_refused() -> None:
    (first, *_) = [doc for doc in yaml.safe_load_all(deploy.files(make())[deploy.KUBERNETES]) if doc]
    first["spec"]["accesModes"] = first["spec"].pop("accessModes")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(first, "1.31", strict=True)


def test_kubernetes_gets_a_name_that_can_be_pulled() -> None:
    assert f'image: "{make().tag}"' in deploy.files(make())[deploy.KUBERNETES]
    digest = "registry.example/tts@sha256:" + "b" * 64
    assert f'image: "{digest}"' in deploy.files(make(image=digest))[deploy.KUBERNETES]


def test_settings_reach_the_containers(tmp_path: Path) -> None:
    deployment = make(
        flavour="full", version="v2Pro", ports={"api": 19880, "main": 8080}, address="0.0.0.0", user="1000:1001",
        models="/srv/my models", data="/srv/data", name="tts-2",
    )  # fmt: skip
    written(deployment, tmp_path)
    found = config(tmp_path)
    assert found["name"] == "tts-2"
    api, webui = found["services"]["api"], found["services"]["webui"]
    assert [(port["published"], port["target"], port["host_ip"]) for port in api["ports"]] == [
        ("19880", 9880, "0.0.0.0")
    ]
    assert {port["published"] for port in webui["ports"]} == {"8080", "9872", "9873", "9871"}
    assert api["environment"]["SOVITS_VERSION"] == "v2Pro" and api["user"] == "1000:1001"
    assert {volume["source"] for volume in api["volumes"]} == {"/srv/my models", "/srv/data"}
    assert (api["shm_size"], webui["shm_size"]) == (str(1 << 30), str(16 << 30))


def settings(text: str) -> dict[str, str]:
    """The settings of a .env."""
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {key: value.strip("'") for key, value in pairs}


def test_the_env_file_is_what_a_user_edits(tmp_path: Path) -> None:
    written(make(), tmp_path)
    env = tmp_path / ".env"
    env.write_text(env.read_text().replace("SOVITS_PORT_API=9880", "SOVITS_PORT_API=7777"))
    assert config(tmp_path)["services"]["api"]["ports"][0]["published"] == "7777"
    launch.write(make(), tmp_path)
    assert "7777" in (tmp_path / ".env.old").read_text(), "an edited .env is not lost"
    assert settings(env.read_text())["SOVITS_PORT_API"] == "9880"


def test_every_setting_of_compose_is_in_the_env_file() -> None:
    for flavour in deploy.FLAVOURS:
        for gpu in (False, True):
            texts = deploy.files(make(flavour=flavour, gpu=gpu))
            used = set(re.findall(r"\$\{(\w+)", texts[deploy.COMPOSE])) - {"SOVITS_LANGUAGE"}
            assert used <= set(settings(texts[deploy.ENV])), flavour


def test_only_the_api_starts_by_default(tmp_path: Path) -> None:
    assert settings(deploy.files(make(flavour="full"))[deploy.ENV])["COMPOSE_PROFILES"] == "api"


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({"name": "My App"}, "cannot be a name"),
        ({"user": "root"}, "is no user"),
        ({"version": "v9"}, "no version"),
        ({"ports": {"api": 0}}, "ports have to be"),
        ({"ports": {"api": 9874}}, "ports have to be"),
        ({"ports": {"apo": 1}}, "no port is called"),
        ({"models": "a\nSOVITS_IMAGE=evil"}, "cannot be written"),
        ({"data": "it's"}, "cannot be written"),
        ({"data": "$HOME"}, "cannot be written"),
    ],
)
def test_what_cannot_be_written_down_is_refused(more: dict[str, Any], word: str) -> None:
    with pytest.raises(TorchpairError, match=word):
        make(**more)


def test_urls() -> None:
    assert deploy.url(make()) == "http://127.0.0.1:9880"
    assert deploy.url(make(address="0.0.0.0", ports={"api": 80})) == "http://127.0.0.1:80"
    assert deploy.url(make(address="::1")) == "http://[::1]:9880"
    assert "127.0.0.1:9880/tts" in deploy.curl(make())
    body = re.search(r"-d '(.*?)'", deploy.curl(make()))
    assert body and json.loads(body[1])["ref_audio_path"].startswith("/data/reference/")


def test_dry_run_writes_and_shows_and_starts_nothing(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        cli,
        ["deploy", "gpt-sovits", "--dry-run", "--cpu", "--image", "some/tts:1", "--output", str(tmp_path / "out"),
         "--port", "9990", "--matrix", str(ROOT / "matrix.yaml")],
        catch_exceptions=False,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"compose.yaml", ".env", "kubernetes.yaml"}
    assert "SOVITS_PORT_API=9990" in done.output and "kind: NetworkPolicy" in done.output
    assert "Nothing was started." in done.output


# ---- before the start ----------------------------------------------------------------------------------------------


def wrong(findings: list[Finding]) -> str:
    return "\n".join(str(finding) for finding in findings if finding.problem)


def test_a_gpu_that_will_do() -> None:
    seen = Host("570.124.06", (Gpu("RTX 5090", "12.0"),), True, "the NVIDIA runtime")
    assert wrong(readiness.gpu_findings(seen, "525.60.13", "8.0 9.0 12.0")) == ""


@pytest.mark.parametrize(
    ("seen", "sm", "word"),
    [
        (Host(), "8.0", "none answers"),
        (Host("470.10", (Gpu("A100", "8.0"),), True), "8.0", "needs 525.60.13"),
        (Host("570.1", (Gpu("GTX 1080", "6.1"),), True), "7.0 8.0", "no code for 6.1"),
        (Host("570.1", (Gpu("A100", "8.0"),), False, "no NVIDIA runtime"), "8.0", "no NVIDIA runtime"),
    ],
)
def test_a_gpu_that_will_not_do(seen: Host, sm: str, word: str) -> None:
    assert word in wrong(readiness.gpu_findings(seen, "525.60.13", sm))


def test_a_port_in_use_is_named_with_another() -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        finding = readiness.port_finding("127.0.0.1", "api", port)
        assert finding.problem and f"--port api={port + 1}" in finding.remedy
    assert readiness.port_finding("127.0.0.1", "api", port).problem is None


def test_models_that_are_missing_are_named_with_the_command(tmp_path: Path) -> None:
    finding = readiness.models_finding(tmp_path, make())
    assert finding.problem and "chinese-hubert-base/config.json: missing" in finding.problem
    assert "and 10 more" in finding.problem
    assert f"fetch --version v2 --models {tmp_path}" in finding.remedy
    with pytest.raises(NotReady, match="1 thing to settle"):
        readiness.refuse([Finding("fine"), finding])
    readiness.refuse([Finding("fine")])


def test_a_data_folder_of_somebody_else(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    owner = tmp_path.stat().st_uid
    finding = readiness._writable(tmp_path, f"{owner + 4711}:{owner + 4711}")
    assert finding.problem and f"--user {owner}:" in finding.remedy
    assert readiness._writable(tmp_path, f"{owner}:{owner}").problem is None


def test_states() -> None:
    attributes = {
        "Id": "c", "Image": "i", "RestartCount": 2,
        "Config": {"Labels": {launch.SERVICE: "api"}},
        "State": {"Status": "running", "Health": {"Status": "healthy"}, "ExitCode": 0},
    }  # fmt: skip
    assert launch._state(attributes) == State("api", "running", "healthy", 0, 2, "i", "c")
    assert launch._state(attributes).healthy
    assert not launch._state({**attributes, "State": {"Status": "running", "Health": {"Status": "starting"}}}).healthy
    assert not launch._state({"State": {"Status": "running"}}).healthy, "no health is not health"


def test_no_deployment_there(tmp_path: Path) -> None:
    with pytest.raises(NotReady, match="no deployment"):
        launch.name_of(tmp_path)
    launch.write(make(name="mine"), tmp_path)
    assert launch.name_of(tmp_path) == "mine"
