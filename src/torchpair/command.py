"""Calling other programs: one way in, with the program's own last words in the error."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence

from torchpair.errors import CommandError

TAIL_LINES = 15


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
    timeout: float | None = None,
    remedy: str | None = None,
) -> str:
    """Run a program to its end and return its standard output.

    env replaces the whole environment when given; timeout is in seconds.
    Raises CommandError when the program is missing, fails, or takes too long.
    """
    shown = shlex.join(argv)
    try:
        done = subprocess.run(
            list(argv),
            env=None if env is None else dict(env),
            input=stdin,
            # Without this a child would read (and hold) the terminal of an interactive user.
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError as error:
        raise CommandError(f"{argv[0]} is not installed", why=f"needed for: {shown}", remedy=remedy) from error
    except subprocess.TimeoutExpired as error:
        raise CommandError(
            f"{argv[0]} took longer than {timeout:.0f} s", why=f"it was called as: {shown}", remedy=remedy
        ) from error
    if done.returncode != 0:
        tail = "\n    ".join((done.stderr or done.stdout).strip().splitlines()[-TAIL_LINES:])
        raise CommandError(f"{argv[0]} ended with {done.returncode}", why=f"{shown}\n    {tail}", remedy=remedy)
    return done.stdout


def found(program: str) -> bool:
    """Whether a program is on the PATH."""
    return shutil.which(program) is not None


def mortal() -> list[str]:
    """What to put before a program that shall not outlive this process, not even its kill -9; [] where that cannot be.

    The kernel's PR_SET_PDEATHSIG, by util-linux's setpriv. It counts the thread that starts the program.
    """
    return ["setpriv", "--pdeathsig", "TERM"] if sys.platform == "linux" and found("setpriv") else []
