"""The command line. `torchpair images` is the whole way; the other commands are its steps.

What a command needs is imported inside it, so that `torchpair --help` answers at once.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from torchpair import (
    __version__,
    cli_bundle,
    cli_choose,
    cli_clean,
    cli_deploy,
    cli_doctor,
    cli_know,
    cli_proven,
    cli_publish,
)
from torchpair.cli_completion import check_names, completion, profile_names, row_names
from torchpair.cli_know import json_flag, matrix_option, mirror_option
from torchpair.errors import (
    EXIT_INCONCLUSIVE,
    EXIT_OK,
    EXIT_UNHEALTHY,
    EXIT_USAGE,
    EngineError,
    TorchpairError,
    visible,
)

if TYPE_CHECKING:
    from torchpair.workspace import Workspace

EPILOG = (
    "Exit codes: 0 all healthy, 1 an image is unhealthy, 2 the matrix or the command line is wrong, "
    "3 inconclusive, 4 a build failed."
)

base_option = click.option(
    "--base", type=click.Choice(["auto", "nvidia", "local"]), default="auto", envvar="BASE", show_default=True,
    help="nvidia/cuda images, a Debian made on this machine, or whichever can be had.",
)  # fmt: skip
gpu_option = click.option(
    "--gpu", type=click.Choice(["auto", "require", "off"]), default="auto", envvar="GPU", show_default=True,
    help="auto: use GPUs where the engine has them; require: inconclusive without one.",
)  # fmt: skip


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


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}, epilog=EPILOG)
@click.version_option(__version__, prog_name="torchpair")
def cli() -> None:
    """Docker images in which torch and torchaudio are a proven pair."""


shard_option = click.option("--shard", metavar="I/N", help="Only the I-th of N parts of the rows, of about equal cost.")
builder_option = click.option(
    "--builder", metavar="NAME", envvar="BUILDX_BUILDER", help="Build on this builder of buildx: remote, Kubernetes."
)


def _part(shard: str | None) -> tuple[int, int] | None:
    from torchpair.shard import parse

    return parse(shard) if shard else None


def _workspace(file: Path, mirror: str | None = None, bundle: Path | None = None, offline: bool = False) -> Workspace:
    from torchpair.workspace import Workspace

    if bundle is None:
        if offline:
            raise click.UsageError("--offline builds from a --bundle", click.get_current_context())
        return Workspace(file, mirror or None)
    if mirror:
        raise click.UsageError("a --bundle has every download: no --mirror", click.get_current_context())
    from torchpair import bundle as bundles

    return Workspace(file, None, bundles.read(bundle), offline)


def _say(line: str) -> None:
    click.echo(line)


@cli.command()
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
    and a report for every image below reports/.
    """
    from torchpair.console import console
    from torchpair.factory import make

    sys.exit(
        make(
            _workspace(file, mirror, bundle, offline),
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


@cli.command()
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
    """
    if (name is None) == (shard is None):
        raise click.UsageError("name a ROW, or a --shard of all rows", click.get_current_context())
    from torchpair.console import console
    from torchpair.factory import make

    given = _given(source, torch_source, max_jobs, nice)
    sys.exit(
        make(
            _workspace(file, mirror), [name] if name else [], base=base, gpu=gpu, everything=name is None, jobs=1,
            again=False, console=console(), given=given, part=_part(shard), builder=builder,
        )
    )  # fmt: skip


@cli.command()
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
    """Compile what a row compiles, and put the wheel into a folder; to be installed beside the same torch elsewhere."""
    from torchpair.console import console
    from torchpair.factory import wheel as make_wheel

    given = _given(source, torch_source, max_jobs, nice)
    made = make_wheel(_workspace(file, mirror), name, output, base=base, given=given, console=console())
    click.echo("\n".join(str(path) for path in made))


@cli.command()
@click.argument("name", metavar="ROW", shell_complete=row_names)
@matrix_option
@base_option
@mirror_option
@_source_options
def preflight(
    name: str, file: Path, base: str, mirror: str | None, source: str | None, torch_source: str | None,
    max_jobs: int | None, nice: bool,
) -> None:  # fmt: skip
    """Look whether a row can be compiled: source, torch in place, compiler, nvcc; of torch itself, CMake's summary."""
    from torchpair.console import console
    from torchpair.factory import preflight as look

    given = _given(source, torch_source, max_jobs, nice)
    look(_workspace(file, mirror), name, base=base, given=given, console=console())
    click.echo(f"{name}: everything is there")


@cli.command()
@click.argument("target", metavar="IMAGE|ROW", shell_complete=row_names)
@matrix_option
@base_option
@gpu_option
@click.option("--smoke", is_flag=True, help="Of an image of GPT-SoVITS: ask its server for speech, with a stub voice.")
@click.option(
    "--profile",
    metavar="core|gpt-sovits|FILE",
    shell_complete=profile_names,
    help="A set of checks, or a file that lists some.",
)
@click.option("--only", metavar="ID,ID...", shell_complete=check_names, help="These checks, or groups of checks, only.")
@click.option("--quick", is_flag=True, help="The few checks of a HEALTHCHECK only.")
@click.option("--json", "as_json", is_flag=True, help="The report as JSON on standard output.")
@click.option(
    "--timeout",
    type=click.FloatRange(1, 7200),
    default=300.0,
    show_default=True,
    help="Seconds until the check is given up.",
)
@click.option("--memory", default="8g", show_default=True, help="Memory limit of the container.")
def check(
    target: str,
    file: Path,
    base: str,
    gpu: Any,
    smoke: bool,
    profile: str | None,
    only: str | None,
    quick: bool,
    as_json: bool,
    timeout: float,
    memory: str,
) -> None:
    """Run the health check in one image: a row of the matrix, or any image the engine has.

    The image runs caged: no network, no capabilities, a read-only root, limits on memory, processes and time. The
    report is kept in reports/ unless --only, --quick or a FILE left checks of the profile core out.
    """
    import json

    if smoke:
        sys.exit(cli_deploy.smoke(target, as_json, timeout, memory))
    from torchpair import check as checks
    from torchpair import engine as engines
    from torchpair import present
    from torchpair import report as reports
    from torchpair.console import console
    from torchpair.factory import spec_of
    from torchpair.probe import select

    try:
        names = select.choose(profile, only, quick)
    except select.SelectionError as error:
        raise click.UsageError(str(error), click.get_current_context()) from error
    try:
        engine = engines.find()
        if engine is None:
            raise EngineError("no Docker engine answers", remedy="torchpair engine start")
        os.environ["DOCKER_HOST"] = engine.host
        workspace = _workspace(file)
        spec = spec_of(workspace, target, base, engine)
        probe, digest = workspace.probe()
        report = checks.image(
            engine, spec.reference if spec else target, probe=probe, probe_sha256=digest, spec=spec,
            lock=workspace.lock(spec) if spec else None, gpu=gpu, names=names, seconds=timeout, memory=memory,
        )  # fmt: skip
    except EngineError as error:
        # Nothing was learned about the image.
        error.exit_code = EXIT_INCONCLUSIVE
        raise
    # A part of the checks proves a part: kept as the image's report, it would stand for all of them.
    path = reports.save(report, workspace.reports) if set(names) >= set(select.PROFILES["core"]) else None
    if as_json:
        click.echo(json.dumps(report.to_json(), indent=1))
    else:
        screen = console()
        screen.print(present.checks_table(report))
        screen.print(present.table([present.outcome(report, path)]))
    sys.exit({"healthy": EXIT_OK, "unhealthy": EXIT_UNHEALTHY}.get(report.verdict, EXIT_INCONCLUSIVE))


@cli.command()
@click.argument("target", metavar="IMAGE|ROW", shell_complete=row_names)
@matrix_option
@base_option
@click.option(
    "--have",
    metavar="IMAGE|ROW",
    shell_complete=row_names,
    help="Also what a pull brings to someone who has this one already.",
)
@click.option(
    "--diff", "rebuild", is_flag=True, help="Build the row once more without the cache, and list what differs."
)
@json_flag
def layers(target: str, file: Path, base: str, have: str | None, rebuild: bool, as_json: bool) -> None:
    """Show what an image weighs: by layer, by package, what nobody owns, what lies there twice.

    With --diff it ends with 1 when two builds of one lock are not the same.
    """
    import json

    from torchpair import engine as engines
    from torchpair import layers as layered
    from torchpair.console import console
    from torchpair.factory import build_again, spec_of

    engine = engines.find()
    if engine is None:
        raise EngineError("no Docker engine answers", remedy="torchpair engine start")
    workspace = _workspace(file)

    def reference(name: str) -> str:
        spec = spec_of(workspace, name, base, engine)
        return spec.reference if spec else name

    if rebuild:
        spec = spec_of(workspace, target, base, engine)
        if spec is None:
            raise TorchpairError(f"{target} is no row of {file}", remedy="--diff builds a row once more: name one")
        with build_again(workspace, engine, spec, console()) as again:
            shares = layered.same(layered.read(engine, spec.reference), layered.read(engine, again))
            found = layered.differences(engine, spec.reference, again)
        click.echo("\n".join(layered.diff_lines(shares, found)))
        sys.exit(1 if found else 0)
    image = reference(target)
    there = layered.read(engine, reference(have)) if have else None
    answer = layered.Contents(image, layered.read(engine, image), layered.take_inventory(engine, image))
    if as_json:
        click.echo(json.dumps(layered.to_json(answer, there), indent=1))
    else:
        click.echo("\n".join(layered.lines(answer, there, have)))


@cli.command()
@matrix_option
@click.option(
    "--check",
    "only_check",
    is_flag=True,
    help="Change nothing; show a diff and end with 2 when a file is not up to date.",
)
def render(file: Path, only_check: bool) -> None:
    """Write dockerfiles/ and docker-bake.json from the matrix and its locks."""
    workspace = _workspace(file)
    if only_check:
        diffs = workspace.drift()
        if diffs:
            click.echo("\n".join(diffs))
            raise TorchpairError(f"{len(diffs)} rendered files are not up to date", remedy="torchpair render")
        click.echo("Every rendered file is up to date.")
        return
    changed = workspace.write_rendered()
    click.echo("\n".join(f"wrote {name}" for name in changed) or "Every rendered file was up to date.")


@cli.command()
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
    """Settle exact versions with sha256 in locks/<row>.txt (uv resolves), for the rows named or for all."""
    workspace = _workspace(file, mirror)
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


@engine.command()
def start() -> None:
    """Find a Docker engine, or start one where that is possible (root, on Debian or Ubuntu)."""
    from torchpair import engine as engines

    found = engines.ensure(_say)
    click.echo(f"Docker {found.version} answers on {found.host}.")


@engine.command()
def stop() -> None:
    """Stop the engine that torchpair started; any other is left alone."""
    from torchpair import engine as engines

    if not engines.stop(_say):
        click.echo("No engine that torchpair started is running.")


@cli.command()
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
    """Write the plan for a build elsewhere: with plain `docker buildx bake`, or by jobs of GitHub Actions."""
    workspace = _workspace(file)
    if form == "github":
        from torchpair.factory import github

        click.echo(github(workspace, names, everything, jobs))
        return
    if names or everything:
        raise click.UsageError("docker-bake.json has every row", click.get_current_context())
    workspace.write_rendered()
    path, digest = workspace.probe()
    click.echo(f"docker-bake.json is up to date; {path} packed (sha256 {digest[:12]}).")


for command in (
    cli_bundle.bundle, cli_choose.choose, cli_choose.page, cli_choose.pull, cli_clean.clean, cli_deploy.deploy,
    cli_deploy.models, cli_doctor.doctor, cli_know.rows, cli_know.explain, cli_know.solve, cli_know.facts,
    cli_proven.proven, cli_publish.publish, cli_publish.catalog, completion,
):  # fmt: skip
    cli.add_command(command)

if __name__ == "__main__":
    main()
