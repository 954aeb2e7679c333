"""`make upstream-tests`: torchaudio's own unit tests in the torch 2.6.0 images, wheel and source, and beside plain pip.

python -m tests.upstream [-k EXPRESSION] [--only ENVIRONMENT]... The tests are those of Debian 13's source package, and
none is edited. What they import is put into throw-away images upon the ones that are tested. Ends with 1 where two
environments do not pass the same tests. Images of rows that are missing are built first.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.source import debian_archive

from torchpair import base as bases
from torchpair import build, dockerd, mirrors
from torchpair.engine import Engine
from torchpair.sources import fetch, parse

from . import outcomes
from .outcomes import Outcome

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
# What is run, below test/torchaudio_unittest.
TESTS = ("functional", "transforms", "compliance", "kaldi_io_test.py")
# What is not, by a part of its name, and why.
LEFT_OUT: dict[str, str] = {}
NEEDED = (HERE / "requirements.txt").read_text(encoding="utf-8")

UPON = """\
ARG BASE
FROM ${BASE}
USER 0
COPY requirements.txt /tmp/
ARG PYPI_INDEX=
RUN --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \\
    PIP_CERT=/etc/ssl/certs/ca-certificates.crt \\
    python3 -m pip install --no-cache-dir --no-deps -r /tmp/requirements.txt ${PYPI_INDEX:+--index-url "$PYPI_INDEX"}
USER 10001
"""
PLAIN = """\
ARG BASE
FROM ${BASE}
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates ffmpeg python3-venv \\
 && useradd --uid 10001 --create-home torchpair && python3 -m venv /opt/plain
ENV PATH=/opt/plain/bin:$PATH USER=torchpair HOME=/home/torchpair
ARG PYPI_INDEX=
RUN --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \\
    PIP_CERT=/etc/ssl/certs/ca-certificates.crt pip install --no-cache-dir torch==2.6.0 torchaudio==2.6.0 \\
      ${PYPI_INDEX:+--index-url "$PYPI_INDEX"}
"""


@dataclass(frozen=True)
class Environment:
    """Where the tests run. row: of the matrix; None: a plain pip install."""

    name: str
    row: str | None
    image: str


ENVIRONMENTS = (
    Environment("wheel", "torch2.6.0-cu124-py313", "torchpair:2.6.0-cu124-py313-debian13"),
    Environment("source", "torch2.6.0-audiosrc-cu124-py313", "torchpair:2.6.0-audio2.6.0src-cu124-py313-debian13"),
    Environment("plain", None, "torchpair-upstream:plain-pip"),
)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.upstream")
    parser.add_argument("-k", dest="expression", help="pytest's own: only the tests whose names match")
    parser.add_argument("--only", action="append", choices=[one.name for one in ENVIRONMENTS])
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "upstream-tests.md", help="the page")
    asked = parser.parse_args(argv)
    engine = dockerd.ensure(print)
    os.environ["DOCKER_HOST"] = engine.host
    found: dict[str, dict[str, Outcome]] = {}
    with tempfile.TemporaryDirectory(prefix="torchpair-upstream-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        archive = debian_archive(folder)
        source = fetch(parse(archive), folder / "sources", mirrors.NONE, print)
        for one in ENVIRONMENTS:
            if asked.only and one.name not in asked.only:
                continue
            image = prepared(engine, one, archive, folder)
            began = time.monotonic()
            try:
                found[one.name] = run(engine, image, source / "test", folder / one.name, asked.expression)
            finally:
                docker(engine, "rmi", "--force", image, *([] if one.row else [one.image]))
            print(f"{one.name}: {outcomes.counts(found[one.name])} in {time.monotonic() - began:.0f} s", flush=True)
    text = page(found)
    print(text)
    if asked.expression is None and not asked.only:  # a part is no page
        asked.output.parent.mkdir(exist_ok=True)
        asked.output.write_text(text, encoding="utf-8")
    return 0 if outcomes.same(found) else 1


def docker(engine: Engine, *argv: str, text: str | None = None) -> str:
    done = subprocess.run(
        [engine.docker or "docker", *argv], env=engine.env(), input=text, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def prepared(engine: Engine, one: Environment, archive: str, folder: Path) -> str:
    """A throw-away image: the one that is tested, and upon it what the tests import."""
    if build.image(engine, one.image) is None:
        print(f"{one.name}: making {one.image}", flush=True)
        if one.row is None:
            made(engine, PLAIN, one.image, bases.ensure_local(engine, "debian13", print), folder)
        else:
            more = ["--source", archive] if "src" in one.row else []
            argv = [sys.executable, "-m", "torchpair.cli", "build", one.row, "--base", "local", *more]
            subprocess.run(argv, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return made(engine, UPON, f"torchpair-upstream:{one.name}", one.image, folder)


def made(engine: Engine, dockerfile: str, tag: str, base: str, folder: Path) -> str:
    context = folder / "context"
    context.mkdir(exist_ok=True)
    (context / "requirements.txt").write_text(NEEDED, encoding="utf-8")
    argv = ["build", "--quiet", "--load", "--tag", tag, "--build-arg", f"BASE={base}", "--file", "-"]
    if bundle := build.ca_bundle():
        argv += ["--secret", f"id=ca,src={bundle}"]
    if index := mirrors.from_environment(mirrors.NONE).pypi:
        argv += ["--build-arg", f"PYPI_INDEX={index}"]
    done = subprocess.run(
        [*engine.buildx, *argv, str(context)], env=engine.env(), input=dockerfile, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return tag


def run(engine: Engine, image: str, tests: Path, out: Path, expression: str | None) -> dict[str, Outcome]:
    """The tests in a container without network, as the image's user; two at a time, a thread each."""
    out.mkdir()
    out.chmod(0o777)
    argv = ["run", "--rm", "--network", "none", "--user", "10001", "--workdir", "/upstream/test"]
    argv += ["--volume", f"{tests}:/upstream/test:ro", "--volume", f"{out}:/out"]
    argv += ["--env", "OMP_NUM_THREADS=1", "--env", "PYTHONDONTWRITEBYTECODE=1", "--env", "NUMBA_CACHE_DIR=/tmp/numba"]
    pytest = ["python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "2", "--junitxml=/out/junit.xml"]
    pytest += ["-k", chosen(expression)] if chosen(expression) else []
    pytest += [f"torchaudio_unittest/{name}" for name in TESTS]
    log = out / "pytest.log"
    with log.open("w") as words:
        done = subprocess.run(
            [engine.docker or "docker", *argv, "--entrypoint", "", image, *pytest], env=engine.env(), stdout=words,
            stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
    # 1: some tests failed, which is what is looked at here.
    assert done.returncode in (0, 1), log.read_text()[-3000:]
    return outcomes.parse((out / "junit.xml").read_text(encoding="utf-8"))


def chosen(expression: str | None) -> str:
    """pytest's -k: what was asked for, without what is left out."""
    return " and ".join([*([f"({expression})"] if expression else []), *(f"not {name}" for name in LEFT_OUT)])


def page(found: Mapping[str, Mapping[str, Outcome]]) -> str:
    """What came of it, in Markdown."""
    words = {one.name: one.row or "`pip install torch==2.6.0 torchaudio==2.6.0`" for one in ENVIRONMENTS}
    lines = [
        "# Upstream's own tests", "", "Made by `make upstream-tests`: do not edit.", "",
        f"torchaudio 2.6.0's unit tests ({', '.join(TESTS)}) from Debian 13's source package pytorch-audio 2.6.0-1, "
        "none edited, without a GPU.", "",
    ]  # fmt: skip
    if LEFT_OUT:
        lines += ["Left out, by what their names contain:", ""]
        lines += [*(f"- `{name}`: {why}" for name, why in LEFT_OUT.items()), ""]
    lines += ["| environment | what it is | passed | failed | skipped |", "|---|---|--:|--:|--:|"]
    for name, each in found.items():
        numbers = " | ".join(str(number) for number in outcomes.counts(each).values())
        lines.append(f"| {name} | {words[name]} | {numbers} |")
    lines += ["", "Every environment passes the same tests." if outcomes.same(found) else "The passes DIFFER.", ""]
    differ = outcomes.differences(found)
    lines += ["## Where they differ", "", "| test | " + " | ".join(found) + " |", "|---" * (len(found) + 1) + "|"]
    lines += [f"| `{name}` | " + " | ".join(each.values()) + " |" for name, each in differ.items()]
    lines = lines if differ else lines[:-4]
    for result, title in (("failed", "Failures"), ("skipped", "Skips")):
        why = outcomes.reasons(found, result)
        if why:
            lines += ["", f"## {title}, by reason", "", "| reason | " + " | ".join(found) + " |"]
            lines += ["|---" + "|--:" * len(found) + "|"]
            for reason, each in why.items():
                told = reason.replace("|", "\\|").replace("`", "'")
                lines.append(f"| `{told or 'none given'}` | " + " | ".join(str(n) for n in each.values()) + " |")
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
