"""engine.py, dockerd.py and apt.py without an engine: decisions over text, and the few effects against fakes."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from torchpair import apt, dockerd, engine
from torchpair.errors import EngineError
from torchpair.suite import UBUNTU

TARGETS = """\
MetaKey: contrib/binary-amd64/Packages
Repo-URI: https://other.example.org/contrib/
Created-By: Packages
Origin: Debian
Codename: bookworm
Component: contrib

MetaKey: main/binary-amd64/Packages
Repo-URI: https://vendor.example.org/
Created-By: Packages
Origin: Vendor
Codename: bookworm
Component: main

MetaKey: main/i18n/Translation-en
Repo-URI: https://other.example.org/translations/
Created-By: Translations
Origin: Debian
Codename: bookworm
Component: main

MetaKey: main/binary-amd64/Packages
Description: http://mirror.example.org/debian bookworm/main amd64 Packages
Repo-URI: http://mirror.example.org/debian/
Created-By: Packages
Origin: Debian
Codename: bookworm
Component: main

MetaKey: main/binary-amd64/Packages
Repo-URI: http://mirror.example.org/debian-security/
Created-By: Packages
Origin: Debian
Codename: bookworm-security
Component: main
"""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of its own under tmp_path: no engine, no docker, nothing in the environment."""
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"):
        monkeypatch.delenv(name, raising=False)
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    monkeypatch.setenv("PATH", f"{bin_}:/usr/bin:/bin")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "config"))
    for name, path in (("STATE", "state"), ("SOCKET", "docker.sock")):
        for module in (engine, dockerd):
            monkeypatch.setattr(module, name, tmp_path / path)
    for name in ("RUN", "PLUGINS"):
        monkeypatch.setattr(dockerd, name, tmp_path / name.lower())
    monkeypatch.setattr(dockerd, "BIN", tmp_path / "local-bin")
    monkeypatch.setattr(engine, "SYSTEM_PLUGINS", (tmp_path / "plugins",))
    (tmp_path / "state").mkdir()
    (tmp_path / "run").mkdir()
    return tmp_path


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def answering(machine: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """An engine that answers /version with what is put into the dict, at DOCKER_HOST."""
    said: dict[str, Any] = {"Version": "26.1.5", "ApiVersion": "1.45", "MinAPIVersion": "1.24"}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(said).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{server.server_port}")
    yield said
    server.shutdown()
    server.server_close()


# ---- text -------------------------------------------------------------------------------------------------------


def test_os_release_takes_quotes_off_and_skips_comments() -> None:
    text = "# ID=wrong\nID=debian\nVERSION_ID=\"12\"\nNAME='A = B'\n\nbroken\n"
    assert apt.os_release(text) == {"ID": "debian", "VERSION_ID": "12", "NAME": "A = B"}


@pytest.mark.parametrize(
    ("os_id", "version", "kind", "packages"),
    [
        ("debian", "12", "unpack", {"runc", "iptables"}),
        ("debian", "13", "install", {"docker.io", "docker-cli", "docker-buildx", "docker-compose", "iptables"}),
        ("debian", "14", "install", {"docker.io", "docker-cli", "docker-buildx", "docker-compose", "iptables"}),
        ("debian", "", "install", {"docker.io", "docker-cli", "docker-buildx", "docker-compose", "iptables"}),
        ("ubuntu", "22.04", "install", {"docker.io", "docker-buildx", "docker-compose-v2", "iptables"}),
        ("ubuntu", "25.10", "install", {"docker.io", "docker-buildx", "docker-compose-v2", "iptables"}),
        ("debian", "11", "refuse", set()),
        ("ubuntu", "20.04", "refuse", set()),
        ("fedora", "42", "refuse", set()),
        ("", "", "refuse", set()),
    ],
)
def test_plan_for_each_system(os_id: str, version: str, kind: str, packages: set[str]) -> None:
    plan = dockerd.plan(os_id, version, is_root=True)
    assert (plan.kind, set(plan.packages)) == (kind, packages)


@pytest.mark.parametrize("os_id", ["debian", "fedora"])
def test_plan_runs_a_dockerd_that_is_there_on_any_system(os_id: str) -> None:
    plan = dockerd.plan(os_id, "12", is_root=True, dockerd="/opt/dockerd")
    assert plan.kind == "run"
    assert "/opt/dockerd" in plan.says[0]


def test_plan_says_in_two_lines_what_and_where() -> None:
    for version in ("12", "13"):
        says = dockerd.plan("debian", version, is_root=True).says
        assert len(says) == 2
        text = " ".join(says)
        assert str(dockerd.STATE) in text
        assert str(dockerd.SOCKET) in text


@pytest.mark.parametrize(
    ("plan", "why"),
    [
        (dockerd.plan("debian", "12", is_root=False, dockerd="/usr/sbin/dockerd"), "root"),
        (dockerd.plan("fedora", "42", is_root=True), "fedora 42"),
        (dockerd.plan("debian", "12", is_root=True, may_mount=False), "mount"),
    ],
)
def test_refusals_say_why_and_what_to_do(plan: dockerd.StartPlan, why: str) -> None:
    assert plan.kind == "refuse"
    assert why in plan.why
    assert "DOCKER_HOST" in plan.remedy
    assert plan.says == ()


def test_mirror_is_debians_own_main_archive() -> None:
    expected = apt.Mirror("http://mirror.example.org/debian", "http://mirror.example.org/debian-security")
    assert apt.mirror(TARGETS, "bookworm") == expected
    assert apt.mirror(TARGETS.partition("bookworm-security")[0], "bookworm") == apt.Mirror(expected.main)
    assert apt.mirror(TARGETS, "trixie") is None
    assert apt.mirror("", "bookworm") is None


def test_mirror_of_ubuntu_goes_by_suite() -> None:
    """Its updates and security updates have the codename of the release."""
    entry = "Repo-URI: {}\nCreated-By: Packages\nOrigin: {}\nSuite: {}\nCodename: noble\nComponent: main\n"
    targets = "\n".join(
        entry.format(*fields)
        for fields in (
            ("http://vendor.example.org/", "Vendor", "noble"),
            ("http://updates.example.org/ubuntu/", "Ubuntu", "noble-updates"),
            ("http://security.example.org/ubuntu/", "Ubuntu", "noble-security"),
            ("http://mirror.example.org/ubuntu/", "Ubuntu", "noble"),
        )
    )
    expected = apt.Mirror("http://mirror.example.org/ubuntu", "http://security.example.org/ubuntu")
    assert apt.mirror(targets, "noble", UBUNTU) == expected
    assert apt.mirror(targets, "jammy", UBUNTU) is None
    assert apt.mirror(targets, "noble") is None


def test_mirror_is_refreshed_once_when_apt_has_no_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def run(argv: list[str], **_: object) -> str:
        calls.append(argv[-1])
        return TARGETS if "update" in calls else ""

    monkeypatch.setattr(apt, "run", run)
    assert apt.machine_mirror("bookworm").main == "http://mirror.example.org/debian"
    assert calls == ["indextargets", "update", "indextargets"]
    with pytest.raises(EngineError, match="no Debian mirror for trixie"):
        apt.machine_mirror("trixie")


def test_dockerd_flags_leave_to_daemon_json_what_it_sets() -> None:
    every = " ".join(dockerd.dockerd_flags({}))
    for flag in ("--host=", "--data-root=", "--exec-root=", "--pidfile=", "--storage-driver=overlay2"):
        assert flag in every
    fewer = dockerd.dockerd_flags({"data-root": "/data", "registry-mirrors": []})
    assert len(fewer) == len(dockerd.dockerd_flags({})) - 1
    assert not any("--data-root" in flag for flag in fewer)


def test_too_old() -> None:
    assert engine.too_old({"Version": "23.0.0", "ApiVersion": "1.42"}) is None
    assert engine.too_old({"Version": "29.1.0", "ApiVersion": "1.52"}) is None
    why = engine.too_old({"Version": "20.10.24", "ApiVersion": "1.41"})
    assert why is not None
    assert "20.10.24" in why
    assert engine.too_old({}) is not None


def test_may_mount_reads_the_capability() -> None:
    assert dockerd._may_mount("CapPrm:\t0\nCapEff:\t000001ffffffffff\n")
    assert dockerd._may_mount("CapEff:\t0000000000200000\n")
    assert not dockerd._may_mount("CapEff:\t000001ffffdfffff\n")
    assert not dockerd._may_mount("CapEff:\t00000000a80425fb\n")  # a container without --privileged


def test_remedies_for_a_dockerd_that_ended() -> None:
    assert "ext4" in dockerd.remedy_for("error initializing graphdriver: driver not supported: overlay2")
    assert "iptables" in dockerd.remedy_for("failed to register bridge driver: failed to create NAT chain: iptables")
    assert "ext4" not in dockerd.remedy_for("address already in use")


# ---- finding ----------------------------------------------------------------------------------------------------


def test_find_gives_the_engine_and_its_environment(
    machine: Path, answering: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    script(machine / "bin/docker", '[ "$1 $2" = "buildx version" ]')
    monkeypatch.setenv("KEPT", "yes")
    found = engine.find()
    assert found == engine.Engine(
        os.environ["DOCKER_HOST"], "26.1.5", str(machine / "bin/docker"), ("docker", "buildx")
    )
    monkeypatch.delenv("DOCKER_HOST")
    assert found.env()["DOCKER_HOST"] == found.host
    assert found.env()["KEPT"] == "yes"


def test_find_takes_the_plugin_itself_when_the_cli_does_not_know_it(machine: Path, answering: dict[str, Any]) -> None:
    script(machine / "bin/docker", "exit 1")
    plugin = script(machine / "plugins/docker-buildx", '[ "$1" = version ]')
    found = engine.find()
    assert found is not None
    assert found.buildx == (str(plugin),)


def test_find_refuses_an_engine_without_buildx(machine: Path, answering: dict[str, Any]) -> None:
    script(machine / "bin/docker", "exit 1")
    with pytest.raises(EngineError, match="buildx") as caught:
        engine.find()
    assert "docker-buildx-plugin" in (caught.value.remedy or "")


def test_find_refuses_an_engine_that_is_too_old(answering: dict[str, Any]) -> None:
    answering.update(Version="20.10.24", ApiVersion="1.41")
    with pytest.raises(EngineError, match="too old") as caught:
        engine.find()
    assert caught.value.remedy


def test_no_engine_at_the_standard_socket_is_none(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert engine.find() is None
    dockerd.SOCKET.touch()  # what kill -9 leaves
    assert engine.find() is None
    monkeypatch.setenv("DOCKER_HOST", f"unix://{dockerd.SOCKET}")
    assert engine.find() is None


def test_an_engine_that_the_user_named_is_not_replaced(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{machine}/elsewhere.sock")
    with pytest.raises(EngineError, match="DOCKER_HOST") as caught:
        engine.find()
    assert caught.value.where == f"unix://{machine}/elsewhere.sock"


def test_find_follows_the_context_of_the_docker_cli(
    machine: Path, answering: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    host = os.environ["DOCKER_HOST"]
    monkeypatch.delenv("DOCKER_HOST")
    script(machine / "bin/docker", "exit 0")
    # The CLI names the folder by the sha256 of the context's name.
    meta = machine / "config/contexts/meta" / hashlib.sha256(b"far").hexdigest() / "meta.json"
    meta.parent.mkdir(parents=True)
    meta.write_text(json.dumps({"Name": "far", "Metadata": {}, "Endpoints": {"docker": {"Host": host}}}))
    (machine / "config/config.json").write_text(json.dumps({"currentContext": "far"}))
    found = engine.find()
    assert found is not None
    assert found.host == host
    monkeypatch.setenv("DOCKER_CONTEXT", "missing")
    with pytest.raises(EngineError, match="no docker context missing"):
        engine.find()


# ---- starting and stopping --------------------------------------------------------------------------------------


def test_ensure_refuses_before_it_touches_anything(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    said: list[str] = []
    with pytest.raises(EngineError, match="no Docker engine answers") as caught:
        dockerd.ensure(said.append)
    assert engine.INSTALL_PAGE in (caught.value.remedy or "")
    assert said == []
    assert list(dockerd.STATE.iterdir()) == []


def test_ensure_gives_the_running_engine_without_a_word(machine: Path, answering: dict[str, Any]) -> None:
    script(machine / "bin/docker", "exit 0")
    said: list[str] = []
    assert dockerd.ensure(said.append).version == "26.1.5"
    assert said == []


def test_ensure_starts_no_second_engine_beside_the_one_that_the_package_started(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    up = engine.Engine(f"unix://{dockerd.SOCKET}", "26.1.5", None, ("docker", "buildx"))
    installed: list[str] = []
    monkeypatch.setattr(dockerd, "find", lambda: up if installed else None)
    monkeypatch.setattr(dockerd, "plan", lambda *_, **__: dockerd.StartPlan("install", ("docker.io",), ("will", "do")))
    monkeypatch.setattr(dockerd, "apt_install", installed.extend)
    monkeypatch.setattr(dockerd, "_answers", lambda: True)
    monkeypatch.setattr(dockerd, "_start", lambda: pytest.fail("there is one"))
    said: list[str] = []
    assert dockerd.ensure(said.append) is up
    assert installed == ["docker.io"]
    assert said[:2] == ["will", "do"]


def test_a_broken_context_is_a_plain_error(machine: Path) -> None:
    meta = machine / "config/contexts/meta" / hashlib.sha256(b"far").hexdigest() / "meta.json"
    meta.parent.mkdir(parents=True)
    meta.write_text("{")
    (machine / "config/config.json").write_text(json.dumps({"currentContext": "far"}))
    with pytest.raises(EngineError, match="context cannot be read"):
        engine.find()


def test_a_dockerd_that_ends_is_quoted_from_this_start_on(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (dockerd.STATE / "dockerd.log").write_text("failed yesterday\n")
    program = script(
        machine / "dockerd",
        'echo "level=info msg=progress"\necho "failed to start daemon: driver not supported: overlay2" >&2\nexit 1',
    )
    monkeypatch.setattr(dockerd, "_dockerd", lambda: program)
    began = time.monotonic()
    with pytest.raises(EngineError) as caught:
        dockerd._start()
    assert time.monotonic() - began < 2  # it is not waited for once it has ended
    assert caught.value.why == "failed to start daemon: driver not supported: overlay2"
    assert "ext4" in (caught.value.remedy or "")


def test_dockerd_is_taken_only_when_new_enough(machine: Path) -> None:
    own = script(dockerd.STATE / "engine/usr/sbin/dockerd", "echo 'Docker version 26.1.5+dfsg1, build a72d7cd'")
    script(machine / "bin/dockerd", "echo 'Docker version 20.10.24+dfsg1, build 297e128'")
    if not Path("/usr/sbin/dockerd").exists():
        assert dockerd._dockerd() == own
    script(machine / "bin/dockerd", "echo 'Docker version 28.0.1, build 068a01e'")
    assert dockerd._dockerd() == machine / "bin/dockerd"


@pytest.mark.parametrize("content", ["", "not a number", "999999999", str(os.getpid())])
def test_a_stale_pidfile_is_removed(machine: Path, content: str) -> None:
    pidfile = machine / "dockerd.pid"
    pidfile.write_text(content)
    assert dockerd._running(pidfile, "--pidfile=of-another-world") is None
    assert not pidfile.exists()


def test_stop_ends_only_the_dockerd_of_its_pidfile(machine: Path) -> None:
    said: list[str] = []
    pidfile = dockerd.RUN / "dockerd.pid"
    other = subprocess.Popen(["sleep", "60"])
    ours = subprocess.Popen(
        ["sh", "-c", "echo up; read x", "dockerd", f"--pidfile={pidfile}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert ours.stdout is not None
        ours.stdout.readline()  # the command line is there only after exec
        pidfile.write_text(str(other.pid))
        assert dockerd.stop(said.append) is False
        assert other.poll() is None
        pidfile.write_text(str(ours.pid))
        assert dockerd.stop(said.append) is True
        assert ours.wait(timeout=5) == -15
    finally:
        other.kill()
        ours.kill()
        other.wait()
        ours.communicate()
    assert str(ours.pid) in said[-1]


def test_the_cli_is_linked_only_where_there_is_none(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = dockerd.STATE / "engine/usr"
    for name in ("bin/docker", "libexec/docker/cli-plugins/docker-buildx", "libexec/docker/cli-plugins/docker-compose"):
        script(own / name, "exit 0")
    monkeypatch.setenv("PATH", str(machine / "bin"))
    script(dockerd.PLUGINS / "docker-compose", "exit 0")
    dockerd.PLUGINS.joinpath("docker-buildx").symlink_to(machine / "gone")
    dockerd._link_cli()
    assert (dockerd.BIN / "docker").resolve() == own / "bin/docker"
    assert (dockerd.PLUGINS / "docker-buildx").resolve() == own / "libexec/docker/cli-plugins/docker-buildx"
    assert not (dockerd.PLUGINS / "docker-compose").is_symlink()
    (dockerd.BIN / "docker").unlink()
    script(machine / "bin/docker", "exit 0")
    dockerd._link_cli()
    assert not (dockerd.BIN / "docker").exists()
