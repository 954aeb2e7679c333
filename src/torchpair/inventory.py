"""What an image's files belong to. Runs INSIDE an image, by `python -c`: standard library only, one JSON on stdout.

Every regular file below / is counted once, by its device and inode, and goes to the wheel whose RECORD names it, else
to the Debian package that brought it, else to nobody. Paths are plain strings: there are 50,000 of them.
"""

from __future__ import annotations

import csv
import json
import os
import re
import sys
from importlib import metadata

SKIPPED = ("/proc", "/sys", "/dev", "/run", "/tmp")
# The libraries that a second copy of costs hundreds of MB, or wins over the right one.
CUDA_LIBRARY = re.compile(r"lib(cublas|cudart|cudnn|cufft|cufile|cupti|curand|cusolver|cusparse|nccl|nvrtc|nvJitLink)")


def wheels() -> dict[str, str]:
    """Path -> the distribution that owns it."""
    owner = {}
    for distribution in metadata.distributions():
        text = distribution.read_text("RECORD")
        name = re.sub(r"[-_.]+", "-", distribution.metadata["Name"]).lower()
        for row in csv.reader((text or "").splitlines()):
            owner[os.path.realpath(str(distribution.locate_file(row[0])))] = name
    return owner


def debs() -> dict[str, str]:
    """Path -> the Debian package that owns it; a package's own records are its too."""
    owner = {}
    folder = "/var/lib/dpkg/info"
    for entry in os.listdir(folder) if os.path.isdir(folder) else ():
        package = entry.rsplit(".", 1)[0].split(":")[0]
        owner[os.path.join(folder, entry)] = package
        if not entry.endswith(".list"):
            continue
        with open(os.path.join(folder, entry), encoding="utf-8") as lines:
            for line in lines:
                path = line.rstrip("\n")
                # /lib and /bin are links into /usr today, and packages still name them as they were.
                owner[os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))] = package
    return owner


def main() -> None:
    by_wheel, by_deb = wheels(), debs()
    sizes: dict[str, dict[str, int]] = {"wheel": {}, "deb": {}, "nobody": {}}
    copies: dict[str, list[tuple[str, str, int]]] = {}
    seen = set()
    for folder, folders, files in os.walk("/"):
        folders[:] = [name for name in folders if os.path.join(folder, name) not in SKIPPED]
        for name in files:
            path = os.path.join(folder, name)
            state = os.lstat(path)
            if os.path.islink(path) or (state.st_dev, state.st_ino) in seen:
                continue
            seen.add((state.st_dev, state.st_ino))
            if path in by_wheel:
                kind, owner = "wheel", by_wheel[path]
            elif path in by_deb:
                kind, owner = "deb", by_deb[path]
            else:
                kind, owner = "nobody", path
            sizes[kind][owner] = sizes[kind].get(owner, 0) + state.st_size
            if CUDA_LIBRARY.match(name) and ".so" in name:
                copies.setdefault(name, []).append((path, owner if kind != "nobody" else "", state.st_size))
    twice = {name: places for name, places in sorted(copies.items()) if len(places) > 1}
    json.dump(dict(sizes, twice=twice), sys.stdout)


if __name__ == "__main__":
    main()
