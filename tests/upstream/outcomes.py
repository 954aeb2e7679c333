"""What pytest said of each test, and where environments differ. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from xml.etree import ElementTree

RESULTS = ("passed", "failed", "skipped")


@dataclass(frozen=True)
class Outcome:
    """result: one of RESULTS; an error in a fixture, or while a file is collected, is a failure.

    why: the first line of a skip's or a failure's reason.
    """

    result: str
    why: str = ""


def parse(junit: str) -> dict[str, Outcome]:
    """The outcomes in a JUnit file of pytest, by test id: `functional.autograd_cpu_test.TestAutograd::test_x`."""
    found: dict[str, Outcome] = {}
    for case in ElementTree.fromstring(junit).iter("testcase"):
        name = f"{case.get('classname', '')}::{case.get('name', '')}".removeprefix("torchaudio_unittest.")
        bad = [child for child in case if child.tag in ("failure", "error")]
        skipped = case.find("skipped")
        if bad:
            outcome = Outcome("failed", _first(bad[0]))
        elif skipped is not None:
            outcome = Outcome("skipped", _first(skipped))
        else:
            outcome = Outcome("passed")
        # A test that fails, and fails again when it is torn down, stands there twice.
        if name not in found or outcome.result == "failed":
            found[name] = outcome
    return found


def _first(element: ElementTree.Element) -> str:
    words = (element.get("message") or "").strip() or (element.text or "").strip()
    return words.splitlines()[0][:200] if words else ""


def passes(found: Mapping[str, Outcome]) -> set[str]:
    return {name for name, outcome in found.items() if outcome.result == "passed"}


def same(environments: Mapping[str, Mapping[str, Outcome]]) -> bool:
    """Whether every environment passes the same tests, and some at all."""
    sets = [passes(found) for found in environments.values()]
    return bool(sets) and bool(sets[0]) and all(one == sets[0] for one in sets)


def counts(found: Mapping[str, Outcome]) -> dict[str, int]:
    counted = Counter(outcome.result for outcome in found.values())
    return {name: counted[name] for name in RESULTS}


def differences(environments: Mapping[str, Mapping[str, Outcome]]) -> dict[str, dict[str, str]]:
    """By test id: what each environment says, for the tests of which they do not all say the same."""
    names = sorted({name for found in environments.values() for name in found})
    said = {
        name: {env: found[name].result if name in found else "not there" for env, found in environments.items()}
        for name in names
    }
    return {name: each for name, each in said.items() if len(set(each.values())) > 1}


def reasons(environments: Mapping[str, Mapping[str, Outcome]], result: str) -> dict[str, dict[str, int]]:
    """Why tests were skipped, or failed: by reason, how many in each environment; the most frequent first."""
    every = Counter(o.why for found in environments.values() for o in found.values() if o.result == result)
    return {
        why: {
            env: sum(o.result == result and o.why == why for o in found.values()) for env, found in environments.items()
        }
        for why, _ in sorted(every.items(), key=lambda item: (-item[1], item[0]))
    }
