"""Every error a user can meet: what, where, why, and what to do next.

A `TorchpairError` reaches the terminal as a few plain lines and an exit code, never as a traceback.
"""

from __future__ import annotations

import re

# The exit codes of every command. README.md and docs/ci.md have the same table; a test compares them.
EXIT_OK = 0
EXIT_UNHEALTHY = 1
EXIT_USAGE = 2
EXIT_INCONCLUSIVE = 3
EXIT_BUILD_FAILED = 4


class TorchpairError(Exception):
    """A problem that the user can understand and act on.

    what: one sentence, what is wrong.
    where: `file:line: key` or the name of the thing concerned.
    why: the reason, as far as it is known.
    remedy: what to do next; a command to type where there is one.
    """

    exit_code = EXIT_USAGE

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        why: str | None = None,
        remedy: str | None = None,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.why = why
        self.remedy = remedy

    def __str__(self) -> str:
        head = f"{self.where}: {self.what}" if self.where else self.what
        lines = [head]
        if self.why:
            lines.append(f"  why: {self.why}")
        if self.remedy:
            lines.append(f"  try: {self.remedy}")
        return "\n".join(lines)


class MatrixError(TorchpairError):
    """matrix.yaml cannot be read as it stands."""


class ResolveError(TorchpairError):
    """A row asks for a combination that cannot work."""


class LockError(TorchpairError):
    """A row's exact versions cannot be settled, or differ from what is committed."""


class EngineError(TorchpairError):
    """No usable Docker engine, or the engine refused something."""

    exit_code = EXIT_BUILD_FAILED


class BuildError(TorchpairError):
    """An image could not be built."""

    exit_code = EXIT_BUILD_FAILED


class CommandError(TorchpairError):
    """A program that torchpair called ended with an error."""

    exit_code = EXIT_BUILD_FAILED


_ESCAPE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b.")


def visible(text: str) -> str:
    """What a terminal only shows: no escape sequences, no control or direction characters; line ends become spaces."""
    text = _ESCAPE.sub("", text)
    return "".join(c if c.isprintable() else " " if c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in text)
