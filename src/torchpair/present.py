"""Reports for people and machines: terminal table, JUnit, Markdown, HTML.

Whatever an image printed is text from a stranger: it goes through `plain` before it reaches a terminal or a
file, and through each format's own escaping after that.
"""

from __future__ import annotations

import base64
import io
import json
import re
import struct
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import junitparser
from rich.table import Table
from rich.text import Text

from torchpair import diagnose
from torchpair.errors import visible
from torchpair.files import write_whole
from torchpair.report import CheckResult, Report, accepted
from torchpair.resources import page_templates

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
GROUPS = {
    "probe": "Probe",
    "pair": "Pair",
    "dsp": "Signal processing",
    "io": "Files",
    "cuda": "GPU",
    "sovits": "GPT-SoVITS",
    "runtime": "Container",
}
ABSENT = "\N{EN DASH}"
LOG_SHOWN = 8_000
NOTE_SHOWN = 1_000

# Sequences that move a cursor, set a title or a colour: ESC [ ..., ESC ] ... BEL, and the two-character ones.
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#|~!&@])")


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
    for view in _check_views(report, ""):
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
    reasons = _by_reason(view for view in _check_views(report, "") if view["kind"] == "open")
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


def cause(report: Report) -> str:
    """One line that names the check that decided the verdict and its reason; empty for a healthy image."""
    if report.verdict == "healthy":
        return ""
    failed = [check for check in report.checks if check.status == "fail"]
    stuck = [check for check in report.checks if check.status == "skip" and not accepted(check, report.gpu)]
    for check in failed or stuck:
        return plain(f"{check.id}: {check.reason or _against(check)}")
    return "no check ran" if not report.checks else "no check passed"


def junit(reports: Iterable[Report]) -> str:
    """JUnit XML: a suite per image, a case per check.

    An inconclusive image gets one more case, `verdict`, with an error: tools that read JUnit count skips as good.
    """
    document: Any = junitparser.JUnitXml("torchpair")  # Any: half of its methods carry no types
    for report in reports:
        suite = junitparser.TestSuite(plain(report.row or report.image))
        suite.timestamp = plain(report.started)
        facts = {"image": report.image, "verdict": report.verdict, **dict(_facts(report))}
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
        failure = junitparser.Failure(plain(_against(check)))
        failure.text = block(check.reason or "")
        case.result = [failure]
    return case


def markdown(reports: Sequence[Report]) -> str:
    """A summary for the page of a CI job: GitHub's Markdown."""
    lines = [f"## torchpair: {escape(headline(reports))}", "", escape(summary(reports)), ""]
    lines += ["| image | verdict | torch | torchaudio | CUDA | size | checks |", "|---|---|---|---|---|--:|---|"]
    for report in reports:
        facts = dict(_facts(report))
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


def html(reports: Sequence[Report], generated: str) -> str:
    """One self-contained page. generated: the moment to print on it, as text."""
    environment = page_templates()
    environment.filters.update(plain=plain, block=block, size=size, count=count)
    grouped: dict[str, dict[str, str]] = {name: {} for name in GROUPS}
    for check in (check for report in reports for check in report.checks):
        group, _, rest = check.id.partition(".")
        grouped.setdefault(group, {})[check.id] = rest or group
    return environment.get_template("report.html.j2").render(
        headline=headline(reports),
        generated=generated,
        images=[_view(report, f"i{index}") for index, report in enumerate(reports)],
        columns={GROUPS.get(group, group): checks for group, checks in grouped.items() if checks},
        totals={
            "pass": sum(report.passed for report in reports),
            "fail": sum(report.failed for report in reports),
            "skip": sum(report.skipped_gpu for report in reports),
            "other": sum(report.skipped_other for report in reports),
        },
    )


def write_all(reports: Sequence[Report], folder: Path) -> None:
    """Write index.html, junit.xml and summary.md into the folder, each whole or not at all. Raises OSError."""
    write_whole(folder / "index.html", html(reports, datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")))
    write_whole(folder / "junit.xml", junit(reports))
    write_whole(folder / "summary.md", markdown(reports))


def headline(reports: Sequence[Report]) -> str:
    """One sentence: what is proven, and what is not."""
    if not reports:
        return "No image was checked."
    healthy = sum(report.verdict == "healthy" for report in reports)
    text = f"torch and torchaudio are proven to work together in {healthy or 'none'} of {count(len(reports), 'image')}"
    proven = [report for report in reports if report.verdict == "healthy"]
    without = [report for report in proven if report.skipped_gpu]
    if without:
        images = "in all of them" if len(without) == len(proven) > 1 else f"in {count(len(without), 'image')}"
        missing = count(sum(report.skipped_gpu for report in without), "GPU check")
        return f"{text}; not proven: their work on a GPU {images}, where {missing} could not run."
    on_gpu = all(any(c.id.startswith("cuda.") and c.status == "pass" for c in r.checks) for r in proven)
    return f"{text}, on a GPU too." if proven and on_gpu else f"{text}."


def _view(report: Report, anchor: str) -> dict[str, Any]:
    """What the page shows of one image."""
    checks = _check_views(report, anchor)
    return {
        "anchor": anchor,
        "title": report.row or report.image,
        "image": report.image,
        "image_id": (report.image_id or "")[:19],
        "verdict": report.verdict,
        "cause": cause(report),
        "causes": diagnose.causes(report),
        "passed": report.passed,
        "failed": report.failed,
        "skipped_gpu": report.skipped_gpu,
        "skipped_other": report.skipped_other,
        "facts": _facts(report),
        "checks": checks,
        "cells": {view["id"]: view for view in checks},
        "failed_checks": [view for view in checks if view["kind"] == "fail"],
        "stuck": _by_reason(view for view in checks if view["kind"] == "open"),
        "log": "" if report.verdict == "healthy" else report.log[-LOG_SHOWN:],
    }


def _check_views(report: Report, anchor: str) -> list[dict[str, Any]]:
    """The checks, those that decide the verdict first."""
    views = [_check_view(report, check, f"{anchor}-c{index}") for index, check in enumerate(report.checks)]
    return sorted(views, key=lambda view: {"fail": 0, "open": 1}.get(view["kind"], 2))


def _check_view(report: Report, check: CheckResult, anchor: str) -> dict[str, Any]:
    stuck = check.status == "skip" and not accepted(check, report.gpu)
    return {
        "anchor": anchor,
        "id": check.id,
        "purpose": check.purpose,
        "kind": "open" if stuck else check.status,
        "word": {"pass": "passed", "fail": "failed", "skip": "not run"}[check.status],
        "reason": check.reason or "",
        "seconds": f"{check.seconds:.2f} s" if check.seconds >= 0.01 else "under 0.01 s",
        "numbers": _numbers(check),
        # A sentence that limits several numbers stands above them, not beside each.
        "unit": (check.unit or "") if isinstance(check.measured, Mapping) else "",
        "pictures": pictures(check),
        "rule": value(check.limit) if isinstance(check.measured, Mapping) and isinstance(check.limit, str) else "",
    }


# Dark to light, of even steps to the eye: matplotlib's inferno at 16 places.
_COLOURS = bytes.fromhex(
    "000004 0c0826 240c4f 420a68 5d126e 781c6d 932667 ae305c c73e4c dd513a ed6925 f8850f fca50a fac62d f2e661 fcffa4"
)


def png(lines: Sequence[str]) -> bytes:
    """An indexed PNG of 16 colours: a line of pixels for each line, a pixel for each hexadecimal digit.

    https://www.w3.org/TR/png-3/
    """

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    width = len(lines[0])
    pixels = b"".join(b"\0" + bytes.fromhex(line + "0" * (width % 2)) for line in lines)
    head = struct.pack(">IIBBBBB", width, len(lines), 4, 3, 0, 0, 0)
    parts = ((b"IHDR", head), (b"PLTE", _COLOURS), (b"IDAT", zlib.compress(pixels, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def pictures(check: CheckResult) -> list[tuple[str, str]]:
    """(caption, address with the picture in it) of the expected sound and of the one that failed."""
    drawn = check.spectrograms
    if drawn is None:
        return []
    top = f"0 to {drawn.rate / 2000:g} kHz"
    return [
        (f"{word}, {top}", "data:image/png;base64," + base64.b64encode(png(lines)).decode())
        for word, lines in (("expected", drawn.expected), ("got", drawn.got))
    ]


def _by_reason(views: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """One import error stops twenty checks: they are told once, with their names."""
    reasons: dict[str, list[dict[str, Any]]] = {}
    for view in views:
        reasons.setdefault(view["reason"], []).append(view)
    return reasons


def _numbers(check: CheckResult) -> list[tuple[str, str, str]]:
    """(name, measured, limit) of every number, or one nameless line, with the unit, when there is only one."""
    measured, limit, unit = check.measured, check.limit, check.unit
    if check.status == "skip" or (measured is None and limit is None):
        return []
    if not isinstance(measured, Mapping):
        return [("", value(measured, unit), value(limit, unit))]
    limits = limit if isinstance(limit, Mapping) else {}
    names = [name for name in limits if name in measured] + [name for name in measured if name not in limits]
    return [(name, value(measured[name]), value(limits.get(name))) for name in names[:100]]


def _against(check: CheckResult) -> str:
    """Measured and limit in a line."""
    return f"measured {value(check.measured, check.unit)}, limit {value(check.limit, check.unit)}"


def _facts(report: Report) -> list[tuple[str, str]]:
    """What a reader wants to know of an image: name and value."""
    seen = report.environment
    cudas = [value(seen.get(key)) for key in ("torch_cuda", "torchaudio_cuda")]
    if seen.get("torch_cuda") is None and seen.get("torch"):
        cudas[0] = "none: CPU build"
    differ = cudas[1] not in (ABSENT, cudas[0])
    gpus = [gpu.get("name", ABSENT) if isinstance(gpu, Mapping) else gpu for gpu in seen.get("gpu") or []]
    return [
        *((name, value(seen.get(name))) for name in ("torch", "torchaudio", "torchcodec")),
        ("CUDA", f"torch {cudas[0]}, torchaudio {cudas[1]}" if differ else cudas[0]),
        ("Python", value(seen.get("python"))),
        ("base", report.base or ABSENT),
        ("size", size(report.size)),
        ("checked in", f"{report.seconds:.1f} s"),
        ("GPU", value(gpus) if gpus else "none present"),
        ("architectures", value(seen.get("sm"))),
    ]


def value(obj: Any, unit: str | None = "") -> str:
    """A JSON value for a reader: numbers with four digits, lists with commas; a dash for null."""
    if obj is None:
        return ABSENT
    if isinstance(obj, (list, Mapping)) and not obj:
        return "none"
    if isinstance(obj, bool):
        return "yes" if obj else "no"
    if isinstance(obj, (int, float)):
        text = f"{obj:.4g}" if isinstance(obj, float) else str(obj)
        return plain(f"{text} {unit or ''}")
    if isinstance(obj, (list, tuple)):
        return plain(", ".join(item if isinstance(item, str) else value(item) for item in obj[:100]))
    if isinstance(obj, Mapping):
        numbers = ", ".join(f"{key} {value(item)}" for key, item in obj.items())
        return plain(f"{numbers} ({unit})" if unit else numbers)
    return plain(obj if isinstance(obj, str) else json.dumps(obj))


def size(number: int | None) -> str:
    """Bytes as GB with two decimals."""
    return ABSENT if number is None else f"{number / 1e9:.2f} GB"


def plain(obj: object, most: int = 300) -> str:
    """One line that a terminal only shows: no escape sequences, no control or direction characters, no end."""
    text = " ".join(visible(str(obj)[: 10 * most]).split())
    return text if len(text) <= most else f"{text[: most - 1]}…"


def block(obj: object, most: int = LOG_SHOWN) -> str:
    """The same for several lines."""
    text = str(obj)[-most:].replace("\r\n", "\n")
    return "\n".join(visible(line).rstrip() for line in text.split("\n")).strip("\n")


def escape(text: str) -> str:
    return _MARKDOWN.sub(r"\\\1", plain(text))


def count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
