"""Report + what the host knows -> causes, most likely first. A table of causes, each with its evidence. Pure.

A cause has an id, a title, an explanation in plain words, the evidence that was found and the remedy to type. A
predicate beside each says whether a report shows it; the table's order is the answer's: what explains most first.
All in one module: a reader looks for the one place, and each predicate leans on those before it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from torchpair import remedy
from torchpair.report import CheckResult, Report


@dataclass(frozen=True)
class Gpu:
    """A GPU of the host. capability: "12.0"; None: not told."""

    name: str
    capability: str | None = None


@dataclass(frozen=True)
class Host:
    """What the host knows. passes_gpus: whether its engine can hand GPUs to a container; None: not asked. how: why."""

    driver: str | None = None
    gpus: tuple[Gpu, ...] = ()
    passes_gpus: bool | None = None
    how: str = ""


@dataclass(frozen=True)
class Cause:
    """One reason why torch and torchaudio do not work. evidence: what shows it; remedy: lines to type or to do."""

    id: str
    title: str
    explanation: str
    evidence: tuple[str, ...]
    remedy: tuple[str, ...]


# Id -> title, explanation, and where to look in a report. What a predicate finds fills in evidence and remedy.
CAUSES: dict[str, tuple[str, str, str]] = {}
Found = tuple[list[str], list[str]]  # evidence, remedy
Predicate = Callable[["Seen"], "Found | None"]
_PREDICATES: dict[str, Predicate] = {}


def _cause(cause_id: str, title: str, explanation: str, looks_at: str) -> Callable[[Predicate], Predicate]:
    def add(predicate: Predicate) -> Predicate:
        CAUSES[cause_id] = (title, explanation, looks_at)
        _PREDICATES[cause_id] = predicate
        return predicate

    return add


def causes(report: Report, host: Host | None = None) -> tuple[Cause, ...]:
    """Every cause that a report shows, most likely first; () for a report that shows none."""
    seen = Seen(report, host or Host())
    found = []
    for cause_id, (title, explanation, _) in CAUSES.items():
        answer = _PREDICATES[cause_id](seen)
        if answer:
            found.append(Cause(cause_id, title, explanation, tuple(answer[0]), tuple(answer[1])))
    return tuple(found)


class Seen:
    """A report, asked as the predicates ask. Whatever a stranger's probe wrote, an answer has the type it should."""

    def __init__(self, report: Report, host: Host) -> None:
        self.report, self.host, self.env = report, host, report.environment
        self._checks = {check.id: check for check in report.checks}

    def check(self, name: str) -> CheckResult | None:
        return self._checks.get(name)

    def failed(self, name: str) -> str | None:
        """Why a check failed; None when it did not."""
        check = self._checks.get(name)
        return (check.reason or "failed") if check and check.status == "fail" else None

    def measured(self, name: str) -> Mapping[str, Any]:
        check = self._checks.get(name)
        return check.measured if check and isinstance(check.measured, Mapping) else {}

    @property
    def import_error(self) -> str:
        return self.failed("pair.import") or ""

    def text(self, key: str) -> str | None:
        value = self.env.get(key)
        return value if isinstance(value, str) and value else None

    @property
    def torch_cuda(self) -> str | None:
        """The CUDA of torch, "12.8"; None for a CPU build, and for what is none."""
        said = self.text("torch_cuda") or ""
        return said if _CUDA.fullmatch(said) else None

    def texts(self, key: str) -> list[str]:
        value = self.env.get(key)
        return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []

    def version(self, key: str) -> Version | None:
        try:
            return Version(self.text(key) or "")
        except InvalidVersion:
            return None

    def cudas(self) -> tuple[str | None, str | None, str]:
        """CUDA of torch and of torchaudio (None: a CPU build, or not told), and how torchaudio's is known."""
        torch = self.torch_cuda
        said = re.search(
            r"PyTorch has CUDA version (\d+\.\d+) whereas TorchAudio has CUDA version (\d+\.\d+)", self.import_error
        )
        if said:
            return said[1], said[2], "torchaudio says so as it is imported"
        measured = self.measured("pair.cuda").get("torchaudio")
        if isinstance(measured, str) and _CUDA.fullmatch(measured) and self.failed("pair.cuda"):
            return torch, measured, "pair.cuda measured it"
        return torch, self._told_cuda() or remedy.published_cuda(self.env), "its label or its wheel says so"

    def _told_cuda(self) -> str | None:
        said = self.text("torchaudio_cuda") or ""
        return said if _CUDA.fullmatch(said) else None

    def pair(self) -> str:
        return f"torch {self.text('torch') or 'unknown'}, torchaudio {self.text('torchaudio') or 'none'}"

    def instead(self, keep: str = "torch", cuda: str | None = None) -> list[str]:
        """Remedies that the facts know: the nearest pairs of wheels."""
        found = remedy.nearest(self.env, cuda or self.torch_cuda, keep)
        return [f"{remedy.install(spec)}   # {remedy.words(spec)}" for spec in found]


_CUDA = re.compile(r"\d{1,2}\.\d{1,2}", re.ASCII)
_DAMAGE = re.compile(
    r"file too short|invalid ELF header|ELF load command|cannot read file data|file data too short|"
    r"source code string cannot contain null bytes|bad marshal data|unmarshal",
)
_MISSING_LIBRARY = re.compile(r"(lib[\w.+-]+\.so[\w.]*): cannot open shared object file")
_MISSING_MODULE = re.compile(r"No module named '(torch|torchaudio)'")
_REINSTALL = "pip install --force-reinstall --no-deps --no-cache-dir"


@_cause(
    "no-python", "There is no Python",
    "The image has neither python nor python3 on its PATH, so nothing could be asked.", "probe.finished",
)  # fmt: skip
def _no_python(seen: Seen) -> Found | None:
    check = seen.check("probe.finished")
    if not check or check.needs != "python":
        return None
    return [f"probe.finished: {check.reason}"], ["name an image that has torch in it, or put its Python on the PATH"]


@_cause(
    "out-of-limits", "The check came to its limit",
    "The time or the memory that the check may take was used up before the probe came to its end.", "probe.finished",
)  # fmt: skip
def _out_of_limits(seen: Seen) -> Found | None:
    check = seen.check("probe.finished")
    if not check or check.needs not in ("time", "memory"):
        return None
    more = "--timeout 900" if check.needs == "time" else "--memory 16g"
    return [f"probe.finished: {check.reason}"], [f"torchpair doctor {more} ..."]


@_cause(
    "wrong-python", "The environment belongs to another Python",
    "torch's compiled part fits one minor version of Python. The Python that runs here is not the one that torch "
    "was installed for: an environment copied or upgraded, a PYTHONPATH into another one, or a PATH that finds "
    "another `python` first.",
    "environment built_for, elsewhere; pair.import",
)  # fmt: skip
def _wrong_python(seen: Seen) -> Found | None:
    python = remedy.python_of(seen.env)
    if not python or not seen.import_error:
        return None
    own = "cpython-" + python.replace(".", "")
    built = seen.texts("built_for")
    runs = f"{seen.text('executable') or 'python'} is Python {python}"
    if built and own not in built:
        names = ", ".join(built)
        return [f"torch's extension is for {names}; {runs}"], [
            f"make the environment anew with its own Python: python{python} -m venv NEW, then install in it",
            *seen.instead(),
        ]
    missing = _MISSING_MODULE.search(seen.import_error)
    if missing and missing[1] == "torch" and seen.texts("elsewhere"):
        place = seen.texts("elsewhere")[0]
        root = shlex.quote(place.split("/lib/")[0])
        return [f"{runs} and has no torch; there is one in {place}"], [
            f"{root}/bin/python   # run this one",
            f"export PATH={root}/bin:$PATH   # in an image: ENV PATH={root}/bin:$PATH",
        ]
    return None


@_cause(
    "truncated", "The installation is damaged",
    "Files that were installed are missing or shorter than they were: a full disk, a download or a copy that was "
    "cut off, or files removed to make an image smaller.",
    "pair.files; pair.import, pair.loads",
)  # fmt: skip
def _truncated(seen: Seen) -> Found | None:
    files = seen.failed("pair.files")
    evidence = [f"pair.files: {files}"] if files else []
    for name in ("pair.import", "pair.loads"):
        if _DAMAGE.search(seen.failed(name) or ""):
            evidence.append(f"{name}: {seen.failed(name)}")
    if not evidence:
        return None
    said = " ".join(evidence)
    packages = [name for name in ("torchaudio", "torchcodec", "torch") if re.search(rf"(^|[/ ]){name}/", said)]
    # The part of a path that names one of NVIDIA's packages.
    nvidia = re.search(r"nvidia/(\w+)/", said)
    known = [f"{name}=={remedy.public(seen.text(name))}" for name in packages if remedy.public(seen.text(name))]
    if nvidia and not files:
        distributions = seen.env.get("distributions")
        names = distributions if isinstance(distributions, dict) else {}
        folder = nvidia[1].replace("_", "-")
        known = [
            f"{n}=={v}"
            for n, v in names.items()
            if re.fullmatch("nvidia-[a-z0-9-]+", n) and remedy.public(v) and (folder in n or folder.startswith("cu1"))
        ]
    return evidence, [
        f"{_REINSTALL} {' '.join(known or packages or ['torch', 'torchaudio'])}",
        "df -h   # is a disk full?",
    ]


@_cause(
    "copies", "A package is installed more than once",
    "Python finds two installations of the same package; which one is used depends on the order of the path, and "
    "parts of both may meet in one process.",
    "pair.origin",
)  # fmt: skip
def _copies(seen: Seen) -> Found | None:
    reason = seen.failed("pair.origin")
    double = [
        name for name, place in seen.measured("pair.origin").items()
        if isinstance(place, Mapping) and isinstance(place.get("installed"), list) and len(place["installed"]) > 1
    ]  # fmt: skip
    if not reason or not double:
        return None
    fixes = [f"pip uninstall {name}   # again, until it finds none; then install it once" for name in double]
    if _variable(seen, "PYTHONPATH"):
        fixes.insert(0, f"unset PYTHONPATH   # it is {_variable(seen, 'PYTHONPATH')}")
    return [f"pair.origin: {reason}"], [*fixes, *seen.instead()]


@_cause(
    "shadowed", "A folder or file stands before the installed package",
    "Something called torch or torchaudio lies in a folder that Python looks into first (the working folder, "
    "PYTHONPATH): a source checkout, or a script of that name. `import` takes that, not what was installed.",
    "pair.origin",
)  # fmt: skip
def _shadowed(seen: Seen) -> Found | None:
    reason = seen.failed("pair.origin")
    if not reason or " takes " not in reason:
        return None
    fixes = []
    for name, place in seen.measured("pair.origin").items():
        if not isinstance(place, Mapping):
            continue
        near, file = place.get("working_folder"), place.get("imported")
        if isinstance(near, str):
            fixes.append(f"mv {_holder(near)} {_holder(near)}-source   # or work in another folder")
        elif isinstance(file, str) and f"import {name} takes" in reason:
            fixes.append(f"mv {_holder(file)} {_holder(file)}-source")
    if _variable(seen, "PYTHONPATH"):
        fixes.insert(0, f"unset PYTHONPATH   # it is {_variable(seen, 'PYTHONPATH')}")
    return [f"pair.origin: {reason}"], fixes or ["give that folder another name"]


@_cause(
    "not-installed", "torch or torchaudio is not installed",
    "The Python that runs here has no such package.", "pair.import",
)  # fmt: skip
def _not_installed(seen: Seen) -> Found | None:
    missing = _MISSING_MODULE.search(seen.import_error)
    if not missing or _wrong_python(seen):
        return None
    evidence = [f"pair.import: {seen.import_error}"]
    if missing[1] == "torch":
        return evidence, [f"{remedy.install(spec)}   # {remedy.words(spec)}" for spec in remedy.solved(seen.env)]
    return evidence, seen.instead() or ["pip install the torchaudio of this torch: torchpair explain --torch VERSION"]


@_cause(
    "library-path", "LD_LIBRARY_PATH puts other libraries first",
    "LD_LIBRARY_PATH or LD_PRELOAD names a folder with other copies of CUDA's or torch's libraries. The loader "
    "takes those before the ones that came with torch.",
    "pair.libraries; environment shadowing; pair.import",
)  # fmt: skip
def _library_path(seen: Seen) -> Found | None:
    there = seen.texts("shadowing")
    reason = seen.failed("pair.libraries")
    if there and not reason and re.search(r"undefined symbol|version `|not found|symbol lookup", seen.import_error):
        # At import: only where the loader's words name one of those files, or a symbol of another library's version.
        reason = (
            seen.import_error if "version " in seen.import_error or any(p in seen.import_error for p in there) else None
        )
    if not reason:
        return None
    name = "LD_PRELOAD" if any(p in (_variable(seen, "LD_PRELOAD") or "") for p in there) else "LD_LIBRARY_PATH"
    evidence = [reason] + ([f"{name} holds {', '.join(there[:5])}"] if there else [])
    fix = f"unset {name}   # in an image: ENV {name}=, or docker run -e {name}= ..."
    return evidence, [fix] if there else ["remove the second copy; torch brings its own"]


@_cause(
    "wrong-torchaudio", "This torchaudio is for another torch",
    "Through 2.10 a torchaudio fits exactly the one torch that it was compiled with; from 2.11 on it needs torch "
    "2.11 or later. Another torch has other symbols in its libraries.",
    "versions; pair.import, pair.loads, pair.extension, pair.cxx_abi",
)  # fmt: skip
def _wrong_torchaudio(seen: Seen) -> Found | None:
    # The checks that a torchaudio of another torch fails; wrong numbers alone are no evidence.
    failing = [
        n for n in ("pair.import", "pair.loads", "pair.extension", "pair.cxx_abi", "pair.versions") if seen.failed(n)
    ]
    torch, audio = seen.version("torch"), seen.version("torchaudio")
    failing += ["probe.finished"] if "pair.import" in (seen.failed("probe.finished") or "") else []
    if not failing or not torch or not audio or _MISSING_MODULE.search(seen.import_error):
        return None
    wanted, why = remedy.pinned(str(audio)), ""
    if audio.release >= (2, 11):
        if torch.release < (2, 11):
            why = f"torchaudio {audio.public} needs torch 2.11 or later; torch is {torch.public}"
    elif wanted and wanted != torch.public:
        why = f"torchaudio {audio.public} was made for torch {wanted}; torch is {torch.public}"
    elif not wanted and audio.release[:2] != torch.release[:2]:
        why = f"torchaudio {audio.public} is not of torch's own series {torch.release[0]}.{torch.release[1]}"
    elif (
        torch.is_devrelease
        or torch.is_prerelease
        or "undefined symbol" in seen.import_error + (seen.failed("pair.loads") or "")
    ):
        said = f"{seen.import_error} {seen.failed('pair.loads') or ''}"
        # The same number, compiled against another torch: a vendor's, a nightly, another C++ ABI.
        if re.search(r"torchaudio[^ ]*\.so: undefined symbol", said):
            why = "a symbol that torchaudio was compiled with is not in this torch, although the versions agree"
    if not why:
        return None
    evidence = [why, *(f"{name}: {seen.failed(name)}" for name in failing)]
    return evidence, seen.instead() or [f"torchpair explain --torch {torch.public}   # which torchaudio goes with it"]


@_cause(
    "cpu-torch", "A torch for the CPU beside a torchaudio for CUDA",
    "torch was installed as a CPU build, torchaudio as a CUDA build: often torch came from an index of its own and "
    "torchaudio, unpinned, from PyPI.",
    "pair.cuda; pair.import",
)  # fmt: skip
def _cpu_torch(seen: Seen) -> Found | None:
    torch, audio, how = seen.cudas()
    label = (seen.text("torch") or "").partition("+")[2]
    if torch or not (label == "cpu" or seen.measured("pair.cuda")):
        return None
    lost = _MISSING_LIBRARY.search(seen.import_error)
    lost_cuda = lost and re.match(r"lib(torch_cuda|c10_cuda|cudart|cublas|cudnn|nvrtc)", lost[1])
    if not (seen.failed("pair.cuda") or lost_cuda) or not (audio or lost_cuda):
        return None
    evidence = [f"torch {seen.text('torch')} is a CPU build; torchaudio is for CUDA {audio or 'too'} ({how})"]
    cuda = [f"{remedy.install(s)}   # with CUDA" for s in remedy.nearest(seen.env, audio, most=1)]
    cpu = [f"{remedy.install(s)}   # for the CPU" for s in remedy.nearest(seen.env, None, most=1)]
    return evidence, [*cuda, *cpu]


@_cause(
    "cpu-torchaudio", "A torchaudio for the CPU beside a torch for CUDA",
    "torchaudio was installed as a CPU build: its own kernels do not run on the GPU.", "pair.cuda",
)  # fmt: skip
def _cpu_torchaudio(seen: Seen) -> Found | None:
    measured = seen.measured("pair.cuda")
    if not seen.failed("pair.cuda") or not measured.get("torch") or measured.get("torchaudio"):
        return None
    return [f"pair.cuda: {seen.failed('pair.cuda')}"], seen.instead()


def _cuda_mismatch(seen: Seen, major: bool) -> Found | None:
    torch, audio, how = seen.cudas()
    lost = _MISSING_LIBRARY.search(seen.import_error)
    runtime = re.match(r"lib(?:cudart|nvrtc|cublas|cufft)\.so\.(\d+)", lost[1]) if lost else None
    if torch and runtime and "torchaudio" in seen.import_error and runtime[1] != torch.split(".")[0]:
        audio, how = f"{runtime[1]}.x", f"it asks for {lost[1] if lost else ''}"
    elif not (seen.failed("pair.cuda") or "CUDA version" in seen.import_error):
        return None
    if not torch or not audio or torch == audio or _wrong_torchaudio(seen):
        return None
    if (torch.split(".")[0] != audio.split(".")[0]) != major:
        return None
    evidence = [f"{seen.pair()}: torch is for CUDA {torch}, torchaudio for CUDA {audio} ({how})"]
    kept = remedy.public(seen.text("torch"))
    source = f"torchpair explain --torch {kept} --from-source   # keep this torch: compile torchaudio"
    return evidence, [*seen.instead("pair", torch), source]


@_cause(
    "cuda-major", "torch and torchaudio are for different CUDA majors",
    "They were compiled with different major versions of CUDA; their libraries cannot be shared.",
    "pair.cuda; pair.import",
)  # fmt: skip
def _cuda_major(seen: Seen) -> Found | None:
    return _cuda_mismatch(seen, major=True)


@_cause(
    "cuda-minor", "torch and torchaudio are for different CUDA versions",
    "torchaudio up to 2.11.0 refuses to be imported unless its CUDA is torch's, major and minor. A plain `pip "
    "install torch torchaudio` can bring such a pair, because each release on PyPI is built with one CUDA only.",
    "pair.cuda; pair.import",
)  # fmt: skip
def _cuda_minor(seen: Seen) -> Found | None:
    return _cuda_mismatch(seen, major=False)


@_cause(
    "no-torchcodec", "torchcodec is not installed",
    "From 2.9 on torchaudio reads and writes sound files through torchcodec, a package of its own that pip does not"
    " bring.",
    "pair.torchcodec",
)  # fmt: skip
def _no_torchcodec(seen: Seen) -> Found | None:
    reason = seen.failed("pair.torchcodec")
    if (
        not reason
        or "torchcodec" not in seen.measured("pair.torchcodec")
        or seen.measured("pair.torchcodec")["torchcodec"]
    ):
        return None
    return [f"pair.torchcodec: {reason}"], _codec_remedy(seen)


@_cause(
    "wrong-torchcodec", "This torchcodec is for another torch",
    "torchcodec has a table of its own: each release fits certain torches, and a build for CUDA needs torch's CUDA "
    "major.",
    "pair.torchcodec; versions",
)  # fmt: skip
def _wrong_torchcodec(seen: Seen) -> Found | None:
    reason, version = _codec_reason(seen), seen.version("torchcodec")
    if not reason or not version:
        return None
    allowed = remedy.codec_specifier(seen.text("torch"))
    evidence = []
    if allowed and version.public not in SpecifierSet(allowed, prereleases=True):
        evidence.append(
            f"torchcodec {version.public} with torch {seen.text('torch')}, which goes with torchcodec {allowed}"
        )
    elif not (
        _codec_broken(seen)
        or re.search(r"undefined symbol|is built for CUDA|lib(npp\w*|cudart|nvrtc)\.so\S*: cannot", reason)
    ):
        return None
    return [*evidence, *_codec_broken(seen), reason], _codec_remedy(seen)


@_cause(
    "no-ffmpeg", "FFmpeg's libraries are missing",
    "torchcodec uses the shared libraries of an FFmpeg from 4 to 8 that must be installed beside it; the wheel has "
    "none.",
    "pair.torchcodec",
)  # fmt: skip
def _no_ffmpeg(seen: Seen) -> Found | None:
    reason = _codec_reason(seen)
    if (
        not reason
        or _wrong_torchcodec(seen)
        or not re.search(r"Could not load libtorchcodec|lib(av|sw)\w+\.so", reason)
    ):
        return None
    return [reason], ["apt-get install ffmpeg", 'conda install "ffmpeg<8"   # in a conda environment']


@_cause(
    "no-backend", "torchaudio has nothing to read files with",
    "Through 2.8 torchaudio reads files through FFmpeg's shared libraries, libsox or the package soundfile. None is"
    " here.",
    "io.wav; environment backends",
)  # fmt: skip
def _no_backend(seen: Seen) -> Found | None:
    reason = seen.failed("io.wav")
    if not reason or not (reason.startswith("no backend") or "Couldn't find appropriate backend" in reason):
        return None
    return [f"io.wav: {reason}"], ["pip install soundfile", "apt-get install ffmpeg   # for MP3, M4A and Opus too"]


@_cause(
    "numpy-2", "NumPy 2 beside a torch that was built with NumPy 1",
    "Wheels of torch before 2.3 were built against NumPy 1. They import beside NumPy 2 with a warning and fail as "
    "soon as an array becomes a tensor.",
    "pair.numpy; versions",
)  # fmt: skip
def _numpy_2(seen: Seen) -> Found | None:
    numpy, torch = seen.version("numpy"), seen.version("torch")
    reason = seen.failed("pair.numpy")
    if not numpy or not torch or not (reason or seen.import_error):
        return None
    allowed = remedy.numpy_specifier(seen.text("torch")) or ("<2" if torch.release < (2, 3) else "")
    said = reason or (seen.import_error if re.search("numpy|_ARRAY_API", seen.import_error, re.I) else None)
    if not said or numpy.release < (2,) or numpy.public in SpecifierSet(allowed):
        return None
    return [f"NumPy {numpy} with torch {torch}, which needs NumPy {allowed}", said], ['pip install "numpy<2"']


@_cause(
    "old-driver", "The NVIDIA driver is too old for this torch",
    "A driver runs what was built for its own CUDA major from a lowest version on. This one serves an older CUDA "
    "than torch was built for.",
    "cuda.device; host driver",
)  # fmt: skip
def _old_driver(seen: Seen) -> Found | None:
    reason, cuda = seen.failed("cuda.device"), seen.torch_cuda
    if not reason or not cuda:
        return None
    serves = seen.measured("cuda.device").get("driver_cuda")
    floor, driver = remedy.driver_floor(cuda), seen.host.driver
    low = isinstance(serves, str) and _CUDA.fullmatch(serves) and int(serves.split(".")[0]) < int(cuda.split(".")[0])
    under = bool(driver and floor and re.fullmatch(r"[\d.]+", driver) and Version(driver) < Version(floor))
    if not (low or under or "driver on your system is too old" in reason or "driver version is insufficient" in reason):
        return None
    evidence = [f"torch is for CUDA {cuda}" + (f", which needs driver {floor} or newer" if floor else "")]
    evidence += [f"the driver serves CUDA {serves}"] if serves else []
    evidence += [f"the host's driver is {driver}"] if driver else []
    sm = tuple(gpu.capability for gpu in seen.host.gpus if gpu.capability)
    # Without the host's own word the driver is at least the lowest of the CUDA major that it serves.
    known = driver or (remedy.driver_floor(serves) if isinstance(serves, str) else None)
    fits = [f"{remedy.install(s)}   # {remedy.words(s)}" for s in remedy.solved(seen.env, sm, known)] if known else []
    return [*evidence, f"cuda.device: {reason}"], [
        f"install driver {floor} or newer on the host (not in the image)",
        *fits,
    ]


@_cause(
    "no-kernels", "This build has no code for the GPU",
    "torch's wheels hold machine code for some GPUs only; this GPU is older or newer than all of them.",
    "cuda.device",
)  # fmt: skip
def _no_kernels(seen: Seen) -> Found | None:
    reason = seen.failed("cuda.device")
    gpus = seen.measured("cuda.device").get("gpu")
    bare = [
        gpu for gpu in (gpus if isinstance(gpus, list) else [])
        if isinstance(gpu, Mapping) and gpu.get("served_by") == [] and _CUDA.fullmatch(str(gpu.get("capability")))
    ]  # fmt: skip
    if not reason or not (bare or "no kernel image" in reason):
        return None
    sm = tuple(dict.fromkeys(gpu["capability"] for gpu in bare))
    fits = (
        [f"{remedy.install(s)}   # {remedy.words(s)}" for s in remedy.solved(seen.env, sm, seen.host.driver)]
        if sm
        else []
    )
    ask = [f"torchpair solve {' '.join(f'--gpu {name}' for name in sm)}"] if sm else []
    compiled = ", ".join(seen.texts("sm"))
    return [f"cuda.device: {reason}", f"torch was compiled for {compiled}"], [*fits, *ask]


@_cause(
    "no-gpu-passed", "The container got no GPU",
    "The host has a GPU and the container sees none: the engine has no NVIDIA runtime, or the container was started"
    " without --gpus.",
    "cuda.device; host GPUs, container runtime",
)  # fmt: skip
def _no_gpu_passed(seen: Seen) -> Found | None:
    check, host = seen.check("cuda.device"), seen.host
    if seen.report.gpu == "off" or not check or check.status != "skip" or check.needs != "gpu":
        return None
    if not host.gpus and seen.report.gpu != "require":
        return None
    evidence = [f"cuda.device: {check.reason}", *(f"the host has {gpu.name}" for gpu in host.gpus)]
    evidence += [host.how] if host.how else []
    toolkit = [
        "install nvidia-container-toolkit on the host, then:",
        "nvidia-ctk runtime configure --runtime=docker && systemctl restart docker",
    ]
    return evidence, [*(toolkit if not host.passes_gpus else []), "docker run --gpus all ..."]


def _codec_reason(seen: Seen) -> str | None:
    """What a torchcodec that is installed said when it could not be loaded; it loads its libraries late."""
    if not seen.version("torchcodec"):
        return None
    for check in seen.report.checks:
        reason = check.reason or ""
        if check.status == "fail" and (check.id == "pair.torchcodec" or "Could not load libtorchcodec" in reason):
            return f"{check.id}: {reason}"
    return None


def _codec_broken(seen: Seen) -> list[str]:
    """torchcodec's libraries that miss something else than FFmpeg."""
    broken = seen.measured("pair.loads").get("broken")
    return [f"{k}: {v}" for k, v in broken.items() if "torchcodec" in k][:2] if isinstance(broken, Mapping) else []


def _codec_remedy(seen: Seen) -> list[str]:
    """torchcodec alone: the torch that is there is kept."""
    for spec in remedy.nearest(seen.env, seen.torch_cuda, most=1):
        if spec.torchcodec and spec.torch == remedy.public(seen.text("torch")):
            where = f" --index-url {spec.index_url}" if spec.index_url else ""
            return [f"pip install --no-deps torchcodec=={spec.torchcodec}{where}"]
    return [f"torchpair explain --torch {remedy.public(seen.text('torch'))}   # which torchcodec goes with it"]


def _variable(seen: Seen, name: str) -> str | None:
    values = seen.env.get("variables")
    value = values.get(name) if isinstance(values, dict) else None
    return value if isinstance(value, str) else None


def _holder(file: str) -> str:
    """The folder of a package's __init__.py; else the file."""
    return shlex.quote(file[: -len("/__init__.py")] if file.endswith("/__init__.py") else file)
