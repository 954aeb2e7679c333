"""Shell completion: the command that prints a shell's script, and what the script's calls are answered with."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path

import click

from torchpair.errors import TorchpairError

Completer = Callable[[click.Context, click.Parameter, str], list[str]]


def _beginning(found: Callable[[click.Context], Iterable[str]]) -> Completer:
    """A completer of words that begin with what was typed; of a broken matrix none: at a Tab nobody reads errors."""

    @wraps(found)
    def complete(context: click.Context, _: click.Parameter, typed: str) -> list[str]:
        try:
            return [word for word in found(context) if word.startswith(typed)]
        except TorchpairError:
            return []

    return complete


def _matrix(context: click.Context) -> Path:
    return context.params.get("file") or Path("matrix.yaml")


@_beginning
def row_names(context: click.Context) -> Iterable[str]:
    """The rows of the matrix that -m names so far, without those that stand on the line already."""
    from torchpair import matrix

    there = context.params.get("names") or ()
    return [row.name for row in matrix.load(_matrix(context)) if row.name not in there]


@_beginning
def mirror_names(context: click.Context) -> Iterable[str]:
    """The mirrors of the matrix."""
    from torchpair import matrix

    return matrix.load_mirrors(_matrix(context))


@_beginning
def torch_versions(_: click.Context) -> Iterable[str]:
    """The releases of torch that the facts know, newest first."""
    from torchpair import facts

    return reversed(list(facts.load().torch))


@_beginning
def profile_names(_: click.Context) -> Iterable[str]:
    """The named sets of checks."""
    from torchpair.probe import select

    return select.PROFILES


def check_names(_: click.Context, __: click.Parameter, typed: str) -> list[str]:
    """Checks and their groups; of a list with commas the last one."""
    from torchpair.probe import select

    before, comma, last = typed.rpartition(",")
    known = [*dict.fromkeys(name.split(".")[0] for name in select.IDS), *select.IDS]
    return [before + comma + name for name in known if name.startswith(last)]


@click.command(short_help="Print the script that completes rows and options.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script that completes commands, options and row names in a shell.

    \b
    bash  torchpair completion bash > ~/.local/share/bash-completion/completions/torchpair
    zsh   torchpair completion zsh > "${fpath[1]}/_torchpair"
    fish  torchpair completion fish > ~/.config/fish/completions/torchpair.fish
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    root = click.get_current_context().find_root().command
    click.echo(kind(root, {}, "torchpair", "_TORCHPAIR_COMPLETE").source(), nl=False)
