"""The commands that look into an image: check, layers."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from torchpair.cli_completion import check_names, profile_names, row_names
from torchpair.cli_options import answering, base_option, gpu_option, json_flag, matrix_option, workspace_of
from torchpair.errors import EXIT_INCONCLUSIVE, EXIT_OK, EXIT_UNHEALTHY, EngineError, TorchpairError


@click.command(short_help="Run the health check in an image.")
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

    \b
    torchpair check torch2.8.0-cu128-py311
    torchpair check pytorch/pytorch:latest --only pair,io
    """
    if smoke:
        sys.exit(_smoke(target, as_json, timeout, memory))
    from torchpair import check as checks
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
        engine = answering()
        workspace = workspace_of(file)
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


@click.command(short_help="Show what an image weighs, and what two images share.")
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

    \b
    torchpair layers torch2.14.1-cu130-py313 --have torch2.8.0-cu128-py311
    """
    from torchpair import difference
    from torchpair import layers as layered
    from torchpair.console import console
    from torchpair.factory import build_again, spec_of

    engine = answering()
    workspace = workspace_of(file)

    def reference(name: str) -> str:
        spec = spec_of(workspace, name, base, engine)
        return spec.reference if spec else name

    if rebuild:
        spec = spec_of(workspace, target, base, engine)
        if spec is None:
            raise TorchpairError(f"{target} is no row of {file}", remedy="--diff builds a row once more: name one")
        with build_again(workspace, engine, spec, console()) as again:
            shares = difference.same(layered.read(engine, spec.reference), layered.read(engine, again))
            found = difference.differences(engine, spec.reference, again)
        click.echo("\n".join(difference.diff_lines(shares, found)))
        sys.exit(1 if found else 0)
    image = reference(target)
    there = layered.read(engine, reference(have)) if have else None
    answer = layered.Contents(image, layered.read(engine, image), layered.take_inventory(engine, image))
    if as_json:
        click.echo(json.dumps(layered.to_json(answer, there), indent=1))
    else:
        click.echo("\n".join(layered.lines(answer, there, have)))


def _smoke(target: str, as_json: bool, timeout: float, memory: str) -> int:
    """`check gpt-sovits --smoke`: the exit code."""
    from rich.table import Table

    from torchpair import smoke as smokes
    from torchpair.console import console

    engine = answering()
    answer = smokes.run(engine, smokes.image_of(engine, target), seconds=timeout, memory=memory)
    if as_json:
        click.echo(json.dumps(answer.to_json(), indent=1))
    else:
        table = Table("request", "status", "seconds", "result")
        for case in answer.cases:
            table.add_row(
                case["name"],
                str(case["status"] or "-"),
                f"{case['seconds']:.2f}",
                f"✗ {case['reason']}" if case["reason"] else "✓",
            )
        screen = console()
        screen.print(table)
        good = sum(not case["reason"] for case in answer.cases)
        screen.print(
            f"{answer.image}: {good} of {len(answer.cases)} as expected, in {answer.seconds:.0f} s.", highlight=False
        )
        for line in answer.log:
            screen.print(f"  {line}", highlight=False, markup=False, soft_wrap=True)
    return EXIT_OK if answer.good else EXIT_UNHEALTHY
