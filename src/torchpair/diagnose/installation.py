"""Causes in the installation: Python, its packages and their files, and what stands before them on a path."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping

from torchpair import remedy
from torchpair.diagnose.evidence import MISSING_MODULE, Entry, Found, Seen, entering

CAUSES: dict[str, Entry] = {}
_cause = entering(CAUSES)

_DAMAGE = re.compile(
    r"file too short|invalid ELF header|ELF load command|cannot read file data|file data too short|"
    r"source code string cannot contain null bytes|bad marshal data|unmarshal",
)
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
    missing = MISSING_MODULE.search(seen.import_error)
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
    missing = MISSING_MODULE.search(seen.import_error)
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


def _variable(seen: Seen, name: str) -> str | None:
    values = seen.env.get("variables")
    value = values.get(name) if isinstance(values, dict) else None
    return value if isinstance(value, str) else None


def _holder(file: str) -> str:
    """The folder of a package's __init__.py; else the file."""
    return shlex.quote(file[: -len("/__init__.py")] if file.endswith("/__init__.py") else file)
