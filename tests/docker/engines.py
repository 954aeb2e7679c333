"""A second Docker engine with a data root of its own: as far as images go, another machine that has none yet."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
from docker import DockerClient

from torchpair import engine as engines

BRIDGE = "torchpair1"


@contextmanager
def second(first: DockerClient, folder: Path) -> Iterator[tuple[str, DockerClient]]:
    """Its address and a client of it. It is ended by its id, and its data removed."""
    program = engines._dockerd()
    assert program and os.geteuid() == 0, "a second engine needs dockerd, and root to run it"
    own = engines.STATE / "engine/usr"
    run = Path(tempfile.mkdtemp(prefix="torchpair-"))  # the path of a socket has at most 104 characters
    host = f"unix://{run}/docker.sock"
    argv = [
        str(program), f"--host={host}", f"--data-root={folder}/data", f"--exec-root={run}/exec",
        f"--pidfile={run}/dockerd.pid", "--storage-driver=overlay2", f"--bridge={BRIDGE}", "--iptables=false",
        "--ip6tables=false",
    ]  # fmt: skip
    if program.is_relative_to(own):
        argv.append(f"--init-path={own}/bin/docker-init")
    env = {**os.environ, "PATH": f"{own}/sbin:{own}/bin:{os.environ['PATH']}"}
    folder.mkdir(parents=True)
    # A dockerd without a bridge removes docker0, which is the first one's (moby's daemon_unix.go).
    for left in first.networks.list(names=["torchpair-second"]):
        left.remove()
    network = first.networks.create("torchpair-second", options={"com.docker.network.bridge.name": BRIDGE})
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    client = None
    try:
        deadline = time.monotonic() + 60
        while client is None:
            try:
                client = docker.DockerClient(base_url=host, timeout=600)
            except docker.errors.DockerException:
                last = (folder / "log.txt").read_text()[-2000:]
                assert process.poll() is None and time.monotonic() < deadline, last
                time.sleep(0.2)
        yield host, client
    finally:
        if client:
            client.close()
        process.terminate()
        process.wait(timeout=60)
        network.remove()
        # overlay2 mounts its data root upon itself, and does not take that back.
        while (folder / "data").is_mount():
            subprocess.run(["umount", folder / "data"], check=True)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(run, ignore_errors=True)
