"""A registry over http.server on 127.0.0.1 that keeps all in memory and misbehaves as it is told."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from torchpair.registry import DOCKER_MANIFEST, OCI_INDEX, Manifest, Registry
from torchpair.wire import Repository, sha256

NOTHING = (0.0, 0.0)  # seconds between attempts


class Fake(ThreadingHTTPServer):
    """faults: what the next calls of a method and a path are answered instead: a status, or "reset" for a connection
    that breaks. dies_after: so many calls are answered, then none. asked: every call, as it came. api: whether it knows
    referrers."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, tuple[str, bytes]] = {}
        self.tags: dict[str, str] = {}
        self.uploads: set[str] = set()
        self.faults: list[tuple[str, str, int | str]] = []
        self.asked: list[tuple[str, str, Mapping[str, str]]] = []
        self.api = False
        self.dies_after: int | None = None
        self.login: tuple[str, str] | None = None  # challenge, and the header that it wants
        self.tokens: list[str] = []
        self.page = 100

    def handle_error(self, *arguments: object) -> None:
        """A client that goes away is no news."""

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def registry(self, waits: tuple[float, ...] = NOTHING, **more: Any) -> Registry:
        return Registry(Repository(self.host, "torchpair"), waits=waits, **more)

    def count(self, method: str, path: str) -> int:
        return sum(method == m and re.search(path, p) is not None for m, p, _ in self.asked)

    def put_image(
        self, config: Mapping[str, Any], *tags: str, layers: tuple[bytes, ...] = (b"one", b"two")
    ) -> Manifest:
        """An image of layers, with a configuration as an engine makes it."""
        whole = {
            "os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": [sha256(layer) for layer in layers]},
            "history": [{"created_by": f"COPY /layer/{name} / # buildkit"} for name in ("cuda", "torch")], **config,
        }  # fmt: skip
        raw = json.dumps(whole).encode()
        for data in (raw, *layers):
            self.blobs[sha256(data)] = data
        body = json.dumps(
            {
                "schemaVersion": 2, "mediaType": DOCKER_MANIFEST,
                "config": {"mediaType": "c", "digest": sha256(raw), "size": len(raw)},
                "layers": [{"mediaType": "l", "digest": sha256(data), "size": len(data)} for data in layers],
            }
        ).encode()  # fmt: skip
        manifest = Manifest(DOCKER_MANIFEST, sha256(body), body)
        self.manifests[manifest.digest] = (DOCKER_MANIFEST, body)
        self.tags |= dict.fromkeys(tags, manifest.digest)
        return manifest


@contextmanager
def running() -> Iterator[Fake]:
    fake = Fake()
    thread = threading.Thread(target=fake.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        fake.shutdown()
        fake.server_close()
        thread.join(timeout=5)


class _Handler(BaseHTTPRequestHandler):
    server: Fake
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *arguments: object) -> None:
        pass

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do(self) -> None:
        fake, url = self.server, urlsplit(self.path)
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fake.asked.append((self.command, self.path, dict(self.headers.items())))
        if fake.dies_after is not None and len(fake.asked) > fake.dies_after:
            self.close_connection = True
            self.connection.shutdown(2)
            return None
        if url.path == "/token":
            fake.tokens.append(url.query)
            return self.answer(200, b'{"token": "T"}')
        for index, (method, pattern, what) in enumerate(fake.faults):
            if method == self.command and re.search(pattern, self.path):
                del fake.faults[index]
                if isinstance(what, int):
                    return self.answer(what, b'{"errors": [{"code": "WHY", "message": "so it is"}]}')
                self.close_connection = True
                self.connection.shutdown(2)
                return None
        if fake.login and self.headers.get("Authorization") != fake.login[1]:
            return self.answer(401, WWW_Authenticate=fake.login[0])
        if url.path == "/v2/":
            return self.answer(200, b"{}")
        kind, _, rest = url.path.removeprefix("/v2/torchpair/").partition("/")
        return getattr(self, f"on_{kind}")(rest, parse_qs(url.query), data)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do

    def on_tags(self, rest: str, query: dict[str, list[str]], data: bytes) -> None:
        names, last = sorted(self.server.tags), query.get("last", [""])[0]
        page = [name for name in names if name > last][: self.server.page]
        more = bool(page) and page[-1] != names[-1]
        link = {"Link": f'</v2/torchpair/tags/list?n=1&last={page[-1]}>; rel="next"'} if more else {}
        self.answer(200, json.dumps({"name": "torchpair", "tags": page or None}).encode(), **link)

    def on_manifests(self, rest: str, query: dict[str, list[str]], data: bytes) -> None:
        fake = self.server
        if self.command == "PUT":
            digest = sha256(data)
            fake.manifests[digest] = (self.headers["Content-Type"], data)
            if not rest.startswith("sha256:"):
                fake.tags[rest] = digest
            subject = json.loads(data).get("subject")
            said = {"OCI_Subject": subject["digest"]} if fake.api and subject else {}
            return self.answer(201, Docker_Content_Digest=digest, **said)
        if self.command == "DELETE":
            return self.answer(405)
        digest = fake.tags.get(rest, rest)
        if digest not in fake.manifests:
            return self.answer(404)
        kind, body = fake.manifests[digest]
        return self.answer(200, body, Content_Type=kind, Docker_Content_Digest=digest)

    def on_blobs(self, rest: str, query: dict[str, list[str]], data: bytes) -> None:
        fake = self.server
        if rest.startswith("uploads/"):
            if self.command == "POST":
                name = str(len(fake.asked))
                fake.uploads.add(name)
                return self.answer(202, Location=f"/v2/torchpair/blobs/uploads/{name}?state=x")
            name = rest.removeprefix("uploads/")
            if name not in fake.uploads:
                return self.answer(404, b'{"errors": [{"code": "BLOB_UPLOAD_UNKNOWN"}]}')
            fake.uploads.remove(name)
            if self.command == "DELETE":
                return self.answer(204)
            (digest,) = query["digest"]
            assert sha256(data) == digest
            fake.blobs[digest] = data
            return self.answer(201)
        if rest not in fake.blobs:
            return self.answer(404)
        return self.answer(200, fake.blobs[rest])

    def on_referrers(self, rest: str, query: dict[str, list[str]], data: bytes) -> None:
        if not self.server.api:
            return self.answer(404)
        found = []
        for digest, (kind, body) in self.server.manifests.items():
            content = json.loads(body)
            if (content.get("subject") or {}).get("digest") == rest:
                entry = {"mediaType": kind, "digest": digest, "size": len(body)}
                found.append({**entry, "artifactType": content.get("artifactType")})
        return self.answer(200, json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": found}).encode())
