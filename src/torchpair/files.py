"""Files of torchpair's own: written whole or not at all, and named after a row or an image."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from pathlib import Path

_UNSAFE = re.compile(r"[^A-Za-z0-9._+-]+")


def file_stem(name: str) -> str:
    """A file name, without its ending, for a row or an image: one path component, the same for the same name."""
    safe = _UNSAFE.sub("-", name).strip(".-")[:100]
    if safe == name:
        return safe
    # Two names that differ only in what was replaced must not share a file.
    return f"{safe or 'image'}-{hashlib.sha256(name.encode('utf-8', 'replace')).hexdigest()[:8]}"


def write_whole(path: Path, text: str) -> None:
    """Write a UTF-8 file so that a reader sees the old text or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=".", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
