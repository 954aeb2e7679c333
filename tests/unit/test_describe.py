"""What a registry holds becomes a catalog: what holds is in it, everything else is named."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from fake_registry import Fake, running
from published import put, report, spec
from tests.docker.registries import failed

from torchpair import artifacts, describe, truth
from torchpair.registry import OCI_INDEX
from torchpair.wire import sha256

SPEC = spec()


@pytest.fixture
def fake() -> Iterator[Fake]:
    with running() as made:
        yield made


def left_out(fake: Fake) -> str:
    held = describe.read(fake.registry())
    assert held.catalog.images == ()
    (line,) = held.left_out
    return line


@pytest.mark.parametrize("api", [True, False])
def test_an_image_and_its_report(fake: Fake, api: bool) -> None:
    fake.api = api
    manifest = put(fake, SPEC, "latest", f"{SPEC.tag}-20261121")
    fake.tags["torchpair-incoming-x"] = manifest.digest
    held = describe.read(fake.registry())
    (image,) = held.catalog.images
    assert (image.digest, image.verdict, image.row) == (manifest.digest, "healthy", SPEC.name)
    assert image.tags == (SPEC.tag, f"{SPEC.tag}-20261121", "latest")
    assert [(layer.name, layer.size) for layer in image.layers] == [("cuda", 3), ("torch", 3)]
    assert image.report in fake.manifests and held.left_out == ()
    assert set(held.tags) == set(image.tags)


def test_an_empty_repository(fake: Fake) -> None:
    held = describe.read(fake.registry())
    assert (held.catalog.images, held.left_out, held.tags) == ((), (), {})


def test_a_missing_blob(fake: Fake) -> None:
    put(fake, SPEC)
    del fake.blobs[sha256(b"two")]
    assert "1 of its 2 layers are missing in the registry" in left_out(fake)


def test_a_blob_that_is_not_there_in_full(fake: Fake) -> None:
    put(fake, SPEC)
    fake.blobs[sha256(b"two")] = b"tw"
    assert "1 of its 2 layers are missing" in left_out(fake)


def test_a_missing_configuration(fake: Fake) -> None:
    manifest = put(fake, SPEC)
    del fake.blobs[json.loads(manifest.body)["config"]["digest"]]
    assert "its configuration is missing" in left_out(fake)


def test_no_report(fake: Fake) -> None:
    manifest = put(fake, SPEC)
    del fake.tags[manifest.digest.replace(":", "-")]
    assert "no report is there that is of this image" in left_out(fake)


def test_a_report_of_another_image(fake: Fake) -> None:
    put(fake, SPEC, image_id=sha256(b"other"))
    assert "no report is there that is of this image" in left_out(fake)


def test_a_report_of_another_image_that_is_listed_here(fake: Fake) -> None:
    """The index of one image's referrers lists another's report."""
    good = put(fake, SPEC)
    index = fake.tags.pop(good.digest.replace(":", "-"))
    del fake.tags[SPEC.tag]
    other = put(fake, SPEC, image_id=sha256(b"other"), salt="1")
    fake.tags[other.digest.replace(":", "-")] = index
    assert "no report is there" in left_out(fake)


def test_a_report_whose_subject_is_another_manifest(fake: Fake) -> None:
    """Of the same image, as its id says; yet what was signed and sent with it is another manifest."""
    good = put(fake, SPEC)
    index = fake.tags.pop(good.digest.replace(":", "-"))
    body = good.body + b"\n"
    fake.manifests[sha256(body)] = (good.media_type, body)
    fake.tags = {SPEC.tag: sha256(body), sha256(body).replace(":", "-"): index}
    assert "no report is there" in left_out(fake)


def test_a_label_that_lies(fake: Fake) -> None:
    put(fake, SPEC, said={"torchpair.cuda": "12.4"})
    assert "torchpair.cuda says 12.4, the running image 12.8" in left_out(fake)


def test_a_label_with_an_escape_sequence(fake: Fake) -> None:
    put(fake, SPEC, said={"torchpair.base": "local:\x1b]0;evil\x07debian12"})
    assert "\x1b" not in left_out(fake)


def test_a_tag_that_points_at_another_row(fake: Fake) -> None:
    manifest = put(fake, SPEC)
    fake.tags = {tag: digest for tag, digest in fake.tags.items() if tag != SPEC.tag}
    fake.tags["2.9.0-cu128-py311-debian12"] = manifest.digest
    assert f"its label says the tag {SPEC.tag}, which does not point at it" in left_out(fake)


def test_what_is_not_torchpairs(fake: Fake) -> None:
    fake.put_image({"config": {}}, "latest")
    assert left_out(fake) == "latest: this is no image of torchpair's: it has not its labels"


def test_an_index_is_said_to_be_none(fake: Fake) -> None:
    body = b'{"schemaVersion": 2, "manifests": []}'
    fake.manifests[sha256(body)] = (OCI_INDEX, body)
    fake.tags["latest"] = sha256(body)
    assert "it is no single image" in left_out(fake)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"config": 1, "layers": 2}', b'{"config": {"digest": "x"}}'])
def test_a_manifest_that_is_none(fake: Fake, body: bytes) -> None:
    good = put(fake, SPEC)
    fake.manifests[sha256(body)] = (good.media_type, body)
    fake.tags = {"latest": sha256(body)}
    assert "its manifest is none" in left_out(fake)


@pytest.mark.parametrize("config", [b"", b"[]", b"{}", b'{"config": {"Labels": 1}, "rootfs": {"diff_ids": []}}'])
def test_a_configuration_that_is_none(fake: Fake, config: bytes) -> None:
    good = put(fake, SPEC)
    entry = {"mediaType": "c", "digest": sha256(config), "size": len(config)}
    body = json.dumps({"config": entry, "layers": []}).encode()
    fake.blobs[sha256(config)] = config
    fake.manifests[sha256(body)] = (good.media_type, body)
    fake.tags = {"latest": sha256(body)}
    assert "its configuration is none" in left_out(fake)


def test_the_newest_report_counts(fake: Fake) -> None:
    manifest = put(fake, SPEC)
    config = json.loads(manifest.body)["config"]["digest"]
    later = failed(report(SPEC, config, started="2026-11-22T12:00:00+00:00"))
    data = artifacts.report(later)
    fake.registry().put_blob(data)
    fake.registry().attach(artifacts.bound(artifacts.REPORT, data, manifest, later.started).manifest)
    (image,) = describe.read(fake.registry()).catalog.images
    assert (image.verdict, image.failed, image.checked) == ("unhealthy", 1, "2026-11-22T12:00:00+00:00")


def test_an_image_that_was_followed_by_another_is_not_listed(fake: Fake) -> None:
    old = put(fake, SPEC, f"{SPEC.tag}-20261120", salt="old")
    new = put(fake, SPEC, f"{SPEC.tag}-20261121")
    held = describe.read(fake.registry())
    assert [image.digest for image in held.catalog.images] == [new.digest]
    assert held.left_out == () and held.tags[f"{SPEC.tag}-20261120"] == old.digest


def test_it_is_as_strict_with_labels_as_with_a_file(fake: Fake) -> None:
    """What every part of an image agrees on can still be nonsense."""
    put(fake, SPEC, said={"torchpair.row": "a row"}, row="a row")
    line = left_out(fake)
    assert f"{SPEC.tag}.row" in line and truth.TAG not in line
