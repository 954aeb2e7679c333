"""What the matrix names no more: found first, shown, and only then removed."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import docker.errors
from docker import DockerClient

from torchpair import base as bases
from torchpair import files
from torchpair import report as reports
from torchpair.engine import Engine
from torchpair.errors import EngineError, TorchpairError
from torchpair.workspace import Workspace


@dataclass(frozen=True)
class Leftover:
    """One thing to remove. size: bytes; of an image, with layers that others may share. place: its id, or its path."""

    kind: Literal["image", "base", "file"]
    name: str
    size: int
    place: str


def find(workspace: Workspace, engine: Engine | None) -> list[Leftover]:
    """Images of rows, bases, reports and logs that no row of the matrix stands for. Raises TorchpairError."""
    specs = workspace.everywhere()
    found = _files(workspace, {spec.name for spec in specs})
    if engine is None:
        return found
    wanted = {spec.reference for spec in specs}
    local = {distro for spec in specs if spec.base == "local" for distro in (spec.distro, spec.tools_distro)}
    with closing(engine.client()) as client:
        return [*_images(client, wanted, {f"{bases.REPOSITORY}:{distro}" for distro in local}), *found]


def _images(client: DockerClient, wanted: set[str], wanted_bases: set[str]) -> list[Leftover]:
    found = []
    for image in client.images.list(filters={"label": "torchpair.row"}):
        if "torchpair.app" in image.labels:
            continue  # built upon a row, by `torchpair deploy`
        size, row = int(image.attrs["Size"]), str(image.labels["torchpair.row"])
        own = [tag for tag in image.tags if tag.startswith("torchpair:")]
        if not image.tags:
            found.append(Leftover("image", f"{row}, replaced since", size, str(image.id)))
        found += [Leftover("image", tag, size, tag) for tag in own if tag not in wanted]
    for image in client.images.list(bases.REPOSITORY):
        kept = [tag for tag in image.tags if tag.startswith(f"{bases.REPOSITORY}:") and tag not in wanted_bases]
        found += [Leftover("base", tag, int(image.attrs["Size"]), tag) for tag in kept]
    return found


def _files(workspace: Workspace, rows: set[str]) -> list[Leftover]:
    """Reports, logs and journals of rows that are gone. A report of an image that is no row's stays."""
    named = {files.file_stem(row) for row in rows}
    stale = []
    for path in sorted(workspace.reports.glob("*.json")):
        try:
            row = reports.load(path).row
        except TorchpairError:
            continue
        if row is not None and row not in rows:
            stale.append(path)
    journal = workspace.journal.folder
    stale += [path for path in sorted(journal.glob("*.json")) if path.stem not in named]
    gone = {path.stem for path in stale}
    stale += [path for path in sorted((workspace.reports / "logs").glob("*")) if path.name.split(".log")[0] in gone]
    return [Leftover("file", str(path.relative_to(workspace.folder)), path.stat().st_size, str(path)) for path in stale]


def remove(leftovers: Sequence[Leftover], engine: Engine | None) -> list[str]:
    """Remove them; of each that could not be, why. An image that a container needs stays."""
    kept = []
    for one in leftovers:
        if one.kind == "file":
            Path(one.place).unlink(missing_ok=True)
            continue
        assert engine is not None
        with closing(engine.client(timeout=600)) as client:
            try:
                client.images.remove(one.place)
            except docker.errors.ImageNotFound:
                continue
            except docker.errors.APIError as error:
                kept.append(f"{one.name}: {error.explanation or error}")
    return kept


def cache_size(engine: Engine) -> int:
    """Bytes of BuildKit's cache in the engine, of which images may share a part."""
    with closing(engine.client(timeout=600)) as client:
        return sum(int(entry.get("Size") or 0) for entry in client.df().get("BuildCache") or ())


def empty_cache(engine: Engine) -> int:
    """Remove all of BuildKit's cache; the bytes that this gave back. Raises EngineError."""
    with closing(engine.client(timeout=1800)) as client:
        try:
            answer = cast("Any", client.api).prune_builds(all=True)  # it has no types
        except docker.errors.APIError as error:
            raise EngineError("the build cache could not be emptied", why=str(error.explanation or error)) from error
    return int(answer.get("SpaceReclaimed") or 0)
