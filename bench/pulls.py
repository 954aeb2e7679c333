"""What a registry sends for one patch release of torch to who has the one before: two real images, pushed to Debian's
docker-registry on 127.0.0.1, and their layers as it has them, compressed."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import images

from torchpair import layers
from torchpair.engine import Engine

if TYPE_CHECKING:
    from tests.docker.registries import Server

TORCHES = ("2.5.0", "2.5.1")
# Its Python; of the distributions that a local base can be, this one has it.
REST = 'cuda: "12.4", python: "3.11"'
REPOSITORY = "torchpair"


def matrix() -> str:
    return "images:\n" + "".join(f'  - {{torch: "{torch}", {REST}, default: true}}\n' for torch in TORCHES)


def run(engine: Engine, base: str, say: images.Say) -> list[dict[str, object]]:
    """Takes minutes: the engine compresses what it pushes."""
    sys.path.append(str(Path(__file__).resolve().parents[1]))  # python puts bench/ there, and not the checkout
    from tests.docker.registries import Server

    with tempfile.TemporaryDirectory(prefix="torchpair-bench-") as name:
        bench = images.Bench(engine, base, Path(name), say, matrix())
        server = Server(Path(name) / "registry").start()
        try:
            say(f"ours: {' and '.join(spec.name for spec in bench.specs)}")
            bench.ours(bench.specs)
            old, new = (_pushed(bench, server, spec.reference, spec.tag) for spec in bench.specs)
            before, after = (layers.read(engine, spec.reference) for spec in bench.specs)
        finally:
            server.stop()
            bench.remove(bench.specs)
            bench.forget()
    sent = {digest: size for digest, size in new.items() if digest not in old}
    unpacked = sum(layer.size for layer in after) / 1e9
    pulled = sum(layer.size for layer in layers.pulled(after, before)) / 1e9
    names = " -> ".join(spec.name for spec in bench.specs)
    whole = f"the whole image; {names}"
    return [
        images.ratio("patch_bump_pull", sum(sent.values()) / 1e9, sum(new.values()) / 1e9, "GB",
                     f"{whole}, compressed, as a registry sends it"),
        images.ratio("patch_bump_pull_unpacked", pulled, unpacked, "GB", f"{whole}, unpacked"),
        images.ratio("compressed_size", sum(new.values()) / 1e9, unpacked, "GB",
                     f"the same image unpacked; {bench.specs[-1].name}"),
    ]  # fmt: skip


def _pushed(bench: images.Bench, server: Server, reference: str, tag: str) -> dict[str, int]:
    """Push an image; the compressed size of each of its layers, by digest."""
    there = f"{server.host}/{REPOSITORY}:{tag}"
    bench.docker("tag", reference, there)
    try:
        bench.docker("push", "--quiet", there)
    finally:
        bench.docker("rmi", there)
    _, manifest = server.manifest(REPOSITORY, tag)
    return {layer["digest"]: int(layer["size"]) for layer in manifest["layers"]}
