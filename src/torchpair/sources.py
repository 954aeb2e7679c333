"""Where the source of what is compiled comes from: a git repository, an archive or a folder, alike in what is checked.

Fetched here, by the host, and handed to BuildKit as a build context: a wrong hash, a tag that does not exist or a
server that does not answer is said before anything is built.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torchpair import fetch as fetching
from torchpair.command import found, run
from torchpair.errors import BuildError, CommandError
from torchpair.fetch import FetchError
from torchpair.matrix import Mirror
from torchpair.matrix.fields import SOURCE
from torchpair.recipe import Recipe

_GIT = re.compile(r"git\+(?P<url>[a-z+]+://[^/@]*(?:@[^/]*)?/[^@#]+)(?:@(?P<ref>[^@#]+))?(?:#commit=(?P<commit>\w+))?")
_HASHED = re.compile(r"(?P<place>[^#]+)(?:#sha256=(?P<sha256>[0-9a-f]{64}))?")
ARCHIVES = (".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".tar", ".zip")
GITHUB = "https://github.com/"
# What a report's reader is told of a source.
_WORDS = {"git": "git", "archive": "an archive", "folder": "a folder"}
WAITS = (1.0, 4.0)  # seconds between attempts of git, which has none of its own
_PASSING = re.compile(
    r"Could not resolve host|[Ff]ailed to connect|[Tt]imed out|[Cc]onnection (?:was )?(?:refused|reset)|reset by peer"
    r"|early EOF|RPC failed|unexpected disconnect|returned error: (?:408|429|5\d\d)"
)
Say = Callable[[str], None]


class SourceError(BuildError):
    """A source that cannot be had, or is not the one that was asked for."""


@dataclass(frozen=True)
class Source:
    """kind: "git", "archive" or "folder". place: an address or a path."""

    kind: str
    place: str
    ref: str | None = None
    commit: str | None = None  # its first digits
    sha256: str | None = None

    def __str__(self) -> str:
        more = self.ref or (f"sha256 {self.sha256[:12]}" if self.sha256 else "")
        return f"{_WORDS[self.kind]} {self.place.rpartition('/')[2]}" + (f" ({more})" if more else "")


def parse(text: str, where: str = "--source") -> Source:
    """A source in pip's own notation. Raises SourceError."""
    allowed = "git+https://host/repository.git@ref, an archive (.tar.gz, .tar.xz, .zip) with #sha256=..., or a folder"
    try:
        SOURCE(text)
    except ValueError:
        raise SourceError(f"{text!r} is not a source", where=where, remedy=allowed) from None
    if text.startswith("git+"):
        match = _GIT.fullmatch(text)
        if match is None:
            raise SourceError(f"{text!r} is not a git source", where=where, remedy=allowed)
        return Source("git", match["url"], match["ref"], match["commit"])
    match = _HASHED.fullmatch(text)
    if match is None:
        raise SourceError(f"{text!r} is not a source", where=where, remedy=allowed)
    place, sha256 = match["place"], match["sha256"]
    if place.endswith(ARCHIVES):
        if sha256 is None:
            raise SourceError(
                f"{place}: an archive needs its sha256",
                where=where,
                why="what is compiled has to be what was meant",
                remedy=f"{place}#sha256=...",
            )
        return Source("archive", place, sha256=sha256)
    if "://" in place:
        raise SourceError(f"{text!r} is neither a repository nor an archive", where=where, remedy=allowed)
    return Source("folder", place)


def of(recipe: Recipe, asked: str | None, where: str) -> Source:
    """The source of a recipe: the command line's, the row's, or upstream's own repository at the tag of the facts."""
    text = asked or recipe.source
    if text is None:
        return Source("git", recipe.url, recipe.ref, recipe.commit)
    source = parse(text, "--source" if asked else where)
    if source.kind == "git" and source.ref is None:
        return Source("git", source.place, recipe.ref, source.commit or recipe.commit)
    return source


def fetch(source: Source, folder: Path, mirror: Mirror, say: Say) -> Path:
    """A folder with the source, checked. folder: keeps what was fetched. Raises SourceError."""
    if source.kind == "folder":
        path = Path(source.place).expanduser().resolve()
        if not path.is_dir():
            raise SourceError(f"there is no folder {path}", remedy="--source: the folder whose top holds setup.py")
        return path
    folder.mkdir(parents=True, exist_ok=True)
    key = hashlib.sha256(repr(source).encode()).hexdigest()[:16]
    kept = folder / key
    settled = source.sha256 or (source.ref and re.fullmatch(r"[0-9a-f]{40}|v\d[\d.]+", source.ref) and source.commit)
    if kept.is_dir() and settled:
        return kept
    made = Path(tempfile.mkdtemp(prefix=f"{key}.", dir=folder))
    try:
        if source.kind == "git":
            say(f"fetching {source.place} at {source.ref}")
            _git(source, made, mirror)
            whole = made
        else:
            whole = _archive(source, made, say)
        shutil.rmtree(kept, ignore_errors=True)
        whole.chmod(0o755)
        whole.rename(kept)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return kept


def _git(source: Source, target: Path, mirror: Mirror) -> None:
    if not found("git"):
        raise SourceError("git is not installed here", remedy="apt-get install git, or name an archive or a folder")
    url = source.place
    if mirror.git and url.startswith(GITHUB):
        url = f"{mirror.git.rstrip('/')}/{url}"
    # No question about a password: a wrong address of GitHub answers with one.
    env = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
    git = ["git", "-C", str(target), "-c", "advice.detachedHead=false"]
    slow = ["-c", "http.lowSpeedLimit=1000", "-c", "http.lowSpeedTime=60"]
    ref = source.ref or "HEAD"
    run([*git, "init", "--quiet"])
    try:
        _patiently([*git, *slow, "fetch", "--quiet", "--depth", "1", url, ref], env)
    except CommandError as error:
        said = error.why or ""
        if "couldn't find remote ref" in said or "not our ref" in said:
            raise SourceError(
                f"{url} has no tag, branch or commit {ref}", remedy="ref: in the row, or --source git+URL@ref"
            ) from error
        raise SourceError(
            f"{url} cannot be reached",
            why=said.splitlines()[-1].strip() if said else error.what,
            remedy="--source with an archive or a folder, or a mirror: --mirror NAME with git: in the matrix",
        ) from error
    run([*git, "checkout", "--quiet", "--detach", "FETCH_HEAD"])
    commit = run([*git, "rev-parse", "HEAD"]).strip()
    if source.commit and not commit.startswith(source.commit):
        raise SourceError(
            f"{ref} of {url} is commit {commit[:12]}, and not {source.commit}",
            why="the tag was moved, or this is another repository",
            remedy=f"if it is the one you want: --source git+{source.place}@{ref}#commit={commit}",
        )
    if (target / ".gitmodules").is_file():
        try:
            _patiently([*git, *slow, "submodule", "--quiet", "update", "--init", "--recursive", "--depth", "1"], env)
        except CommandError as error:
            raise SourceError(f"a submodule of {url} cannot be had", why=error.why) from error


def _patiently(argv: list[str], env: dict[str, str]) -> None:
    """Run git; where what it says may pass by itself, once more after a while. Raises CommandError."""
    for wait in WAITS:
        try:
            run(argv, env=env, timeout=1800)
            return
        except CommandError as error:
            if not _PASSING.search(error.why or ""):
                raise
            time.sleep(wait)
    run(argv, env=env, timeout=1800)


def _archive(source: Source, target: Path, say: Say) -> Path:
    """Fetch, check, unpack; the folder that holds setup.py."""
    file = Path(source.place)
    if "://" in source.place:
        say(f"fetching {source.place}")
        file = target / source.place.rpartition("/")[2]
        try:
            fetching.bring(source.place, file)
        except (FetchError, OSError, ValueError) as error:
            raise SourceError(f"{source.place} cannot be fetched", why=str(error)) from error
    elif not file.is_file():
        raise SourceError(f"there is no file {file}")
    digest = fetching.digest(file)
    if digest != source.sha256:
        raise SourceError(
            f"{source.place} is not the archive that was meant",
            why=f"sha256 is {digest}\n       wanted is {source.sha256}",
            remedy="fetch it again; if it is right, write its sha256",
        )
    inside = target / "unpacked"
    inside.mkdir()
    try:
        if file.name.endswith(".zip"):
            with zipfile.ZipFile(file) as packed:
                packed.extractall(inside)
        else:
            with tarfile.open(file) as tar:
                tar.extractall(inside, filter="data")
    except (tarfile.TarError, zipfile.BadZipFile, OSError, EOFError) as error:
        raise SourceError(f"{source.place} cannot be unpacked", why=str(error)) from error
    entries = list(inside.iterdir())
    return entries[0] if len(entries) == 1 and entries[0].is_dir() else inside
