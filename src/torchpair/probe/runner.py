"""Runs checks one after another and writes down what each one said, whatever it did."""

from __future__ import annotations

import math
import sys
import time
from typing import Any, Dict, Iterable, List, Sequence

from . import SCHEMA, __version__
from .context import Context
from .environment import describe
from .registry import Check, Skip, harmless, told

TEXT_LIMIT = 2000  # characters of any one string: an exception's message can be megabytes
LIST_LIMIT = 2000  # entries of any one list or object: more than any image has distributions

EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_INCONCLUSIVE = 0, 1, 2, 3


def bounded(text: str) -> str:
    """One line of at most TEXT_LIMIT characters, cut in the middle: a long message has its cause at one of its ends.

    Lone surrogates, which no UTF-8 can carry, become question marks.
    """
    text = " ".join(text.encode("utf-8", "replace").decode("utf-8").split())
    if len(text) <= TEXT_LIMIT:
        return text
    half = TEXT_LIMIT // 2 - 3
    return "{} ... {}".format(text[:half], text[-half:])


def clean(value: Any) -> Any:
    """A value that JSON can carry: bounded, and with NaN and infinity as words."""
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, dict):
        return {bounded(str(key)): clean(item) for key, item in list(value.items())[:LIST_LIMIT]}
    if isinstance(value, (list, tuple)):
        return [clean(item) for item in list(value)[:LIST_LIMIT]]
    return bounded(str(value))


def announce(what: str) -> None:
    """Name what runs next on stderr: after a crash the last such line is all that the host has."""
    sys.stderr.write("torchpair-probe: running {}\n".format(what))
    sys.stderr.flush()


def run_check(check: Check, context: Context) -> Dict[str, Any]:
    """Run one check. Whatever it raises is an answer: Skip a skip, anything else a fail."""
    entry: Dict[str, Any] = {"id": check.id, "purpose": check.purpose, "status": "fail", "measured": None}
    entry.update({"limit": clean(check.limit), "unit": check.unit, "seconds": 0.0, "reason": ""})
    started = time.perf_counter()
    try:
        if check.imports:
            context.ready()
        if check.gpu:
            context.device()
        outcome = check.run(context)
        # Only a true True passes: a tensor or a None from a careless check is a fail.
        entry["status"] = "pass" if outcome.passed is True else "fail"
        entry["measured"] = clean(outcome.measured)
        entry["reason"] = bounded(outcome.reason)
        if outcome.spectrograms:
            entry["spectrograms"] = clean(outcome.spectrograms)
        if entry["status"] == "fail" and not entry["reason"]:
            entry["reason"] = "measured is not what the limit asks for"
    except Skip as skip:
        entry.update({"status": "skip", "needs": skip.needs, "reason": bounded(skip.reason)})
    except (Exception, SystemExit) as error:
        entry["reason"] = bounded(told(error))
    entry["seconds"] = round(time.perf_counter() - started, 4)
    return entry


def begin(checks: Iterable[Check], context: Context) -> None:
    """Start what some checks want to run beside the others; the check itself tells what came of it."""
    for check in checks:
        if check.begin:
            announce(check.id + " (beginning)")
            check.begin(context)


def run(checks: Sequence[Check], context: Context) -> Dict[str, Any]:
    """Run checks in order and return the whole document."""
    started = time.perf_counter()
    entries: List[Dict[str, Any]] = []
    waiting = [check for check in checks if check.begin]
    context.imports = any(check.imports or check.id == "pair.import" for check in checks)
    for check in checks:
        announce(check.id)
        entries.append(run_check(check, context))
        if waiting and context.imported:
            begin(waiting, context)
            waiting = []
    announce("environment")
    environment = clean(describe(context))
    return {
        "schema": SCHEMA,
        "probe": __version__,
        "seconds": round(time.perf_counter() - started, 3),
        "gpu": context.gpu,
        "environment": environment,
        "checks": entries,
    }


def exit_code(document: Dict[str, Any]) -> int:
    """1 when anything failed; 3 when something could not be tried, or nothing was; else 0."""
    entries = document["checks"]
    if any(entry["status"] == "fail" for entry in entries):
        return EXIT_FAILED
    open_ = [e for e in entries if e["status"] == "skip" and not harmless(e.get("needs"), document["gpu"])]
    if open_ or not any(entry["status"] == "pass" for entry in entries):
        return EXIT_INCONCLUSIVE
    return EXIT_OK
