"""The commands that answer questions: rows, explain, solve, facts check, facts add. Nothing here reaches a network."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from packaging.version import Version
from test_facts_files import SMALL
from test_report import report
from test_upstream import INDEX, serving, torch_wheels

from torchpair import cli, search, upstream
from torchpair import facts as facts_data
from torchpair import report as reports
from torchpair.matrix import parse
from torchpair.resolve import resolve
from torchpair.workspace import Workspace

Project = Callable[..., Workspace]
LOCKED = 'torch: "2.8.0", cuda: "12.8", python: "3.11"'
UNLOCKED = 'torch: "2.1.0", cuda: "11.8", python: "3.10"'
NAME = "torch2.8.0-cu128-py311"
MATRIX = Path(__file__).parents[2] / "matrix.yaml"
SILENT = "http://127.0.0.1:1/simple"  # nobody listens there


def images(*rows: str) -> str:
    return "images:\n" + "".join(f"  - {{{row}}}\n" for row in rows)


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True  # else click would take out the escapes that a test looks for


def run(*arguments: str | Path, stream: type[io.StringIO] = io.StringIO) -> Ended:
    """The console script in this process; an error that it lets through is a traceback."""
    out, err, code = stream(), stream(), 0
    with (
        mock.patch.object(sys, "argv", ["torchpair", *map(str, arguments)]),
        mock.patch.object(sys, "stdout", out),
        mock.patch.object(sys, "stderr", err),
        mock.patch.dict("os.environ", {"UV_DEFAULT_INDEX": SILENT, "NO_PROXY": "127.0.0.1"}),
    ):
        try:
            cli.main()
        except SystemExit as ended:
            code = int(ended.code or 0)
    return Ended(code, out.getvalue(), err.getvalue())


def one_message(ended: Ended) -> None:
    """Code 2 and one message, from torchpair or from click; nothing on standard output."""
    assert ended.code == 2 and ended.out == "" and "Traceback" not in ended.err
    ours, clicks = ended.err.count("torchpair: "), ended.err.count("Error: ")
    assert (ours, clicks) == ((0, 1) if ended.err.startswith("Usage: ") else (1, 0)), ended.err
    assert len(ended.err.splitlines()) <= 4


# ---- explain ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "rule", "offered"),
    [
        ("2.15.0 --cuda 13.2 --python 3.12", "cuda-equality", ["from: source", 'torch: "2.14.1", cuda: "13.0"']),
        ("2.15.0 --cuda 13.2 --python 3.10", "wheel-python", ['torch: "2.14.1", cuda: "13.0", python: "3.10"']),
        ("2.8.0 --cuda 12.4", "wheel-cuda", ['torch: "2.8.0", cuda: "12.8"', 'torch: "2.8.0", cuda: "12.6"']),
        ("2.5.1 --python 3.13", "torchaudio-python", ['torch: "2.6.0"', 'torch: "2.5.1", cuda: "12.4"']),
        ("2.1.0 --sm 12.0", "sm-covered", ['cuda: "12.8"']),
        ("9.9.9", "torch-known", ['torch: "2.14.1"']),
    ],
)  # fmt: skip
def test_explain_refuses_with_2(asked: str, rule: str, offered: list[str]) -> None:
    ended = run("explain", "--torch", *asked.split())
    assert ended.code == 2 and ended.err == ""
    assert ended.out.splitlines()[1].startswith(f"refused by rule {rule}: ")
    offers = ended.out.partition("best first:")[2]
    assert all(any(line.startswith("  - {") and text in line for line in offers.splitlines()) for text in offered)
    as_json = run("explain", "--json", "--torch", *asked.split())
    body = json.loads(as_json.out)
    assert as_json.code == 2 and body["ok"] is False and body["problems"][0]["rule"] == rule
    assert [f"  {o['write']}" for o in body["alternatives"]] == [s for s in offers.splitlines() if s[:4] == "  - "]


@pytest.mark.parametrize("arguments", [["--torch", "2.8.0"], ["--torch", "2.14.1", "--arch", "aarch64"], [NAME]])
def test_explain_ends_with_0(project: Project, arguments: list[str]) -> None:
    arguments = [*arguments, "--matrix", str(project(images(LOCKED)).file)]
    ended = run("explain", *arguments)
    assert ended.code == 0 and ended.err == "" and "[wheel-cuda]" in ended.out and "refused" not in ended.out
    body = json.loads(run("explain", *arguments, "--json").out)
    assert body["ok"] is True and body["torchaudio"]["version"] == ("2.11.0" if "2.14.1" in arguments else "2.8.0")


def test_explain_a_row_of_the_matrix(project: Project) -> None:
    bad = 'cuda: "12.4", python: "3.11", force: true'
    file = project(images(f"{LOCKED}, base: local", f'torch: "2.7.1", {bad}', f'torch: "9.9.9", {bad}')).file
    ended = run("explain", NAME, "-m", file)
    assert ended.code == 0 and ended.out.startswith(f"{NAME} on local\n"), "the row's base, not the default"
    forced = run("explain", "torch2.7.1-cu124-py311", "-m", file)
    assert forced.code == 2 and "forced" not in forced.out, "a wheel that is not there cannot be forced"
    assert run("explain", "torch9.9.9-cu124-py311", "-m", file).code == 2
    file.write_text(images('torch: "2.5.1", cuda: "12.4", python: "3.13", force: true'), encoding="utf-8")
    forced = run("explain", "torch2.5.1-cu124-py313", "-m", file)
    assert forced.code == 0 and "refused by rule torchaudio-python" in forced.out and "forced: built" in forced.out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "name a row, or a --torch"),
        ([NAME, "--torch", "2.8.0"], "name a row, or a --torch"),
        ([NAME, "--cuda", "12.8"], "a row has its CUDA"),
        ([NAME, "--cuda", ""], "a row has its CUDA"),
        ([NAME, "--arch", "aarch64"], "a row has its CUDA"),
        ([NAME, "--from-source"], "a row has its CUDA"),
        ([NAME + "1"], f"did you mean {NAME}?"),
        (["--torch", "2.8.0", "--arch", "arm64"], "--arch 'arm64' is not allowed"),
        (["--torch", "2.8.0", "--base", "auto"], "'auto' is not one of"),
    ],
)
def test_explain_is_asked_wrongly(project: Project, arguments: list[str], says: str) -> None:
    ended = run("explain", *arguments, "-m", project(images(LOCKED)).file)
    one_message(ended)
    assert says in ended.err


# ---- rows ---------------------------------------------------------------------------------------------------------


def test_rows(project: Project) -> None:
    workspace = project(images(f"{LOCKED}, default: true", UNLOCKED))
    reports.save(report(row=NAME), workspace.reports)
    (workspace.locks / "torch2.1.0-cu118-py310.txt").unlink(missing_ok=True)
    ended = run("rows", "--json", "-m", workspace.file)
    assert ended.code == 0 and ended.err == ""
    locked, unlocked = json.loads(ended.out)
    for row in (locked, unlocked):
        assert {"name", "torchcodec", "cuda", "python", "base", "index", "sm", "min_driver"} <= row.keys()
        assert {"default", "locked", "proven"} <= row.keys()
        assert {"version", "from"} <= row["torch"].keys() and {"version", "from"} <= row["torchaudio"].keys()
    assert (locked["name"], locked["locked"], locked["default"], locked["index"]) == (NAME, True, True, "pypi")
    assert (unlocked["locked"], unlocked["default"], unlocked["index"]) == (False, False, "pytorch")
    assert locked["proven"] == {
        "verdict": "healthy", "started": "2026-11-21T12:00:00Z", "base": "local",
        "image": "example/torchpair:2.8.0-cu128-py311",
    }  # fmt: skip
    assert unlocked["proven"] is None
    table = run("rows", "-m", workspace.file)
    first, second = (line for line in table.out.splitlines() if "torch2." in line)
    assert table.code == 0 and "healthy, 2026-11-21" in first and "NOT LOCKED" not in first
    assert "NOT LOCKED" in second and max(map(len, table.out.splitlines())) <= 160


def test_a_lock_or_a_report_that_is_of_no_use(project: Project, tmp_path: Path) -> None:
    workspace = project(images(LOCKED))
    lock = tmp_path / f"locks/{NAME}.txt"
    good = lock.read_text(encoding="utf-8")
    (tmp_path / "reports").mkdir()
    for text in (good.replace("python 3.11;", "python 3.12;"), "\x00", ""):
        lock.write_text(text, encoding="utf-8")
        (tmp_path / f"reports/{NAME}.json").write_text(text, encoding="utf-8")
        (row,) = json.loads(run("rows", "--json", "-m", workspace.file).out)
        assert (row["locked"], row["proven"]) == (False, None)
    lock.write_text(good, encoding="utf-8")
    assert json.loads(run("rows", "--json", "-m", workspace.file).out)[0]["locked"] is True


def test_rows_stand_on_the_base_that_carries_them(project: Project) -> None:
    file = project(images(LOCKED, 'torch: "2.8.0", cuda: "12.8", python: "3.12"')).file
    found = {base: json.loads(run("rows", "--json", "--base", base, "-m", file).out) for base in ("local", "nvidia")}
    assert [row["base"] for row in found["nvidia"]] == ["nvidia", "nvidia"]
    assert [row["base"] for row in found["local"]] == ["local", "nvidia"], "no Debian has Python 3.12"
    file.write_text(images(LOCKED, 'torch: "2.8.0", cuda: "12.4", python: "3.12"'), encoding="utf-8")
    ended = run("rows", "-m", file)
    one_message(ended)
    assert "matrix.yaml:3: cuda: " in ended.err and "why: rule wheel-cuda: " in ended.err


# ---- solve --------------------------------------------------------------------------------------------------------


def test_solve_for_gpt_sovits_on_an_rtx_50() -> None:
    asked = ["solve", "--gpu", "sm_120", "--driver", "570", "--python", "3.11", "--for", "gpt-sovits"]
    ended = run(*asked)
    assert ended.code == 0 and ended.err == ""
    assert ended.out.startswith("asked: compute capability 12.0, x86_64, driver 570, Python 3.11, for gpt-sovits\n")
    assert ended.out.endswith(f"in matrix.yaml:\n  - {{{LOCKED}}}\n")
    body = json.loads(run(*asked, "--json").out)
    assert body["ok"] is True and body["alternatives"] == [] and body["best"][0]["write"] == f"- {{{LOCKED}}}"
    for best in body["best"]:
        assert best["python"] == "3.11" and best["torch"]["version"] in search.GPT_SOVITS
        assert "12.0" in " ".join(best["sm"]) and Version("12.8") <= Version(best["cuda"]) < Version("13")
        (row,) = parse(f"images:\n  {best['write']}\n")
        assert resolve(row, facts_data.load()).tag == best["tag"]
    order = [search.GPT_SOVITS.index(best["torch"]["version"]) for best in body["best"]]
    assert order == sorted(order), "best first"


def test_solve_where_nothing_fits() -> None:
    asked = ["solve", "--gpu", "RTX 5090", "--driver", "535"]
    ended = run(*asked)
    assert ended.code == 2 and ended.err == "" and "nothing fits that. What would:" in ended.out
    body = json.loads(run(*asked, "--json").out)
    assert body["ok"] is False and body["best"] == [] and body["alternatives"][0]["changes"][0] == "a newer driver"
    twice = json.loads(run("solve", "--json", "--gpu", "T4G", "--gpu", "T4G").out)["alternatives"]
    assert 'sm: ["7.5"]' in twice[0]["write"], "a matrix refuses the same value twice"


# ---- facts --------------------------------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two small files of facts in the place of the shipped ones."""
    for name, text in SMALL.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.setattr(facts_data, "FOLDER", tmp_path)
    return tmp_path


@pytest.mark.parametrize(("differs", "code"), [(False, 0), (True, 1)])
def test_facts_check(monkeypatch: pytest.MonkeyPatch, differs: bool, code: int) -> None:
    new = upstream.Difference("torch", "2.16.0", "new", "not in the facts", "torchpair facts add torch 2.16.0")
    monkeypatch.setattr(upstream, "look_up", lambda package, say, *_: say(f"asking PyPI for {package}"))
    monkeypatch.setattr(upstream, "compare", lambda *_: [new] if differs else [])
    ended = run("facts", "check")
    assert ended.code == code and ended.out == upstream.describe([new] if differs else []) + "\n"
    assert ended.err.splitlines() == [f"asking PyPI for {package}" for package in upstream.PACKAGES]
    assert ("try: torchpair facts add torch 2.16.0" in ended.out) == differs


def test_facts_add(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serving("torch", torch_wheels())
    monkeypatch.setattr(upstream, "add_release", partial(upstream.add_release, fetch=server, index=INDEX))
    before = {path.name: path.read_bytes() for path in small.iterdir()}
    for version, says in (("2.17.0", "PyPI has no Linux wheel of torch 2.17.0"), ("2.12.0", "know torch 2.12.0 alrea"),
                          ("\x1b]0;x\a", "'\\x1b]0;x\\x07' is not a version")):  # fmt: skip
        ended = run("facts", "add", "torch", version, stream=Terminal)
        assert ended.code == 2 and ended.out == "" and says in ended.err and "\x1b" not in ended.err
        assert {path.name: path.read_bytes() for path in small.iterdir()} == before
    ended = run("facts", "add", "torch", "2.16.0")
    assert ended.code == 0 and ended.out.startswith(f"torch 2.16.0 stands in {small / 'releases.yaml'}, marked as not")
    assert '  "2.16.0":' in (small / "releases.yaml").read_text(encoding="utf-8")
    assert {p.name for p in small.iterdir()} == before.keys()


@pytest.mark.parametrize("command", [["check"], ["add", "torch", "2.16.0"]], ids=" ".join)
def test_facts_offline(command: list[str]) -> None:
    ended = run("facts", *command)
    assert ended.code == 2 and ended.out == "" and "Traceback" not in ended.err
    aside, message, *more = ended.err.splitlines()
    assert aside == "asking PyPI for torch"
    assert message == f"torchpair: {SILENT}/torch/: PyPI cannot be reached from here"
    assert [line[:7] for line in more] == ["  why: ", "  try: "] and "UV_DEFAULT_INDEX" in more[1]


# ---- anything at all ----------------------------------------------------------------------------------------------

# No argument of a program holds a NUL.
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=20)
WORDS = st.sampled_from(["2.8.0", "9.9.9", "12.8", "cpu", "3.11", "3.99t", "12.0+PTX", "570", "RTX 50", "\x1b[31m"])
EXPLAIN = ["--torch", "--cuda", "--python", "--torchaudio", "--sm", "--arch", "--base"]
SOLVE = ["--gpu", "--driver", "--python", "--cuda", "--arch", "--for", "--base"]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["explain", "solve"]), st.data())
def test_whatever_the_options_say(command: str, data: st.DataObject) -> None:
    options = data.draw(st.sets(st.sampled_from(EXPLAIN if command == "explain" else SOLVE), min_size=1, max_size=3))
    asked = [f"{option}={data.draw(TEXT | WORDS)}" for option in sorted(options)]
    if command == "explain" and "--torch" not in options:
        asked.append("--torch=2.8.0")
    ended = run(command, *asked, stream=Terminal)
    assert ended.code in (0, 2)
    if ended.err:
        one_message(ended)
    shown = ended.out + ended.err
    assert "\x1b" not in shown and "\x9b" not in shown and "\x07" not in shown


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([["explain", "-m", str(MATRIX)], ["facts"], ["facts", "add"]]), TEXT)
@example(["explain"], "\x1b]0;x\a")
@example(["facts", "add", "torch"], "\x1b]0;x\a")
def test_whatever_the_arguments_say(command: list[str], text: str) -> None:
    ended = run(*command, "--", text, stream=Terminal)
    assert ended.code == 2 and ended.out == "" and "Traceback" not in ended.err and ended.err.count("rror: ") <= 1
    assert not {"\x1b", "\x9b", "\x07"} & set(ended.err)
