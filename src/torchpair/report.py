"""The report: what was checked in one image, with the numbers, and the verdict that follows from them.

A report file, and what a probe printed, come from outside: an image can print anything. Everything is
checked at the door (`parse`, `from_json`), so that the rest of torchpair works with plain bounded values.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal, TypeVar

from torchpair.errors import TorchpairError
from torchpair.probe.registry import GPU_NEEDS, harmless

SCHEMA = "torchpair.report/1"

Status = Literal["pass", "fail", "skip"]
Verdict = Literal["healthy", "unhealthy", "inconclusive"]
GpuMode = Literal["auto", "require", "off"]

STATUSES: tuple[Status, ...] = ("pass", "fail", "skip")
GPU_MODES: tuple[GpuMode, ...] = ("auto", "require", "off")

# Far above what an honest probe prints, far below what hurts a page or a terminal.
MAX_BYTES = 4 * 1024 * 1024
MAX_DEPTH = 8
MAX_NODES = 50_000
MAX_CHECKS = 500
MAX_TEXT = 8_000
MAX_VALUE = 100_000
MAX_LOG = 200_000
MAX_INTEGER = 2**63 - 1
MAX_SECONDS = 10_000_000

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/-]{0,79}")
_NEEDS = re.compile(r"[a-z0-9][A-Za-z0-9_.+<>=!-]{0,39}")
_ROW = re.compile(r"[0-9a-f]{1,128}", re.ASCII)
_SURROGATE = re.compile("[\ud800-\udfff]")
_UNSAFE = re.compile(r"[^A-Za-z0-9._+-]+")

_Name = TypeVar("_Name", bound=str)


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
        body = _object(clean(obj, where), where)
        if body.get("schema") != SCHEMA:
            raise _bad(f"{where}.schema", f"is {_brief(body.get('schema'))}, not {SCHEMA}")
        report = cls(
            row=_optional_text(body, "row", where, 200),
            image=_text(body, "image", where, 500),
            image_id=_optional_text(body, "image_id", where, 200),
            base=_optional_text(body, "base", where, 500),
            started=_moment(body, "started", where),
            seconds=_seconds(body, "seconds", where),
            gpu=_one_of(body, "gpu", where, GPU_MODES),
            environment=_object(body.get("environment"), f"{where}.environment"),
            checks=checks_from_json(body.get("checks"), f"{where}.checks"),
            size=_size(body, "size", where),
            probe=_text(body, "probe", where, 200),
            log=_text(body, "log", where, MAX_LOG),
        )
        if body.get("verdict") != report.verdict:
            raise _bad(f"{where}.verdict", f"is {_brief(body.get('verdict'))}, but the checks say {report.verdict}")
        return report


def checks_from_json(obj: object, where: str = "checks") -> tuple[CheckResult, ...]:
    """The checks in a JSON list, each id once. Raises TorchpairError for anything out of order."""
    if not isinstance(obj, list):
        raise _bad(where, f"is {_brief(obj)}, not a list")
    if len(obj) > MAX_CHECKS:
        raise _bad(where, f"has {len(obj)} entries; at most {MAX_CHECKS} are read")
    checks = tuple(check_from_json(item, f"{where}[{index}]") for index, item in enumerate(obj))
    seen: set[str] = set()
    for index, check in enumerate(checks):
        if check.id in seen:
            raise _bad(f"{where}[{index}].id", f"{check.id} is there twice")
        seen.add(check.id)
    return checks


def check_from_json(obj: object, where: str = "check") -> CheckResult:
    """One check of a report or of a probe. Raises TorchpairError for anything out of order."""
    body = _object(clean(obj, where), where)
    identity = _text(body, "id", where, 80)
    if not _ID.fullmatch(identity):
        raise _bad(f"{where}.id", f"is {_brief(identity)}: letters, digits and . _ : / - are allowed")
    needs = _optional_text(body, "needs", where, 40)
    if needs is not None and not _NEEDS.fullmatch(needs):
        raise _bad(f"{where}.needs", f"is {_brief(needs)}, not a short word such as gpu")
    return CheckResult(
        id=identity,
        purpose=_text(body, "purpose", where, 500),
        status=_one_of(body, "status", where, STATUSES),
        measured=_value(body, "measured", where),
        limit=_value(body, "limit", where),
        unit=_optional_text(body, "unit", where, 40),
        seconds=_seconds(body, "seconds", where),
        reason=_optional_text(body, "reason", where, MAX_TEXT),
        needs=needs,
        spectrograms=_spectrograms(body.get("spectrograms"), f"{where}.spectrograms"),
    )


def _spectrograms(obj: object, where: str) -> Spectrograms | None:
    if obj is None:
        return None
    body = _object(obj, where)
    rate = body.get("rate")
    if not isinstance(rate, int) or isinstance(rate, bool) or not 0 < rate <= 1_000_000:
        raise _bad(f"{where}.rate", f"is {_brief(rate)}, not a number of Hz")
    sides = [_lines(body.get(side), f"{where}.{side}") for side in ("got", "expected")]
    return Spectrograms(rate, *sides)


def _lines(obj: object, where: str) -> tuple[str, ...]:
    lines: list[str] = obj if isinstance(obj, list) and 0 < len(obj) <= 64 else [""]
    if not all(isinstance(line, str) and _ROW.fullmatch(line) and len(line) == len(lines[0]) for line in lines):
        raise _bad(where, "is not a picture: up to 64 lines of up to 128 hexadecimal digits, all of one length")
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


def file_stem(name: str) -> str:
    """A file name, without its ending, for a row or an image: one path component, the same for the same name."""
    safe = _UNSAFE.sub("-", name).strip(".-")[:100]
    if safe == name:
        return safe
    # Two names that differ only in what was replaced must not share a file.
    return f"{safe or 'image'}-{hashlib.sha256(name.encode('utf-8', 'replace')).hexdigest()[:8]}"


def write_whole(path: Path, text: str) -> None:
    """Write a UTF-8 file so that a reader sees the old text or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=".", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def parse(text: str | bytes, where: str) -> object:
    """JSON from outside, bounded in size and depth, without NaN. Raises TorchpairError."""
    if len(text) > MAX_BYTES:
        raise _bad(where, f"is larger than {MAX_BYTES} bytes")
    try:
        # NaN and Infinity are Python's own addition to JSON; `clean` refuses them, and 1e999, as numbers.
        return clean(json.loads(text), where)
    except (ValueError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise TorchpairError("not readable as JSON", where=where, why=why[:200]) from error


def clean(obj: object, where: str) -> Any:
    """A copy of a JSON value whose depth, size, numbers and strings are known to be harmless.

    Raises TorchpairError for what JSON cannot hold and for what goes beyond the limits.
    """
    return _copy(obj, where, MAX_DEPTH, [MAX_NODES])


def _copy(obj: object, where: str, depth: int, left: list[int]) -> Any:
    left[0] -= 1
    if left[0] < 0:
        raise _bad(where, f"there are more than {MAX_NODES} values")
    if obj is None or isinstance(obj, bool):
        return obj
    if isinstance(obj, int):
        if abs(obj) > MAX_INTEGER:
            raise _bad(where, "is a number beyond 64 bits")
        return obj
    if isinstance(obj, float):
        if not math.isfinite(obj):
            raise _bad(where, f"is {obj}, not a finite number")
        return obj
    if isinstance(obj, str):
        if len(obj) > MAX_LOG:
            raise _bad(where, f"is text of {len(obj)} characters; at most {MAX_LOG} are read")
        # Half a character (\ud800 alone) is legal JSON and cannot be written to any file.
        return _SURROGATE.sub("\ufffd", obj)
    if depth == 0:
        raise _bad(where, f"is nested more than {MAX_DEPTH} deep")
    if isinstance(obj, (list, tuple)):
        return [_copy(item, f"{where}[{index}]", depth - 1, left) for index, item in enumerate(obj)]
    if isinstance(obj, Mapping):
        if not all(isinstance(key, str) and len(key) <= 200 for key in obj):
            raise _bad(where, "has a key that is not a short text")
        return {
            _SURROGATE.sub("\ufffd", key): _copy(item, f"{where}.{ascii(key)[1:-1][:40]}", depth - 1, left)
            for key, item in obj.items()
        }
    raise _bad(where, f"is {_brief(obj)}, which JSON does not have")


def _bad(where: str, what: str) -> TorchpairError:
    return TorchpairError(what, where=where, why="this is not what a torchpair report or probe looks like")


def _brief(obj: object) -> str:
    """A value for a message: short, and on one line whatever it holds."""
    shown = ascii(obj) if obj is None or isinstance(obj, (str, bool, int, float)) else f"a {type(obj).__name__}"
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


def _object(obj: object, where: str) -> dict[str, Any]:
    if not isinstance(obj, dict):
        raise _bad(where, f"is {_brief(obj)}, not an object")
    return obj


def _text(body: dict[str, Any], key: str, where: str, most: int) -> str:
    value = body.get(key)
    if not isinstance(value, str):
        raise _bad(f"{where}.{key}", f"is {_brief(value)}, not a text")
    if len(value) > most:
        raise _bad(f"{where}.{key}", f"is text of {len(value)} characters; at most {most} are read")
    return value


def _optional_text(body: dict[str, Any], key: str, where: str, most: int) -> str | None:
    return None if body.get(key) is None else _text(body, key, where, most)


def _one_of(body: dict[str, Any], key: str, where: str, allowed: tuple[_Name, ...]) -> _Name:
    value = body.get(key)
    for name in allowed:
        if value == name:
            return name
    raise _bad(f"{where}.{key}", f"is {_brief(value)}; allowed: {', '.join(allowed)}")


def _seconds(body: dict[str, Any], key: str, where: str) -> float:
    value = body.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= MAX_SECONDS:
        raise _bad(f"{where}.{key}", f"is {_brief(value)}, not a number of seconds")
    return float(value)


def _size(body: dict[str, Any], key: str, where: str) -> int | None:
    value = body.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise _bad(f"{where}.{key}", f"is {_brief(value)}, not a number of bytes")
    return value


def _value(body: dict[str, Any], key: str, where: str) -> Any:
    value = body.get(key)
    if len(repr(value)) > MAX_VALUE:
        raise _bad(f"{where}.{key}", f"is larger than {MAX_VALUE} characters")
    return value


def _moment(body: dict[str, Any], key: str, where: str) -> str:
    value = _text(body, key, where, 40)
    try:
        # Python 3.10 does not know the Z of ISO 8601.
        moment = datetime.fromisoformat(re.sub(r"Z$", "+00:00", value))
    except ValueError:
        moment = datetime.min
    if moment.utcoffset() != timedelta(0):
        raise _bad(f"{where}.{key}", f"is {_brief(value)}, not a time in UTC such as 2026-11-21T12:00:00+00:00")
    return value
