"""Specs -> images, through `docker buildx build`. One call per row: rows share what they share in BuildKit, which works
once on a step that two calls ask for at a time, and a row that fails takes no other with it."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

import docker.errors
import requests.exceptions

from torchpair import mirrors, plan
from torchpair.buildx import Running, Steps, call
from torchpair.engine import Engine
from torchpair.errors import BuildError
from torchpair.journal import Journal
from torchpair.matrix import Mirror
from torchpair.progress import Progress, Silent
from torchpair.spec import Spec

# Certificates of this machine, for downloads behind a proxy that opens TLS. They go in as a secret, never into a layer.
CA_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "CURL_CA_BUNDLE")
CA_DEFAULT = "/etc/ssl/certs/ca-certificates.crt"


@dataclass(frozen=True)
class Built:
    """What became of one row: an image, or the reason why there is none."""

    spec: Spec
    image_id: str | None
    size: int | None  # bytes, unpacked
    seconds: float
    changed: bool  # False: the image was there already, the same to the last byte
    error: str | None
    log: Path


@dataclass(frozen=True)
class Inputs:
    """What a build takes from this machine: sources and a bundle by build context, how many compilers may run at a
    time, whether what ccache has is compiled again all the same, and the network of its steps ("none", "host"; None:
    buildx's own). told: the sources in words, by package. nice: compilers run at the lowest priority."""

    contexts: Mapping[str, Path] = field(default_factory=dict)
    max_jobs: int | None = None
    recache: bool = False
    told: Mapping[str, str] = field(default_factory=dict)
    network: str | None = None
    nice: bool = False


def ca_bundle() -> Path | None:
    """This machine's certificates: what the environment names, else the distribution's bundle."""
    for name in CA_VARIABLES:
        path = Path(os.environ.get(name) or "/nonexistent")
        if path.is_file():
            return path
    return Path(CA_DEFAULT) if Path(CA_DEFAULT).is_file() else None


def images(
    engine: Engine,
    specs: Sequence[Spec],
    folder: Path,
    logs: Path,
    progress: Progress,
    jobs: int,
    mirror: Mirror = mirrors.NONE,
    fresh: bool = False,
    inputs: Mapping[str, Inputs] | None = None,
    journal: Journal | None = None,
) -> list[Built]:
    """Build every spec, `jobs` at a time, in the folder that holds dockerfiles/. Never raises for a failed row.

    fresh: every step anew, whatever the cache has, under the spec's own tag.
    """
    logs.mkdir(parents=True, exist_ok=True)
    running = Running()
    pool = ThreadPoolExecutor(max_workers=max(1, jobs))
    try:
        futures = [
            pool.submit(
                _one, engine, spec, folder, logs / f"{spec.name}.log", progress, running, mirror, fresh,
                (inputs or {}).get(spec.name, Inputs()), journal,
            )
            for spec in specs
        ]  # fmt: skip
        return [future.result() for future in futures]
    except BaseException:  # Ctrl-C too: buildx cancels its build when it is ended
        running.end()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _one(
    engine: Engine,
    spec: Spec,
    folder: Path,
    log: Path,
    progress: Progress,
    running: Running,
    mirror: Mirror,
    fresh: bool,
    inputs: Inputs,
    journal: Journal | None,
) -> Built:
    began = time.monotonic()
    if journal:
        journal.note(spec.name, "building")
    try:
        built = _build(engine, spec, folder, log, progress, running, mirror, fresh, inputs)
    except (docker.errors.DockerException, requests.exceptions.RequestException) as problem:
        error = f"the engine does not answer: {problem}"
        progress.end(spec.name, f"build failed: {error.splitlines()[0]}")
        built = Built(spec, None, None, time.monotonic() - began, False, error, log)
    if journal:
        journal.note(spec.name, "built" if built.image_id else "failed", built.image_id)
    return built


def _build(
    engine: Engine,
    spec: Spec,
    folder: Path,
    log: Path,
    progress: Progress,
    running: Running,
    mirror: Mirror,
    fresh: bool,
    inputs: Inputs,
) -> Built:
    began = time.monotonic()
    before = image(engine, spec.reference)
    more = ["--load", "--tag", spec.reference, *(["--no-cache"] if fresh else [])]
    steps = Steps(spec.name, progress)
    code = _buildx(engine, spec, folder, log, steps, running, mirror, inputs, more)
    if spec.recipes and (code or steps.compiled):
        _whole_log(engine, spec, folder, log, mirror, inputs)
    seconds = time.monotonic() - began
    after = image(engine, spec.reference) if code == 0 else None
    if after is None:
        error = steps.failure or f"buildx ended with {code}"
        progress.end(spec.name, f"build failed: {error.splitlines()[0]}")
        return Built(spec, None, None, seconds, False, error, log)
    changed = before is None or before[0] != after[0]
    if before and changed:
        _remove_replaced(engine, before[0])
    progress.end(spec.name, f"built in {seconds:.0f} s" if changed else f"unchanged ({seconds:.1f} s)")
    return Built(spec, after[0], after[1], seconds, changed, None, log)


def _buildx(
    engine: Engine,
    spec: Spec,
    folder: Path,
    log: Path,
    steps: Steps,
    running: Running | None,
    mirror: Mirror,
    inputs: Inputs,
    more: Sequence[str],
) -> int:
    """One call of buildx; its exit code."""
    arguments, context = plan.build(spec)
    argv = [*engine.buildx, "build", "--progress", "rawjson", *arguments, *more]
    bundle = ca_bundle()
    if bundle:
        argv += ["--secret", f"id=ca,src={bundle}"]
    for name, value in mirrors.build_arguments(spec, mirror).items():
        argv += ["--build-arg", f"{name}={value}"]
    if network := inputs.network or ("host" if mirrors.here(mirror) else None):
        argv += ["--network", network]
    for name, path in inputs.contexts.items():
        argv += ["--build-context", f"{name}={path.resolve()}"]  # buildx is called in the matrix's folder
    wishes = [f"jobs={inputs.max_jobs}"] if inputs.max_jobs else []
    wishes += ["recache=1"] if inputs.recache else []
    wishes += ["nice=1"] if inputs.nice else []
    # A secret does not count as a change: the same compile with fewer jobs is the same compile.
    told = {"wishes": "\n".join(wishes), "netrc": mirrors.logins(mirror)}
    return call(engine, [*argv, context], log, steps, folder, running, told)


def _whole_log(engine: Engine, spec: Spec, folder: Path, log: Path, mirror: Mirror, inputs: Inputs) -> None:
    """Put the compiler's own whole log beside the build's: BuildKit cuts a step's off at 2 MiB."""
    where = log.parent.resolve()  # buildx is called in the matrix's folder
    more = ["--target", "log", "--output", f"type=local,dest={where}", "--build-arg", f"ASKED={time.time()}"]
    steps = Steps(spec.name, Silent())
    with tempfile.TemporaryDirectory(prefix="torchpair-") as temporary:
        _buildx(engine, spec, folder, Path(temporary) / "log", steps, None, mirror, inputs, more)


def preflight(
    engine: Engine, spec: Spec, folder: Path, log: Path, progress: Progress, mirror: Mirror, inputs: Inputs
) -> None:
    """Look whether everything is there for what a row compiles; of torch, let CMake configure it. Raises BuildError."""
    log.parent.mkdir(parents=True, exist_ok=True)
    steps = Steps(spec.name, progress)
    # cacheonly: the stage is run, and nothing of it is taken out.
    more = ["--target", "preflight", "--output", "type=cacheonly", "--build-arg", f"ASKED={time.time()}"]
    code = _buildx(engine, spec, folder, log, steps, None, mirror, inputs, more)
    if code:
        raise BuildError(f"{spec.name}: {steps.failure or f'buildx ended with {code}'}", why=f"log: {log}")


def wheel(
    engine: Engine,
    spec: Spec,
    folder: Path,
    output: Path,
    log: Path,
    progress: Progress,
    mirror: Mirror,
    inputs: Inputs,
) -> list[Path]:
    """Compile what a row compiles and put the wheels into a folder. Raises BuildError."""
    log.parent.mkdir(parents=True, exist_ok=True)
    steps = Steps(spec.name, progress)
    with tempfile.TemporaryDirectory(prefix="torchpair-wheel-") as temporary:
        more = ["--target", "wheel", "--output", f"type=local,dest={temporary}"]
        code = _buildx(engine, spec, folder, log, steps, None, mirror, inputs, more)
        if code or steps.compiled:
            _whole_log(engine, spec, folder, log, mirror, inputs)
        found = sorted(Path(temporary).rglob("*.whl"))
        if code or not found:
            raise BuildError(f"{spec.name}: {steps.failure or f'buildx ended with {code}'}", why=f"log: {log}")
        output.mkdir(parents=True, exist_ok=True)
        for path in found:
            shutil.copyfile(path, output / path.name)
    return [output / path.name for path in found]


def image(engine: Engine, reference: str) -> tuple[str, int] | None:
    """Id and size of an image in the engine, or None."""
    with closing(engine.client()) as client:
        try:
            attributes = client.images.get(reference).attrs
        except docker.errors.ImageNotFound:
            return None
    return str(attributes["Id"]), int(attributes["Size"])


def _remove_replaced(engine: Engine, image_id: str) -> None:
    """Remove the image that the tag named before, where no other tag and no container holds it: several GB each."""
    with closing(engine.client()) as client, suppress(docker.errors.APIError):
        if not client.images.get(image_id).tags:
            client.images.remove(image_id)
