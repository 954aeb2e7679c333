"""Makes the image of a case: a container of a default image, the case's script in it, its changes as a thin layer."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from docker import DockerClient

from torchpair import check
from torchpair.engine import Engine
from torchpair.report import Report

from .cases import HERE, PYTHONS, SITES, Case

CACHE = HERE.parents[1] / "build" / "sabotage"


def wheel(requirement: str, python: str) -> Path:
    """A wheel from PyPI, fetched once."""
    folder = CACHE / "wheels" / python / requirement
    if not list(folder.glob("*.whl")):
        platforms = [f"--platform=manylinux{name}_x86_64" for name in ("2014", "_2_17", "_2_28")]
        argv = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", *platforms]
        argv += [f"--python-version={python}", "--platform=linux_x86_64", f"--dest={folder}", requirement]
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    (found,) = folder.glob("*.whl")
    return found


def library(name: str) -> Path:
    """A library compiled here: libcuda.so.1 is the pretended driver, any other has nothing in it."""
    target = CACHE / name
    source = HERE / "libcuda.c" if name.startswith("libcuda") else Path("/dev/null")
    if not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        argv = ["cc", "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", str(target), "-x", "c", str(source)]
        subprocess.run(argv, check=True)
    return target


def _files(case: Case) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.add(HERE / "pretend.py", "pretend.py")
        for name in re.findall(r"/tmp/(lib[\w.+]+)", case.script):
            tar.add(library(name), name)
        for requirement in case.wheels:
            file = wheel(requirement, PYTHONS[case.image])
            tar.add(file, f"wheels/{file.name}")
    return buffer.getvalue()


@contextmanager
def image(client: DockerClient, case: Case, tag: str) -> Iterator[str]:
    """The reference of the case's image, for as long as the context lasts. RuntimeError when its script fails."""
    reference = f"torchpair-sabotage:{tag}"
    config = client.images.get(case.image).attrs["Config"]
    container = client.containers.create(
        case.image, ["-ec", case.script + "; rm -rf /tmp/*"], entrypoint=["/bin/sh"], user="0:0",
        environment={"S": SITES[case.image]}, network_mode="none",
    )  # fmt: skip
    try:
        container.put_archive("/tmp", _files(case))
        container.start()
        if container.wait(timeout=120)["StatusCode"] != 0:
            raise RuntimeError(f"{case.name}: {container.logs().decode(errors='replace')}")
        changes = dict(e.split("=", 1) for e in config["Env"]) | dict(case.env)
        container.commit(
            "torchpair-sabotage", tag,
            conf={
                **config, "Env": [f"{name}={value}" for name, value in changes.items()],
                "User": case.user or config["User"], "WorkingDir": case.workdir or config["WorkingDir"],
            },
        )  # fmt: skip
    finally:
        container.remove(force=True)
    try:
        yield reference
    finally:
        client.images.remove(reference, force=True)


def examine(engine: Engine, client: DockerClient, case: Case, tag: str, probe: Path, digest: str) -> Report:
    """What the check finds in a case's image; the image is removed."""
    with image(client, case, tag) as reference:
        return check.image(
            engine, reference, probe=probe, probe_sha256=digest, memory=case.memory, cpus=case.cpus
        )  # fmt: skip
