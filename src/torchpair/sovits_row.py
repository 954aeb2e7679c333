"""The image of GPT-SoVITS upon a row of a workspace: what it is made of, its name, its build."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from torchpair import build, files, sovits_image, sovits_lock
from torchpair import engine as engines
from torchpair import lock as locks
from torchpair import report as reports
from torchpair.deploy import Flavour
from torchpair.engine import Engine
from torchpair.errors import EngineError, TorchpairError
from torchpair.factory import spec_of
from torchpair.progress import Progress
from torchpair.sovits_image import Application
from torchpair.workspace import BASES, Workspace


def application(workspace: Workspace, engine: Engine | None, row: str | None, flavour: Flavour) -> Application:
    """Everything about the image but its code. Raises TorchpairError."""
    told = sovits_image.recipe()
    name = row or told["row"]
    (wanted,) = workspace.choose([name])
    spec = spec_of(workspace, name, "auto", engine) if engine else None
    if spec is None:
        spec = next(iter(workspace.specs([wanted], kind)[0] for kind in BASES))
    row_lock = workspace.lock(spec)
    if row_lock is None:
        raise TorchpairError(f"row {name} is not locked", remedy=f"torchpair lock {name}")
    kept = row_lock.versions
    asked = (
        sovits_image.question(flavour, spec.name, spec.python, spec.cuda, kept),
        sovits_image.tools_question(spec.name, spec.python, kept),
    )
    found = []
    for question in asked:
        lock = sovits_lock.read(sovits_image.lock_path(question, workspace.locks), question)
        if lock is None:
            raise TorchpairError(
                f"there is no lock {sovits_image.lock_path(question, workspace.locks)}, or it is stale",
                remedy=f"torchpair deploy lock --row {name}",
            )
        found.append(lock)
    return sovits_image.Application(
        flavour=flavour, base=spec.reference, row=spec.name, python=spec.python, lock=found[0], tools=found[1],
        uv=tuple(wheel.line for wheel in locks.read_tools(workspace.locks).wheels),
        pip_check=tuple(told["pip_check"].get(flavour, ())), jtalk=(told["jtalk_package"], told["jtalk_folder"]),
        webui=flavour != "api",
    )  # fmt: skip


def reference(workspace: Workspace, row: str | None, flavour: Flavour) -> str:
    """The image's name, when nothing is asked of an engine."""
    try:
        return sovits_image.reference(application(workspace, engines.find(), row, flavour))
    except EngineError:  # the row has no image yet
        return sovits_image.reference(application(workspace, None, row, flavour))


def built(
    workspace: Workspace, engine: Engine, row: str | None, flavour: Flavour, source: str | None, nltk: Path | None,
    shown: Progress,
) -> str:  # fmt: skip
    """Build the image upon a row that was proven here; its reference. Raises TorchpairError."""
    wanted = application(workspace, engine, row, flavour)
    held = build.image(engine, wanted.base)
    report = reports.load(workspace.reports / f"{files.file_stem(wanted.row)}.json")
    if held is None or report.image_id != held[0] or report.verdict != "healthy":
        raise TorchpairError(
            f"{wanted.base} is not proven here",
            why=f"its report says {report.verdict}"
            if held and report.image_id == held[0]
            else "no report of this image",
            remedy=f"torchpair check {wanted.row}",
        )
    folder, words, commit = sovits_image.code(source, workspace.sources, workspace.mirror, shown.say)
    data = workspace.folder / "build" / "nltk_data"
    sovits_image.language_data(data, nltk, shown.say)
    labels = {"torchpair.app.proven": report.started}
    return sovits_image.image(
        engine, replace(wanted, code=words, commit=commit, labels=labels), folder, data,
        workspace.reports / "logs" / f"gpt-sovits-{flavour}.log", shown, workspace.mirror,
    )  # fmt: skip
