"""Model files: fetched in parts, several at a time, from a server of our own; compared, recorded, caught when wrong."""

from __future__ import annotations

import hashlib
import io
import json
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner

from torchpair import fetch as fetching
from torchpair import models
from torchpair.models import ModelsError
from torchpair.sovits import weights
from torchpair.sovits.weights import Archive, Weight

BIG = bytes(range(256)) * 8000  # 2 MB


def torch_file(content: bytes = BIG, mark: bytes = b"PK") -> bytes:
    """As torch writes it, with GPT-SoVITS's mark of a version in front."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        packed.writestr("archive/data.pkl", content)
    return mark + buffer.getvalue()[2:]


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


S1, S2, UNKNOWN = torch_file(), torch_file(BIG[::-1], b"05"), torch_file(b"unknown" * 1000)
WEIGHTS = (
    Weight("pretrained_models/s1.ckpt", len(S1), sha(S1), ("v2",)),
    Weight("pretrained_models/v2Pro/s2.pth", len(S2), sha(S2), ("v2",)),
    Weight("pretrained_models/config.json", 2, sha(b"{}")),
    Weight("pretrained_models/unknown.pth", None, None),
    Weight("G2PWModel/g2pW.onnx", None, None, archive="G2PWModel.zip"),
)


def g2pw(names: tuple[str, ...] = ("G2PWModel/g2pW.onnx", "G2PWModel/config.py")) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in names:
            packed.writestr(name, f"content of {name}\n" * 100)
    return buffer.getvalue()


class Hub:
    """A server on loopback that can be told to misbehave."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.cut: dict[str, list[int]] = {}  # bytes after which a connection is cut, in turn
        self.status: dict[str, list[int]] = {}
        self.ranges = True
        self.asked: list[tuple[str, str | None]] = []
        self.together = 0
        self._now = 0
        self._lock = threading.Lock()
        self.barrier: threading.Barrier | None = None
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                hub.answer(self)

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        from urllib.parse import unquote

        path = unquote(request.path).lstrip("/")
        wanted = request.headers.get("Range")
        with self._lock:
            self.asked.append((path, wanted))
            self._now += 1
            self.together = max(self.together, self._now)
            status = self.status[path].pop(0) if self.status.get(path) else 0
            cut = self.cut[path].pop(0) if self.cut.get(path) else None
        try:
            if self.barrier:
                self.barrier.wait(timeout=10)
            if status or path not in self.files:
                request.send_error(status or 404)
                return
            data = self.files[path]
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.ranges else 0
            if start >= len(data) > 0:
                request.send_error(416)
                return
            request.send_response(206 if wanted and self.ranges else 200)
            request.send_header("Content-Length", str(len(data) - start))
            if wanted and self.ranges:
                request.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            request.end_headers()
            request.wfile.write(data[start:] if cut is None else data[start : start + cut])
            if cut is not None:
                request.wfile.flush()
                request.connection.close()
        finally:
            with self._lock:
                self._now -= 1


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    made = Hub()
    made.files = {
        "pretrained_models/s1.ckpt": S1,
        "pretrained_models/v2Pro/s2.pth": S2,
        "pretrained_models/config.json": b"{}",
        "pretrained_models/unknown.pth": UNKNOWN,
        "G2PWModel.zip": g2pw(),
    }
    monkeypatch.setattr(weights, "WEIGHTS", WEIGHTS)
    zipped = made.files["G2PWModel.zip"]
    monkeypatch.setattr(
        weights, "ARCHIVES", (Archive("G2PWModel.zip", "G2PWModel", len(zipped), sha(zipped), ("api",)),)
    )
    yield made
    made.server.shutdown()
    made.server.server_close()


def fetch(hub: Hub, folder: Path, **more: object) -> list[models.Download]:
    return models.fetch(folder, "v2", base=hub.url, pause=lambda seconds: None, **more)  # type: ignore[arg-type]


def test_everything_is_fetched_compared_and_recorded(hub: Hub, tmp_path: Path) -> None:
    folder = tmp_path / "models"
    assert len(fetch(hub, folder)) == 5
    assert (folder / "pretrained_models/s1.ckpt").read_bytes() == S1
    assert (folder / "G2PWModel/config.py").is_file() and not (folder / "G2PWModel.zip").exists()
    assert weights.recorded(folder)["pretrained_models/unknown.pth"] == (len(UNKNOWN), sha(UNKNOWN))
    assert models.verify(folder, "v2") == ([], [])
    assert not list(folder.rglob("*.part"))
    before = len(hub.asked)
    assert fetch(hub, folder) == []
    assert len(hub.asked) == before, "what is there is not asked for again"


def test_a_cut_connection_goes_on_where_it_was(hub: Hub, tmp_path: Path) -> None:
    hub.cut["pretrained_models/s1.ckpt"] = [700_000, 300_000]
    fetch(hub, tmp_path)
    ranges = [wanted for path, wanted in hub.asked if path.endswith("s1.ckpt")]
    assert ranges == [None, "bytes=700000-", "bytes=1000000-"]
    assert (tmp_path / "pretrained_models/s1.ckpt").read_bytes() == S1


def test_a_second_call_goes_on_where_the_first_gave_up(hub: Hub, tmp_path: Path) -> None:
    hub.cut["pretrained_models/s1.ckpt"] = [100_000] * fetching.TRIES
    with pytest.raises(ModelsError, match=r"1 of 5 downloads failed") as caught:
        fetch(hub, tmp_path)
    assert "s1.ckpt" in (caught.value.why or "") and "goes on" in (caught.value.remedy or "")
    assert (tmp_path / "pretrained_models/s1.ckpt.part").stat().st_size == 100_000 * fetching.TRIES
    hub.asked.clear()
    assert [d.path for d in fetch(hub, tmp_path)] == ["pretrained_models/s1.ckpt"]
    assert hub.asked == [("pretrained_models/s1.ckpt", f"bytes={100_000 * fetching.TRIES}-")]
    assert models.verify(tmp_path, "v2")[0] == []


def test_a_server_that_cannot_go_on_is_asked_for_all(hub: Hub, tmp_path: Path) -> None:
    hub.ranges = False
    hub.cut["pretrained_models/s1.ckpt"] = [700_000]
    fetch(hub, tmp_path)
    assert (tmp_path / "pretrained_models/s1.ckpt").read_bytes() == S1


def test_a_server_that_is_busy_is_asked_again_and_one_that_refuses_is_not(hub: Hub, tmp_path: Path) -> None:
    hub.status["pretrained_models/s1.ckpt"] = [503, 429]
    hub.status["pretrained_models/v2Pro/s2.pth"] = [403]
    with pytest.raises(ModelsError, match="1 of 5") as caught:
        fetch(hub, tmp_path)
    assert "Forbidden" in (caught.value.why or "")
    assert (tmp_path / "pretrained_models/s1.ckpt").is_file(), "one that fails takes no other with it"
    assert sum(path.endswith("s2.pth") for path, _ in hub.asked) == 1


def test_several_are_fetched_at_a_time(hub: Hub, tmp_path: Path) -> None:
    hub.barrier = threading.Barrier(5)  # nobody is answered before five have asked
    fetch(hub, tmp_path, jobs=5)
    assert hub.together == 5


def test_another_file_than_the_known_one_is_refused_and_not_kept(hub: Hub, tmp_path: Path) -> None:
    hub.files["pretrained_models/s1.ckpt"] = S1[:-1] + b"x"
    with pytest.raises(ModelsError) as caught:
        fetch(hub, tmp_path)
    assert "another file" in (caught.value.why or "")
    assert not list((tmp_path / "pretrained_models").glob("s1*"))


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"<!DOCTYPE html><html>log in</html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a pointer of git-lfs"),
        (UNKNOWN[:-200], "cut off"),
        (b"", "empty"),
    ],
)
def test_what_shows_that_it_is_not_the_file_is_refused_without_a_hash(
    hub: Hub, tmp_path: Path, content: bytes, word: str
) -> None:
    hub.files["pretrained_models/unknown.pth"] = content
    with pytest.raises(ModelsError) as caught:
        fetch(hub, tmp_path)
    assert word in (caught.value.why or "")
    assert not (tmp_path / "pretrained_models/unknown.pth").exists()


def test_an_archive_that_leaves_its_folder_is_refused(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.files["G2PWModel.zip"] = g2pw(("G2PWModel/g2pW.onnx", "../outside.py"))
    monkeypatch.setattr(weights, "ARCHIVES", (Archive("G2PWModel.zip", "G2PWModel", None, None, ("api",)),))
    with pytest.raises(ModelsError) as caught:
        fetch(hub, tmp_path / "models")
    assert "outside.py" in (caught.value.why or "")
    assert not (tmp_path / "outside.py").exists() and not (tmp_path / "models/G2PWModel").exists()


def test_verify_names_each_file_and_what_is_wrong_with_it(hub: Hub, tmp_path: Path) -> None:
    fetch(hub, tmp_path)
    (tmp_path / "pretrained_models/s1.ckpt").write_bytes(S1[:1000])
    (tmp_path / "pretrained_models/v2Pro/s2.pth").write_bytes(S2[:-30] + S2[-30:-29] + b"?" + S2[-28:])
    swapped = torch_file(b"swapped" * 1000)
    (tmp_path / "pretrained_models/unknown.pth").write_bytes(swapped)
    (tmp_path / "pretrained_models/config.json").unlink()
    (tmp_path / "G2PWModel/config.py").write_text("something else")
    found = {problem.path: problem.kind for problem in models.verify(tmp_path, "v2")[0]}
    assert found == {
        "pretrained_models/s1.ckpt": "truncated",
        "pretrained_models/v2Pro/s2.pth": "changed",
        "pretrained_models/unknown.pth": "changed",
        "pretrained_models/config.json": "missing",
        "G2PWModel/config.py": "truncated",
    }


def test_what_was_swapped_is_fetched_anew(hub: Hub, tmp_path: Path) -> None:
    fetch(hub, tmp_path)
    (tmp_path / "pretrained_models/v2Pro/s2.pth").write_bytes(S2[:-30] + S2[-30:-29] + b"?" + S2[-28:])
    assert [download.path for download in fetch(hub, tmp_path)] == ["pretrained_models/v2Pro/s2.pth"]
    assert models.verify(tmp_path, "v2")[0] == []


def test_verify_says_what_it_cannot_compare(hub: Hub, tmp_path: Path) -> None:
    fetch(hub, tmp_path)
    (tmp_path / weights.RECORD).unlink()
    assert models.verify(tmp_path, "v2") == ([], ["pretrained_models/unknown.pth", "G2PWModel/g2pW.onnx"])


@pytest.mark.parametrize("text", ["", "{", "[]", '{"files": 3}', '{"files": {"a": {"size": "x"}}}'])
def test_a_record_that_cannot_be_read_is_no_record(tmp_path: Path, text: str) -> None:
    (tmp_path / weights.RECORD).write_text(text)
    assert weights.recorded(tmp_path) == {}


def test_the_list_itself() -> None:
    assert all(len(w.sha256) == 64 for w in weights.WEIGHTS if w.sha256)
    paths = [weight.path for weight in weights.WEIGHTS]
    assert len(set(paths)) == len(paths)
    for version in weights.VERSIONS:
        names = [weight.path for weight in weights.needed(version)]
        assert any("/s1" in name for name in names) and any("/s2" in name for name in names), version
    for weight in weights.WEIGHTS:
        for source in models.SOURCES:
            if weight.archive is None:
                assert models.url(weight, source).startswith("https://"), weight.path
    s1 = next(w for w in weights.WEIGHTS if "epoch=12" in w.path)
    assert "epoch%3D12-step%3D369668.ckpt" in models.url(s1, "hub")


def test_the_record_says_where_each_file_came_from(hub: Hub, tmp_path: Path) -> None:
    fetch(hub, tmp_path)
    record = json.loads((tmp_path / weights.RECORD).read_text())
    assert record["files"]["G2PWModel/g2pW.onnx"]["from"] == f"{hub.url}/G2PWModel.zip"


def test_the_commands(hub: Hub, tmp_path: Path) -> None:
    from torchpair.cli import cli

    arguments = ["models", "gpt-sovits"]
    done = CliRunner().invoke(
        cli, [*arguments, "fetch", "--models", str(tmp_path), "--from", hub.url], catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    assert "s1.ckpt" in done.output
    done = CliRunner().invoke(cli, [*arguments, "verify", "--models", str(tmp_path)], catch_exceptions=False)
    assert done.exit_code == 0 and "whole" in done.output
    (tmp_path / "pretrained_models/s1.ckpt").write_bytes(b"PK\x03\x04")
    done = CliRunner().invoke(cli, [*arguments, "verify", "--models", str(tmp_path)])
    assert isinstance(done.exception, ModelsError) and done.exception.exit_code == 1
    assert "s1.ckpt: truncated (4 of" in done.output
    done = CliRunner().invoke(cli, [*arguments, "list"], catch_exceptions=False)
    assert "s1.ckpt" in done.output and sha(S1) in done.output


def test_a_mirror_of_the_matrix_stands_in_for_the_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from torchpair.cli import cli

    file = tmp_path / "matrix.yaml"
    file.write_text(
        'images: [{torch: "2.8.0", cuda: "12.8", python: "3.11"}]\nmirrors: {near: {models: "http://near"}}\n'
    )
    arguments = ["models", "gpt-sovits", "fetch", "--matrix", str(file), "--models", str(tmp_path / "models")]

    def hosts(*more: str) -> set[str]:
        asked: list[models.Download] = []

        def fetch(folder: Path, version: str, flavour: str, source: str, **options: Any) -> list[models.Download]:
            asked.extend(models.plan(folder, version, flavour, source, options["base"], options["endpoint"]))
            return asked

        monkeypatch.setattr(models, "fetch", fetch)
        done = CliRunner().invoke(cli, [*arguments, *more], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return {f"{address.scheme}://{address.netloc}" for address in (urlsplit(one.url) for one in asked)}

    others = {"https://dl.fbaipublicfiles.com"}
    assert hosts() - others == {"https://huggingface.co"}
    assert hosts("--mirror", "near") - others == {"http://near"}
    assert hosts("--mirror", "near", "--source", "modelscope") == {"https://www.modelscope.cn"}
    assert hosts("--mirror", "near", "--from", "http://own") == {"http://own"}
