"""The command that packs what rows take, for a machine without a network: bundle."""

from __future__ import annotations

from pathlib import Path

import click

from torchpair.cli_completion import row_names
from torchpair.cli_options import base_option, matrix_option, mirror_option


@click.command()
@click.argument("names", nargs=-1, metavar="ROW...", required=True, shell_complete=row_names)
@click.option(
    "--output", "-o", "folder", type=click.Path(path_type=Path, file_okay=False), default=Path("bundle"),
    show_default=True, help="The folder; one that an earlier call began is gone on with.",
)  # fmt: skip
@matrix_option
@base_option
@mirror_option
def bundle(names: tuple[str, ...], folder: Path, file: Path, base: str, mirror: str | None) -> None:
    """Put all that rows take into one folder: bases, wheels, packages, sources, locks, and a sha256 of each file.

    Where there is no network: make images BUNDLE=DIR OFFLINE=1
    """
    from torchpair import bundling, progress
    from torchpair.console import console
    from torchpair.workspace import Workspace

    workspace = Workspace(file, mirror or None)
    with progress.show(console()) as shown, workspace.alone(shown.say):
        sha256 = bundling.make(workspace, names, folder, base, shown)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    click.echo(f"{folder}: {size / 1e9:.2f} GB, sha256 of its SHA256SUMS {sha256}")
    click.echo(f"Where there is no network: make images BUNDLE={folder} OFFLINE=1")
