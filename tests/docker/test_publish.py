"""Publishing into Debian's docker-registry on 127.0.0.1: what is refused, what is ended in the middle, what moves.

Small images stand for rows in all tests but the last, which sends the default ones.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import docker.errors
import pytest
from docker import DockerClient

from torchpair import lock as locks
from torchpair.engine import Engine
from torchpair.lock import Lock, Locked
from torchpair.report import Report
from torchpair.spec import Spec
from torchpair.workspace import Workspace

from .conftest import EIGHT, FOURTEEN, Run, torchpair
from .registries import LOGIN, Server, build, failed, made_up, save

OLD, NEW = "torch2.4.0-cu121-py311", "torch2.4.1-cu121-py311"
FULL = {OLD: "2.4.0-cu121-py311-debian12", NEW: "2.4.1-cu121-py311-debian12"}
DAY = "20261121"
MB = 1_000_000
ARTIFACTS = {
    "application/vnd.torchpair.report.v1+json", "application/vnd.torchpair.lock.v1", "application/vnd.cyclonedx+json",
    "application/vnd.in-toto+json",
}  # fmt: skip


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path / "registry").start()
    yield made
    made.stop(signal.SIGKILL)
    shutil.rmtree(made.data, ignore_errors=True)


@dataclass
class Rows:
    """A folder with a matrix of two small rows."""

    workspace: Workspace
    specs: dict[str, Spec]
    client: DockerClient
    made: set[str] = field(default_factory=set)

    def make(self, name: str, megabytes: float = 1, labels: dict[str, str] | None = None, **report: Any) -> Report:
        """Image and report of a row."""
        context = self.workspace.folder / "images" / name
        layers = {"cuda": MB // 2, "torch": int(megabytes * MB)}
        image_id = build(self.specs[name], context, layers, labels)
        self.made.add(image_id)
        shutil.rmtree(context)
        lock = self.workspace.lock(self.specs[name])
        assert lock
        made = replace(made_up(lock, self.specs[name], image_id), **report)
        save(self.workspace, made)
        return made

    def publish(self, server: Server, *arguments: str) -> Run:
        return torchpair("publish", "-r", server.host, "--base", "local", *arguments, cwd=self.workspace.folder)


def small_rows(folder: Path, client: DockerClient) -> Rows:
    """Two rows in a new folder, their locks made up; no images yet."""
    folder.mkdir()
    (folder / "matrix.yaml").write_text(
        'images:\n  - {torch: "2.4.0", cuda: "12.1", python: "3.11", default: true}\n'
        '  - {torch: "2.4.1", cuda: "12.1", python: "3.11"}\n'
    )
    workspace = Workspace(folder / "matrix.yaml")
    specs = {spec.name: spec for spec in workspace.specs(workspace.rows, "local")}
    for name, spec in specs.items():
        wheels = [
            Locked(package, version, "ab" * 32, f"{package}-{version}-py3-none-any.whl", None)
            for package, version in (("numpy", "1.26.4"), ("torch", spec.torch), ("torchaudio", spec.torchaudio))
        ]
        path = locks.path_of(spec, workspace.locks)
        path.parent.mkdir(exist_ok=True)
        path.write_text(locks.text(name, Lock(locks.asked(spec), tuple(wheels))))
    return Rows(workspace, specs, client)


@pytest.fixture
def rows(engine: Engine, client: DockerClient, tmp_path: Path) -> Iterator[Rows]:
    made = small_rows(tmp_path / "rows", client)
    yield made
    for image_id in made.made:
        with suppress(docker.errors.ImageNotFound):
            client.images.remove(image_id, force=True)


def catalog(server: Server, *arguments: str) -> dict[str, Any]:
    done = torchpair("catalog", "-r", server.host, *arguments)
    assert done.code == 0, done.err
    found: dict[str, Any] = json.loads(done.out)
    return found


def test_publish_and_read_back(rows: Rows, server: Server, tmp_path: Path) -> None:
    report = rows.make(OLD)
    done = rows.publish(server)
    assert done.code == 0, done.out + done.err
    assert "NOT SIGNED: cosign is not installed" in done.out
    told = re.search(r": ([\d,]+) bytes compressed, ([\d,]+) sent", done.out)
    assert told and int(told[2].replace(",", "")) > int(told[1].replace(",", ""))  # the layers, and what goes along
    full, dated = FULL[OLD], f"{FULL[OLD]}-{DAY}"
    users = ["2.4-cu121", full, dated, "cu121", "latest"]
    digest, manifest = server.manifest("torchpair", full)
    assert {server.manifest("torchpair", tag)[0] for tag in users} == {digest}
    assert manifest["config"]["digest"] == report.image_id
    _, index = server.manifest("torchpair", digest.replace(":", "-"))
    assert {item["artifactType"] for item in index["manifests"]} == ARTIFACTS
    for item in index["manifests"]:
        _, artifact = server.manifest("torchpair", item["digest"])
        assert artifact["subject"]["digest"] == digest
        (layer,) = artifact["layers"]
        data = (
            server.data / "docker/registry/v2/blobs/sha256" / layer["digest"][7:9] / layer["digest"][7:] / "data"
        ).read_bytes()
        if item["artifactType"] == "application/vnd.cyclonedx+json":
            bom = json.loads(data)
            names = {part["purl"].partition("@")[0] for part in bom["components"]}
            assert bom["bomFormat"] == "CycloneDX" and {"pkg:pypi/torch", "pkg:deb/debian/libc6"} <= names
        if item["artifactType"] == "application/vnd.in-toto+json":
            assert json.loads(data)["subject"][0]["digest"] == {"sha256": digest[7:]}
        assert str(tmp_path) not in data.decode(), "a path of whoever published"
    assert server.missing("torchpair") == []
    assert not rows.client.images.list(f"{server.host}/torchpair"), "the engine keeps no tag of the registry's"

    # A second publish sends nothing and moves nothing.
    files = {path: path.stat().st_mtime_ns for path in (server.data / "docker/registry/v2/blobs").rglob("data")}
    again = rows.publish(server)
    assert again.code == 0, again.out + again.err
    assert ", 0 sent" in again.out and "Every tag was there already." in again.out
    assert {path: path.stat().st_mtime_ns for path in (server.data / "docker/registry/v2/blobs").rglob("data")} == files

    found = catalog(server)
    (image,) = found["images"]
    assert found["repository"] == f"{server.host}/torchpair"
    assert (image["digest"], image["tags"], image["tag"]) == (digest, sorted(users), full)
    assert image["size"] == sum(layer["size"] for layer in manifest["layers"])
    assert [layer["name"] for layer in image["layers"]] == ["base", "cuda", "torch"]
    assert (image["verdict"], image["checked"], image["passed"]) == ("healthy", report.started, report.passed)
    assert (image["gpu_checked"], image["skipped_gpu"]) == (False, report.skipped_gpu)

    # As a file: agrees, until somebody writes in it.
    file = tmp_path / "catalog.json"
    assert torchpair("catalog", "-r", server.host, "-o", str(file)).code == 0
    assert torchpair("catalog", "--verify", str(file)).code == 0
    text = file.read_text()
    file.write_text(text.replace(digest, "sha256:" + "0" * 64))
    edited = torchpair("catalog", "--verify", str(file))
    assert edited.code == 1 and f"{full}: digest: the catalog says" in edited.out
    file.write_text(text.replace('"healthy"', '"fine"'))
    broken = torchpair("catalog", "--verify", str(file))
    assert broken.code == 2 and f"{file}.images[0].verdict: is 'fine'" in broken.err


def test_tags_move_forward_only(rows: Rows, server: Server) -> None:
    rows.make(OLD)
    rows.make(NEW)
    assert rows.publish(server, NEW).code == 0
    new, _ = server.manifest("torchpair", FULL[NEW])
    done = rows.publish(server, OLD)
    assert done.code == 0, done.err
    old, _ = server.manifest("torchpair", FULL[OLD])
    rolling = ("latest", "cu121", "2.4-cu121")
    assert {server.manifest("torchpair", tag)[0] for tag in rolling} == {new} and old != new
    forced = rows.publish(server, OLD, "--force")
    assert forced.code == 0, forced.err
    assert {server.manifest("torchpair", tag)[0] for tag in rolling} == {old}
    # Built anew and proven earlier than what is there: the full tag stays, and the dated one in any case.
    rows.make(OLD, started="2026-11-20T12:00:00+00:00")
    refused = rows.publish(server, OLD)
    assert refused.code == 2 and "exists already, with another digest; nothing was moved" in refused.err
    assert server.manifest("torchpair", FULL[OLD])[0] == old
    # Proven later, on the same day: forward; the dated tag of that day stays where it was.
    rows.make(OLD, started="2026-11-21T13:00:00+00:00")
    assert rows.publish(server, OLD).code == 0
    later, _ = server.manifest("torchpair", FULL[OLD])
    assert later != old
    assert server.manifest("torchpair", f"{FULL[OLD]}-{DAY}")[0] == old
    assert server.manifest("torchpair", f"{FULL[OLD]}-{DAY}.2")[0] == later
    assert server.missing("torchpair") == []
    assert [image["tag"] for image in catalog(server)["images"]] == [FULL[NEW], FULL[OLD]]


@pytest.mark.parametrize(
    ("label", "value", "words"),
    [
        ("torchpair.torch", "2.5.1", "torchpair.torch says 2.5.1, the running image 2.4.0"),
        ("torchpair.cuda", "12.4", "torchpair.cuda says 12.4, the running image 12.1"),
        ("torchpair.min-driver", "450.0", "torchpair.min-driver says 450.0, the row 525.60.13"),
        ("org.opencontainers.image.version", "2.5.1-cu121-py311-debian12", "the tag is 2.4.0-cu121-py311-debian12"),
    ],
)
def test_a_falsified_label(rows: Rows, server: Server, label: str, value: str, words: str) -> None:
    rows.make(OLD, labels={label: value})
    done = rows.publish(server)
    assert (done.code, done.out) == (1, "")
    assert "nothing was published" in done.err and words in done.err
    assert server.tags("torchpair") == []


def test_an_unhealthy_row_holds_all_others(rows: Rows, server: Server) -> None:
    rows.make(NEW)
    save(rows.workspace, failed(rows.make(OLD)))
    done = rows.publish(server, OLD, NEW)
    assert done.code == 1
    assert f"{OLD}: the report says unhealthy: dsp.lfilter" in done.err
    assert server.tags("torchpair") == []


def test_a_report_of_another_image(rows: Rows, server: Server) -> None:
    report = rows.make(OLD)
    rows.make(OLD)  # built anew since
    save(rows.workspace, report)
    done = rows.publish(server)
    assert done.code == 1 and "the report is of the image" in done.err
    assert server.tags("torchpair") == []


def below(folder: Path) -> dict[Path, int]:
    """The files below a folder that a registry is writing in, and their bytes; what goes away meanwhile is left out."""
    found = {}
    for name, _, files in os.walk(folder):  # os.walk passes over a folder that is gone, Path.rglob raises (Python 3.11)
        for file in files:
            with suppress(FileNotFoundError):
                found[Path(name, file)] = Path(name, file).stat().st_size
    return found


def begun(rows: Rows, server: Server) -> subprocess.Popen[str]:
    """A publish in a process of its own, in the middle of its push: one layer is there, another on its way."""
    argv = [sys.executable, "-m", "torchpair.cli", "publish", "-r", server.host, "--base", "local"]
    process = subprocess.Popen(
        argv,
        cwd=rows.workspace.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        stored = below(server.data)
        on_its_way = [path for path, size in stored.items() if path.match("_uploads/*/data") and size > 4 * MB]
        if on_its_way and any(path.match("_layers/sha256/*/link") for path in stored):
            time.sleep(1)  # until the engine has heard that the one layer is there
            return process
        time.sleep(0.01)
    raise AssertionError(f"no upload was seen: {process.communicate(timeout=60)}")


def test_the_registry_dies_between_two_blobs_and_stays_away(rows: Rows, server: Server) -> None:
    rows.make(OLD, megabytes=200)
    process = begun(rows, server)
    server.stop(signal.SIGKILL)
    out, err = process.communicate(timeout=400)
    assert process.returncode == 4, out + err
    assert "Traceback" not in err and "repeat the command" in err
    server.start()
    assert [tag for tag in server.tags("torchpair") if not tag.startswith("torchpair-incoming-")] == []
    assert server.missing("torchpair") == []
    done = rows.publish(server)
    assert done.code == 0, done.out + done.err
    assert len([tag for tag in server.tags("torchpair") if not tag.startswith(("torchpair-incoming-", "sha256-"))]) == 5
    assert server.missing("torchpair") == []
    (image,) = catalog(server)["images"]
    assert image["tag"] == FULL[OLD]
    sent = re.search(r"bytes sent in (\d+) of (\d+) layers", done.err)
    assert sent and 0 < int(sent[1]) < int(sent[2]), "what was there is not sent again"


def test_the_registry_dies_and_comes_back_during_a_push(rows: Rows, server: Server) -> None:
    rows.make(OLD, megabytes=200)
    process = begun(rows, server)
    server.stop(signal.SIGKILL)
    time.sleep(2)
    server.start()
    rows.client.images.remove(rows.specs[OLD].reference)  # what is being pushed is built anew meanwhile
    out, err = process.communicate(timeout=400)
    assert process.returncode == 0, out + err
    assert server.missing("torchpair") == []
    assert catalog(server)["images"][0]["tag"] == FULL[OLD]


def test_a_registry_that_is_read_only(rows: Rows, tmp_path: Path) -> None:
    rows.make(OLD)
    server = Server(tmp_path / "readonly", readonly=True).start()
    try:
        done = rows.publish(server)
        assert done.code == 4 and "the registry is read-only" in done.err, done.err
        assert server.tags("torchpair") == []
    finally:
        server.stop()


def test_a_registry_that_wants_a_login(rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows.make(OLD)
    users = tmp_path / "users"
    users.write_text(LOGIN + "\n")
    server = Server(tmp_path / "login", f"auth: {{htpasswd: {{realm: here, path: {users}}}}}\n").start()
    config = tmp_path / "docker"
    config.mkdir()
    monkeypatch.setenv("DOCKER_CONFIG", str(config))
    try:
        none = rows.publish(server)
        assert none.code == 4 and "wants a login" in none.err and f"docker login {server.host}" in none.err
        for password, code, words in (("wrong", 4, "refuses this login"), ("sound", 0, "")):
            login = {"auths": {server.host: {"auth": _base64(f"torch:{password}")}}}
            (config / "config.json").write_text(json.dumps(login))
            done = rows.publish(server)
            assert done.code == code and words in done.err, done.out + done.err
            assert password not in done.out + done.err
    finally:
        server.stop()


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_a_registry_that_is_not_there(rows: Rows) -> None:
    rows.make(OLD)
    done = torchpair("publish", "-r", "127.0.0.1:1", "--base", "local", cwd=rows.workspace.folder)
    assert done.code == 4 and "the registry does not answer" in done.err and "Connection refused" in done.err


def test_default_rows(reports: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    """The default images, about 6 GB compressed: pushed, read back, and pushed once more, which sends nothing."""
    server = Server(tmp_path / "registry").start()
    try:
        done = torchpair("publish", "-r", server.host, timeout=3600)
        assert done.code == 0, done.out + done.err
        assert server.missing("torchpair") == []
        images = {image["row"]: image for image in catalog(server)["images"]}
        assert set(images) == {EIGHT, FOURTEEN}
        for row, report in reports.items():
            _, manifest = server.manifest("torchpair", images[row]["tag"])
            assert manifest["config"]["digest"] == report["image_id"]
            assert images[row]["checked"] == report["started"]
        assert "latest" in images[FOURTEEN]["tags"]
        print(done.out, json.dumps({row: image["size"] for row, image in images.items()}))
        began = time.monotonic()
        again = torchpair("publish", "-r", server.host, timeout=3600)
        assert again.code == 0 and again.out.count(", 0 sent") == 2, again.out + again.err
        print(f"the second publish: {time.monotonic() - began:.1f} s")
    finally:
        server.stop()
        shutil.rmtree(server.data, ignore_errors=True)
