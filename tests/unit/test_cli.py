"""The command line: what is refused, how it is said, and that nothing is written then."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

from torchpair import cli, dockerd, engine, factory, jobs, locking, materials, plan, render, search, shard
from torchpair import facts as facts_data
from torchpair.errors import CommandError, EngineError
from torchpair.present import Outcome
from torchpair.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]
ROW = 'torch: "2.8.0", cuda: "12.8", python: "3.11"'
GOOD = f"images:\n  - {{{ROW}, default: true}}\n"
Project = Callable[..., Workspace]


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """The console script in this process; an engine that would be looked for is an error."""

    def no_engine(*_: object, **__: object) -> None:
        raise AssertionError("an engine was asked for")

    monkeypatch.setattr(dockerd, "ensure", no_engine)
    monkeypatch.delenv("BASE", raising=False)
    monkeypatch.delenv("GPU", raising=False)

    def main(*arguments: str, matrix: Path | None = None) -> Ended:
        monkeypatch.setattr(sys, "argv", ["torchpair", *arguments, *(["--matrix", str(matrix)] if matrix else [])])
        code = 0
        try:
            cli.main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        out, err = capsys.readouterr()
        return Ended(code, out, err)

    return main


Run = Callable[..., Ended]


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def folders(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_dir()}


# ---- bad input ----------------------------------------------------------------------------------------------------

COMMANDS = [
    ["images"], ["images", "--all"], ["images", "--all", "--shard", "1/2"], ["build", "--shard", "1/2"], ["render"],
    ["render", "--check"], ["lock"], ["lock", "--check"], ["plan"], ["plan", "--format", "github", "--all"],
]  # fmt: skip
BAD = {
    "missing": (None, "cannot read the matrix"),
    "empty": ("", "the file is empty"),
    "not UTF-8": (b"\xff", "not UTF-8 text"),
    "broken": ("images: [", "not valid YAML"),
    "unknown key": (f"images:\n  - {{{ROW}, tourch: 1}}\n", "matrix.yaml:2: images[0].tourch: unknown key 'tourch'"),
    "bare number": (GOOD.replace('"12.8"', "12.8"), "matrix.yaml:2: images[0].cuda: 12.8 is a number"),
    "instruction": (f'images:\n  - {{{ROW}, base: "a\\nRUN id"}}\n', "is not allowed here"),
    "row twice": (f"images:\n  - {{{ROW}}}\n  - {{{ROW}}}\n", "matrix.yaml:3: images[1]: the row"),
    "impossible": (GOOD.replace("12.8", "13.0"), "matrix.yaml:2: cuda: torch2.8.0"),
    "unknown torch": (GOOD.replace("2.8.0", "9.9.9"), "torch 9.9.9 is not among"),
}  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize(("text", "says"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_one_message_and_nothing_is_written(
    run: Run, project: Project, tmp_path: Path, text: str | bytes | None, says: str, command: list[str]
) -> None:
    workspace = project(text)
    before = files(tmp_path), folders(tmp_path)
    ended = run(*command, matrix=workspace.file)
    assert ended.code == 2
    assert ended.err.startswith("torchpair: ") and ended.err.count("torchpair: ") == 1 and says in ended.err
    assert "\n  try: " in ended.err and "Traceback" not in ended.err and len(ended.err.splitlines()) <= 3
    assert ended.out == ""
    assert (files(tmp_path), folders(tmp_path)) == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nothing"], "No such command 'nothing'"),
        (["images", "--base", "moon"], "'moon' is not one of"),
        (["images", "--gpu", "maybe"], "'maybe' is not one of"),
        (["images", "--jobs", "0"], "0 is not in the range"),
        (["render", "--nothing"], "No such option"),
        (["render", "argument"], "unexpected extra argument"),
        (["check"], "Missing argument"),
        (["check", "x", "--timeout", "0"], "0 is not in the range"),
        (["check", "x", "--only", "dsp.lfitler"], "did you mean dsp.lfilter"),
        (["check", "x", "--profile", "no-such"], "no-such is no profile (core, gpt-sovits)"),
        (["check", "x", "--quick", "--only", "io"], "exclude each other"),
        (["build"], "name a ROW, or a --shard"),
        (["build", "x", "--shard", "1/2"], "name a ROW, or a --shard"),
        (["plan", "--all"], "docker-bake.json has every row"),
        (["plan", "--format", "github", "--jobs", "257"], "257 is not in the range"),
    ],
)
def test_a_wrong_command_line(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = run(*arguments)
    assert ended.code == 2 and says in ended.err and "Usage: " in ended.err
    assert not list(tmp_path.iterdir())


def test_a_wrong_variable_is_a_wrong_command_line(run: Run, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BASE", "moon")
    ended = run("images", matrix=project(GOOD).file)
    assert ended.code == 2 and "'moon'" in ended.err


@pytest.mark.parametrize("command", [["images"], ["lock"], ["lock", "--check"]], ids=" ".join)
def test_an_unknown_row(run: Run, project: Project, tmp_path: Path, command: list[str]) -> None:
    file = project(GOOD).file
    before = files(tmp_path)
    ended = run(*command, "torch2.8.0-cu128-py31", matrix=file)
    assert ended.code == 2
    assert "no row 'torch2.8.0-cu128-py31' in" in ended.err
    assert "try: did you mean torch2.8.0-cu128-py311?" in ended.err
    assert "did you mean" not in run(*command, "zzz", matrix=file).err
    assert files(tmp_path) == before


def test_no_default_row(run: Run, project: Project) -> None:
    ended = run("images", matrix=project(GOOD.replace(", default: true", "")).file)
    assert ended.code == 2 and "no row is marked default: true" in ended.err and "--all" in ended.err


def test_one_impossible_row_stops_the_others_before_anything_is_made(
    run: Run, project: Project, tmp_path: Path
) -> None:
    file = project(GOOD + '  - {torch: "2.8.0", cuda: "13.0", python: "3.11"}\n').file
    before = files(tmp_path)
    assert run("images", "--all", matrix=file).code == 2
    assert run("render", matrix=file).code == 2
    assert files(tmp_path) == before


# ---- render -------------------------------------------------------------------------------------------------------


def test_render_and_its_check(run: Run, project: Project, tmp_path: Path) -> None:
    file = project(GOOD).file
    before = files(tmp_path)
    ended = run("render", "--check", matrix=file)
    assert ended.code == 2 and "+FROM ${BASE} AS base" in ended.out
    assert "3 rendered files are not up to date\n  try: torchpair render" in ended.err
    assert files(tmp_path) == before, "--check changes nothing"

    ended = run("render", matrix=file)
    assert ended.code == 0 and ended.err == ""
    row = "torch2.8.0-cu128-py311"
    assert sorted(ended.out.split()[1::2]) == ["docker-bake.json", f"{row}/Dockerfile", f"{row}/local.Dockerfile"]
    assert "docker-bake.json" in files(tmp_path) and not {"build", "reports"} & folders(tmp_path)
    assert run("render", matrix=file).out == "Every rendered file was up to date.\n"
    assert run("render", "--check", matrix=file) == Ended(0, "Every rendered file is up to date.\n", "")


@pytest.mark.parametrize("name", ["dockerfiles/torch2.8.0-cu128-py311/Dockerfile", "docker-bake.json"])
def test_drift_is_shown_as_a_diff(run: Run, project: Project, tmp_path: Path, name: str) -> None:
    file = project(GOOD).file
    run("render", matrix=file)
    path = tmp_path / name
    path.write_text(path.read_text(encoding="utf-8").replace("torchpair", "somebody", 1), encoding="utf-8")
    ended = run("render", "--check", matrix=file)
    assert ended.code == 2 and ended.out.startswith(f"--- {name}\n+++ rendered now\n")
    assert "\n-" in ended.out and "\n+" in ended.out and "1 rendered files" in ended.err
    path.unlink()
    assert run("render", "--check", matrix=file).code == 2


def test_a_left_over_is_drift_and_goes(run: Run, project: Project, tmp_path: Path) -> None:
    file = project(GOOD).file
    run("render", matrix=file)
    old = tmp_path / "dockerfiles/old/Dockerfile"
    old.parent.mkdir()
    old.write_text(f"# {render.BANNER}\nFROM x\n", encoding="utf-8")
    ended = run("render", "--check", matrix=file)
    assert ended.code == 2 and "-FROM x" in ended.out
    assert run("render", matrix=file).code == 0 and not old.parent.exists()


def test_render_brings_the_lock_of_the_tools(run: Run, project: Project, tmp_path: Path) -> None:
    file = project(GOOD, locks=False).file
    assert run("render", "--check", matrix=file).code == 2 and not (tmp_path / "locks").exists()
    ended = run("render", matrix=file)
    assert ended.code == 0 and "wrote locks/tools.txt" in ended.out
    assert files(tmp_path)["locks/tools.txt"] == (ROOT / "locks/tools.txt").read_bytes()
    (tmp_path / "locks/tools.txt").write_text("# asked: mine\n")
    run("render", matrix=file)
    assert (tmp_path / "locks/tools.txt").read_text() == "# asked: mine\n", "one that is there stays"


def test_render_with_a_stale_lock(run: Run, project: Project, tmp_path: Path) -> None:
    file = project(GOOD).file
    lock = tmp_path / "locks/torch2.8.0-cu128-py311.txt"
    lock.write_text(lock.read_text(encoding="utf-8").replace("python 3.11;", "python 3.12;"), encoding="utf-8")
    ended = run("render", matrix=file)
    assert ended.code == 2 and f"{lock}: the lock is stale" in ended.err
    assert "try: torchpair lock torch2.8.0-cu128-py311" in ended.err
    assert not (tmp_path / "dockerfiles").exists() and not (tmp_path / "docker-bake.json").exists()


# ---- lock, plan ---------------------------------------------------------------------------------------------------


def test_lock_check(run: Run, project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locking, "run", lambda *_, **__: pytest.fail("an index was asked"))
    file = project(GOOD).file
    before = files(tmp_path)
    assert run("lock", "--check", matrix=file) == Ended(0, "torch2.8.0-cu128-py311: locked\n", "")
    assert files(tmp_path) == before
    (tmp_path / "locks/torch2.8.0-cu128-py311.txt").unlink()
    ended = run("lock", "--check", matrix=file)
    assert (ended.code, ended.out) == (2, "torch2.8.0-cu128-py311: not locked\n")
    assert "1 of 1 rows are not locked" in ended.err


def test_a_lock_that_cannot_be_made(
    run: Run, project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchpair.errors import CommandError

    def fails(*_: object, **__: object) -> str:
        raise CommandError("uv ended with 2", why="error: no route to the index")

    monkeypatch.setattr(locking, "run", fails)
    file = project(GOOD).file
    before = files(tmp_path)
    ended = run("lock", matrix=file)
    assert ended.code == 2 and "no route to the index" in ended.err and "Traceback" not in ended.err
    assert files(tmp_path) == before, "the old lock stays"


def test_plan_writes_the_graph_and_its_context(run: Run, project: Project, tmp_path: Path) -> None:
    ended = run("plan", matrix=project(GOOD).file)
    assert ended.code == 0 and "docker-bake.json is up to date" in ended.out
    assert (tmp_path / "build/context/probe.pyz").is_file()
    targets = json.loads((tmp_path / "docker-bake.json").read_text(encoding="utf-8"))["target"]
    for target in targets.values():
        assert (tmp_path / target["context"] / target["dockerfile"]).is_file()


MANY = "images:\n  - {torch: ['2.7.1', '2.8.0'], cuda: '12.8', python: ['3.10', '3.11', '3.12'], default: true}\n"


def test_the_github_matrix_has_the_rows_of_the_bake_file(run: Run, project: Project, tmp_path: Path) -> None:
    workspace = project(MANY)
    ended = run("plan", "--format", "github", matrix=workspace.file)
    jobs = json.loads(ended.out)["include"]
    assert ended.code == 0 and sorted(job["rows"] for job in jobs) == sorted(row.name for row in workspace.rows)
    assert all(job["name"] == job["rows"] for job in jobs)
    targets = json.loads(plan.bake(workspace.specs(workspace.rows, "nvidia")))["group"]["default"]["targets"]
    assert sorted(job["rows"].replace(".", "_") for job in jobs) == sorted(targets)
    assert not (tmp_path / "docker-bake.json").exists()
    few = json.loads(run("plan", "--format", "github", "--jobs", "2", matrix=workspace.file).out)["include"]
    assert [job["name"] for job in few] == ["1 of 2", "2 of 2"]
    # Three Pythons of one torch on each machine: its CUDA libraries are fetched once.
    assert [sorted({row.split("-")[0] for row in job["rows"].split()}) for job in few] == [
        ["torch2.7.1"], ["torch2.8.0"],
    ]  # fmt: skip


def test_at_most_256_jobs() -> None:
    jobs = [shard.job(spec) for spec in search.satisfiable(facts_data.load())]
    found = json.loads(plan.github(jobs))["include"]
    assert len(jobs) > 300 and len(found) <= 256
    assert sorted(name for job in found for name in job["rows"].split()) == sorted(job.name for job in jobs)
    assert len({job["name"] for job in found}) == len(found)


def test_the_shards_of_a_matrix_are_all_of_it(project: Project) -> None:
    workspace = project(MANY)
    parts = [jobs.in_shard(workspace, workspace.rows, index, 3) for index in (1, 2, 3)]
    assert sorted(row.name for part in parts for row in part) == sorted(row.name for row in workspace.rows)
    assert max(map(len, parts)) <= 3


def test_a_shard_without_rows_needs_no_engine(run: Run, project: Project) -> None:
    workspace = project(GOOD)
    ended = run("build", "--shard", "2/2", matrix=workspace.file)
    assert (ended.code, ended.out.strip()) == (0, "Shard 2 of 2: no row")
    assert run("build", "--shard", "3/2", matrix=workspace.file).code == 2


def test_a_builder_of_buildx(monkeypatch: pytest.MonkeyPatch) -> None:
    called = []

    def inspect(argv: list[str], **_: object) -> str:
        called.append(argv)
        return "Name:          farm\nDriver:        kubernetes\nStatus: running\n"

    monkeypatch.setattr(engine, "run", inspect)
    here = engine.Engine("unix:///x", "26", "docker", ("docker", "buildx"))
    there, base = materials.on_builder(here, "farm", "auto", print)
    assert there.buildx == ("docker", "buildx", "--builder", "farm") and base == "nvidia"
    assert called == [["docker", "buildx", "inspect", "farm", "--bootstrap"]]
    with pytest.raises(EngineError, match="cannot see the local base"):
        materials.on_builder(here, "farm", "local", print)
    monkeypatch.setattr(engine, "run", lambda argv, **_: "Driver: docker\n")
    assert materials.on_builder(here, "default", "auto", print)[1] == "auto", "the engine's own builder sees its images"

    def nothing(argv: list[str], **_: object) -> str:
        raise CommandError("docker ended with 1", why='docker buildx inspect x\n    ERROR: no builder "x" found')

    monkeypatch.setattr(engine, "run", nothing)
    with pytest.raises(EngineError, match='no builder "x" found'):
        materials.on_builder(here, "x", "auto", print)


# ---- exit codes, imports ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        (["healthy"], 0),
        (["healthy", "healthy"], 0),
        (["unhealthy"], 1),
        (["inconclusive"], 3),
        (["not built"], 3),
        (["build failed"], 4),
        (["healthy", "inconclusive"], 3),
        (["inconclusive", "unhealthy"], 1),
        (["unhealthy", "healthy"], 1),
        (["build failed", "unhealthy", "inconclusive", "healthy"], 4),
        (["healthy", "not built", "unhealthy"], 1),
        (["something new"], 3),
        ([], 3),
    ],
)
def test_the_worst_outcome_gives_the_exit_code(verdicts: list[str], code: int) -> None:
    outcomes = [Outcome("row", "image", "base", None, verdict, 0.0, None, "") for verdict in verdicts]
    assert factory.exit_code(outcomes) == factory.exit_code(outcomes[::-1]) == code


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["--help"], 0), (["-h"], 0), (["images", "--help"], 0), (["--version"], 0), ([], 2), (["engine"], 2)],
)
def test_help(run: Run, arguments: list[str], code: int) -> None:
    ended = run(*arguments)
    assert ended.code == code and "torchpair" in ended.out + ended.err


def test_help_tells_the_exit_codes(run: Run) -> None:
    text = " ".join(run("--help").out.split())
    assert cli.EPILOG in text


def python(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k not in ("BASE", "GPU")}
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=60
    )


def test_help_loads_nothing_heavy(tmp_path: Path) -> None:
    heavy = ("rich", "docker", "jinja2", "yaml", "testcontainers", "packaging", "requests", "junitparser", "uv")
    code = (
        "import sys; sys.argv = ['torchpair', '--help']; from torchpair.cli import main; main(); "
        f"print('LOADED', [m for m in {heavy!r} if m in sys.modules])"
    )
    done = python("-c", code, cwd=tmp_path)
    assert done.returncode == 0 and done.stdout.endswith("LOADED []\n"), done.stdout + done.stderr


def test_the_real_program_ends_with_2_and_one_message(tmp_path: Path) -> None:
    (tmp_path / "matrix.yaml").write_text("images: [", encoding="utf-8")
    done = python("-m", "torchpair.cli", "images", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("torchpair: matrix.yaml:1: not valid YAML\n") and "Traceback" not in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["matrix.yaml"]


# ---- help ---------------------------------------------------------------------------------------------------------


def every(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from every(inner, (*path, name))


COMMAND_TREE = dict(every(cli.cli))


def test_every_command_has_one_place_in_the_help() -> None:
    assert sorted(name for names in cli.SECTIONS.values() for name in names) == sorted(cli.cli.commands)


@pytest.mark.parametrize("path", COMMAND_TREE, ids=" ".join)
def test_help_teaches(path: tuple[str, ...], run: Run) -> None:
    """A summary that fits into a line of 80 columns, a word on every option, and examples that are right."""
    shown = run(*path, "--help")
    assert shown.code == 0 and "..." not in re.sub(r"\S\.\.\.|\]\.\.\.", "", shown.out), "a summary is cut off"
    command = COMMAND_TREE[path]
    assert command.help and not [one.name for one in command.params if isinstance(one, click.Option) and not one.help]
    for line in command.help.splitlines():
        if line.startswith("torchpair "):
            words = shlex.split(line.split("  ")[0].split(" && ")[0])[1:]
            example: click.Command = cli.cli
            while isinstance(example, click.Group):
                example = example.commands[words.pop(0)]
            example.make_context("torchpair", words)
