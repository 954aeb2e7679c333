"""The commands that run GPT-SoVITS: deploy, lock, status, logs, down."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from torchpair.cli_completion import row_names
from torchpair.cli_options import answering, matrix_option, mirror_option, version_option
from torchpair.errors import EXIT_OK, EXIT_UNHEALTHY, EngineError, TorchpairError

if TYPE_CHECKING:
    from torchpair.engine import Engine

output_option = click.option(
    "--output", "-o", type=click.Path(path_type=Path, file_okay=False), default=Path("gpt-sovits"), show_default=True,
    help="The folder with compose.yaml.",
)  # fmt: skip


@click.group(short_help="Run GPT-SoVITS from a proven image.")
def deploy() -> None:
    """Run GPT-SoVITS from a proven image: compose on this host, manifests for Kubernetes.

    \b
    torchpair models gpt-sovits fetch
    torchpair deploy gpt-sovits
    """


@deploy.command("gpt-sovits", short_help="Build, look, start, and wait until it answers.")
@matrix_option
@mirror_option
@click.option("--gpu/--cpu", "gpu", default=None, help="Where to compute; by default a GPU where the engine has one.")
@click.option("--flavour", type=click.Choice(["api", "lite", "full"]), default="api", show_default=True,
              help="api: the server. lite: the WebUI and training too. full: recognition too.")  # fmt: skip
@version_option
@click.option("--models", type=click.Path(path_type=Path, file_okay=False), help="Model files; default OUTPUT/models.")
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="What is written; default OUTPUT/data.")
@output_option
@click.option("--port", "ports", multiple=True, metavar="[NAME=]PORT", help="Such as 9881, or main=8080.")
@click.option("--address", default="127.0.0.1", show_default=True, help="Where ports are published.")
@click.option("--user", metavar="UID:GID", help="Who the container runs as; by default you, or 10001 for root.")
@click.option("--name", default="gpt-sovits", show_default=True, help="The name of the compose project.")
@click.option("--image", metavar="IMAGE", help="An image that was made here before, instead of building one.")
@click.option("--row", metavar="ROW", shell_complete=row_names, help="The row of the matrix to stand on.")
@click.option("--source", metavar="SOURCE", help="GPT-SoVITS: git+URL@ref, an archive with #sha256=, a folder.")
@click.option("--nltk", type=click.Path(path_type=Path, exists=True, file_okay=False), help="NLTK's data, a folder.")
@click.option("--dry-run", is_flag=True, help="Write and show the files; build and start nothing.")
@click.option("--timeout", type=click.FloatRange(1, 7200), default=900.0, show_default=True,
              help="Seconds until it has to answer.")  # fmt: skip
def gpt_sovits(
    file: Path, mirror: str | None, gpu: bool | None, flavour: Any, version: str | None, models: Path | None,
    data: Path | None, output: Path, ports: tuple[str, ...], address: str, user: str | None, name: str,
    image: str | None, row: str | None, source: str | None, nltk: Path | None, dry_run: bool, timeout: float,
) -> None:  # fmt: skip
    """Write compose.yaml, .env and kubernetes.yaml, check host, image and models, start, and wait until it answers.

    \b
    torchpair deploy gpt-sovits --dry-run
    torchpair deploy gpt-sovits --gpu --flavour lite --models /srv/sovits
    """
    from torchpair import deploy as deployments
    from torchpair import launch, progress, readiness, sovits_row
    from torchpair.console import console
    from torchpair.deploy import Deployment
    from torchpair.sovits import weights
    from torchpair.workspace import Workspace

    screen = console()
    workspace = Workspace(file, mirror or None)
    engine = None if dry_run and image else _find(dry_run)
    tag = image or sovits_row.reference(workspace, row, flavour)
    if gpu is None:
        gpu = _has_gpu(engine)
        screen.print(f"Computing on the {'GPU' if gpu else 'CPU'}: --gpu and --cpu decide otherwise.", highlight=False)

    def deployment(reference: str) -> Deployment:
        return Deployment(
            image=reference, tag=tag, flavour=flavour, gpu=bool(gpu), version=version or weights.DEFAULT_VERSION,
            models=_path(models, "./models"), data=_path(data, "./data"), name=name, address=address,
            ports=_ports(ports), user=user or _user(), gpu_driver=_gpu_driver(engine) if gpu else "nvidia",
        )  # fmt: skip

    folder = output.resolve()
    if dry_run:
        planned = deployment(_pinned_or_tag(engine, tag))
        for path in launch.write(planned, folder):
            screen.print(f"# {path}", highlight=False, markup=False, soft_wrap=True)
            screen.print(path.read_text(encoding="utf-8"), highlight=False, markup=False, soft_wrap=True)
        for finding in readiness.examine(engine, planned, folder) if engine else ():
            screen.print(str(finding), highlight=False, markup=False, soft_wrap=True)
        screen.print("Nothing was started.")
        return
    assert engine is not None
    planned = deployment("not-built")  # a wrong option is said before anything is built
    with progress.show(screen) as shown:
        if image is None:
            tag = sovits_row.built(workspace, engine, row, flavour, source, nltk, shown)
        ready = deployment(launch.pinned(engine, tag))
        findings = readiness.examine(engine, ready, folder)
        for finding in findings:
            shown.say(str(finding))
        launch.write(ready, folder)
        readiness.refuse(findings)
        launch.make_folders(ready, folder)
        launch.up(engine, ready, folder, shown, timeout)
    screen.print(
        f"GPT-SoVITS answers at {deployments.url(ready)} (routes: {deployments.url(ready)}/docs).", highlight=False
    )
    if ready.webui:
        screen.print("The WebUI: COMPOSE_PROFILES=api,webui in .env, then docker compose up -d.", highlight=False)
    screen.print(
        f"Put a voice of 3 to 10 s into {launch.voices(launch.below(folder, ready.data))}/voice.wav, then:\n"
        f"{deployments.curl(ready)}",
        highlight=False, markup=False, soft_wrap=True,
    )  # fmt: skip


def _find(dry_run: bool) -> Engine | None:
    from torchpair import engine as engines

    return engines.find() if dry_run else answering()


def _path(given: Path | None, default: str) -> str:
    return str(given.resolve()) if given else default


def _ports(given: tuple[str, ...]) -> dict[str, int]:
    found = {}
    for text in given:
        name, _, number = text.rpartition("=")
        if not number.isascii() or not number.isdigit():
            raise TorchpairError(f"--port {text!r} is not a port", remedy="write a number, or NAME=NUMBER: main=8080")
        found[name or "api"] = int(number)
    return found


def _user() -> str:
    """Whoever calls owns what is written; root's files would be root's, so then the image's own user."""
    from torchpair.resolve import UID

    return f"{UID}:{UID}" if os.geteuid() == 0 else f"{os.getuid()}:{os.getgid()}"


def _has_gpu(engine: Engine | None) -> bool:
    from torchpair import check

    return bool(engine and check.gpu_request(engine)[0])


def _gpu_driver(engine: Engine | None) -> str:
    from torchpair import check

    requests = check.gpu_request(engine)[0] if engine else []
    return "cdi" if requests and requests[0].get("Driver") == "cdi" else "nvidia"


def _pinned_or_tag(engine: Engine | None, tag: str) -> str:
    from torchpair import launch

    try:
        return launch.pinned(engine, tag) if engine else tag
    except EngineError:
        return tag


@deploy.command(short_help="Settle exact versions of what it adds to a row.")
@matrix_option
@mirror_option
@click.option("--row", metavar="ROW", shell_complete=row_names, help="The row to stand on.")
def lock(file: Path, mirror: str | None, row: str | None) -> None:
    """Settle exact versions of what GPT-SoVITS adds to a row, for every flavour: locks/gpt-sovits/."""
    from torchpair import deploy as deployments
    from torchpair import sovits_image, sovits_lock
    from torchpair.files import write_whole
    from torchpair.workspace import BASES, Workspace

    workspace = Workspace(file, mirror or None)
    (wanted,) = workspace.choose([row or sovits_image.recipe()["row"]])
    spec = workspace.specs([wanted], BASES[0])[0]
    row_lock = workspace.lock(spec)
    if row_lock is None:
        raise TorchpairError(f"row {spec.name} is not locked", remedy=f"torchpair lock {spec.name}")
    kept = row_lock.versions
    questions = [
        sovits_image.question(flavour, spec.name, spec.python, spec.cuda, kept) for flavour in deployments.FLAVOURS
    ]
    for question in (*questions, sovits_image.tools_question(spec.name, spec.python, kept)):
        found = sovits_lock.resolve(question, workspace.mirror)
        write_whole(sovits_image.lock_path(question, workspace.locks), sovits_lock.text(question.name, found))
        click.echo(f"{question.name}: {len(found.wheels)} wheels, {len(found.sdists)} compiled")


@deploy.command()
@output_option
def status(output: Path) -> None:
    """Say how the services are. Ends with 0 when all that run are healthy, else with 1."""
    from rich.table import Table

    from torchpair import launch
    from torchpair.console import console

    found = launch.states(answering(), launch.name_of(output.resolve()))
    table = Table("service", "state", "health", "restarts", "image")
    for state in found:
        table.add_row(state.service, state.status, state.health, str(state.restarts), state.image[7:19])
    if found:
        console().print(table)
    else:
        click.echo("Nothing runs.")
    sys.exit(EXIT_OK if found and all(state.healthy for state in found) else EXIT_UNHEALTHY)


@deploy.command()
@click.argument("service", required=False)
@output_option
@click.option("--follow", "-f", "on", is_flag=True, help="Go on until Ctrl-C.")
@click.option("--tail", type=click.IntRange(1, 100000), default=200, show_default=True, help="Lines of each service.")
def logs(service: str | None, output: Path, on: bool, tail: int) -> None:
    """Show what the services say."""
    from torchpair import launch

    sys.exit(launch.follow(answering(), output.resolve(), service, tail, on))


@deploy.command()
@output_option
def down(output: Path) -> None:
    """Stop and remove the containers; files, models and data stay."""
    from torchpair import launch

    launch.compose(answering(), output.resolve(), "--profile", "*", "down", "--remove-orphans")
    click.echo(f"Stopped. {output} stays as it is.")
