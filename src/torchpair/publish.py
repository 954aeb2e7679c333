"""`torchpair publish`: proven images into a registry. First all that an image needs, then what points at it.

1. Every row is looked at before anything is sent: one that is not proven, or says two things, stops them all.
2. The image goes by the engine's push under a tag that nobody uses, and is read back by its digest.
3. Report, lock, SBOM and provenance are put beside it, and cosign signs where it can.
4. Tags move, the most permanent first, and are read back.

Whatever ends it in between, no tag points at something that is not whole, and the same command goes on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from torchpair import artifacts, describe, files, push, render, tags, truth
from torchpair import report as reports
from torchpair.artifacts import Artifact, Deb
from torchpair.catalog import Layer, Published
from torchpair.describe import Held, Image
from torchpair.engine import Engine
from torchpair.errors import EXIT_UNHEALTHY, TorchpairError
from torchpair.factory import spec_of
from torchpair.lock import Lock, text
from torchpair.push import Local
from torchpair.registry import Registry
from torchpair.report import Report
from torchpair.spec import Spec
from torchpair.tags import Move
from torchpair.wire import RegistryError, Say, retried
from torchpair.workspace import Workspace

PUSHES = 3  # of one image; the engine tries each layer five times itself


class RefusedError(TorchpairError):
    """An image that is not proven, or of which two things are said."""

    exit_code = EXIT_UNHEALTHY


@dataclass(frozen=True)
class Candidate:
    """One row whose image may be published. made_from: as artifacts.provenance takes it. installed: its Debian
    packages, read before anything is sent: a push takes long, and the row may be built anew meanwhile."""

    spec: Spec
    report: Report
    lock: Lock
    local: Local
    made_from: Mapping[str, bytes | str]
    installed: tuple[Deb, ...]


@dataclass(frozen=True)
class Done:
    """One row in the registry. sent: bytes of layers and artifacts that were not there before. signed: by cosign."""

    image: Published
    sent: int
    signed: bool


@dataclass(frozen=True)
class Outcome:
    """What a publish did. unsigned: why nothing is signed, None where all is."""

    done: tuple[Done, ...]
    moves: tuple[Move, ...]
    kept: tuple[str, ...]
    unsigned: str | None


def candidates(workspace: Workspace, engine: Engine, names: Sequence[str], base: str) -> list[Candidate]:
    """The rows of these names, or the default ones, each proven. Raises RefusedError with all that is wrong."""
    found, wrong = [], []
    for row in workspace.choose(names):
        spec = spec_of(workspace, row.name, base, engine)
        assert spec is not None  # it is a row
        local = push.look(engine, spec.reference)
        lock = workspace.lock(spec)
        path = workspace.reports / f"{files.file_stem(spec.name)}.json"
        if not path.is_file():
            wrong.append(f"{row.name}: there is no report of it ({path})")
            continue
        report = reports.load(path)
        lines = truth.unproven(report)
        lines += truth.disagreements(spec.tag, local.labels, report, (local.id,))
        lines += [line for line in truth.of_row(spec, local.labels, report, lock) if line not in lines]
        if lines or lock is None:
            wrong += [f"{row.name}: {line}" for line in lines]
            continue
        installed = push.packages(engine, local.id)
        found.append(Candidate(spec, report, lock, local, _made_from(workspace, spec), installed))
    if wrong:
        shown = wrong[:12] + ([f"and {len(wrong) - 12} more"] if len(wrong) > 12 else [])
        raise RefusedError(
            "refused: nothing was published", why="\n       ".join(shown),
            remedy="torchpair images ROW builds and proves it anew; torchpair doctor ROW says what is wrong with it",
        )  # fmt: skip
    return found


def _made_from(workspace: Workspace, spec: Spec) -> dict[str, bytes | str]:
    found: dict[str, bytes | str] = {}
    for name, path in (("Dockerfile", workspace.dockerfiles / render.file_name(spec)), ("matrix", workspace.file)):
        if path.is_file():
            found[name] = path.read_bytes()
    return {**found, **{f"source of {package}": told for package, told in workspace.compiled_from(spec).items()}}


def publish(
    registry: Registry, engine: Engine, rows: Sequence[Candidate], *, force: bool = False, signing: bool = True,
    key: str | None = None, insecure: bool = False, say: Say = lambda line: None,
) -> Outcome:  # fmt: skip
    """Put rows into a registry and move their tags. Raises TorchpairError; what is there by then stays whole."""
    registry.may_write()
    held = describe.read(registry)
    for row in rows:
        _not_backwards(registry, row, held, force)
    why = push.unsigned(key) if signing else "--no-sign"
    done = [_put(registry, engine, row, why is None, key, insecure, say) for row in rows]
    images = [item.image for item in done]
    # What is there now, not when this began: a push takes long, and jobs of one workflow publish side by side.
    held = describe.read(registry)
    now, known = held.tags, {**held.known, **{image.digest: image for image in images}}
    plan = tags.plan(images, known, now, str(registry.where), force)
    moved: list[Move] = []
    for move in plan.moves:
        try:
            _move(registry, move)
        except RegistryError as error:
            error.why = f"{error.why}; moved before: {', '.join(item.tag for item in moved) or 'none'}"
            raise
        moved.append(move)
        say(f"{move.tag} -> {move.digest}" + (f" (was {move.was[:19]})" if move.was else ""))
    for row in rows:
        if registry.digest(tags.incoming(row.spec.name)):
            registry.delete_tag(tags.incoming(row.spec.name))
    # With the tags that they have got by now.
    after = {**now, **{move.tag: move.digest for move in plan.moves}}
    done = [
        replace(
            item, image=replace(item.image, tags=tuple(sorted(t for t, d in after.items() if d == item.image.digest)))
        )
        for item in done
    ]
    return Outcome(tuple(done), plan.moves, plan.kept, why)


def _not_backwards(registry: Registry, row: Candidate, held: Held, force: bool) -> None:
    """Refuse a full tag that is another image's before gigabytes are sent for it."""
    digest = held.tags.get(row.spec.tag)
    if digest is None or force:
        return
    manifest = registry.manifest(digest)
    config = (manifest.content.get("config") if manifest else None) or {}
    if row.local.id in (digest, config.get("digest") if isinstance(config, dict) else None):
        return
    error = tags.refused(row.spec.tag, row.report.started, held.known.get(digest), str(registry.where))
    if error:
        raise error


def _put(
    registry: Registry, engine: Engine, row: Candidate, signing: bool, key: str | None, insecure: bool, say: Say
) -> Done:
    """Everything of one row but its tags."""
    name, where = row.spec.name, registry.where
    image = _there(registry, row)
    sent = 0
    if image is None:
        say(f"{name}: pushing {row.report.size or 0:,} bytes (unpacked) to {where}")
        once = partial(_push_once, registry, engine, row, say)
        with push.tagged(engine, row.local.id, where, tags.incoming(name)):
            image, layers = retried(once, say, registry.waits[: PUSHES - 1])
        sent = sum(layer.size for layer in layers)
        say(f"{name}: {sent:,} bytes sent in {len(layers)} of {len(image.layers)} layers; {image.manifest.digest}")
    else:
        say(f"{name}: every layer is there already; {image.manifest.digest}")
    made = _artifacts(registry, row, image)
    sent += sum(registry.put_blob(data) * len(data) for data in (artifacts.EMPTY, *(item.data for item in made)))
    new = [registry.attach(item.manifest) for item in made]
    say(f"{name}: report, lock, SBOM and provenance " + ("put beside it" if any(new) else "are there already"))
    if signing:
        # The report too: whoever may write to the registry could put another one beside a signed image.
        digests = [image.manifest.digest, *(item.manifest.digest for item in made)]
        if pending := [digest for digest in digests if not _signed(registry, digest)]:
            push.sign(where, pending, key, insecure)
    entry = truth.published(
        row.spec.tag, (), image.manifest.digest, image.platform, image.layers, row.local.labels, row.report,
        next(item.manifest.digest for item in made if item.kind == artifacts.REPORT),
    )  # fmt: skip
    return Done(entry, sent, signing)


def _there(registry: Registry, row: Candidate) -> Image | None:
    """The row's image where the registry has all of it already, by whichever of its tags."""
    for tag in (row.spec.tag, tags.incoming(row.spec.name)):
        manifest = registry.manifest(tag)
        if manifest is None:
            continue
        try:
            image = describe.image(registry, manifest)
        except describe.Unreadable:
            continue
        if row.local.id in image.ids and all(registry.has_blob(layer.digest, layer.size) for layer in image.layers):
            return image
    return None


def _push_once(registry: Registry, engine: Engine, row: Candidate, say: Say) -> tuple[Image, list[Layer]]:
    """Push and read back: the image in the registry, and its layers that were sent."""
    registry.answers()
    incoming = tags.incoming(row.spec.name)
    sent = push.push(engine, registry.where, incoming, say)
    digest = sent.digest or registry.digest(incoming) or ""
    manifest = registry.manifest(digest) if digest else None
    if manifest is None:
        raise RegistryError(
            "the registry has not what was pushed", where=str(registry.where), why=f"no manifest {digest or incoming}"
        )
    image = describe.image(registry, manifest)
    if row.local.id not in image.ids:
        raise RegistryError(
            "the registry has another image than the engine", where=str(registry.where),
            why=f"{image.config[:19]} there, {row.local.id[:19]} here",
        )  # fmt: skip
    lost = [layer.digest for layer in image.layers if not registry.has_blob(layer.digest, layer.size)]
    if lost:
        raise RegistryError(
            f"{len(lost)} layers are missing in the registry after the push", where=str(registry.where), why=lost[0]
        )
    pairs = zip(image.diff_ids, image.layers, strict=True)
    return image, [layer for diff, layer in pairs if diff.removeprefix("sha256:")[:12] in sent.sent]


def _artifacts(registry: Registry, row: Candidate, image: Image) -> list[Artifact]:
    where, subject, report = registry.where, image.manifest, row.report
    data = {
        artifacts.REPORT: artifacts.report(report),
        artifacts.LOCK: text(row.spec.name, row.lock).encode(),
        artifacts.SBOM: artifacts.sbom(where, row.spec.tag, subject, row.lock, report, row.installed),
        artifacts.PROVENANCE: artifacts.provenance(where, subject, row.lock, row.local.labels, report, row.made_from),
    }
    return [artifacts.bound(kind, content, subject, report.started) for kind, content in data.items()]


def _signed(registry: Registry, digest: str) -> bool:
    """Whether cosign's signature lies there, by the tag that it uses."""
    return registry.digest(f"{digest.replace(':', '-')}.sig") is not None


def _move(registry: Registry, move: Move) -> None:
    manifest = registry.manifest(move.digest)
    if manifest is None:
        raise RegistryError("the registry lost what the tag shall point at", where=f"{registry.where}:{move.tag}")
    registry.put_manifest(move.tag, manifest)
    there = registry.digest(move.tag)
    if there != move.digest:
        raise RegistryError(
            "the tag was moved and points elsewhere", where=f"{registry.where}:{move.tag}",
            why=f"it points at {there}, not at {move.digest}", remedy="does somebody else publish at the same time?",
        )  # fmt: skip
