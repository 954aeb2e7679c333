"""Shell completion: what each shell is answered, and bash for real."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest

from torchpair import cli

ROOT = Path(__file__).resolve().parents[2]
MATRIX = """images:
  - {torch: "2.8.0", cuda: "12.8", python: ["3.11", "3.12"]}
  - {name: mine, torch: "2.5.1", cuda: "12.4", python: "3.11"}
mirrors:
  cn: {pypi: "https://mirror.example/simple"}
"""
# What follows the words in a shell's own notation: click's protocol for its three scripts.
ENVIRONMENT = {
    "bash": lambda words, typed: {"COMP_WORDS": " ".join([*words, typed]), "COMP_CWORD": str(len(words))},
    "zsh": lambda words, typed: {"COMP_WORDS": " ".join([*words, typed]), "COMP_CWORD": str(len(words))},
    "fish": lambda words, typed: {"COMP_WORDS": " ".join(words), "COMP_CWORD": typed},
}
Tab = Callable[..., list[str]]


def answers(shell: str, text: str) -> list[str]:
    if not text.strip():
        return []
    if shell == "bash":
        return [line.partition(",")[2] for line in text.splitlines()]
    if shell == "zsh":
        return text.splitlines()[1::3]
    return [line.partition(",")[2].partition("\t")[0] for line in text.splitlines()]


@pytest.fixture
def tab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Tab:
    """What a Tab behind these words is answered in a folder with a matrix; the last word is the one that is typed."""
    (tmp_path / "matrix.yaml").write_text(MATRIX)
    monkeypatch.chdir(tmp_path)

    def press(line: str, shell: str = "bash") -> list[str]:
        words = line.split(" ")
        for name, value in ENVIRONMENT[shell](["torchpair", *words[:-1]], words[-1]).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("_TORCHPAIR_COMPLETE", f"{shell}_complete")
        monkeypatch.setattr(sys, "argv", ["torchpair"])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capfdbinary.readouterr()
        assert ended.value.code == 0 and err == b""
        return answers(shell, out.decode())

    return press


@pytest.mark.parametrize("shell", ENVIRONMENT)
def test_rows_of_the_matrix(tab: Tab, shell: str) -> None:
    assert tab("images ", shell) == ["torch2.8.0-cu128-py311", "torch2.8.0-cu128-py312", "mine"]
    assert tab("images torch2", shell) == ["torch2.8.0-cu128-py311", "torch2.8.0-cu128-py312"]
    assert tab("layers mine --have m", shell) == ["mine"]


def test_a_row_that_stands_there_is_not_offered_again(tab: Tab) -> None:
    assert tab("images mine torch2.8.0-cu128-py312 ") == ["torch2.8.0-cu128-py311"]


def test_rows_of_another_matrix(tab: Tab, tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text(MATRIX.replace("mine", "theirs"))
    assert tab("explain -m other.yaml th") == ["theirs"]
    (tmp_path / "other.yaml").write_text("images: [")
    assert tab("explain -m other.yaml th") == [] and tab("explain -m nowhere.yaml th") == []


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("rend", ["render"]),
        ("facts ", ["add", "check"]),
        ("facts add torc", ["torch", "torchaudio", "torchcodec"]),
        ("images --base ", ["auto", "nvidia", "local"]),
        ("images --mirror ", ["cn"]),
        ("render --ch", ["--check"]),
        ("check mine --profile g", ["gpt-sovits"]),
        ("check mine --only dsp.lf", ["dsp.lfilter"]),
        ("check mine --only io,dsp.lf", ["io,dsp.lfilter"]),
        ("explain --torch 2.8", ["2.8.0"]),
        ("completion z", ["zsh"]),
        ("images --mirror nothing", []),
    ],
)
def test_commands_options_and_their_values(tab: Tab, line: str, offered: list[str]) -> None:
    assert tab(line) == offered


def parameters(command: click.Command, path: str = "torchpair") -> Iterator[tuple[str, click.Parameter]]:
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from parameters(inner, f"{path} {name}")
    yield from ((path, parameter) for parameter in command.params)


def test_whatever_takes_a_row_completes_it() -> None:
    rows = [(path, one) for path, one in parameters(cli.cli) if "ROW" in (one.metavar or "")]
    assert len(rows) > 10
    assert not [(path, one.name) for path, one in rows if one._custom_shell_complete is None]


@pytest.mark.parametrize("shell", ENVIRONMENT)
def test_the_script_of_a_shell(shell: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["torchpair", "completion", shell])
    cli.main()
    assert f"_TORCHPAIR_COMPLETE={shell}_complete" in capfd.readouterr().out


def test_bash_itself(tmp_path: Path) -> None:
    (tmp_path / "matrix.yaml").write_text(MATRIX)
    program = tmp_path / "bin" / "torchpair"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m torchpair.cli "$@"\n')
    program.chmod(0o755)
    ask = (
        'eval "$(torchpair completion bash)"; complete -p torchpair; '
        "COMP_WORDS=(torchpair images torch); COMP_CWORD=2; "
        '_torchpair_completion torchpair torch images; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    environment = {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        ["bash", "--norc", "-c", ask], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
    )
    registered, *offered = done.stdout.splitlines()
    assert registered.endswith("-F _torchpair_completion torchpair"), done.stderr
    assert offered == ["torch2.8.0-cu128-py311", "torch2.8.0-cu128-py312"]
