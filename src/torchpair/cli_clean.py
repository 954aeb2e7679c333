"""The command that takes away: clean."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from torchpair.cli_options import matrix_option
from torchpair.errors import EXIT_OK, EXIT_UNHEALTHY


@click.command()
@matrix_option
@click.option("--cache", is_flag=True, help="Empty BuildKit's cache of this engine too, whoever filled it.")
@click.option("--dry-run", is_flag=True, help="Show, and remove nothing.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
def clean(file: Path, cache: bool, dry_run: bool, yes: bool) -> None:
    """Remove what the matrix names no more: images of rows, bases, reports, logs. Shows it first, and asks.

    Images of another matrix in the same engine count as not named. GPT-SoVITS's images and other people's stay.
    """
    from rich.filesize import decimal
    from rich.table import Table

    from torchpair import clean as cleaning
    from torchpair import engine as engines
    from torchpair.console import console
    from torchpair.workspace import Workspace

    workspace, engine, screen = Workspace(file), engines.find(builds=False), console()
    found = cleaning.find(workspace, engine)
    held = cleaning.cache_size(engine) if engine and cache else 0
    if engine is None:
        click.echo("No Docker engine answers: its images are not looked at.")
    if not found and not held:
        click.echo("Nothing to remove: the matrix names all that is here.")
        return
    table = Table("what", "name", "size")
    for one in found:
        table.add_row(one.kind, one.name, decimal(one.size))
    if held:
        table.add_row("cache", "BuildKit's", decimal(held))
    screen.print(table)
    images = [one for one in found if one.kind != "file"]
    if images or held:
        click.echo("Layers that other images or the build cache share stay, so less may come free than this.")
    if dry_run or not (yes or (sys.stdin.isatty() and click.confirm(f"Remove these {len(found) + bool(held)}?"))):
        click.echo("Nothing was removed." + ("" if dry_run else " --yes removes it."))
        return
    with workspace.alone(click.echo):
        kept = cleaning.remove(found, engine)
        freed = cleaning.empty_cache(engine) if engine and held else 0
    for line in kept:
        click.echo(f"stays: {line}", err=True)
    click.echo(f"Removed {len(found) - len(kept)}." + (f" The cache gave back {decimal(freed)}." if held else ""))
    sys.exit(EXIT_UNHEALTHY if kept else EXIT_OK)
