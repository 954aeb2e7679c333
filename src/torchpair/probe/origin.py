"""Is what is imported what was installed, once and whole? These checks import neither torch nor torchaudio."""

from __future__ import annotations

import csv
import importlib.metadata
import importlib.util
import os
import sys
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from . import versions
from .context import Context
from .registry import Outcome, Skip, check

NAMES = ("torch", "torchaudio", "torchcodec")


def installed(name: str) -> List[Tuple[str, str, importlib.metadata.Distribution]]:
    """Every installation of a distribution on the path: version, folder, and what Python knows of it."""
    found: Dict[str, Tuple[str, str, importlib.metadata.Distribution]] = {}
    for dist in importlib.metadata.distributions():
        try:
            key, version = dist.metadata["Name"], dist.version
        except Exception:  # a damaged folder is no installation
            continue
        if key and version and versions.normal_name(key) == name:
            folder = os.path.realpath(str(dist.locate_file("")))
            found.setdefault("{}\0{}".format(version, folder), (version, folder, dist))
    return list(found.values())


def imported_from(name: str) -> Optional[str]:
    """The file that `import name` would run, or None for a folder without one (a namespace package) or nothing."""
    module = sys.modules.get(name)
    if module is not None:
        file = getattr(module, "__file__", None)
        return os.path.realpath(file) if file else None
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    return os.path.realpath(spec.origin) if spec and spec.origin and spec.has_location else None


def in_working_folder(name: str) -> Optional[str]:
    """What an import from the working folder would take instead of an installation, if anything."""
    try:
        for file in (Path.cwd() / name / "__init__.py", Path.cwd() / (name + ".py")):
            if file.is_file():
                return str(file)
    except OSError:  # a folder that this user may not enter, or that is gone
        return None
    return None


@check(
    "pair.origin",
    "torch, torchaudio and torchcodec are installed once, and `import` finds that installation.",
    limit="one installation each; the imported file lies in it",
    imports=False,
)
def origin(context: Context) -> Outcome:
    measured: Dict[str, Any] = {}
    said: List[str] = []
    for name in NAMES:
        places = installed(name)
        file = imported_from(name)
        if not places and file is None:
            continue
        measured[name] = {"installed": ["{} in {}".format(*place[:2]) for place in places], "imported": file}
        if len(places) > 1:
            said.append(
                "{} is installed {} times: {}".format(name, len(places), "; ".join(measured[name]["installed"]))
            )
        # A checkout installed with --editable has its files elsewhere, and lists none here.
        elif places and file != str(Path(places[0][1]) / name / "__init__.py") and _lists(places[0][2], name):
            said.append("import {} takes {}, not what is installed in {}".format(name, file, places[0][1]))
        near = in_working_folder(name)
        # `python -c`, `python -m` and scripts look into their own folder first; the probe, an archive, does not.
        if near and places and os.path.realpath(str(Path.cwd())) not in [place[1] for place in places]:
            measured[name]["working_folder"] = near
            said.append("in this folder import {} takes {}, not what is installed".format(name, near))
    return Outcome(not said, measured, "; ".join(said))


def _lists(dist: importlib.metadata.Distribution, name: str) -> bool:
    try:
        return any(str(file) == name + "/__init__.py" for file in dist.files or ())
    except Exception:
        return False


def damaged(dist: importlib.metadata.Distribution) -> Optional[List[str]]:
    """Python files and libraries that are missing or not of the recorded size; None when no sizes are recorded."""
    record = dist.read_text("RECORD")
    if not record:
        return None
    root = Path(str(dist.locate_file("")))
    wrong, sizes = [], 0
    # name,hash,size; torchcodec 0.9 has its names in quotes.
    for parts in csv.reader(record.splitlines()):
        if len(parts) != 3 or not parts[2].isdigit() or not (parts[0].endswith(".py") or ".so" in parts[0]):
            continue
        name = parts[0]
        sizes += 1
        try:
            size = (root / name).stat().st_size
        except OSError:
            wrong.append("{} is missing".format(name))
            continue
        if size != int(parts[2]):
            wrong.append("{} has {} bytes of {}".format(name, size, parts[2]))
    return wrong if sizes else None


@check(
    "pair.files",
    "Every Python file and library that was installed for torch, torchaudio and torchcodec is there in its full size.",
    limit="no file missing, none of another size",
    imports=False,
)
def files(context: Context) -> Outcome:
    measured: Dict[str, Any] = {}
    said: List[str] = []
    for name in NAMES:
        for _, folder, dist in installed(name)[:1]:
            wrong = damaged(dist)
            measured[name] = None if wrong is None else len(wrong)
            said += ["{} in {}".format(item, folder) for item in wrong or ()]
    if all(count is None for count in measured.values()):
        raise Skip("record", "there is no list of installed files (RECORD): not installed from wheels")
    more = "" if len(said) <= 5 else " and {} more".format(len(said) - 5)
    return Outcome(not said, dict(measured, first=said[:5]), "; ".join(said[:5]) + more)
