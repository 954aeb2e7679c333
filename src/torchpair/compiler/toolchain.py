"""What has to be there before anything is compiled; each thing that is not has a message of its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

from .problem import Problem

Plan = Dict[str, Any]
# Read in a child: torch must not be loaded here while its files are hashed and its build runs.
_TORCH = (
    "import json, torch; print(json.dumps({'version': str(torch.__version__), 'cuda': torch.version.cuda, "
    "'flags': (getattr(torch._C, '_cuda_getArchFlags', str)() or ''), 'path': torch.__file__}))"
)


def output(argv: Sequence[str], env: Optional[Dict[str, str]] = None) -> str:
    """A program's standard output; Problem with its last words when it fails."""
    try:
        done = subprocess.run(list(argv), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, check=False)
    except OSError as error:
        raise Problem("{} cannot be started".format(argv[0]), str(error)) from error
    if done.returncode:
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        raise Problem("{} ended with {}".format(argv[0], done.returncode), "".join(last) or None)
    return done.stdout.decode("utf-8", "replace")


def torch_in_place() -> Dict[str, Any]:
    """Version, CUDA and architectures of the torch that will be compiled against."""
    import json

    try:
        return dict(json.loads(output([sys.executable, "-B", "-c", _TORCH]).strip().splitlines()[-1]))
    except Problem as problem:
        raise Problem(
            "no torch can be imported by {} in this image".format(sys.executable),
            problem.why or problem.what,
            "take a base that has a torch, or let torchpair install one: torch: {version: ...}",
        ) from None


def public(version: str) -> str:
    return version.partition("+")[0]


def check_torch(plan: Plan, torch: Dict[str, Any]) -> None:
    wanted = plan.get("torch")
    # A row may name the whole label of a vendor's torch or its public part; a vendor adds to the label what it likes.
    version = torch["version"]
    same = not wanted or version == wanted or version.startswith((wanted + "+", wanted + "."))
    if not same:
        raise Problem(
            "the image has torch {}, the row says {}".format(version, wanted),
            remedy='torch: {{version: "{}", from: base}}'.format(version),
        )
    has, asked = torch["cuda"] or "cpu", plan["cuda"]
    if has != asked:
        raise Problem(
            "the torch in place is built for {}, the row says {}".format(_cuda(has), _cuda(asked)),
            "torchaudio compares its CUDA with torch's when it is imported",
            'cuda: "{}"'.format(has),
        )
    python = "{}.{}".format(*sys.version_info[:2])
    if plan.get("python") and plan["python"].rstrip("t") != python:
        raise Problem(
            "the Python of the torch in place is {}, the row says {}".format(python, plan["python"]),
            remedy='python: "{}"'.format(python),
        )


def _cuda(value: str) -> str:
    return "the CPU alone" if value == "cpu" else "CUDA " + value


def check_compiler(plan: Plan) -> str:
    """The C++ compiler's path."""
    path = shutil.which(plan["cxx"])
    if path is None:
        raise Problem(
            "there is no C++ compiler {} in the builder".format(plan["cxx"]),
            "a torchaudio from source has to be compiled",
            "name a distro: in the row whose packages have it, or a base that has apt-get",
        )
    major = int(output([path, "-dumpversion"]).strip().split(".")[0])
    limit = plan.get("gcc_max")
    if limit and major > limit:
        raise Problem(
            "g++ {} is too new: {} {} with {} takes g++ {} at most".format(
                major, plan["package"], plan.get("version") or "", _cuda(plan["cuda"]), limit
            )
        )
    header = Path(sysconfig.get_paths()["include"]) / "Python.h"
    if not header.is_file():
        raise Problem("Python's headers are missing: {}".format(header), remedy="install python3-dev in the base")
    return path


def release(text: str) -> Optional[str]:
    """What `nvcc --version` says: "12.4"."""
    found = re.search(r"release (\d+\.\d+)", text)
    return found.group(1) if found else None


def cuda_home() -> Path:
    """The CUDA toolkit: what CUDA_HOME names, else where a devel image has it."""
    return Path(os.environ.get("CUDA_HOME") or "/usr/local/cuda")


def check_nvcc(plan: Plan) -> Optional[Path]:
    """nvcc's path, or None for a CPU build. It must be of torch's own CUDA: torchaudio takes its CUDA from nvcc."""
    wanted = plan["cuda"]
    if wanted == "cpu":
        return None
    nvcc = cuda_home() / "bin" / "nvcc"
    if not nvcc.is_file():
        raise Problem(
            "there is no nvcc in {}".format(cuda_home()),
            "torch is built for CUDA {}, so nvcc {} is needed".format(wanted, wanted),
            "toolkit: devel, debian or wheels in the row, or a base that has the toolkit",
        )
    has = release(output([str(nvcc), "--version"]))
    if has != wanted:
        kind = "another major" if (has or "").split(".")[0] != wanted.split(".")[0] else "another minor"
        raise Problem(
            "nvcc is of CUDA {}, and torch is built for CUDA {}: {}".format(has, wanted, kind),
            "torchaudio takes its CUDA from nvcc, and refuses to be imported beside a torch of another",
            "nvcc {} is needed: toolkit: devel, debian or wheels, whichever has it".format(wanted),
        )
    return nvcc


def check_source(plan: Plan, source: Path) -> None:
    """The source is the one that was asked for."""
    if not (source / "setup.py").is_file():
        raise Problem(
            "there is no setup.py in the source of {}".format(plan["package"]),
            "found: {}".format(", ".join(sorted(path.name for path in source.iterdir())[:8]) or "an empty folder"),
            "--source: the folder, archive or repository whose top holds setup.py",
        )
    commit = plan.get("commit")
    head = source / ".git" / "HEAD"
    if commit and head.is_file():
        found = head.read_text().strip()
        if not found.startswith("ref:") and not found.startswith(commit):
            raise Problem(
                "the source is commit {}, and {} is {}".format(found[:12], plan.get("ref"), commit),
                "a tag that was moved, or another repository",
                "name the commit that you want: ref: {}".format(found),
            )
    file = source / "version.txt"
    if plan.get("version") and file.is_file():
        said = file.read_text().strip()
        if not re.match(re.escape(plan["version"]) + r"(?![\d.])", said):
            raise Problem("the source is {} {}, the row asks for {}".format(plan["package"], said, plan["version"]))


def arch_list(plan: Plan, torch: Optional[Dict[str, Any]]) -> List[str]:
    """The architectures to compile for: the row's, else those that torch itself was compiled for."""
    if plan["cuda"] == "cpu":
        return []
    if plan["sm"]:
        return list(plan["sm"])
    numbers = re.findall(r"\bsm_(\d+)([a-z]?)", torch["flags"] if torch else "")
    found = ["{}.{}{}".format(number[:-1], number[-1], suffix) for number, suffix in numbers]
    if not found:
        raise Problem(
            "for which GPUs? torch does not say what it was compiled for", remedy='sm: ["8.0", "9.0"] in the row'
        )
    return found
