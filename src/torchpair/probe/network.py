"""Whether anything here reached for a network, or could."""

from __future__ import annotations

import socket
import sys
from typing import Any, List, Optional


class Watch:
    """Notes every attempt of this process to reach a network, from when it is made: an audit hook of Python.

    Sockets of the Unix family, which workers use, are no network.
    """

    def __init__(self) -> None:
        self.attempts: List[str] = []
        sys.addaudithook(self._see)

    def _see(self, event: str, arguments: Any) -> None:
        if event == "socket.connect" and arguments[0].family in (socket.AF_INET, socket.AF_INET6):
            self.attempts.append("connect {}".format(arguments[1]))
        elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
            self.attempts.append("look up {}".format(arguments[0]))


def has_network() -> Optional[bool]:
    """Whether there is any interface but the loopback; None where that cannot be told."""
    try:
        return any(name != "lo" for _, name in socket.if_nameindex())
    except OSError:
        return None
