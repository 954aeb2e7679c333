"""`make images`: the whole way from a matrix to proven images, and the table at its end."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from torchpair import build, bundle, check, files, materials, present, progress, space
from torchpair import report as reports
from torchpair.build import Built
from torchpair.bundle import BundleError
from torchpair.engine import Engine
from torchpair.errors import (
    EXIT_BUILD_FAILED,
    EXIT_INCONCLUSIVE,
    EXIT_OK,
    EXIT_UNHEALTHY,
    EngineError,
    ResolveError,
    TorchpairError,
)
from torchpair.jobs import in_shard
from torchpair.materials import NOTHING, Given
from torchpair.matrix import Row
from torchpair.present import Outcome
from torchpair.report import GpuMode, Report
from torchpair.sources import SourceError
from torchpair.spec import Spec
from torchpair.workspace import BASES, Workspace

if TYPE_CHECKING:
    from rich.console import Console


def make(
    workspace: Workspace,
    names: Sequence[str],
    *,
    base: str,
    gpu: GpuMode,
    everything: bool,
    jobs: int,
    again: bool,
    console: Console,
    given: Given = NOTHING,
    part: tuple[int, int] | None = None,
    builder: str | None = None,
) -> int:
    """Build and prove rows; the exit code. Raises TorchpairError for what stops everything before a build.

    part: (i, n): only the i-th of n shards of the rows. builder: of buildx, to send the builds to.
    """
    bundled = workspace.bundle
    rows = workspace.choose(names or (() if bundled is None or everything else bundled.rows), everything)
    if part:
        rows = in_shard(workspace, rows, *part)
        named = ", ".join(row.name for row in rows) or "no row"
        console.print(f"Shard {part[0]} of {part[1]}: {named}", highlight=False, soft_wrap=True)
        if not rows:
            return EXIT_OK
    outcomes = prove(
        workspace, rows, base=base, gpu=gpu, jobs=jobs, again=again, console=console, given=given, builder=builder,
        strict=not everything,
    )  # fmt: skip
    console.print(present.table(outcomes))
    console.print(f"Reports: {workspace.reports / 'index.html'}", highlight=False, soft_wrap=True)
    return exit_code(outcomes)


def prove(
    workspace: Workspace,
    rows: Sequence[Row],
    *,
    base: str,
    gpu: GpuMode,
    jobs: int,
    again: bool,
    console: Console,
    given: Given = NOTHING,
    builder: str | None = None,
    strict: bool = True,
) -> list[Outcome]:
    """Build and check rows, and write their reports; what became of each, in their order.

    strict: a row that cannot stand on the base stops everything. Raises TorchpairError as `make` does.
    """
    bundled, _ = workspace.bundle, workspace.mirror  # a mirror that is not there is said before anything begins
    if bundled and builder:
        raise TorchpairError("a bundle is built in the engine", remedy="without --builder")
    # What no base can satisfy is refused before an engine is looked for: nothing is built from a wrong matrix.
    for row in rows:
        materials.on_any_base(workspace, row)
    with progress.show(console) as shown, workspace.alone(shown.say):
        for entry in workspace.journal.interrupted([row.name for row in rows]):
            shown.say(f"{entry.row}: the last call ended while {entry.step} it ({entry.at}); going on")
        if bundled:
            shown.say(f"Comparing the {len(bundled.sums)} files of the bundle.")
            bundle.verify(bundled)
        engine = materials.engine(workspace, shown.say)
        if builder:
            engine, base = materials.on_builder(engine, builder, base, shown.say)
        specs, outcomes = _specs(workspace, rows, base, engine, shown.say, strict=strict)
        unlocked = materials.lock(workspace, specs, shown.say)
        outcomes += [_lost(spec, "not built", reason) for spec in specs if (reason := unlocked.get(spec.name))]
        specs = [spec for spec in specs if spec.name not in unlocked]
        workspace.write_rendered()
        workspace.uv()
        probe, digest = workspace.probe()
        materials.base_images(workspace, engine, specs, shown.say)
        logs = workspace.reports / "logs"
        inputs, lost = _inputs(workspace, specs, given, shown.say)
        outcomes += lost
        specs = [spec for spec in specs if spec.name in inputs]
        missing = [spec for spec in specs if build.image(engine, spec.reference) is None]
        wheels = {s.name: lock for s in missing if (lock := workspace.lock(s))}
        space.refuse_without(engine, missing, wheels, bundled.size if bundled else 0)
        built = build.images(
            engine, specs, workspace.folder, logs, shown, jobs, workspace.mirror, inputs=inputs,
            journal=workspace.journal,
        )  # fmt: skip
        found: list[Report] = []
        for item in built:
            if item.image_id is None:
                outcomes.append(_lost(item.spec, "build failed", f"{item.error} (log: {item.log})", item.seconds))
                continue
            workspace.remember_sources(item.spec, inputs[item.spec.name].told)
            report, outcome = _prove(workspace, engine, item, gpu, again, probe, digest, shown)
            outcomes.append(outcome)
            found += [report] if report else []
    present.write_all(_all_reports(workspace, found), workspace.reports)
    order = {row.name: i for i, row in enumerate(rows)}
    return sorted(outcomes, key=lambda outcome: order[outcome.row])


def exit_code(outcomes: Sequence[Outcome]) -> int:
    """The worst of the outcomes: a failed build, then an unhealthy image, then what was not settled."""
    verdicts = {outcome.verdict for outcome in outcomes}
    if "build failed" in verdicts:
        return EXIT_BUILD_FAILED
    if "unhealthy" in verdicts:
        return EXIT_UNHEALTHY
    return EXIT_OK if verdicts == {"healthy"} else EXIT_INCONCLUSIVE


def spec_of(workspace: Workspace, target: str, base: str, engine: Engine) -> Spec | None:
    """The spec when a target is a row's name, None when it is an image; on the base that holds its image."""
    try:
        row = next((row for row in workspace.rows if row.name == target), None)
    except TorchpairError:
        if workspace.file.exists():
            raise
        return None  # no matrix here: then the target is an image
    if row is None:
        return None
    candidates = []
    for kind in BASES if base == "auto" else (base,):
        try:
            candidates.append(workspace.specs([row], kind)[0])
        except ResolveError:
            if base != "auto":
                raise
    held = [spec for spec in candidates if build.image(engine, spec.reference)]
    if not held:
        raise EngineError(f"row {target} has no image yet", remedy=f"torchpair images {target}")
    return held[0]


def wheel(workspace: Workspace, name: str, output: Path, *, base: str, given: Given, console: Console) -> list[Path]:
    """`torchpair wheel`: compile what a row compiles, and nothing more. Raises TorchpairError."""
    with progress.show(console) as shown, workspace.alone(shown.say):
        engine, spec, inputs = materials.to_compile(workspace, name, base, given, shown.say)
        log = workspace.reports / "logs" / f"{spec.name}.log"
        return build.wheel(engine, spec, workspace.folder, output, log, shown, workspace.mirror, inputs)


def preflight(workspace: Workspace, name: str, *, base: str, given: Given, console: Console) -> None:
    """`torchpair preflight`: what stops a compile is found before it begins. Raises TorchpairError."""
    with progress.show(console) as shown, workspace.alone(shown.say):
        engine, spec, inputs = materials.to_compile(workspace, name, base, given, shown.say)
        log = workspace.reports / "logs" / f"{spec.name}.log"
        build.preflight(engine, spec, workspace.folder, log, shown, workspace.mirror, inputs)


@contextmanager
def build_again(workspace: Workspace, engine: Engine, spec: Spec, console: Console) -> Iterator[str]:
    """A second image of a spec's lock, made without any cache, for as long as the context lasts; its reference.

    Raises EngineError with what went wrong.
    """
    workspace.write_rendered()
    workspace.uv()
    workspace.probe()
    twin = replace(spec, tag=f"{spec.tag}-again")
    os.environ["DOCKER_HOST"] = engine.host
    logs = workspace.reports / "logs" / "again"
    with progress.show(console) as shown:
        shown.say(f"Building {spec.name} once more, without the cache.")
        inputs = {spec.name: materials.inputs(workspace, spec, NOTHING, shown.say)}
        (built,) = build.images(
            engine, [twin], workspace.folder, logs, shown, 1, workspace.mirror, fresh=True, inputs=inputs
        )
    if built.image_id is None:
        raise EngineError(f"{spec.name} could not be built once more", why=built.error, where=str(built.log))
    try:
        yield twin.reference
    finally:
        with closing(engine.client()) as client:
            client.images.remove(twin.reference)


def _specs(
    workspace: Workspace, rows: Sequence[Row], base: str, engine: Engine, say: Callable[[str], None], strict: bool
) -> tuple[list[Spec], list[Outcome]]:
    """Specs on the base that can be had. strict: a row that cannot stand on it stops everything."""
    kind = materials.base(workspace, rows, base, engine, say)
    specs, outcomes = [], []
    for row in rows:
        try:
            specs += workspace.specs([row], kind)
        except ResolveError as error:
            if strict:
                raise
            outcomes.append(Outcome(row.name, "", kind, None, "not built", 0.0, None, str(error)))
    return specs, outcomes


def _inputs(
    workspace: Workspace, specs: Sequence[Spec], given: Given, say: Callable[[str], None]
) -> tuple[dict[str, build.Inputs], list[Outcome]]:
    """What each row is built with; a row whose source cannot be had takes no other with it."""
    found, lost = {}, []
    for spec in specs:
        try:
            found[spec.name] = materials.inputs(workspace, spec, given, say)
        except (SourceError, BundleError) as error:
            say(f"{spec.name}: {error}")
            lost.append(_lost(spec, "build failed", str(error)))
    return found, lost


def _lost(spec: Spec, verdict: str, reason: str, seconds: float = 0.0) -> Outcome:
    return Outcome(spec.name, spec.reference, f"{spec.base}:{spec.distro}", None, verdict, seconds, None, reason)


def _prove(
    workspace: Workspace,
    engine: Engine,
    built: Built,
    gpu: GpuMode,
    again: bool,
    probe: Path,
    digest: str,
    shown: progress.Progress,
) -> tuple[Report | None, Outcome]:
    """Check one image, unless a report of this very image, by this very probe, says healthy already."""
    spec = built.spec
    path = workspace.reports / f"{files.file_stem(spec.name)}.json"
    old = None if again else _standing(path, built, gpu, digest, engine)
    if old:
        shown.say(f"{spec.name}: proven already, on {old.started[:10]}")
        return old, present.outcome(old, path, built.seconds)
    began = time.monotonic()
    workspace.journal.note(spec.name, "checking", built.image_id)
    try:
        report = check.image(
            engine, spec.reference, probe=probe, probe_sha256=digest, spec=spec, lock=workspace.lock(spec), gpu=gpu
        )
    except EngineError as error:
        workspace.journal.note(spec.name, "failed", built.image_id)
        return None, _lost(spec, "inconclusive", str(error), built.seconds)
    path = reports.save(report, workspace.reports)
    workspace.journal.note(spec.name, "checked", built.image_id)
    shown.say(f"{spec.name}: checked in {time.monotonic() - began:.0f} s: {report.verdict}")
    return report, present.outcome(report, path, built.seconds + report.seconds)


def _standing(path: Path, built: Built, gpu: GpuMode, digest: str, engine: Engine) -> Report | None:
    """An earlier report that still holds for this image."""
    try:
        old = reports.load(path)
    except TorchpairError:
        return None
    same = (old.image_id, old.probe, old.gpu, old.verdict) == (built.image_id, digest, gpu, "healthy")
    # A check that was left out for want of a GPU is due as soon as the engine has one.
    if same and gpu == "auto" and old.skipped_gpu and check.gpu_request(engine)[0]:
        return None
    return old if same else None


def _all_reports(workspace: Workspace, fresh: Sequence[Report]) -> list[Report]:
    """The reports of this call, and those that lie there for other rows of the matrix."""
    known = {row.name: row for row in workspace.rows}
    merged = {report.row: report for report in fresh}
    for name in known:
        if name not in merged:
            try:
                merged[name] = reports.load(workspace.reports / f"{files.file_stem(name)}.json")
            except TorchpairError:
                continue
    return [merged[name] for name in known if name in merged]
