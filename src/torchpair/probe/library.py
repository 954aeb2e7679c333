"""Do the compiled libraries of torch, torchaudio and torchcodec load, whole, and against the right other libraries?"""

from __future__ import annotations

import ctypes
import json
import os
import re
import signal
import time
from pathlib import Path
from typing import Any, Dict, Iterable, List, Mapping, Optional, Tuple

from . import elf, versions
from .context import Context
from .registry import Outcome, Skip, check

PACKAGES = ("torch", "torchaudio", "torchcodec", "torio")  # torio: torchaudio's FFmpeg half, 2.2 to 2.8
SECONDS = 60.0

# Libraries that a wheel can use and an image need not have. What is missing for want of one is not a broken wheel:
# each wheel carries a variant for every FFmpeg it knows, and the image has one FFmpeg at most. io.* judges the result.
OPTIONAL = re.compile(r"lib(av(codec|device|filter|format|util)|sw(resample|scale)|postproc|sox|heif)\.so")
# The driver's own libraries come from the host, and only with a GPU.
DRIVER = re.compile(r"lib(cuda|nvcuvid|nvidia-[\w-]+)\.so")
_MISSING = re.compile(r"^(\S+): cannot open shared object file")

# Libraries of which a process must have one: CUDA's, and torch's own.
SINGLE = re.compile(
    r"(lib(?:cudart|cublas|cublasLt|cudnn|cufft|cufftw|curand|cusolver|cusolverMg|cusparse|cusparseLt|nccl|nvJitLink|"
    r"nvrtc|nvToolsExt|cupti|cufile|nvshmem_host|c10|c10_cuda|torch|torch_cpu|torch_cuda|torch_python|torchaudio))"
    r"(?:\.abi3)?\.so(?:\.|$)"
)


def site(context: Context) -> Path:
    """The folder that the imported torch lies in."""
    return Path(context.torch.__file__).parent.parent


def own_libraries(context: Context) -> List[Path]:
    """Every shared library inside the packages, wherever they lie, sorted."""
    found: List[Path] = []
    for package in PACKAGES:
        for root in {site(context), Path(context.torchaudio.__file__).parent.parent}:
            for folder, _, names in os.walk(str(root / package)):
                found += [Path(folder) / name for name in names if re.search(r"\.so(\.\d+)*$", name)]
    return sorted(set(found))


def mapped() -> List[str]:
    """The shared libraries in this process, by their real paths."""
    paths = set()
    for line in Path("/proc/self/maps").read_text(errors="replace").splitlines():
        path = line.split(None, 5)[5:]
        if path and ".so" in path[0]:
            paths.add(path[0].strip())
    return sorted(paths)


def _load_all(paths: Iterable[Path]) -> Dict[str, Any]:
    errors: Dict[str, str] = {}
    waiting = list(paths)
    while waiting:
        errors.clear()
        for path in waiting:
            try:
                # RTLD_NOW: every symbol is resolved now, or the library is refused. Local: none serves another.
                ctypes.CDLL(str(path), mode=os.RTLD_NOW | os.RTLD_LOCAL)
            except OSError as error:
                errors[str(path)] = str(error)
        # Once more while that helps: torchaudio 2.0 loads libflashlight-text.so itself, and then what needs it.
        before, waiting = len(waiting), [path for path in waiting if str(path) in errors]
        if len(waiting) == before:
            break
    return {"errors": errors, "mapped": mapped()}


def load_all(paths: List[Path], seconds: float = SECONDS) -> Dict[str, Any]:
    """Load libraries in a copy of this process: {"errors": {path: message}, "mapped": [path]}.

    A library may crash as it loads, or change what the checks after this one run on. RuntimeError says how it ended.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reader)
            with os.fdopen(writer, "w") as pipe:
                json.dump(_load_all(paths), pipe)
        finally:
            os._exit(0)
    os.close(writer)
    # A library that hangs as it loads must not hang the check.
    until = time.monotonic() + seconds
    text, done = b"", False
    os.set_blocking(reader, False)
    while not done and time.monotonic() < until:
        try:
            piece = os.read(reader, 65536)
            done = not piece
            text += piece
        except BlockingIOError:
            time.sleep(0.005)
    os.close(reader)
    if not done:
        os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    if not done:
        raise RuntimeError("loading the libraries took longer than {:g} s".format(seconds))
    if os.WIFSIGNALED(status) or not text:
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        raise RuntimeError("loading the libraries ended the process (signal {})".format(number))
    answer: Dict[str, Any] = json.loads(text.decode())
    return answer


def loaded(context: Context) -> Dict[str, Any]:
    """load_all of the packages' libraries; done once."""
    if "loaded" not in context.memory:
        context.memory["loaded"] = load_all(own_libraries(context))
    answer: Dict[str, Any] = context.memory["loaded"]
    return answer


def excused(errors: Mapping[str, str]) -> Tuple[Dict[str, str], Dict[str, str]]:
    """Errors that are broken libraries, and those that only miss an optional library or the driver, by path."""
    bad: Dict[str, str] = {}
    fine: Dict[str, str] = {}
    names = {Path(path).name: path for path in errors}

    def optional(path: str, seen: Tuple[str, ...]) -> bool:
        missing = _MISSING.match(errors[path])
        if not missing:
            return False
        name = missing.group(1)
        if OPTIONAL.match(name) or DRIVER.match(name):
            return True
        # A wheel's own library that could not be loaded for the same reason.
        return name in names and name not in seen and optional(names[name], (*seen, name))

    for path, error in errors.items():
        (fine if optional(path, ()) else bad)[path] = error
    return bad, fine


@check(
    "pair.loads",
    "Every compiled library of torch, torchaudio and torchcodec loads with all its symbols found.",
    limit="no library with a missing symbol; none missing but FFmpeg's, sox's and the driver's",
)
def loads(context: Context) -> Outcome:
    paths = own_libraries(context)
    bad, fine = excused(loaded(context)["errors"])
    measured = {
        "libraries": len(paths),
        "broken": {Path(path).name: error[:300] for path, error in list(bad.items())[:20]},
        "for_other_systems": sorted(Path(path).name for path in fine),
    }
    reason = "; ".join("{}: {}".format(Path(path).name, error[:300]) for path, error in list(bad.items())[:5])
    # Without a single library there was nothing to load, which is no proof.
    return Outcome(bool(paths) and not bad, measured, reason or ("" if paths else "no library was found"))


def copies(paths: Iterable[str]) -> Dict[str, List[str]]:
    """Libraries that are in a process more than once, by name: two versions of CUDA's runtime, two of libc10."""
    found: Dict[str, List[str]] = {}
    for path in paths:
        match = SINGLE.match(Path(path).name)
        if match:
            found.setdefault(match.group(1), []).append(path)
    return {name: sorted(places) for name, places in sorted(found.items()) if len(places) > 1}


def shadowed(paths: Iterable[str], own: Mapping[str, str]) -> Dict[str, str]:
    """Libraries in a process whose namesake the environment brings itself, at another place. own: name -> real path."""
    return {
        Path(path).name: path
        for path in paths
        if SINGLE.match(Path(path).name) and own.get(Path(path).name, path) != path
    }


def brought(context: Context) -> Dict[str, str]:
    """CUDA's and torch's libraries that the environment brings in torch/lib and nvidia/, by name: their real paths."""
    found: Dict[str, str] = {}
    for folder in (site(context) / "nvidia", site(context) / "torch" / "lib"):
        for place, _, names in os.walk(str(folder), followlinks=True):
            for name in names:
                if SINGLE.match(name):
                    found[name] = os.path.realpath(str(Path(place) / name))
    return found


@check(
    "pair.libraries",
    "In the process there is one copy of each CUDA library, and it is the one that came with torch.",
    limit="no second copy; none from elsewhere where the environment brings its own",
)
def libraries(context: Context) -> Outcome:
    paths: List[str] = loaded(context)["mapped"]
    own = brought(context)
    double, foreign = copies(paths), shadowed(paths, own)
    used = sorted(path for path in paths if SINGLE.match(Path(path).name))
    measured: Dict[str, Any] = {"used": len(used), "copies": double, "from_elsewhere": foreign}
    measured["LD_LIBRARY_PATH"] = os.environ.get("LD_LIBRARY_PATH")
    measured["LD_PRELOAD"] = os.environ.get("LD_PRELOAD")
    said = ["{} twice: {}".format(name, ", ".join(places)) for name, places in double.items()]
    said += ["{} is taken from {}, not from {}".format(name, path, own[name]) for name, path in foreign.items()]
    return Outcome(bool(used) and not said, measured, "; ".join(said[:5]))


def string_abi(symbols: Iterable[str]) -> Optional[bool]:
    """Whether torch's functions among mangled symbols take the new std::string (True), the old one, or none (None).

    The new one is std::__cxx11::basic_string; the old one is mangled as "Ss" (Itanium C++ ABI, 5.1.10).
    """
    ours = [name for name in symbols if re.match(r"_ZNK?(3c10|2at|5torch)", name)]
    if any("__cxx11" in name for name in ours):
        return True
    return False if any(re.search(r"(?<![A-Za-z0-9])Ss|[KRIE]Ss|jSs", name) for name in ours) else None


@check(
    "pair.cxx_abi",
    "torch, torchaudio and torchcodec were compiled for the same C++ ABI of strings.",
    limit="torch's flag, the strings that libc10 gives and those that the others take agree",
)
def cxx_abi(context: Context) -> Outcome:
    said = context.torch._C._GLIBCXX_USE_CXX11_ABI
    measured: Dict[str, Optional[bool]] = {"torch says": bool(said)}
    core = elf.read(site(context) / "torch" / "lib" / "libc10.so")
    measured["libc10.so"] = string_abi(core.given) if core else None
    for path in own_libraries(context):
        if path.name.startswith(("libtorchaudio", "_torchaudio", "libtorchcodec")):
            table = elf.read(path)
            # None: no string crosses the border, as with torch's stable ABI (torchaudio 2.11).
            measured[path.name] = string_abi(table.taken) if table else None
    wrong = [name for name, new in measured.items() if new is not None and new is not bool(said)]
    # libc10 always has strings in its errors: not finding them means not having understood it.
    if measured["libc10.so"] is None:
        raise Skip("known-format", "torch's library libc10.so is in a form that the probe cannot read")
    return Outcome(not wrong, measured, "another string ABI than torch's: " + ", ".join(wrong) if wrong else "")


def cuda_majors(needed: Iterable[str]) -> List[int]:
    """The major versions of CUDA that a library's needs name: libcudart.so.12, libnvrtc.so.13, libnppicc.so.12."""
    found = set()
    for name in needed:
        match = re.match(r"lib(?:cudart|nvrtc|npp\w+)\.so\.(\d+)", name)
        if match:
            found.add(int(match.group(1)))
    return sorted(found)


@check(
    "pair.torchcodec",
    "torchcodec, by which torchaudio reads and writes from 2.9 on, loads, and was built for torch's CUDA or the CPU.",
    limit="it imports; CUDA's major version is torch's, or none",
)
def torchcodec(context: Context) -> Outcome:
    installed = context.distributions().get("torchcodec")
    measured: Dict[str, Any] = {"torchcodec": installed, "cuda_majors": []}
    if installed is None:
        if context.audio_release < (2, 9):
            raise Skip("torchcodec", "torchcodec is not installed, and torchaudio needs it from 2.9 on only")
        return Outcome(False, measured, "torchcodec is not installed, and torchaudio needs it from 2.9 on")
    majors = set()
    for path in own_libraries(context):
        if path.parent.name == "torchcodec" or "torchcodec" in path.name:
            table = elf.read(path)
            majors.update(cuda_majors(table.needed if table else ()))
    measured["cuda_majors"] = sorted(majors)
    cuda = context.torch_cuda()
    wanted = versions.release(cuda)[0] if cuda else None
    if majors - {wanted}:
        told = "torchcodec {} is built for CUDA {}, torch for {}".format(
            installed, ", ".join(map(str, sorted(majors))), "CUDA " + cuda if cuda else "the CPU"
        )
        return Outcome(False, measured, told)
    context.torchcodec()
    return Outcome(True, measured)
