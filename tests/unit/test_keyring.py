"""keyring.py against an archive on this machine: the pinned keys out of a real package, by the real gpg."""

from __future__ import annotations

import base64
import http.server
import lzma
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from torchpair import keyring
from torchpair.errors import EngineError
from torchpair.suite import DEBIAN, SUITES, Suite

# Throwaway public keys, ed25519, made by gpg 2.2 for these tests.
PINNED = "0F91A3DFD4EE984A8D6F8DF1691A9C44C07C7453"
ARCHIVE = base64.b64decode(
    "mDMEaVW5ABYJKwYBBAHaRw8BAQdADnWclb1lvOodzlwGvTg6vXJm8p8mV2Ic3JawBZfDGcu0OmFyY2hpdmUgKHRocm93YXdheSwg"
    "dG9yY2hwYWlyIHRlc3RzKSA8YXJjaGl2ZUBleGFtcGxlLm9yZz6IkAQTFggAOBYhBA+Ro9/U7phKjW+N8WkanETAfHRTBQJpVbkA"
    "AhsDBQsJCAcCBhUKCQgLAgQWAgMBAh4BAheAAAoJEGkanETAfHRTHGAA/3YI9zzMfpRg54D3Y7ynegcxCeIIpFoy6f7tN0ZsHPt4"
    "AQDemWBqipwabMYk33Ht0utvT2l8NZvNTgWzWzOjf2P9Dw=="
)
OTHER = "619A2093EFA30FA42495ADF3BF037314306F1F7F"
STRANGER = base64.b64decode(
    "mDMEaVW5ABYJKwYBBAHaRw8BAQdAN1PPh4368cyCM5uEl/CIlXT9AIfPz0nA5ZArO8q+6+O0PHN0cmFuZ2VyICh0aHJvd2F3YXks"
    "IHRvcmNocGFpciB0ZXN0cykgPHN0cmFuZ2VyQGV4YW1wbGUub3JnPoiQBBMWCAA4FiEEYZogk++jD6Qkla3zvwNzFDBvH38FAmlV"
    "uQACGwMFCwkIBwIGFQoJCAsCBBYCAwECHgECF4AACgkQvwNzFDBvH39bVAD/ZCwdCRQuWtO82BN2ZJC9BK8qWZgdomhc/DupSplR"
    "m+UBAMwYJJ09lAq5jbqjEadwR2zSocAQ3fGWnxvZa2HjG5MJ"
)
# The stranger's key with the archive's as a subkey: asked for the pinned fingerprint, gpg gives this one too.
THIEF = base64.b64decode(
    "mDMEaVW5ABYJKwYBBAHaRw8BAQdAN1PPh4368cyCM5uEl/CIlXT9AIfPz0nA5ZArO8q+6+O0PHN0cmFuZ2VyICh0aHJvd2F3YXks"
    "IHRvcmNocGFpciB0ZXN0cykgPHN0cmFuZ2VyQGV4YW1wbGUub3JnPoiQBBMWCAA4FiEEYZogk++jD6Qkla3zvwNzFDBvH38FAmlV"
    "uQACGwMFCwkIBwIGFQoJCAsCBBYCAwECHgECF4AACgkQvwNzFDBvH39bVAD/ZCwdCRQuWtO82BN2ZJC9BK8qWZgdomhc/DupSplR"
    "m+UBAMwYJJ09lAq5jbqjEadwR2zSocAQ3fGWnxvZa2HjG5MJuDMEaVW5ABYJKwYBBAHaRw8BAQdADnWclb1lvOodzlwGvTg6vXJm"
    "8p8mV2Ic3JawBZfDGcuIeAQYFggAIBYhBGGaIJPvow+kJJWt878DcxQwbx9/BQJpVbkAAhsAAAoJEL8DcxQwbx9/54wA/R+N0beD"
    "Im58qZ3LNu19yW5oP2KTLbuBKFXL4mzYLr2lAQDu0B6V1jcFojwGrWf7hQly7KlrmUI4iCk2yylVDNt6CQ=="
)

Serve = Callable[[bytes], str]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Path]:
    """A folder that is served over http; its address is in the file `address` beside it."""
    folder = tmp_path / "site"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(folder))  # type: ignore[arg-type]

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    (tmp_path / "address").write_text(f"http://127.0.0.1:{server.server_port}")
    yield folder
    server.shutdown()
    server.server_close()


@pytest.fixture
def run_folder() -> Iterator[Path]:
    """Where the keys are looked at: a short path, as gpg needs."""
    with tempfile.TemporaryDirectory(prefix="k", dir="/tmp") as folder:
        yield Path(folder)


@pytest.fixture
def suite(tmp_path: Path, run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Suite:
    """Ubuntu 22.04 with another key, on a machine without its keyring."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(keyring, "RUN", run_folder)
    jammy = SUITES["ubuntu22.04"]
    return replace(jammy, archive=replace(jammy.archive, keyring=tmp_path / "keyring.gpg", keys=(PINNED, "0" * 40)))


@pytest.fixture
def serve(site: Path, suite: Suite, tmp_path: Path) -> Serve:
    """Put an archive with a keyring package that has these keys on the site; its address."""

    def make(keys: bytes) -> str:
        root = tmp_path / "package"
        (root / "DEBIAN").mkdir(parents=True)
        fields = (
            "Package: ubuntu-keyring\nVersion: 1\nArchitecture: all\nMaintainer: x <x@example.org>\nDescription: x\n"
        )
        (root / "DEBIAN/control").write_text(fields)
        path = root / str(suite.archive.keyring).lstrip("/")
        path.parent.mkdir(parents=True)
        path.write_bytes(keys)
        (site / "pool").mkdir()
        subprocess.run(["dpkg-deb", "--build", str(root), str(site / "pool/k.deb")], check=True, capture_output=True)
        index(site, "Package: a\nFilename: pool/a.deb\n\nPackage: ubuntu-keyring\nSize: 1\nFilename: pool/k.deb\n")
        return (tmp_path / "address").read_text()

    return make


def index(site: Path, text: str) -> None:
    arch = subprocess.run(["dpkg", "--print-architecture"], check=True, capture_output=True, text=True).stdout.strip()
    folder = site / f"dists/jammy/main/binary-{arch}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "Packages.xz").write_bytes(lzma.compress(text.encode()))


def shown(path: Path) -> list[str]:
    argv = ["gpg", "--batch", "--with-colons", "--show-keys", str(path)]
    return keyring.primaries(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)


def test_only_the_pinned_keys_are_taken(serve: Serve, suite: Suite, run_folder: Path) -> None:
    said: list[str] = []
    with keyring.trusted(suite, serve(STRANGER + ARCHIVE), said.append) as path:
        assert shown(path) == [PINNED]
    assert "pinned keys" in said[0]
    assert list(run_folder.iterdir()) == []


def test_other_keys_are_refused_and_named(serve: Serve, suite: Suite, run_folder: Path) -> None:
    with pytest.raises(EngineError) as caught, keyring.trusted(suite, serve(STRANGER), print):
        pytest.fail("there was no key to give")
    text = str(caught.value)
    assert "not Ubuntu's keyring" in text and "pool/k.deb" in text
    assert OTHER in text and PINNED in text and suite.archive.source in text
    assert list(run_folder.iterdir()) == []


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (THIEF, f"its keys are {OTHER}, and none of the pinned"),
        (ARCHIVE + THIEF, f"a pinned key is there as a part of another, {OTHER}"),
        (THIEF + ARCHIVE, PINNED[-16:]),  # gpg refuses the second by itself, in the user's language
    ],
)
def test_a_pinned_key_as_a_part_of_another_is_refused(
    serve: Serve, suite: Suite, run_folder: Path, keys: bytes, words: str
) -> None:
    with pytest.raises(EngineError, match="not Ubuntu's keyring") as caught, keyring.trusted(suite, serve(keys), print):
        pytest.fail("the other key could sign")
    assert words in str(caught.value)
    assert list(run_folder.iterdir()) == []


@pytest.mark.parametrize("keys", [b"", b"no keys\n"])
def test_a_package_without_keys_is_refused(serve: Serve, suite: Suite, run_folder: Path, keys: bytes) -> None:
    with pytest.raises(EngineError, match="not Ubuntu's keyring"), keyring.trusted(suite, serve(keys), print):
        pytest.fail("there was no key to give")
    assert list(run_folder.iterdir()) == []


def test_an_archive_that_does_not_answer(serve: Serve, suite: Suite, site: Path, run_folder: Path) -> None:
    address = serve(ARCHIVE)

    def refused(where: str) -> str:
        with pytest.raises(EngineError) as caught, keyring.trusted(suite, where, print):
            pytest.fail("there was no key to give")
        assert list(run_folder.iterdir()) == []
        return str(caught.value)

    text = refused("http://127.0.0.1:1/ubuntu")
    assert "cannot be asked" in text and "http://127.0.0.1:1/ubuntu/dists/jammy" in text and "refused" in text
    assert "--mirror" in text
    assert "HTTP 404" in refused(f"{address}/elsewhere")
    (site / "pool/k.deb").write_bytes(b"<html>log in</html>")
    assert "no keyring that can be read" in refused(address) and "k.deb" in refused(address)
    index(site, "Package: ubuntu-keyring-udeb\nFilename: pool/a.deb\n\nPackage: b\nFilename: pool/k.deb\n")
    assert "no package ubuntu-keyring" in refused(address)
    for found in site.rglob("Packages.xz"):
        found.write_bytes(b"<html>log in</html>")
    assert "cannot be unpacked" in refused(address)


def test_what_is_far_too_large_is_not_read(serve: Serve, suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    address = serve(ARCHIVE)
    monkeypatch.setattr(keyring, "LARGEST", 10)
    with pytest.raises(EngineError, match="not Ubuntu's keyring"), keyring.trusted(suite, address, print):
        pytest.fail("it is larger than that")


def test_the_machines_own_keyring_is_taken_unasked(suite: Suite) -> None:
    suite.archive.keyring.write_bytes(b"")
    with keyring.trusted(suite, "http://127.0.0.1:1", lambda line: pytest.fail(line)) as path:
        assert path == suite.archive.keyring


def test_debians_keys_come_as_the_machines_own_package(
    suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed: list[str] = []

    def install(packages: list[str]) -> None:
        installed.extend(packages)
        (tmp_path / "debian.gpg").write_bytes(b"")

    monkeypatch.setattr(keyring, "apt_install", install)
    debian = replace(SUITES["debian13"], archive=replace(DEBIAN, keyring=tmp_path / "debian.gpg"))
    with keyring.trusted(debian, "http://127.0.0.1:1", print) as path:
        assert path == tmp_path / "debian.gpg"
    assert installed == ["debian-archive-keyring"]


def test_the_pins_are_whole_fingerprints() -> None:
    """Of 40 digits: gpg takes fewer for a key id, of which there can be two."""
    for suite in SUITES.values():
        assert all(len(key) == 40 and key == key.upper() and int(key, 16) for key in suite.archive.keys)
        assert bool(suite.archive.keys) == suite.archive.source.startswith("https://")
