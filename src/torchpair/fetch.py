"""Files over HTTP: fetched in parts, tried again where that may help, compared, and then whole in their place.

What may pass by itself (a broken connection, no answer in time, 408, 429, 5xx) is tried again after longer and longer
waits and goes on where it stopped; what is refused (any other 4xx), and a file that is another one, is not.
"""

from __future__ import annotations

import hashlib
import ssl
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any

from torchpair.errors import EXIT_BUILD_FAILED, TorchpairError, visible

TRIES = 5
WAITS = (1.0, 3.0)  # seconds between attempts at a small answer
SECONDS = 60.0  # to connect, and between two bytes
CHUNK = 1 << 18
USER_AGENT = "torchpair"


class FetchError(TorchpairError):
    """A file that cannot be had, or is not the one that was meant."""

    exit_code = EXIT_BUILD_FAILED


class Watcher:
    """Takes the bytes of several downloads; called from several threads. This one is silent."""

    def begin(self, path: str, total: int | None, done: int) -> None:
        """A download begins, or goes on after `done` bytes."""

    def more(self, path: str, count: int) -> None:
        """So many bytes came."""

    def end(self, path: str, words: str) -> None:
        """A download is through."""

    def say(self, line: str) -> None:
        """One line for the reader."""


SILENT = Watcher()


def bring(
    url: str,
    target: Path,
    *,
    size: int | None = None,
    sha256: str | None = None,
    name: str | None = None,
    watch: Watcher = SILENT,
    stop: threading.Event | None = None,
    pause: Callable[[float], None] | None = None,
    headers: Mapping[str, str] | None = None,
    context: ssl.SSLContext | None = None,
) -> tuple[int, str]:
    """Fetch a file into its place; its size and sha256. Raises FetchError, OSError where it cannot be written.

    size, sha256: what it must be, where known. name: what the watcher is told. A part that is there (`.part`) is gone
    on with, and stays there for the next call when this one fails.
    """
    part = target.with_name(target.name + ".part")
    target.parent.mkdir(parents=True, exist_ok=True)
    for number in range(TRIES):
        if stop and stop.is_set():
            raise FetchError("stopped")
        try:
            _get(url, part, size, name or target.name, watch, stop, dict(headers or {}), context)
            break
        except (urllib.error.URLError, HTTPException, OSError) as error:
            if number + 1 == TRIES or not transient(error):
                code, why = getattr(error, "code", 0), visible(str(getattr(error, "reason", None) or error))
                raise FetchError(f"{host(url)}: {f'{code} ' if code else ''}{why}") from error
            (pause or time.sleep)(min(2.0**number, 20.0))
    found, there = digest(part), part.stat().st_size
    if sha256 and found != sha256:
        part.unlink()  # another file, or one that changed while it was fetched in parts: to go on with it is in vain
        raise FetchError(f"{host(url)} has another file: sha256 {found[:12]}, wanted {sha256[:12]}")
    part.rename(target)
    return there, found


def _get(
    url: str,
    part: Path,
    size: int | None,
    name: str,
    watch: Watcher,
    stop: threading.Event | None,
    headers: dict[str, str],
    context: ssl.SSLContext | None,
) -> None:
    """Bytes into `part`, after those that it has. Raises OSError when it ends too early."""
    done = part.stat().st_size if part.is_file() else 0
    if size is not None and done > size:
        part.unlink()
        done = 0
    if size is not None and done == size:
        return
    headers = {"User-Agent": USER_AGENT, **headers, **({"Range": f"bytes={done}-"} if done else {})}
    try:
        answer = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=SECONDS, context=context)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # the part is longer than the file now is
            part.unlink(missing_ok=True)
        raise
    with answer:
        whole = answer.status != 206 or _range_start(answer) != done
        if whole:
            done = 0  # this server does not go on: from the beginning
        length = answer.headers.get("Content-Length")
        total = size if size is not None else (done + int(length) if length else None)
        watch.begin(name, total, done)
        with part.open("wb" if whole else "ab") as out:
            while chunk := answer.read(CHUNK):
                if stop and stop.is_set():
                    raise FetchError("stopped")
                out.write(chunk)
                watch.more(name, len(chunk))
                done += len(chunk)
    if total is not None and done < total:
        raise OSError(f"the connection ended after {done} of {total} bytes")
    if total is not None and done > total:
        part.unlink()
        raise OSError(f"it is {done} bytes long, and not {total}")


def transient(error: Exception) -> bool:
    """Whether what went wrong with a request may pass by itself. 416: a part is too long, and was removed."""
    code = getattr(error, "code", 0)
    return not 400 <= code < 500 or code in (408, 416, 429)


def opened(request: urllib.request.Request | str, timeout: float) -> Any:
    """urlopen for small answers, which are not gone on with; tried again in the same way. Raises what urlopen does."""
    for wait in WAITS:
        try:
            return urllib.request.urlopen(request, timeout=timeout)
        except (urllib.error.URLError, HTTPException, OSError) as error:
            if not transient(error):
                raise
            time.sleep(wait)
    return urllib.request.urlopen(request, timeout=timeout)


def _range_start(answer: Any) -> int:
    """The first byte of a partial answer: "bytes 100-199/200"; -1 when it does not say."""
    text = str(answer.headers.get("Content-Range") or "")
    start = text.removeprefix("bytes ").split("-")[0]
    return int(start) if start.isdigit() else -1


def digest(file: Path) -> str:
    """The sha256 of a file, 64 hexadecimal digits."""
    found = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            found.update(chunk)
    return found.hexdigest()


def host(url: str) -> str:
    """The host of an address, without a login."""
    return urllib.parse.urlsplit(url).netloc.rpartition("@")[2] or url
