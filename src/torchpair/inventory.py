"""What an image's files belong to. Runs INSIDE an image, by `python -c`: standard library only, one JSON on stdout.

Every regular file below / is counted once, by its device and inode, and goes to the wheel whose RECORD names it, else
to the Debian package that brought it, else to nobody. Paths are plain strings: there are 50,000 of them.
"""

from __future__ import annotations

import csv
import json
import os
import re
import stat
import sys
from importlib import metadata
from typing import Any

SKIPPED = ("proc", "sys", "dev", "run", "tmp")
# The libraries that a second copy of costs hundreds of MB, or wins over the right one.
CUDA_LIBRARY = re.compile(r"lib(cublas|cudart|cudnn|cufft|cufile|cupti|curand|cusolver|cusparse|nccl|nvrtc|nvJitLink)")


def wheels() -> dict[str, str]:
    """Path -> the distribution that owns it."""
    owner = {}
    for distribution in metadata.distributions():
        text = distribution.read_text("RECORD")
        name = distribution.metadata["Name"]
        for row in csv.reader((text or "").splitlines() if name else ()):
            owner[os.path.realpath(str(distribution.locate_file(row[0])))] = re.sub(r"[-_.]+", "-", name).lower()
    return owner


def debs(root: str = "/") -> dict[str, str]:
    """Path -> the Debian package that owns it; a package's own records are its too."""
    owner = {}
    folder = os.path.join(root, "var/lib/dpkg/info")
    for entry in os.listdir(folder) if os.path.isdir(folder) else ():
        package = entry.rsplit(".", 1)[0].split(":")[0]
        owner[os.path.join(folder, entry)] = package
        if not entry.endswith(".list"):
            continue
        with open(os.path.join(folder, entry), encoding="utf-8") as lines:
            for line in lines:
                path = os.path.join(root, line.rstrip("\n").lstrip("/"))
                # /lib and /bin are links into /usr today, and packages still name them as they were.
                owner[os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))] = package
    return owner


def area(path: str) -> str:
    """What explains a file that no package owns: three folders of its path are enough, and few."""
    if path.endswith(".pyc"):
        return "bytecode of what torch loads" if path.startswith("/opt/") else "bytecode of the distribution's Python"
    return "/".join(path.split("/")[:4])


def count(root: str, by_wheel: dict[str, str], by_deb: dict[str, str]) -> dict[str, Any]:
    """Bytes below root by owner, and CUDA libraries at several places: name -> [path, owner or "", bytes]."""
    sizes: dict[str, dict[str, int]] = {"wheel": {}, "deb": {}, "nobody": {}}
    copies: dict[str, list[tuple[str, str, int]]] = {}
    seen = set()
    skipped = {os.path.join(root, name) for name in SKIPPED}
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if os.path.join(folder, name) not in skipped]
        for name in files:
            path = os.path.join(folder, name)
            state = os.lstat(path)
            if not stat.S_ISREG(state.st_mode) or (state.st_dev, state.st_ino) in seen:
                continue
            seen.add((state.st_dev, state.st_ino))
            below = "/" + os.path.relpath(path, root)
            if path in by_wheel:
                kind, owner = "wheel", by_wheel[path]
            elif path in by_deb:
                kind, owner = "deb", by_deb[path]
            else:
                kind, owner = "nobody", area(below)
            sizes[kind][owner] = sizes[kind].get(owner, 0) + state.st_size
            if CUDA_LIBRARY.match(name) and ".so" in name:
                copies.setdefault(name, []).append((below, owner if kind != "nobody" else "", state.st_size))
    twice = {name: places for name, places in sorted(copies.items()) if len(places) > 1}
    return dict(sizes, twice=twice)


if __name__ == "__main__":
    json.dump(count("/", wheels(), debs()), sys.stdout)
