"""Runs inside a container: makes an installation claim to be another. python3 pretend.py SITE WHAT [ARGUMENT]..."""

import re
import shutil
import sys
from pathlib import Path

SITE = Path(sys.argv[1])


def put(file: Path, text: str) -> None:
    """Write a file anew (it may be a link) and note its size in the RECORDs, so that only the lie differs."""
    file.unlink()
    file.write_text(text)
    name = str(file.relative_to(SITE))
    for record in SITE.glob("*.dist-info/RECORD"):
        lines = record.read_text().splitlines()
        kept = [
            re.sub(r"\d+$", str(len(text.encode())), line) if line.startswith(name + ",") else line for line in lines
        ]
        if kept != lines:
            record.unlink()
            record.write_text("\n".join(kept) + "\n")


def version(name: str, text: str, cuda: str) -> None:
    file = SITE / name / "version.py"
    body = re.sub(r"^__version__ = .*$", f"__version__ = '{text}'", file.read_text(), flags=re.M)
    if name == "torch":
        body = re.sub(r"^(cuda(: .*)?) = .*$", rf"\1 = {cuda!r}" if cuda else r"\1 = None", body, flags=re.M)
    put(file, body)
    public = text.split("+")[0]
    (folder,) = SITE.glob(f"{name}-*.dist-info")
    metadata = folder / "METADATA"
    said = re.sub(r"^Version: .*$", f"Version: {public}", metadata.read_text(), count=1, flags=re.M)
    metadata.unlink()
    metadata.write_text(said)
    shutil.move(str(folder), SITE / f"{name}-{public}.dist-info")


def no_numpy() -> None:
    """What torch built against NumPy 1 does beside NumPy 2 (torch/csrc/utils/tensor_numpy.cpp)."""
    file = SITE / "torch" / "__init__.py"
    put(file, file.read_text() + "\n\ndef from_numpy(array):\n    raise RuntimeError('Numpy is not available')\n")


def gpu(major: str, minor: str) -> None:
    file = SITE / "torch" / "cuda" / "__init__.py"
    put(
        file,
        file.read_text()
        + "\nis_available = lambda: True\ndevice_count = lambda: 1\n"
        + "get_device_name = lambda *a: 'NVIDIA GeForce GTX 1080'\n"
        + f"get_device_capability = lambda *a: ({major}, {minor})\n",
    )


what, arguments = sys.argv[2], sys.argv[3:]
if what == "no-numpy":
    no_numpy()
elif what == "gpu":
    gpu(*arguments)
else:
    version(what, *arguments)
