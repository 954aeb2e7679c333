"""Report, lock, SBOM and provenance as artifacts: what they say, and that they are the same each time."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from published import labels, lock, report, spec

from torchpair import artifacts, strict_json
from torchpair.artifacts import Deb
from torchpair.registry import OCI_MANIFEST, Manifest
from torchpair.report import Report
from torchpair.wire import Repository, sha256

WHERE = Repository("127.0.0.1:5000", "torchpair")
SUBJECT = Manifest(OCI_MANIFEST, sha256(b"subject"), b"subject")
SPEC = spec()
ID = sha256(b"image")
STATUS = """Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.36-9+deb12u10
Description: GNU C Library
 Version: this is a description

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1

Package: base-files
Status: install ok installed
Version: 12.4+deb12u11
"""


def test_packages_of_a_status_file() -> None:
    assert artifacts.debs(STATUS) == (
        Deb("base-files", "12.4+deb12u11", "all"),
        Deb("libc6", "2.36-9+deb12u10", "amd64"),
    )
    assert artifacts.debs("") == artifacts.debs("nonsense\n\n\n: :") == ()


def test_a_manifest_of_an_artifact() -> None:
    made = artifacts.bound(artifacts.LOCK, b"lock", SUBJECT, "2026-11-21T12:00:00+00:00")
    body = made.manifest.content
    assert body["subject"] == {"mediaType": OCI_MANIFEST, "digest": SUBJECT.digest, "size": 7}
    assert (body["artifactType"], body["config"]["digest"]) == (artifacts.LOCK, sha256(b"{}"))
    (layer,) = body["layers"]
    assert (layer["digest"], layer["size"]) == (sha256(b"lock"), 4)
    assert made.manifest.digest == sha256(made.manifest.body)
    assert made == artifacts.bound(artifacts.LOCK, b"lock", SUBJECT, "2026-11-21T12:00:00+00:00")


def test_the_report_is_the_report() -> None:
    found = report(SPEC, ID)
    assert Report.from_json(strict_json.parse(artifacts.report(found), "x")) == found


@pytest.mark.parametrize(
    "text", ['torch: "2.8.0", cuda: "12.8", python: "3.11"', 'torch: "2.14.1", cuda: "13.0", python: "3.13"']
)
def test_the_sbom(text: str) -> None:
    of = spec(text)
    found = report(of, ID)
    more = {**found.environment["distributions"], "mine": "1.0"}
    found = replace(found, environment={**found.environment, "distributions": more})

    def make() -> bytes:
        return artifacts.sbom(WHERE, of.tag, SUBJECT, lock(of), found, artifacts.debs(STATUS))

    bom = json.loads(make())
    assert make() == make()
    assert (bom["bomFormat"], bom["specVersion"]) == ("CycloneDX", "1.6")
    assert bom["metadata"]["component"]["version"] == of.tag
    parts = {part["purl"]: part for part in bom["components"]}
    torch = parts[f"pkg:pypi/torch@{of.torch}"]
    assert torch["hashes"] == [{"alg": "SHA-256", "content": "ab" * 32}]
    assert "hashes" not in parts["pkg:pypi/mine@1.0"]
    assert f"pkg:deb/debian/libc6@2.36-9%2Bdeb12u10?arch=amd64&distro={of.distro}" in parts
    assert len(parts) == 3 + 1 + 2


def test_the_provenance() -> None:
    made_from = {"Dockerfile": b"FROM x", "source of torchaudio": "folder audio"}
    text = artifacts.provenance(WHERE, SUBJECT, lock(SPEC), labels(SPEC), report(SPEC, ID), made_from)
    found = json.loads(text)
    assert found["_type"] == "https://in-toto.io/Statement/v1"
    assert found["subject"] == [{"name": str(WHERE), "digest": {"sha256": SUBJECT.digest[7:]}}]
    materials = {item["name"]: item for item in found["predicate"]["buildDefinition"]["resolvedDependencies"]}
    assert materials["Dockerfile"]["digest"] == {"sha256": sha256(b"FROM x")[7:]}
    assert materials["source of torchaudio"]["annotations"] == {"source": "folder audio"}
    assert materials["base"]["uri"] == "docker:torchpair-base:debian12"
    assert materials["torch-2.8.0-py3-none-any.whl"]["uri"] == "pkg:pypi/torch@2.8.0"
