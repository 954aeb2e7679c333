"""Packs the probe into one file. Runs on the host and is not packed itself."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

PACKAGE = "torchpair_probe"  # inside the archive; the probe imports itself by relative names only
SHEBANG = b"#!/usr/bin/env python3\n"
MAIN = "import sys\n\nfrom {package}.cli import main\n\nsys.exit(main())\n"
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip file can hold


def _members(folder: Path, package: str) -> dict[str, bytes]:
    modules = [path for path in folder.glob("*.py") if path != Path(__file__)]
    members = {f"{package}/{path.name}": path.read_bytes() for path in modules}
    members["__main__.py"] = MAIN.format(package=package).encode()
    return members


def pack(target: Path, folder: Path = Path(__file__).parent, package: str = PACKAGE) -> str:
    """Write the probe, or another package with a cli.main, as an executable archive and return its sha256.

    The same sources give the same bytes anywhere, so that the image layer which carries it is the same too.
    """
    buffer = io.BytesIO()
    buffer.write(SHEBANG)
    # Stored, not deflated: compressed bytes differ between versions of zlib.
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_STORED) as archive:
        for name, data in sorted(_members(folder, package).items()):
            info = zipfile.ZipInfo(name, EPOCH)
            info.create_system = 3  # Unix, also when packed elsewhere
            info.external_attr = 0o100644 << 16
            archive.writestr(info, data)
    target.write_bytes(buffer.getvalue())
    target.chmod(0o755)
    return hashlib.sha256(buffer.getvalue()).hexdigest()
