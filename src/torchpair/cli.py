"""The command line. `torchpair images` is the whole way; the other commands are its steps.

What a command needs is imported inside it, so that `torchpair --help` answers at once.
"""

from __future__ import annotations

import io
import signal
import sys
from pathlib import Path

import click

from torchpair import (
    __version__,
    cli_build,
    cli_bundle,
    cli_check,
    cli_choose,
    cli_clean,
    cli_deploy,
    cli_doctor,
    cli_know,
    cli_models,
    cli_proven,
    cli_publish,
)
from torchpair.cli_completion import completion, row_names
from torchpair.cli_options import matrix_option, mirror_option, workspace_of
from torchpair.errors import (
    EXIT_USAGE,
    TorchpairError,
    visible,
)

EPILOG = (
    "Exit codes: 0 all healthy, 1 an image is unhealthy, 2 the matrix or the command line is wrong, "
    "3 inconclusive, 4 a build failed."
)


def main() -> None:
    """The console script: TorchpairError becomes a few plain lines and an exit code."""
    # Ended by its id, a build must end its buildx too, as Ctrl-C does; what is compiled by then is kept.
    signal.signal(signal.SIGTERM, _terminated)
    try:
        # Named here: the scripts of `completion` ask by this name, however torchpair was started.
        cli.main(prog_name="torchpair", standalone_mode=False)
    except TorchpairError as error:
        _complain(f"torchpair: {error}")
        sys.exit(error.exit_code)
    except OSError as error:  # a folder that may not be written, a full disk
        _complain(f"torchpair: {error.strerror or error}: {error.filename or 'no file named'}")
        sys.exit(EXIT_USAGE)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.Abort:
        click.echo("torchpair: stopped", err=True)
        sys.exit(130)
    except click.ClickException as error:
        words = io.StringIO()
        error.show(words)
        _complain(words.getvalue().rstrip())
        sys.exit(EXIT_USAGE)


def _complain(text: str) -> None:
    """Words with a user's own in them: a terminal must only show them."""
    click.echo("\n".join(visible(line) for line in text.split("\n")), err=True)


def _terminated(number: int, frame: object) -> None:
    raise click.Abort


# In the order in which one needs them; alphabetical they teach nothing.
SECTIONS = {
    "Ask, before anything is built": ("rows", "explain", "solve", "facts"),
    "Build and prove": (
        "images",
        "build",
        "preflight",
        "wheel",
        "lock",
        "render",
        "plan",
        "layers",
        "bundle",
        "proven",
        "clean",
        "engine",
    ),
    "Look at any image, or at any Python": ("check", "doctor"),
    "Publish and pull": ("publish", "catalog", "choose", "pull", "page"),
    "GPT-SoVITS": ("deploy", "models"),
    "Shell": ("completion",),
}


class Sections(click.Group):
    """A group whose help lists its commands by what they are for."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        placed = {name for names in SECTIONS.values() for name in names}
        more = {"More": tuple(name for name in self.commands if name not in placed)}
        for title, names in {**SECTIONS, **more}.items():
            found = [(name, self.commands[name].get_short_help_str(formatter.width)) for name in names]
            if found:
                with formatter.section(title):
                    formatter.write_dl(found)


@click.group(
    cls=Sections, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}, epilog=EPILOG
)
@click.version_option(__version__, prog_name="torchpair")
def cli() -> None:
    """Docker images in which torch and torchaudio are a proven pair.

    \b
    torchpair rows                              what would be built
    torchpair images                            build and prove the default rows of matrix.yaml
    torchpair doctor --python .venv/bin/python  why do torch and torchaudio not work here?
    """


def _say(line: str) -> None:
    click.echo(line)


@cli.command(short_help="Write dockerfiles/ and docker-bake.json.")
@matrix_option
@click.option(
    "--check",
    "only_check",
    is_flag=True,
    help="Change nothing; show a diff and end with 2 when a file is not up to date.",
)
def render(file: Path, only_check: bool) -> None:
    """Write dockerfiles/ and docker-bake.json from the matrix and its locks. Asks nobody.

    Both belong into version control; --check is for a CI.
    """
    workspace = workspace_of(file)
    if only_check:
        diffs = workspace.drift()
        if diffs:
            click.echo("\n".join(diffs))
            raise TorchpairError(f"{len(diffs)} rendered files are not up to date", remedy="torchpair render")
        click.echo("Every rendered file is up to date.")
        return
    changed = workspace.write_rendered()
    click.echo("\n".join(f"wrote {name}" for name in changed) or "Every rendered file was up to date.")


@cli.command(short_help="Settle exact versions with sha256: locks/ROW.txt.")
@click.argument("names", nargs=-1, metavar="[ROW]...", shell_complete=row_names)
@matrix_option
@click.option(
    "--check",
    "only_check",
    is_flag=True,
    help="Change nothing, ask no index; end with 2 when a lock is missing or stale.",
)
@click.option("--upgrade", is_flag=True, help="Take the newest versions that fit, not those locked before.")
@click.option("--tools", is_flag=True, help="Also the lock of what the build stages install.")
@mirror_option
def lock(names: tuple[str, ...], file: Path, only_check: bool, upgrade: bool, tools: bool, mirror: str | None) -> None:
    """Settle exact versions with sha256 in locks/<row>.txt (uv resolves), for the rows named or for all.

    A lock is in pip's own format. Versions of an older lock stay where they fit.

    \b
    torchpair lock torch2.8.0-cu128-py311 --upgrade
    """
    workspace = workspace_of(file, mirror)
    wanted = {row.name for row in workspace.choose(names, everything=True)}
    specs = {spec.name: spec for spec in workspace.everywhere() if spec.name in wanted}
    failed = []
    if tools and not only_check:
        workspace.make_tools_lock()
    for name, spec in specs.items():
        try:
            if only_check:
                found = workspace.lock(spec)
                click.echo(f"{name}: {'locked' if found else 'not locked'}")
                failed += [] if found or spec.index != "pypi" else [name]
            else:
                click.echo(f"{name}: {len(workspace.make_lock(spec, upgrade).wheels)} wheels")
        except TorchpairError as error:
            click.echo(f"{name}: {error}", err=True)
            failed.append(name)
    if failed:
        raise TorchpairError(
            f"{len(failed)} of {len(specs)} rows are not locked", why=", ".join(failed), remedy="torchpair lock ROW"
        )


@cli.group()
def engine() -> None:
    """The Docker engine that images are built with."""


@engine.command(short_help="Find a Docker engine, or start one where that can be.")
def start() -> None:
    """Find a Docker engine, or start one where that is possible (root, on Debian or Ubuntu)."""
    from torchpair import dockerd

    found = dockerd.ensure(_say)
    click.echo(f"Docker {found.version} answers on {found.host}.")


@engine.command(short_help="Stop the engine that torchpair started.")
def stop() -> None:
    """Stop the engine that torchpair started; any other is left alone."""
    from torchpair import dockerd

    if not dockerd.stop(_say):
        click.echo("No engine that torchpair started is running.")


@cli.command(short_help="Write the plan for a build elsewhere.")
@click.argument("names", nargs=-1, metavar="[ROW]...", shell_complete=row_names)
@matrix_option
@click.option(
    "--format", "form", type=click.Choice(["bake", "github"]), default="bake", show_default=True,
    help="bake: docker-bake.json and its build context; github: a job matrix on standard output.",
)  # fmt: skip
@click.option("--all", "everything", is_flag=True, help="github: every row, not only the default ones.")
@click.option(
    "--jobs", type=click.IntRange(1, 256), default=256, show_default=True,
    help="github: at most so many jobs; more rows than that are divided into shards.",
)  # fmt: skip
def plan(names: tuple[str, ...], file: Path, form: str, everything: bool, jobs: int) -> None:
    """Write the plan for a build elsewhere: with plain `docker buildx bake`, or by jobs of GitHub Actions.

    \b
    torchpair plan && docker buildx bake --file docker-bake.json default
    torchpair plan --format github --all
    """
    workspace = workspace_of(file)
    if form == "github":
        from torchpair.jobs import github

        click.echo(github(workspace, names, everything, jobs))
        return
    if names or everything:
        raise click.UsageError("docker-bake.json has every row", click.get_current_context())
    workspace.write_rendered()
    workspace.uv()
    path, digest = workspace.probe()
    click.echo(f"docker-bake.json is up to date; {path} packed (sha256 {digest[:12]}).")


for command in (
    cli_build.images, cli_build.build, cli_build.wheel, cli_build.preflight, cli_bundle.bundle, cli_check.check,
    cli_check.layers, cli_choose.choose, cli_choose.page, cli_choose.pull, cli_clean.clean, cli_deploy.deploy,
    cli_models.models, cli_doctor.doctor, cli_know.rows, cli_know.explain, cli_know.solve, cli_know.facts,
    cli_proven.proven, cli_publish.publish, cli_publish.catalog, completion,
):  # fmt: skip
    cli.add_command(command)

if __name__ == "__main__":
    main()
