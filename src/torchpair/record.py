"""`torchpair proven`: one row at a time is built, checked and written down; what was written down already stays.

Each row ends with data and page on the disk: whoever ends the command and starts it again goes on with the next one.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import docker.errors

from torchpair import base as bases
from torchpair import build, check, dockerd, factory, files, formatting, materials, mirrors, present, proven, render
from torchpair import report as reports
from torchpair.engine import Engine
from torchpair.errors import EngineError, ResolveError, TorchpairError
from torchpair.materials import Given
from torchpair.matrix import Row
from torchpair.proven import Entry
from torchpair.report import GpuMode, Report
from torchpair.sources import SourceError
from torchpair.spec import Spec
from torchpair.workspace import Workspace

if TYPE_CHECKING:
    from rich.console import Console

Say = Callable[[str], None]
# What every row of a distribution needs first, and what costs little to keep: its packages.
KEPT = "apt-get install"


def rows(
    workspace: Workspace,
    names: Sequence[str],
    page: Path,
    *,
    base: str,
    gpu: GpuMode,
    again: bool,
    remove: bool,
    given: Given,
    console: Console,
) -> int:
    """Build, check and write down rows of a matrix, or all of them; the exit code, of what was built.

    page: the Markdown file. again: also what stands there already. remove: of each row that was built here, its image
    and what the build cache gained by it. Raises TorchpairError.
    """

    def say(line: str) -> None:
        console.print(line, highlight=False, soft_wrap=True, markup=False)

    engine = dockerd.ensure(say)
    os.environ["DOCKER_HOST"] = engine.host
    outcomes = []
    for row in workspace.choose(names, everything=True):
        spec, reasons = look(workspace, row, base, engine, given, say)
        if spec is None or reasons:
            say(f"{row.name}: not built here: {'; '.join(reasons)}")
            keep(workspace, page, _entry(workspace, row, page, reasons=tuple(reasons)))
            continue
        if not again and (found := standing(workspace, spec, page, engine)):
            say(f"{row.name}: {found.verdict}, as written down on {found.started[:10]}")
            continue
        before = held(engine) if remove else frozenset()
        there = build.image(engine, spec.reference)
        (outcome,) = factory.prove(
            workspace, [row], base=base, gpu=gpu, jobs=1, again=again, console=console, given=given
        )  # fmt: skip
        outcomes.append(outcome)
        console.print(present.table([outcome]))
        keep(workspace, page, *_written(workspace, spec, page, outcome))
        if remove and there is None:
            forget(engine, spec, before)
    return factory.exit_code(outcomes) if outcomes else 0


def look(
    workspace: Workspace, row: Row, base: str, engine: Engine, given: Given, say: Say
) -> tuple[Spec | None, list[str]]:
    """The spec of a row on the base that can be had, and every reason why it cannot be built here; [] where it can."""
    wanted = ""
    with suppress(ResolveError):
        wanted = mirrors.image(workspace.specs([row], "nvidia")[0].image, workspace.mirror)
    kind, why = bases.choose_base(base, wanted, engine)
    try:
        (spec,) = workspace.specs([row], kind)
    except ResolveError as error:
        return None, [why, _said(error)]
    reasons = []
    for image in filter(None, (spec.image if spec.base == "image" else None, spec.toolkit_image)):
        if build.image(engine, image) is None:
            reachable, told = bases.registry_reachable(mirrors.image(image, workspace.mirror))
            reasons += [] if reachable else [f"{image} cannot be pulled here ({told})"]
    try:
        materials.inputs(workspace, spec, given, say)
    except SourceError as error:
        reasons.append(_said(error))
    if not reasons:  # an index is asked only for what can be built
        reasons += workspace.ensure_locks([spec], say).values()
    return spec, reasons


def _said(error: TorchpairError) -> str:
    """An error as a reason: without its place and its remedy."""
    return formatting.plain(f"{error.what} ({error.why})" if error.why else error.what)


def standing(workspace: Workspace, spec: Spec, page: Path, engine: Engine) -> Report | None:
    """The report behind a row that is written down, where neither what is built nor what checks it has changed."""
    name, matrix = spec.name, _matrix(workspace, page)
    entry = next((e for e in proven.load(page) if (e.row, e.matrix) == (name, matrix)), None)
    if entry is None or entry.report is None or entry.dockerfile != rendered(workspace, spec):
        return None
    try:
        report = reports.load(proven.reports_folder(page) / entry.report)
    except TorchpairError:
        return None
    if report.probe != workspace.probe()[1] or (report.skipped_gpu and check.gpu_request(engine)[0]):
        return None
    return report


def rendered(workspace: Workspace, spec: Spec) -> str:
    """sha256 of a row's Dockerfile as it is rendered now: everything that was decided, and every hash of the lock."""
    return hashlib.sha256(workspace.rendered([spec])[render.file_name(spec)].encode()).hexdigest()


def _matrix(workspace: Workspace, page: Path) -> str:
    return Path(os.path.relpath(workspace.file.resolve(), page.parent.resolve())).as_posix()


def _entry(workspace: Workspace, row: Row, page: Path, **more: Any) -> Entry:
    today = datetime.now(timezone.utc).date().isoformat()
    return Entry(row.name, _matrix(workspace, page), today, **more)


def _written(workspace: Workspace, spec: Spec, page: Path, outcome: present.Outcome) -> tuple[Entry, Report | None]:
    """What is written down of a row that was to be built: its report, or why there is none."""
    if outcome.report is None:
        return _entry(
            workspace, spec.row, page, reasons=(formatting.plain(f"{outcome.verdict}: {outcome.note}", 1000),)
        ), None
    report = reports.load(outcome.report)
    more = {"dockerfile": rendered(workspace, spec), "compiled_from": workspace.compiled_from(spec)}
    return _entry(workspace, spec.row, page, report=f"{files.file_stem(spec.name)}.json", **more), report


def keep(workspace: Workspace, page: Path, entry: Entry, report: Report | None = None) -> None:
    """Write down one row: its report first, then the data, then the page."""
    folder = proven.reports_folder(page)
    if report:
        reports.save(report, folder)
    old = proven.load(page)
    entries = proven.merged(old, entry, [row.name for row in workspace.rows])
    files.write_whole(proven.data_file(page), proven.text(entries))
    write(page)
    for path in folder.glob("*.json"):  # of rows that are gone, or that can no longer be built
        if path.name not in {entry.report for entry in entries}:
            path.unlink()


def written(page: Path) -> str:
    """The page as its data renders now. Raises TorchpairError."""
    entries = proven.load(page)
    folder = proven.reports_folder(page)
    return proven.page(entries, proven.behind(entries, folder), folder.name)


def write(page: Path) -> None:
    files.write_whole(page, written(page))


def held(engine: Engine) -> frozenset[str]:
    """The ids of what the build cache holds."""
    with closing(engine.client(timeout=600)) as client:
        return frozenset(str(record["ID"]) for record in client.df().get("BuildCache") or ())


def forget(engine: Engine, spec: Spec, before: frozenset[str]) -> None:
    """Remove a row's image, and what the build cache holds since its build; packages of its distribution stay.

    Raises EngineError.
    """
    with closing(engine.client(timeout=1800)) as client:
        try:
            with suppress(docker.errors.ImageNotFound):
                client.images.remove(spec.reference)
            new = [
                str(record["ID"])
                for record in client.df().get("BuildCache") or ()
                if record["ID"] not in before and record.get("Type") == "regular" and KEPT not in _described(record)
            ]
            if new:
                # The engine takes one id, which BuildKit reads as a regular expression (moby, builder-next/builder.go).
                wanted = f"^({'|'.join(new)})$"
                cast("Any", client.api).prune_builds(filters={"id": wanted}, all=True)
        except docker.errors.APIError as error:
            why = str(error.explanation or error)
            raise EngineError(f"what {spec.name} left in the engine cannot be removed", why=why) from error


def _described(record: dict[str, Any]) -> str:
    return str(record.get("Description") or "")
