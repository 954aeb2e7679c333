"""The commands that answer questions and build nothing: rows, explain, solve, facts."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from torchpair.cli_completion import row_names, torch_versions
from torchpair.cli_options import json_flag, matrix_option
from torchpair.errors import EXIT_USAGE, TorchpairError

if TYPE_CHECKING:
    from torchpair.spec import Spec
    from torchpair.workspace import Workspace

known_base = click.option(
    "--base", type=click.Choice(["nvidia", "local"]), default="nvidia", show_default=True, help="The base to stand on."
)


@click.command(short_help="List the rows: what each resolves to; locked? proven?")
@matrix_option
@known_base
@json_flag
def rows(file: Path, base: str, as_json: bool) -> None:
    """List the rows of the matrix: what each resolves to, whether it is locked, whether it was proven here."""
    from torchpair.explain import described
    from torchpair.workspace import Workspace

    workspace = Workspace(file)
    found: list[dict[str, Any]] = []
    for spec in _specs(workspace, base):
        found.append({**described(spec), **_state(workspace, spec)})
    if as_json:
        click.echo(json.dumps(found, indent=1))
        return
    from rich.table import Table

    from torchpair.console import console

    table = Table(
        "row", "torch", "torchaudio", "torchcodec", "CUDA", "Python", "index", "driver", "default", "locked", "proven"
    )
    for row in found:
        proven = row["proven"]
        said = f"{proven['verdict']}, {proven['started'][:10]}" if proven else "no"
        # An image is as good as its source: whose it was is said with the verdict.
        said += "".join(f"; {name} compiled from {source}" for name, source in row["compiled_from"].items())
        table.add_row(
            row["name"], _from(row["torch"]), _from(row["torchaudio"]), row["torchcodec"] or "-", row["cuda"],
            row["python"], row["index"], row["min_driver"] or "-", "yes" if row["default"] else "-",
            "yes" if row["locked"] else "NOT LOCKED", said,
        )  # fmt: skip
    console().print(table)


def _from(package: dict[str, str]) -> str:
    return package["version"] + ("" if package["from"] == "wheel" else f" ({package['from']})")


def _specs(workspace: Workspace, base: str) -> list[Spec]:
    """Every row on a base; on the other base where this one cannot carry it."""
    from torchpair.errors import ResolveError
    from torchpair.resolve import resolve

    specs = []
    for row in workspace.rows:
        try:
            specs.append(resolve(row, workspace.facts, base))
        except ResolveError as refused:
            try:
                specs.append(resolve(row, workspace.facts, "local" if base == "nvidia" else "nvidia"))
            except ResolveError:
                raise refused from None
    return specs


def _state(workspace: Workspace, spec: Spec) -> dict[str, Any]:
    from torchpair import files
    from torchpair import report as reports

    try:
        locked = workspace.lock(spec) is not None
    except TorchpairError:
        locked = False
    try:
        report = reports.load(workspace.reports / f"{files.file_stem(spec.name)}.json")
    except TorchpairError:
        return {"locked": locked, "proven": None, "compiled_from": {}}
    proven = {"verdict": report.verdict, "started": report.started, "base": report.base, "image": report.image}
    return {"locked": locked, "proven": proven, "compiled_from": workspace.compiled_from(spec)}


@click.command(short_help="Say what a row resolves to and why, or what refuses it.")
@click.argument("name", metavar="[ROW]", required=False, shell_complete=row_names)
@matrix_option
@known_base
@click.option("--torch", shell_complete=torch_versions, help="Instead of a row: a torch version.")
@click.option("--cuda", help="Its CUDA; by default the one that PyPI has.")
@click.option("--python", help="Its Python; by default 3.12 or the nearest that there is.")
@click.option("--torchaudio", help="A torchaudio; by default the one that the rules choose.")
@click.option("--from-source", is_flag=True, help="Compile torchaudio.")
@click.option("--sm", multiple=True, help="A GPU architecture that must be covered; may be repeated.")
@click.option("--arch", help="Its CPU architecture: x86_64 (default) or aarch64.")
@json_flag
def explain(
    name: str | None, file: Path, base: str, torch: str | None, cuda: str | None, python: str | None,
    torchaudio: str | None, from_source: bool, sm: tuple[str, ...], arch: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Say what a row, or a combination, resolves to and by which rule; or what refuses it, and what works instead.

    Ends with 2 when the combination is refused.

    \b
    torchpair explain torch2.8.0-cu128-py311
    torchpair explain --torch 2.15.0 --cuda 13.2 --python 3.12
    """
    from torchpair import explain as explained
    from torchpair import facts as facts_data
    from torchpair.workspace import Workspace

    if (name is None) == (torch is None):
        raise TorchpairError(
            "name a row, or a --torch", remedy="torchpair explain --torch 2.8.0 --cuda 12.8 --python 3.11"
        )
    if name is not None and (from_source or sm or any(v is not None for v in (cuda, python, torchaudio, arch))):
        raise TorchpairError(
            "a row has its CUDA, Python and all else in the matrix", remedy="ask with --torch for another combination"
        )
    facts = facts_data.load()
    if torch is not None:
        row = explained.request(
            facts, torch, cuda=cuda, python=python, torchaudio=torchaudio, sm=sm,
            arch="x86_64" if arch is None else arch, from_source=from_source,
        )  # fmt: skip
    else:
        (row,) = Workspace(file).choose([str(name)])
    answer = explained.explain(row, facts, base)
    if answer.spec is None and name is not None and row.base is None:  # as `rows` does: it may stand on the other base
        other = explained.explain(row, facts, "local" if base == "nvidia" else "nvidia")
        answer, base = (other, other.spec.base) if other.spec else (answer, base)
    if as_json:
        click.echo(json.dumps(explained.to_json(answer, facts), indent=1))
    else:
        click.echo(f"{row.name} on {row.base or base}")
        click.echo("\n".join(explained.lines(answer, facts)))
    sys.exit(0 if answer.spec else EXIT_USAGE)  # `force` passes the rules, and cannot make up what is not known


@click.command(short_help="Say what to use on a GPU and a driver.")
@click.option("--gpu", "gpus", multiple=True, help='A GPU: "sm_120", "12.0" or "RTX 5090"; may be repeated.')
@click.option("--driver", help='The NVIDIA driver: "570" or "570.124.06".')
@click.option("--torch", shell_complete=torch_versions, help='The torch, or its beginning: "2.8".')
@click.option("--python", help="The Python.")
@click.option("--cuda", help="The CUDA.")
@click.option("--arch", default=None, help="x86_64 or aarch64; by default the one that the GPU comes with.")
@click.option("--for", "profile", type=click.Choice(["gpt-sovits"]), help="What it is to run.")
@known_base
@json_flag
def solve(
    gpus: tuple[str, ...], driver: str | None, torch: str | None, python: str | None, cuda: str | None,
    arch: str | None,
    profile: str | None, base: str, as_json: bool,
) -> None:  # fmt: skip
    """Say what to use on a GPU and a driver: the best combinations, best first. Ends with 2 when nothing fits.

    \b
    torchpair solve --gpu "RTX 5090" --driver 570 --for gpt-sovits
    torchpair solve --gpu sm_86 --python 3.10
    """
    from torchpair import explain as explained
    from torchpair import facts as facts_data
    from torchpair import search
    from torchpair.matrix.fields import ARCH, CUDA, DRIVER, PYTHON, VERSION_START

    for option, value, kind in (
        ("--driver", driver, DRIVER),
        ("--torch", torch, VERSION_START),
        ("--python", python, PYTHON),
        ("--cuda", cuda, CUDA),
        ("--arch", arch, ARCH),
    ):
        try:
            if value is not None:
                kind(value)
        except ValueError:
            raise TorchpairError(f"{option} {value!r} is not allowed", remedy=f"write {kind.allowed}") from None
    facts = facts_data.load()
    known = [search.gpu(text) for text in gpus]
    arch = arch or next((own for _, own in known if own), "x86_64")
    wish = search.Wish(tuple(dict.fromkeys(sm for sm, _ in known)), driver, python, cuda, arch, profile, torch)
    found = search.solve(wish, facts, base)
    instead = [] if found else search.relaxed(wish, facts, base)
    if as_json:
        options = [
            {"changes": list(words), **explained.described(spec), "write": explained.yaml_row(spec)}
            for spec, words in instead
        ]
        best = [{**explained.described(spec), "write": explained.yaml_row(spec)} for spec in found]
        click.echo(json.dumps({"ok": bool(found), "best": best, "alternatives": options}, indent=1))
    else:
        click.echo("\n".join(search.words(wish, found, instead, facts)))
    sys.exit(0 if found else EXIT_USAGE)


@click.group()
def facts() -> None:
    """What upstream has published, as this torchpair knows it. Rows resolve from that, not from the network."""


@facts.command("check", short_help="Compare the facts with what PyPI has today.")
@click.option("--wheels", is_flag=True, help="Also what torch's wheels were compiled for: reads 400 MB of them.")
def facts_check(wheels: bool) -> None:
    """Compare the facts with what PyPI has today. Three requests; ends with 1 where they differ."""
    from torchpair import upstream

    differences = upstream.check_facts(_aside, wheels=wheels)
    click.echo(upstream.describe(differences))
    sys.exit(1 if differences else 0)


@facts.command("add", short_help="Describe a release that the facts do not know.")
@click.argument("package", type=click.Choice(["torch", "torchaudio", "torchcodec"]))
@click.argument("version")
def facts_add(package: str, version: str) -> None:
    """Describe a release that PyPI has and the facts do not, from what its wheels say; a dozen small requests.

    Writes into the facts of this installation. What a wheel does not say is marked as not verified.

    \b
    torchpair facts add torch 2.16.0
    """
    from torchpair import upstream
    from torchpair.facts import FOLDER

    click.echo(upstream.add_release(package, version, FOLDER, _aside))


def _aside(line: str) -> None:
    click.echo(line, err=True)
