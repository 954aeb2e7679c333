"""The JSON of reports and probes, checked at the door: bounded in size and depth, without NaN, and each value of an
object of the kind that it has to be. What is out of order raises TorchpairError, which names the key."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, TypeVar

from torchpair.errors import TorchpairError

# Far above what an honest probe prints, far below what hurts a page or a terminal.
MAX_BYTES = 4 * 1024 * 1024
MAX_DEPTH = 8
MAX_NODES = 50_000
MAX_VALUE = 100_000
MAX_LOG = 200_000
MAX_INTEGER = 2**63 - 1
MAX_SECONDS = 10_000_000

_SURROGATE = re.compile("[\ud800-\udfff]")

_Name = TypeVar("_Name", bound=str)


def parse(text: str | bytes, where: str) -> object:
    """JSON from outside, bounded in size and depth, without NaN. Raises TorchpairError."""
    if len(text) > MAX_BYTES:
        raise bad(where, f"is larger than {MAX_BYTES} bytes")
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
        raise bad(where, f"there are more than {MAX_NODES} values")
    if obj is None or isinstance(obj, bool):
        return obj
    if isinstance(obj, int):
        if abs(obj) > MAX_INTEGER:
            raise bad(where, "is a number beyond 64 bits")
        return obj
    if isinstance(obj, float):
        if not math.isfinite(obj):
            raise bad(where, f"is {obj}, not a finite number")
        return obj
    if isinstance(obj, str):
        if len(obj) > MAX_LOG:
            raise bad(where, f"is text of {len(obj)} characters; at most {MAX_LOG} are read")
        # Half a character (\ud800 alone) is legal JSON and cannot be written to any file.
        return _SURROGATE.sub("\ufffd", obj)
    if depth == 0:
        raise bad(where, f"is nested more than {MAX_DEPTH} deep")
    if isinstance(obj, (list, tuple)):
        return [_copy(item, f"{where}[{index}]", depth - 1, left) for index, item in enumerate(obj)]
    if isinstance(obj, Mapping):
        if not all(isinstance(key, str) and len(key) <= 200 for key in obj):
            raise bad(where, "has a key that is not a short text")
        return {
            _SURROGATE.sub("\ufffd", key): _copy(item, f"{where}.{ascii(key)[1:-1][:40]}", depth - 1, left)
            for key, item in obj.items()
        }
    raise bad(where, f"is {brief(obj)}, which JSON does not have")


def bad(where: str, what: str) -> TorchpairError:
    return TorchpairError(what, where=where, why="this is not what a torchpair report or probe looks like")


def brief(obj: object) -> str:
    """A value for a message: short, and on one line whatever it holds."""
    shown = ascii(obj) if obj is None or isinstance(obj, (str, bool, int, float)) else f"a {type(obj).__name__}"
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


def an_object(obj: object, where: str) -> dict[str, Any]:
    if not isinstance(obj, dict):
        raise bad(where, f"is {brief(obj)}, not an object")
    return obj


def text(body: dict[str, Any], key: str, where: str, most: int) -> str:
    value = body.get(key)
    if not isinstance(value, str):
        raise bad(f"{where}.{key}", f"is {brief(value)}, not a text")
    if len(value) > most:
        raise bad(f"{where}.{key}", f"is text of {len(value)} characters; at most {most} are read")
    return value


def optional_text(body: dict[str, Any], key: str, where: str, most: int) -> str | None:
    return None if body.get(key) is None else text(body, key, where, most)


def one_of(body: dict[str, Any], key: str, where: str, allowed: tuple[_Name, ...]) -> _Name:
    value = body.get(key)
    for name in allowed:
        if value == name:
            return name
    raise bad(f"{where}.{key}", f"is {brief(value)}; allowed: {', '.join(allowed)}")


def seconds(body: dict[str, Any], key: str, where: str) -> float:
    value = body.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= MAX_SECONDS:
        raise bad(f"{where}.{key}", f"is {brief(value)}, not a number of seconds")
    return float(value)


def size(body: dict[str, Any], key: str, where: str) -> int | None:
    value = body.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise bad(f"{where}.{key}", f"is {brief(value)}, not a number of bytes")
    return value


def value(body: dict[str, Any], key: str, where: str) -> Any:
    value = body.get(key)
    if len(repr(value)) > MAX_VALUE:
        raise bad(f"{where}.{key}", f"is larger than {MAX_VALUE} characters")
    return value


def moment(body: dict[str, Any], key: str, where: str) -> str:
    value = text(body, key, where, 40)
    try:
        # Python 3.10 does not know the Z of ISO 8601.
        moment = datetime.fromisoformat(re.sub(r"Z$", "+00:00", value))
    except ValueError:
        moment = datetime.min
    if moment.utcoffset() != timedelta(0):
        raise bad(f"{where}.{key}", f"is {brief(value)}, not a time in UTC such as 2026-11-21T12:00:00+00:00")
    return value
