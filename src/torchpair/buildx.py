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
# Seconds before a build that failed for what passes is tried again. uv, pip and apt have tried a few times by then, and
# what is done is in BuildKit's cache. Together longer than apt takes for the packages of a base.
WAITS = (5.0, 20.0, 60.0)
# What uv, pip, apt and BuildKit say of a network that fails and may be back. What they say otherwise is final.
_PASSING = re.compile(
    r"Request failed after \d+ retries|error sending request|error decoding response body|operation timed out"
    r"|connection closed|end of file before message|connection reset|Connection broken|ConnectionResetError"
    r"|json\.decoder\.JSONDecodeError"  # what pip makes of an index's page that was cut short
    r"|RemoteDisconnected|IncompleteRead|incomplete-download|Read timed out|ReadTimeout|Max retries exceeded"
    r"|Temporary failure|Connection timed out|Connection failed|Could not connect|TLS handshake timeout|i/o timeout"
    r"|(server error|HTTP error|Failed to fetch \S+|unexpected status[^\n]*:) +\(?(429|50[0234])\b"
    r"|\b(429 Client|50[0234] Server) Error",
    re.IGNORECASE,
)
# The steps of an engine that was killed go on, and apt among them keeps its lock in the cache that the next build uses
# too; the engine that was started after it knows nothing of them (26.1, seen 2026-11-28).
_LOCKED = re.compile(r"E: Could not get lock /var/|E: Unable to lock directory /var/")
# The errors of BuildKit's own that are about a download.
_DOWNLOAD = re.compile("failed to (do request|copy|fetch|authorize)|unexpected status")
# What no second try changes, whatever else is said beside it.
_LASTING = re.compile(r"hash(es)? (sum )?mismatch|DO NOT MATCH THE HASHES|No space left", re.IGNORECASE)


class Running:
    """The processes of buildx that a call has running, to be ended together; nothing is tried again after that."""

    def __init__(self) -> None:
        self.processes: list[subprocess.Popen[str]] = []
        self.ended = threading.Event()

    def end(self) -> None:
        self.ended.set()
        for process in list(self.processes):
            process.terminate()


def call(
    engine: Engine,
    argv: Sequence[str],
    log: Path,
    steps: Steps,
    folder: Path | None = None,
    running: Running | None = None,
    secrets: Mapping[str, str] | None = None,
) -> int:
    """Call `buildx build` in a folder and follow it to its end; its exit code. Tried again where it failed for what
    passes: a network, a lock.

    running: has the process while it runs. secrets: text by id, "" for none: by the environment, since a file would
    outlive a kill -9, and arguments are for everyone to see.
    """
    told = {name: text for name, text in (secrets or {}).items() if text}
    more = [word for name in told for word in ("--secret", f"id={name},env=TORCHPAIR_{name.upper()}")]
    environment = {**engine.env(), **{f"TORCHPAIR_{name.upper()}": text for name, text in told.items()}}
    argv = [*mortal(), *argv[:-1], *more, argv[-1]]
    running = running or Running()
    # By lines: who follows the log of a compile sees it as it goes, and who ends it finds what was done.
    with log.open("w", encoding="utf-8", buffering=1) as out:
        for number, wait in enumerate((*WAITS, None), 2):
            code = _once(argv, out, steps, folder, running, environment)
            if not code or wait is None or not steps.passing:
                break
            said = f"{steps.passing}; trying again in {wait:.0f} s ({number} of {len(WAITS) + 1})"
            steps.progress.say(f"{steps.row}: {said}")
            out.write(f"!!! {said}\n")
            if running.ended.wait(wait):
                break
            steps.restart()
    return code


def _once(
    argv: Sequence[str],
    out: IO[str],
    steps: Steps,
    folder: Path | None,
    running: Running,
    environment: Mapping[str, str],
) -> int:
    process = subprocess.Popen(
        argv, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True, errors="replace",
    )  # fmt: skip
    running.processes.append(process)
    assert process.stderr is not None
    try:
        steps.follow(process.stderr, out)
        code = process.wait()
    except BaseException:
        process.terminate()
        raise
    running.processes.remove(process)
    return code


@dataclass
class Steps:
    """Follows what buildx prints with --progress rawjson: vertices (steps) with their times, logs and errors."""

    row: str
    progress: Progress
    names: dict[str, str] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)
    tails: dict[str, str] = field(default_factory=dict)  # a step's last words, by its digest
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
            self.failure = _cause(self.names[digest], error, self._tail(digest))
        elif words:
            self.failure = "\n    ".join(word for word in words if word)

    @property
    def passing(self) -> str | None:
        """Why a step failed, where that may be gone when it is tried again: by its last words, or BuildKit's."""
        if not self.failed:
            return None
        digest, error = self.failed
        own = "exit code" in error
        text = "\n".join(self._tail(digest)) if own else error
        if _LASTING.search(text):
            return None
        if own and _LOCKED.search(text):
            return "apt's lock is held, by a step that outlived its engine or another build"
        return "the network failed" if (own or _DOWNLOAD.search(error)) and _PASSING.search(text) else None

    def restart(self) -> None:
        """Follow another try of the same build."""
        self.failed = self.failure = None
        for known in (self.names, self.done, self.tails):
            known.clear()

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
        # Put together before it is cut into lines: apt writes an error piece by piece, and each may come by itself.
        vertex = str(entry.get("vertex"))
        self.tails[vertex] = "".join((self.tails.get(vertex, "") + text).splitlines(keepends=True)[-2 * TAIL :])

    def _tail(self, vertex: str) -> list[str]:
        return [line for line in self.tails.get(vertex, "").splitlines() if line.strip()][-TAIL:]


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
