"""A registry -> a Catalog: what it really holds, read back image by image. Nothing that it says is trusted unread."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from torchpair import artifacts, strict_json, tags, truth
from torchpair import catalog as catalogs
from torchpair.catalog import Catalog, Layer, Published
from torchpair.errors import TorchpairError, visible
from torchpair.layers import step_names
from torchpair.registry import DOCKER_MANIFEST, OCI_MANIFEST, Manifest, Registry
from torchpair.report import Report

CALLS = 8  # at a time
MAX_CONFIG = 4 * 1024 * 1024
MAX_ARTIFACTS = 50  # of one image


@dataclass(frozen=True)
class Image:
    """An image as the registry has it: manifest, configuration, layers. config: digest of the configuration."""

    manifest: Manifest
    config: str
    labels: dict[str, str]
    platform: str
    diff_ids: tuple[str, ...]
    layers: tuple[Layer, ...]

    @property
    def ids(self) -> tuple[str, str]:
        """What an engine calls it: with containerd's store the manifest's digest, else the configuration's."""
        return self.manifest.digest, self.config


@dataclass(frozen=True)
class Held:
    """Everything in a repository. tags: those for users, with their digests. left_out: what the catalog has not, and
    why, a line each."""

    tags: dict[str, str]
    catalog: Catalog
    left_out: tuple[str, ...]

    @property
    def known(self) -> dict[str, Published]:
        """The images of the catalog by digest."""
        return {image.digest: image for image in self.catalog.images}


def read(registry: Registry) -> Held:
    """Read a repository. Raises RegistryError for a registry that cannot be read; an image that makes no sense, or
    whose report does not hold, is left out and said."""
    names = [tag for tag in registry.tags() if tags.is_users(tag)]
    there: dict[tuple[str, int], bool] = {}
    images, left_out = [], []
    # A few calls for each tag and image: to a registry far away, one after the other takes minutes.
    with ThreadPoolExecutor(CALLS) as pool:
        found = zip(names, pool.map(registry.digest, names), strict=True)
        held = {tag: digest for tag, digest in found if digest}
        by_digest: dict[str, list[str]] = {}
        for tag, digest in held.items():
            by_digest.setdefault(digest, []).append(tag)
        for entry in pool.map(lambda item: _entry_or_why(registry, item[0], item[1], there), sorted(by_digest.items())):
            if isinstance(entry, str):
                left_out.append(entry)
            elif entry:
                images.append(entry)
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    ordered = tuple(sorted(images, key=lambda image: image.rank, reverse=True))
    return Held(held, Catalog(str(registry.where), now, ordered), tuple(left_out))


class _Unfit(TorchpairError):
    """An image that has no place in a catalog."""


def _entry_or_why(
    registry: Registry, digest: str, names: list[str], there: dict[tuple[str, int], bool]
) -> Published | str | None:
    try:
        return _entry(registry, digest, tuple(sorted(names)), there)
    except _Unfit as error:
        return f"{', '.join(sorted(names))}: {visible(error.what)}"


def _entry(
    registry: Registry, digest: str, names: tuple[str, ...], there: dict[tuple[str, int], bool]
) -> Published | None:
    """The catalog's entry of one image; None for one that is there by dated tags only: it was followed by another.

    there: the blobs that were asked for already: images share most of theirs.
    """
    manifest = registry.manifest(digest)
    if manifest is None:
        raise _Unfit("the registry has the tag, and not the manifest that it points at")
    try:
        found = image(registry, manifest)
    except Unreadable as error:
        raise _Unfit(error.what) from error
    tag = found.labels.get(truth.TAG)
    if tag is None or "torchpair.row" not in found.labels:
        raise _Unfit("this is no image of torchpair's: it has not its labels")
    if all(tags.is_dated(name) and name.startswith(f"{tag}-") for name in names):
        return None
    if tag not in names:
        raise _Unfit(f"its label says the tag {tag}, which does not point at it")
    for layer in found.layers:
        if (layer.digest, layer.size) not in there:
            there[layer.digest, layer.size] = registry.has_blob(layer.digest, layer.size)
    lost = [layer for layer in found.layers if not there[layer.digest, layer.size]]
    if lost:
        raise _Unfit(
            f"{len(lost)} of its {len(found.layers)} layers are missing in the registry ({lost[0].digest[:19]})"
        )
    report, artifact = proof(registry, found)
    if report is None:
        raise _Unfit("no report is there that is of this image")
    wrong = truth.disagreements(tag, found.labels, report, found.ids)
    if wrong:
        raise _Unfit(wrong[0])
    try:
        entry = truth.published(
            tag, names, digest, found.platform, found.layers, found.labels, report, artifact
        )  # fmt: skip
        # As strict as with a file that somebody hands in: labels are anybody's.
        return catalogs.published(json.loads(json.dumps(catalogs.plain(entry))), tag)
    except TorchpairError as error:
        raise _Unfit(f"{error.where}: {error.what}") from error


class Unreadable(TorchpairError):
    """A manifest or configuration that torchpair does not read."""


def image(registry: Registry, manifest: Manifest) -> Image:
    """What a manifest describes. Raises Unreadable."""
    body = manifest.content
    if manifest.media_type not in (DOCKER_MANIFEST, OCI_MANIFEST):
        raise Unreadable(
            f"it is no single image ({manifest.media_type[:80]}): several platforms, or attestations beside it"
        )
    blobs = [body.get("config"), *_items(body.get("layers"))]
    if not all(_is_descriptor(blob) for blob in blobs):
        raise Unreadable("its manifest is none")
    config, *layers = blobs
    raw = registry.blob(config["digest"], MAX_CONFIG)
    if raw is None:
        raise Unreadable("its configuration is missing in the registry")
    try:
        seen = json.loads(raw)
        labels = {str(k): str(v) for k, v in (seen["config"].get("Labels") or {}).items()}
        diff_ids = tuple(str(item) for item in seen["rootfs"]["diff_ids"])
        steps = [str(step.get("created_by") or "") for step in seen.get("history") or () if not step.get("empty_layer")]
        platform = "/".join(filter(None, (seen["os"], seen["architecture"], seen.get("variant"))))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Unreadable("its configuration is none") from error
    names = step_names(steps) if len(steps) == len(layers) else ["?"] * len(layers)
    if len(diff_ids) != len(layers):
        raise Unreadable("its configuration has other layers than its manifest")
    return Image(
        manifest, config["digest"], labels, platform, diff_ids,
        tuple(Layer(name, item["digest"], item["size"]) for name, item in zip(names, layers, strict=True)),
    )  # fmt: skip


def proof(registry: Registry, found: Image) -> tuple[Report | None, str | None]:
    """The newest report that is of an image, with its artifact's digest; None where there is none."""
    best: tuple[str, Report, str] | None = None
    for item in registry.referrers(found.manifest.digest)[:MAX_ARTIFACTS]:
        manifest = registry.manifest(item["digest"]) if _about(item) else None
        content = manifest.content if manifest else {}
        files = _items(content.get("layers"))
        subject = content.get("subject")
        if content.get("artifactType") != artifacts.REPORT or len(files) != 1 or not _is_descriptor(files[0]):
            continue
        if not isinstance(subject, dict) or subject.get("digest") != found.manifest.digest:
            continue
        raw = registry.blob(files[0]["digest"], strict_json.MAX_BYTES)
        try:
            report = Report.from_json(strict_json.parse(raw or b"", item["digest"]), item["digest"])
        except TorchpairError:
            continue
        if report.image_id in found.ids and (best is None or report.started > best[0]):
            best = (report.started, report, item["digest"])
    return (best[1], best[2]) if best else (None, None)


def _about(item: dict[str, Any]) -> bool:
    """Whether a referrer may be a report: an index need not say what kind an artifact is."""
    return item.get("artifactType") in (artifacts.REPORT, None) and catalogs.is_digest(item["digest"])


def _items(obj: object) -> Sequence[Any]:
    return obj if isinstance(obj, list) else ()


def _is_descriptor(obj: object) -> bool:
    if not isinstance(obj, dict) or not catalogs.is_digest(obj.get("digest")):
        return False
    size = obj.get("size")
    return isinstance(size, int) and not isinstance(size, bool) and 0 <= size < 2**63
