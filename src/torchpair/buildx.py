"""One call of `docker buildx build`, followed to its end: its steps with their times, its log, why it failed."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from torchpair.command import mortal
from torchpair.engine import Engine
from torchpair.progress import Progress

TAIL = 24


def call(
    engine: Engine,
    argv: Sequence[str],
    log: Path,
    steps: Steps,
    folder: Path | None = None,
    running: list[subprocess.Popen[str]] | None = None,
    secrets: Mapping[str, str] | None = None,
) -> int:
    """Call `buildx build` in a folder and follow it to its end; its exit code.

    running: has the process while it runs. secrets: text by id, "" for none: by the environment, since a file would
    outlive a kill -9, and arguments are for everyone to see.
    """
    told = {name: text for name, text in (secrets or {}).items() if text}
    more = [word for name in told for word in ("--secret", f"id={name},env=TORCHPAIR_{name.upper()}")]
    environment = {**engine.env(), **{f"TORCHPAIR_{name.upper()}": text for name, text in told.items()}}
    # By lines: who follows the log of a compile sees it as it goes, and who ends it finds what was done.
    with log.open("w", encoding="utf-8", buffering=1) as out:
        process = subprocess.Popen(
            [*mortal(), *argv[:-1], *more, argv[-1]], cwd=folder, env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace",
        )  # fmt: skip
        processes = running if running is not None else []
        processes.append(process)
        assert process.stderr is not None
        try:
            steps.follow(process.stderr, out)
            code = process.wait()
        except BaseException:
            process.terminate()
            raise
        processes.remove(process)
    return code


@dataclass
class Steps:
    """Follows what buildx prints with --progress rawjson: vertices (steps) with their times, logs and errors."""

    row: str
    progress: Progress
    names: dict[str, str] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)
    tails: dict[str, list[str]] = field(default_factory=dict)
    stages: dict[str, float] = field(default_factory=dict)
    failed: tuple[str, str] | None = None  # digest and error of the first step that failed
    failure: str | None = None
    compiled: bool = False  # a compile ran, and did not come from the cache
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def follow(self, stream: IO[str], out: IO[str]) -> None:
        """Read to the end; everything is also written to the log as plain text."""
        words: list[str] = []  # of buildx itself, outside its JSON: a bake file it does not like, no such engine
        for item in _documents(stream):
            if isinstance(item, str):
                out.write(item)
                words = [*words, item.strip()][-TAIL:]
                continue
            for vertex in item.get("vertexes") or ():
                self._vertex(vertex, out)
            for entry in item.get("logs") or ():
                self._log(entry, out)
        if self.failed:
            # Only now: a step's last words may come together with its error.
            digest, error = self.failed
            self.failure = _cause(self.names[digest], error, self.tails.get(digest, []))
        elif words:
            self.failure = "\n    ".join(word for word in words if word)

    def _vertex(self, vertex: dict[str, Any], out: IO[str]) -> None:
        digest, name = str(vertex.get("digest")), str(vertex.get("name", ""))
        if digest not in self.names:
            self.names[digest] = name
            out.write(f"--- {name}\n")
        if vertex.get("error") and "context canceled" not in str(vertex["error"]) and self.failed is None:
            self.failed = digest, str(vertex["error"])
            out.write(f"!!! {name}: {vertex['error']}\n")
        if vertex.get("completed") and digest not in self.done:
            self.done.add(digest)
            seconds = _seconds(vertex)
            stage = _stage(name)
            if stage and not vertex.get("cached"):
                self.stages[stage] = self.stages.get(stage, 0.0) + seconds
                self.progress.stage(self.row, _short(name), seconds)
            out.write(f"=== {name}: {'cached' if vertex.get('cached') else f'{seconds:.1f} s'}\n")
        self.progress.step(self.row, _short(name), len(self.done), len(self.names))

    def _log(self, entry: dict[str, Any], out: IO[str]) -> None:
        try:
            text = base64.b64decode(entry.get("data") or "").decode("utf-8", "replace")
        except ValueError:
            return
        out.write(text)
        for line in text.splitlines():
            kind, _, rest = line.partition("] ")
            if kind == "[objects":
                self.compiled = True
                self.progress.compiling(self.row, rest)
            elif kind in ("[compiled", "[configured"):
                self.progress.say(f"{self.row}: {rest}")
        tail = self.tails.setdefault(str(entry.get("vertex")), [])
        tail += [line for line in text.splitlines() if line.strip()]
        del tail[:-TAIL]


def _documents(stream: IO[str]) -> Iterator[dict[str, Any] | str]:
    """The JSON objects of a stream, and every other line as it is.

    buildx up to 0.13 spreads an object over lines, from "{" to "}"; later ones write one object a line.
    """
    pending: list[str] = []
    for line in stream:
        if pending or line.rstrip() == "{":
            pending.append(line)
            if line.rstrip() != "}":
                continue
            line, pending = "".join(pending), []
        try:
            document = json.loads(line)
        except ValueError:
            document = None
        yield document if isinstance(document, dict) else line
    yield from pending


def _stage(name: str) -> str | None:
    match = re.match(r"\[(?:[^\]]*? )?([a-z-]+) +\d+/\d+\]", name)
    return match[1] if match else ("export" if name.startswith("exporting") else None)


def _short(name: str) -> str:
    """A step's name for one line: its stage, and the command without mounts and quotes."""
    match = re.match(r"\[(?:[^\]]*? )?([a-z-]+) +\d+/\d+\] (.*)", name, re.DOTALL)
    if not match:
        return name.splitlines()[0][:100] if name else ""
    command = re.sub(r"--mount=\S+\s*", "", match[2])
    words = " ".join(re.sub(r"[\\\s]+", " ", command).split())
    return f"{match[1]}: {words[:80]}"


def _cause(name: str, error: str, tail: list[str]) -> str:
    """Why a step failed: its stage, its exit code, and its own last words from the first error among them on."""
    code = re.search(r"exit code: (\d+)", error)
    start = next((i for i, line in enumerate(tail) if re.match(r"\s*(error\b|fatal\b|E:)", line, re.IGNORECASE)), -4)
    if code and code[1] == "137" and not tail[start:]:
        tail, start = ["error: out of memory: the whole step was killed", "  try: --max-jobs 1"], 0
    head = f"{_stage(name) or _short(name)}: " + (f"exit code {code[1]}" if code else error)
    return "\n    ".join([head, *tail[start:]])


def _seconds(vertex: dict[str, Any]) -> float:
    def moment(text: str) -> datetime:
        # RFC 3339 with up to nine digits; datetime of Python 3.10 reads three or six.
        return datetime.fromisoformat(
            re.sub(r"(\.\d{1,6})\d*", lambda m: m[1].ljust(7, "0"), text).replace("Z", "+00:00")
        )

    try:
        return max(0.0, (moment(vertex["completed"]) - moment(vertex["started"])).total_seconds())
    except (KeyError, ValueError, TypeError):
        return 0.0
