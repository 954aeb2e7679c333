"""choose and pull against Debian's docker-registry on 127.0.0.1, with small images that stand for rows."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import shutil
import signal
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from docker import DockerClient
from docker.errors import ImageNotFound

from torchpair import render, wire
from torchpair.registry import DOCKER_MANIFEST, Manifest, Registry
from torchpair.spec import Spec

from .conftest import FOURTEEN, torchpair
from .engines import Second
from .registries import Server
from .test_publish import DAY, FULL, MB, NEW, OLD, Rows, rows, server

__all__ = ["rows", "server"]  # fixtures of publish
BOTH = (OLD, NEW)
T4 = ("--gpu", "T4", "--driver", "535")


def made_by_hand(server: Server, spec: Spec, parts: dict[str, bytes]) -> dict[str, Any]:
    """An image that the engine never had, put into the registry blob by blob; its entry of a catalog."""
    registry = Registry(wire.repository(server.host))
    layers, diff_ids = [], []
    for name, data in parts.items():
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            member = tarfile.TarInfo(f"opt/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        packed = gzip.compress(buffer.getvalue(), mtime=0)
        registry.put_blob(packed)
        diff_ids.append(wire.sha256(buffer.getvalue()))
        layers.append((name, wire.sha256(packed), len(packed)))
    config = json.dumps(
        {"architecture": "amd64", "os": "linux", "config": {"Labels": render.labels(spec)},
         "rootfs": {"type": "layers", "diff_ids": diff_ids}}
    ).encode()  # fmt: skip
    registry.put_blob(config)
    kind = "application/vnd.docker.{}"
    body = json.dumps(
        {"schemaVersion": 2, "mediaType": DOCKER_MANIFEST,
         "config": {"mediaType": kind.format("container.image.v1+json"), "size": len(config),
                    "digest": wire.sha256(config)},
         "layers": [{"mediaType": kind.format("image.rootfs.diff.tar.gzip"), "size": size, "digest": digest}
                    for _, digest, size in layers]}
    ).encode()  # fmt: skip
    manifest = Manifest(DOCKER_MANIFEST, wire.sha256(body), body)
    for tag in (spec.tag, f"{spec.tag}-{DAY}"):
        registry.put_manifest(tag, manifest)
    return {
        "row": spec.name, "tag": spec.tag, "tags": [spec.tag, f"{spec.tag}-{DAY}"], "digest": manifest.digest,
        "platform": "linux/amd64", "size": sum(size for *_, size in layers),
        "layers": [{"name": name, "digest": digest, "size": size} for name, digest, size in layers],
        "torch": spec.torch, "torchaudio": spec.torchaudio, "torchcodec": spec.torchcodec, "cuda": spec.cuda,
        "python": spec.python, "base": f"{spec.base}:{spec.distro}", "sm": list(spec.sm or ()),
        "min_driver": spec.min_driver, "verdict": "healthy", "checked": "2026-11-21T12:00:00+00:00",
        "gpu_checked": False, "passed": 1, "failed": 0, "skipped_gpu": 0, "skipped_other": 0, "report": None,
    }  # fmt: skip


@pytest.fixture
def published(rows: Rows, server: Server, client: DockerClient) -> Iterator[dict[str, Any]]:
    """The catalog of two images that share a layer; none of them was ever in the engine."""
    shared = os.urandom(2 * MB)
    images = [made_by_hand(server, rows.specs[n], {"cuda": shared, "torch": os.urandom(MB)}) for n in BOTH]
    yield {
        "schema": "torchpair.catalog/1", "repository": f"{server.host}/torchpair",
        "generated": "2026-11-21T13:00:00+00:00", "images": images,
    }  # fmt: skip
    wipe(rows, client, server)


def wipe(rows: Rows, client: DockerClient, server: Server) -> None:
    """None of these rows' images in the engine, whatever it is called."""
    for image_id in {*rows.made, *(image.id for image in client.images.list(f"{server.host}/torchpair"))}:
        client.images.remove(image_id, force=True)
    rows.made.clear()


def saved(tmp_path: Path, body: dict[str, Any]) -> str:
    file = tmp_path / "catalog.json"
    file.write_text(json.dumps(body))
    return str(file)


def entry(body: dict[str, Any], row: str) -> dict[str, Any]:
    (found,) = [image for image in body["images"] if image["row"] == row]
    return dict(found)


def test_what_was_published_is_chosen_and_pulled(
    rows: Rows, server: Server, client: DockerClient, tmp_path: Path
) -> None:
    for name in BOTH:
        rows.make(name)
    done = rows.publish(server, *BOTH)
    assert done.code == 0, done.out + done.err
    wipe(rows, client, server)
    body = json.loads(torchpair("catalog", "-r", server.host).out)
    new = entry(body, NEW)
    chosen = torchpair("choose", "--catalog", saved(tmp_path, body), *T4)
    assert chosen.code == 0 and f"docker pull {server.host}/torchpair@{new['digest']}" in chosen.out
    # The registry itself serves as the catalog.
    assert torchpair("choose", "--catalog", server.host, *T4).out == chosen.out
    done = torchpair("pull", "--catalog", server.host, *T4)
    assert done.code == 0, done.out + done.err
    held = client.images.get(f"{server.host}/torchpair:{FULL[NEW]}")
    assert held.attrs["RepoDigests"] == [f"{server.host}/torchpair@{new['digest']}"]
    wipe(rows, client, server)


def test_a_second_tag_brings_only_what_is_new(
    published: dict[str, Any], server: Server, client: DockerClient, tmp_path: Path
) -> None:
    file = saved(tmp_path, published)
    old, new = entry(published, OLD), entry(published, NEW)
    done = torchpair("pull", "--catalog", file, *T4)
    assert done.code == 0, done.out + done.err
    assert f"digest as in the catalog; {new['size']:,} of {new['size']:,} bytes pulled" in done.out
    assert "cosign is not installed" in done.out
    held = client.images.get(f"{server.host}/torchpair:{FULL[NEW]}")
    assert held.attrs["RepoDigests"] == [f"{server.host}/torchpair@{new['digest']}"]
    again = torchpair("pull", "--catalog", file, *T4)
    assert again.code == 0 and "digest as in the catalog" in again.out

    second = torchpair("pull", "--catalog", file, "--gpu", "none", "--torch", "2.4.0")
    own = next(layer["size"] for layer in old["layers"] if layer["name"] == "torch")
    assert second.code == 0 and f"{own:,} of {old['size']:,} bytes pulled" in second.out
    assert client.images.get(f"{server.host}/torchpair:{FULL[OLD]}")


def test_nothing_runs_and_nothing_is_pulled(
    published: dict[str, Any], server: Server, client: DockerClient, tmp_path: Path
) -> None:
    file = saved(tmp_path, published)
    done = torchpair("pull", "--catalog", file, "--gpu", "T4", "--driver", "470")
    assert done.code == 2 and "driver 525.60.13 or newer" in done.out
    assert not client.images.list(f"{server.host}/torchpair")


def test_a_catalog_edited_by_hand(
    published: dict[str, Any], server: Server, client: DockerClient, tmp_path: Path
) -> None:
    """Another image's digest, one that the registry does not have, a label's value: none of them gets the tag."""
    old, new = entry(published, OLD), entry(published, NEW)
    edits: list[tuple[dict[str, Any], str]] = [
        ({"digest": "sha256:" + "0" * 64}, "another image than the catalog says"),
        ({"torchaudio": "2.4.0"}, "torchaudio: catalog 2.4.0, image 2.4.1"),
        ({"tag": "nothing", "tags": ["nothing"]}, "the registry has no nothing"),
    ]
    for edit, words in edits:
        body = {**published, "images": [{**new, **edit}]}
        done = torchpair("pull", "--catalog", saved(tmp_path, body), *T4)
        assert done.code == 4 and words in done.err, done.err
        with pytest.raises(ImageNotFound):
            client.images.get(f"{server.host}/torchpair:{(edit.get('tag') or FULL[NEW])}")
    # The digest of the other image under this one's tag: refused before anything is pulled.
    body = {**published, "images": [{**new, "digest": old["digest"]}]}
    done = torchpair("pull", "--catalog", saved(tmp_path, body), *T4)
    assert done.code == 4 and "edited by hand" in done.err


def test_a_tag_that_somebody_moved(
    published: dict[str, Any], rows: Rows, server: Server, client: DockerClient, tmp_path: Path
) -> None:
    """The full tag points at another image now; the dated one still at the catalog's, so that one is pulled."""
    new = entry(published, NEW)
    registry = Registry(wire.repository(server.host))
    other = registry.manifest(FULL[OLD])
    assert other
    registry.put_manifest(FULL[NEW], other)
    done = torchpair("pull", "--catalog", saved(tmp_path, published), *T4)
    assert done.code == 0 and "has moved on" in done.out
    held = client.images.get(f"{server.host}/torchpair:{FULL[NEW]}")
    assert held.attrs["RepoDigests"] == [f"{server.host}/torchpair@{new['digest']}"]


def test_a_blob_that_was_damaged(
    published: dict[str, Any], server: Server, client: DockerClient, tmp_path: Path
) -> None:
    new = entry(published, NEW)
    layer = next(one["digest"] for one in new["layers"] if one["name"] == "torch")
    blob = server.data / "docker/registry/v2/blobs/sha256" / layer[7:9] / layer[7:] / "data"
    blob.write_bytes(blob.read_bytes()[:-1] + b"x")
    done = torchpair("pull", "--catalog", saved(tmp_path, published), *T4)
    assert done.code == 4 and "not what the digest names" in done.err, done.err
    assert not client.images.list(f"{server.host}/torchpair")


def test_a_registry_that_is_gone(published: dict[str, Any], server: Server, tmp_path: Path) -> None:
    server.stop(signal.SIGKILL)
    done = torchpair("pull", "--catalog", saved(tmp_path, published), *T4)
    assert done.code == 4 and "the registry cannot be reached from the engine" in done.err
    server.start()


def test_the_quick_check_runs_in_what_was_pulled(published: dict[str, Any], tmp_path: Path) -> None:
    """These images have not even a shell: the check says that it learned nothing, and the pull stands."""
    done = torchpair("pull", "--catalog", saved(tmp_path, published), "--gpu", "none", "--check", "quick")
    assert done.code == 3 and "digest as in the catalog" in done.out and "cannot start" in done.err


def test_two_real_rows_on_a_machine_that_has_nothing(
    reports: dict[str, dict[str, Any]], matrix: Callable[[str], Path], client: DockerClient, tmp_path: Path
) -> None:
    """Two patch releases: built, published, chosen and pulled by an engine without images or build cache, and proven
    there. The second pull brings what the layers promise: less than half of the image."""
    older = FOURTEEN.replace("2.14.1", "2.14.0")
    row = '{{torch: "{}", cuda: "13.0", python: "3.13", default: true}}'
    folder = matrix("".join(f"  - {row.format(torch)}\n" for torch in ("2.14.0", "2.14.1")))
    server = Server(tmp_path / "registry").start()
    try:
        done = torchpair("images", cwd=folder)
        assert done.code == 0, done.out + done.err
        made = {name: json.loads((folder / f"reports/{name}.json").read_text()) for name in (older, FOURTEEN)}
        assert made[FOURTEEN]["image_id"] == reports[FOURTEEN]["image_id"]
        done = torchpair("publish", "-r", server.host, cwd=folder, timeout=1800)
        assert done.code == 0, done.out + done.err
        body = json.loads(torchpair("catalog", "-r", server.host).out)
        with Second(client, tmp_path / "elsewhere") as (host, there):
            assert there.images.list(all=True) == []
            for name, torch, limit in ((older, "2.14.0", 1.0), (FOURTEEN, "2.14.1", 0.45)):
                asked = ("--catalog", server.host, "--gpu", "none", "--torch", torch)
                image = entry(body, name)
                chosen = torchpair("choose", *asked, host=host)
                assert chosen.code == 0 and f"@{image['digest']}" in chosen.out, chosen.out + chosen.err
                done = torchpair("pull", *asked, "--check", "full", cwd=tmp_path, host=host, timeout=1800)
                assert done.code == 0 and "healthy" in done.out, done.out + done.err
                said = re.search(r"digest as in the catalog; ([\d,]+) of ([\d,]+) bytes pulled", done.out)
                assert said, done.out
                came, whole = (int(number.replace(",", "")) for number in said.groups())
                assert whole == image["size"] and came <= limit * whole
                print(f"{name}: {came:,} of {whole:,} bytes pulled ({came / whole:.3f})")
                held = there.images.get(f"{server.host}/torchpair:{image['tag']}")
                assert held.id == made[name]["image_id"]
                assert held.attrs["RepoDigests"] == [f"{server.host}/torchpair@{image['digest']}"]
    finally:
        server.stop()
        shutil.rmtree(server.data, ignore_errors=True)
        for tag in {tag for image in client.images.list() for tag in image.tags}:
            if tag.startswith((server.host, "torchpair:2.14.0-")):
                client.images.remove(tag)
