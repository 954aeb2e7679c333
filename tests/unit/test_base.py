"""base.py and debootstrap.py without an engine or a network: the root's texts, the tidying, the upload, the choice."""

from __future__ import annotations

import http.server
import io
import os
import socket
import ssl
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import docker.errors
import pytest

from torchpair import base, debootstrap
from torchpair.apt import Mirror
from torchpair.engine import Engine
from torchpair.errors import CommandError, EngineError, TorchpairError
from torchpair.facts import Facts
from torchpair.suite import DEBIAN, SUITES, UBUNTU, Suite

TRIXIE, JAMMY = SUITES["debian13"], SUITES["ubuntu22.04"]


class FakeImages:
    def __init__(self, held: set[str]) -> None:
        self.held = held

    def get(self, reference: str) -> Any:
        if reference not in self.held:
            raise docker.errors.ImageNotFound(reference)
        return type("Image", (), {"attrs": {"Size": 74_000_000}})


class FakeEngine:
    """Stands in for Engine and for the docker-py client it gives."""

    host = "fake"

    def __init__(self, *held: str, mirrors: tuple[str, ...] = (), answer: str = '{"status":"sha256:1"}') -> None:
        self.images = FakeImages(set(held))
        self.api = self
        self.mirrors, self.answer = mirrors, answer
        self.got = b""
        self.changes: list[str] = []

    def client(self, timeout: int = 60) -> FakeEngine:
        return self

    def close(self) -> None:
        pass

    def info(self) -> dict[str, Any]:
        return {"RegistryConfig": {"Mirrors": list(self.mirrors)}}

    def import_image_from_stream(self, stream: Iterator[bytes], repository: str, tag: str, changes: list[str]) -> str:
        self.got, self.changes = b"".join(stream), changes
        if "error" not in self.answer:
            self.images.held.add(f"{repository}:{tag}")
        return self.answer


def engine(*held: str, **more: Any) -> Any:
    return FakeEngine(*held, **more)


# ---- the root ---------------------------------------------------------------------------------------------------


def test_sources_list_has_the_suite_its_updates_and_its_security() -> None:
    where = Mirror("http://mirror.example.org/debian", "http://mirror.example.org/debian-security")
    lines = debootstrap.sources_list(TRIXIE, where).splitlines()
    assert [line.split("] ")[1] for line in lines] == [
        "http://mirror.example.org/debian trixie main",
        "http://mirror.example.org/debian trixie-updates main",
        "http://mirror.example.org/debian-security trixie-security main",
    ]
    assert all("signed-by=/usr/share/keyrings/" in line for line in lines)
    assert "security" not in debootstrap.sources_list(TRIXIE, Mirror(where.main))


def test_sources_list_of_ubuntu_has_universe_and_is_checked_with_the_roots_own_keys() -> None:
    where = Mirror("http://mirror.example.org/ubuntu", "http://mirror.example.org/ubuntu")
    signed = "deb [signed-by=/usr/share/keyrings/ubuntu-archive-keyring.gpg] http://mirror.example.org/ubuntu"
    assert debootstrap.sources_list(JAMMY, where).splitlines() == [
        f"{signed} jammy main universe",
        f"{signed} jammy-updates main universe",
        f"{signed} jammy-security main universe",
    ]


def test_sources_list_keeps_no_password() -> None:
    text = debootstrap.sources_list(TRIXIE, Mirror("https://me:secret@mirror.example.org/debian"))
    assert "secret" not in text
    assert "https://mirror.example.org/debian trixie main" in text


def test_labels_say_how_and_when() -> None:
    said = base.labels("torchpair-base:debian12", "bookworm", 1_783_765_000)
    assert said["torchpair.base.suite"] == "bookworm"
    assert said["torchpair.base.date"] == "2026-07-11"
    assert "debootstrap" in said["torchpair.base.made-by"]
    assert said["org.opencontainers.image.base.name"] == "torchpair-base:debian12"


def test_dated_keeps_only_the_rules_about_dates() -> None:
    dump = (
        'APT "";\nAcquire::Check-Valid-Until "false";\nAcquire::http::Proxy "http://proxy.example.org";\n'
        'Acquire::Check-Date "false";\nAcquire::AllowInsecureRepositories "1";\n'
    )
    assert debootstrap.dated(dump) == ['Acquire::Check-Valid-Until "false";', 'Acquire::Check-Date "false";']
    assert debootstrap.dated('APT "";\n') == []


def test_tidy_removes_what_differs_and_keeps_what_is_needed(tmp_path: Path) -> None:
    gone = [
        "etc/resolv.conf",
        "etc/hostname",
        "etc/passwd-",
        "etc/apt/sources.list.d/host.list",
        "dev/null",
        "var/log/dpkg.log",
        "var/log/apt/history.log",
        "var/cache/apt/archives/a.deb",
        "var/cache/apt/pkgcache.bin",
        "var/cache/ldconfig/aux-cache",
        "var/lib/apt/lists/mirror.example.org_InRelease",
        "var/lib/dpkg/status-old",
        "usr/share/doc/a/changelog.gz",
        "usr/share/man/man1/a.1.gz",
        "usr/share/locale/de/LC_MESSAGES/a.mo",
    ]
    kept = ["etc/passwd", "var/lib/dpkg/status", "usr/share/doc/a/copyright", "usr/share/locale/locale.alias"]
    for name in (*gone, *kept):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "var/log/link").symlink_to("/nowhere")
    (tmp_path / "etc/machine-id").write_text("0123\n")
    (tmp_path / "etc/shadow").write_text("root:*:20778:0:99999:7:::\n_apt:!:20778::::::\nno:*::::::\n")
    debootstrap.tidy(tmp_path, 20645)
    assert [name for name in gone if (tmp_path / name).exists()] == []
    assert [name for name in kept if not (tmp_path / name).exists()] == []
    assert list((tmp_path / "var/log").iterdir()) == []
    assert (tmp_path / "var/cache/apt/archives/partial").is_dir()
    assert (tmp_path / "usr/share/man/man1").is_dir()  # some packages link into it when they are installed
    assert (tmp_path / "etc/machine-id").read_text() == ""
    assert (tmp_path / "etc/shadow").read_text() == "root:*:20645:0:99999:7:::\n_apt:!:20645::::::\nno:*::::::\n"


def test_suite_date_is_the_newest_of_the_release_files(tmp_path: Path) -> None:
    lists = tmp_path / "var/lib/apt/lists"
    lists.mkdir(parents=True)
    with pytest.raises(EngineError, match="Release"):
        debootstrap._suite_date(tmp_path)
    (lists / "x_dists_jammy-updates_Release").write_text("Suite: a\nDate: Sat, 11 Jul 2026  0:16:37 UTC\nMD5Sum:\n")
    (lists / "x_dists_jammy_Release").write_text("Suite: a\nDate: Thu, 21 Apr 2022 17:16:08 UTC\nMD5Sum:\n")
    assert debootstrap._suite_date(tmp_path) == datetime(2026, 7, 11, 0, 16, 37, tzinfo=timezone.utc)


# ---- making it --------------------------------------------------------------------------------------------------


def test_upload_is_the_same_each_time_and_has_the_environment(tmp_path: Path) -> None:
    streams = []
    for order in (("b", "a"), ("a", "b")):
        root = tmp_path / "-".join(order)
        root.mkdir()
        for name in order:
            (root / name).write_text(name)
        os.utime(root / "a", (500, 500))  # older than the suite: as its package has it
        taker = engine()
        base._import(taker, root, 1_000_000, "torchpair-base:x", {"k": "v"})
        streams.append(taker.got)
    assert streams[0] == streams[1]
    with tarfile.open(fileobj=io.BytesIO(streams[0])) as archive:
        assert archive.getnames() == [".", "./a", "./b"]
        assert {member.name: member.mtime for member in archive} == {".": 1_000_000, "./a": 500, "./b": 1_000_000}
    assert 'ENV NVIDIA_VISIBLE_DEVICES="all"' in taker.changes
    assert 'ENV NVIDIA_DRIVER_CAPABILITIES="compute,utility"' in taker.changes
    assert 'LABEL k="v"' in taker.changes
    assert taker.images.held == {"torchpair-base:x"}


def test_upload_that_breaks_off_tags_nothing(tmp_path: Path) -> None:
    taker = engine()
    with pytest.raises(EngineError, match="tar could not read"):
        base._import(taker, tmp_path / "missing", 0, "torchpair-base:x", {})
    assert taker.images.held == set()


def test_upload_that_the_engine_refuses_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="did not take") as caught:
        base._import(engine(answer='{"error":"no space left"}'), tmp_path, 0, "torchpair-base:x", {})
    assert "no space left" in (caught.value.why or "")


DUMP = 'APT "";\nAcquire::Check-Valid-Until "false";\n'


@pytest.fixture
def made() -> dict[str, tuple[Mirror, list[str]]]:
    """What bases were made from: mirror, and settings for apt."""
    return {}


@pytest.fixture
def maker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: dict[str, tuple[Mirror, list[str]]]) -> Path:
    """A Debian of its own under tmp_path on which a root can be made, without debootstrap."""
    monkeypatch.setattr(base, "STATE", tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(base, "os_release", lambda text: {"ID": "debian", "VERSION_CODENAME": "bookworm"})
    monkeypatch.setattr(base, "machine_mirror", lambda codename, archive: Mirror(f"http://{codename}/{archive.id}"))
    monkeypatch.setattr(base, "run", lambda argv, **_: "amd64\n" if argv[0] == "dpkg" else DUMP)

    def bootstrap(root: Path, suite: Suite, where: Mirror, settings: list[str], say: Any) -> int:
        (root / "etc").mkdir(parents=True)
        made[suite.distro] = (where, settings)
        return 0

    monkeypatch.setattr(debootstrap, "bootstrap", bootstrap)
    return tmp_path


def test_ensure_local_makes_it_once_and_says_so(maker: Path) -> None:
    said: list[str] = []
    taker = engine()
    assert base.ensure_local(taker, "debian12", said.append) == "torchpair-base:debian12"
    assert len(said) == 3
    assert "bookworm from this machine's apt mirror" in said[0]
    assert "Check-Valid-Until" in said[1]
    assert "74 MB" in said[2]
    assert base.ensure_local(taker, "debian12", said.append) == "torchpair-base:debian12"
    assert len(said) == 3
    assert not (maker / "base/debian12").exists()


def test_each_distribution_comes_from_its_own_place(
    maker: Path, monkeypatch: pytest.MonkeyPatch, made: dict[str, tuple[Mirror, list[str]]]
) -> None:
    said: list[str] = []
    dates = ['Acquire::Check-Valid-Until "false";']
    archive, mirror = "http://archive.ubuntu.com/ubuntu", "http://mirror.example.org"
    base.ensure_local(engine(), "debian13", said.append, mirror)
    assert made["debian13"] == (Mirror("http://bookworm/debian"), dates)
    base.ensure_local(engine(), "ubuntu22.04", said.append)
    assert made["ubuntu22.04"] == (Mirror(archive, archive), []), "the dates are this machine's mirror's"
    assert any(f"Ubuntu's jammy from {archive}" in line for line in said)
    base.ensure_local(engine(), "ubuntu22.04", said.append, "http://me:secret@mirror.example.org")
    assert made["ubuntu22.04"][0].main.endswith("@mirror.example.org/ubuntu")
    assert not any("secret" in line for line in said)
    monkeypatch.setattr(base, "run", lambda argv, **_: "arm64\n")
    base.ensure_local(engine(), "ubuntu24.04", said.append)
    assert made["ubuntu24.04"][0].main == "http://ports.ubuntu.com/ubuntu-ports"

    monkeypatch.setattr(base, "os_release", lambda text: {"ID": "ubuntu", "VERSION_CODENAME": "noble"})
    base.ensure_local(engine(), "ubuntu22.04", said.append, mirror)
    assert made["ubuntu22.04"][0] == Mirror("http://noble/ubuntu")
    base.ensure_local(engine(), "debian13", said.append, mirror)
    assert made["debian13"][0] == Mirror(f"{mirror}/debian", f"{mirror}/debian-security")
    with pytest.raises(EngineError, match="no mirror of Debian") as caught:
        base.ensure_local(engine(), "debian12", said.append)
    assert "--mirror" in (caught.value.remedy or "")
    assert not (maker / "base/debian12").exists()


def test_a_failure_leaves_nothing_behind(maker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def bootstrap(root: Path, *_: object) -> int:
        (root / "proc").mkdir(parents=True)
        raise CommandError("debootstrap ended with 1")

    monkeypatch.setattr(debootstrap, "bootstrap", bootstrap)
    (maker / "base/debian13/left/by/kill").mkdir(parents=True)
    mask = os.umask(0o077)
    try:
        taker = engine()
        with pytest.raises(CommandError):
            base.ensure_local(taker, "debian13", lambda line: None)
        assert not (maker / "base/debian13").exists()
        assert taker.images.held == set()
        assert os.umask(0o077) == 0o077
    finally:
        os.umask(mask)


def test_the_end_of_debootstraps_own_log_is_in_the_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "root"

    def run(argv: list[str], **_: object) -> str:
        (root / "debootstrap").mkdir()
        (root / "debootstrap/debootstrap.log").write_text("early\n" + "late\n" * 9 + "dpkg: no space left\n")
        raise CommandError("debootstrap ended with 1", why="the call")

    monkeypatch.setattr(debootstrap, "run", run)
    monkeypatch.setattr(debootstrap.shutil, "which", lambda name: name)
    monkeypatch.setattr(debootstrap.keyring, "trusted", lambda *_: nullcontext(Path("/keys.gpg")))
    with pytest.raises(CommandError) as caught:
        debootstrap.bootstrap(root, TRIXIE, Mirror("http://mirror.example.org/debian"), [], print)
    assert "dpkg: no space left" in str(caught.value)
    assert "the call" in str(caught.value)
    assert "early" not in str(caught.value)


def test_debootstrap_is_told_to_check_and_takes_ubuntus_updates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[list[str]] = []

    def run(argv: list[str], **_: object) -> str:
        calls.append(argv)
        root = Path(argv[-3])
        for folder in ("var/lib/apt/lists", "etc/apt/apt.conf.d"):
            (root / folder).mkdir(parents=True)
        (root / "var/lib/apt/lists/x_Release").write_text("Date: Thu, 21 Apr 2022 17:16:08 UTC\n")
        return ""

    monkeypatch.setattr(debootstrap, "run", run)
    monkeypatch.setattr(debootstrap.shutil, "which", lambda name: name)
    monkeypatch.setattr(debootstrap.keyring, "trusted", lambda suite, where, say: nullcontext(suite.archive.keyring))
    address = "http://mirror.example.org/x"
    for suite in (TRIXIE, JAMMY):
        root = tmp_path / suite.distro
        assert (
            debootstrap.bootstrap(root, suite, Mirror(address), ['Acquire::Check-Date "false";'], print) == 1650561368
        )
        assert (root / "etc/apt/sources.list").read_text() == debootstrap.sources_list(suite, Mirror(address))
        assert (root / "etc/apt/apt.conf.d/torchpair").read_text().endswith('\nAcquire::Check-Date "false";\n')
    debian, ubuntu = calls
    always = ["debootstrap", "--variant=minbase", "--force-check-gpg"]
    assert debian == [*always, f"--keyring={DEBIAN.keyring}", "trixie", str(tmp_path / "debian13"), address, "sid"]
    more = ["--extra-suites=jammy", f"--keyring={UBUNTU.keyring}", "jammy-updates"]
    assert ubuntu == [*always, *more, str(tmp_path / "ubuntu22.04"), address, "gutsy"]


def test_the_login_of_the_machines_mirror_is_no_argument_and_not_in_the_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[list[str], str, int]] = []

    def run(argv: list[str], env: dict[str, str], **_: object) -> str:
        login = Path(env["HOME"]) / ".netrc"
        seen.append((argv, login.read_text(), login.stat().st_mode & 0o777))
        root = Path(argv[-3])
        for folder in ("var/lib/apt/lists", "etc/apt/apt.conf.d"):
            (root / folder).mkdir(parents=True)
        (root / "var/lib/apt/lists/x_Release").write_text("Date: Thu, 21 Apr 2022 17:16:08 UTC\n")
        return ""

    monkeypatch.setattr(debootstrap, "run", run)
    monkeypatch.setattr(debootstrap.shutil, "which", lambda name: name)
    monkeypatch.setattr(debootstrap.keyring, "trusted", lambda suite, where, say: nullcontext(suite.archive.keyring))
    debootstrap.bootstrap(tmp_path / "root", TRIXIE, Mirror("http://me:secret@mirror.example/debian"), [], print)
    ((argv, login, mode),) = seen
    assert argv[-2] == "http://mirror.example/debian" and "secret" not in " ".join(argv)
    assert (login, mode) == ("machine mirror.example login me password secret\n", 0o600)
    assert "secret" not in (tmp_path / "root/etc/apt/sources.list").read_text()


def test_the_suites_are_those_of_the_facts(facts: Facts) -> None:
    for suite in SUITES.values():
        distro = facts.distros[suite.distro]
        assert (distro.family, distro.codename) == (suite.archive.id, suite.codename)
    assert {facts.distros[name].python for name in SUITES} == {"3.10", "3.11", "3.12", "3.13"}


def test_ensure_local_refuses_where_it_cannot(maker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EngineError, match="debian99") as caught:
        base.ensure_local(engine(), "debian99", print)
    assert "debian12" in (caught.value.remedy or "")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert base.ensure_local(engine("torchpair-base:debian12"), "debian12", print) == "torchpair-base:debian12"
    with pytest.raises(EngineError, match="cannot be made here"):
        base.ensure_local(engine(), "debian12", print)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(base, "os_release", lambda text: {"ID": "fedora"})
    with pytest.raises(EngineError, match="cannot be made here"):
        base.ensure_local(engine(), "debian12", print)


# ---- the registry -----------------------------------------------------------------------------------------------


@contextmanager
def registry(code: int) -> Iterator[str]:
    """A registry on this machine whose /v2/ answers with that code, and whose every other page is missing."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(code if self.path == "/v2/" else 418)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(("code", "expected"), [(200, True), (401, True), (403, False), (404, False), (503, False)])
def test_registry_answers(code: int, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")  # none stands before this machine's own registry
    with registry(code) as host:
        reachable, why = base.registry_reachable(f"{host}/some/image:1")
    assert reachable is expected
    assert host in why
    assert expected or str(code) in why


def test_registry_that_is_not_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    reachable, why = base.registry_reachable(f"127.0.0.1:{port}/image")
    assert (reachable, why) == (False, f"127.0.0.1:{port} refuses the connection")


def test_registry_that_is_silent_takes_no_longer_than_asked() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        reachable, why = base.registry_reachable(f"127.0.0.1:{server.getsockname()[1]}/image", timeout=0.2)
    assert not reachable
    assert "did not answer" in why


def test_a_name_look_up_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "_ask", lambda *_: time.sleep(0.8))
    began = time.monotonic()
    assert base.registry_reachable("vendor/image", timeout=0.1)[0] is False
    assert time.monotonic() - began < 0.6


def test_registry_of_a_plain_name_is_the_default_one(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []
    monkeypatch.setattr(base, "_ping", lambda address, name, timeout: (asked.append((address, name)), (True, ""))[1])
    base.registry_reachable("vendor/image:1")
    base.registry_reachable("registry.example.org/vendor/image@sha256:00")
    base.registry_reachable("localhost:5000/image")
    assert asked[0][0].startswith("https://index.")
    assert asked[0][0].endswith(asked[0][1])
    assert asked[1:] == [
        ("https://registry.example.org", "registry.example.org"),
        ("http://localhost:5000", "localhost:5000"),
    ]


def test_what_is_no_reference_is_said_plainly() -> None:
    assert base.registry_reachable("https://registry.example.org/x") == (
        False,
        "'https://registry.example.org/x' is not an image reference",
    )


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (socket.gaierror(-2, "Name or service not known"), "look up"),
        (TimeoutError(), "in time"),
        (ssl.SSLCertVerificationError("self-signed"), "trust"),
        (OSError(101, "Network is unreachable"), "Network is unreachable"),
    ],
)
def test_reasons_are_plain_words(error: Exception, words: str) -> None:
    assert words in base._reason(error)


# ---- the choice -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", ["nvidia", "local"])
def test_what_is_asked_for_is_taken_unasked(wanted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "registry_reachable", lambda image: pytest.fail("nobody had to ask"))
    assert base.choose_base(wanted, "vendor/image:1", engine())[0] == wanted


def test_auto_takes_nvidia_when_the_engine_holds_it_or_can_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "registry_reachable", lambda image: (False, "the registry is not there"))
    kind, why = base.choose_base("auto", "vendor/image:1", engine("vendor/image:1"))
    assert (kind, "holds" in why) == ("nvidia", True)
    kind, why = base.choose_base("auto", "vendor/image:1", engine("vendor/image:2"))
    assert (kind, "the registry is not there" in why) == ("local", True)
    monkeypatch.setattr(base, "registry_reachable", lambda image: (True, "the registry answers"))
    kind, why = base.choose_base("auto", "vendor/image:1", engine())
    assert (kind, "the registry answers" in why) == ("nvidia", True)


def test_auto_asks_the_mirrors_of_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "registry_reachable", lambda image: (False, "blocked"))
    with registry(401) as host:
        mirrored = engine(mirrors=(f"http://{host}/",))
        assert base.choose_base("auto", "vendor/image:1", mirrored)[0] == "nvidia"
        # They serve the default registry only.
        assert base.choose_base("auto", "registry.example.org/vendor/image:1", mirrored)[0] == "local"


def test_rows_that_no_nvidia_image_fits_stand_on_the_local_base() -> None:
    gone = Engine("unix:///nonexistent.sock", "26", None, ("docker", "buildx"))
    assert base.choose_base("auto", "", gone) == ("local", "base local: no row asked for can stand on nvidia/cuda")


def test_another_base_is_a_plain_error() -> None:
    with pytest.raises(TorchpairError, match="nvdia") as caught:
        base.choose_base("nvdia", "vendor/image:1", engine())
    assert "nvidia" in (caught.value.remedy or "")


def test_an_engine_that_went_away_is_a_plain_error(tmp_path: Path) -> None:
    gone = Engine(f"unix://{tmp_path}/gone.sock", "26", None, ("docker", "buildx"))
    with pytest.raises(EngineError) as caught:
        base.choose_base("auto", "vendor/image:1", gone)
    assert caught.value.where == gone.host


def test_a_process_belongs_to_a_root_by_its_root_or_its_debootstrap(tmp_path: Path) -> None:
    root = tmp_path / "debian12"
    cases = {
        "chrooted": ("dpkg\0--configure\0", root),
        "debootstrap": (f"/bin/sh\0/usr/sbin/debootstrap\0bookworm\0{root}\0", Path("/")),
        "another": (f"/bin/sh\0/usr/sbin/debootstrap\0bookworm\0{root}2\0", Path("/")),
        "looking": (f"ls\0{root}\0", Path("/")),
        "neighbour": ("dpkg\0", tmp_path / "debian123"),
    }
    for name, (command, home) in cases.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "cmdline").write_text(command)
        (tmp_path / name / "root").symlink_to(home)
    assert [name for name in cases if debootstrap._inside(tmp_path / name, root)] == ["chrooted", "debootstrap"]
    assert not debootstrap._inside(tmp_path / "ended", root)
