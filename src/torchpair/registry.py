"""A repository of a registry (OCI distribution spec 1.1): its tags, manifests, small blobs and referrers.

Layers, the heavy part, go by the engine's own push; torchpair.wire carries the rest.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

from torchpair.wire import WAITS, Repository, Say, Wire, sha256

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
_ACCEPT = ", ".join((OCI_MANIFEST, DOCKER_MANIFEST, OCI_INDEX, DOCKER_LIST))
MAX_BLOB = 64 * 1024 * 1024
PAGES = 1_000


@dataclass(frozen=True)
class Manifest:
    """A manifest as the registry gave it. digest: computed here, from the body."""

    media_type: str
    digest: str
    body: bytes

    @property
    def content(self) -> dict[str, Any]:
        """What it says; {} for what is no JSON object."""
        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def descriptor(self) -> dict[str, Any]:
        """How another manifest refers to this one."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.body)}


class Registry:
    """One repository. Every call raises RegistryError; what is transient is tried again, what is refused is not.

    insecure: plain HTTP is allowed to a host other than this machine too. waits: seconds between attempts.
    """

    def __init__(
        self, where: Repository, *, insecure: bool = False, say: Say = lambda line: None, waits: Sequence[float] = WAITS
    ) -> None:
        self.where = where
        self.say = say
        self.waits = tuple(waits)
        self._wire = Wire(where, insecure=insecure, say=say, waits=waits)

    def answers(self) -> None:
        """Nothing, where the registry answers. Raises RegistryError where it does not, after a few attempts."""
        self._wire.find()

    # ---- what there is ------------------------------------------------------------------------------------------

    def tags(self) -> list[str]:
        """Every tag of the repository; none where the registry does not know it yet."""
        found: set[str] = set()
        url: str | None = "tags/list?n=1000"
        for _ in range(PAGES):
            if url is None:
                break
            answer = self._wire.call("GET", url, ok=(200, 404))
            if answer.status == 404:
                break
            names = answer.json(self.where).get("tags") or []
            found |= {name for name in names if isinstance(name, str) and re.fullmatch(r"[\w][\w.-]{0,127}", name)}
            url = answer.next
        return sorted(found)

    def manifest(self, reference: str) -> Manifest | None:
        """A manifest by tag or by digest, None where there is none; by digest it is compared with it."""
        answer = self._wire.call("GET", f"manifests/{reference}", ok=(200, 404), headers={"Accept": _ACCEPT})
        if answer.status == 404:
            return None
        kind = answer.headers.get("Content-Type", "").partition(";")[0].strip()
        found = Manifest(kind, sha256(answer.body), answer.body)
        if reference.startswith("sha256:") and found.digest != reference:
            raise self._wire.odd(f"what it gives for {reference[:19]} has the digest {found.digest[:19]}")
        return found

    def digest(self, tag: str) -> str | None:
        """The digest that a tag points at, None where there is no such tag."""
        answer = self._wire.call("HEAD", f"manifests/{tag}", ok=(200, 404), headers={"Accept": _ACCEPT})
        if answer.status == 404:
            return None
        said = answer.headers.get("Docker-Content-Digest", "")
        if re.fullmatch(r"sha256:[0-9a-f]{64}", said):
            return said
        found = self.manifest(tag)
        return found.digest if found else None

    def has_blob(self, digest: str, size: int | None = None) -> bool:
        """Whether a blob is there; with a size (bytes), whether it is there in full, as far as the registry says."""
        answer = self._wire.call("HEAD", f"blobs/{digest}", ok=(200, 404))
        length = answer.headers.get("Content-Length", "")
        return answer.status == 200 and (size is None or not length.isdecimal() or int(length) == size)

    def blob(self, digest: str, most: int = MAX_BLOB) -> bytes | None:
        """A blob of at most so many bytes, compared with its digest; None where it is missing."""
        answer = self._wire.call("GET", f"blobs/{digest}", ok=(200, 404), most=most)
        if answer.status == 404:
            return None
        if sha256(answer.body) != digest:
            raise self._wire.odd(f"what it gives for the blob {digest[:19]} has another digest")
        return answer.body

    def referrers(self, digest: str) -> list[dict[str, Any]]:
        """Descriptors of what has this manifest as its subject; by the API, else by the tag that stands for it."""
        answer = self._wire.call("GET", f"referrers/{digest}", ok=(200, 400, 404, 405), headers={"Accept": OCI_INDEX})
        found: list[Any] = []
        if answer.status == 200:
            url: str | None = ""
            for _ in range(PAGES):
                found += answer.json(self.where).get("manifests") or []
                url = answer.next
                if not url:
                    break
                answer = self._wire.call("GET", url, ok=(200,), headers={"Accept": OCI_INDEX})
        else:
            index = self.manifest(_fallback(digest))
            found = (index.content.get("manifests") if index else None) or []
        return [item for item in found if isinstance(item, dict) and isinstance(item.get("digest"), str)]

    # ---- what is put there --------------------------------------------------------------------------------------

    def may_write(self) -> None:
        """Begin an upload and end it again: whoever may not write learns it before anything is sent."""
        answer = self._wire.call("POST", "blobs/uploads/", ok=(202,), data=b"")
        place = answer.headers.get("Location")
        if place:  # some registries do not let it be ended; it runs out by itself
            self._wire.call("DELETE", urljoin(answer.url, place), ok=(200, 202, 204, 404, 405))

    def put_blob(self, data: bytes) -> bool:
        """Put a small blob there; False when it was there already."""
        digest = sha256(data)
        if self.has_blob(digest):
            return False
        for attempt in (1, 2, 3):
            place = self._wire.call("POST", "blobs/uploads/", ok=(202,), data=b"").located(self.where)
            mark = "&" if urlsplit(place).query else "?"
            answer = self._wire.call(
                "PUT", f"{place}{mark}digest={digest}", ok=(201, 404), data=data,
                headers={"Content-Type": "application/octet-stream"},
            )  # fmt: skip
            if answer.status == 201:
                return True
            # A registry that was started anew has forgotten the upload: begin once more.
            self.say(f"{self.where}: the upload was forgotten (attempt {attempt} of 3)")
        raise self._wire.odd("it forgets every upload before it ends")

    def put_manifest(self, reference: str, manifest: Manifest) -> bool:
        """Put a manifest under a tag or its digest; whether the registry indexes its subject by itself."""
        answer = self._wire.call(
            "PUT", f"manifests/{reference}", ok=(201,), data=manifest.body,
            headers={"Content-Type": manifest.media_type},
        )  # fmt: skip
        said = answer.headers.get("Docker-Content-Digest")
        if said and said != manifest.digest:
            raise self._wire.odd(f"it took {manifest.digest[:19]} and calls it {said[:19]}")
        return "OCI-Subject" in answer.headers

    def attach(self, manifest: Manifest) -> bool:
        """Put an artifact there, and make it found by its subject; False when all of that was so already.

        Without the referrers API, an index under the subject's own tag lists it (distribution spec 1.1, "Referrers Tag
        Schema"); two who write that at the same time may lose one of the two, and a repeated publish mends it.
        """
        content = manifest.content
        subject = str(content["subject"]["digest"])
        there = self.referrers(subject)
        if any(item["digest"] == manifest.digest for item in there) and self.manifest(manifest.digest):
            return False
        if self.put_manifest(manifest.digest, manifest):
            return True
        entry = {
            **manifest.descriptor,
            "artifactType": content.get("artifactType"),
            "annotations": content.get("annotations", {}),
        }
        others = [item for item in there if item["digest"] != manifest.digest]
        body = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [*others, entry]}
        text = json.dumps(body, sort_keys=True).encode()
        self.put_manifest(_fallback(subject), Manifest(OCI_INDEX, sha256(text), text))
        return True

    def delete_tag(self, tag: str) -> bool:
        """Remove a tag and not what it points at; False where the registry cannot (Debian's cannot)."""
        return self._wire.call("DELETE", f"manifests/{tag}", ok=(200, 202, 204, 400, 403, 404, 405)).status < 300


def _fallback(digest: str) -> str:
    return digest.replace(":", "-")
