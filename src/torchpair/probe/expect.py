"""What the image is expected to be: the JSON file behind `--expect`, read strictly."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional

from .arch import parse_capability

Versions = Mapping[str, Optional[str]]


class ExpectationError(Exception):
    """The expectation cannot be used; a bad command line, not a bad image."""


@dataclass(frozen=True)
class Expectation:
    """Every part may be missing (None): then there is nothing to compare it with.

    versions: torch, torchaudio, torchcodec, cuda, python; null means absent (for cuda: a CPU build).
    sm: GPU architectures such as "8.6" that the compiled code must serve.
    lock: distribution -> version. labels: what the image says of itself.
    compiled: of a torchaudio that was compiled for this image, its whole version, label included, and its
    architectures ("sm"; null: those of torch).
    """

    versions: Optional[Versions] = None
    sm: Optional[List[str]] = None
    lock: Optional[Versions] = None
    labels: Optional[Versions] = None
    compiled: Optional[Dict[str, Any]] = None


VERSION_KEYS = ("torch", "torchaudio", "torchcodec", "cuda", "python")


def _strings(document: Mapping[str, Any], key: str) -> Optional[Dict[str, Optional[str]]]:
    value = document.get(key)
    if value is None:
        return None
    if not isinstance(value, dict) or not all(isinstance(item, (str, type(None))) for item in value.values()):
        raise ExpectationError("{}: an object of strings is expected".format(key))
    return value


def parse(text: str) -> Expectation:
    """Read an expectation; ExpectationError says which part is wrong."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise ExpectationError("not JSON: {}".format(error)) from error
    if not isinstance(document, dict):
        raise ExpectationError("an object is expected")
    # A misspelt part would silently not be compared, which is how a false pass begins.
    unknown = sorted(set(document) - {"versions", "sm", "lock", "labels", "compiled"})
    if unknown:
        raise ExpectationError("unknown part: " + ", ".join(unknown))
    versions = _strings(document, "versions")
    unknown = sorted(set(versions or {}) - set(VERSION_KEYS))
    if unknown:
        raise ExpectationError("versions: unknown key: " + ", ".join(unknown))
    lock = _strings(document, "lock")
    if lock is not None and None in lock.values():
        raise ExpectationError("lock: a version is missing")
    sm = document.get("sm")
    if sm is not None:
        if not isinstance(sm, list) or not all(isinstance(item, str) for item in sm):
            raise ExpectationError("sm: a list of strings is expected")
        try:
            for item in sm:
                parse_capability(item)
        except ValueError as error:
            raise ExpectationError("sm: {}".format(error)) from error
    return Expectation(versions, sm, lock, _strings(document, "labels"), _compiled(document.get("compiled")))


def _compiled(value: Any) -> Optional[Dict[str, Any]]:
    if value is None:
        return None
    good = isinstance(value, dict) and set(value) == {"torchaudio", "sm"} and isinstance(value["torchaudio"], str)
    if not good or not (value["sm"] is None or isinstance(value["sm"], list)):
        raise ExpectationError("compiled: an object of torchaudio, a version, and sm, a list or null, is expected")
    try:
        for item in value["sm"] or []:
            parse_capability(item)
    except (TypeError, AttributeError, ValueError) as error:
        raise ExpectationError("compiled.sm: {}".format(error)) from error
    return dict(value)
