"""The last step of the image's build, without network: requirements agree, the server loads, each language works."""

from __future__ import annotations

import importlib.util
import json
import os
import py_compile
import subprocess
import sys
from pathlib import Path

from . import layout

ALLOWED = Path("/opt/torchpair/pip-check.json")
# In a process of its own each, in the folder and with the path that api_v2.py gives them. What upstream writes beside
# its code at the first call (caches of dictionaries) is written here, into the layer.
SPOKEN = {
    "English": ("english", "Hello world, twenty two."),
    "Japanese": ("japanese", "こんにちは、世界。"),
    "Korean": ("korean", "안녕하세요."),
    "Cantonese": ("cantonese", "你好世界。"),
    "Chinese": ("chinese", "你好世界。"),
}
_SPEAK = (
    "import sys; sys.path += {paths!r}; from text import {module} as m; "
    "normalize = getattr(m, 'text_normalize', str); assert m.g2p(normalize({words!r})), 'no sound'"
)


# Imported by every Chinese request of a version 2 or later, once the models are there. Upstream's dictionary of
# polyphones does not bear the hash of what it is made from (48b1a01), so the first import writes it anew.
_PINYIN = "import sys; sys.path += {paths!r}; import text.g2pw"


def main() -> int:
    """0 when all is well, else 1, with every problem on a line of its own."""
    problems = [*pip_check(json.loads(ALLOWED.read_text(encoding="utf-8"))), *server(), *languages()]
    print("\n".join(problems) or f"requirements agree; the server loads; {', '.join(SPOKEN)}: offline", flush=True)
    return 1 if problems else 0


def pip_check(allowed: list[str]) -> list[str]:
    """What `pip check` says beyond what is known. allowed: the beginnings of the lines that are."""
    done = subprocess.run(
        [sys.executable, "-m", "pip", "check", "--disable-pip-version-check"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return []
    lines = [line for line in (done.stdout or done.stderr).splitlines() if line.strip()]
    return [f"pip check: {line}" for line in lines if not line.startswith(tuple(allowed))]


# Ends after every import of the server: argparse comes last there.
_LOAD = (
    "import runpy, sys\n"
    "sys.argv = ['api_v2.py', '--help']\n"
    "try:\n    runpy.run_path('api_v2.py', run_name='__main__')\n"
    "except SystemExit as end:\n    assert not end.code, end.code\n"
    "for module in list(sys.modules.values()):\n    print('loaded', getattr(module, '__file__', None) or '')\n"
)


def server() -> list[str]:
    """Load the server, and leave the bytecode of all that it loads: nobody may write any when it runs.

    Without it every start compiles thousands of modules once more. Bound to the source's content (PEP 552).
    """
    done = subprocess.run(
        [sys.executable, "-B", "-c", _LOAD], cwd=layout.CODE, env=_environment(), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if done.returncode:
        return [f"api_v2.py --help: {' '.join((done.stderr.strip().splitlines() or ['no word'])[-3:])}"]
    files = {line.split(" ", 1)[1] for line in done.stdout.splitlines() if line.startswith("loaded /opt/")}
    for file in sorted(files):
        place = Path(importlib.util.cache_from_source(file))
        if file.endswith(".py") and not place.exists() and os.access(Path(file).parent, os.W_OK):
            py_compile.compile(file, doraise=True, invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH)
    return []


def _environment() -> dict[str, str]:
    return {**os.environ, "HOME": "/tmp", "NUMBA_CACHE_DIR": "/tmp/numba", "MPLCONFIGDIR": "/tmp/matplotlib"}


def languages() -> list[str]:
    """Each language's first request, as far as it needs no model."""
    if not (layout.CODE / "GPT_SoVITS" / "text" / "english.py").is_file():
        return []
    paths = [str(layout.CODE), str(layout.CODE / "GPT_SoVITS")]
    asked = {
        language: _SPEAK.format(paths=paths, module=module, words=words) for language, (module, words) in SPOKEN.items()
    }
    if (layout.CODE / "GPT_SoVITS" / "text" / "g2pw").is_dir():
        asked["Chinese, g2pw"] = _PINYIN.format(paths=paths)
    problems = []
    for language, code in asked.items():
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=layout.CODE, env=_environment(), capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            said = done.stderr.strip().splitlines() or ["no word"]
            problems.append(f"{language}: {' '.join(said[-3:])}")
    return problems
