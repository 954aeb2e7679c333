"""The wheels of a lock as files: where an index has them, where a bundle keeps them, and the page that pip reads."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from urllib.parse import quote, unquote

from torchpair import locking, mirrors
from torchpair.errors import LockError
from torchpair.lock import Lock, Locked
from torchpair.matrix import Mirror
from torchpair.spec import PYTORCH_INDEX


def addresses(lock: Lock, python: str, arch: str, mirror: Mirror) -> Iterator[tuple[Locked, str]]:
    """Each wheel of a lock with the address that an index has it at, without a login; uv asks the index.

    Raises LockError where an index cannot be asked, or has another file under the name by now.
    """
    named = [wheel for wheel in lock.wheels if wheel.url is None]
    for wheel in lock.wheels:
        if wheel.url is not None:
            yield wheel, mirrored(wheel.url, mirror)
    if not named:
        return
    asked = ", ".join(f'"{wheel.name}=={wheel.version}"' for wheel in named)
    project = f'[project]\nname = "bundle"\nversion = "0"\ndependencies = [{asked}]\n'
    packages = locking.settle("bundle", project, python, arch, mirror, ("--no-deps",))
    found = {
        wheel.get("hashes", {}).get("sha256"): str(wheel["url"])
        for package in packages
        for wheel in package.get("wheels", ())
        if "url" in wheel
    }
    for wheel in named:
        if wheel.sha256 not in found:
            raise LockError(
                f"the index has no {wheel.file} with the sha256 of the lock",
                why=f"wanted is {wheel.sha256}; the file was replaced, or taken back",
                remedy=f"another index, or: torchpair lock, for a version that is there instead of {wheel.version}",
            )
        yield wheel, mirrors.plain(found[wheel.sha256])


def mirrored(url: str, mirror: Mirror) -> str:
    """Upstream's address of a wheel as a mirror has it."""
    if mirror.pytorch and url.startswith(f"{PYTORCH_INDEX}/"):
        return mirror.pytorch + url.removeprefix(PYTORCH_INDEX)
    return url


def place(wheel: Locked) -> PurePosixPath:
    """Where a bundle keeps a wheel, below downloads/. PyTorch's lie as on its index. Raises LockError."""
    if wheel.url is None:
        return PurePosixPath("wheels", wheel.file)
    path = PurePosixPath(unquote(wheel.url.removeprefix(f"{PYTORCH_INDEX}/")))
    if not wheel.url.startswith(f"{PYTORCH_INDEX}/") or ".." in path.parts or path.is_absolute():
        raise LockError(f"{wheel.file} is on no index that a bundle knows", why=wheel.url)
    return PurePosixPath("pytorch") / path


def page(found: Iterable[Locked]) -> str:
    """The page of one project (PEP 503), at simple/<name>/index.html."""
    links = (
        f'<a href="../../wheels/{quote(wheel.file)}#sha256={wheel.sha256}">{html.escape(wheel.file)}</a><br>\n'
        for wheel in sorted(found, key=lambda wheel: wheel.file)
    )
    return f"<!DOCTYPE html>\n<html><body>\n{''.join(links)}</body></html>\n"
