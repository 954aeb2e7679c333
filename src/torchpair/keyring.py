"""The keys that an archive's signatures are checked with, on a machine of that distribution and on any other."""

from __future__ import annotations

import lzma
import re
import shutil
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path

from torchpair.apt import apt_install
from torchpair.command import run
from torchpair.engine import RUN, Say
from torchpair.errors import CommandError, EngineError
from torchpair.fetch import opened
from torchpair.suite import Suite

LARGEST = 1 << 26  # bytes; an index of Ubuntu's main has 1.4 MB, its keyring package 20 kB


@contextmanager
def trusted(suite: Suite, where: str, say: Say) -> Iterator[Path]:
    """A keyring for a suite: the machine's own, else the pinned keys out of the package that the archive serves.

    where: the archive's address. Raises EngineError when the archive cannot be asked or has other keys.
    """
    archive = suite.archive
    if not archive.keyring.exists() and not archive.keys:
        apt_install([archive.package])  # signed by the machine's own distribution, which ships it
    if archive.keyring.exists():
        yield archive.keyring
        return
    say(f"This machine has no keyring of {archive.name}: taking the pinned keys out of its package {archive.package}.")
    RUN.mkdir(parents=True, exist_ok=True)
    # Not TMPDIR, which can be long: gpg fails where the path of its agent's socket would have more than 107 bytes.
    with tempfile.TemporaryDirectory(prefix="keys-", dir=RUN) as folder:
        yield _fetch(suite, where, Path(folder))


def primaries(listing: str) -> list[str]:
    """The fingerprints of the primary keys in what gpg lists with --with-colons; subkeys have theirs after `sub`."""
    return re.findall(r"^pub:.*\n(?:(?!sub:|pub:).*\n)*?fpr:(?:[^:]*:){8}([0-9A-F]+):", listing, re.MULTILINE)


def _fetch(suite: Suite, where: str, folder: Path) -> Path:
    """The pinned keys as a keyring in a folder.

    No step of the way is trusted, and plain http will do: a fingerprint is the hash of its key (RFC 4880, 12.2), so a
    key with a pinned fingerprint is the pinned key, whoever sent it.
    """
    archive = suite.archive
    arch = run(["dpkg", "--print-architecture"]).strip()
    index = f"{where}/dists/{suite.codename}/main/binary-{arch}/Packages.xz"
    try:
        packages = lzma.decompress(_get(index, suite)).decode(errors="replace")
    except lzma.LZMAError as error:
        raise _odd(suite, index, f"the index cannot be unpacked: {error}") from error
    stanza = rf"^Package: {re.escape(archive.package)}\n(?:.+\n)*?Filename: (\S+)$"
    found = re.search(stanza, packages, re.MULTILINE)
    if found is None:
        raise _odd(suite, index, f"the index has no package {archive.package}")
    address = f"{where}/{found.group(1)}"
    deb = folder / "keyring.deb"
    deb.write_bytes(_get(address, suite))
    return _pinned(suite, deb, folder, address)


def _pinned(suite: Suite, deb: Path, folder: Path, address: str) -> Path:
    """What a keyring package has of the pinned keys, and nothing else."""
    archive = suite.archive
    if not shutil.which("gpg"):
        apt_install(["gpg"])
    home, raw, kept = folder / "home", folder / "all.gpg", folder / "pinned.gpg"
    home.mkdir(mode=0o700)
    gpg = ["gpg", "--homedir", str(home), "--batch", "--no-autostart", "--trust-model=always", "--with-colons"]
    try:
        # Only to standard output: nothing in the package is written anywhere by its own name.
        unpack = 'dpkg-deb --fsys-tarfile "$0" | tar --extract --to-stdout ".$1" >"$2"'
        run(["sh", "-c", unpack, str(deb), str(archive.keyring), str(raw)])
        run([*gpg, "--import", str(raw)])
    except CommandError as error:
        raise _odd(suite, address, f"its package has no keyring that can be read: {error.why}") from error
    there = primaries(run([*gpg, "--list-keys"]))
    held = [key for key in archive.keys if key in there]
    if not held:
        raise _odd(suite, address, f"its keys are {', '.join(there)}, and none of the pinned {', '.join(archive.keys)}")
    run([*gpg, "--output", str(kept), "--export", *held])
    # gpg also gives a key that has a pinned one as its subkey. Whoever made that one could sign with it.
    if strays := set(primaries(run([*gpg, "--show-keys", str(kept)]))) - set(archive.keys):
        raise _odd(suite, address, f"a pinned key is there as a part of another, {', '.join(sorted(strays))}")
    return kept


def _odd(suite: Suite, where: str, why: str) -> EngineError:
    """The error for an archive that serves something else than its own keys."""
    name = suite.archive.name
    remedy = f"take another mirror of {name} (apt in matrix.yaml's mirrors, --mirror); its keys: {suite.archive.source}"
    return EngineError(f"this is not {name}'s keyring", where=where, why=why, remedy=remedy)


def _get(address: str, suite: Suite) -> bytes:
    try:
        with opened(address, 30) as response:
            body: bytes = response.read(LARGEST + 1)
    except (OSError, HTTPException, ValueError) as error:
        code = f"HTTP {error.code}" if isinstance(error, urllib.error.HTTPError) else None
        raise EngineError(
            f"{suite.archive.name}'s archive cannot be asked for its keys",
            where=address,
            why=code or str(getattr(error, "reason", error)),
            remedy=f"check that this machine reaches it, or name a mirror with {suite.archive.id}/ below it: "
            "apt in matrix.yaml's mirrors, --mirror",
        ) from error
    if len(body) > LARGEST:
        raise _odd(suite, address, f"it has more than {LARGEST >> 20} MiB")
    return body
