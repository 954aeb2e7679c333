"""Options that several commands have, and the folder that they work in."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from torchpair.cli_completion import mirror_names
from torchpair.errors import EngineError

if TYPE_CHECKING:
    from torchpair.engine import Engine
    from torchpair.workspace import Workspace

matrix_option = click.option(
    "--matrix", "-m", "file", type=click.Path(path_type=Path), default=Path("matrix.yaml"), show_default=True,
    help="The matrix file.",
)  # fmt: skip
mirror_option = click.option(
    "--mirror", envvar="MIRROR", metavar="NAME", shell_complete=mirror_names,
    help="Take every download from this mirror of matrix.yaml (such as cn).",
)  # fmt: skip
json_flag = click.option("--json", "as_json", is_flag=True, help="The same as data, on standard output.")
base_option = click.option(
    "--base", type=click.Choice(["auto", "nvidia", "local"]), default="auto", envvar="BASE", show_default=True,
    help="nvidia/cuda images, a Debian made on this machine, or whichever can be had.",
)  # fmt: skip
gpu_option = click.option(
    "--gpu", type=click.Choice(["auto", "require", "off"]), default="auto", envvar="GPU", show_default=True,
    help="auto: use GPUs where the engine has them; require: inconclusive without one.",
)  # fmt: skip
version_option = click.option("--version", "version", default=None, help="The version of the model; by default v2.")


def answering() -> Engine:
    """The engine that answers, and that testcontainers will take too. Raises EngineError; starts none."""
    from torchpair import engine as engines

    engine = engines.find()
    if engine is None:
        raise EngineError("no Docker engine answers", remedy="torchpair engine start")
    os.environ["DOCKER_HOST"] = engine.host
    return engine


def workspace_of(file: Path, mirror: str | None = None, bundle: Path | None = None, offline: bool = False) -> Workspace:
    """The workspace that options name. Raises click.UsageError for options that exclude each other, BundleError."""
    from torchpair.workspace import Workspace

    if bundle is None:
        if offline:
            raise click.UsageError("--offline builds from a --bundle", click.get_current_context())
        return Workspace(file, mirror or None)
    if mirror:
        raise click.UsageError("a --bundle has every download: no --mirror", click.get_current_context())
    from torchpair import bundle as bundles

    return Workspace(file, None, bundles.read(bundle), offline)
