"""Reports for people and machines: terminal table, JUnit, Markdown; torchpair.page is the HTML."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import junitparser
from rich.table import Table
from rich.text import Text

from torchpair.files import write_whole
from torchpair.formatting import ABSENT, NOTE_SHOWN, block, count, escape, plain, size
from torchpair.page import html
from torchpair.report import CheckResult, Report
from torchpair.views import against, by_reason, cause, check_views, facts_of, headline

VERDICTS = {
    "healthy": ("✓", "green"),
    "unhealthy": ("✗", "bold red"),
    "inconclusive": ("?", "yellow"),
    "build failed": ("✗", "bold red"),
    "not built": ("-", "bright_black"),
}
# `open`: a skip that leaves the verdict open, told apart from pass, fail and accepted skip everywhere.
RESULTS = {
    "pass": ("✓ passed", "green"),
    "fail": ("✗ failed", "bold red"),
    "skip": ("- not run", "bright_black"),
    "open": ("? not run", "yellow"),
}


@dataclass(frozen=True)
class Outcome:
    """One line of the table that ends `make images`.

    size: bytes. verdict: a Report's, or `build failed`, or `not built`. seconds: building and checking.
    report: the report file. note: one line, why it is not healthy. The counts are those of the Report.
    """

    row: str
    image: str
    base: str
    size: int | None
    verdict: str
    seconds: float
    report: Path | None
    note: str
    passed: int = 0
    failed: int = 0
    skipped_gpu: int = 0
    skipped_other: int = 0


def outcome(report: Report, path: Path | None, seconds: float | None = None) -> Outcome:
    """The table's line for a report. seconds: the whole of building and checking, where that is known."""
    return Outcome(
        row=report.row or report.image,
        image=report.image,
        base=report.base or "",
        size=report.size,
        verdict=report.verdict,
        seconds=report.seconds if seconds is None else seconds,
        report=path,
        note=cause(report),
        passed=report.passed,
        failed=report.failed,
        skipped_gpu=report.skipped_gpu,
        skipped_other=report.skipped_other,
    )


def table(outcomes: Sequence[Outcome]) -> Table:
    """The final table; under it a line per image that is not healthy, and one that counts images and checks."""
    grid = Table(caption_justify="left", caption_style="")
    for name in ("row", "size", "verdict", "seconds", "report"):
        number = name in ("size", "seconds")
        grid.add_column(name, justify="right" if number else "left", no_wrap=number, overflow="fold")
    under = Text()
    for item in outcomes:
        symbol, style = VERDICTS.get(item.verdict, VERDICTS["inconclusive"])
        # Text, not markup: a reason such as "[red]" is to be read, not obeyed.
        row = Text.assemble((plain(item.row), "bold"), (f"\n{plain(item.base)}" if item.base else "", "dim"))
        verdict = Text(f"{symbol} {plain(item.verdict)}", style=style)
        path = Text(plain(item.report) if item.report else ABSENT)
        grid.add_row(row, Text(size(item.size)), verdict, Text(f"{item.seconds:.1f}"), path)
        if item.note:
            under.append(f"{symbol} {plain(item.row)}: ", style=style).append(f"{plain(item.note, NOTE_SHOWN)}\n")
    grid.caption = under.append(summary(outcomes))
    return grid


def checks_table(report: Report, failed: bool = False) -> Table:
    """Every check of one image, those that decide the verdict first: result, measured against limit, reason.

    failed: only those that failed.
    """
    grid = Table()
    grid.add_column("check", overflow="fold")
    grid.add_column("result", no_wrap=True)
    grid.add_column("measured", overflow="fold")
    grid.add_column("limit", overflow="fold")
    for view in check_views(report, ""):
        if failed and view["kind"] != "fail":
            continue
        word, style = RESULTS[view["kind"]]
        measured = [f"{plain(name)} {number}".strip() for name, number, _ in view["numbers"]]
        if view["reason"]:
            measured.append(plain(view["reason"], NOTE_SHOWN))
        limits = [view["rule"]] if view["rule"] else [limit for _, _, limit in view["numbers"]]
        cells = (plain(view["id"]), Text(word, style=style), "\n".join(measured), "\n".join(limits))
        grid.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in cells))
    return grid


def stuck(report: Report) -> list[str]:
    """A line for each reason why checks could not run that should have."""
    reasons = by_reason(view for view in check_views(report, "") if view["kind"] == "open")
    return [
        plain(f"{count(len(views), 'check')} could not run: {reason or 'no reason given'}", NOTE_SHOWN)
        for reason, views in reasons.items()
    ]


def summary(items: Sequence[Outcome] | Sequence[Report]) -> str:
    """One line: images by verdict, checks by result, those that had no GPU counted apart."""
    verdicts = Counter(item.verdict for item in items)
    images = [f"{verdicts[name]} {name}" for name in VERDICTS if verdicts[name]]
    return f"{count(len(items), 'image')}: {', '.join(images) or 'none'}. {checks_line(*items)}"


def checks_line(*items: Outcome | Report) -> str:
    """One line: checks by result, those that had no GPU counted apart."""
    checks = [f"{sum(item.passed for item in items)} passed"]
    for number, word in (
        (sum(item.failed for item in items), "failed"),
        (sum(item.skipped_gpu for item in items), "not run: no GPU"),
        (sum(item.skipped_other for item in items), "not run: other reasons"),
    ):
        if number:
            checks.append(f"{number} {word}")
    return f"Checks: {', '.join(checks)}."


def junit(reports: Iterable[Report]) -> str:
    """JUnit XML: a suite per image, a case per check.

    An inconclusive image gets one more case, `verdict`, with an error: tools that read JUnit count skips as good.
    """
    document: Any = junitparser.JUnitXml("torchpair")  # Any: half of its methods carry no types
    for report in reports:
        suite = junitparser.TestSuite(plain(report.row or report.image))
        suite.timestamp = plain(report.started)
        facts = {"image": report.image, "verdict": report.verdict, **dict(facts_of(report))}
        for name, text in facts.items():
            suite.add_property(name, plain(text))
        cases = [_case(report, check) for check in report.checks]
        if report.verdict == "inconclusive":
            verdict = junitparser.TestCase("verdict", plain(report.row or report.image))
            verdict.result = [junitparser.Error(f"inconclusive: {cause(report)}")]
            cases.append(verdict)
        suite.add_testcases(cases)
        document.add_testsuite(suite)
    document.update_statistics()
    xml = io.BytesIO()
    document.write(xml)
    return xml.getvalue().decode("utf-8")


def _case(report: Report, check: CheckResult) -> junitparser.TestCase:
    case = junitparser.TestCase(plain(check.id), plain(report.row or report.image), check.seconds)
    if check.status == "skip":
        case.result = [junitparser.Skipped(plain(check.reason or check.needs or "could not run"))]
    elif check.status == "fail":
        failure = junitparser.Failure(plain(against(check)))
        failure.text = block(check.reason or "")
        case.result = [failure]
    return case


def markdown(reports: Sequence[Report]) -> str:
    """A summary for the page of a CI job: GitHub's Markdown."""
    lines = [f"## torchpair: {escape(headline(reports))}", "", escape(summary(reports)), ""]
    lines += ["| image | verdict | torch | torchaudio | CUDA | size | checks |", "|---|---|---|---|---|--:|---|"]
    for report in reports:
        facts = dict(facts_of(report))
        counts = f"{report.passed} passed, {report.failed} failed, {report.skipped_gpu} not run: no GPU"
        if report.skipped_other:
            counts += f", {report.skipped_other} not run: other reasons"
        verdict = f"{VERDICTS[report.verdict][0]} {report.verdict}"
        cells = [report.row or report.image, verdict, facts["torch"], facts["torchaudio"], facts["CUDA"]]
        lines.append("| " + " | ".join(escape(cell) for cell in (*cells, size(report.size), counts)) + " |")
    causes = [(report.row or report.image, cause(report)) for report in reports if cause(report)]
    if causes:
        lines += ["", "### Why not healthy", ""]
        lines += [f"- **{escape(name)}**: {escape(text)}" for name, text in causes]
    return "\n".join(lines) + "\n"


def write_all(reports: Sequence[Report], folder: Path) -> None:
    """Write index.html, junit.xml and summary.md into the folder, each whole or not at all. Raises OSError."""
    write_whole(folder / "index.html", html(reports, datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")))
    write_whole(folder / "junit.xml", junit(reports))
    write_whole(folder / "summary.md", markdown(reports))
