"""Two builds of one lock: what their layers do not have alike, path by path."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import IO, cast

import docker.errors
import requests.exceptions
from docker import DockerClient

from torchpair import formatting
from torchpair.engine import Engine
from torchpair.errors import EngineError
from torchpair.layers import TEXT, Layer, pulled, read

DIFFERENCES = 40
_FIELDS = ("type", "mode", "owner", "time", "size", "link", "content")
Entry = tuple[str, ...]


@dataclass(frozen=True)
class Difference:
    """One path that two images' layers do not have alike. what: only in the first, only in the second, or a field."""

    layer: str
    path: str
    what: str


def differences(engine: Engine, one: str, other: str) -> tuple[Difference, ...]:
    """What two images' layers of one name do not have alike, path by path. Reads each differing layer once."""
    first, second = read(engine, one), read(engine, other)
    found = []
    if [layer.name for layer in first] != [layer.name for layer in second]:
        return (Difference("?", "", "the images have other layers"),)
    pairs = [(a, b) for a, b in zip(first, second, strict=True) if a.digest != b.digest]
    if not pairs:
        return ()
    left = _contents(engine, one, {a.digest for a, _ in pairs})
    right = _contents(engine, other, {b.digest for _, b in pairs})
    for a, b in pairs:
        unlike = list(compared(a.name, left[a.digest], right[b.digest]))
        found += unlike or [Difference(a.name, "", "what is not compared, such as extended attributes")]
    return tuple(found)


def same(one: Sequence[Layer], other: Sequence[Layer]) -> tuple[int, int]:
    """Bytes in layers that two images share, and bytes of the first."""
    shared = sum(layer.size for layer in one) - sum(layer.size for layer in pulled(one, other))
    return shared, sum(layer.size for layer in one)


def diff_lines(shares: tuple[int, int], found: Sequence[Difference]) -> list[str]:
    """The difference of two builds, for reading."""
    shared, size = shares
    alike = f"{shared / size:.1%}" if size else "Nothing"  # no size: the history does not fit the layers
    out = [f"{alike} of {size / 1e9:.2f} GB lie in layers of one digest."]
    for difference in found[:DIFFERENCES]:
        out.append(f"{difference.layer}: {difference.path}: {difference.what}")
    if found[DIFFERENCES:]:
        out.append(f"and {len(found) - DIFFERENCES} more")
    return formatting.block("\n".join(out), TEXT).split("\n")


def compared(layer: str, one: Mapping[str, Entry], other: Mapping[str, Entry]) -> Iterator[Difference]:
    """Differences of two layers' entries. Pure."""
    if list(one) != list(other) and one.keys() == other.keys():
        yield Difference(layer, "", "the order of its entries")
    for path in sorted(one.keys() | other.keys()):
        if path not in other:
            yield Difference(layer, path, "only in the first")
        elif path not in one:
            yield Difference(layer, path, "only in the second")
        elif one[path] != other[path]:
            fields = zip(_FIELDS, one[path], other[path], strict=True)
            yield Difference(layer, path, ", ".join(f"{name} {a} and {b}" for name, a, b in fields if a != b))


def _contents(engine: Engine, reference: str, digests: set[str]) -> dict[str, dict[str, Entry]]:
    """The entries of an image's layers of these digests, as `docker save` streams them. Raises EngineError."""
    wanted = {digest.removeprefix("sha256:") for digest in digests}
    found: dict[str, dict[str, Entry]] = {}
    try:
        with (
            closing(engine.client(timeout=600)) as client,
            tarfile.open(fileobj=cast("IO[bytes]", _Stream(client, reference)), mode="r|") as outer,
        ):
            for member in outer:
                # Docker 25 and later: blobs/sha256/<digest of the unpacked tar>, as the OCI layout has it.
                name = member.name.rpartition("/")[2]
                blob = outer.extractfile(member) if name in wanted else None
                if blob is not None:
                    with tarfile.open(fileobj=blob, mode="r|") as layer:
                        found["sha256:" + name] = {entry.name: _entry(layer, entry) for entry in layer}
    except (docker.errors.DockerException, requests.exceptions.RequestException, tarfile.TarError) as error:
        raise EngineError(f"what the engine saves of {reference} cannot be read", why=str(error)[:500]) from error
    if missing := digests - found.keys():
        raise EngineError(
            f"{len(missing)} layers are not in what the engine saves of {reference}",
            why="Docker before 25 has another layout, the containerd image store has them compressed",
            remedy="use Docker 25 or later with its own image store (overlay2)",
        )
    return found


def _entry(layer: tarfile.TarFile, entry: tarfile.TarInfo) -> Entry:
    digest = ""
    if entry.isreg() and (content := layer.extractfile(entry)):
        sha = hashlib.sha256()
        while block := content.read(1 << 20):
            sha.update(block)
        digest = sha.hexdigest()[:12]
    owner = f"{entry.uid}:{entry.gid}"
    kind = entry.type.decode("ascii", "replace")
    return kind, f"{entry.mode:o}", owner, str(entry.mtime), str(entry.size), entry.linkname, digest


class _Stream:
    """The chunks of `docker save` as a file to read from."""

    def __init__(self, client: DockerClient, reference: str) -> None:
        self._chunks = iter(client.images.get(reference).save())
        self._rest = b""

    def read(self, size: int) -> bytes:
        parts, have = [self._rest], len(self._rest)
        while have < size and (chunk := next(self._chunks, b"")):
            parts.append(chunk)
            have += len(chunk)
        data = b"".join(parts)
        self._rest = data[size:]
        return data[:size]
