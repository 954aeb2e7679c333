"""Planted secrets (an index's token, a line of the CA bundle, a registry's password): while a row is built and small
ones are published, they are looked for wherever others could read them."""

from __future__ import annotations

import base64
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import docker

from tests.docker.engines import Second
from tests.docker.registries import Server
from tests.docker.test_publish import OLD, small_rows
from torchpair import base as bases
from torchpair.build import CA_VARIABLES, ca_bundle
from torchpair.engine import Engine

from .index import ROOT, ROW, TAG, Index, basic

LONGEST = 1200.0  # seconds
CHUNK = 1 << 22
SMALL = 2_000_000  # bytes: no secret hides in a file of the cache that is larger
MADE = ("build", "dockerfiles", "reports", "locks", "docker-bake.json")  # what torchpair writes beside a matrix


class Planted:
    """The secrets, each in every form that it takes on its way; and where they were found."""

    def __init__(self) -> None:
        self.token, self.wrong, self.line, self.password = (f"planted{secrets.token_hex(16)}" for _ in range(4))
        self.words = {
            "the index's token": [self.token, basic(f"me:{self.token}")],
            "the index's wrong token": [self.wrong, basic(f"me:{self.wrong}")],
            "the line of the CA bundle": [self.line],
            "the registry's password": [self.password, basic(f"torch:{self.password}")],
        }
        self.found: set[str] = set()
        self.looked = 0  # bytes

    def look(self, where: str, pieces: Iterable[bytes]) -> None:
        """Search a stream, also where one piece ends and the next begins."""
        before = b""
        for piece in pieces:
            self.looked += len(piece)
            text = before + piece
            for name, words in self.words.items():
                if any(word.encode() in text for word in words):
                    self.found.add(f"{name} is in {where}")
            before = piece[-200:]

    def look_into(self, where: str, path: Path, start: int = 0) -> None:
        with suppress(OSError), path.open("rb") as file:  # BuildKit removes files meanwhile
            file.seek(start)
            self.look(where, iter(lambda: file.read(CHUNK), b""))


@contextmanager
def watched(planted: Planted) -> Iterator[None]:
    """Every process's command line, many times a second, as `ps` shows it to everyone."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.03):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                planted.look_into(f"the list of processes ({path.parent.name})", path)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def run(engine: Engine) -> bool:
    """Whether none of the secrets was found anywhere."""
    planted, problems = Planted(), list[str]()
    first = docker.DockerClient(base_url=engine.host, timeout=600)
    # One folder for what is planted, another for what torchpair makes; an engine of its own, all of which is searched.
    with (
        tempfile.TemporaryDirectory(prefix="torchpair-secret-") as own,
        tempfile.TemporaryDirectory(prefix="torchpair-secrets-") as name,
    ):
        hidden, folder = Path(own), Path(name)
        index = Index(hidden, 1, f"me:{planted.token}")
        try:
            with Second(first, hidden / "engine") as (host, client):
                environment = _plant(planted, hidden, host)
                with watched(planted):
                    problems += _builds(planted, folder, environment, index)
                    if not problems:  # it stands on the same base
                        problems += _publishes(planted, hidden, environment, client)
                if not index.done["refused"] or not index.done["well"]:
                    problems.append(f"the index saw no login: {index.done}")
                if client.images.list(TAG):
                    _image(planted, client)
                _cache(planted, Path(client.info()["DockerRootDir"]))
                planted.look_into("the engine's log", hidden / "engine/log.txt")
        finally:
            index.close()
        for part in MADE:
            place = folder / part
            for path in [place] if place.is_file() else place.rglob("*"):
                if path.is_file():
                    planted.look_into(str(path.relative_to(folder)), path)
    problems += sorted(planted.found)
    print("\n".join(problems) or f"4 secrets, looked for in {planted.looked / 1e9:.1f} GB: found nowhere", flush=True)
    return not problems


def _plant(planted: Planted, hidden: Path, host: str) -> dict[str, str]:
    bundle = hidden / "ca.pem"
    there = ca_bundle()
    bundle.write_text(f"# {planted.line}\n" + (there.read_text() if there else ""))
    (hidden / "docker").mkdir()
    given = {name: str(bundle) for name in CA_VARIABLES}
    return {**os.environ, **given, "DOCKER_HOST": host, "DOCKER_CONFIG": str(hidden / "docker")}


def _call(planted: Planted, environment: dict[str, str], folder: Path, *arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "torchpair.cli", *arguments], cwd=folder, env=environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=LONGEST, check=False,
    )  # fmt: skip
    planted.look(f"the output of torchpair {arguments[0]}", [done.stdout.encode()])
    return done.returncode, done.stdout


def _builds(planted: Planted, folder: Path, environment: dict[str, str], index: Index) -> list[str]:
    """A row from an index that wants a token: with a wrong one it is refused, with the right one it is healthy."""
    (folder / "matrix.yaml").write_text(f"images:\n{ROW}")
    shutil.copytree(ROOT / "locks", folder / "locks")
    problems = []
    for token, right in ((planted.wrong, False), (planted.token, True)):
        # The tools' lock is settled anew: uv on this machine asks the index too.
        (folder / "locks/tools.txt").unlink(missing_ok=True)
        address = index.url.replace("://", f"://me:{token}@")
        code, out = _call(planted, {**environment, "UV_DEFAULT_INDEX": f"{address}/simple"}, folder, "images")
        print(f"build with {'the' if right else 'a wrong'} token: {code}", flush=True)
        if (code == 0) != right:
            problems.append(f"{'the' if right else 'a wrong'} token: ended with {code}: {out[-1500:]}")
    return problems


def _publishes(planted: Planted, hidden: Path, environment: dict[str, str], client: docker.DockerClient) -> list[str]:
    """A small image into a registry that wants a login."""
    hashed = subprocess.run(
        ["perl", "-e", "print crypt(<STDIN>, q($2b$04$wiVlfPvohnqz0QW/pEwVCe))"],  # bcrypt, which the registry reads
        input=planted.password, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    (hidden / "users").write_text(f"torch:{hashed}\n")
    rows = small_rows(hidden / "rows", client)
    # What they say that they stand on.
    client.images.get(f"{bases.REPOSITORY}:debian13").tag(bases.REPOSITORY, "debian12")
    before = os.environ["DOCKER_HOST"]
    os.environ["DOCKER_HOST"] = environment["DOCKER_HOST"]
    try:
        rows.make(OLD)
    finally:
        os.environ["DOCKER_HOST"] = before
    server = Server(hidden / "registry", f"auth: {{htpasswd: {{realm: here, path: {hidden / 'users'}}}}}\n").start()
    try:
        login = {"auths": {server.host: {"auth": base64.b64encode(f"torch:{planted.password}".encode()).decode()}}}
        (hidden / "docker/config.json").write_text(json.dumps(login))
        arguments = ("publish", "-r", server.host, "--base", "local")
        code, out = _call(planted, environment, rows.workspace.folder, *arguments)
        print(f"published with the login: {code}", flush=True)
        for path in rows.workspace.folder.rglob("*"):
            if path.is_file():
                planted.look_into(f"published: {path.name}", path)
        for path in server.data.rglob("data"):
            planted.look_into("the registry's blobs", path)
        return [] if code == 0 else [f"publish: ended with {code}: {out[-1500:]}"]
    finally:
        server.stop()


def _image(planted: Planted, client: docker.DockerClient) -> None:
    """What everyone can read who has the image: its configuration, its history, each of its layers."""
    image = client.images.get(TAG)
    planted.look("the image's labels and settings", [json.dumps(image.attrs).encode()])
    planted.look("docker history", [json.dumps(image.history()).encode()])
    planted.look("a layer of the image (docker save)", image.save(chunk_size=CHUNK))


def _cache(planted: Planted, root: Path) -> None:
    """What BuildKit keeps: its records, and every file of the stages that are no part of the image."""
    for path in (root / "buildkit").rglob("*"):
        if path.is_file():
            planted.look_into(f"BuildKit's records ({path.name})", path)
    for layer in (root / "overlay2").iterdir():
        for path in (layer / "diff").rglob("*"):
            if path.is_file() and not path.is_symlink() and path.stat().st_size < SMALL:
                planted.look_into(f"a stage of the build ({'/'.join(path.parts[-3:])})", path)
