"""The compile itself: environment, jobs, progress, the whole log, and what went wrong in a few lines."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any, Callable, Deque, Dict, List, Optional

from .problem import Problem
from .toolchain import Plan, cuda_home

# What an image may export for its own builds, and what would change ours: NGC sets the first four.
UNSET = (
    "PYTORCH_VERSION", "PIP_CONSTRAINT", "PYTORCH_BUILD_VERSION", "PYTORCH_BUILD_NUMBER", "BUILD_VERSION",
    "TORCH_CUDA_ARCH_LIST", "CMAKE_GENERATOR", "CFLAGS", "CXXFLAGS", "LDFLAGS", "NVCC_APPEND_FLAGS",
)  # fmt: skip
SETUPTOOLS = "/opt/setuptools"
GIGABYTE = 1 << 30
MEMORY_PER_JOB = {"torch": 6, "torchaudio": 2}  # GB: flash-attention's kernels take 5 each, torchaudio's under 2
_STEP = re.compile(r"\[(\d+)/(\d+)\] ?(.*)")
_OBJECT = re.compile(r"(?:-o |object )\S*?([\w.+-]+)\.o\b")
_MEMORY = re.compile(
    r"Killed signal terminated program|died due to signal 9|signal: killed|internal compiler error: Killed|"
    r"fatal error: Killed|virtual memory exhausted|[Cc]annot allocate memory|std::bad_alloc|out of memory allocating"
)
_ERROR = re.compile(r"(?<!\w)(?:fatal error|error|Error)\b ?(?::|#\d)|undefined reference|CMake Error|^\w*Error: |^E: ")
CONTEXT = 8


def jobs(package: str, given: Optional[int], cores: int, memory: int) -> int:
    """How many compilers at a time: what was asked for, else what cores and memory (bytes) allow."""
    if given:
        return given
    return max(1, min(cores, memory // (MEMORY_PER_JOB[package] * GIGABYTE)))


def memory() -> int:
    """Bytes that this container may use."""
    found = [int(line.split()[1]) * 1024 for line in _lines("/proc/meminfo") if line.startswith("MemTotal:")]
    limit = "".join(_lines("/sys/fs/cgroup/memory.max")).strip()
    return min([*found, *([int(limit)] if limit.isdigit() else [])] or [GIGABYTE])


def _lines(path: str) -> List[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def wishes(file: Path) -> Dict[str, str]:
    """What the command line asks of a compile ("jobs=2"): a secret, so that it does not count as a change of it."""
    lines = _lines(str(file))
    return dict(line.split("=", 1) for line in lines if "=" in line)


def given_jobs(wished: Dict[str, str]) -> Optional[int]:
    text = wished.get("jobs", "")
    return int(text) if text.isdigit() and int(text) > 0 else None


def priority(wished: Dict[str, str]) -> List[str]:
    """What stands before a compile that is to let everything else on the machine go first."""
    return ["nice", "-n", "19"] if "nice" in wished else []


def environment(plan: Plan, cxx: str, arches: List[str], number: int, cache: Path, links: Path) -> Dict[str, str]:
    """What the build sees. links: a folder for the compiler's own name, behind which ccache stands."""
    env = {key: value for key, value in os.environ.items() if key not in UNSET}
    env.update(plan["environment"])
    gcc = str(Path(cxx).with_name(Path(cxx).name.replace("g++", "gcc")))
    env.update(
        PATH=":".join([str(links), str(Path(plan["tools"]) / "bin"), str(Path(sys.executable).parent), env["PATH"]]),
        PYTHONPATH=_path(plan),
        PYTHONDONTWRITEBYTECODE="1",
        PYTHONUNBUFFERED="1",
        SETUPTOOLS_USE_DISTUTILS="local",  # whatever the base prefers
        MAX_JOBS=str(number),
        CMAKE_BUILD_PARALLEL_LEVEL=str(number),
        CC=gcc,
        CXX=cxx,
        CMAKE_C_COMPILER_LAUNCHER="ccache",
        CMAKE_CXX_COMPILER_LAUNCHER="ccache",
        CMAKE_CUDA_COMPILER_LAUNCHER="ccache",
        CCACHE_DIR=str(cache / "ccache"),
        CCACHE_MAXSIZE="20G",
        CCACHE_COMPILERCHECK="content",
        CCACHE_STATSLOG=str(links / "stats"),
        CUDAHOSTCXX=cxx,
        NVCC_PREPEND_FLAGS="-ccbin={}".format(cxx),
        GIT_CONFIG_COUNT="1",
        GIT_CONFIG_KEY_0="safe.directory",
        GIT_CONFIG_VALUE_0="*",
    )
    if plan["package"] == "torch":
        # The version counts only beside a number, and CMake finds Python's own packages where Python is.
        env.update(PYTORCH_BUILD_NUMBER="1", CMAKE_PREFIX_PATH=sys.prefix)
    if plan["cuda"] == "cpu":
        env.update(USE_CUDA="0")
        env.pop("CUDA_HOME", None)
    else:
        home = str(cuda_home())
        env.update(
            USE_CUDA="1", CUDA_HOME=home, CUDACXX=home + "/bin/nvcc", TORCH_CUDA_ARCH_LIST=";".join(arches),
            PYTORCH_NVCC="ccache {}/bin/nvcc".format(home),
            LIBRARY_PATH=":".join(filter(None, [home + "/lib64/stubs", home + "/lib64", env.get("LIBRARY_PATH")])),
        )  # fmt: skip
    if plan["system"] == "cpp_extension":
        # torch's own build calls the compiler by CXX alone: a link of that name stands for ccache and the compiler.
        for name in (Path(cxx).name, Path(gcc).name):
            (links / name).symlink_to("/usr/bin/ccache")
        env.update(CXX=Path(cxx).name, CC=Path(gcc).name)
    return env


def _path(plan: Plan) -> str:
    """The builder's own packages; its setuptools only where torch brings none."""
    found = importlib.util.find_spec("setuptools")
    own = found is None or found.origin is None  # Debian leaves a folder of that name without the package
    return ":".join([plan["tools"], *([SETUPTOOLS] if own else [])])


class Follower:
    """Reads a build's output line by line: progress, the first error, and whether memory ran out."""

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self.say, self.clock = say, clock
        self.began: Optional[float] = None
        self.done = self.total = 0
        self.told = 0.0
        self.out_of_memory = False
        self.error: List[str] = []  # the first error with what stands around it
        self._recent: Deque[str] = deque(maxlen=3)
        self._left = 0

    def line(self, text: str) -> None:
        self.out_of_memory = self.out_of_memory or bool(_MEMORY.search(text))
        if self._left:
            self.error.append(text)
            self._left -= 1
        elif not self.error and _ERROR.search(text) and not _STEP.match(text):
            self.error = [*self._recent, text]
            self._left = CONTEXT
        self._recent.append(text[:500])
        found = _STEP.match(text)
        if found and int(found.group(2)) > 1:
            self._step(int(found.group(1)), int(found.group(2)), found.group(3))

    def _step(self, done: int, total: int, command: str) -> None:
        now = self.clock()
        if self.began is None or total != self.total:  # another ninja starts to count
            self.began, self.told, self.total = now, 0.0, total
        self.done = done
        if done < total and self.told and now - self.told < 2:
            return
        self.told = now
        left = (now - self.began) / max(1, done - 1) * (total - done) if done > 1 else None
        name = _OBJECT.findall(command)
        self.say(
            "[objects] {}/{}{}{}".format(
                done,
                total,
                "" if left is None else ", about {:.0f} s left".format(left),
                ": " + name[-1] if name else "",
            )
        )


def setup(*arguments: str) -> List[str]:
    """Call setup.py with setuptools loaded first: from Python 3.12 on distutils, which torchaudio's imports, is its."""
    code = "import runpy, sys, setuptools; sys.path.insert(0, ''); runpy.run_path(sys.argv[0], run_name='__main__')"
    return [sys.executable, "-c", "import sys; sys.argv = sys.argv[1:]; " + code, "setup.py", *arguments]


def run(argv: List[str], env: Dict[str, str], cwd: Path, log: Path, follower: Follower) -> int:
    """Run a build to its end; everything it prints goes to the log."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8", errors="replace") as out:
        process = subprocess.Popen(
            argv, cwd=str(cwd), env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            universal_newlines=True, errors="replace",
        )  # fmt: skip
        assert process.stdout is not None
        for text in process.stdout:
            out.write(text)
            out.flush()
            follower.line(text.rstrip("\n"))
        return process.wait()


def failure(plan: Plan, code: int, follower: Follower, number: int) -> Problem:
    """Why a build failed."""
    if follower.out_of_memory or code in (137, -9):
        fewer = number // 2
        return Problem(
            "out of memory with MAX_JOBS={}".format(number),
            "a compiler was killed after {} of {} objects; what is compiled is kept".format(
                follower.done, follower.total
            ),
            "--max-jobs {}".format(fewer) if fewer else "more memory, or fewer architectures in sm",
        )
    first = "\n    ".join(follower.error) if follower.error else "it says nothing of an error"
    return Problem("{} does not compile (exit code {})".format(plan["package"], code), "the first error:\n    " + first)


SHOWN = ("USE_CUDA", "USE_CUDNN", "USE_NCCL", "USE_FBGEMM", "USE_KINETO", "USE_OPENMP", "USE_MKLDNN")
_SWITCH = re.compile(r"^--   ((?:USE|BUILD)_\w+)\s*: *(\S*)", re.MULTILINE)


def cmake_summary(text: str) -> Dict[str, bool]:
    """The switches of torch's CMake summary (cmake/Summary.cmake); the last word counts."""
    return {name: value.upper() in ("ON", "1", "TRUE", "YES") for name, value in _SWITCH.findall(text)}


def not_kept(wanted: Dict[str, str], summary: Dict[str, bool]) -> List[str]:
    """Switches that were asked for and that CMake's summary answers otherwise."""
    return sorted(
        "{}={}".format(name, value)
        for name, value in wanted.items()
        if name in summary and value in ("0", "1") and summary[name] != (value == "1")
    )


def counted(stats: Path) -> Dict[str, int]:
    """Objects that ccache had, and that it had to compile, from the log that it keeps for this build alone."""
    words = stats.read_text().split() if stats.is_file() else []
    hits = sum(word in ("direct_cache_hit", "preprocessed_cache_hit") for word in words)
    return {"cached": hits, "compiled": words.count("cache_miss")}


def wheel_of(folder: Path) -> Path:
    """The one wheel that a build left."""
    found = sorted(folder.glob("*.whl"))
    if len(found) != 1:
        raise Problem("the build left {} wheels".format(len(found)), ", ".join(path.name for path in found) or None)
    return found[0]


def summary(plan: Plan, arches: List[str], wheel: Path, counts: Dict[str, int], seconds: float) -> Dict[str, Any]:
    return {
        "package": plan["package"], "wheel": wheel.name, "sm": arches, "seconds": round(seconds, 1), **counts,
    }  # fmt: skip
