"""The command that writes down what a matrix was proven to be: proven."""

from __future__ import annotations

import difflib
import sys
from pathlib import Path
from typing import Any

import click

from torchpair.cli_completion import row_names
from torchpair.cli_options import base_option, gpu_option, matrix_option, mirror_option
from torchpair.errors import TorchpairError


@click.command()
@click.argument("names", nargs=-1, metavar="[ROW]...", shell_complete=row_names)
@matrix_option
@click.option(
    "--output", "-o", "page", type=click.Path(path_type=Path, dir_okay=False), default=Path("docs/proven.md"),
    show_default=True, help="The page; its data lies beside it, as .json, and the reports in a folder of its name.",
)  # fmt: skip
@base_option
@gpu_option
@mirror_option
@click.option("--source", metavar="SOURCE", help="torchaudio's, for rows that compile it; as with `build`.")
@click.option("--torch-source", metavar="SOURCE", help="The same for torch.")
@click.option("--max-jobs", type=click.IntRange(1, 256), help="Compilers at a time; by default by cores and memory.")
@click.option("--remove", is_flag=True, help="Remove each image that was built here, and what the build cache gained.")
@click.option("--again", is_flag=True, help="Also rows that are written down and have not changed since.")
@click.option(
    "--check", "only_check", is_flag=True,
    help="Build nothing; end with 2 when the page is not what its data and reports render.",
)  # fmt: skip
def proven(
    names: tuple[str, ...], file: Path, page: Path, base: str, gpu: Any, mirror: str | None, source: str | None,
    torch_source: str | None, max_jobs: int | None, remove: bool, again: bool, only_check: bool,
) -> None:  # fmt: skip
    """Build and check every row, one at a time, and write down what came of it: a page, its data, its reports.

    A row that is written down and has not changed since is left alone, so a run that was ended goes on where it was. A
    row that cannot be built here is listed with every reason. Verdicts come from the reports alone.
    """
    from torchpair import record
    from torchpair.console import console
    from torchpair.materials import Given
    from torchpair.workspace import Workspace

    if only_check:
        _check(page, record.written(page))
        return
    given = Given({name: text for name, text in (("torchaudio", source), ("torch", torch_source)) if text}, max_jobs)
    sys.exit(
        record.rows(
            Workspace(file, mirror or None), names, page, base=base, gpu=gpu, again=again, remove=remove, given=given,
            console=console(),
        )
    )  # fmt: skip


def _check(page: Path, text: str) -> None:
    there = page.read_text(encoding="utf-8") if page.is_file() else ""
    if there != text:
        lines = difflib.unified_diff(there.splitlines(), text.splitlines(), str(page), "rendered now", lineterm="")
        click.echo("\n".join(lines))
        raise TorchpairError(f"{page} is not what its data and reports render", remedy=f"torchpair proven -o {page}")
    click.echo(f"{page} is what its data and reports render.")
