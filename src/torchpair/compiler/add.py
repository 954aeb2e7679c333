"""Adds the compiled torchaudio to a base's own environment, as a tree of files to be copied over the base's root."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Callable, Dict, List

from . import files, toolchain
from .problem import Problem
from .work import wheel_of

CONSTRAINT = Path("/etc/pip/constraint.txt")  # where NGC has it since 25.03
HEAD = "# torch is the base's, and torchaudio was compiled against it: to pip and uv these two are as they are."


def add(compiled: Path, lock: Path, root: Path, say: Callable[[str], None]) -> None:
    """Install the wheel, and of the lock what the base lacks, below `root`; and a constraint that keeps both."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        raise Problem("there is no torch in this Python")
    site = Path(spec.origin).parent.parent
    target = root / site.relative_to("/")
    wheel = wheel_of(compiled / "wheel")
    _pip(["--no-index", "--no-deps", "--target", str(target), "--find-links", str(wheel.parent), "torchaudio"])
    installed = files.distributions()
    lines = missing(lock.read_text().splitlines(), installed)
    if lines:
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as chosen:
            chosen.write("\n".join(lines) + "\n")
            chosen.flush()
            _pip(["--no-deps", "--require-hashes", "--target", str(target), "-r", chosen.name])
    shutil.rmtree(str(target / "bin"), ignore_errors=True)
    for cache in list(target.rglob("__pycache__")):
        shutil.rmtree(str(cache))
    pins = {"torch": _version(installed), "torchaudio": wheel.name.split("-")[1]}
    old = Path(os.environ.get("PIP_CONSTRAINT") or CONSTRAINT)
    text = constraint(old.read_text() if old.is_file() else "", pins)
    file = root / CONSTRAINT.relative_to("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    say("added to {}: {}".format(site, ", ".join([wheel.name, *(line.split()[0] for line in lines)])))


def _version(installed: Dict[str, str]) -> str:
    """torch's version as pip sees it; a distribution's package may have no metadata, then as torch says it."""
    return installed["torch"].split()[0] if "torch" in installed else str(toolchain.torch_in_place()["version"])


def missing(lock: List[str], installed: Dict[str, str]) -> List[str]:
    """The lines of a lock whose package the base does not have in any version."""
    return [line for line in lock if line.strip() and re.split(r"[=@ ]", line, maxsplit=1)[0] not in installed]


def constraint(old: str, pins: Dict[str, str]) -> str:
    """What the base constrains already, and the two that must stay."""
    name = re.compile(r"\s*({})\s*(?:[=<>!~@;\[]|$)".format("|".join(pins)), re.IGNORECASE)
    kept = [line for line in old.splitlines() if not name.match(line)]
    return "\n".join([*kept, HEAD, *("{}=={}".format(*pin) for pin in pins.items())]) + "\n"


def _pip(arguments: List[str]) -> None:
    env = {key: value for key, value in os.environ.items() if key != "PIP_CONSTRAINT"}
    argv = [sys.executable, "-m", "pip", "install", "--no-cache-dir", "--no-compile", *arguments]
    done = subprocess.run(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise Problem("pip could not install into the base", done.stdout.decode("utf-8", "replace").strip()[-2000:])
