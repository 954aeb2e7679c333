"""What travels with an image: report, lock, SBOM and provenance, each an OCI 1.1 artifact whose subject is the image.

Pure: the same image and report give the same bytes, so that a publish that is repeated finds them there.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from torchpair import __version__
from torchpair.lock import Lock, Locked
from torchpair.registry import OCI_MANIFEST, Manifest
from torchpair.report import Report
from torchpair.wire import Repository, sha256

REPORT = "application/vnd.torchpair.report.v1+json"
LOCK = "application/vnd.torchpair.lock.v1"
# What others look for: https://cyclonedx.org, https://github.com/in-toto/attestation
SBOM = "application/vnd.cyclonedx+json"
PROVENANCE = "application/vnd.in-toto+json"
EMPTY = b"{}"
_EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
_NAMES = {REPORT: "report.json", LOCK: "lock.txt", SBOM: "sbom.cdx.json", PROVENANCE: "provenance.intoto.json"}


@dataclass(frozen=True)
class Artifact:
    """One file that goes along, and the manifest that binds it to its image."""

    kind: str
    data: bytes
    manifest: Manifest


@dataclass(frozen=True)
class Deb:
    """One installed package of the distribution."""

    name: str
    version: str
    arch: str


def bound(kind: str, data: bytes, subject: Manifest, created: str) -> Artifact:
    """A file as an artifact of an image. created: ISO 8601, UTC: of the report, so that it does not change."""
    body = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": kind,
        "config": {"mediaType": _EMPTY_TYPE, "digest": sha256(EMPTY), "size": len(EMPTY), "data": "e30="},
        "layers": [
            {
                "mediaType": kind, "digest": sha256(data), "size": len(data),
                "annotations": {"org.opencontainers.image.title": _NAMES[kind]},
            }
        ],
        "subject": subject.descriptor,
        "annotations": {"org.opencontainers.image.created": created},
    }  # fmt: skip
    text = json.dumps(body, sort_keys=True).encode()
    return Artifact(kind, data, Manifest(OCI_MANIFEST, sha256(text), text))


def report(found: Report) -> bytes:
    """The report as it is sent."""
    return (json.dumps(found.to_json(), indent=1, sort_keys=True) + "\n").encode()


def debs(status: str) -> tuple[Deb, ...]:
    """The installed packages in a dpkg status file, by name."""
    found = []
    for paragraph in status.split("\n\n"):
        keys = dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line and line[:1].strip())
        if keys.get("Status", "").endswith(" installed") and {"Package", "Version"} <= keys.keys():
            found.append(Deb(keys["Package"], keys["Version"], keys.get("Architecture", "all")))
    return tuple(sorted(found, key=lambda deb: (deb.name, deb.arch)))


def sbom(
    repository: Repository, tag: str, subject: Manifest, lock: Lock, found: Report, installed: Sequence[Deb]
) -> bytes:
    """A CycloneDX 1.6 document: every wheel with the sha256 of the lock, what else Python sees, every Debian package.

    found: the report of the running image, whose distributions are listed where the lock does not have them.
    """
    image = Component(
        name=str(repository), version=tag, type=ComponentType.CONTAINER, bom_ref=subject.digest,
        hashes=[_sha256(subject.digest.removeprefix("sha256:"))],
    )  # fmt: skip
    bom = Bom(serial_number=uuid.uuid5(uuid.NAMESPACE_URL, f"{repository}@{subject.digest}/{found.started}"))
    bom.metadata.timestamp = datetime.fromisoformat(found.started.replace("Z", "+00:00"))
    bom.metadata.component = image
    bom.metadata.tools.components.add(Component(name="torchpair", version=__version__))
    parts = [_wheel(wheel) for wheel in lock.wheels]
    seen = found.environment.get("distributions")
    others = {str(k): str(v) for k, v in seen.items()} if isinstance(seen, dict) else {}
    locked = {wheel.name for wheel in lock.wheels}
    parts += [_python(name, version) for name, version in sorted(others.items()) if name not in locked]
    distro = (found.base or "").partition(":")[2]
    parts += [_deb(deb, distro) for deb in installed]
    for part in parts:
        bom.components.add(part)
    bom.register_dependency(image, parts)
    return (JsonV1Dot6(bom).output_as_string(indent=1) + "\n").encode()


def _sha256(digits: str) -> HashType:
    return HashType(alg=HashAlgorithm.SHA_256, content=digits)


def _wheel(wheel: Locked) -> Component:
    return Component(
        name=wheel.name, version=wheel.version, bom_ref=f"pypi:{wheel.name}@{wheel.version}",
        purl=PackageURL("pypi", None, wheel.name, wheel.version),
        hashes=[_sha256(wheel.sha256)],
        properties=[Property(name="torchpair:file", value=wheel.file)],
    )  # fmt: skip


def _python(name: str, version: str) -> Component:
    """A distribution that is installed and not locked: compiled here, or of the base."""
    return Component(
        name=name, version=version, bom_ref=f"pypi:{name}@{version}", purl=PackageURL("pypi", None, name, version),
        properties=[Property(name="torchpair:locked", value="no")],
    )  # fmt: skip


def _deb(deb: Deb, distro: str) -> Component:
    vendor = "ubuntu" if distro.startswith("ubuntu") else "debian"
    purl = PackageURL("deb", vendor, deb.name, deb.version, {"arch": deb.arch, "distro": distro} if distro else None)
    return Component(name=deb.name, version=deb.version, bom_ref=f"deb:{deb.name}:{deb.arch}", purl=purl)


def provenance(
    repository: Repository,
    subject: Manifest,
    lock: Lock,
    labels: Mapping[str, str],
    found: Report,
    made_from: Mapping[str, bytes | str],
) -> bytes:
    """An in-toto statement with SLSA's provenance v1: of what the image was made. Its claims are torchpair's own.

    made_from: by name, files in bytes (Dockerfile, matrix), of which the digest is said, and in words where a source
    that was compiled came from.
    """
    materials: list[dict[str, Any]] = [
        {"name": name, "digest": {"sha256": hashlib.sha256(text).hexdigest()}}
        if isinstance(text, bytes)
        else {"name": name, "annotations": {"source": text}}
        for name, text in sorted(made_from.items())
    ]
    base = labels.get("org.opencontainers.image.base.name")
    materials += [{"name": "base", "uri": f"docker:{base}"}] if base else []
    materials += [
        {
            "name": wheel.file,
            "uri": wheel.url or f"pkg:pypi/{quote(wheel.name)}@{quote(wheel.version)}",
            "digest": {"sha256": wheel.sha256},
        }
        for wheel in lock.wheels
    ]
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": str(repository), "digest": {"sha256": subject.digest.removeprefix("sha256:")}}],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": "urn:torchpair:image:1",
                "externalParameters": {"row": found.row, "base": found.base},
                "internalParameters": {"torchpair": __version__, "probe": {"sha256": found.probe}},
                "resolvedDependencies": materials,
            },
            "runDetails": {"builder": {"id": "urn:torchpair:builder", "version": {"torchpair": __version__}}},
        },
    }
    return (json.dumps(statement, indent=1, sort_keys=True) + "\n").encode()
