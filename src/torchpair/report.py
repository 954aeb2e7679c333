"""The report: what was checked in one image, with the numbers, and the verdict that follows from them.

A report file, and what a probe printed, come from outside: an image can print anything. Everything is
checked at the door (`parse`, `from_json`), so that the rest of torchpair works with plain bounded values.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from torchpair import strict_json
from torchpair.errors import TorchpairError
from torchpair.files import file_stem, write_whole
from torchpair.probe.registry import GPU_NEEDS, harmless
from torchpair.strict_json import MAX_BYTES, MAX_LOG, an_object, bad, brief, clean, parse

SCHEMA = "torchpair.report/1"

Status = Literal["pass", "fail", "skip"]
Verdict = Literal["healthy", "unhealthy", "inconclusive"]
GpuMode = Literal["auto", "require", "off"]

STATUSES: tuple[Status, ...] = ("pass", "fail", "skip")
GPU_MODES: tuple[GpuMode, ...] = ("auto", "require", "off")

MAX_CHECKS = 500
MAX_TEXT = 8_000

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/-]{0,79}")
_NEEDS = re.compile(r"[a-z0-9][A-Za-z0-9_.+<>=!-]{0,39}")
_ROW = re.compile(r"[0-9a-f]{1,128}", re.ASCII)


@dataclass(frozen=True)
class Spectrograms:
    """A sound that failed and the expected one. rate: Hz, and half of it is the top line; a line is a hexadecimal digit
    for each moment, 6 dB a step, f is full scale; lines of both are of one length."""

    rate: int
    got: tuple[str, ...]
    expected: tuple[str, ...]


@dataclass(frozen=True)
class CheckResult:
    """One named check.

    id: group and name, such as `dsp.resample`; the group is what stands before the first point.
    measured: a JSON value, often a number in `unit` or an object of named numbers; None when nothing was measured.
    limit: what measured had to satisfy: the same kind of value, or a sentence.
    seconds: how long the check took.
    needs: for a skip, what was missing in a word: `gpu`, `cuda-build`, `expectation`, `torchaudio>=2.1`.
    """

    id: str
    purpose: str
    status: Status
    measured: Any
    limit: Any
    unit: str | None
    seconds: float
    reason: str | None
    needs: str | None = None
    spectrograms: Spectrograms | None = None


def judge(checks: Iterable[CheckResult], gpu: str) -> Verdict:
    """The verdict over the checks of one image. gpu: `auto`, `require` or `off`.

    A check that could not run is never a pass: a skip is accepted only where the reason is understood.
    """
    results = tuple(checks)
    if any(result.status == "fail" for result in results):
        return "unhealthy"
    if not any(result.status == "pass" for result in results):
        return "inconclusive"
    if all(result.status == "pass" or accepted(result, gpu) for result in results):
        return "healthy"
    return "inconclusive"


def accepted(skip: CheckResult, gpu: str) -> bool:
    """Whether a skipped check leaves the verdict alone: the probe's own rule."""
    return harmless(skip.needs, gpu)


@dataclass(frozen=True)
class Report:
    """Everything that was found out about one image.

    row: the row of matrix.yaml, None for a foreign image.
    started: ISO 8601, UTC. seconds: the whole check, with the start of the container.
    environment: what the probe saw inside (versions, GPU architectures, distributions).
    size: bytes. probe: sha256 of the probe that ran. log: the container's own words, the end of them.
    """

    row: str | None
    image: str
    image_id: str | None
    base: str | None
    started: str
    seconds: float
    gpu: GpuMode
    environment: dict[str, Any]
    checks: tuple[CheckResult, ...]
    size: int | None
    probe: str
    log: str

    @property
    def verdict(self) -> Verdict:
        """`healthy`, `unhealthy` or `inconclusive`: see `judge`."""
        return judge(self.checks, self.gpu)

    @property
    def passed(self) -> int:
        """How many checks passed."""
        return sum(check.status == "pass" for check in self.checks)

    @property
    def failed(self) -> int:
        """How many checks failed."""
        return sum(check.status == "fail" for check in self.checks)

    @property
    def skipped_gpu(self) -> int:
        """How many checks did not run for want of a GPU, or of a torch that could use one."""
        return sum(check.status == "skip" and check.needs in GPU_NEEDS for check in self.checks)

    @property
    def skipped_other(self) -> int:
        """How many checks did not run for any other reason."""
        return sum(check.status == "skip" and check.needs not in GPU_NEEDS for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON values. Of a long log the end is kept."""
        body = asdict(self)
        body["checks"] = [asdict(check) for check in self.checks]
        body["log"] = self.log[-MAX_LOG:]
        return {"schema": SCHEMA, "verdict": self.verdict, **body}

    @classmethod
    def from_json(cls, obj: object, where: str = "report") -> Report:
        """The report in a JSON value. Raises TorchpairError, which names the key, for anything out of order."""
        body = an_object(clean(obj, where), where)
        if body.get("schema") != SCHEMA:
            raise bad(f"{where}.schema", f"is {brief(body.get('schema'))}, not {SCHEMA}")
        report = cls(
            row=strict_json.optional_text(body, "row", where, 200),
            image=strict_json.text(body, "image", where, 500),
            image_id=strict_json.optional_text(body, "image_id", where, 200),
            base=strict_json.optional_text(body, "base", where, 500),
            started=strict_json.moment(body, "started", where),
            seconds=strict_json.seconds(body, "seconds", where),
            gpu=strict_json.one_of(body, "gpu", where, GPU_MODES),
            environment=an_object(body.get("environment"), f"{where}.environment"),
            checks=checks_from_json(body.get("checks"), f"{where}.checks"),
            size=strict_json.size(body, "size", where),
            probe=strict_json.text(body, "probe", where, 200),
            log=strict_json.text(body, "log", where, MAX_LOG),
        )
        if body.get("verdict") != report.verdict:
            raise bad(f"{where}.verdict", f"is {brief(body.get('verdict'))}, but the checks say {report.verdict}")
        return report


def checks_from_json(obj: object, where: str = "checks") -> tuple[CheckResult, ...]:
    """The checks in a JSON list, each id once. Raises TorchpairError for anything out of order."""
    if not isinstance(obj, list):
        raise bad(where, f"is {brief(obj)}, not a list")
    if len(obj) > MAX_CHECKS:
        raise bad(where, f"has {len(obj)} entries; at most {MAX_CHECKS} are read")
    checks = tuple(check_from_json(item, f"{where}[{index}]") for index, item in enumerate(obj))
    seen: set[str] = set()
    for index, check in enumerate(checks):
        if check.id in seen:
            raise bad(f"{where}[{index}].id", f"{check.id} is there twice")
        seen.add(check.id)
    return checks


def check_from_json(obj: object, where: str = "check") -> CheckResult:
    """One check of a report or of a probe. Raises TorchpairError for anything out of order."""
    body = an_object(clean(obj, where), where)
    identity = strict_json.text(body, "id", where, 80)
    if not _ID.fullmatch(identity):
        raise bad(f"{where}.id", f"is {brief(identity)}: letters, digits and . _ : / - are allowed")
    needs = strict_json.optional_text(body, "needs", where, 40)
    if needs is not None and not _NEEDS.fullmatch(needs):
        raise bad(f"{where}.needs", f"is {brief(needs)}, not a short word such as gpu")
    return CheckResult(
        id=identity,
        purpose=strict_json.text(body, "purpose", where, 500),
        status=strict_json.one_of(body, "status", where, STATUSES),
        measured=strict_json.value(body, "measured", where),
        limit=strict_json.value(body, "limit", where),
        unit=strict_json.optional_text(body, "unit", where, 40),
        seconds=strict_json.seconds(body, "seconds", where),
        reason=strict_json.optional_text(body, "reason", where, MAX_TEXT),
        needs=needs,
        spectrograms=_spectrograms(body.get("spectrograms"), f"{where}.spectrograms"),
    )


def _spectrograms(obj: object, where: str) -> Spectrograms | None:
    if obj is None:
        return None
    body = an_object(obj, where)
    rate = body.get("rate")
    if not isinstance(rate, int) or isinstance(rate, bool) or not 0 < rate <= 1_000_000:
        raise bad(f"{where}.rate", f"is {brief(rate)}, not a number of Hz")
    sides = [_lines(body.get(side), f"{where}.{side}") for side in ("got", "expected")]
    return Spectrograms(rate, *sides)


def _lines(obj: object, where: str) -> tuple[str, ...]:
    lines: list[str] = obj if isinstance(obj, list) and 0 < len(obj) <= 64 else [""]
    if not all(isinstance(line, str) and _ROW.fullmatch(line) and len(line) == len(lines[0]) for line in lines):
        raise bad(where, "is not a picture: up to 64 lines of up to 128 hexadecimal digits, all of one length")
    return tuple(lines)


def save(report: Report, folder: Path) -> Path:
    """Write the report into the folder as `<row>.json`, whole or not at all, and return the path.

    Raises TorchpairError for a report that `load` would refuse, OSError when the disk does.
    """
    body = Report.from_json(report.to_json()).to_json()
    path = folder / f"{file_stem(report.row or report.image)}.json"
    # ASCII: what an image said may hold characters that move a terminal, and a report is read with `cat` too.
    write_whole(path, json.dumps(body, indent=1, ensure_ascii=True, allow_nan=False) + "\n")
    return path


def load(path: Path) -> Report:
    """Read a report file. Raises TorchpairError when it is missing, too large, or not a report."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise TorchpairError("the report cannot be read", where=str(path), why=error.strerror) from error
    return Report.from_json(parse(raw, str(path)), str(path))
