"""Asking a package index: its address, one bounded request, and the small files inside a wheel without the wheel."""

from __future__ import annotations

import base64
import http.client
import io
import os
import re
import struct
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit, urlunsplit

from torchpair.command import run
from torchpair.errors import TorchpairError
from torchpair.fetch import opened

MAX_PAGE = 16_000_000  # the page of torch had 365 kB in 2026; one of ten thousand wheels stays below 8 MB
MAX_MEMBER = 1_000_000
TIMEOUT_SECONDS = 20.0  # without a byte
DEADLINE_SECONDS = 60.0  # for one answer in all
TAIL_BYTES = 65_536
STEP_BYTES = 4_000_000  # of a library
ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"


class PypiError(TorchpairError):
    """PyPI cannot be reached, or answers something that cannot be used."""


class Fetch(Protocol):
    """The bytes of a URL: all of them, or a span (start, length); start < 0 counts from the end."""

    def __call__(self, url: str, span: tuple[int, int] | None = None) -> bytes: ...


def index_url() -> str:
    """The package index that uv and pip are set to here, else the one that uv has built in."""
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL"):
        value = os.environ.get(name, "").strip()
        if value:
            return re.sub(r"^[\w.-]+=(?=\w+://)", "", value).rstrip("/")  # uv allows name=URL
    from uv import find_uv_bin

    # An empty set of requirements, resolved offline: uv only tells the index it would ask.
    said = run(
        [find_uv_bin(), "pip", "compile", "-", "--emit-index-url", "--no-header", "--quiet", "--offline"],
        stdin="",
        timeout=TIMEOUT_SECONDS,
    )
    found = re.search(r"^--index-url (\S+)$", said, re.MULTILINE)
    if not found:
        raise PypiError("uv does not say which package index it uses", remedy="name one in UV_DEFAULT_INDEX")
    return found[1].rstrip("/")


def fetch(url: str, span: tuple[int, int] | None = None) -> bytes:
    """GET, bounded in time and size. Raises PypiError, in words that hold no password."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise PypiError("the index has an address that is none", why=str(error), remedy=_remedy()) from error
    where = parts.netloc.rpartition("@")[2]
    shown = urlunsplit((parts.scheme, where, parts.path, "", ""))
    if parts.scheme not in ("http", "https"):
        raise PypiError("only http and https are asked", where=shown[:200])
    request = urllib.request.Request(urlunsplit((parts.scheme, where, parts.path, parts.query, "")))
    request.add_header("Accept", ACCEPT)
    request.add_header("User-Agent", "torchpair")
    if parts.username:
        secret = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        # Unredirected: another host than the one that the user named must not learn it.
        request.add_unredirected_header("Authorization", "Basic " + base64.b64encode(secret).decode())
    limit = MAX_PAGE
    if span:
        start, limit = span
        request.add_header("Range", f"bytes={start}" if start < 0 else f"bytes={start}-{start + limit - 1}")
    try:
        with opened(request, TIMEOUT_SECONDS) as answer:
            if span and answer.status != 206:
                raise PypiError("the index does not serve parts of files", where=shown, remedy="use another mirror")
            return _body(answer, limit, shown)
    except urllib.error.HTTPError as error:
        raise PypiError(f"PyPI answers {error.code} here", where=shown, remedy=_remedy()) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        why = " ".join(str(reason).split())[:200] or type(error).__name__
        raise PypiError("PyPI cannot be reached from here", where=shown, why=why, remedy=_remedy()) from error


def _remedy() -> str:
    return "look at the network, or name a mirror: UV_DEFAULT_INDEX=https://mirror.example/simple"


def _body(answer: Any, limit: int, shown: str) -> bytes:
    """All of an answer. A server may send forever, one byte at a time: each has its own bound."""
    until = time.monotonic() + DEADLINE_SECONDS
    said = answer.headers.get("Content-Length")
    found = bytearray()
    while chunk := answer.read1(65_536):
        found += chunk
        if len(found) > limit:
            raise PypiError("the answer is too large", where=shown, why=f"more than {limit} bytes")
        if time.monotonic() > until:
            raise PypiError("the answer takes too long", where=shown, why=f"more than {DEADLINE_SECONDS:.0f} s")
    if said and said.isdigit() and len(found) != int(said):
        raise PypiError("the answer is cut short", where=shown, why=f"{len(found)} of {said} bytes", remedy="try again")
    return bytes(found)


def members(url: str, wanted: re.Pattern[str], fetch: Fetch = fetch) -> dict[str, str]:
    """The small text files in a wheel whose names match in full, by name; the rest of it is not fetched.

    Three to five requests. Raises PypiError.
    """
    with _archive(url, fetch, TAIL_BYTES) as archive:
        names = [info.filename for info in archive.infolist() if wanted.fullmatch(info.filename)]
        return {name: _opened(archive, name, MAX_MEMBER).decode("utf-8", "replace") for name in names}


def member(url: str, name: str, most: int, fetch: Fetch = fetch) -> bytes | None:
    """One file in a wheel, of at most so many bytes; None where the wheel has none of this name. Raises PypiError."""
    with _archive(url, fetch, STEP_BYTES) as archive:
        return _opened(archive, name, most) if name in archive.namelist() else None


def _opened(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    if archive.getinfo(name).file_size > most:
        raise PypiError(f"{name[:100]} is too large")
    with archive.open(name) as file:  # read() would trust the size that the archive claims
        return file.read(most + 1)


@contextmanager
def _archive(url: str, fetch: Fetch, step: int) -> Iterator[zipfile.ZipFile]:
    file = urlsplit(url).path.rpartition("/")[2]
    try:
        with zipfile.ZipFile(_Remote(url, fetch, step)) as archive:
            yield archive
    except (zipfile.BadZipFile, zlib.error, struct.error, OSError, EOFError, RuntimeError, ValueError) as error:
        raise PypiError("the wheel cannot be read", where=file, why=str(error)[:200]) from error


class _Remote(io.RawIOBase):
    """A zip archive on a server, as a file for `zipfile`: its end, its directory and what is opened, a request each.

    step: the least that is asked for of a file, in bytes.
    """

    def __init__(self, url: str, fetch: Fetch, step: int) -> None:
        self._url, self._fetch, self._step, self._at = url, fetch, step, 0
        tail = fetch(url, (-TAIL_BYTES, TAIL_BYTES))
        end = tail.rfind(b"PK\5\6")
        if end < 0 or len(tail) < end + 22:
            raise zipfile.BadZipFile("no end of a zip archive")
        size = int.from_bytes(tail[end + 12 : end + 16], "little")
        start = int.from_bytes(tail[end + 16 : end + 20], "little")
        if start == 0xFFFFFFFF or tail[max(end - 20, 0) : max(end - 16, 0)] == b"PK\6\7":
            raise zipfile.BadZipFile("an archive of 4 GB and more (zip64)")
        if size > MAX_PAGE:
            raise zipfile.BadZipFile(f"a directory of {size} bytes")
        # In a wheel the directory stands right before the end record, so that tells the length of all.
        self._length = start + size + len(tail) - end
        self._blocks = [(self._length - len(tail), tail)]
        if size > end:
            self._blocks.append((start, fetch(url, (start, size))))

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, self._length)[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        want = min(len(buffer), self._length - self._at)
        if want <= 0:
            return 0
        for start, block in self._blocks:
            if start <= self._at and self._at + want <= start + len(block):
                break
        else:
            # A member's header and its text are read one after the other: ask for both at once.
            start = self._at
            block = self._fetch(self._url, (start, min(max(want, self._step), self._length - start)))
            self._blocks.append((start, block))
        part = block[self._at - start : self._at - start + want]
        buffer[: len(part)] = part
        self._at += len(part)
        return len(part)
