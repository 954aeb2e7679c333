"""Where a source comes from, and what is said when it cannot be had."""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from torchpair import fetch as fetch_module
from torchpair import mirrors, sources
from torchpair.sources import Source, SourceError
from torchpair.spec import Spec

SHA = "0" * 64
ROW = 'torch: "2.6.0", cuda: "12.4", python: "3.13", sm: "8.0", torchaudio: {from: source%s}'


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("git+https://host/audio.git", Source("git", "https://host/audio.git")),
        ("git+https://host/audio.git@v2.6.0", Source("git", "https://host/audio.git", "v2.6.0")),
        ("git+https://host/a.git@release/2.6", Source("git", "https://host/a.git", "release/2.6")),
        ("git+ssh://git@host/a.git@v2", Source("git", "ssh://git@host/a.git", "v2")),
        ("git+ssh://git@host/a.git", Source("git", "ssh://git@host/a.git")),
        ("git+https://h/a.git@main#commit=d8831425", Source("git", "https://h/a.git", "main", "d8831425")),
        (f"https://host/a-2.6.tar.gz#sha256={SHA}", Source("archive", "https://host/a-2.6.tar.gz", sha256=SHA)),
        (f"../a.orig.tar.xz#sha256={SHA}", Source("archive", "../a.orig.tar.xz", sha256=SHA)),
        ("../audio", Source("folder", "../audio")),
    ],
)
def test_pips_own_notation(text: str, source: Source) -> None:
    assert sources.parse(text) == source


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a.tar.gz", "needs its sha256"),
        ("https://host/audio", "neither a repository nor an archive"),
        ("git+audio", "not a git source"),
        ("a.tar.gz#sha256=12", "is not a source"),
        ("x\ny", "is not a source"),
        ("$(id)", "is not a source"),
        ("", "is not a source"),
    ],
)
def test_what_is_no_source(text: str, said: str) -> None:
    with pytest.raises(SourceError, match=said) as caught:
        sources.parse(text)
    assert caught.value.remedy and caught.value.exit_code == 4


def test_the_command_line_then_the_row_then_upstream(spec: Callable[..., Spec]) -> None:
    (plain,) = spec(ROW % "", "local").recipes
    assert sources.of(plain, None, "x") == Source("git", plain.url, "v2.6.0", "d8831425")
    assert sources.of(plain, "git+https://host/a.git", "x") == Source("git", "https://host/a.git", "v2.6.0", "d8831425")
    assert sources.of(plain, "git+https://host/a.git@x", "x") == Source("git", "https://host/a.git", "x")
    (own,) = spec(ROW % ', source: "../audio"', "local").recipes
    assert sources.of(own, None, "x") == Source("folder", "../audio")
    assert sources.of(own, "../other", "x") == Source("folder", "../other")


# ---- fetching -------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that were waited for what may pass, without waiting. Not time.sleep: subprocess calls it too, on a busy
    machine, while it waits for git."""
    found: list[float] = []
    for module in (sources, fetch_module):
        monkeypatch.setattr(module, "time", SimpleNamespace(sleep=found.append))
    return found


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A git repository with a tag v2.6.0."""
    path = tmp_path / "repository"
    path.mkdir()
    (path / "setup.py").write_text("# v2.6.0\n")
    for argv in (
        ["init", "-q"],
        ["add", "."],
        ["-c", "user.name=x", "-c", "user.email=x@x", "commit", "-q", "-m", "x"],
        ["tag", "v2.6.0"],
    ):
        subprocess.run(["git", "-C", str(path), *argv], check=True)
    return path


def fetch(text: str, folder: Path) -> Path:
    return sources.fetch(sources.parse(text), folder / "sources", mirrors.NONE, lambda line: None)


def test_git_at_a_tag(repository: Path, tmp_path: Path) -> None:
    commit = subprocess.run(["git", "-C", str(repository), "rev-parse", "HEAD"], capture_output=True, text=True).stdout
    found = fetch(f"git+file://{repository}@v2.6.0#commit={commit[:8]}", tmp_path)
    assert (found / "setup.py").read_text() == "# v2.6.0\n"
    assert (found / ".git" / "HEAD").read_text() == commit, "the compile looks at it again"
    (found / "setup.py").touch()
    assert fetch(f"git+file://{repository}@v2.6.0#commit={commit[:8]}", tmp_path) == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("git+file://{0}@v9.9.9", "has no tag, branch or commit v9.9.9"),
        ("git+file://{0}/gone.git@v2.6.0", "cannot be reached"),
        ("git+file://{0}@v2.6.0#commit=0123456", "and not 0123456"),
        ("git+http://127.0.0.1:9/audio.git@v2.6.0", "cannot be reached"),
        ("{0}/none", "there is no folder"),
        ("{0}/none.tar.gz#sha256=" + SHA, "there is no file"),
        ("http://127.0.0.1:9/a.tar.gz#sha256=" + SHA, "cannot be fetched"),
    ],
)
def test_what_cannot_be_had_is_said_and_leaves_nothing(repository: Path, tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SourceError, match=said):
        fetch(text.format(repository), tmp_path)
    assert not (tmp_path / "sources").exists() or not list((tmp_path / "sources").iterdir())


@pytest.mark.parametrize(
    ("text", "tries"),
    [
        ("git+http://127.0.0.1:9/audio.git@v2.6.0", 3),  # nobody listens there: that may pass
        ("http://127.0.0.1:9/a.tar.gz#sha256=" + SHA, 5),
        ("git+file://{0}@v9.9.9", 1),  # a tag that is not there will not come
    ],
)
def test_what_may_pass_is_tried_again(
    repository: Path, tmp_path: Path, text: str, tries: int, waits: list[float]
) -> None:
    with pytest.raises(SourceError):
        fetch(text.format(repository), tmp_path)
    assert len(waits) == tries - 1 and waits == sorted(waits)


def archive(path: Path, names: tuple[str, ...] = ("audio-2.6.0/setup.py", "audio-2.6.0/src/x.cpp")) -> str:
    with tarfile.open(path, "w:gz") as tar:
        for name in names:
            tar.addfile(tarfile.TarInfo(name), io.BytesIO())
    return f"{path}#sha256={hashlib.sha256(path.read_bytes()).hexdigest()}"


def test_an_archive_of_one_folder(tmp_path: Path) -> None:
    text = archive(tmp_path / "a.tar.gz")
    found = fetch(text, tmp_path)
    assert (found / "setup.py").is_file() and (found / "src" / "x.cpp").is_file()
    (tmp_path / "a.tar.gz").rename(tmp_path / "moved.tar.gz")
    assert fetch(text, tmp_path) == found, "its sha256 says all: it is not fetched twice"


def test_a_wrong_sha256_names_both(tmp_path: Path) -> None:
    text = archive(tmp_path / "a.tar.gz")
    with pytest.raises(SourceError, match="not the archive that was meant") as caught:
        fetch(text[:-64] + SHA, tmp_path)
    assert text[-64:] in str(caught.value) and SHA in str(caught.value)
    assert not list((tmp_path / "sources").iterdir())


def test_an_archive_that_leaves_its_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be unpacked"):
        fetch(archive(tmp_path / "a.tar.gz", ("../../evil",)), tmp_path)
    assert not (tmp_path.parent / "evil").exists()


def test_what_is_no_archive(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"no")
    with pytest.raises(SourceError, match="cannot be unpacked"):
        fetch(f"{tmp_path}/a.zip#sha256={hashlib.sha256(b'no').hexdigest()}", tmp_path)
