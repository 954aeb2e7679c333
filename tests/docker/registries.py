"""Debian's docker-registry, unpacked and not installed (its package would start a service), and images to put into it
that are as small as they can be: a base, some random bytes, labels; with a report that somebody made up."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torchpair import render
from torchpair import report as reports
from torchpair.lock import Lock
from torchpair.probe.select import PROFILES
from torchpair.report import CheckResult, Report
from torchpair.spec import Spec
from torchpair.workspace import Workspace

CACHE = Path(__file__).resolve().parents[2] / "build" / "docker-registry"
# "sound", by bcrypt, the one that docker-registry reads.
LOGIN = "torch:$2b$04$wiVlfPvohnqz0QW/pEwVCero62bK7FWxHBWBTLx/thh79hZyJcfRa"


def program() -> str:
    """docker-registry's path; of Debian's package, fetched once where it is not installed."""
    if installed := shutil.which("docker-registry"):
        return installed
    unpacked = CACHE / "usr/bin/docker-registry"
    if not unpacked.is_file():
        CACHE.mkdir(parents=True, exist_ok=True)
        fetch = ["apt-get", "-qq", "download", "docker-registry"]
        if subprocess.run(fetch, cwd=CACHE, check=False, capture_output=True).returncode != 0:  # no lists yet
            subprocess.run(["apt-get", "-qq", "update"], check=True, capture_output=True)
            subprocess.run(fetch, cwd=CACHE, check=True, capture_output=True)
        (package,) = CACHE.glob("docker-registry_*.deb")
        subprocess.run(["dpkg", "-x", package, CACHE], check=True, capture_output=True)
    return str(unpacked)


@dataclass
class Server:
    """A registry process on a port of 127.0.0.1 that stays the same when it is started again."""

    folder: Path
    extra: str = ""  # lines of its configuration
    readonly: bool = False
    port: int = 0
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def start(self) -> Server:
        if not self.port:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                self.port = free.getsockname()[1]
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "config.yml"
        config.write_text(
            f"version: 0.1\nlog: {{level: error}}\nstorage:\n  filesystem: {{rootdirectory: {self.data}}}\n"
            f"  delete: {{enabled: true}}\n  maintenance: {{readonly: {{enabled: {str(self.readonly).lower()}}}}}\n"
            f"http: {{addr: '{self.host}'}}\n{self.extra}"
        )
        log = (self.folder / "log.txt").open("ab")
        self.process = subprocess.Popen([program(), "serve", str(config)], stdout=log, stderr=log)
        log.close()
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"http://{self.host}/v2/", timeout=2).close()
                return self
            except urllib.error.HTTPError:
                return self
            except OSError:
                assert self.process.poll() is None, (self.folder / "log.txt").read_text()
                time.sleep(0.05)
        raise AssertionError("docker-registry does not answer")

    def stop(self, how: int = signal.SIGTERM) -> None:
        """End the process by its id."""
        if self.process and self.process.poll() is None:
            os.kill(self.process.pid, how)
            self.process.wait(timeout=20)

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://{self.host}/v2/{path}", timeout=10) as answer:
            return json.load(answer)

    def tags(self, repository: str) -> list[str]:
        """As the registry itself lists them; [] where it does not know the repository."""
        try:
            return sorted(self.get(f"{repository}/tags/list")["tags"] or [])
        except urllib.error.HTTPError as error:
            assert error.code == 404
            return []

    def manifest(self, repository: str, tag: str) -> tuple[str, dict[str, Any]]:
        """Digest and content, read past torchpair."""
        kinds = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json"
        request = urllib.request.Request(
            f"http://{self.host}/v2/{repository}/manifests/{tag}",
            headers={"Accept": f"{kinds}, application/vnd.oci.image.index.v1+json"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.headers["Docker-Content-Digest"], json.load(answer)

    def missing(self, repository: str) -> list[str]:
        """What a tag points at, by whichever way, and the registry has not whole on its disk: read past its API too."""
        lost = []
        for tag in self.tags(repository):
            _, content = self.manifest(repository, tag)
            for blob in [content.get("config"), *content.get("layers", [])]:
                if blob:
                    place = self.data / "docker/registry/v2/blobs/sha256" / blob["digest"][7:9] / blob["digest"][7:]
                    if not (place / "data").is_file() or (place / "data").stat().st_size != blob["size"]:
                        lost.append(f"{tag}: {blob['digest']}")
        return lost


def build(
    spec: Spec, context: Path, layers: dict[str, int], labels: dict[str, str] | None = None, base: str = ""
) -> str:
    """An image with a spec's labels and layers of random bytes, by the names that a row's have; its id."""
    context.mkdir(parents=True, exist_ok=True)
    for name, size in layers.items():
        (context / name).write_bytes(os.urandom(size))
    said = {**render.labels(spec), **(labels or {})}
    lines = ["FROM scratch AS made", *(f"COPY {name} /layer/{name}/opt/{name}" for name in layers)]
    lines += [f"FROM {base or spec.image}", *(f"COPY --from=made /layer/{name} /" for name in layers)]
    lines += [f"LABEL {json.dumps(key)}={json.dumps(value)}" for key, value in said.items()]
    (context / "Dockerfile").write_text("\n".join(lines) + "\n")
    argv = ["docker", "buildx", "build", "--quiet", "--load", "--provenance=false", "--tag", spec.reference, "."]
    done = subprocess.run(argv, cwd=context, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = re.search(r"sha256:[0-9a-f]{64}", done.stdout)
    assert found
    return found[0]


def made_up(lock: Lock, spec: Spec, image_id: str, started: str = "2026-11-21T12:00:00+00:00") -> Report:
    """A healthy report that nobody measured, of the right form: for tests of what is done with reports."""

    def passed(name: str) -> CheckResult:
        # GPU checks did not run, as they do not where there is none.
        gpu = name.startswith("cuda.")
        return CheckResult(name, "made up", "skip" if gpu else "pass", 1, 1, None, 0.1, None, "gpu" if gpu else None)

    environment: dict[str, Any] = {
        "python": f"{spec.python}.9", "machine": "x86_64", "torch": f"{spec.torch}+{spec.variant}",
        "torchaudio": f"{spec.torchaudio}+{spec.variant}", "torchcodec": spec.torchcodec, "torch_cuda": spec.cuda,
        "sm": list(spec.sm or ()), "distributions": lock.versions,
    }  # fmt: skip
    return Report(
        row=spec.name, image=spec.reference, image_id=image_id, base=f"{spec.base}:{spec.distro}", started=started,
        seconds=1.0, gpu="auto", environment=environment,
        checks=tuple(passed(name) for name in ("probe.finished", *PROFILES["core"])), size=1, probe="0" * 64, log="",
    )  # fmt: skip


def failed(report: Report, name: str = "dsp.lfilter") -> Report:
    """The same report with one check that failed."""
    return replace(
        report,
        checks=tuple(replace(check, status="fail") if check.id == name else check for check in report.checks),
    )


def save(workspace: Workspace, report: Report) -> Path:
    return reports.save(report, workspace.reports)
