"""`torchpair pull`: fetch a catalog, pull an image of it by digest, and prove that it is the one that was promised."""

from __future__ import annotations

import http.client
import re
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import docker.errors
import requests.exceptions
from docker import DockerClient

from torchpair import catalog as catalogs
from torchpair import choose, describe, wire
from torchpair.catalog import Catalog, Published
from torchpair.command import found, run
from torchpair.engine import Engine
from torchpair.errors import EXIT_BUILD_FAILED, CommandError, TorchpairError
from torchpair.fetch import opened
from torchpair.registry import Registry
from torchpair.truth import OPTIONAL

SECONDS = 60.0
PULL_SECONDS = 3600  # without a word from the engine
# Compressed and unpacked lie on the disk side by side while a layer is unpacked, and unpacked is about twice as much.
TIMES = 3
# Who vouches for a job of GitHub Actions: https://docs.sigstore.dev/cosign/verifying/verify/
GITHUB = "https://token.actions.githubusercontent.com"
Say = Callable[[str], None]


class PullError(TorchpairError):
    """An image could not be had, or is not the one that the catalog promises."""

    exit_code = EXIT_BUILD_FAILED


@dataclass(frozen=True)
class Signer:
    """Whose signature is asked for: a key's, or an identity's that an issuer of tokens vouches for (a CI's)."""

    key: str | None = None
    identity: str | None = None
    issuer: str = GITHUB

    @property
    def asked(self) -> list[str]:
        """What cosign is asked; [] when nobody was named."""
        if self.key:
            return ["--key", self.key]
        if self.identity:
            return ["--certificate-identity-regexp", self.identity, "--certificate-oidc-issuer", self.issuer]
        return []


NOBODY = Signer()


@dataclass(frozen=True)
class Pulled:
    """What a pull brought. size: bytes, compressed, of the layers that were not here yet; None: the engine did not say.

    signature: what is known of it, for reading.
    """

    reference: str
    tagged: str
    image_id: str
    size: int | None
    signature: str


# ---- the catalog --------------------------------------------------------------------------------------------------


def catalog(where: str, say: Say = lambda line: None) -> Catalog:
    """The catalog of a file, of an http(s) address, or made from what a registry holds. Raises TorchpairError."""
    if "://" not in where:
        path = Path(where)
        # A registry has a host: with a dot or a port, and never with a slash before it.
        if path.exists() or path.suffix == ".json" or not re.match(r"[^/]+[.:][^/]+(/|$)|localhost(/|$)", where):
            return _from_file(path)
        held = describe.read(Registry(wire.repository(where), say=say))
        for line in held.left_out:
            say(f"left out: {line}")
        return held.catalog
    shown = visible_address(where)
    if not where.startswith(("https://", "http://")):
        raise TorchpairError("only http and https are asked", where=shown, remedy="--catalog with a file or an address")
    try:
        request = urllib.request.Request(where, headers={"User-Agent": "torchpair", "Accept": "application/json"})
        with opened(request, SECONDS) as answer:
            text = answer.read(catalogs.MAX_BYTES + 1)
            whole = int(answer.headers.get("Content-Length") or len(text))
    except urllib.error.HTTPError as error:
        raise PullError(f"the server answers {error.code} for the catalog", where=shown) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        why = " ".join(str(getattr(error, "reason", error)).split())[:200]
        remedy = "look at the network, or take a catalog.json from a file"
        raise PullError("the catalog cannot be reached", where=shown, why=why, remedy=remedy) from error
    if len(text) < min(whole, catalogs.MAX_BYTES):
        raise PullError(
            "the catalog was cut short", where=shown, why=f"{len(text)} of {whole} bytes", remedy="try again"
        )
    return catalogs.parse(text, shown)


def _from_file(path: Path) -> Catalog:
    try:
        with path.open("rb") as file:
            text = file.read(catalogs.MAX_BYTES + 1)
    except OSError as error:
        raise TorchpairError(
            "the catalog cannot be read", where=str(path), why=error.strerror,
            remedy="--catalog FILE or --catalog https://...; torchpair catalog makes one from a registry",
        ) from error  # fmt: skip
    return catalogs.parse(text, str(path))


def visible_address(where: str) -> str:
    """An address without the password that it may hold."""
    try:
        parts = urlsplit(where)
    except ValueError:
        return "an address that is none"
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()[:200]


# ---- the image ----------------------------------------------------------------------------------------------------


def pull(engine: Engine, offer: Catalog, image: Published, say: Say, signer: Signer = NOBODY) -> Pulled:
    """Pull by digest, compare with the catalog, and give the image its tag. Raises PullError.

    An image that is not the one that the catalog promises gets no tag.
    """
    reference, tagged = choose.reference(offer, image), f"{offer.repository}:{image.tag}"
    try:
        with closing(engine.client(timeout=PULL_SECONDS)) as client:
            _same_there(client, offer, image, say)
            signature = verified(reference, signer)
            _room(client, engine, image, say)
            say(f"pulling {reference}")
            size = _pull(client, offer, image, say)
            here = client.images.get(reference)
            compare(here.attrs, offer, image)
            here.tag(offer.repository, tag=image.tag)
    except docker.errors.APIError as error:
        raise explained(str(error.explanation or error), reference) from error
    except (docker.errors.DockerException, requests.exceptions.RequestException, OSError) as error:
        raise PullError("the engine does not answer any more", where=engine.host, why=str(error)[:300]) from error
    return Pulled(reference, tagged, str(here.id), size, signature)


def _same_there(client: DockerClient, offer: Catalog, image: Published, say: Say) -> None:
    """Whether the registry still has the catalog's digest under one of its tags; the dated tag never moves."""
    seen: dict[str, str] = {}
    for tag in sorted(image.tags, key=lambda tag: (tag != image.tag, -len(tag), tag)):
        try:
            answer = cast("Any", client.api).inspect_distribution(f"{offer.repository}:{tag}")  # it has no types
        except docker.errors.NotFound:
            continue
        seen[tag] = str((answer.get("Descriptor") or {}).get("digest"))
        if seen[tag] == image.digest:
            moved = [name for name, digest in seen.items() if digest != image.digest]
            if moved:
                say(f"{moved[0]} has moved on since this catalog was made ({offer.generated[:10]}); {tag} has not")
            return
    now = seen.get(image.tag)
    raise PullError(
        f"{image.tag} is another image than the catalog says" if now else f"the registry has no {image.tag}",
        where=offer.repository,
        why=f"the catalog has {image.digest}" + (f"\n       the registry has {now}" if now else ""),
        remedy="the catalog is old, or was edited by hand: take a new one (torchpair catalog --verify compares)",
    )


def verified(reference: str, signer: Signer) -> str:
    """Ask cosign for the signature; what is known of it. Raises PullError where one was asked for and does not hold."""
    if not found("cosign"):
        if signer.asked:
            raise PullError("cosign is not installed", why="a signature was asked for", remedy="install cosign")
        return "signature not verified: cosign is not installed"
    if not signer.asked:
        return "signature not verified: neither --key nor --identity says whose"
    local = wire.repository(reference.partition("@")[0]).loopback
    plain = ["--allow-http-registry", "--allow-insecure-registry"] if local else []
    try:
        run(["cosign", "verify", *signer.asked, *plain, reference], timeout=300)
    except CommandError as error:
        raise PullError("no signature of this signer holds", where=reference, why=error.why) from error
    return f"signature holds: {signer.key or signer.identity}"


def _room(client: DockerClient, engine: Engine, image: Published, say: Say) -> None:
    """Say so when the disk may not do. Not refused: layers that are here already are not pulled once more."""
    folder = Path(str(client.info().get("DockerRootDir") or ""))
    if engine.host.startswith("unix://") and folder.is_dir():
        free = shutil.disk_usage(folder).free
        if free < TIMES * image.size:
            need = f"{image.size / 1e9:.1f} GB, unpacked about twice that"
            say(f"{free / 1e9:.1f} GB are free in {folder}, and the image has {need}: it may not fit")


def _pull(client: DockerClient, offer: Catalog, image: Published, say: Say) -> int | None:
    """Let the engine pull; bytes of the layers that were not here yet."""
    events = client.api.pull(offer.repository, tag=image.digest, stream=True, decode=True)
    return follow(events, image, say, choose.reference(offer, image))


def follow(events: Iterable[Mapping[str, Any]], image: Published, say: Say, reference: str) -> int | None:
    """Read what the engine says of a pull; bytes of the layers that came. Raises PullError."""
    sizes = {layer.digest[7:19]: layer.size for layer in image.layers}
    came, here = set[str](), set[str]()
    for event in events:
        if event.get("error"):
            raise explained(str(event["error"]), reference)
        layer, status = str(event.get("id") or ""), str(event.get("status") or "")
        if layer in sizes and status in ("Already exists", "Pull complete"):
            (here if status == "Already exists" else came).add(layer)
            if status == "Pull complete":
                done = sum(sizes[one] for one in came)
                say(f"{done / 1e9:.2f} of {(image.size - sum(sizes[one] for one in here)) / 1e9:.2f} GB")
    if not came and not here and image.layers:
        return None  # it was here as a whole, or the engine names layers otherwise
    return sum(sizes[one] for one in came)


def compare(attributes: Mapping[str, Any], offer: Catalog, image: Published) -> None:
    """Whether what the engine holds is what the catalog promises: its digest, its platform, its labels."""
    reference = choose.reference(offer, image)
    if reference not in _names(attributes.get("RepoDigests") or ()):
        raise PullError(
            "the engine holds another digest than the catalog's", where=reference,
            why=f"it has {', '.join(attributes.get('RepoDigests') or ()) or 'none'}",
            remedy="docker rmi it, and pull again",
        )  # fmt: skip
    labels = (attributes.get("Config") or {}).get("Labels") or {}
    platform = f"{attributes.get('Os')}/{attributes.get('Architecture')}"
    said = {
        "platform": (image.platform.rsplit("/", 1)[0] if image.platform.count("/") == 2 else image.platform, platform),
        **{
            name: (getattr(image, name) or "none", labels.get(f"torchpair.{name}"))
            for name in ("torch", "torchaudio", "torchcodec", "cuda", "python", "base")
            if name not in OPTIONAL or f"torchpair.{name}" in labels  # what was compiled has none
        },
    }
    wrong = [f"{name}: catalog {a}, image {b}" for name, (a, b) in said.items() if a != b]
    if wrong:
        raise PullError(
            "the image is not what the catalog says of it", where=reference, why="; ".join(wrong),
            remedy="the catalog was edited by hand, or is another's: take a new one",
        )  # fmt: skip


def _names(references: Iterable[str]) -> set[str]:
    """References as they were asked for: the engine leaves Docker Hub's own name out."""
    return {name for one in references for name in (one, f"docker.io/{one}", f"docker.io/library/{one}")}


# What engines and registries say, and what it means. The words are Docker's (26 to 29), containerd's and Go's.
_WORDS: tuple[tuple[str, str, str], ...] = (
    (
        r"no space left on device|disk quota exceeded",
        "the disk is full",
        "make room where the engine keeps its images (docker system df), then pull again: whole layers are kept",
    ),
    (
        r"manifest unknown|not found: manifest|manifest .*not found|name unknown|repository does not exist",
        "the registry does not have this image",
        "the catalog is old, or was edited by hand: take a new one",
    ),
    (
        r"unauthorized|authentication required|access denied|denied:|no basic auth|403 forbidden",
        "the registry does not let you pull",
        "docker login",
    ),
    (r"x509|certificate", "the registry's certificate is not trusted by the engine", "give the engine its CA"),
    (
        r"server gave http response to https",
        "the registry speaks plain HTTP, and the engine wants TLS",
        "name it under insecure-registries of the engine, or give it TLS",
    ),
    (
        r"unexpected digest|digest.*mismatch|filesystem layer verification failed|did not match",
        "what the registry sent is not what the digest names",
        "pull again; if it stays so, the registry's storage is damaged or the connection is tampered with",
    ),
    (
        r"no such host|connection refused|i/o timeout|timeout|network is unreachable|no route to host|connection reset"
        r"|temporary failure|unexpected eof|dial tcp|context deadline exceeded",
        "the registry cannot be reached from the engine",
        "look at the network and at the engine's proxy, then pull again: whole layers are kept",
    ),
)


def explained(said: str, reference: str) -> PullError:
    """What an engine's words mean, and what to do."""
    why = " ".join(said.split())[:400]
    for pattern, what, remedy in _WORDS:
        if re.search(pattern, said, re.IGNORECASE):
            return PullError(what, where=reference, why=why, remedy=remedy)
    return PullError("the engine cannot pull the image", where=reference, why=why)
