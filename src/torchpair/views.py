"""What every form of a report shows of it: its headline, its cause, its facts, its checks in order."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torchpair.formatting import ABSENT, count, plain, size, value
from torchpair.report import CheckResult, Report, accepted


def cause(report: Report) -> str:
    """One line that names the check that decided the verdict and its reason; empty for a healthy image."""
    if report.verdict == "healthy":
        return ""
    failed = [check for check in report.checks if check.status == "fail"]
    stuck = [check for check in report.checks if check.status == "skip" and not accepted(check, report.gpu)]
    for check in failed or stuck:
        return plain(f"{check.id}: {check.reason or against(check)}")
    return "no check ran" if not report.checks else "no check passed"


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


def check_views(report: Report, anchor: str) -> list[dict[str, Any]]:
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


def by_reason(views: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
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


def against(check: CheckResult) -> str:
    """Measured and limit in a line."""
    return f"measured {value(check.measured, check.unit)}, limit {value(check.limit, check.unit)}"


def facts_of(report: Report) -> list[tuple[str, str]]:
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
