"""A local base of Ubuntu, made for real from Ubuntu's archive: about a minute."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from docker import DockerClient

from torchpair import base
from torchpair.engine import STATE, Engine
from torchpair.errors import EngineError
from torchpair.suite import SUITES, UBUNTU

REPOSITORY = "torchpair-test-base"
DISTRO = "ubuntu24.04"


@pytest.fixture
def fresh(client: DockerClient, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Bases get a name of their own, so that one is made although the engine has it."""
    monkeypatch.setattr(base, "REPOSITORY", REPOSITORY)
    yield
    for image in client.images.list(REPOSITORY):
        client.images.remove(image.id, force=True)


def in_image(client: DockerClient, reference: str, command: str) -> str:
    return client.containers.run(reference, ["bash", "-ec", command], remove=True).decode().strip()


def test_a_base_of_ubuntu_whose_apt_checks_with_its_own_keys(client: DockerClient, engine: Engine, fresh: None) -> None:
    reference = base.ensure_local(engine, DISTRO, print)
    assert reference == f"{REPOSITORY}:{DISTRO}"
    assert in_image(client, reference, ". /etc/os-release; echo $ID $VERSION_ID") == "ubuntu 24.04"
    # No key but those of sources.list's signed-by: what is not signed by it ends apt-get update with an error.
    command = "rm /etc/apt/trusted.gpg.d/*; apt-get update -qq -o APT::Update::Error-Mode=any; apt-cache policy {}"
    for package, version in (("python3", "3.12."), ("tini", "0."), ("ffmpeg", "7:6.")):
        assert f"Candidate: {version}" in in_image(client, reference, command.format(package))
    # Not the release of April 2024, but what its updates brought since.
    behind = "apt-get update -qq; apt-get --just-print dist-upgrade | grep -c ^Inst || true"
    assert int(in_image(client, reference, behind)) < 5
    assert not (STATE / "base" / DISTRO).exists()
    labels = client.images.get(reference).labels
    assert labels["torchpair.base.suite"] == "noble" and labels["torchpair.base.date"] > "2026"


def test_an_archive_that_cannot_be_asked_leaves_nothing(
    client: DockerClient, engine: Engine, fresh: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As on a machine without Ubuntu's keyring.
    unknown = replace(UBUNTU, keyring=UBUNTU.keyring.with_name("not-here.gpg"))
    monkeypatch.setitem(SUITES, DISTRO, replace(SUITES[DISTRO], archive=replace(unknown, id="other")))
    with pytest.raises(EngineError, match="cannot be asked for its keys") as caught:
        base.ensure_local(engine, DISTRO, print, "http://127.0.0.1:1")
    assert "http://127.0.0.1:1/other/dists/noble" in str(caught.value)
    assert not (STATE / "base" / DISTRO).exists()
    assert client.images.list(REPOSITORY) == []
