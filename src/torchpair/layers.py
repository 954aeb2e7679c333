"""An image by layers and packages: what weighs, what two images share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import docker.errors
import requests.exceptions
from docker.types import LogConfig

from torchpair import formatting, strict_json
from torchpair import inventory as inside
from torchpair.engine import Engine
from torchpair.errors import EngineError, TorchpairError
from torchpair.resolve import layer_of

SECONDS = 120
OUTPUT = "8m"
SHOWN = 8  # packages of a layer
TEXT = 200_000  # characters
# What the Dockerfile's steps are called in an image's history. A base has steps with apt-get of its own.
_STEPS = (
    (re.compile(r"COPY /layer/([a-z-]+) "), r"\1"),
    (re.compile(r"RUN .*: ([a-z]+); export SOURCE_DATE_EPOCH=.*apt-get "), r"\1"),
)
# Instructions that make no layer; every other makes one, if an empty one.
_NO_LAYER = re.compile(
    r"(/bin/sh -c #\(nop\) +)?"
    r"(ARG|CMD|ENTRYPOINT|ENV|EXPOSE|HEALTHCHECK|LABEL|MAINTAINER|ONBUILD|SHELL|STOPSIGNAL|USER|VOLUME)\b"
)


@dataclass(frozen=True)
class Layer:
    """One layer. digest: sha256 of its unpacked tar; size: bytes, unpacked."""

    name: str
    digest: str
    size: int


@dataclass(frozen=True)
class Inventory:
    """Bytes of an image's files by owner. nobody: of no package, by the folder that explains them. twice: CUDA
    libraries that lie at more than one place, each with its path, owner ("" is nobody) and size."""

    wheels: Mapping[str, int]
    debs: Mapping[str, int]
    nobody: Mapping[str, int]
    twice: Mapping[str, tuple[tuple[str, str, int], ...]]


@dataclass(frozen=True)
class Contents:
    """An image and all that is in it."""

    image: str
    layers: tuple[Layer, ...]
    files: Inventory

    @property
    def size(self) -> int:
        """Bytes, unpacked."""
        return sum(layer.size for layer in self.layers)


def read(engine: Engine, reference: str) -> tuple[Layer, ...]:
    """The layers of an image, the lowest first. Raises EngineError."""
    try:
        with closing(engine.client()) as client:
            image = client.images.get(reference)
            history, digests = image.history(), image.attrs["RootFS"].get("Layers") or []
    except docker.errors.ImageNotFound:
        raise EngineError(f"no image {reference} in the engine", remedy="torchpair images ROW makes it") from None
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        raise EngineError(f"the engine does not show {reference}", why=str(error)) from error
    return named(history, digests)


def named(history: Sequence[Mapping[str, Any]], digests: Sequence[str]) -> tuple[Layer, ...]:
    """Layers from an image's history, newest entry first as the engine has it, and its digests, lowest first. Pure."""
    steps = [entry for entry in reversed(history) if not _NO_LAYER.match(str(entry.get("CreatedBy") or ""))]
    if len(steps) != len(digests):  # made by another builder: its WORKDIR may have made no layer
        steps = [entry for entry in reversed(history) if int(entry.get("Size") or 0) > 0]
    if len(steps) != len(digests):
        return tuple(Layer("?", digest, 0) for digest in digests)
    names = step_names([str(step.get("CreatedBy") or "") for step in steps])
    return tuple(
        Layer(name, digest, int(step.get("Size") or 0))
        for name, step, digest in zip(names, steps, digests, strict=True)
    )


def step_names(steps: Sequence[str]) -> list[str]:
    """What lies in each layer, by the commands that made them, lowest first. Pure."""
    names: list[str] = []
    for words in steps:
        found = next((match.expand(name) for step_of, name in _STEPS if (match := step_of.search(words))), None)
        below = all(name == "base" for name in names)
        names.append(found or ("base" if below else "other"))
    return names


def pulled(layers: Sequence[Layer], present: Iterable[Layer]) -> tuple[Layer, ...]:
    """The layers that are not there yet. A layer is the same wherever it stands, by its digest."""
    there = {layer.digest for layer in present}
    return tuple(layer for layer in layers if layer.digest not in there)


def stored(images: Iterable[Sequence[Layer]]) -> int:
    """Bytes that images take together: every layer once."""
    return sum({layer.digest: layer.size for layers in images for layer in layers}.values())


def take_inventory(engine: Engine, reference: str) -> Inventory:
    """Count the files of an image from inside it, caged. Raises EngineError, or TorchpairError for a wrong answer."""
    try:
        text = _run_inside(engine, reference, Path(inside.__file__).read_text(encoding="utf-8"))
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        raise EngineError(f"the files of {reference} cannot be counted", why=str(error)[:500]) from error
    body = strict_json.parse(text, reference)
    try:
        assert isinstance(body, dict)
        wheels, debs, nobody = (
            {str(name): int(size) for name, size in body[kind].items()} for kind in ("wheel", "deb", "nobody")
        )
        twice = {
            str(name): tuple((str(path), str(owner), int(size)) for path, owner, size in places)
            for name, places in body["twice"].items()
        }
    except (AssertionError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise TorchpairError("what the image printed is no list of its files", where=reference) from error
    return Inventory(wheels, debs, nobody, twice)


def _run_inside(engine: Engine, reference: str, code: str) -> bytes:
    """What Python code prints in a container of an image, which is gone afterwards however that went."""
    with closing(engine.client(timeout=SECONDS)) as client:
        container = client.containers.create(
            reference, ["-c", code], entrypoint="python", user="0", network_mode="none", read_only=True,
            cap_drop=["ALL"], security_opt=["no-new-privileges"], pids_limit=32, mem_limit="2g",
            log_config=LogConfig(type="json-file", config={"max-size": OUTPUT, "max-file": "1"}),
        )  # fmt: skip
        try:
            container.start()
            code_of_exit = int(container.wait(timeout=SECONDS)["StatusCode"])
            if code_of_exit != 0:
                last = container.logs(stdout=False, stderr=True, tail=1).decode("utf-8", "replace")
                why = f"python ended with {code_of_exit}: {last[:500]}"
                raise EngineError(f"the files of {reference} cannot be counted", why=why)
            return bytes(container.logs(stdout=True, stderr=False))
        finally:
            container.remove(force=True, v=True)


def by_layer(wheels: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """Packages below the layer they lie in, the largest first."""
    found: dict[str, dict[str, int]] = {}
    for name, size in _largest_first(wheels).items():
        found.setdefault(layer_of(name), {})[name] = size
    return found


def _largest_first(sizes: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(sizes.items(), key=lambda item: (-item[1], item[0])))


def to_json(contents: Contents, there: Sequence[Layer] | None) -> dict[str, Any]:
    """The same as data; sizes in bytes, unpacked."""
    body: dict[str, Any] = {
        "image": contents.image,
        "size": contents.size,
        "layers": [asdict(layer) for layer in contents.layers],
        "wheels": by_layer(contents.files.wheels),
        "debs": _largest_first(contents.files.debs),
        "nobody": _largest_first(contents.files.nobody),
        "twice": {name: [list(place) for place in places] for name, places in contents.files.twice.items()},
    }
    if there is not None:
        body["pull"] = [asdict(layer) for layer in pulled(contents.layers, there)]
    return body


def lines(contents: Contents, there: Sequence[Layer] | None = None, have: str | None = None) -> list[str]:
    """What an image weighs, for reading: MB, unpacked, the largest first."""
    packages = by_layer(contents.files.wheels)
    packages["system"] = _largest_first(contents.files.debs)
    out = [f"{contents.image}: {contents.size / 1e9:.2f} GB in {len(contents.layers)} layers, in MB:"]
    for layer in sorted(contents.layers, key=lambda layer: -layer.size):
        also = " (and the base's packages)" if layer.name == "system" else ""
        out.append(f"{layer.size / 1e6:9.1f}  {layer.name}{also}  {layer.digest[7:19]}")
        inside_it = list(packages.get(layer.name, {}).items())
        out += [f"{'':11}{size / 1e6:8.1f}  {name}" for name, size in inside_it[:SHOWN]]
        if inside_it[SHOWN:]:
            rest = sum(size for _, size in inside_it[SHOWN:])
            out.append(f"{'':11}{rest / 1e6:8.1f}  {len(inside_it) - SHOWN} more")
    out.append(f"{sum(contents.files.nobody.values()) / 1e6:9.1f}  of no package:")
    nobody = _largest_first(contents.files.nobody)
    out += [f"{'':11}{size / 1e6:8.1f}  {area}" for area, size in nobody.items() if size > 100_000]
    for name, places in contents.files.twice.items():
        where = "; ".join(f"{path} ({owner or 'of no package'})" for path, owner, _ in places)
        out.append(f"at {len(places)} places: {name}: {where}")
    if there is not None:
        new = pulled(contents.layers, there)
        size = sum(layer.size for layer in new)
        names = ", ".join(layer.name for layer in new if layer.size > 0)
        out.append(f"who has {have} pulls {size / 1e9:.2f} GB of {contents.size / 1e9:.2f}: {names}")
    return formatting.block("\n".join(out), TEXT).split("\n")
