"""python compiler.pyz preflight|configure|compile PLAN --source DIR; add COMPILED --lock FILE --root DIR; proof ..."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, Optional

from . import add, files, toolchain, work
from .problem import Problem

WISHES = Path("/run/secrets/wishes")


def main() -> int:
    parser = argparse.ArgumentParser(prog="compiler")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("preflight", "configure", "compile"):
        command = commands.add_parser(name)
        command.add_argument("plan", type=Path)
        command.add_argument("--source", type=Path, required=True)
        command.add_argument("--cache", type=Path, default=Path("/var/cache/torchpair"))
        command.add_argument("--out", type=Path, default=Path("/out"))
    proof = commands.add_parser("proof")
    proof.add_argument("before", type=Path)
    proof.add_argument("out", type=Path)
    adding = commands.add_parser("add")
    adding.add_argument("compiled", type=Path)
    adding.add_argument("--lock", type=Path, required=True)
    adding.add_argument("--root", type=Path, required=True)
    arguments = parser.parse_args()
    try:
        if arguments.command == "proof":
            _proof(arguments.before, arguments.out)
            return 0
        if arguments.command == "add":
            add.add(arguments.compiled, arguments.lock, arguments.root, _say)
            return 0
        plan = json.loads(arguments.plan.read_text(encoding="utf-8"))
        if arguments.command == "preflight":
            _preflight(plan, arguments.source)
        elif arguments.command == "configure":
            _configure(plan, arguments.source, arguments.cache)
        else:
            _compile(plan, arguments.source, arguments.cache, arguments.out)
    except Problem as problem:
        print(problem, flush=True)
        return 1
    return 0


def _say(line: str) -> None:
    print(line, flush=True)


def _preflight(plan: Dict[str, Any], source: Path) -> None:
    toolchain.check_source(plan, source)
    torch: Optional[Dict[str, Any]] = None
    if plan["package"] == "torchaudio":
        torch = toolchain.torch_in_place()
        toolchain.check_torch(plan, torch)
        if plan["base"] and "torchaudio" in files.distributions():
            raise Problem(
                "the base already has a torchaudio",
                "two of them in one Python end in undefined symbols",
                "a base without one: RUN pip uninstall -y torchaudio",
            )
    cxx = toolchain.check_compiler(plan)
    nvcc = toolchain.check_nvcc(plan)
    arches = toolchain.arch_list(plan, torch)
    _say("{} with {}{}{}".format(
        plan["package"], cxx, ", {}".format(nvcc) if nvcc else ", for the CPU alone",
        ", for " + " ".join(arches) if arches else "",
    ))  # fmt: skip


def _configure(plan: Dict[str, Any], source: Path, cache: Path) -> None:
    """CMake alone: minutes, where a wrong switch would else be found after hours."""
    arches = toolchain.arch_list(plan, None)
    links = Path(tempfile.mkdtemp(prefix="torchpair-"))
    env = work.environment(plan, toolchain.check_compiler(plan), arches, os.cpu_count() or 1, cache, links)
    env[plan["version_variable"]] = _version(plan, source)
    follower, log = work.Follower(lambda line: None), cache / "log" / (plan["row"] + ".configure.log")
    code = work.run(work.setup("build", "--cmake-only"), env, source, log, follower)
    if code:
        raise work.failure(plan, code, follower, 1)
    switches = work.cmake_summary(log.read_text(encoding="utf-8"))
    for name in sorted(set(work.SHOWN) & set(switches)):
        _say("{}: {}".format(name, "on" if switches[name] else "off"))
    lost = work.not_kept(plan["environment"], switches)
    if lost:
        raise Problem(
            "CMake did not keep {}".format(", ".join(lost)),
            "what such a switch needs was not found, so torch would be built without it",
            "install what is missing, or look into the log: {}".format(log.name),
        )
    _say("[configured] torch {}: {} switches are as asked for".format(env[plan["version_variable"]], len(switches)))


def _compile(plan: Dict[str, Any], source: Path, cache: Path, out: Path) -> None:
    torch = toolchain.torch_in_place() if plan["package"] == "torchaudio" else None
    arches = toolchain.arch_list(plan, torch)
    wished = work.wishes(WISHES)
    number = work.jobs(plan["package"], work.given_jobs(wished), os.cpu_count() or 1, work.memory())
    before = files.manifest() if torch else ""
    installed = files.distributions()
    links = Path(tempfile.mkdtemp(prefix="torchpair-"))
    env = work.environment(plan, toolchain.check_compiler(plan), arches, number, cache, links)
    env[plan["version_variable"]] = _version(plan, source)
    if "recache" in wished:
        env["CCACHE_RECACHE"] = "1"
    _say("compiling {} {} with MAX_JOBS={}".format(plan["package"], env[plan["version_variable"]], number))
    follower, began = work.Follower(_say), time.monotonic()
    log = cache / "log" / (plan["row"] + "." + plan["package"] + ".log")
    wheels = out / "wheel"
    argv = [*work.priority(wished), *work.setup("bdist_wheel", "--dist-dir", str(wheels))]
    code = work.run(argv, env, source, log, follower)
    counts = work.counted(links / "stats")
    if code:
        _say("{compiled} objects compiled, {cached} taken from the cache".format(**counts))
        raise work.failure(plan, code, follower, number)
    wheel = work.wheel_of(wheels)
    if torch:
        files.compare(files.parse(before), files.parse(files.manifest()), "torch")
        files.compare(installed, files.distributions(), "what is installed")
        (out / "torch.sha256").write_text(before)
        (out / "installed.json").write_text(json.dumps(installed))
    told = work.summary(plan, arches, wheel, counts, time.monotonic() - began)
    (out / "compile.json").write_text(json.dumps(told, sort_keys=True))
    _say(
        "[compiled] {compiled} objects compiled, {cached} taken from the cache, in {seconds} s: {wheel}".format(**told)
    )


def _version(plan: Dict[str, Any], source: Path) -> str:
    """The version that the wheel gets: the row's, else the source's own, with the label of what it was built for."""
    version = plan["version"]
    if version is None:
        file = source / "version.txt"
        version = file.read_text().strip() if file.is_file() else "0"
    return "{}+{}".format(version, plan["label"]) if plan["label"] else str(version)


def _proof(before: Path, out: Path) -> None:
    """In the finished environment: torch is the same to the last byte, and nothing else was replaced."""
    files.compare(files.parse((before / "torch.sha256").read_text()), files.parse(files.manifest()), "torch")
    old, new = json.loads((before / "installed.json").read_text()), files.distributions()
    files.compare(old, {name: new[name] for name in old if name in new}, "what was installed")
    if "torchaudio" not in new:
        raise Problem("torchaudio is not installed")
    out.mkdir(parents=True, exist_ok=True)
    (out / "torch.sha256").write_text((before / "torch.sha256").read_text())
    _say("torch is what it was: {} files".format(len((before / "torch.sha256").read_text().splitlines())))
