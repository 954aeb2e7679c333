"""The reports as one self-contained page of HTML."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torchpair import diagnose
from torchpair.formatting import LOG_SHOWN, block, count, plain, size
from torchpair.report import Report
from torchpair.resources import page_templates
from torchpair.views import by_reason, cause, check_views, facts_of, headline

GROUPS = {
    "probe": "Probe",
    "pair": "Pair",
    "dsp": "Signal processing",
    "io": "Files",
    "cuda": "GPU",
    "sovits": "GPT-SoVITS",
    "runtime": "Container",
}


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


def _view(report: Report, anchor: str) -> dict[str, Any]:
    """What the page shows of one image."""
    checks = check_views(report, anchor)
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
        "facts": facts_of(report),
        "checks": checks,
        "cells": {view["id"]: view for view in checks},
        "failed_checks": [view for view in checks if view["kind"] == "fail"],
        "stuck": by_reason(view for view in checks if view["kind"] == "open"),
        "log": "" if report.verdict == "healthy" else report.log[-LOG_SHOWN:],
    }
