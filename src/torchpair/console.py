"""The one console that commands print tables to."""

from __future__ import annotations

import sys

from rich.console import Console


def console() -> Console:
    """A console as wide as the terminal; in a pipe wide enough that no table is folded: a program reads it."""
    return Console() if sys.stdout.isatty() else Console(width=160)
