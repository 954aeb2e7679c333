"""One at a time: lock files, and who is still there."""

from __future__ import annotations

import fcntl
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

Say = Callable[[str], None]


@contextmanager
def locked(path: Path, say: Say) -> Iterator[None]:
    """Hold a lock file, waiting for whoever has it and saying who that is.

    The kernel lets go of a lock when its holder ends, however that is: what a dead one wrote there holds nobody.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8", errors="replace") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = "".join(char for char in file.read(200) if char.isprintable()) or "another torchpair"
            say(f"Waiting for {holder}, which holds {path}.")
            fcntl.flock(file, fcntl.LOCK_EX)
        since = datetime.now(timezone.utc).isoformat(timespec="seconds")
        file.truncate(0)
        file.write(f"process {os.getpid()} (torchpair {' '.join(sys.argv[1:])[:100]}) since {since}\n")
        file.flush()
        yield


def me() -> str:
    """This process, by a name that no other has: host, number, and when it began (numbers are given again)."""
    return f"{socket.gethostname()}/{os.getpid()}/{_began(os.getpid())}"


def gone(name: str) -> bool:
    """Whether a process of this host has ended, by its name. False for another host's, of which nothing is known."""
    host, _, rest = name.partition("/")
    number, _, began = rest.partition("/")
    if host != socket.gethostname() or not number.isascii() or not number.isdigit():
        return False
    return _began(int(number)) != began


def _began(number: int) -> str:
    """When a process began, in ticks since the machine did; "" for none. Without /proc: whether it is there."""
    try:
        stat = Path(f"/proc/{number}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        if Path("/proc/self").exists():
            return ""
        try:
            os.kill(number, 0)
        except ProcessLookupError:
            return ""
        except OSError:
            pass
        return "running"
    fields = stat.rpartition(")")[2].split()  # a command's name may hold spaces and brackets
    return "" if fields[0] == "Z" else fields[19]
