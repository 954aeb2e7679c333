"""What a person sees while images are built: a live display on a terminal, plain lines in a pipe."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress

COMPILING_EVERY = 15.0  # seconds between two plain lines about one compile


class Progress(Protocol):
    """Takes news of rows; may be called from several threads."""

    def say(self, line: str) -> None:
        """One line for the reader."""

    def step(self, row: str, doing: str, done: int, total: int) -> None:
        """A row has done so many of its steps, and is at `doing` now."""

    def stage(self, row: str, name: str, seconds: float) -> None:
        """A stage of a row has been finished after so many seconds."""

    def compiling(self, row: str, text: str) -> None:
        """A row compiles: "12/28, about 95 s left: forward.cu". Comes for every object."""

    def end(self, row: str, result: str) -> None:
        """A row is through."""


class Silent:
    """For what nobody needs to watch."""

    def say(self, line: str) -> None: ...

    def step(self, row: str, doing: str, done: int, total: int) -> None: ...

    def stage(self, row: str, name: str, seconds: float) -> None: ...

    def compiling(self, row: str, text: str) -> None: ...

    def end(self, row: str, result: str) -> None: ...


class Lines:
    """Plain lines: one per stage that took a second or more, nothing that moves."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lock = threading.Lock()
        self._told: dict[str, float] = {}

    def say(self, line: str) -> None:
        with self._lock:
            self._console.print(escape(line), highlight=False, soft_wrap=True)

    def step(self, row: str, doing: str, done: int, total: int) -> None:
        pass

    def stage(self, row: str, name: str, seconds: float) -> None:
        if seconds >= 1:
            self.say(f"{row}: {name} ({seconds:.0f} s)")

    def compiling(self, row: str, text: str) -> None:
        now = time.monotonic()
        if now - self._told.get(row, -COMPILING_EVERY) >= COMPILING_EVERY:
            self._told[row] = now
            self.say(f"{row}: objects {text}")

    def end(self, row: str, result: str) -> None:
        self.say(f"{row}: {result}")


class Live:
    """A bar per row, on a terminal."""

    def __init__(self, console: Console) -> None:
        self._bars = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[doing]}", style="dim"),
            console=console,
        )
        self._tasks: dict[str, int] = {}
        self._lock = threading.Lock()

    def _task(self, row: str) -> int:
        with self._lock:
            if row not in self._tasks:
                self._tasks[row] = self._bars.add_task(escape(row), total=None, doing="")
            return self._tasks[row]

    def say(self, line: str) -> None:
        self._bars.console.print(escape(line), highlight=False)

    def step(self, row: str, doing: str, done: int, total: int) -> None:
        self._bars.update(self._task(row), completed=done, total=total, doing=escape(doing[:60]))  # type: ignore[arg-type]

    def stage(self, row: str, name: str, seconds: float) -> None:
        pass

    def compiling(self, row: str, text: str) -> None:
        self._bars.update(self._task(row), doing=escape(f"objects {text}"[:60]))  # type: ignore[arg-type]

    def end(self, row: str, result: str) -> None:
        task = self._task(row)
        self._bars.update(task, doing=escape(result), total=1, completed=1)  # type: ignore[arg-type]
        self._bars.stop_task(task)  # type: ignore[arg-type]


@contextmanager
def show(console: Console) -> Iterator[Progress]:
    """A live display when the console is a terminal, plain lines otherwise."""
    if not console.is_terminal:
        yield Lines(console)
        return
    live = Live(console)
    with live._bars:
        yield live
