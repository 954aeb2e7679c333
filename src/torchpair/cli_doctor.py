"""The command that names causes: doctor."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from torchpair.cli_completion import row_names
from torchpair.cli_options import answering, json_flag, matrix_option
from torchpair.errors import EXIT_INCONCLUSIVE, EXIT_OK, EXIT_UNHEALTHY, EngineError


@click.command(short_help="Say why torch and torchaudio do not work; what to type.")
@click.argument("target", metavar="[IMAGE|ROW]", required=False, shell_complete=row_names)
@click.option("--python", "executable", metavar="PATH", help="A Python of this machine, such as .venv/bin/python.")
@matrix_option
@click.option(
    "--base", type=click.Choice(["auto", "nvidia", "local"]), default="auto", envvar="BASE", show_default=True,
    help="The base of a row's image.",
)  # fmt: skip
@click.option(
    "--gpu", type=click.Choice(["auto", "require", "off"]), default="auto", envvar="GPU", show_default=True,
    help="auto: use GPUs where there are any; require: inconclusive without one.",
)  # fmt: skip
@json_flag
@click.option(
    "--timeout", type=click.FloatRange(1, 7200), default=300.0, show_default=True,
    help="Seconds until the check is given up.",
)  # fmt: skip
@click.option("--memory", default="8g", show_default=True, help="Memory limit of an image's container.")
def doctor(
    target: str | None, executable: str | None, file: Path, base: str, gpu: Any, as_json: bool, timeout: float,
    memory: str,
) -> None:  # fmt: skip
    """Say why torch and torchaudio do not work, and what to type: in an image, or in a Python of this machine.

    Without a target: this machine's python3. An image runs caged, as with `check`; a Python runs as it is.

    \b
    torchpair doctor some/image:tag
    torchpair doctor --python .venv/bin/python
    """
    from torchpair import diagnose, present
    from torchpair import doctor as doctors
    from torchpair import host as hosts
    from torchpair.console import console
    from torchpair.workspace import Workspace

    if target and executable:
        raise click.UsageError("name an image or a --python, not both", click.get_current_context())
    workspace = Workspace(file)
    if target:
        report, host = _image(workspace, target, base, gpu, timeout, memory)
    else:
        with doctors.packed() as (probe, digest):
            report = doctors.python(executable or "python3", probe=probe, probe_sha256=digest, gpu=gpu, seconds=timeout)
        host = hosts.look()
    causes = diagnose.causes(report, host)
    if as_json:
        click.echo(json.dumps(doctors.to_json(report, causes, host), indent=1))
    else:
        click.echo("\n".join(doctors.lines(report, causes, host)))
        click.echo("")
        if report.failed:
            console().print(present.checks_table(report, failed=True))
        click.echo("\n".join([*present.stuck(report), present.checks_line(report)]))
    sys.exit({"healthy": EXIT_OK, "unhealthy": EXIT_UNHEALTHY}.get(report.verdict, EXIT_INCONCLUSIVE))


def _image(workspace: Any, target: str, base: str, gpu: Any, timeout: float, memory: str) -> tuple[Any, Any]:
    from torchpair import check as checks
    from torchpair import doctor as doctors
    from torchpair import host as hosts
    from torchpair.factory import spec_of

    try:
        engine = answering()
        spec = spec_of(workspace, target, base, engine)
        with doctors.packed() as (probe, digest):
            report = checks.image(
                engine, spec.reference if spec else target, probe=probe, probe_sha256=digest, spec=spec,
                lock=workspace.lock(spec) if spec else None, gpu=gpu, seconds=timeout, memory=memory,
            )  # fmt: skip
        return report, hosts.look(engine)
    except EngineError as error:
        error.exit_code = EXIT_INCONCLUSIVE  # nothing was learned about the image
        raise
