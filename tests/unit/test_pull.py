"""Pulling: the catalog from where it lies, what engines say in plain words, and that no other image gets the tag."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import docker.errors
import pytest
import requests.exceptions
from catalogs import REPOSITORY, WIDE
from test_cli_know import one_message, run

from torchpair import choose, pull
from torchpair import engine as engines
from torchpair.catalog import Published
from torchpair.engine import Engine
from torchpair.errors import EngineError, TorchpairError

IMAGE = next(one for one in WIDE.images if one.cuda == "12.8")
REFERENCE = choose.reference(WIDE, IMAGE)
LABELS = {
    f"torchpair.{name}": getattr(IMAGE, name) or "none"
    for name in ("torch", "torchaudio", "torchcodec", "cuda", "python", "base")
}
GOOD = {"RepoDigests": [REFERENCE], "Os": "linux", "Architecture": "amd64", "Config": {"Labels": LABELS}}


@dataclass
class Fake:
    """As much of an engine and its client as a pull touches. there: digests of the registry by tag."""

    there: dict[str, str] = field(default_factory=lambda: dict.fromkeys(IMAGE.tags, IMAGE.digest))
    events: list[dict[str, Any]] = field(default_factory=list)
    attrs: dict[str, Any] = field(default_factory=lambda: dict(GOOD))
    failing: Exception | None = None
    tagged: list[tuple[str, str]] = field(default_factory=list)
    pulled: list[str] = field(default_factory=list)
    id: str = "sha256:id"
    host: str = "tcp://engine.example:2376"

    @property
    def api(self) -> Fake:
        return self

    @property
    def images(self) -> Fake:
        return self

    def client(self, timeout: int = 60) -> Fake:
        return self

    def close(self) -> None: ...

    def info(self) -> dict[str, Any]:
        return {"DockerRootDir": "/"}

    def inspect_distribution(self, name: str) -> dict[str, Any]:
        tag = name.rpartition(":")[2]
        if self.failing:
            raise self.failing
        if tag not in self.there:
            raise docker.errors.NotFound("manifest unknown")
        return {"Descriptor": {"digest": self.there[tag]}}

    def get(self, reference: str) -> Fake:
        assert reference == REFERENCE
        return self

    def tag(self, repository: str, tag: str) -> None:
        self.tagged.append((repository, tag))

    # docker-py's own name for it; the low-level pull takes a digest where a tag stands.
    def pull(self, repository: str, tag: str, stream: bool, decode: bool) -> list[dict[str, Any]]:
        self.pulled.append(f"{repository}@{tag}")
        return self.events


def event(index: int, status: str) -> dict[str, Any]:
    return {"id": IMAGE.layers[index].digest[7:19], "status": status}


def do(fake: Fake, key: str | None = None, image: Published = IMAGE) -> tuple[pull.Pulled, list[str]]:
    said: list[str] = []
    return pull.pull(fake, WIDE, image, said.append, pull.Signer(key)), said  # type: ignore[arg-type]


def test_it_pulls_by_digest_compares_and_tags() -> None:
    fake = Fake(events=[event(0, "Already exists"), event(1, "Downloading"), event(1, "Pull complete")])
    done, said = do(fake)
    assert fake.pulled == [REFERENCE] and fake.tagged == [(REPOSITORY, IMAGE.tag)]
    assert done.size == IMAGE.layers[1].size and done.tagged == f"{REPOSITORY}:{IMAGE.tag}"
    assert "not verified: " in done.signature
    assert said[-1] == f"{IMAGE.layers[1].size / 1e9:.2f} of {(IMAGE.size - IMAGE.layers[0].size) / 1e9:.2f} GB"
    assert do(Fake())[0].size is None


def test_a_tag_that_moved_on_is_no_error_and_another_image_is() -> None:
    full, dated = IMAGE.tag, next(tag for tag in IMAGE.tags if tag != IMAGE.tag)
    done, said = do(Fake(there={full: "sha256:" + "1" * 64, dated: IMAGE.digest}))
    assert done and any("has moved on" in line for line in said)
    for there, word in (({full: "sha256:" + "1" * 64}, "another image than the catalog says"), ({}, "has no")):
        fake = Fake(there=there)
        with pytest.raises(pull.PullError, match=word) as refused:
            do(fake)
        assert "take a new one" in str(refused.value) and not fake.pulled and not fake.tagged


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"RepoDigests": [REFERENCE.replace(IMAGE.digest, "sha256:" + "2" * 64)]}, "another digest"),
        ({"RepoDigests": None}, "another digest"),
        ({"Config": {"Labels": {**LABELS, "torchpair.torch": "2.7.1"}}}, "torch: catalog 2.8.0, image 2.7.1"),
        ({"Config": {"Labels": None}}, "cuda: catalog 12.8, image None"),
        ({"Architecture": "arm64"}, "platform: catalog linux/amd64, image linux/arm64"),
    ],
)
def test_another_image_gets_no_tag(change: dict[str, Any], word: str) -> None:
    fake = Fake(attrs={**GOOD, **change})
    with pytest.raises(pull.PullError, match=word):
        do(fake)
    assert not fake.tagged


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ("write /var/lib/docker/tmp/x: no space left on device", "the disk is full"),
        ("manifest for x not found: manifest unknown: manifest unknown", "does not have this image"),
        ("pull access denied for x, repository does not exist or may require 'docker login'", "does not"),
        ('Head "https://r/v2/": unauthorized: authentication required', "does not let you pull"),
        ("tls: failed to verify certificate: x509: certificate signed by unknown authority", "not trusted"),
        ("http: server gave HTTP response to HTTPS client", "plain HTTP"),
        ("filesystem layer verification failed for digest sha256:12", "not what the digest names"),
        ('Get "https://r/v2/": dial tcp: lookup r: no such host', "cannot be reached"),
        ("dial tcp 127.0.0.1:5000: connect: connection refused", "cannot be reached"),
        ("something new", "the engine cannot pull the image"),
    ],
)
def test_what_the_engine_says(words: str, what: str) -> None:
    # As an event of the stream, and as an answer of the API: the same words.
    for fake in (Fake(events=[{"error": words}]), Fake(failing=docker.errors.APIError("x", explanation=words))):
        with pytest.raises(pull.PullError, match=what) as told:
            do(fake)
        assert words.split(":")[-1].strip() in str(told.value) and told.value.exit_code == 4
        assert not fake.tagged


def test_an_engine_that_dies() -> None:
    with pytest.raises(pull.PullError, match="does not answer any more"):
        do(Fake(failing=requests.exceptions.ConnectionError("reset")))


def test_the_disk_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass
    class Usage:
        free: int

    fake = Fake(host="unix:///var/run/docker.sock")
    monkeypatch.setattr("shutil.disk_usage", lambda folder: Usage(int(1.5 * IMAGE.size)))
    assert any("may not fit" in line for line in do(fake)[1])
    monkeypatch.setattr("shutil.disk_usage", lambda folder: Usage(10 * IMAGE.size))
    assert not any("may not fit" in line for line in do(fake)[1])


# ---- the signature ------------------------------------------------------------------------------------------------


def cosign(folder: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> Path:
    """A program of that name that notes how it was called."""
    program = folder / "cosign"
    program.write_text(f'#!/bin/sh\necho "$@" >> {folder}/called\necho "no matching signatures" >&2\nexit {code}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder / "called"


def test_the_signature(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called = cosign(tmp_path, monkeypatch, 0)
    assert "neither --key" in do(Fake())[0].signature and not called.exists()
    assert do(Fake(), "our.pub")[0].signature == "signature holds: our.pub"
    assert called.read_text().strip() == f"verify --key our.pub {REFERENCE}"
    named = pull.Signer(identity="^https://github.com/team/")
    assert pull.verified("127.0.0.1:5000/torchpair@sha256:1", named) == "signature holds: ^https://github.com/team/"
    assert called.read_text().splitlines()[-1] == (
        "verify --certificate-identity-regexp ^https://github.com/team/ --certificate-oidc-issuer "
        f"{pull.GITHUB} --allow-http-registry --allow-insecure-registry 127.0.0.1:5000/torchpair@sha256:1"
    )
    cosign(tmp_path, monkeypatch, 1)
    fake = Fake()
    with pytest.raises(pull.PullError, match="no signature of this signer holds") as refused:
        do(fake, "our.pub")
    assert "no matching signatures" in str(refused.value) and not fake.pulled


def test_no_cosign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "cosign is not installed" in do(Fake())[0].signature
    fake = Fake()
    with pytest.raises(pull.PullError, match="cosign is not installed"):
        do(fake, "our.pub")
    assert not fake.pulled


# ---- the catalog --------------------------------------------------------------------------------------------------


@contextmanager
def server(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as serving:
        thread = threading.Thread(target=serving.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{serving.server_port}/catalog.json"
        finally:
            serving.shutdown()
            thread.join()


def sends(code: int, body: bytes, claims: int | None = None) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        handler.send_header("Content-Length", str(len(body) if claims is None else claims))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def test_a_catalog_from_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with server(sends(200, WIDE.text().encode())) as address:
        assert pull.catalog(address) == WIDE
    for answer, word in (
        (sends(404, b"no"), "answers 404"),
        (sends(200, b"<html>"), "not readable as JSON"),
        (sends(200, WIDE.text().encode()[:500], 1_000), "cut short"),
    ):
        with server(answer) as address, pytest.raises(TorchpairError, match=word):
            pull.catalog(address)
    with pytest.raises(pull.PullError, match="cannot be reached") as told:
        pull.catalog("http://someone:secret@127.0.0.1:1/catalog.json?token=secret")
    assert "secret" not in str(told.value)


# ---- the command --------------------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "catalog.json"
    path.write_text(WIDE.text(), encoding="utf-8")
    return path


def engine(monkeypatch: pytest.MonkeyPatch, found: Any) -> None:
    def find(builds: bool = True) -> Any:
        assert builds is False, "who only pulls needs no buildx"
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(engines, "find", find)


def test_the_command(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Fake(events=[event(0, "Pull complete")])
    engine(monkeypatch, fake)
    done = run("pull", "--catalog", file, "--gpu", "RTX 5090", "--driver", "570")
    assert done.code == 0 and fake.tagged and "digest as in the catalog" in done.out
    assert "hands no GPU to a container" in done.out
    assert "hands no GPU" not in run("pull", "--catalog", file, "--gpu", "none").out


def test_nothing_that_runs_is_refused_before_an_engine_is_asked(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine(monkeypatch, AssertionError("no engine is to be looked for"))
    done = run("pull", "--catalog", file, "--gpu", "RTX 5090", "--driver", "535")
    assert done.code == 2 and "driver 570.26 or newer" in done.out and "nothing was pulled" in done.out


def test_no_engine(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine(monkeypatch, None)
    done = run("pull", "--catalog", file, "--gpu", "none")
    assert done.code == 4 and "no Docker engine answers" in done.err and "Traceback" not in done.err
    engine(monkeypatch, EngineError("this user may not talk to the Docker engine"))
    assert "may not talk" in run("pull", "--catalog", file, "--gpu", "none").err


def test_an_edited_catalog(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A size that is no sum is found by the reader; a digest of another image by the registry."""
    engine(monkeypatch, Fake(there=dict.fromkeys(IMAGE.tags, "sha256:" + "3" * 64)))
    done = run("pull", "--catalog", file, "--gpu", "RTX 5090", "--driver", "570")
    assert done.code == 4 and "edited by hand" in done.err
    edited = replace(WIDE, images=(replace(IMAGE, size=1),))
    file.write_text(edited.text())
    one_message(run("pull", "--catalog", file, "--gpu", "none"))


def test_an_engine_without_buildx_does(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> tuple[str, ...]:
        raise EngineError("the docker CLI has no buildx plugin")

    class Client:
        def __init__(self, **_: object) -> None: ...
        def version(self, api_version: bool) -> dict[str, str]:
            return {"Version": "26.1.5", "ApiVersion": "1.45"}

        def close(self) -> None: ...

    monkeypatch.setattr(engines, "APIClient", Client)
    monkeypatch.setattr(engines, "_buildx", none)
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    assert isinstance(engines.find(builds=False), Engine)
    with pytest.raises(EngineError, match="buildx"):
        engines.find()
