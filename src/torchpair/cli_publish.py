"""The commands about a registry: publish, catalog."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from torchpair.cli_completion import row_names
from torchpair.cli_options import answering, matrix_option
from torchpair.errors import EXIT_UNHEALTHY

if TYPE_CHECKING:
    from torchpair.registry import Registry

registry_option = click.option(
    "--registry", "-r", metavar="HOST[:PORT][/PATH]", required=True, envvar="TORCHPAIR_REGISTRY",
    help="The repository; without a PATH, torchpair.",
)  # fmt: skip
insecure_option = click.option(
    "--insecure", is_flag=True, help="Allow plain HTTP to another machine; to this one it is allowed anyway."
)


def _registry(text: str, insecure: bool) -> Registry:
    from torchpair import wire
    from torchpair.registry import Registry

    # What is said on the way is no answer: standard output is for that.
    return Registry(wire.repository(text), insecure=insecure, say=_tell)


def _tell(line: str) -> None:
    from torchpair.errors import visible

    click.echo(visible(line), err=True)


@click.command(short_help="Push proven images and move their tags.")
@click.argument("names", nargs=-1, metavar="[ROW]...", shell_complete=row_names)
@registry_option
@insecure_option
@matrix_option
@click.option(
    "--base", type=click.Choice(["auto", "nvidia", "local"]), default="auto", envvar="BASE", show_default=True,
    help="The base of the rows' images.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Move tags to these rows even backwards; dated ones never move.")
@click.option("--key", envvar="COSIGN_KEY", metavar="KEY", help="cosign's key, if it is to sign with one.")
@click.option("--no-sign", is_flag=True, help="Sign nothing, even where cosign could.")
def publish(
    names: tuple[str, ...], registry: str, insecure: bool, file: Path, base: str, force: bool, key: str | None,
    no_sign: bool,
) -> None:  # fmt: skip
    """Push proven images and move their tags: the default rows, or those named.

    Only with a healthy report of this very image, whose tag, labels, lock and running versions agree. What an image
    needs is sent and read back before any tag moves; a publish that was ended goes on where it was.

    \b
    torchpair publish --registry ghcr.io/me/torchpair
    """
    from torchpair import publish as publishing
    from torchpair.workspace import Workspace

    engine = answering()
    there = _registry(registry, insecure)
    rows = publishing.candidates(Workspace(file), engine, names, base)
    outcome = publishing.publish(
        there, engine, rows, force=force, signing=not no_sign, key=key, insecure=insecure, say=_tell
    )
    for done in outcome.done:
        image = done.image
        click.echo(f"{image.row}: {image.size:,} bytes compressed, {done.sent:,} sent")
        click.echo(f"  docker pull {there.where}@{image.digest}")
        click.echo(f"  {' '.join(image.tags)}")
    for line in outcome.kept:
        click.echo(line)
    click.echo(f"{len(outcome.moves)} tags moved." if outcome.moves else "Every tag was there already.")
    if outcome.unsigned:
        click.echo(f"NOT SIGNED: {outcome.unsigned}.")


@click.command(short_help="Make catalog.json of what a registry really holds.")
@click.option(
    "--registry", "-r", metavar="HOST[:PORT][/PATH]", envvar="TORCHPAIR_REGISTRY",
    help="The repository; without a PATH, torchpair. With --verify, by default the catalog's own.",
)  # fmt: skip
@insecure_option
@click.option("--output", "-o", type=click.Path(path_type=Path, dir_okay=False), help="Write the catalog to this file.")
@click.option(
    "--verify", type=click.Path(path_type=Path, dir_okay=False, exists=True), metavar="CATALOG",
    help="Read the registry back and name every difference to this file; end with 1 where there are any.",
)  # fmt: skip
def catalog(registry: str | None, insecure: bool, output: Path | None, verify: Path | None) -> None:
    """Make catalog.json of what a registry really holds: tags, digests, sizes by layer, versions, verdicts.

    \b
    torchpair catalog --registry ghcr.io/me/torchpair --output catalog.json
    torchpair catalog --verify catalog.json
    """
    from torchpair import catalog as catalogs
    from torchpair import describe
    from torchpair.files import write_whole

    context: Any = click.get_current_context()
    if output and verify:
        raise click.UsageError("--output makes a catalog, --verify compares one: name one of them", context)
    said = catalogs.parse(_read(verify), str(verify)) if verify else None
    where = registry or (said.repository if said else None)
    if where is None:
        raise click.UsageError("name a --registry", context)
    held = describe.read(_registry(where, insecure))
    for line in held.left_out:
        _tell(f"left out: {line}")
    if said:
        found = catalogs.differences(said, held.catalog)
        for line in found:
            click.echo(line)
        if found:
            _tell(f"{verify}: {len(found)} differences; torchpair catalog --registry {where} --output makes it anew")
            sys.exit(EXIT_UNHEALTHY)
        click.echo(f"{verify}: {len(said.images)} images, as the registry has them.")
    elif output:
        write_whole(output, held.catalog.text())
        click.echo(f"{output}: {len(held.catalog.images)} images.")
    else:
        click.echo(held.catalog.text(), nl=False)


def _read(path: Path) -> bytes:
    from torchpair.catalog import MAX_BYTES

    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)
