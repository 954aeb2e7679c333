"""Report + what the host knows -> causes, most likely first. A table of causes, each with its evidence. Pure.

A cause has an id, a title, an explanation in plain words, the evidence that was found and the remedy to type. A
predicate beside each says whether a report shows it. The causes stand by what they are about; the table's order is the
answer's: what explains most first. Each predicate leans on those before it in its module.
"""

from __future__ import annotations

from dataclasses import dataclass

from torchpair.diagnose import companions, gpus, installation, pair
from torchpair.diagnose.evidence import Entry, Host, Seen
from torchpair.report import Report


@dataclass(frozen=True)
class Cause:
    """One reason why torch and torchaudio do not work. evidence: what shows it; remedy: lines to type or to do."""

    id: str
    title: str
    explanation: str
    evidence: tuple[str, ...]
    remedy: tuple[str, ...]


CAUSES: dict[str, Entry] = {**installation.CAUSES, **pair.CAUSES, **companions.CAUSES, **gpus.CAUSES}


def causes(report: Report, host: Host | None = None) -> tuple[Cause, ...]:
    """Every cause that a report shows, most likely first; () for a report that shows none."""
    seen = Seen(report, host or Host())
    found = []
    for cause_id, (title, explanation, _, predicate) in CAUSES.items():
        answer = predicate(seen)
        if answer:
            found.append(Cause(cause_id, title, explanation, tuple(answer[0]), tuple(answer[1])))
    return tuple(found)
