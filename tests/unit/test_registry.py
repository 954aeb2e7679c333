"""A registry's API: what is tried again and what is not, logins, referrers with and without their API."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_registry import Fake, running

from torchpair import artifacts, wire
from torchpair.errors import TorchpairError
from torchpair.registry import OCI_INDEX, OCI_MANIFEST, Manifest, Registry
from torchpair.wire import RegistryError, Repository, Transient, sha256


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fake]:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    with running() as made:
        yield made


@pytest.mark.parametrize(
    ("text", "host", "path"),
    [
        ("127.0.0.1:5000", "127.0.0.1:5000", "torchpair"),
        ("localhost/a/b_c", "localhost", "a/b_c"),
        ("ghcr.io/me/torchpair/", "ghcr.io", "me/torchpair"),
        ("[::1]:5000", "[::1]:5000", "torchpair"),
    ],
)
def test_a_repository(text: str, host: str, path: str) -> None:
    assert wire.repository(text) == Repository(host, path)


@pytest.mark.parametrize(
    "text", ["", "torchpair", "me/torchpair", "127.0.0.1:5000/A", "a.b/c:tag", "a.b/../c", "http://a.b/c", "a.b/c\n-d"]
)
def test_no_repository(text: str) -> None:
    with pytest.raises(TorchpairError, match="is no registry"):
        wire.repository(text)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1:5000", True), ("127.9.9.9", True), ("localhost:1", True), ("[::1]:5000", True),
     ("10.0.0.1:5000", False), ("localhost.example:5000", False), ("127.0.0.1.example", False)],
)  # fmt: skip
def test_this_machine(host: str, loopback: bool) -> None:
    assert Repository(host, "a").loopback is loopback


@pytest.mark.parametrize("what", [500, 502, 503, 504, 429, "reset"])
def test_what_may_pass_is_tried_again(fake: Fake, what: int | str) -> None:
    fake.blobs[sha256(b"x")] = b"x"
    fake.faults = [("GET", "/blobs/", what)] * 2
    said: list[str] = []
    assert fake.registry(say=said.append).blob(sha256(b"x")) == b"x"
    assert fake.count("GET", "/blobs/") == 3
    assert len(said) == 2 and "once more in" in said[0]


@pytest.mark.parametrize("what", [503, "reset"])
def test_what_does_not_pass_ends(fake: Fake, what: int | str) -> None:
    fake.faults = [("GET", "/tags/", what)] * 9
    with pytest.raises(Transient, match=r"registry (is in trouble|stopped answering)") as caught:
        fake.registry().tags()
    assert fake.count("GET", "/tags/") == 3
    assert "what is there already is not sent again" in str(caught.value)


@pytest.mark.parametrize(
    ("method", "status", "words"),
    [("POST", 403, "may not write"), ("POST", 405, "read-only"), ("POST", 404, "does not know this repository"),
     ("POST", 400, "refuses"), ("POST", 401, "wants a login")],
)  # fmt: skip
def test_what_is_refused_is_not_tried_again(fake: Fake, method: str, status: int, words: str) -> None:
    fake.faults = [(method, "/uploads/", status)] * 9
    with pytest.raises(RegistryError, match=words) as caught:
        fake.registry().may_write()
    assert fake.count(method, "/uploads/") == 1
    assert caught.value.status == status or caught.value.status is None
    assert "WHY: so it is" in str(caught.value)


def test_nobody_there() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    registry = Registry(Repository(f"127.0.0.1:{port}", "a"), waits=(0, 0))
    with pytest.raises(Transient, match="does not answer") as caught:
        registry.tags()
    assert caught.value.why == "Connection refused"


def test_plain_http_elsewhere_only_where_it_is_asked_for(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Repository, "loopback", False)
    with pytest.raises(RegistryError):
        fake.registry().tags()
    assert fake.asked == []
    assert fake.registry(insecure=True).tags() == []


def test_a_small_blob(fake: Fake) -> None:
    registry = fake.registry()
    assert registry.put_blob(b"x") is True
    assert registry.put_blob(b"x") is False
    assert fake.blobs == {sha256(b"x"): b"x"} and fake.uploads == set()


def test_an_upload_that_was_forgotten_begins_once_more(fake: Fake) -> None:
    fake.faults = [("PUT", "/uploads/", 404)]
    assert fake.registry().put_blob(b"x") is True
    assert fake.blobs == {sha256(b"x"): b"x"}
    fake.faults = [("PUT", "/uploads/", 404)] * 3
    with pytest.raises(RegistryError, match="makes no sense"):
        fake.registry().put_blob(b"y")


def test_looking_whether_it_may_be_written_leaves_nothing(fake: Fake) -> None:
    fake.registry().may_write()
    assert fake.uploads == set() and fake.blobs == {}


def test_what_has_another_digest_is_not_taken(fake: Fake) -> None:
    fake.blobs[sha256(b"x")] = b"y"
    fake.manifests[sha256(b"{}")] = (OCI_MANIFEST, b"{ }")
    with pytest.raises(RegistryError, match="makes no sense"):
        fake.registry().blob(sha256(b"x"))
    with pytest.raises(RegistryError, match="makes no sense"):
        fake.registry().manifest(sha256(b"{}"))


def test_more_than_is_read(fake: Fake) -> None:
    fake.blobs[sha256(b"x" * 10)] = b"x" * 10
    with pytest.raises(RegistryError, match="makes no sense"):
        fake.registry().blob(sha256(b"x" * 10), most=9)


def test_tags_page_by_page(fake: Fake) -> None:
    digest = fake.put_image({}).digest
    fake.tags = {f"t{number}": digest for number in range(7)}
    fake.page = 3
    assert fake.registry().tags() == sorted(fake.tags)


def _artifact(subject: Manifest, data: bytes = b"{}") -> artifacts.Artifact:
    return artifacts.bound(artifacts.LOCK, data, subject, "2026-11-21T12:00:00+00:00")


@pytest.mark.parametrize("api", [True, False])
def test_referrers_with_and_without_their_api(fake: Fake, api: bool) -> None:
    fake.api = api
    image, registry = fake.put_image({}, "a"), fake.registry()
    one, two = _artifact(image, b"1"), _artifact(image, b"2")
    assert [registry.attach(item.manifest) for item in (one, two, one)] == [True, True, False]
    found = {item["digest"]: item.get("artifactType") for item in registry.referrers(image.digest)}
    assert found == {one.manifest.digest: artifacts.LOCK, two.manifest.digest: artifacts.LOCK}
    fallback = image.digest.replace(":", "-")
    assert (fallback in fake.tags) is not api
    if not api:
        kind, body = fake.manifests[fake.tags[fallback]]
        assert kind == OCI_INDEX and len(json.loads(body)["manifests"]) == 2


def test_an_artifact_that_is_listed_and_lost_is_put_there_again(fake: Fake) -> None:
    image, registry = fake.put_image({}, "a"), fake.registry()
    made = _artifact(image)
    registry.attach(made.manifest)
    del fake.manifests[made.manifest.digest]
    assert registry.attach(made.manifest) is True
    assert len(registry.referrers(image.digest)) == 1 and made.manifest.digest in fake.manifests


def _log_in(tmp_path: Path, host: str, password: str) -> str:
    secret = base64.b64encode(f"me:{password}".encode()).decode()
    (tmp_path / "config.json").write_text(json.dumps({"auths": {host: {"auth": secret}}}))
    return f"Basic {secret}"


def test_a_login(fake: Fake, tmp_path: Path) -> None:
    fake.login = ('Basic realm="here"', _log_in(tmp_path, fake.host, "sound"))
    fake.registry().may_write()
    _log_in(tmp_path, fake.host, "wrong")
    with pytest.raises(RegistryError, match="refuses this login") as caught:
        fake.registry().may_write()
    assert "wrong" not in str(caught.value) and f"docker login {fake.host}" in str(caught.value)
    (tmp_path / "config.json").unlink()
    with pytest.raises(RegistryError, match="wants a login"):
        fake.registry().may_write()


def test_a_token(fake: Fake, tmp_path: Path) -> None:
    _log_in(tmp_path, fake.host, "sound")
    challenge = f'Bearer realm="http://{fake.host}/token",service="s",scope="repository:torchpair:pull,push"'
    fake.login = (challenge, "Bearer T")
    fake.registry().may_write()
    assert fake.tokens == ["service=s&scope=repository%3Atorchpair%3Apull%2Cpush"]


def test_a_token_is_not_fetched_in_the_clear(fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = fake.registry()
    registry.answers()
    _log_in(tmp_path, fake.host, "sound")
    fake.login = (f'Bearer realm="http://{fake.host}/token"', "Bearer T")
    monkeypatch.setattr(Repository, "loopback", False)
    with pytest.raises(RegistryError, match="makes no sense") as caught:
        registry.may_write()
    assert "not HTTPS" in str(caught.value) and fake.tokens == []


def test_a_login_goes_to_no_other_host(fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    header = _log_in(tmp_path, fake.host, "sound")
    fake.login = ('Basic realm="here"', header)
    with running() as other:
        place = f"http://{other.host}/v2/torchpair/blobs/uploads/1"
        other.uploads.add("1")
        sent: list[dict[str, Any]] = []
        registry = fake.registry()
        call = registry._wire.call

        def elsewhere(method: str, url: str, **more: Any) -> Any:
            if method != "POST":
                return call(method, url, **more)
            answer = call(method, url, **more)
            return wire.Answer(answer.status, {"Location": place}, b"", answer.url)

        monkeypatch.setattr(registry._wire, "call", elsewhere)
        assert registry.put_blob(b"x") is True
        sent = [dict(headers) for _, _, headers in other.asked]
    assert sent and all("Authorization" not in headers for headers in sent)
    assert any(headers.get("Authorization") == header for _, _, headers in fake.asked)


def test_a_broken_login_file(fake: Fake, tmp_path: Path) -> None:
    fake.login = ('Basic realm="here"', "never")
    (tmp_path / "config.json").write_text('{"auths": {"x": "y"}}')
    with pytest.raises(RegistryError, match="login for the registry cannot be read"):
        fake.registry().may_write()
