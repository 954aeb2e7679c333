"""A second Docker engine with a data root of its own: as far as images go, another machine that has none yet."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType

import docker
from docker import DockerClient

from torchpair import dockerd
from torchpair.engine import STATE

BRIDGE = "torchpair1"
NETWORK = "torchpair-second"


class Second:
    """Runs from `start` to `stop`, or as a context. It is ended by its id, and its data removed.

    first: a client of the engine that is there, which makes it a bridge. data: its data root, such as a mounted disk.
    netns: a network namespace to run in, by its path; there it needs no bridge.
    """

    def __init__(self, first: DockerClient, folder: Path, data: Path | None = None, netns: Path | None = None) -> None:
        self.first, self.folder, self.data, self.netns = first, folder, data or folder / "data", netns
        self.run = Path(tempfile.mkdtemp(prefix="torchpair-"))  # the path of a socket has at most 104 characters
        self.host = f"unix://{self.run}/docker.sock"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> DockerClient:
        """A client of it, once it answers."""
        program = dockerd._dockerd()
        assert program and os.geteuid() == 0, "a second engine needs dockerd, and root to run it"
        own = STATE / "engine/usr"
        argv = [
            str(program), f"--host={self.host}", f"--data-root={self.data}", f"--exec-root={self.run}/exec",
            f"--pidfile={self.run}/dockerd.pid", "--storage-driver=overlay2", "--iptables=false", "--ip6tables=false",
            f"--bridge={'none' if self.netns else BRIDGE}",
        ]  # fmt: skip
        if program.is_relative_to(own):
            argv.append(f"--init-path={own}/bin/docker-init")
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.netns:
            argv = ["nsenter", f"--net={self.netns}", "--", *argv]
        # A dockerd without a bridge removes docker0, which is the first one's (moby's daemon_unix.go).
        elif not self.first.networks.list(names=[NETWORK]):
            self.first.networks.create(NETWORK, options={"com.docker.network.bridge.name": BRIDGE})
        (self.run / "dockerd.pid").unlink(missing_ok=True)
        env = {**os.environ, "PATH": f"{own}/sbin:{own}/bin:{os.environ['PATH']}"}
        log = self.folder / "log.txt"
        with log.open("ab") as out:
            self.process = subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        deadline = time.monotonic() + 60
        while True:
            try:
                return docker.DockerClient(base_url=self.host, timeout=600)
            except docker.errors.DockerException:
                last = log.read_text(errors="replace")[-2000:]
                assert self.process.poll() is None and time.monotonic() < deadline, last
                time.sleep(0.2)

    def kill(self) -> None:
        """kill -9 of dockerd; its containerd lives on, as it would."""
        if self.process:
            self.process.kill()
            self.process.wait(timeout=20)

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=60)

    def __enter__(self) -> tuple[str, DockerClient]:
        return self.host, self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.stop()
        for network in self.first.networks.list(names=[NETWORK]):
            network.remove()
        # overlay2 mounts its data root upon itself, and does not take that back.
        while self.data.parent == self.folder and self.data.is_mount():
            subprocess.run(["umount", self.data], check=True)
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.rmtree(self.run, ignore_errors=True)
