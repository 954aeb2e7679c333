"""Catalogs to choose from: images as the factory names and labels them, digests made up from their names."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from torchpair import facts as facts_data
from torchpair.catalog import Catalog, Layer, Published, parse
from torchpair.matrix import parse as rows
from torchpair.resolve import resolve
from torchpair.spec import Spec

FACTS = facts_data.load()
REPOSITORY = "registry.example:5000/team/torchpair"
# Compressed bytes, of the order that real layers have.
SIZES = {"base": 30_000_000, "cuda": 2_900_000_000, "python": 40_000_000, "torch": 900_000_000, "audio": 8_000_000}


def digest(*words: str) -> str:
    return "sha256:" + hashlib.sha256(" ".join(words).encode()).hexdigest()


def published(spec: Spec) -> Published:
    """The image of a spec, healthy, checked without a GPU."""
    said = {
        "base": (spec.distro,), "cuda": (spec.torch, spec.cuda), "python": (spec.python,),
        "torch": (spec.torch, spec.cuda, spec.python), "audio": (spec.torchaudio, spec.cuda, spec.python),
    }  # fmt: skip
    layers = tuple(
        Layer(name, digest(name, spec.arch, *words), SIZES[name])
        for name, words in said.items()
        if name != "cuda" or spec.cuda != "cpu"
    )
    return Published(
        row=spec.name, tag=spec.tag, tags=(spec.tag, f"{spec.tag}-20261121"), digest=digest(spec.tag),
        platform={"x86_64": "linux/amd64", "aarch64": "linux/arm64"}[spec.arch],
        size=sum(layer.size for layer in layers), layers=layers, torch=spec.torch, torchaudio=spec.torchaudio,
        torchcodec=spec.torchcodec, cuda=spec.cuda, python=spec.python, base=f"{spec.base}:{spec.distro}",
        sm=spec.sm or (), min_driver=spec.min_driver, verdict="healthy", checked="2026-11-21T12:00:00+00:00",
        gpu_checked=False, passed=51, failed=0, skipped_gpu=14, skipped_other=0, report=digest("report", spec.tag),
    )  # fmt: skip


def image(torch: str, cuda: str, python: str, arch: str = "x86_64") -> Published:
    (row,) = rows(f'images:\n  - {{torch: "{torch}", cuda: "{cuda}", python: "{python}", arch: {arch}}}\n')
    return published(resolve(row, FACTS))


def catalog(*images: Published) -> Catalog:
    """A catalog that went through its own reader, so that no test chooses from what could not be read."""
    return parse(Catalog(REPOSITORY, "2026-11-21T13:00:00+00:00", images).text())


def some(*triples: Sequence[str]) -> Catalog:
    return catalog(*(image(*triple) for triple in triples))


# One image for each generation of cards, and one without CUDA.
WIDE = some(
    ("2.14.1", "13.0", "3.13"), ("2.14.1", "12.6", "3.12"), ("2.8.0", "12.8", "3.11"), ("2.5.1", "12.4", "3.11"),
    ("2.1.0", "11.8", "3.10"), ("2.8.0", "cpu", "3.11"),
)  # fmt: skip
DEFAULTS = some(("2.14.1", "13.0", "3.13"), ("2.8.0", "12.8", "3.11"))


def changed(offer: Catalog, tag: str, **values: object) -> Catalog:
    """The catalog with one image otherwise."""
    images = tuple(replace(one, **values) if one.tag == tag else one for one in offer.images)  # type: ignore[arg-type]
    return replace(offer, images=images)
