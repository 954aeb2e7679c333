"""Images as a registry may have them, for tests: a row's real spec, and a report that somebody made up."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from fake_registry import Fake
from tests.docker.registries import made_up

from torchpair import artifacts, matrix, render
from torchpair import facts as facts_data
from torchpair.catalog import Layer, Published
from torchpair.lock import Lock, Locked
from torchpair.registry import Manifest
from torchpair.report import Report
from torchpair.resolve import resolve
from torchpair.spec import Spec
from torchpair.wire import sha256

FACTS = facts_data.load()
EIGHT = 'torch: "2.8.0", cuda: "12.8", python: "3.11"'


def spec(text: str = EIGHT, base: str = "local") -> Spec:
    (row,) = matrix.parse(f"images:\n  - {{{text}}}\n")
    return resolve(row, FACTS, base)


def lock(of: Spec) -> Lock:
    versions = {"numpy": "2.4.6", "torch": of.torch, "torchaudio": of.torchaudio}
    return Lock("asked", tuple(Locked(n, v, "ab" * 32, f"{n}-{v}-py3-none-any.whl", None) for n, v in versions.items()))


def report(of: Spec, image_id: str, **changes: Any) -> Report:
    return replace(made_up(lock(of), of, image_id), **changes)


def labels(of: Spec) -> dict[str, str]:
    return render.labels(of)


def put(fake: Fake, of: Spec, *tags: str, said: dict[str, str] | None = None, **changes: Any) -> Manifest:
    """An image and its report in a fake registry, under its full tag and others. said: labels that are different."""
    salt = changes.pop("salt", "")
    manifest = fake.put_image({"config": {"Labels": {**labels(of), **(said or {})}}, "salt": salt}, of.tag, *tags)
    config = json.loads(manifest.body)["config"]["digest"]
    found = artifacts.report(report(of, **{"image_id": config, **changes}))
    artifact = artifacts.bound(artifacts.REPORT, found, manifest, "2026-11-21T12:00:00+00:00")
    registry = fake.registry()
    registry.put_blob(artifacts.EMPTY)
    registry.put_blob(found)
    registry.attach(artifact.manifest)
    return manifest


def entry(torch: str = "2.8.0", cuda: str = "12.8", python: str = "3.11", **changes: Any) -> Published:
    """One image of a catalog, plain and healthy unless changed."""
    variant = cuda if cuda == "cpu" else "cu" + cuda.replace(".", "")
    tag = f"{torch}-{variant}-py{python.replace('.', '')}-debian12"
    digest = sha256(json.dumps([tag, str(changes)]).encode())
    image = Published(
        row=f"torch{torch}-{variant}-py{python.replace('.', '')}", tag=tag, tags=(tag,), digest=digest,
        platform="linux/amd64", size=3, layers=(Layer("base", sha256(b"1"), 1), Layer("torch", sha256(b"2"), 2)),
        torch=torch, torchaudio=torch, torchcodec=None, cuda=cuda, python=python, base="local:debian12",
        sm=() if cuda == "cpu" else ("8.0", "12.0+PTX"), min_driver=None if cuda == "cpu" else "525.60.13",
        verdict="healthy", checked="2026-11-21T12:00:00+00:00", gpu_checked=False, passed=50, failed=0,
        skipped_gpu=14, skipped_other=1, report=sha256(b"report"),
    )  # fmt: skip
    image = replace(image, **changes)
    return image if image.tag in image.tags else replace(image, tags=(image.tag, *image.tags))
