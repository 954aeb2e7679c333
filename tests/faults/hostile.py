"""Generated matrices, probe outputs and catalogs: read or refused with words, and never more than shown."""

from __future__ import annotations

import io
import json
import random
import re
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from torchpair import catalog as catalogs
from torchpair import check, choose, diagnose, matrix, present, render, shelf
from torchpair import facts as facts_data
from torchpair import lock as locks
from torchpair.catalog import Catalog
from torchpair.errors import TorchpairError, visible
from torchpair.page import html
from torchpair.probe.select import PROFILES
from torchpair.report import Report
from torchpair.resolve import resolve
from torchpair.search import Wish

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "unit"))  # where pytest finds these too: the folder is no package
import published  # noqa: E402
from test_render import parse  # noqa: E402

COUNT = 2000
FACTS = facts_data.load()
# Each holds PWNED, which no good value does.
TEXTS = [
    "'; PWNED '", 'x"; RUN PWNED #', "x\nRUN PWNED\n", "x\\\nPWNED", "$(PWNED)", "`PWNED`", "${PWNED}",
    "LOCK\nRUN PWNED\n",
    "{{ PWNED }}", "{% PWNED %}", "<script>PWNED</script>", "</script><img src=x onerror=PWNED>",
    "\x1b[2J\x1b]0;PWNED\x07",
    "\u202ePWNED\u2066", "../../PWNED", "/etc/PWNED", "-PWNED", "--upload-pack=PWNED", "PWNED" * 2000, "PWNED\x00",
    "PWNED\r\nRUN x", "| PWNED > x", "%PWNED%n", "javascript:PWNED()", "[PWNED](http://x)", "&PWNED;", "PWNED`x`|y",
    "git+https://x.example/PWNED.git@v1", "https://x.example/PWNED.tar.gz#sha256=" + "0" * 64, "x PWNED",
]  # fmt: skip
OTHERS: list[Any] = [
    None, True, False, 0, -1, 10**30, 1e308, float("nan"), float("inf"), "", [], {}, [[]], {"a": {}}, [None], "0",
    "1.0",
]  # fmt: skip
ROW: dict[str, Any] = {
    "torch": "2.8.0", "cuda": "12.8", "python": "3.11", "torchaudio": "2.8.0", "distro": "debian12", "base": "local",
    "index": "pypi", "sm": ["8.0", "9.0"], "name": "a-row", "arch": "x86_64", "default": True, "force": False,
}  # fmt: skip
# Of a terminal's: controls but tab and newline, and what changes the direction of text.
MOVES = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
WORDS = {"ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "FROM", "LABEL", "RUN", "SHELL", "USER", "WORKDIR"}


def mutated(value: Any, dice: random.Random, depth: int = 0) -> Any:
    """A copy with something else somewhere in it."""
    if isinstance(value, dict) and value and (depth == 0 or dice.random() < 0.8):
        made = dict(value)
        key = dice.choice(sorted(made))
        what = dice.random()
        if what < 0.1:
            del made[key]
        elif what < 0.2:
            made[dice.choice(TEXTS)] = made[key]
        else:
            made[key] = mutated(made[key], dice, depth + 1)
        return made
    if isinstance(value, list) and value and dice.random() < 0.8:
        made_list = list(value)
        place = dice.randrange(len(made_list))
        made_list[place] = mutated(made_list[place], dice, depth + 1)
        return made_list * (dice.choice([1, 1, 1, 2, 50]))
    if depth and dice.random() < 0.25:
        return value  # so that some are read, and shown
    if dice.random() < 0.15:
        deep: Any = dice.choice(TEXTS)
        for _ in range(dice.choice([2, 30])):
            deep = [deep] if dice.random() < 0.5 else {dice.choice(TEXTS)[:50]: deep}
        return deep
    return dice.choice(TEXTS) if dice.random() < 0.7 else dice.choice(OTHERS)


def a_matrix(dice: random.Random, tools: locks.Lock) -> str:
    """One hostile matrix; what became of it."""
    row: Any = {key: ROW[key] for key in ROW if key in ("torch", "cuda", "python") or dice.random() < 0.3}
    if dice.random() < 0.3:
        row["torchaudio"] = {"from": "source", "ref": "v2.8.0", "source": "git+https://x.example/a.git@v2.8.0"}
    for _ in range(dice.choice([1, 1, 1, 2, 3])):
        row = mutated(row, dice)
    text = yaml.safe_dump({"images": [row]}, allow_unicode=dice.random() < 0.5)
    if dice.random() < 0.1:
        place = dice.randrange(len(text))
        text = text[:place] + dice.choice(TEXTS) + text[place:]
    try:
        (spec, *_) = [resolve(one, FACTS, dice.choice(("nvidia", "local"))) for one in matrix.parse(text)]
    except TorchpairError as error:
        shown(str(error))
        return "refused"
    extras = dict.fromkeys(locks.extras(spec), tools)
    written = render.dockerfile(spec, None, tools, extras)
    clean = replace(spec, image="debian:12", tag="a-tag")
    assert (words := {line.word for line in parse(written)}) <= WORDS, (words - WORDS, text)
    plain = parse(render.dockerfile(clean, None, tools, extras))
    assert [line.word for line in parse(written)] == [line.word for line in plain]
    # What a source is called stands in heredocs only, of which no shell makes anything.
    assert not any("PWNED" in line.rest for line in parse(written)), text
    return "rendered"


def shown(text: str) -> None:
    """What reaches a terminal moves nothing in it."""
    assert not MOVES.search("".join(map(visible, text.split("\n"))))


def a_probe_output(dice: random.Random, good: dict[str, Any], report: Report) -> str:
    body: Any = good
    for _ in range(dice.choice([1, 1, 2, 4])):
        body = mutated(body, dice)
    answer = check.Answer()
    answer.stdout = json.dumps(body)
    answer.code = dice.choice([0, 0, 0, 1, 3])
    answer.stderr = dice.choice(["", *TEXTS])
    if dice.random() < 0.2:
        answer.stdout = answer.stdout[: dice.randrange(len(answer.stdout))] + dice.choice(["", *TEXTS])
    environment, checks = check.judge(answer, PROFILES["core"])
    told = replace(report, environment=environment, checks=checks, log=answer.stderr)
    for cause in diagnose.causes(told, None):
        shown(str(cause))
    screen = io.StringIO()
    console = Console(file=screen, width=160, force_terminal=False)
    console.print(present.checks_table(told))
    console.print(present.table([present.outcome(told, None)]))
    assert not MOVES.search(screen.getvalue())
    for page in (html([told], "now"), present.markdown([told]), present.junit([told])):
        harmless(page)
    assert told.verdict != "healthy" or all(one.status in ("pass", "skip") for one in checks)
    return told.verdict


def a_catalog(dice: random.Random, good: dict[str, Any]) -> str:
    body: Any = good
    for _ in range(dice.choice([1, 1, 2])):
        body = mutated(body, dice)
    text = json.dumps(body)
    if dice.random() < 0.1:
        text = text[: dice.randrange(len(text))] + dice.choice(TEXTS)
    try:
        found = catalogs.parse(text)
    except TorchpairError as error:
        shown(str(error))
        return "refused"
    harmless(shelf.html(found, FACTS))
    for there in (
        choose.Machine((), None, "x86_64", "x"),
        choose.Machine((choose.Card("T4", "7.5"),), "535", "x86_64", "x"),
    ):
        answer = choose.choose(found, there, Wish(), FACTS)
        for choice in answer.fitting:
            assert re.fullmatch(r"[a-z0-9.:/_-]+@sha256:[0-9a-f]{64}", choose.reference(found, choice.image))
    return "read"


def harmless(page: str) -> None:
    """No tag, attribute or control character out of somebody else's text."""
    # In Markdown a backslash makes text of a bracket.
    found = re.search(r"(?<!\\)<(script>PWNED|img src=x)|href=.?javascript:", page) or MOVES.search(page)
    assert not found, page[max(0, found.start() - 200) : found.end() + 200]


def run(engine: object = None, count: int = COUNT, seed: int | None = None) -> bool:
    """All three kinds, `count` of each. A failure is raised, with the seed printed before."""
    seed = random.randrange(10**6) if seed is None else seed
    tools = locks.read_tools(ROOT / "locks")
    spec = published.spec()
    report = published.report(spec, "sha256:" + "0" * 64)
    probe = {"schema": "torchpair.probe/1", "environment": report.environment, "checks": report.to_json()["checks"]}
    images = (published.entry(), published.entry("2.5.1"))
    catalog = Catalog("127.0.0.1:5000/torchpair", "2026-11-21T13:00:00+00:00", images).to_json()
    kinds: dict[str, Callable[[random.Random], str]] = {
        "matrices": lambda dice: a_matrix(dice, tools),
        "probe outputs": lambda dice: a_probe_output(dice, probe, report),
        "catalogs": lambda dice: a_catalog(dice, catalog),
    }
    print(f"hostile input, seed {seed}", flush=True)
    for name, one in kinds.items():
        dice = random.Random(seed)
        became = Counter(one(dice) for _ in range(count))
        print(f"{count} {name}: " + ", ".join(f"{number} {what}" for what, number in became.most_common()), flush=True)
    return True
