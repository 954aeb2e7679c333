"""The commands that build: images, build, wheel, preflight."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from torchpair.cli_completion import row_names
from torchpair.cli_options import base_option, gpu_option, matrix_option, mirror_option, workspace_of

shard_option = click.option("--shard", metavar="I/N", help="Only the I-th of N parts of the rows, of about equal cost.")
builder_option = click.option(
    "--builder", metavar="NAME", envvar="BUILDX_BUILDER", help="Build on this builder of buildx: remote, Kubernetes."
)
source_options = (
    click.option("--source", metavar="SOURCE", help="torchaudio's: git+URL@ref, an archive with #sha256=, a folder."),
    click.option("--torch-source", metavar="SOURCE", help="The same for torch, where the row compiles torch too."),
    click.option(
        "--max-jobs", type=click.IntRange(1, 256), help="Compilers at a time; by default by cores and memory."
    ),
    click.option(
        "--nice", is_flag=True, help="Compile at the lowest priority: everything else on the machine goes first."
    ),
)


def _source_options(command: Any) -> Any:
    for option in reversed(source_options):
        command = option(command)
    return command


def _given(source: str | None, torch_source: str | None, max_jobs: int | None, nice: bool) -> Any:
    from torchpair.materials import Given

    named = {"torchaudio": source, "torch": torch_source}
    return Given({package: text for package, text in named.items() if text}, max_jobs, nice=nice)


def _part(shard: str | None) -> tuple[int, int] | None:
    from torchpair.shard import parse

    return parse(shard) if shard else None


@click.command(short_help="Build and prove the default rows, or those named.")
@click.argument("names", nargs=-1, metavar="[ROW]...", shell_complete=row_names)
@matrix_option
@base_option
@gpu_option
@mirror_option
@click.option("--all", "everything", is_flag=True, help="Every row, not only the default ones.")
@click.option(
    "--jobs", "-j", type=click.IntRange(1, 64), default=lambda: min(8, os.cpu_count() or 2),
    help="Rows built at a time; by default one for each CPU, at most 8.",
)  # fmt: skip
@click.option("--again", is_flag=True, help="Check also what has a report already.")
@shard_option
@builder_option
@click.option(
    "--bundle", type=click.Path(path_type=Path, file_okay=False), envvar="BUNDLE",
    help="Take all from this folder, made by `torchpair bundle`; without ROW, its rows.",
)  # fmt: skip
@click.option("--offline", is_flag=True, envvar="OFFLINE", help="With --bundle: no step of a build has a network.")
def images(
    names: tuple[str, ...],
    file: Path,
    base: str,
    gpu: Any,
    mirror: str | None,
    everything: bool,
    jobs: int,
    again: bool,
    shard: str | None,
    builder: str | None,
    bundle: Path | None,
    offline: bool,
) -> None:
    """Build and prove images: the default rows, or those named.

    Finds or starts a Docker engine, picks a base, settles versions, renders, builds, checks, and ends with a table
    and a report for every image below reports/. What was built and proven before stands.

    \b
    torchpair images --all --base local
    torchpair images torch2.8.0-cu128-py311 --mirror cn
    """
    from torchpair.console import console
    from torchpair.factory import make

    sys.exit(
        make(
            workspace_of(file, mirror, bundle, offline),
            names,
            base=base,
            gpu=gpu,
            everything=everything,
            jobs=jobs,
            again=again,
            console=console(),
            part=_part(shard),
            builder=builder,
        )
    )


@click.command(short_help="Build and prove one row, from a source of your choice.")
@click.argument("name", metavar="ROW", required=False, shell_complete=row_names)
@matrix_option
@base_option
@gpu_option
@mirror_option
@_source_options
@shard_option
@builder_option
def build(
    name: str | None, file: Path, base: str, gpu: Any, mirror: str | None, source: str | None, torch_source: str | None,
    max_jobs: int | None, nice: bool, shard: str | None, builder: str | None,
) -> None:  # fmt: skip
    """Build and prove one row, whose torchaudio (or torch) may be compiled from a source of your choice.

    With --shard and no ROW: the rows of the whole matrix that fall into that part.
    SOURCE is written as pip does: git+https://host/audio.git@v2.6.0, audio.tar.gz#sha256=..., or a folder.

    \b
    torchpair build ROW --source ../audio
    torchpair build --shard 2/8
    """
    if (name is None) == (shard is None):
        raise click.UsageError("name a ROW, or a --shard of all rows", click.get_current_context())
    from torchpair.console import console
    from torchpair.factory import make

    given = _given(source, torch_source, max_jobs, nice)
    sys.exit(
        make(
            workspace_of(file, mirror), [name] if name else [], base=base, gpu=gpu, everything=name is None, jobs=1,
            again=False, console=console(), given=given, part=_part(shard), builder=builder,
        )
    )  # fmt: skip


@click.command(short_help="Compile what a row compiles; the wheel into a folder.")
@click.argument("name", metavar="ROW", shell_complete=row_names)
@click.option("--output", "-o", type=click.Path(path_type=Path, file_okay=False), required=True, help="A folder.")
@matrix_option
@base_option
@mirror_option
@_source_options
def wheel(
    name: str, output: Path, file: Path, base: str, mirror: str | None, source: str | None, torch_source: str | None,
    max_jobs: int | None, nice: bool,
) -> None:  # fmt: skip
    """Compile what a row compiles, and put the wheel into a folder; to be installed beside the same torch elsewhere.

    \b
    torchpair wheel ROW --output wheels/
    """
    from torchpair.console import console
    from torchpair.factory import wheel as make_wheel

    given = _given(source, torch_source, max_jobs, nice)
    made = make_wheel(workspace_of(file, mirror), name, output, base=base, given=given, console=console())
    click.echo("\n".join(str(path) for path in made))


@click.command(short_help="Look whether a row can be compiled.")
@click.argument("name", metavar="ROW", shell_complete=row_names)
@matrix_option
@base_option
@mirror_option
@_source_options
def preflight(
    name: str, file: Path, base: str, mirror: str | None, source: str | None, torch_source: str | None,
    max_jobs: int | None, nice: bool,
) -> None:  # fmt: skip
    """Look whether a row can be compiled: source, torch in place, compiler, nvcc; of torch itself, CMake's summary.

    Compiles nothing. Of torch itself it takes minutes.
    """
    from torchpair.console import console
    from torchpair.factory import preflight as look

    given = _given(source, torch_source, max_jobs, nice)
    look(workspace_of(file, mirror), name, base=base, given=given, console=console())
    click.echo(f"{name}: everything is there")
