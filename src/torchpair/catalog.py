"""catalog.json: what a registry holds, image by image. Types, and a strict reader: a catalog comes from outside.

Pure. torchpair.registry reads what is there, torchpair.describe makes a catalog of it.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from packaging.version import InvalidVersion, Version

from torchpair.errors import TorchpairError
from torchpair.report import Verdict
from torchpair.strict_json import brief

SCHEMA = "torchpair.catalog/1"
VERDICTS: tuple[Verdict, ...] = ("healthy", "unhealthy", "inconclusive")

# A matrix of 1,000 rows takes 5 MB.
MAX_BYTES = 64 * 1024 * 1024
MAX_IMAGES = 20_000
MAX_ITEMS = 500  # of a list within an image
MAX_INTEGER = 2**63 - 1

# What the distribution spec allows for a tag; a repository is a registry's host, a port, a path.
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_REPOSITORY = re.compile(
    r"(?=.{1,255}$)([A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9A-Fa-f:]+\])(:[0-9]{1,5})?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+"
)
_ROW = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,199}")
_LAYER = re.compile(r"[A-Za-z0-9?][A-Za-z0-9._-]{0,63}")
_VERSION = re.compile(r"[0-9][A-Za-z0-9.+!]{0,63}")
_PLATFORM = re.compile(r"[a-z0-9]{1,20}/[a-z0-9]{1,20}(/[a-z0-9]{1,10})?")
_CUDA = re.compile(r"cpu|[0-9]{1,3}\.[0-9]{1,2}")
_PYTHON = re.compile(r"[0-9]{1,2}\.[0-9]{1,3}")
_BASE = re.compile(r"[a-z0-9]{1,40}:[A-Za-z0-9._-]{1,60}")
_SM = re.compile(r"[0-9]{1,3}\.[0-9][a-z]?(\+PTX)?")
_DRIVER = re.compile(r"[0-9]{1,4}(\.[0-9]{1,4}){1,2}")


@dataclass(frozen=True)
class Layer:
    """One layer as it is pulled. name: what lies in it (`torch`, `cuda`, `base`); size: bytes, compressed."""

    name: str
    digest: str
    size: int


@dataclass(frozen=True)
class Published:
    """One image of a registry, and what its report proved.

    tag: the full one; tags: all that point to the image, the full one among them. digest: of the manifest.
    size: bytes of all layers, compressed. cuda: "12.8" or "cpu". sm: GPU architectures that were compiled for,
    such as "9.0" or "12.0+PTX"; none for a CPU build. min_driver: None for a CPU build.
    checked: ISO 8601, UTC. gpu_checked: whether checks ran on a GPU. report: digest of the report's artifact.
    """

    row: str
    tag: str
    tags: tuple[str, ...]
    digest: str
    platform: str
    size: int
    layers: tuple[Layer, ...]
    torch: str
    torchaudio: str
    torchcodec: str | None
    cuda: str
    python: str
    base: str
    sm: tuple[str, ...]
    min_driver: str | None
    verdict: Verdict
    checked: str
    gpu_checked: bool
    passed: int
    failed: int
    skipped_gpu: int
    skipped_other: int
    report: str | None

    @property
    def rank(self) -> tuple[Version, Version, tuple[int, ...], tuple[int, ...], bool, tuple[int, ...], str]:
        """What makes an image newer than another: torch, torchaudio, CUDA (CPU is the oldest), Python; then the base:
        NVIDIA's before a local one, the newer distribution, and the tag, so that no two are alike."""
        cuda = () if self.cuda == "cpu" else _numbers(self.cuda)
        kind, _, distro = self.base.partition(":")
        return (
            Version(self.torch), Version(self.torchaudio), cuda, _numbers(self.python), kind == "nvidia",
            _numbers(distro), self.tag,
        )  # fmt: skip


@dataclass(frozen=True)
class Catalog:
    """Everything that a repository has to offer, the newest image first. repository: with its registry.

    generated: ISO 8601, UTC.
    """

    repository: str
    generated: str
    images: tuple[Published, ...]

    def to_json(self) -> dict[str, Any]:
        """The catalog as plain JSON values, in an order that depends on nothing but what it says."""
        images = sorted(self.images, key=lambda image: image.rank, reverse=True)
        return {
            "schema": SCHEMA,
            "repository": self.repository,
            "generated": self.generated,
            "images": [plain(image) for image in images],
        }

    def text(self) -> str:
        """catalog.json itself."""
        return json.dumps(self.to_json(), indent=1) + "\n"


def parse(text: str | bytes, where: str = "catalog.json") -> Catalog:
    """The catalog in a JSON text. Raises TorchpairError, which names the key, for anything out of order."""
    if len(text) > MAX_BYTES:
        raise _bad(where, f"is larger than {MAX_BYTES} bytes")
    try:
        obj = json.loads(text)
    except (ValueError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)[:200]
        raise TorchpairError("not readable as JSON", where=where, why=why) from error
    return from_json(obj, where)


def from_json(obj: object, where: str = "catalog.json") -> Catalog:
    """As `parse`, of a JSON value."""
    body = _object(obj, where, ("schema", "repository", "generated", "images"))
    if body["schema"] != SCHEMA:
        raise _bad(f"{where}.schema", f"is {brief(body['schema'])}, not {SCHEMA}")
    images = tuple(
        published(item, f"{where}.images[{index}]")
        for index, item in enumerate(_list(body["images"], f"{where}.images", MAX_IMAGES))
    )
    for what, values in (("digest", [i.digest for i in images]), ("tag", [t for i in images for t in i.tags])):
        seen = set()
        for value in values:
            if value in seen:
                raise _bad(f"{where}.images", f"have the {what} {value} twice")
            seen.add(value)
    return Catalog(
        repository=_like(body, "repository", where, _REPOSITORY),
        generated=_moment(body, "generated", where),
        images=tuple(sorted(images, key=lambda image: image.rank, reverse=True)),
    )


def plain(image: Published) -> dict[str, Any]:
    """An image as plain JSON values."""
    return {**asdict(image), "tags": sorted(image.tags)}


def is_digest(obj: object) -> bool:
    """Whether something is a digest as a catalog has it: sha256."""
    return isinstance(obj, str) and bool(_DIGEST.fullmatch(obj))


def published(obj: object, where: str) -> Published:
    """One image in a JSON value. Raises TorchpairError."""
    body = _object(obj, where, tuple(field.name for field in fields(Published)))
    image = Published(
        row=_like(body, "row", where, _ROW),
        tag=_like(body, "tag", where, _TAG),
        tags=tuple(sorted(_texts(body, "tags", where, _TAG))),
        digest=_like(body, "digest", where, _DIGEST),
        platform=_like(body, "platform", where, _PLATFORM),
        size=_count(body, "size", where),
        layers=tuple(
            _layer(item, f"{where}.layers[{index}]")
            for index, item in enumerate(_list(body["layers"], f"{where}.layers", MAX_ITEMS))
        ),
        torch=_version(body, "torch", where),
        torchaudio=_version(body, "torchaudio", where),
        torchcodec=None if body["torchcodec"] is None else _version(body, "torchcodec", where),
        cuda=_like(body, "cuda", where, _CUDA),
        python=_like(body, "python", where, _PYTHON),
        base=_like(body, "base", where, _BASE),
        sm=_texts(body, "sm", where, _SM),
        min_driver=None if body["min_driver"] is None else _like(body, "min_driver", where, _DRIVER),
        verdict=_verdict(body, where),
        checked=_moment(body, "checked", where),
        gpu_checked=_bool(body, "gpu_checked", where),
        passed=_count(body, "passed", where),
        failed=_count(body, "failed", where),
        skipped_gpu=_count(body, "skipped_gpu", where),
        skipped_other=_count(body, "skipped_other", where),
        report=None if body["report"] is None else _like(body, "report", where, _DIGEST),
    )
    if image.tag not in image.tags:
        raise _bad(f"{where}.tags", f"lack the full tag {image.tag}")
    if image.size != sum(layer.size for layer in image.layers):
        raise _bad(f"{where}.size", f"is {image.size}, but the layers have {sum(x.size for x in image.layers)} bytes")
    if (image.cuda == "cpu") != (image.min_driver is None):
        raise _bad(f"{where}.min_driver", f"is {brief(image.min_driver)} for cuda {image.cuda}")
    if (image.verdict == "unhealthy") != (image.failed > 0) or (image.verdict == "healthy" and not image.passed):
        raise _bad(f"{where}.verdict", f"is {image.verdict}, with {image.passed} passed and {image.failed} failed")
    return image


def _layer(obj: object, where: str) -> Layer:
    body = _object(obj, where, tuple(field.name for field in fields(Layer)))
    return Layer(_like(body, "name", where, _LAYER), _like(body, "digest", where, _DIGEST), _count(body, "size", where))


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"[0-9]{1,9}", text))


def _bad(where: str, what: str) -> TorchpairError:
    return TorchpairError(
        what, where=where, why="this is not what a catalog of torchpair looks like",
        remedy="make it anew from the registry: torchpair catalog --registry R --output catalog.json",
    )  # fmt: skip


def _object(obj: object, where: str, keys: tuple[str, ...]) -> dict[str, Any]:
    """An object with exactly these keys."""
    if not isinstance(obj, dict):
        raise _bad(where, f"is {brief(obj)}, not an object")
    for key in keys:
        if key not in obj:
            raise _bad(where, f"has no {key}")
    unknown = sorted(set(obj) - set(keys))
    if unknown:
        raise _bad(where, f"has the unknown key {brief(unknown[0])}")
    return obj


def _list(obj: object, where: str, most: int) -> list[Any]:
    if not isinstance(obj, list):
        raise _bad(where, f"is {brief(obj)}, not a list")
    if len(obj) > most:
        raise _bad(where, f"has {len(obj)} items; at most {most} are read")
    return obj


def _like(body: dict[str, Any], key: str, where: str, pattern: re.Pattern[str]) -> str:
    return _matches(body[key], f"{where}.{key}", pattern)


def _matches(value: object, where: str, pattern: re.Pattern[str]) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise _bad(where, f"is {brief(value)}, not of the form that it has in a catalog")
    return value


def _texts(body: dict[str, Any], key: str, where: str, pattern: re.Pattern[str]) -> tuple[str, ...]:
    items = _list(body[key], f"{where}.{key}", MAX_ITEMS)
    return tuple(_matches(item, f"{where}.{key}[{index}]", pattern) for index, item in enumerate(items))


def _version(body: dict[str, Any], key: str, where: str) -> str:
    value = _like(body, key, where, _VERSION)
    try:
        Version(value)
    except InvalidVersion as error:
        raise _bad(f"{where}.{key}", f"is {brief(value)}, no version") from error
    return value


def _count(body: dict[str, Any], key: str, where: str) -> int:
    value = body[key]
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_INTEGER:
        raise _bad(f"{where}.{key}", f"is {brief(value)}, not a number of 0 or more")
    return value


def _bool(body: dict[str, Any], key: str, where: str) -> bool:
    value = body[key]
    if not isinstance(value, bool):
        raise _bad(f"{where}.{key}", f"is {brief(value)}, not true or false")
    return value


def _verdict(body: dict[str, Any], where: str) -> Verdict:
    for name in VERDICTS:
        if body["verdict"] == name:
            return name
    raise _bad(f"{where}.verdict", f"is {brief(body['verdict'])}; allowed: {', '.join(VERDICTS)}")


def _moment(body: dict[str, Any], key: str, where: str) -> str:
    value = body[key]
    try:
        # Python 3.10 does not know the Z of ISO 8601.
        moment = datetime.fromisoformat(re.sub(r"Z$", "+00:00", value)) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None or len(value) > 40 or moment.utcoffset() != timedelta(0):
        raise _bad(f"{where}.{key}", f"is {brief(value)}, not a time in UTC such as 2026-11-21T12:00:00+00:00")
    return str(value)


def differences(said: Catalog, there: Catalog) -> list[str]:
    """What a catalog says otherwise than the registry does (when it was made is no difference), one line each."""
    lines = []
    if said.repository != there.repository:
        lines.append(f"repository: the catalog says {said.repository}, this is {there.repository}")
    ours, theirs = ({image.tag: image for image in catalog.images} for catalog in (said, there))
    for tag in sorted(ours.keys() | theirs.keys()):
        if tag not in theirs:
            lines.append(f"{tag}: is in the catalog, and not in the registry with a report that holds")
        elif tag not in ours:
            lines.append(f"{tag}: is in the registry, and not in the catalog")
        else:
            a, b = asdict(ours[tag]), asdict(theirs[tag])
            lines += [
                f"{tag}: {key}: the catalog says {_brief_json(a[key])}, the registry {_brief_json(b[key])}"
                for key in a
                if a[key] != b[key]
            ]
    return lines


def _brief_json(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 100 else f"{text[:97]}..."
