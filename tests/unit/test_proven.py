"""`torchpair proven`: what is written down; every verdict has its report; a run goes on where it ended."""

from __future__ import annotations

import io
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from torchpair import base as bases
from torchpair import build, check, dockerd, factory, present, proven, record
from torchpair import report as reports
from torchpair.cli import cli
from torchpair.engine import Engine
from torchpair.errors import EngineError, TorchpairError
from torchpair.factory import NOTHING, Given
from torchpair.matrix import Row
from torchpair.proven import Entry
from torchpair.report import CheckResult, Report
from torchpair.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "proven.md"
HERE = Engine("unix:///nonexistent.sock", "26", None, ("docker", "buildx"))
EIGHT = '{torch: "2.8.0", cuda: "12.8", python: "3.11"}'
TWELVE = '{torch: "2.14.1", cuda: "13.0", python: "3.12"}'
THIRTEEN = '{torch: "2.14.1", cuda: "13.0", python: "3.13"}'
SOURCE = '{torch: "2.6.0", cuda: "12.4", python: "3.13", torchaudio: {from: source}, sm: ["8.0", "9.0"]}'


def one(identity: str, status: Any = "pass", needs: str | None = None, reason: str | None = None) -> CheckResult:
    return CheckResult(identity, "What it is for", status, 1, 1, None, 0.1, reason, needs)


def report(row: str, *checks: CheckResult, **other: Any) -> Report:
    fields: dict[str, Any] = {
        "row": row, "image": f"torchpair:{row}", "image_id": "sha256:" + "ab" * 32, "base": "local:debian12",
        "started": "2026-11-22T03:00:00+00:00", "seconds": 9.0, "gpu": "auto",
        "environment": {"torch": "2.8.0+cu128", "torchaudio": "2.8.0+cu128", "python": "3.11.2"},
        "checks": checks or (one("pair.import"), one("cuda.mel", "skip", "gpu"), one("io.mp3", "skip", "ffmpeg")),
        "size": 7_350_000_000, "probe": "c" * 64, "log": "",
    }  # fmt: skip
    return Report(**{**fields, **other})


def entry(row: str, matrix: str = "../matrix.yaml", **other: Any) -> Entry:
    more = other or {"dockerfile": "d" * 64, "report": f"{row}.json"}
    return Entry(row, matrix, "2026-11-22", **more)


# ---- the page that is committed --------------------------------------------------------------------------------------


def test_the_committed_page_is_what_its_data_and_reports_render() -> None:
    assert PAGE.read_text(encoding="utf-8") == record.written(PAGE)


def test_every_committed_verdict_has_its_report_and_every_report_its_row(shipped: Workspace) -> None:
    entries = proven.load(PAGE)
    found = proven.behind(entries, proven.reports_folder(PAGE))
    assert {path.name for path in proven.reports_folder(PAGE).iterdir()} == found.keys() and found
    text = PAGE.read_text(encoding="utf-8")
    for kept in found.values():
        (line,) = re.findall(rf"^\| \[{re.escape(str(kept.row))}\].*$", text, re.MULTILINE)
        assert f" {kept.verdict} | {kept.passed} | {kept.skipped_gpu} | {kept.skipped_other} |" in line
    rows = [e.row for e in entries if e.matrix == "../matrix.yaml"]
    assert rows == [row.name for row in shipped.rows], "a row of the matrix that nobody looked at, or one that is gone"


# ---- data and page ---------------------------------------------------------------------------------------------------


def test_data_goes_there_and_back(tmp_path: Path) -> None:
    page = tmp_path / "proven.md"
    assert proven.load(page) == ()
    entries = (
        entry("a"),
        entry("b", reasons=("no such index",)),
        entry("c", report="c.json", compiled_from={"x": "y"}),
    )
    proven.data_file(page).write_text(proven.text(entries))
    assert proven.load(page) == entries


@pytest.mark.parametrize(
    "change",
    [
        {"schema": "torchpair.proven/9"},
        {"rows": [{"row": "a"}]},
        {"rows": [{"row": "a", "matrix": "m", "tried": "2026-11-22", "verdict": "healthy", "reasons": []}]},
        {"rows": [{"row": "a", "matrix": "m", "tried": "2026-11-22", "report": None, "reasons": []}]},
        {"rows": [{"row": "a", "matrix": "m", "tried": "2026-11-22", "report": "a.json", "reasons": ["none"]}]},
        {"rows": [{"row": "a", "matrix": "m", "tried": "2026-11-22", "report": "../b.json", "reasons": []}]},
        {"rows": 3},
    ],
)
def test_other_data_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    page = tmp_path / "proven.md"
    proven.data_file(page).write_text(json.dumps({"schema": proven.SCHEMA, "rows": [], **change}))
    with pytest.raises(TorchpairError, match="not what `torchpair proven` writes"):
        proven.load(page)


def test_a_verdict_without_its_report_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "proven.md"
    folder = proven.reports_folder(page)
    proven.data_file(page).write_text(proven.text([entry("a")]))
    with pytest.raises(TorchpairError, match="cannot be read"):
        record.written(page)
    shutil.copy(reports.save(report("b"), folder), folder / "a.json")
    with pytest.raises(TorchpairError, match="the report is of b"):
        record.written(page)
    reports.save(report("a"), folder)
    assert "| ✓ healthy | 1 | 1 | 1 |" in record.written(page)


def test_what_stands_on_the_page() -> None:
    fail = report("b", one("pair.import"), one("dsp.mel", "fail", reason="off by 3 | dB"), probe="e" * 64)
    entries = [
        entry("a"),
        entry("b"),
        entry("c", reasons=("base local: no <b> here", "second")),
        entry("d", "../examples/x/matrix.yaml", report="d.json", compiled_from={"torchaudio": "an archive x.tar.gz"}),
    ]
    text = proven.page(entries, {"a.json": report("a"), "b.json": fail, "d.json": report("d")}, "proven")
    assert "4 rows: 2 healthy, 1 not, 1 not built here. Checks: 3 passed, 1 failed, 2 not run: no GPU, 2 not" in text
    assert "## Built and checked: [matrix.yaml](../matrix.yaml)" in text
    assert "## Built and checked: [examples/x/matrix.yaml](../examples/x/matrix.yaml)" in text
    line = (
        "| [a](proven/a.json) | local:debian12 | 2.8.0+cu128 | 2.8.0+cu128 | 3.11.2 | ✓ healthy | 1 | 1 | 1 | 7.35 GB "
    )
    assert line + "| 2026-11-22 | `abababababab` |" in text
    assert "| [b](proven/b.json) |" in text and "✗ unhealthy | 1 | 0 | 0 |" in text
    assert "- **b**: dsp.mel: off by 3 \\| dB" in text
    assert "| c | 2026-11-22 | base local: no \\<b\\> here<br>second |" in text
    assert "- **d**: torchaudio from an archive x.tar.gz" in text
    assert "| `gpu` | `cuda.mel` (2) |" in text and "| `ffmpeg` | `io.mp3` (2) |" in text
    assert "`cccccccccccc` (2 rows), `eeeeeeeeeeee` (1 row)" in text
    assert proven.page([], {}, "proven").endswith("Nothing yet.\n")


def test_a_new_entry_takes_its_place() -> None:
    other = entry("x", "other.yaml")
    old = (entry("b"), other, entry("gone"), entry("a"))
    new = entry("b", reasons=("why",))
    assert proven.merged(old, new, ["a", "b"]) == (entry("a"), new, other)
    assert proven.merged((), new, ["b"]) == (new,)
    assert proven.merged((new,), other, ["x"]) == (new, other)


# ---- a run -----------------------------------------------------------------------------------------------------------


class Factory:
    """In the place of the engine, the registry and the build."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.built: list[str] = []
        self.forgotten: list[str] = []
        self.held: set[str] = set()
        self.verdicts: dict[str, str] = {}
        self.stop_at: str | None = None
        monkeypatch.setattr(dockerd, "ensure", lambda say: HERE)
        monkeypatch.setattr(bases, "choose_base", lambda base, image, e: ("local", f"{image} cannot be pulled"))
        monkeypatch.setattr(check, "gpu_request", lambda e: ([], ""))
        monkeypatch.setattr(build, "image", lambda e, name: ("sha256:1", 1) if name in self.held else None)
        monkeypatch.setattr(record, "held", lambda e: frozenset({"old"}))
        monkeypatch.setattr(record, "forget", lambda e, spec, before: self.forgotten.append(spec.name))
        monkeypatch.setattr(factory, "prove", self.prove)
        monkeypatch.setenv("DOCKER_HOST", "")

    def prove(self, workspace: Workspace, rows: list[Row], **options: Any) -> list[present.Outcome]:
        (row,) = rows
        if row.name == self.stop_at:
            raise KeyboardInterrupt
        self.built.append(row.name)
        verdict = self.verdicts.get(row.name, "healthy")
        if verdict == "build failed":
            return [present.Outcome(row.name, "", "", None, verdict, 1.0, None, "torch: exit code 1")]
        checks = (one("pair.import", "pass" if verdict == "healthy" else "fail"), one("cuda.mel", "skip", "gpu"))
        made = report(row.name, *checks, probe=workspace.probe()[1])
        return [present.outcome(made, reports.save(made, workspace.reports))]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Factory:
    return Factory(monkeypatch)


@pytest.fixture
def workspace(project: Callable[..., Workspace]) -> Workspace:
    return project(f"images:\n  - {EIGHT}\n  - {TWELVE}\n  - {THIRTEEN}\n")


def rows(workspace: Workspace, *names: str, given: Given = NOTHING, **options: Any) -> tuple[int, str]:
    out = io.StringIO()
    asked: dict[str, Any] = {"base": "auto", "gpu": "auto", "again": False, "remove": True, **options}
    page = workspace.folder / "docs" / "proven.md"
    code = record.rows(workspace, names, page, given=given, console=Console(file=out, width=160), **asked)
    return code, out.getvalue()


def test_a_run_that_was_ended_goes_on_where_it_was(made: Factory, workspace: Workspace) -> None:
    page = workspace.folder / "docs" / "proven.md"
    made.stop_at = "torch2.14.1-cu130-py313"
    with pytest.raises(KeyboardInterrupt):
        rows(workspace)
    # What was done stands, page and all; the Python that Debian has not was looked at, and why is said by a rule.
    assert page.read_text() == record.written(page)
    assert [e.row for e in proven.load(page)] == ["torch2.8.0-cu128-py311", "torch2.14.1-cu130-py312"]
    assert "rule local-python" in str(proven.load(page)[1].reasons)
    assert made.built == made.forgotten == ["torch2.8.0-cu128-py311"]
    made.stop_at = None
    code, told = rows(workspace)
    assert code == 0 and made.built[1:] == ["torch2.14.1-cu130-py313"]
    assert "torch2.8.0-cu128-py311: healthy, as written down on 2026-11-22" in told
    assert rows(workspace)[0] == 0 and len(made.built) == 2
    assert rows(workspace, "torch2.8.0-cu128-py311", again=True)[0] == 0 and len(made.built) == 3
    assert page.read_text() == record.written(page)


def test_what_changed_is_built_again(made: Factory, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "torch2.8.0-cu128-py311"
    rows(workspace, name)
    # Another lock,
    lock = workspace.locks / f"{name}.txt"
    lock.write_text(re.sub(r"(?m)^(filelock==\S+ --hash=sha256:).{4}", r"\g<1>0000", lock.read_text()))
    assert rows(workspace, name)[0] == 0 and len(made.built) == 2
    # another probe,
    monkeypatch.setattr(Workspace, "probe", lambda self: (Path("probe.pyz"), "f" * 64))
    assert rows(workspace, name)[0] == 0 and len(made.built) == 3
    # a GPU for checks that had none.
    monkeypatch.setattr(check, "gpu_request", lambda e: ([object()], ""))
    assert rows(workspace, name)[0] == 0 and len(made.built) == 4


def test_images_that_were_there_before_stay(made: Factory, workspace: Workspace) -> None:
    made.held = {"torchpair:2.8.0-cu128-py311-debian12"}
    rows(workspace, "torch2.8.0-cu128-py311")
    rows(workspace, "torch2.14.1-cu130-py313", remove=False)
    assert len(made.built) == 2 and made.forgotten == []


@pytest.mark.parametrize(("verdict", "code"), [("unhealthy", 1), ("build failed", 4)])
def test_what_is_not_healthy_is_written_down_too(made: Factory, workspace: Workspace, verdict: str, code: int) -> None:
    name = "torch2.8.0-cu128-py311"
    made.verdicts[name] = verdict
    assert rows(workspace, name)[0] == code
    (found,) = proven.load(workspace.folder / "docs" / "proven.md")
    text = (workspace.folder / "docs" / "proven.md").read_text()
    if verdict == "unhealthy":
        assert found.report and "✗ unhealthy" in text and f"- **{name}**: pair.import" in text
    else:
        assert found.reasons == ("build failed: torch: exit code 1",) and "## Not built here" in text
    # A row that is built in the end takes its place, and a report that nobody names goes.
    made.verdicts.clear()
    assert rows(workspace, name, again=True)[0] == 0
    assert [p.name for p in (workspace.folder / "docs" / "proven").iterdir()] == [f"{name}.json"]


def test_every_reason_is_said_at_once(
    made: Factory, project: Callable[..., Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    base = 'name: mine, base: "registry.invalid/mine:1", torch: {version: "2.6.0", from: base}, cuda: cpu, '
    workspace = project(f'images:\n  - {{{base}python: "3.13", torchaudio: {{from: source}}}}\n')
    monkeypatch.setattr(bases, "registry_reachable", lambda image: (False, "it is not there"))
    code, _ = rows(workspace, given=Given({"torchaudio": "nowhere.tar.gz#sha256=" + "0" * 64}))
    (found,) = proven.load(workspace.folder / "docs" / "proven.md")
    assert code == 0 and made.built == []
    assert found.reasons == (
        "registry.invalid/mine:1 cannot be pulled here (it is not there)", "there is no file nowhere.tar.gz",
    )  # fmt: skip


def test_an_index_that_cannot_be_asked_is_a_reason(
    made: Factory, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Workspace, "ensure_locks", lambda self, specs, say: {specs[0].name: "no index"})
    rows(workspace, "torch2.8.0-cu128-py311")
    (found,) = proven.load(workspace.folder / "docs" / "proven.md")
    assert found.reasons == ("no index",)


# ---- what a row leaves in the engine ---------------------------------------------------------------------------------


class Client:
    """As much of docker-py's client as is asked."""

    def __init__(self, records: list[dict[str, Any]]) -> None:
        self.records = records
        self.pruned: list[str] = []
        self.removed: list[str] = []
        self.api = SimpleNamespace(prune_builds=self.prune_builds)
        self.images = SimpleNamespace(remove=self.removed.append)

    def df(self) -> dict[str, Any]:
        return {"BuildCache": self.records}

    def prune_builds(self, filters: dict[str, str], all: bool) -> None:
        wanted = re.compile(filters["id"])
        self.pruned = [str(record["ID"]) for record in self.records if wanted.search(record["ID"])]

    def close(self) -> None: ...


def test_only_what_a_build_added_is_removed(monkeypatch: pytest.MonkeyPatch, workspace: Workspace) -> None:
    def cached(identity: str, kind: str = "regular", what: str = "RUN uv pip install") -> dict[str, Any]:
        return {"ID": identity, "Type": kind, "Description": what}

    client = Client([
        cached("old"), cached("oldest"), cached("new"), cached("apt", what="RUN apt-get install -y ffmpeg"),
        cached("mount", "exec.cachemount"), {"ID": "bare", "Type": "regular", "Description": None},
    ])  # fmt: skip
    monkeypatch.setattr(Engine, "client", lambda self, timeout=60: client)
    (spec,) = workspace.specs(workspace.choose(["torch2.8.0-cu128-py311"]), "local")
    assert record.held(HERE) == {"old", "oldest", "new", "apt", "mount", "bare"}
    record.forget(HERE, spec, frozenset({"old", "oldest"}))
    assert client.removed == ["torchpair:2.8.0-cu128-py311-debian12"] and client.pruned == ["new", "bare"]
    client.pruned = []
    record.forget(HERE, spec, record.held(HERE))
    assert client.pruned == []


def test_an_engine_that_refuses_is_a_plain_error(monkeypatch: pytest.MonkeyPatch, workspace: Workspace) -> None:
    import docker.errors

    def refuse(name: str) -> None:
        raise docker.errors.APIError("in use")

    client = Client([])
    client.images.remove = refuse
    monkeypatch.setattr(Engine, "client", lambda self, timeout=60: client)
    (spec,) = workspace.specs(workspace.choose(["torch2.8.0-cu128-py311"]), "local")
    with pytest.raises(EngineError, match="left in the engine cannot be removed"):
        record.forget(HERE, spec, frozenset())


# ---- the command -----------------------------------------------------------------------------------------------------


def test_check_compares_and_builds_nothing(made: Factory, workspace: Workspace) -> None:
    page = workspace.folder / "docs" / "proven.md"
    rows(workspace, "torch2.8.0-cu128-py311")
    made.built.clear()
    same = CliRunner().invoke(cli, ["proven", "--check", "-o", str(page)])
    assert same.exit_code == 0 and same.stdout == f"{page} is what its data and reports render.\n"
    page.write_text(page.read_text().replace("healthy", "happy"))
    other = CliRunner().invoke(cli, ["proven", "--check", "-o", str(page)])
    assert isinstance(other.exception, TorchpairError) and "+1 row: 1 healthy" in other.stdout
    assert made.built == []


def test_the_command_takes_a_source(made: Factory, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: dict[str, Any] = {}
    monkeypatch.setattr(record, "rows", lambda *args, **options: heard.update(options, names=args[1]) or 3)
    argv = ["proven", "a", "b", "--source", "x", "--torch-source", "y", "--max-jobs", "2", "--remove"]
    assert CliRunner().invoke(cli, argv).exit_code == 3
    assert heard["given"] == replace(NOTHING, sources={"torchaudio": "x", "torch": "y"}, max_jobs=2)
    assert heard["names"] == ("a", "b") and heard["remove"] and not heard["again"]
