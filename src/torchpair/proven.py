"""What of a matrix was proven, and what was not and why: data beside a page that is rendered from it.

The data holds no verdict: each comes from the report file that lies beside it, or there is none.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torchpair import files, present, strict_json, views
from torchpair import report as reports
from torchpair.errors import TorchpairError
from torchpair.formatting import ABSENT, count, escape, size, value
from torchpair.report import Report

SCHEMA = "torchpair.proven/1"


@dataclass(frozen=True)
class Entry:
    """What is known of one row.

    matrix: its file, from the data's folder. tried: the day, ISO 8601. dockerfile: sha256 of what was rendered for it,
    the lock's hashes in it. report: the report's file name; None: there is no image, and `reasons` say why.
    compiled_from: a source in words, by package.
    """

    row: str
    matrix: str
    tried: str
    dockerfile: str | None = None
    report: str | None = None
    compiled_from: Mapping[str, str] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()


def data_file(page: Path) -> Path:
    """The data beside a page: docs/proven.md has docs/proven.json."""
    return page.with_suffix(".json")


def reports_folder(page: Path) -> Path:
    """The reports behind a page: docs/proven.md has them in docs/proven/."""
    return page.with_suffix("")


def load(page: Path) -> tuple[Entry, ...]:
    """The entries behind a page; none where there is no data yet. Raises TorchpairError for what is no such data."""
    file = data_file(page)
    if not file.is_file():
        return ()
    body = strict_json.parse(file.read_bytes(), str(file))
    try:
        if not isinstance(body, dict) or body["schema"] != SCHEMA:
            raise ValueError(f"its schema is not {SCHEMA}")
        return tuple(_entry(item) for item in body["rows"])
    except (KeyError, TypeError, ValueError) as error:
        raise TorchpairError(
            "this is not what `torchpair proven` writes", where=str(file), why=str(error), remedy=f"remove {file}"
        ) from error


def _entry(item: Mapping[str, Any]) -> Entry:
    entry = Entry(**{**item, "reasons": tuple(item["reasons"])})
    if (entry.report is None) != bool(entry.reasons):
        raise ValueError(f"{entry.row}: a report or reasons, one of the two")
    if entry.report is not None and entry.report != f"{files.file_stem(entry.row)}.json":
        raise ValueError(f"{entry.row}: {entry.report} is not its report")
    return entry


def text(entries: Iterable[Entry]) -> str:
    """The data file."""
    return json.dumps({"schema": SCHEMA, "rows": [asdict(entry) for entry in entries]}, indent=1) + "\n"


def merged(old: Iterable[Entry], new: Entry, rows: Sequence[str]) -> tuple[Entry, ...]:
    """The entries with one of them new. rows: those of the new one's matrix, in order; what it has no more is dropped.

    Entries of other matrices stay where they are.
    """
    entries = {(entry.matrix, entry.row): entry for entry in old}
    entries[new.matrix, new.row] = new
    order = {name: i for i, name in enumerate(rows)}
    matrices = list(dict.fromkeys(matrix for matrix, _ in entries))
    kept = [entry for entry in entries.values() if entry.matrix != new.matrix or entry.row in order]
    return tuple(sorted(kept, key=lambda e: (matrices.index(e.matrix), order[e.row] if e.matrix == new.matrix else 0)))


def behind(entries: Iterable[Entry], folder: Path) -> dict[str, Report]:
    """The reports of entries, by file name. Raises TorchpairError where one is missing or another row's."""
    found = {}
    for entry in entries:
        if entry.report is None:
            continue
        report = reports.load(folder / entry.report)
        if report.row != entry.row:
            raise TorchpairError(f"the report is of {report.row}", where=str(folder / entry.report))
        found[entry.report] = report
    return found


def page(entries: Sequence[Entry], found: Mapping[str, Report], folder: str) -> str:
    """The page, in Markdown. folder: where the reports lie, from the page."""
    with_report = [(entry, found[entry.report]) for entry in entries if entry.report is not None]
    without = [entry for entry in entries if entry.report is None]
    said = [report for _, report in with_report]
    lines = ["# What is proven", "", "Made by `torchpair proven`: do not edit.", ""]
    if not entries:
        return "\n".join([*lines, "Nothing yet.", ""])
    healthy = sum(report.verdict == "healthy" for report in said)
    lines += [
        f"{count(len(entries), 'row')}: {healthy} healthy, {len(said) - healthy} not, {len(without)} not built "
        f"here. {present.checks_line(*said)}",
        "",
    ]
    for matrix in dict.fromkeys(entry.matrix for entry, _ in with_report):
        lines += [f"## Built and checked: [{matrix.removeprefix('../')}]({matrix})", "", *_HEAD]
        lines += [_line(entry, report, folder) for entry, report in with_report if entry.matrix == matrix]
        lines += [""]
    lines += _causes(said)
    lines += _compiled(entries)
    lines += _not_run(said)
    lines += _not_built(without)
    if said:
        probes = Counter(report.probe for report in said)
        told = ", ".join(f"`{probe[:12]}` ({count(n, 'row')})" for probe, n in probes.items())
        lines += ["## How it was looked at", "", f"Probes, by the beginning of their sha256: {told}.", ""]
        lines += ["Sizes are of what lies unpacked in the engine; an image is named by the beginning of its id.", ""]
    return "\n".join(lines)


_HEAD = [
    "| row | base | torch | torchaudio | Python | verdict | passed | not run: no GPU | not run: other | size | date "
    "| image |",
    "|---|---|---|---|---|---|--:|--:|--:|--:|---|---|",
]


def _line(entry: Entry, report: Report, folder: str) -> str:
    seen = report.environment
    digest = (report.image_id or ABSENT).removeprefix("sha256:")[:12]
    cells = (
        f"[{entry.row}]({folder}/{entry.report})",
        escape(report.base or ABSENT),
        *(escape(value(seen.get(name))) for name in ("torch", "torchaudio", "python")),
        f"{present.VERDICTS[report.verdict][0]} {report.verdict}",
        str(report.passed),
        str(report.skipped_gpu),
        str(report.skipped_other),
        size(report.size),
        report.started[:10],
        f"`{digest}`",
    )
    return "| " + " | ".join(cells) + " |"


def _causes(found: Sequence[Report]) -> list[str]:
    causes = [f"- **{report.row}**: {escape(views.cause(report))}" for report in found if views.cause(report)]
    return ["## Why not healthy", "", *causes, ""] if causes else []


def _compiled(entries: Sequence[Entry]) -> list[str]:
    """An image is as good as its source: whose it was is said with the verdict."""
    lines = [
        f"- **{entry.row}**: {package} from {escape(told)}"
        for entry in entries
        for package, told in entry.compiled_from.items()
    ]
    return ["## Compiled from", "", *lines, ""] if lines else []


def _not_run(found: Sequence[Report]) -> list[str]:
    """Checks that did not run, by what they needed: a skip is not a pass."""
    missing: dict[str, Counter[str]] = {}
    for report in found:
        for check in report.checks:
            if check.status == "skip":
                needs = f"`{check.needs}`" if check.needs else escape(check.reason or "it did not say")
                missing.setdefault(needs, Counter())[check.id] += 1
    if not missing:
        return []
    lines = ["## Not run", "", "A check that did not run is not a pass.", "", "| needs | check (rows) |", "|---|---|"]
    for needs, checks in sorted(missing.items()):
        told = ", ".join(f"`{name}` ({number})" for name, number in sorted(checks.items()))
        lines.append(f"| {needs} | {told} |")
    return [*lines, ""]


def _not_built(entries: Sequence[Entry]) -> list[str]:
    if not entries:
        return []
    lines = ["## Not built here", "", "| row | looked at | why |", "|---|---|---|"]
    for entry in entries:
        why = "<br>".join(escape(reason) for reason in entry.reasons)
        lines.append(f"| {entry.row} | {entry.tried} | {why} |")
    return [*lines, ""]
