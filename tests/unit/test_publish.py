"""A publish as a whole, against a registry that may end at any call; the engine's push is pretended."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_registry import Fake, running
from published import EIGHT, labels, lock, put, report, spec

from torchpair import artifacts, describe, publish, push, tags
from torchpair.engine import Engine
from torchpair.errors import TorchpairError
from torchpair.publish import Candidate
from torchpair.push import Local, Sent
from torchpair.spec import Spec
from torchpair.wire import RegistryError, Repository, Transient, sha256

ENGINE = Engine("unix:///nowhere", "26", None, ())
WHERE = Repository("127.0.0.1:5000", "torchpair")


def row(of: Spec, started: str = "2026-11-21T12:00:00+00:00") -> Candidate:
    """A row that is ready; its image's id is that of the configuration which `pushed` sends."""
    image_id = sha256(_config(of, started))
    local = Local(image_id, labels(of), "linux/amd64")
    installed = (artifacts.Deb("libc6", "2.36", "amd64"),)
    return Candidate(of, report(of, image_id, started=started), lock(of), local, {"Dockerfile": b"FROM x"}, installed)


def _config(of: Spec, salt: str) -> bytes:
    body = {
        "config": {"Labels": labels(of)}, "os": "linux", "architecture": "amd64", "salt": salt,
        "rootfs": {"diff_ids": [sha256(b"one"), sha256(b"two")]},
        "history": [{"created_by": f"COPY /layer/{name} / # buildkit"} for name in ("cuda", "torch")],
    }  # fmt: skip
    return json.dumps(body).encode()


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Fake]:
    """A registry, and an engine that pushes into it blob by blob, over HTTP, as the real one does."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setattr(push, "found", lambda program: False)
    monkeypatch.setattr(push, "tagged", lambda *arguments: nullcontext())
    with running() as made:
        yield made


@pytest.fixture
def publishing(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> Callable[..., publish.Outcome]:
    def do(*rows: Candidate, **more: Any) -> publish.Outcome:
        registry = fake.registry()

        def pushed(engine: Engine, where: Repository, tag: str, say: Any) -> Sent:
            (candidate,) = [one for one in rows if tags.incoming(one.spec.name) == tag]
            config = _config(candidate.spec, candidate.report.started)
            sent = [data for data in (b"one", b"two", config) if registry.put_blob(data)]
            descriptors = [{"mediaType": "x", "digest": sha256(d), "size": len(d)} for d in (config, b"one", b"two")]
            body = json.dumps({"config": descriptors[0], "layers": descriptors[1:]}).encode()
            manifest = describe.Manifest(describe.DOCKER_MANIFEST, sha256(body), body)
            registry.put_manifest(tag, manifest)
            return Sent(manifest.digest, frozenset(sha256(d)[7:19] for d in sent))

        monkeypatch.setattr(push, "push", pushed)
        return publish.publish(registry, ENGINE, rows, **more)

    return do


def whole(fake: Fake) -> None:
    """No tag for users points at anything that is not all there, with its report."""
    for tag, digest in fake.tags.items():
        if tags.is_users(tag):
            body = json.loads(fake.manifests[digest][1])
            for blob in (body["config"], *body["layers"]):
                assert blob["digest"] in fake.blobs, tag
            index = json.loads(fake.manifests[fake.tags[digest.replace(":", "-")]][1])
            assert {item["artifactType"] for item in index["manifests"]} >= {
                artifacts.REPORT, artifacts.LOCK, artifacts.SBOM, artifacts.PROVENANCE,
            }  # fmt: skip


USERS = {
    "2.8.0-cu128-py311-debian12", "2.8.0-cu128-py311-debian12-20261121", "2.8-cu128", "cu128", "latest",
}  # fmt: skip


def test_all_of_it(fake: Fake, publishing: Callable[..., publish.Outcome]) -> None:
    outcome = publishing(row(spec()))
    (done,) = outcome.done
    assert set(done.image.tags) == USERS == {tag for tag in fake.tags if tags.is_users(tag)}
    assert [move.tag for move in outcome.moves][-1] == "latest" and outcome.kept == ()
    assert outcome.unsigned == "cosign is not installed" and not done.signed
    whole(fake)
    (image,) = describe.read(fake.registry()).catalog.images
    assert image == done.image


def test_a_second_time_nothing_is_sent(fake: Fake, publishing: Callable[..., publish.Outcome]) -> None:
    publishing(row(spec()))
    fake.asked.clear()
    outcome = publishing(row(spec()))
    assert outcome.done[0].sent == 0 and outcome.moves == ()
    assert fake.count("PUT", "") == 0 and fake.count("POST", "") == 1  # the look whether it may be written


def test_tags_are_the_last_thing(fake: Fake, publishing: Callable[..., publish.Outcome]) -> None:
    publishing(row(spec()), row(spec('torch: "2.14.1", cuda: "13.0", python: "3.13"')))
    puts = [path.rpartition("/")[2] for method, path, _ in fake.asked if method == "PUT"]
    first = min(puts.index(tag) for tag in fake.tags if tags.is_users(tag))
    assert all(tags.is_users(name) and not name.startswith("sha256:") for name in puts[first:])


def test_it_ends_at_any_call_and_goes_on(publishing: Callable[..., publish.Outcome], fake: Fake) -> None:
    """After each number of calls the registry is gone: all that is there is whole, and a repetition ends it."""
    publishing(row(spec()))
    calls = len(fake.asked)
    assert calls > 30
    for number in range(calls):
        fake.blobs, fake.manifests, fake.tags, fake.uploads = {}, {}, {}, set()
        fake.asked.clear()
        fake.dies_after = number
        with pytest.raises(RegistryError):
            publishing(row(spec()))
        whole(fake)
        fake.dies_after = None
        outcome = publishing(row(spec()))
        assert set(outcome.done[0].image.tags) == USERS, number
        whole(fake)


def test_every_call_may_fail_once(publishing: Callable[..., publish.Outcome], fake: Fake) -> None:
    """A 503 now and then is nothing that a user hears of, but as a line."""
    publishing(row(spec()))
    methods = [(method, path) for method, path, _ in fake.asked]
    for method in sorted({method for method, _ in methods}):
        fake.blobs, fake.manifests, fake.tags, fake.uploads = {}, {}, {}, set()
        fake.faults = [(method, "/torchpair/", 503), (method, "/torchpair/", "reset")]
        publishing(row(spec()))
        assert fake.faults == []
        whole(fake)


def test_a_tag_of_another_image_is_refused_before_anything_is_sent(
    fake: Fake, publishing: Callable[..., publish.Outcome]
) -> None:
    put(fake, spec(), started="2026-11-22T12:00:00+00:00")
    before = dict(fake.tags)
    with pytest.raises(TorchpairError, match="exists already, with another digest; nothing was moved"):
        publishing(row(spec()))
    assert fake.tags == before and fake.count("PUT", "manifests/torchpair-incoming") == 0
    publishing(row(spec()), force=True)
    whole(fake)
    assert fake.tags[spec().tag] != before[spec().tag]


NEWER = 'torch: "2.14.1", cuda: "13.0", python: "3.13"'


@pytest.mark.parametrize("other, ours", [(NEWER, EIGHT), (EIGHT, NEWER)])
def test_somebody_else_publishes_meanwhile(
    fake: Fake, publishing: Callable[..., publish.Outcome], monkeypatch: pytest.MonkeyPatch, other: str, ours: str
) -> None:
    """What tags point at is read when they move, not when the push began: whoever ends last, `latest` is the newer."""
    sbom = artifacts.sbom

    def meanwhile(*arguments: Any) -> bytes:
        put(fake, spec(other), "latest")
        return sbom(*arguments)

    monkeypatch.setattr(artifacts, "sbom", meanwhile)
    outcome = publishing(row(spec(ours)))
    assert fake.tags["latest"] == fake.tags[spec(NEWER).tag]
    assert any(line.startswith("latest stays") for line in outcome.kept) == (ours == EIGHT)


def test_the_registry_has_another_image_than_the_engine(
    fake: Fake, publishing: Callable[..., publish.Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    candidate = row(spec())
    monkeypatch.setattr(
        describe, "image", lambda registry, manifest, real=describe.image: replace(real(registry, manifest), config="x")
    )
    with pytest.raises(RegistryError, match="another image than the engine"):
        publishing(candidate)
    assert not any(tags.is_users(tag) for tag in fake.tags)


def test_the_registry_lost_a_layer_on_the_way(
    fake: Fake, publishing: Callable[..., publish.Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = fake.registry().__class__.put_manifest

    def loses(registry: Any, reference: str, manifest: Any) -> bool:
        fake.blobs.pop(sha256(b"two"), None)
        return real(registry, reference, manifest)

    monkeypatch.setattr(publish.Registry, "put_manifest", loses)
    with pytest.raises(RegistryError, match="1 layers are missing in the registry after the push"):
        publishing(row(spec()))
    assert not any(tags.is_users(tag) for tag in fake.tags)


def test_the_report_was_lost_and_the_image_is_the_same(fake: Fake, publishing: Callable[..., publish.Outcome]) -> None:
    publishing(row(spec()))
    del fake.tags[fake.tags["latest"].replace(":", "-")]
    assert describe.read(fake.registry()).catalog.images == ()
    assert publishing(row(spec())).moves == ()
    whole(fake)
    assert len(describe.read(fake.registry()).catalog.images) == 1


@pytest.fixture
def cosign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """A cosign that writes down what it was called with, and then does as told."""

    def make(then: str) -> Path:
        folder, told = tmp_path / "bin", tmp_path / "told"
        folder.mkdir(exist_ok=True)
        (folder / "cosign").write_text(f'#!/bin/sh\necho "$@" >> {told}\n{then}\n')
        (folder / "cosign").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.setattr(push, "found", lambda program: program == "cosign")
        return told

    return make


def test_cosign_signs_the_digest_before_tags_move(
    fake: Fake, publishing: Callable[..., publish.Outcome], cosign: Callable[[str], Path]
) -> None:
    told = cosign("exit 0")
    outcome = publishing(row(spec()), key="my.key")
    plain = "--allow-http-registry --allow-insecure-registry"
    where, *others = told.read_text().removeprefix(f"sign --yes --key my.key {plain} ").split()
    assert where == f"{fake.host}/torchpair@{outcome.done[0].image.digest}"
    assert f"{fake.host}/torchpair@{outcome.done[0].image.report}" in others and len(others) == 4
    assert outcome.unsigned is None and outcome.done[0].signed


def test_a_signature_that_fails_moves_no_tag(
    fake: Fake, publishing: Callable[..., publish.Outcome], cosign: Callable[[str], Path]
) -> None:
    cosign("echo no key >&2; exit 1")
    with pytest.raises(TorchpairError, match="cosign ended with 1") as caught:
        publishing(row(spec()), key="my.key")
    assert "no tag was moved" in str(caught.value)
    assert not any(tags.is_users(tag) for tag in fake.tags)
    assert publishing(row(spec()), key="my.key", signing=False).unsigned == "--no-sign"


def test_cosign_without_a_key_is_said(cosign: Callable[[str], Path]) -> None:
    told = cosign("exit 0")
    assert push.unsigned(None, {}) == "cosign has no key (COSIGN_KEY, --key) and no identity of a CI"
    assert push.unsigned("k", {}) is None and push.unsigned(None, {"SIGSTORE_ID_TOKEN": "x"}) is None
    assert not told.exists()


@pytest.mark.parametrize(
    ("words", "kind", "what"),
    [
        ("denied: requested access to the resource is denied", RegistryError, "refuses this login"),
        ("no basic auth credentials", RegistryError, "refuses this login"),
        ("Get https://a/v2/: http: server gave HTTP response to HTTPS client", RegistryError, "no safe connection"),
        ("tls: failed to verify certificate: x509: unknown authority", RegistryError, "no safe connection"),
        ("dial tcp 127.0.0.1:5000: connect: connection refused", Transient, "went away"),
        ("write tcp: connection reset by peer", Transient, "went away"),
        ("received unexpected HTTP status: 503 Service Unavailable", Transient, "went away"),
        ("unexpected EOF", Transient, "went away"),
        ("blob upload unknown", Transient, "went away"),
        ("unsupported: The operation is unsupported.", RegistryError, "refuses the push"),
        ("received unexpected HTTP status: 418 I'm a teapot", RegistryError, "refuses the push"),
    ],
)
def test_what_the_engine_says_of_a_push(words: str, kind: type[RegistryError], what: str) -> None:
    with pytest.raises(kind, match=what) as caught:
        push.heard([{"status": "Preparing", "id": "a"}, {"error": words}], WHERE)
    assert type(caught.value) is kind and words in str(caught.value)


def test_a_long_push_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push, "EVERY", 0.0)
    told: list[tuple[int, int]] = []
    lines = [
        {"id": name, "progressDetail": {"current": at, "total": 10}} for name, at in (("a", 4), ("b", 2), ("a", 12))
    ]
    assert list(push.watched(lines, lambda done, total: told.append((done, total)))) == lines
    assert told == [(4, 10), (6, 20), (12, 20)]


def test_what_was_sent() -> None:
    lines: list[dict[str, Any]] = [
        {"status": "The push refers to repository"}, {"status": "Preparing", "id": "a"},
        {"status": "Layer already exists", "id": "b"}, {"status": "Pushed", "id": "a"},
        {"aux": {"Tag": "t", "Digest": "sha256:x", "Size": 1}},
    ]  # fmt: skip
    assert push.heard(lines, WHERE) == Sent("sha256:x", frozenset({"a"}))
