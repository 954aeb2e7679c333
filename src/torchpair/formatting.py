"""Values for a reader: plain text, numbers, sizes.

Whatever an image printed is text from a stranger: it goes through `plain` before it reaches a terminal or a
file, and through each format's own escaping after that.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from torchpair.errors import visible

ABSENT = "\N{EN DASH}"
LOG_SHOWN = 8_000
NOTE_SHOWN = 1_000

_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#|~!&@])")


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
