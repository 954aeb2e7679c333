"""The commands of README.md, CONTRIBUTING.md and docs/.

What needs no engine and no network runs, in a copy of the checkout. The rest is named below with its reason; of that
everything but the effect is looked at: that there is such a command, such an option, such a target, such an image.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
from catalogs import DEFAULTS

from torchpair import cli, errors, matrix, plan
from torchpair.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PROGRAMS = ("torchpair", "make", "docker", "pip")

ENGINE = "needs an engine, and builds or runs images"
REGISTRY = "needs a registry"
NETWORK = "asks an index, a hub or a repository"
MAKE = "sets up .venv first; make -n says what it would do"
# Commands that are not run, each kind with its reason.
NOT_RUN = (
    (r"make( |$)", MAKE),
    (r"(BUILDX_BUILDER=\w+ )?torchpair images( |$)", ENGINE),
    (r"torchpair (build|wheel|preflight|check|layers) ", ENGINE),
    (r"torchpair doctor( |$)", "runs a Python with torch, or an image"),
    (r"torchpair deploy gpt-sovits(?!.*--dry-run)", ENGINE),
    (r"torchpair deploy (status|logs|down)", ENGINE),
    (r"torchpair bundle ", ENGINE),
    (r"torchpair clean", ENGINE),
    (r"torchpair lock(?!.*--check)", NETWORK),
    (r"torchpair facts ", NETWORK),
    (r"torchpair plan$", NETWORK),
    (r"torchpair models gpt-sovits (fetch|verify)", "1.8 GB of model files"),
    (r"torchpair publish ", REGISTRY),
    (r"torchpair catalog ", REGISTRY),
    (r"torchpair pull ", REGISTRY),
    (r"torchpair choose .*https://", NETWORK),
    (r"docker ", ENGINE),
    (r"pip ", NETWORK),
)
# What a command ends with where that is not 0.
ENDS = {
    "torchpair explain --torch 2.15.0 --cuda 13.2 --python 3.12": 2,
    "torchpair explain --torch 2.15.0 --cuda 13.2 --python 3.13": 2,
    "torchpair explain --torch 2.8.0 --cuda 12.8 --python 3.11 --torchaudio 2.7.1": 2,
}


@dataclass(frozen=True)
class Block:
    """A fenced block. line: of its first line of text."""

    page: Path
    line: int
    language: str
    text: str


@dataclass(frozen=True)
class Command:
    page: Path
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}: {self.text}"

    @property
    def reason(self) -> str | None:
        """Why it is not run; None: it is."""
        return next((reason for pattern, reason in NOT_RUN if re.match(pattern, self.text)), None)


def blocks(page: Path) -> list[Block]:
    found, inside, start = [], None, 0
    lines: list[str] = []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        fence = re.match(r"\s*```(\w*)", line)
        if not fence:
            lines.append(line)
        elif inside is None:
            inside, start, lines = fence[1], number + 1, []
        else:
            found.append(Block(page, start, inside, textwrap.dedent("\n".join(lines)) + "\n"))
            inside = None
    assert inside is None, f"{page}:{start}: a block without an end"
    return found


def commands(block: Block) -> list[Command]:
    """The commands of a block, without their comments; a line that ends in a backslash goes on."""
    found, whole, start = [], "", 0
    for number, line in enumerate(block.text.splitlines(), block.line):
        whole, start = whole + line, start or number
        if line.endswith("\\"):
            whole = whole[:-1]
            continue
        # A comment stands behind white space, so that #sha256= is none.
        text = re.sub(r"(^|\s+)#\s.*$", "", whole).strip()
        if text:
            found.append(Command(block.page, start, text))
        whole, start = "", 0
    return found


BLOCKS = [block for page in PAGES for block in blocks(page)]
ALL = [command for block in BLOCKS if block.language in ("console", "sh") for command in commands(block)]
RUN = [command for command in ALL if command.reason is None]
LOOKED_AT = [command for command in ALL if command.reason]


def options_of(words: list[str]) -> click.Command:
    """The command that words name, taken off their front."""
    command: click.Command = cli.cli
    while isinstance(command, click.Group):
        assert words and words[0] in command.commands, f"no command {' '.join(words[:1])}"
        command = command.commands[words.pop(0)]
    return command


# ---- a copy of the checkout ----------------------------------------------------------------------------------------

Shell = Callable[[Command], "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    """A copy of the checkout for a page, with the rows that the page writes, a catalog, and what else it names."""
    made: dict[Path, Path] = {}

    def of(page: Path) -> Path:
        if page not in made:
            folder = made[page] = tmp_path_factory.mktemp(page.stem) / "checkout"
            shutil.copytree(ROOT, folder, ignore=heavy)
            (folder / "catalog.json").write_text(DEFAULTS.text())
            file = folder / "matrix.yaml"
            for entry in (e for block in BLOCKS if block.page == page for e in entries(block)):
                there = {row.name for row in matrix.load(file)}
                if not there & {row.name for row in matrix.parse(f"images:\n{entry}")}:
                    file.write_text(file.read_text().replace("images:\n", f"images:\n{entry}", 1))
        return made[page]

    return of


def heavy(folder: str, names: list[str]) -> set[str]:
    """What is no part of the checkout, or is not needed."""
    top = {".git", ".venv", "build", "reports", "dist", "bench"} if Path(folder) == ROOT else set()
    return {name for name in names if name in top or name == "__pycache__" or name.endswith("_cache")}


def entries(block: Block) -> list[str]:
    """The rows that a block of YAML writes, each as it stands."""
    if block.language != "yaml" or not block.text.startswith("images:\n"):
        return []
    return re.findall(r"(?m)^  - .*\n(?:    .*\n)*", block.text)


@pytest.fixture(scope="module")
def shell(copy: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """Runs a command in its page's copy. What asks the network hears that it is not there."""
    home = tmp_path_factory.mktemp("home")
    program = home / "bin" / "torchpair"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m torchpair.cli "$@"\n')
    program.chmod(0o755)
    outside = {name: value for name, value in os.environ.items() if not name.startswith("DOCKER_")}
    nowhere = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9")

    def run(command: Command) -> subprocess.CompletedProcess[str]:
        folder = copy(command.page)
        environment = {
            **outside, **nowhere, "PATH": f"{program.parent}:{os.environ['PATH']}", "HOME": str(home),
            "PYTHONPATH": str(folder / "src"),
        }  # fmt: skip
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command.text], cwd=folder, env=environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip

    return run


# ---- the tests -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", RUN, ids=str)
def test_a_command_runs(command: Command, shell: Shell) -> None:
    done = shell(command)
    assert done.returncode == ENDS.get(command.text, 0), done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", LOOKED_AT, ids=str)
def test_a_command_that_is_not_run_is_one_that_there_is(
    command: Command, copy: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copy(command.page)
    monkeypatch.chdir(folder)
    for part in re.split(r"\s+(?:&&|\|)\s+", re.sub(r"\s+>\s+\S+", "", command.text)):
        words = [word for word in shlex.split(part) if not re.match(r"[A-Z_]+=", word)]
        if words[0] == "torchpair":
            rest = words[1:]
            options_of(rest).make_context("torchpair", rest)  # UsageError for an option or a value that is not one
            rows = {row.name for row in matrix.load(folder / "matrix.yaml")}
            assert not {word for word in rest if re.match(r"torch\d|ngc-", word)} - rows
        elif words[0] == "make":
            known = set(re.findall(r"(?m)^(\w+) \?=", (ROOT / "Makefile").read_text())) | {"TESTS"}
            given = {word.split("=")[0] for word in shlex.split(part)[1:] if "=" in word}
            assert given <= known, f"no variable {given - known}"
            subprocess.run(["make", "-n", *words[1:]], cwd=folder, check=True, capture_output=True, timeout=60)
        elif words[0] == "docker":
            held = {spec.reference for spec in Workspace(folder / "matrix.yaml").everywhere()}
            assert {word for word in words if word.startswith("torchpair:")} <= held
            if "bake" in words:
                targets = {plan.target(spec) for spec in Workspace(folder / "matrix.yaml").everywhere()} | {"default"}
                assert words[-1] in targets
        elif words[0] == "pip":
            help_text = subprocess.run(
                [sys.executable, "-m", "pip", words[1], "--help"],
                check=True,
                capture_output=True,
                text=True,
                timeout=60,
            ).stdout
            assert not [word for word in words if word.startswith("--") and word not in help_text]
            assert all((folder / word).is_file() for word in words if word.startswith("locks/"))
        else:
            assert words[0] == "gzip"


def test_no_command_is_left_unlooked_at() -> None:
    assert len(RUN) + len(LOOKED_AT) == len(ALL) > 80
    assert len(RUN) > 20
    hidden = [
        f"{block.page.name}:{number}: {line}"
        for block in BLOCKS
        if block.language not in ("console", "sh")
        for number, line in enumerate(block.text.splitlines(), block.line)
        if line.split(" ")[0] in PROGRAMS
    ]
    assert hidden == [], "a command in a block that is not console or sh"


def test_every_reason_has_its_command() -> None:
    unused = [pattern for pattern, _ in NOT_RUN if not any(re.match(pattern, command.text) for command in ALL)]
    assert unused == []
    assert set(ENDS) <= {command.text for command in RUN}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_within_sentences(page: Path) -> None:
    prose = re.sub(r"(?ms)^\s*```.*?^\s*```$", "", page.read_text(encoding="utf-8"))
    for text in re.findall(r"`torchpair ([^`]+)`", prose):
        words = [word for word in text.split() if not word.startswith("[")]
        command: click.Command = cli.cli
        while isinstance(command, click.Group) and words and not words[0].startswith("-"):
            assert words[0] in command.commands, text
            command = command.commands[words.pop(0)]
        known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)} | {
            "--help"
        }
        assert not [word for word in words if word.startswith("-") and word.split("=")[0] not in known], text


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "yaml"], ids=lambda b: f"{b.page.name}:{b.line}")
def test_every_matrix_is_one(block: Block, tmp_path: Path) -> None:
    file = tmp_path / "matrix.yaml"
    row = 'images: [{torch: "2.8.0", cuda: "12.8", python: "3.11"}]\n'
    file.write_text(block.text if "images:" in block.text else row + block.text)
    assert matrix.load(file)
    assert ("mirrors:" in block.text) == bool(matrix.load_mirrors(file))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.is_file(), target
        if anchor:
            headings = re.findall(r"(?m)^#+ (.*)$", there.read_text(encoding="utf-8"))
            assert anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


# ---- what README.md says of the code --------------------------------------------------------------------------------

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_table_of_tags(shipped: Workspace) -> None:
    specs = {spec.tag: spec for spec in shipped.everywhere()}
    rows = re.findall(r"(?m)^\| `([^`]+-py3\d+[^`]*)` \| (.*) \|$", README)
    assert len(rows) > 3
    for tag, rest in rows:
        spec = specs[tag]
        audio = spec.torchaudio + (", compiled" if spec.torchaudio_from == "source" else "")
        driver = (spec.min_driver or "-").split(".")[0]
        assert rest.split(" | ") == [spec.torch, audio, spec.cuda, spec.python, driver], tag


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "docs" / "ci.md"], ids=lambda page: page.name)
def test_the_table_of_exit_codes(page: Path) -> None:
    table = page.read_text(encoding="utf-8").split("| exit code |")[1].split("\n\n")[0]
    codes = {int(code) for code in re.findall(r"(?m)^\| (\d) \|", table)}
    assert codes == {value for name, value in vars(errors).items() if name.startswith("EXIT_")}


def test_readme_is_short() -> None:
    assert len(README.splitlines()) <= 300
