"""An index on 127.0.0.1 that drops, stalls, truncates, swaps and fails at random; a build must not believe it.

It hands on what the machine's own index has: pages by name, files as they are, each fetched once.
"""

from __future__ import annotations

import base64
import http.server
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

import docker

from tests.docker.engines import Second
from torchpair import mirrors
from torchpair.engine import Engine
from torchpair.facts.pypi import index_url

ROOT = Path(__file__).resolve().parents[2]
NAME = "torch2.14.1-cu130-py313"
ROW = '  - {torch: "2.14.1", cuda: "13.0", python: "3.13", default: true}\n'
TAG = "torchpair:2.14.1-cu130-py313-debian13"
JSON = "application/vnd.pypi.simple.v1+json"
PASSING = ("drop", "stall", "truncate", "500")  # gone when asked again
FAULTS = (*PASSING, "swap")
PIECE = 1 << 20  # bytes
RATE, STALL, RUNS, LONGEST = 0.25, 3.0, 8, 900.0  # of requests; seconds; builds; seconds


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], OSError):  # whoever asked was killed
            super().handle_error(request, client_address)


class Index:
    """The server. rate: the share of requests that something of `faults` is done to; 0 makes it an honest one. login:
    what it asks for, "user:password"."""

    def __init__(self, folder: Path, seed: int, login: str | None = None) -> None:
        self.folder, self.seed, self.rate, self.login = folder, seed, 0.0, login
        self.dice = random.Random(seed)
        self.faults: tuple[str, ...] = FAULTS
        self.upstream = (mirrors.from_environment(mirrors.NONE).pypi or index_url()).rstrip("/")
        self.files: dict[str, str] = {}
        self.done: Counter[str] = Counter()
        self.locks: dict[str, threading.Lock] = {}
        self.lock = threading.Lock()
        index = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                index.answer(self)

            do_HEAD = do_GET  # uv asks how large a wheel is where the page does not say

            def log_message(self, *arguments: Any) -> None: ...

        self.server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def fault(self, path: str) -> str | None:
        """What goes wrong with an answer: nothing, or one of the faults; by chance, whatever is asked."""
        with self.lock:
            found = self.dice.choice(self.faults) if self.dice.random() < self.rate else None
            self.done[found or "well"] += 1
        return found

    def answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        try:
            if self.login and request.headers.get("Authorization") != f"Basic {basic(self.login)}":
                self.done["refused"] += 1
                request.send_response(401)
                request.send_header("WWW-Authenticate", 'Basic realm="index"')
                request.send_header("Content-Length", "0")
                request.end_headers()
                return
            if match := re.fullmatch(r"/simple/([a-z0-9-]+)/", request.path):
                self.send(request, self.page(match[1]), JSON, self.fault(request.path))
            elif match := re.fullmatch(r"/files/([0-9a-zA-Z._+-]+)", request.path):
                # Mapped and not read: many ask at once for half a GB each.
                with self.file(match[1]).open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as body:
                    self.send(request, body, "application/octet-stream", self.fault(request.path))
            else:
                request.send_error(404)
        except OSError:  # whoever asked has gone
            request.close_connection = True

    def send(
        self, request: http.server.BaseHTTPRequestHandler, body: bytes | mmap, kind: str, fault: str | None
    ) -> None:
        if fault in ("drop", "truncate"):
            request.close_connection = True
        if fault == "drop":
            return
        if fault == "500":
            request.send_error(500)
            return
        request.send_response(200)
        request.send_header("Content-Type", kind)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        if request.command == "HEAD":
            return
        half = len(body) // 2
        for start in (*range(0, half, PIECE), *range(half, len(body), PIECE)):
            if start == half and fault == "stall":
                time.sleep(STALL)
            if start == half and fault == "truncate":
                return
            piece = bytearray(body[start : min(start + PIECE, half if start < half else len(body))])
            if start == half and fault == "swap":
                piece[0] ^= 1
            request.wfile.write(piece)

    def page(self, name: str) -> bytes:
        """A project's files, each with this server's address."""
        request = urllib.request.Request(f"{self.upstream}/{name}/", headers={"Accept": JSON})
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read()
            where = answer.url
        body = json.loads(text)
        for file in body["files"]:
            with self.lock:
                self.files[file["filename"]] = urllib.request.urljoin(where, file["url"])
            file["url"] = f"{self.url}/files/{file['filename']}"
            for key in ("core-metadata", "data-dist-info-metadata", "dist-info-metadata"):
                file.pop(key, None)  # the wheel itself is asked then
        return json.dumps(body).encode()

    def file(self, name: str) -> Path:
        with self.lock:
            mine = self.locks.setdefault(name, threading.Lock())
        with mine:
            kept = self.folder / name
            if not kept.is_file():
                with (
                    urllib.request.urlopen(self.files[name], timeout=300) as answer,
                    (kept.with_suffix(".part")).open("wb") as out,
                ):
                    shutil.copyfileobj(answer, out)
                kept.with_suffix(".part").rename(kept)
        return kept

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def basic(login: str) -> str:
    return base64.b64encode(login.encode()).decode()


def build(host: str, folder: Path, index: Index) -> tuple[int, str]:
    environment = {**os.environ, "DOCKER_HOST": host, "UV_DEFAULT_INDEX": f"{index.url}/simple"}
    done = subprocess.run(
        [sys.executable, "-m", "torchpair.cli", "images"], cwd=folder, env=environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=LONGEST, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout


def forget(client: docker.DockerClient, folder: Path) -> None:
    """As in an engine that never built the row."""
    if client.images.list(TAG):
        client.images.remove(TAG, force=True)
    shutil.rmtree(folder / "reports", ignore_errors=True)
    client.api.prune_builds(all=True)


def made(client: docker.DockerClient) -> tuple[object, object]:
    """What the image is: its layers and how it starts, without the time at which it was made."""
    attributes = client.images.get(TAG).attrs
    return attributes["RootFS"], attributes["Config"]


def run(engine: Engine, runs: int = RUNS, seed: int | None = None) -> bool:
    """Builds of one row from nothing, each built as it must be or refused with the file named."""
    seed = random.randrange(10**6) if seed is None else seed
    first = docker.DockerClient(base_url=engine.host, timeout=600)
    with tempfile.TemporaryDirectory(prefix="torchpair-index-") as name:
        folder = Path(name) / "row"
        folder.mkdir()
        (folder / "matrix.yaml").write_text(f"images:\n{ROW}")
        shutil.copytree(ROOT / "locks", folder / "locks")
        index = Index(Path(name), seed)
        try:
            # In an engine of its own: what is forgotten between two builds is nobody else's.
            with Second(first, Path(name) / "engine") as (host, client):
                problems, became = _runs(host, client, folder, index, runs)
        finally:
            index.close()
    told = f"{runs} builds: {became['built']} right, {became['refused']} refused by name, 0 wrong"
    passing = f"of {-(-runs // 2)} with nothing but faults that pass, {became['passed']} right"
    print("\n".join(problems) or f"{told}; {passing}")
    return not problems


def _runs(
    host: str, client: docker.DockerClient, folder: Path, index: Index, runs: int
) -> tuple[list[str], Counter[str]]:
    problems, became = list[str](), Counter[str]()
    wheels = {line.split("==")[0] for line in (folder / f"locks/{NAME}.txt").read_text().splitlines()[3:]}
    print(f"a broken index, seed {index.seed}; first an honest one", flush=True)
    code, out = build(host, folder, index)
    assert code == 0, out[-3000:]
    right = made(client)
    index.rate = RATE
    for number in range(1, runs + 1):
        index.faults = PASSING if number % 2 else FAULTS
        forget(client, folder)
        before = index.done.copy()
        code, out = build(host, folder, index)
        seen = {what: count for what, count in (index.done - before).items() if what != "well"}
        if code == 0:
            what = "built"
            became["passed"] += number % 2
            if made(client) != right:
                problems.append(f"{number}: another image than the honest index gives")
        else:
            what = "refused"
            if client.images.list(TAG):
                problems.append(f"{number}: refused, and there is an image")
            if not any(re.search(rf"\b{re.escape(wheel)}\b", out) for wheel in wheels | {"uv"}):
                problems.append(f"{number}: refused, and no file is named: {out[-600:]}")
        became[what] += 1
        tried = out.count("trying again")
        reason = next((line for line in out.splitlines() if "failed:" in line), "")[:150]
        print(f"build {number}: {what}; {dict(sorted(seen.items()))} tried again: {tried} {reason}", flush=True)
    if not became["passed"]:
        problems.append("no build outlived the faults that pass")
    return problems, became
