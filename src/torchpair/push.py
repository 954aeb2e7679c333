"""The engine's part of a publish: send an image's layers, read its package list; and cosign, where it is installed."""

from __future__ import annotations

import io
import os
import re
import tarfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import docker.errors
import requests.exceptions

from torchpair.artifacts import Deb, debs
from torchpair.command import found, run
from torchpair.engine import Engine
from torchpair.errors import EngineError, TorchpairError, visible
from torchpair.tags import INCOMING
from torchpair.wire import AGAIN, RegistryError, Repository, Say, Transient

SECONDS = 600  # between two words of the engine's
EVERY = 10.0  # seconds between two words of ours
STATUS = "/var/lib/dpkg/status"
MAX_STATUS = 32 * 1024 * 1024
SIGN_SECONDS = 300.0

# In the words of the engine's push (Docker 20 to 28): what may pass by itself.
_TRANSIENT = re.compile(
    r"connection (refused|reset)|broken pipe|EOF|i/o timeout|timeout|timed out|blob upload (unknown|invalid)"
    r"|received unexpected HTTP status: 5\d\d|server misbehaving|no route to host|too ?many ?requests|toomanyrequests",
    re.IGNORECASE,
)
_LOGIN = re.compile(r"unauthorized|denied|no basic auth|authentication required|forbidden", re.IGNORECASE)
_PLAIN = re.compile(r"gave HTTP response to HTTPS client|certificate|x509", re.IGNORECASE)


@dataclass(frozen=True)
class Local:
    """An image in the engine."""

    id: str
    labels: Mapping[str, str]
    platform: str


@dataclass(frozen=True)
class Sent:
    """What a push did. digest: of the manifest, as the engine has it; sent: the layers that were not there yet, by the
    first 12 digits of the sha256 of their unpacked tar."""

    digest: str | None
    sent: frozenset[str]


def look(engine: Engine, reference: str) -> Local:
    """An image in the engine. Raises EngineError."""
    try:
        with closing(engine.client()) as client:
            attributes = client.images.get(reference).attrs
    except docker.errors.ImageNotFound:
        raise EngineError(f"no image {reference} in the engine", remedy="torchpair images ROW makes it") from None
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        raise EngineError(f"the engine does not show {reference}", why=str(error)) from error
    labels = attributes.get("Config", {}).get("Labels") or {}
    parts = (attributes.get("Os"), attributes.get("Architecture"), attributes.get("Variant"))
    return Local(
        str(attributes["Id"]),
        {str(k): str(v) for k, v in labels.items()},
        "/".join(str(part) for part in parts if part),
    )


@contextmanager
def tagged(engine: Engine, image_id: str, where: Repository, tag: str) -> Iterator[None]:
    """Hold an image by a tag of the registry's: it stays until it is sent, even where its row is built anew meanwhile.
    Raises EngineError."""
    with closing(engine.client()) as client:
        try:
            client.api.tag(image_id, str(where), tag)
        except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
            raise EngineError(f"the engine does not tag {image_id[:19]}", why=str(error)[:300]) from error
        try:
            yield
        finally:
            with suppress(docker.errors.DockerException, requests.exceptions.RequestException):
                client.api.remove_image(f"{where}:{tag}", noprune=True)


def push(engine: Engine, where: Repository, tag: str, say: Say) -> Sent:
    """Send what the engine has under a tag; it skips the layers that the repository has. Raises RegistryError."""
    try:
        with closing(engine.client(timeout=SECONDS)) as client:
            lines = client.api.push(str(where), tag, stream=True, decode=True)
            return heard(watched(lines, partial(_tell, say, tag)), where)
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        raise EngineError(f"the engine does not push {where}:{tag}", why=str(error)[:300]) from error


def _tell(say: Say, tag: str, done: int, total: int) -> None:
    say(f"{tag.removeprefix(INCOMING)}: {done / 1e9:.1f} of {total / 1e9:.1f} GB read")


def watched(lines: Iterable[Mapping[str, Any]], tell: Callable[[int, int], None]) -> Iterator[Mapping[str, Any]]:
    """The engine's words as they come; now and then, how many bytes (unpacked) of the layers begun are read."""
    parts: dict[str, tuple[int, int]] = {}
    told = time.monotonic()
    for line in lines:
        detail = line.get("progressDetail")
        if isinstance(detail, dict) and detail.get("total"):
            parts[str(line.get("id"))] = (int(detail.get("current", 0)), int(detail["total"]))
            if time.monotonic() - told >= EVERY:
                told = time.monotonic()
                tell(sum(min(part) for part in parts.values()), sum(total for _, total in parts.values()))
        yield line


def heard(lines: Iterable[Mapping[str, Any]], where: Repository) -> Sent:
    """What the engine's words about a push come to. Pure. Raises RegistryError, Transient where it may pass."""
    digest, sent = None, set()
    for line in lines:
        if "error" in line:
            raise fault(str(line["error"]), where)
        if line.get("status") == "Pushed":
            sent.add(str(line.get("id", "")))
        aux = line.get("aux")
        if isinstance(aux, dict) and "Digest" in aux:
            digest = str(aux["Digest"])
    return Sent(digest, frozenset(sent))


def fault(words: str, where: Repository) -> RegistryError:
    """The error for what the engine says of a push that failed."""
    why, place = visible(words)[:300], str(where)
    if _LOGIN.search(words):
        return RegistryError(
            "the registry refuses this login", where=place, why=why, remedy=f"docker login {where.host}"
        )
    if _PLAIN.search(words):
        return RegistryError(
            "the engine finds no safe connection to the registry", where=place, why=why,
            remedy="a registry without TLS must stand in insecure-registries of the engine's daemon.json",
        )  # fmt: skip
    if _TRANSIENT.search(words):
        return Transient("the registry went away during the push", where=place, why=why, remedy=AGAIN)
    return RegistryError("the registry refuses the push", where=place, why=why)


def packages(engine: Engine, image_id: str) -> tuple[Deb, ...]:
    """The Debian packages of an image, read from its files: nothing of it runs. None where it has no dpkg."""
    try:
        with closing(engine.client()) as client:
            container = client.containers.create(image_id, ["none"], network_mode="none")
            try:
                chunks, state = container.get_archive(STATUS)
                if int((state or {}).get("size", 0)) > MAX_STATUS:
                    raise EngineError(f"{STATUS} has more than {MAX_STATUS} bytes", where=image_id[:19])
                data = b"".join(chunks)
            except docker.errors.NotFound:
                return ()
            finally:
                container.remove(force=True, v=True)
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        raise EngineError("the engine does not give the image's package list", why=str(error)[:300]) from error
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        file = next((entry for entry in tar if entry.isfile()), None)
        stream = tar.extractfile(file) if file else None
        return debs(stream.read().decode("utf-8", "replace")) if stream else ()


def unsigned(key: str | None, environment: Mapping[str, str] = os.environ) -> str | None:
    """Why nothing can be signed here, None where cosign can. Without a key it asks a CI's own identity."""
    if not found("cosign"):
        return "cosign is not installed"
    if key or "SIGSTORE_ID_TOKEN" in environment or "ACTIONS_ID_TOKEN_REQUEST_URL" in environment:
        return None
    return "cosign has no key (COSIGN_KEY, --key) and no identity of a CI"


def sign(where: Repository, digests: Sequence[str], key: str | None, insecure: bool) -> None:
    """Sign an image, and what goes along with it, by their digests with cosign. Raises TorchpairError."""
    plain = ["--allow-http-registry", "--allow-insecure-registry"] if where.loopback or insecure else []
    argv = [
        "cosign",
        "sign",
        "--yes",
        *(["--key", key] if key else []),
        *plain,
        *(f"{where}@{digest}" for digest in digests),
    ]
    try:
        run(argv, timeout=SIGN_SECONDS)
    except TorchpairError as error:
        error.remedy = error.remedy or "no tag was moved; repeat the publish, or leave the signature out: --no-sign"
        raise
