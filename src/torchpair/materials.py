"""What rows are built from: the base that can be had, locks, base images, sources. Out of the network, or a bundle."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field

import docker.errors

from torchpair import __version__, build, bundle, dockerd, mirrors, sources
from torchpair import base as bases
from torchpair import engine as engines
from torchpair.bundle import Bundle, BundleError
from torchpair.engine import Engine
from torchpair.errors import EngineError, LockError, ResolveError, TorchpairError
from torchpair.matrix import Row
from torchpair.spec import Spec
from torchpair.workspace import BASES, Workspace

Say = Callable[[str], None]


@dataclass(frozen=True)
class Given:
    """What the command line says about compiling: sources by package, how many compilers at a time, and whether at the
    lowest priority."""

    sources: Mapping[str, str] = field(default_factory=dict)
    max_jobs: int | None = None
    recache: bool = False  # for `make bench`: compile what ccache has, too
    nice: bool = False


NOTHING = Given()


def engine(workspace: Workspace, say: Say) -> Engine:
    """The engine that answers, or that is started; from here on it is that of every program called. EngineError."""
    found = dockerd.ensure(say, offline=workspace.offline)
    os.environ["DOCKER_HOST"] = found.host
    return found


def ready(workspace: Workspace, names: Sequence[str], wanted: str, say: Say) -> tuple[Engine, str, list[Spec]]:
    """An engine, the base ("nvidia", "local"), and the specs of rows on it. Raises TorchpairError."""
    rows = workspace.choose(names)
    for row in rows:
        on_any_base(workspace, row)
    found = engine(workspace, say)
    kind = base(workspace, rows, wanted, found, say)
    return found, kind, workspace.specs(rows, kind)


def on_any_base(workspace: Workspace, row: Row) -> None:
    """Raises ResolveError for a row that no base can satisfy."""
    refused = None
    for kind in BASES:
        try:
            workspace.specs([row], kind)
            return
        except ResolveError as error:
            refused = refused or error
    assert refused is not None
    raise refused


def possible(workspace: Workspace, rows: Sequence[Row], kind: str) -> list[Spec]:
    """The specs of those rows that can stand on a base."""
    specs = []
    for row in rows:
        try:
            specs += workspace.specs([row], kind)
        except ResolveError:
            continue
    return specs


def base(workspace: Workspace, rows: Sequence[Row], wanted: str, found: Engine, say: Say) -> str:
    """The base to stand on: the bundle's, or the one that can be had. Raises TorchpairError."""
    if workspace.bundle is not None:
        kind = workspace.bundle.base
        if wanted not in ("auto", kind):
            raise TorchpairError(
                f"the bundle is for the base {kind}, and not for {wanted}", where=str(workspace.bundle.folder),
                remedy=f"BASE={kind}, or a bundle made with --base {wanted}",
            )  # fmt: skip
        say(f"base {kind}: the bundle's")
        return kind
    image = next((spec.image for spec in possible(workspace, rows, "nvidia")), "")
    kind, why = bases.choose_base(wanted, mirrors.image(image, workspace.mirror), found)
    say(why)
    return kind


def lock(workspace: Workspace, specs: Sequence[Spec], say: Say) -> dict[str, str]:
    """Settle what has no lock; the rows that could not be locked, with the reason. Raises BundleError, LockError."""
    if workspace.bundle is None:
        return workspace.ensure_locks(specs, say)
    bundle.take_locks(workspace.bundle, workspace.locks, specs)
    return {}


def base_images(workspace: Workspace, found: Engine, specs: Sequence[Spec], say: Say) -> None:
    """Make the local bases that are missing, or load the bundle's images. Raises EngineError, BundleError."""
    if workspace.bundle is not None:
        load_images(workspace.bundle, found, specs, say)
        return
    for distro in dict.fromkeys(d for s in specs if s.base == "local" for d in (s.distro, s.tools_distro)):
        bases.ensure_local(found, distro, say, workspace.mirror.apt)


def load_images(bundled: Bundle, found: Engine, specs: Sequence[Spec], say: Say) -> None:
    """Load the images of a bundle that rows stand on. Raises BundleError, EngineError."""
    if bundled.made_by != __version__:
        say(f"The bundle was made by torchpair {bundled.made_by}, and this is {__version__}.")
    wanted = dict.fromkeys(image for spec in specs for image in (spec.image, spec.tools, spec.toolkit_image) if image)
    missing = [image for image in wanted if image not in bundled.images]
    if missing:
        raise BundleError(
            f"the bundle has no image {missing[0]}", where=str(bundled.folder), remedy=bundle.again(specs)
        )
    for reference in wanted:
        say(f"Loading {reference} from the bundle.")
        try:
            with (
                closing(found.client(timeout=1800)) as client,
                (bundled.folder / bundled.images[reference]).open("rb") as file,
            ):
                loaded = client.images.load(file)
        except (docker.errors.DockerException, OSError) as error:
            raise EngineError(f"the engine does not take {reference}", why=str(error)) from error
        if not any(reference in image.tags for image in loaded):
            raise BundleError(
                f"{bundled.images[reference]} is no image {reference}", where=str(bundled.folder),
                why=f"it holds {', '.join(tag for image in loaded for tag in image.tags) or 'no image with a name'}",
            )  # fmt: skip


def inputs(workspace: Workspace, spec: Spec, given: Given, say: Say) -> build.Inputs:
    """What a row is built with: its sources, fetched and checked, or the bundle's. Raises SourceError, BundleError."""
    contexts, told = {}, {}
    for recipe in spec.recipes:
        if workspace.bundle is not None:
            path, words = bundle.source(workspace.bundle, spec, recipe.package, workspace.sources)
        else:
            where = str(spec.row.at(recipe.package))
            source = sources.of(recipe, given.sources.get(recipe.package), where)
            path, words = sources.fetch(source, workspace.sources, workspace.mirror, say), str(source)
        contexts[recipe.context], told[recipe.package] = path, words
    if workspace.bundle is not None:
        contexts[bundle.CONTEXT] = workspace.bundle.downloads
    network = "none" if workspace.offline else None
    return build.Inputs(contexts, given.max_jobs, given.recache, told, network, given.nice)


def to_compile(
    workspace: Workspace, name: str, wanted: str, given: Given, say: Say
) -> tuple[Engine, Spec, build.Inputs]:
    """Engine, spec and sources of one row in which something is compiled. Raises TorchpairError."""
    (row,) = workspace.choose([name])
    if not any(spec.recipes for kind in BASES for spec in possible(workspace, [row], kind)):
        on_any_base(workspace, row)
        raise TorchpairError(f"{name}: nothing of this row is compiled", remedy=f"its wheels are in locks/{name}.txt")
    found, _, (spec,) = ready(workspace, [name], wanted, say)
    made = inputs(workspace, spec, given, say)
    for reason in lock(workspace, [spec], say).values():
        raise LockError(reason)
    workspace.write_rendered()
    workspace.uv()
    workspace.probe()
    base_images(workspace, found, [spec], say)
    return found, spec, made


def on_builder(found: Engine, name: str, wanted: str, say: Say) -> tuple[Engine, str]:
    """The engine that builds on a builder, and the base. A local one lies in the engine: no other builder sees it."""
    there, driver = engines.on_builder(found, name)
    say(f"Builder {name} ({driver}) builds; the images come back into the engine.")
    if driver == "docker":  # the engine's own
        return there, wanted
    if wanted == "local":
        raise EngineError(
            f"the builder {name} cannot see the local base", why="its image lies in this machine's engine",
            remedy="BASE=nvidia, or build without --builder",
        )  # fmt: skip
    return there, "nvidia"
