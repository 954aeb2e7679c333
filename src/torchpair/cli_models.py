"""The commands around model files: list, fetch, verify."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from torchpair.cli_options import matrix_option, mirror_option, version_option
from torchpair.errors import TorchpairError


@click.group()
def models() -> None:
    """Model files, which no image carries."""


@models.group("gpt-sovits")
def models_gpt_sovits() -> None:
    """The model files of GPT-SoVITS."""


models_option = click.option(
    "--models", "folder", type=click.Path(path_type=Path, file_okay=False), default=Path("gpt-sovits/models"),
    show_default=True, help="The folder.",
)  # fmt: skip


def _version(version: str | None) -> str:
    from torchpair.sovits import weights

    if version is not None and version not in weights.VERSIONS:
        raise TorchpairError(
            f"GPT-SoVITS has no version {version!r}", remedy=f"--version {' or '.join(weights.VERSIONS)}"
        )
    return version or weights.DEFAULT_VERSION


@models_gpt_sovits.command("list", short_help="List the files of a version: size, sha256, path.")
@version_option
def models_list(version: str | None) -> None:
    """List the files of a version: size in bytes, sha256, path."""
    from torchpair.sovits import weights

    for weight in weights.needed(_version(version)):
        size = f"{weight.size:,}" if weight.size is not None else "size unknown"
        click.echo(f"{size:>13}  {weight.sha256 or 'sha256 unknown'.ljust(64)}  {weight.path}")


@models_gpt_sovits.command("fetch")
@version_option
@models_option
@matrix_option
@mirror_option
@click.option("--flavour", type=click.Choice(["api", "lite", "full"]), default="api", help="full: UVR5's models too.")
@click.option("--source", type=click.Choice(["hub", "mirror", "modelscope"]), default="hub", show_default=True,
              help="Hugging Face, its mirror hf-mirror.com, or ModelScope.")  # fmt: skip
@click.option("--from", "base", metavar="ADDRESS", help="A copy of your own, laid out as the folder is.")
@click.option("--jobs", "-j", type=click.IntRange(1, 16), default=4, show_default=True, help="Downloads at a time.")
def models_fetch(
    version: str | None, folder: Path, file: Path, mirror: str | None, flavour: str, source: str, base: str | None,
    jobs: int,
) -> None:  # fmt: skip
    """Fetch what is missing or not whole. Goes on where it stopped; compares sha256 where it is known."""
    from torchpair import models as model_files
    from torchpair.console import console
    from torchpair.workspace import Workspace

    endpoint = Workspace(file, mirror).mirror.models if mirror else None
    with _watch(console()) as watch:
        fetched = model_files.fetch(
            folder, _version(version), flavour, source, base=base, endpoint=endpoint, jobs=jobs, watch=watch
        )
    click.echo(f"{len(fetched)} files fetched into {folder}." if fetched else f"All is there: {folder}.")


@models_gpt_sovits.command("verify")
@version_option
@models_option
def models_verify(version: str | None, folder: Path) -> None:
    """Read every byte and compare; nothing is fetched. Ends with 1 when a file is not as it should be."""
    from torchpair import models as model_files

    problems, unknown = model_files.verify(folder, _version(version))
    for problem in problems:
        click.echo(str(problem))
    for path in unknown:
        click.echo(f"{path}: there, and nothing is known to compare it with")
    if problems:
        raise model_files.ModelsError(
            f"{len(problems)} files of {folder} are not as they should be",
            remedy="torchpair models gpt-sovits fetch, which fetches those anew",
        )
    click.echo(f"{folder}: whole.")


def _watch(screen: Any) -> Any:
    """Bars on a terminal, lines in a pipe."""
    from contextlib import contextmanager

    from rich.markup import escape
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    from torchpair.fetch import Watcher

    class Lines(Watcher):
        def begin(self, path: str, total: int | None, done: int) -> None:
            size = f"{total / 1e6:.1f} MB" if total is not None else "size unknown"
            screen.print(f"{escape(path)}: {size}{f', from {done / 1e6:.1f} MB on' if done else ''}", highlight=False)

        def end(self, path: str, words: str) -> None:
            screen.print(f"{escape(path)}: {words}", highlight=False)

    class Bars(Watcher):
        def __init__(self, bars: Progress) -> None:
            self.bars, self.tasks = bars, dict[str, Any]()

        def begin(self, path: str, total: int | None, done: int) -> None:
            if path not in self.tasks:
                self.tasks[path] = self.bars.add_task(escape(path), total=total)
            self.bars.update(self.tasks[path], total=total, completed=done)

        def more(self, path: str, count: int) -> None:
            self.bars.advance(self.tasks[path], count)

        def end(self, path: str, words: str) -> None:
            if path in self.tasks:
                self.bars.update(self.tasks[path], description=f"{escape(path)}: {words}")

    @contextmanager
    def watching() -> Any:
        if not screen.is_terminal:
            yield Lines()
            return
        columns = (TextColumn("{task.description}"), BarColumn(bar_width=20), DownloadColumn(), TransferSpeedColumn())
        with Progress(*columns, TimeRemainingColumn(), console=screen) as bars:
            yield Bars(bars)

    return watching()
