"""The commands for those who pull: choose, pull, page."""

from __future__ import annotations

import json
import os
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from torchpair.cli_completion import torch_versions
from torchpair.cli_options import json_flag
from torchpair.errors import EXIT_INCONCLUSIVE, EXIT_OK, EXIT_UNHEALTHY, EXIT_USAGE, EngineError, TorchpairError

if TYPE_CHECKING:
    from torchpair.choose import Answer

TOOLKIT = "https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/install-guide.html"
ARCHES = {"amd64": "x86_64", "arm64": "aarch64"}
options = (
    click.option(
        "--catalog", "where", metavar="FILE|URL|REGISTRY", envvar="TORCHPAIR_CATALOG", required=True,
        help="The catalog.json of what was published, or HOST/PATH of a registry, which is then read.",
    ),
    click.option(
        "--gpu", "gpus", multiple=True,
        help='Instead of this machine\'s: "RTX 5090", "sm_120", "12.0", or none; may be repeated.',
    ),
    click.option("--driver", help='Instead of this machine\'s: "570" or "570.124.06".'),
    click.option("--torch", shell_complete=torch_versions, help='A torch, or its beginning: "2.8".'),
    click.option("--cuda", help='A CUDA: "12.8", or cpu.'),
    click.option("--python", help="A Python."),
    click.option("--arch", help="x86_64 or aarch64; by default that of the card, or of this machine."),
    click.option("--for", "profile", type=click.Choice(["gpt-sovits"]), help="What it is to run."),
)  # fmt: skip


def _options(command: Any) -> Any:
    for option in reversed(options):
        command = option(command)
    return command


def _answer(
    where: str, gpus: tuple[str, ...], driver: str | None, torch: str | None, cuda: str | None, python: str | None,
    arch: str | None, profile: str | None,
) -> Answer:  # fmt: skip
    """What fits. Raises TorchpairError."""
    from torchpair import choose as chosen
    from torchpair import facts as facts_data
    from torchpair import host as hosts
    from torchpair import pull as pulls
    from torchpair import search
    from torchpair.diagnose.evidence import Host
    from torchpair.matrix.fields import ARCH, CUDA, DRIVER, PYTHON, VERSION_START

    for option, value, kind in (
        ("--driver", driver, DRIVER), ("--torch", torch, VERSION_START), ("--cuda", cuda, CUDA),
        ("--python", python, PYTHON), ("--arch", arch, ARCH),
    ):  # fmt: skip
        try:
            if value is not None:
                kind(value)
        except ValueError:
            raise TorchpairError(f"{option} {value!r} is not allowed", remedy=f"write {kind.allowed}") from None
    offer = pulls.catalog(where, _aside)
    # Asked only where the command line leaves something open.
    host = Host() if (gpus and driver) or chosen.NONE in gpus else hosts.look()
    here = platform.machine().lower()
    there = chosen.machine(host, gpus, driver, arch, ARCHES.get(here, here))
    wish = search.Wish(python=python, cuda=cuda, profile=profile, torch=torch)
    return chosen.choose(offer, there, wish, facts_data.load())


@click.command(short_help="Say which published image to pull here, and why.")
@_options
@json_flag
def choose(as_json: bool, **asked: Any) -> None:
    """Say which published image to pull on this machine, and why. Ends with 2 when none runs; pulls nothing.

    \b
    torchpair choose --catalog registry.example/torchpair
    torchpair choose --catalog catalog.json --gpu "RTX 5090" --driver 570
    """
    from torchpair import advice
    from torchpair import facts as facts_data

    answer = _answer(**asked)
    if as_json:
        click.echo(json.dumps(advice.to_json(answer), indent=1))
    else:
        click.echo(_shown(advice.lines(answer, facts_data.load())))
    sys.exit(EXIT_OK if answer.best else EXIT_USAGE)


def _aside(line: str) -> None:
    click.echo(_shown([line]), err=True)


def _shown(lines: list[str]) -> str:
    """Words with a catalog's and a user's own in them: a terminal must only show them."""
    from torchpair.errors import visible

    return "\n".join(visible(line) for line in lines)


@click.command(short_help="Choose, pull by digest, compare, and tag.")
@_options
@click.option("--key", metavar="FILE", help="cosign's public key: no pull without a signature of it.")
@click.option("--identity", metavar="REGEXP", help="Instead of a key: the identity that signed, such as a workflow's.")
@click.option("--issuer", metavar="URL", help="Who vouches for the identity; by default GitHub Actions.")
@click.option(
    "--check", "checked", type=click.Choice(["off", "quick", "full"]), default="off", show_default=True,
    help="Run the health check in the pulled image.",
)  # fmt: skip
def pull(key: str | None, identity: str | None, issuer: str | None, checked: str, **asked: Any) -> None:
    """Choose, pull by digest, compare with the catalog, and tag. Ends with 2, nothing pulled, when no image runs here.

    Verifies the signature where cosign is installed, and --key or --identity names whose; else it says that it did not.

    \b
    torchpair pull --catalog registry.example/torchpair --check quick
    """
    from torchpair import advice
    from torchpair import check as checks
    from torchpair import engine as engines
    from torchpair import facts as facts_data
    from torchpair import pull as pulls

    signer = pulls.Signer(key, identity, issuer or pulls.GITHUB)
    answer = _answer(**asked)
    best = answer.best
    if best is None:
        click.echo(_shown(advice.lines(answer, facts_data.load())))
        sys.exit(EXIT_USAGE)
    engine = engines.find(builds=False)
    if engine is None:
        raise EngineError("no Docker engine answers", remedy=f"install Docker ({engines.INSTALL_PAGE}) and start it")
    click.echo(_shown([f"{best.image.tag} for {answer.machine}", *best.why]))
    done = pulls.pull(engine, answer.catalog, best.image, lambda line: click.echo(_shown([line])), signer)
    brought = "" if done.size is None else f"; {done.size:,} of {best.image.size:,} bytes pulled"
    click.echo(_shown([f"{done.tagged}: digest as in the catalog{brought}", done.signature]))
    if answer.machine.gpu and not checks.gpu_request(engine)[0]:
        click.echo(
            "This engine hands no GPU to a container: it has neither the NVIDIA runtime nor NVIDIA's CDI devices.\n"
            f"  try: {TOOLKIT}"
        )
    if checked != "off":
        sys.exit(_check(engine, done.tagged, checked == "quick"))


def _check(engine: Any, reference: str, quick: bool) -> int:
    from torchpair import check as checks
    from torchpair import doctor as doctors
    from torchpair import present
    from torchpair.console import console
    from torchpair.probe import select

    os.environ["DOCKER_HOST"] = engine.host
    names = select.choose(quick=quick)
    try:
        with doctors.packed() as (probe, digest):
            report = checks.image(engine, reference, probe=probe, probe_sha256=digest, names=names)
    except EngineError as error:
        error.exit_code = EXIT_INCONCLUSIVE  # the image is here; nothing was learned about it
        raise
    console().print(present.checks_table(report))
    console().print(present.table([present.outcome(report, None)]))
    return {"healthy": EXIT_OK, "unhealthy": EXIT_UNHEALTHY}.get(report.verdict, EXIT_INCONCLUSIVE)


@click.command(short_help="Write the catalog's page, one HTML file.")
@options[0]
@click.option("--output", "-o", type=click.Path(path_type=Path, dir_okay=False), default=Path("catalog.html"),
    show_default=True, help="Where to write it.")  # fmt: skip
def page(where: str, output: Path) -> None:
    """Write the catalog's page: one HTML file to choose an image on, for a web server or to be opened as a file."""
    from torchpair import facts as facts_data
    from torchpair import pull as pulls
    from torchpair import shelf
    from torchpair.files import write_whole

    offer = pulls.catalog(where, _aside)
    write_whole(output, shelf.html(offer, facts_data.load()))
    click.echo(f"{output}: {len(offer.images)} images.")
