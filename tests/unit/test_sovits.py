"""What runs inside the image of GPT-SoVITS: start-up, links, health, and the ear of the smoke test."""

from __future__ import annotations

import array
import http.server
import json
import math
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from torchpair import deploy, sovits_image, sovits_lock, sovits_row
from torchpair.errors import LockError, TorchpairError
from torchpair.probe.pack import pack
from torchpair.smoke import SmokeError
from torchpair.smoke import read as read_smoke
from torchpair.sovits import health, layout, smoke, start, stub, verify, weights
from torchpair.sovits.start import Gpu, Refusal
from torchpair.workspace import Workspace

RTX = Gpu("NVIDIA GeForce RTX 4090", (8, 9))


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An image's folders, below a folder of this test."""
    for name in ("CODE", "MODELS", "DATA", "ORIGINALS", "CONFIG"):
        monkeypatch.setattr(layout, name, tmp_path / name.lower())
    monkeypatch.setattr(layout.make_folders, "__defaults__", (tmp_path / "data", tmp_path / "originals"))
    monkeypatch.setattr(start, "WRITTEN", tmp_path / "tts_infer.yaml")
    monkeypatch.setattr(start, "PROBE", tmp_path / "none")
    monkeypatch.setattr(layout, "ROLE", tmp_path / "role")
    for name in ("code", "data"):
        (tmp_path / name).mkdir()
    return tmp_path


def put_models(folder: Path, version: str = "v2") -> None:
    """Files with the sizes that are known; sparse, so that they weigh nothing."""
    for weight in weights.needed(version):
        path = folder / "models" / weight.path
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".json":
            path.write_text(json.dumps({}).ljust(weight.size or 2))
            continue
        with path.open("wb") as out:
            out.write(b"x")
            out.truncate(weight.size or 10)


def test_the_command_and_the_configuration(places: Path) -> None:
    put_models(places)
    argv = start.plan("api", {})
    assert argv == [sys.executable, "api_v2.py", "-a", "0.0.0.0", "-p", "9880", "-c", str(places / "tts_infer.yaml")]
    custom = yaml.safe_load((places / "tts_infer.yaml").read_text())["custom"]
    assert custom["device"] == "cpu" and custom["is_half"] is False and custom["version"] == "v2"
    assert custom["vits_weights_path"] == "GPT_SoVITS/pretrained_models/gsv-v2final-pretrained/s2G2333k.pth"
    assert custom["t2s_weights_path"].endswith("s1bert25hz-5kh-longer-epoch=12-step=369668.ckpt")
    assert (places / "data" / "GPT_weights_v2ProPlus").is_dir() and (places / "data" / "weight.json").is_file()


@pytest.mark.parametrize("version", weights.VERSIONS)
def test_each_version_names_its_own_files(places: Path, version: str) -> None:
    put_models(places, version)
    start.plan("api", {"SOVITS_VERSION": version})
    custom = yaml.safe_load((places / "tts_infer.yaml").read_text())["custom"]
    assert (places / "models" / custom["vits_weights_path"].removeprefix("GPT_SoVITS/")).is_file()
    assert (places / "models" / custom["t2s_weights_path"].removeprefix("GPT_SoVITS/")).is_file()


def test_the_configuration_is_written_anew_at_every_start(places: Path) -> None:
    put_models(places)
    start.plan("api", {})
    stored = places / "tts_infer.yaml"
    stored.write_text("custom: {device: what GPT-SoVITS fell back to}\n")
    start.plan("api", {})
    assert yaml.safe_load(stored.read_text())["custom"]["device"] == "cpu"
    layout.CONFIG.write_text("custom: {device: cpu, version: v4}\n")
    start.plan("api", {})
    assert yaml.safe_load(stored.read_text())["custom"]["version"] == "v4", "a mounted one is copied"
    stored.write_text("x")
    assert "v4" in layout.CONFIG.read_text(), "and never written"


def test_missing_and_truncated_models_are_named_with_the_command(places: Path) -> None:
    put_models(places)
    gone = places / "models/pretrained_models/gsv-v2final-pretrained/s2G2333k.pth"
    gone.unlink()
    bert = places / "models/pretrained_models/chinese-roberta-wwm-ext-large/pytorch_model.bin"
    with bert.open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(Refusal) as caught:
        start.plan("api", {})
    said = "\n".join(caught.value.lines)
    assert "2 model files of v2" in said
    assert "s2G2333k.pth: missing" in said and "pytorch_model.bin: truncated (1000 of 651225145 bytes)" in said
    assert "torchpair models gpt-sovits fetch --version v2" in said


def test_a_gpu_that_is_asked_for_and_absent_is_refused(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_models(places)

    def none(name: str) -> object:
        raise OSError(name)

    monkeypatch.setattr("ctypes.CDLL", none)
    with pytest.raises(Refusal, match="a GPU was asked for and there is none") as caught:
        start.plan("api", {"SOVITS_DEVICE": "gpu"})
    assert "libcuda" in caught.value.lines[1] and "--cpu" in caught.value.lines[2]
    assert not (places / "tts_infer.yaml").exists(), "nothing is written that a later start would find"


class Driver:
    """libcuda as ctypes has it."""

    def __init__(self, code: int = 0, count: int = 1, capability: tuple[int, int] = (8, 9)) -> None:
        self.code, self.count, self.capability = code, count, capability

    def cuInit(self, flags: int) -> int:
        return self.code

    def cuDeviceGetCount(self, where: object) -> int:
        where._obj.value = self.count  # type: ignore[attr-defined]
        return 0

    def cuDeviceGet(self, where: object, number: int) -> int:
        return 0

    def cuDeviceGetName(self, where: object, size: int, device: object) -> int:
        where.value = b"NVIDIA GeForce RTX 4090"  # type: ignore[attr-defined]
        return 0

    def cuDeviceGetAttribute(self, where: object, attribute: int, device: object) -> int:
        where._obj.value = self.capability[attribute - 75]  # type: ignore[attr-defined]
        return 0


def test_a_gpu_is_used_in_half_precision(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_models(places)
    monkeypatch.setattr("ctypes.CDLL", lambda name: Driver())
    assert start.need_gpu() == RTX
    start.plan("api", {"SOVITS_DEVICE": "gpu"})
    custom = yaml.safe_load((places / "tts_infer.yaml").read_text())["custom"]
    assert custom["device"] == "cuda" and custom["is_half"] is True


@pytest.mark.parametrize(("driver", "word"), [(Driver(code=100), "error 100"), (Driver(count=0), "offers no GPU")])
def test_a_driver_without_a_gpu(monkeypatch: pytest.MonkeyPatch, driver: Driver, word: str) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda name: driver)
    with pytest.raises(Refusal) as caught:
        start.need_gpu()
    assert word in caught.value.lines[1]


@pytest.mark.parametrize(
    ("gpu", "wish", "half"),
    [
        (None, "true", False),
        (RTX, "auto", True),
        (RTX, "false", False),
        (Gpu("Tesla P40", (6, 1)), "auto", False),
        (Gpu("NVIDIA GeForce GTX 1660 Ti", (7, 5)), "auto", False),
        (Gpu("NVIDIA GeForce RTX 2080", (7, 5)), "auto", True),
        (Gpu("Tesla P40", (6, 1)), "true", True),
    ],
)
def test_half_precision(gpu: Gpu | None, wish: str, half: bool) -> None:
    assert start.half_precision(gpu, wish) is half


@pytest.mark.parametrize(
    ("environment", "word"),
    [
        ({"SOVITS_VERSION": "v9"}, "SOVITS_VERSION"),
        ({"SOVITS_DEVICE": "cuda"}, "SOVITS_DEVICE"),
        ({"SOVITS_GPT_WEIGHTS": "GPT_weights/none.ckpt"}, "GPT_weights/none.ckpt is not there"),
    ],
)
def test_wrong_settings(places: Path, environment: dict[str, str], word: str) -> None:
    put_models(places)
    with pytest.raises(Refusal, match=word):
        start.plan("api", environment)


def test_a_volume_that_cannot_be_written(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise PermissionError(13, "Permission denied", "/data/TEMP")

    monkeypatch.setattr(layout, "make_folders", refuse)
    with pytest.raises(Refusal, match="cannot be written"):
        start.plan("api", {})


def test_a_pair_that_fails_its_check_does_not_start(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_models(places)
    probe = places / "probe.py"
    answer = {"checks": [{"id": "pair.import", "status": "fail", "reason": "libcudart.so.13"}]}
    probe.write_text(f"import sys; print({json.dumps(answer)!r}); sys.exit(1)")
    monkeypatch.setattr(start, "PROBE", probe)
    with pytest.raises(Refusal) as caught:
        start.plan("api", {})
    assert "pair.import: libcudart.so.13" in caught.value.lines[1]
    probe.write_text("")
    assert start.plan("api", {})


def test_a_refusal_is_three_lines_and_no_traceback(places: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert start.main("api", {}) == start.EXIT_CONFIG
    said = capsys.readouterr().err
    assert said.startswith("gpt-sovits: ") and "  why: " in said and "  try: " in said and "Traceback" not in said


def test_a_container_knows_what_it_became(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    became: list[list[str]] = []
    monkeypatch.setattr("os.execv", lambda path, argv: became.append(argv))
    monkeypatch.setattr("os.chdir", lambda path: None)
    asked: list[str] = []
    monkeypatch.setattr(health, "ask", lambda url, api: asked.append(url))
    assert health.main() == 0
    start.main("webui", {})
    assert became[0][1] == "webui.py" and health.main() == 0
    assert asked == ["http://127.0.0.1:9880/openapi.json", "http://127.0.0.1:9874/"]


def test_the_webui_starts_without_models(places: Path) -> None:
    assert start.plan("webui", {})[1:] == ["webui.py", "en_US"]


# ---- layout --------------------------------------------------------------------------------------------------------


def test_links_take_the_place_of_what_was_there(tmp_path: Path) -> None:
    code = tmp_path / "code"
    (code / "GPT_SoVITS/pretrained_models").mkdir(parents=True)
    (code / "GPT_SoVITS/pretrained_models/huge.pth").write_bytes(b"weights")
    (code / "GPT_SoVITS/text/ja_userdic").mkdir(parents=True)
    (code / "GPT_SoVITS/text/ja_userdic/userdict.csv").write_text("words")
    (code / "logs").mkdir()
    models, data, originals = tmp_path / "models", tmp_path / "data", tmp_path / "originals"
    for _ in range(2):  # twice is as good as once
        layout.prepare(code, models, data, originals)
    assert (code / "GPT_SoVITS/pretrained_models").readlink() == models / "pretrained_models"
    assert (code / "logs").readlink() == data / "logs"
    data.mkdir()
    layout.make_folders(data, originals)
    assert (code / "GPT_SoVITS/text/ja_userdic/userdict.csv").read_text() == "words"
    (code / "SoVITS_weights_v2" / "mine.pth").write_text("trained")
    assert (data / "SoVITS_weights_v2" / "mine.pth").is_file()
    (data / "ja_userdic/userdict.csv").write_text("my own words")
    layout.make_folders(data, originals)
    assert (data / "ja_userdic/userdict.csv").read_text() == "my own words"


def test_weights_never_go_into_a_layer(tmp_path: Path) -> None:
    code = tmp_path / "checkout"
    for name in (
        "api_v2.py", "GPT_SoVITS/text/namedict_cache.pickle", "GPT_SoVITS/pretrained_models/s1v3.ckpt", ".git/config",
        "GPT_weights_v2/me.ckpt", "tools/uvr5/uvr5_weights/HP5.pth", "GPT_SoVITS/text/G2PWModel/g2pW.onnx", "logs/x",
    ):  # fmt: skip
        (code / name).parent.mkdir(parents=True, exist_ok=True)
        (code / name).write_text("x")
    sovits_image.stage(code, tmp_path / "staged")
    staged = {str(path.relative_to(tmp_path / "staged")) for path in (tmp_path / "staged").rglob("*") if path.is_file()}
    assert staged == {"api_v2.py", "GPT_SoVITS/text/namedict_cache.pickle"}


# ---- health --------------------------------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[Callable[[int, bytes], str]]:
    """A server on loopback that always gives this answer; its address."""
    made = []

    def make(status: int, body: bytes) -> str:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: object) -> None:
                pass

        made.append(http.server.HTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=made[-1].serve_forever, args=(0.05,), daemon=True).start()
        return f"http://127.0.0.1:{made[-1].server_address[1]}/openapi.json"

    yield make
    for one in made:
        one.shutdown()
        one.server_close()


@pytest.mark.parametrize(
    ("status", "body", "word"),
    [
        (200, b'{"paths": {"/tts": {}}}', None),
        (200, b'{"paths": {"/other": {}}}', "no route /tts"),
        (200, b"<html>", "not what GPT-SoVITS answers"),
        (200, b"[]", "not what"),
        (500, b"", "answers 500"),
    ],
)
def test_health(server: Callable[[int, bytes], str], status: int, body: bytes, word: str | None) -> None:
    reason = health.ask(server(status, body), api=True)
    assert (reason is None) if word is None else (reason is not None and word in reason)


def test_health_of_nobody_and_behind_a_proxy(
    server: Callable[[int, bytes], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "refused" in str(health.ask("http://127.0.0.1:1/openapi.json", api=True))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert health.ask(server(200, b'{"paths": {"/tts": {}}}'), api=True) is None


# ---- the smoke's ear -----------------------------------------------------------------------------------------------


def sound(seconds: float = smoke.SECONDS, hertz: float = stub.HERTZ, level: float = stub.AMPLITUDE) -> bytes:
    step = 2 * math.pi * hertz / stub.RATE
    count = round(seconds * stub.RATE)
    return array.array("h", (round(32767 * level * math.sin(step * n)) for n in range(count))).tobytes()


def wav(data: bytes) -> bytes:
    head = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36, b"WAVE", b"fmt ", 16, 1, 1, 32000, 64000, 2, 16, b"data", 0)
    return head + data


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (sound(), None),
        (sound(seconds=1.0), "1.000 s instead of 2.000 s"),
        (sound(hertz=480), "its frequency"),
        (sound(level=0.1), "its level"),
        (b"", "0.000 s"),
    ],
)
def test_the_ear(data: bytes, word: str | None) -> None:
    for kind, body in (("raw", data), ("wav", wav(data))):
        reason = smoke.heard(smoke.Answer(200, f"audio/{kind}", body), kind, True)
        assert (reason is None) if word is None else (reason is not None and word in reason), reason


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (smoke.Answer(400, "application/json", b'{"message": "tts failed"}'), "answered with 400"),
        (smoke.Answer(200, "text/html", wav(sound())), "its type"),
        (smoke.Answer(200, "audio/wav", sound()), "does not begin like wav"),
    ],
)
def test_the_ear_refuses(answer: smoke.Answer, word: str) -> None:
    assert word in str(smoke.heard(answer, "wav", True))


def test_a_bad_request_has_to_be_refused() -> None:
    assert smoke.refused(smoke.Answer(400, "", b"{}"), (400,)) is None
    assert "answered with 200" in str(smoke.refused(smoke.Answer(200, "", b"x"), (400,)))
    assert "without a word" in str(smoke.refused(smoke.Answer(400, "", b""), (400,)))


def test_reading_the_answer() -> None:
    case = {"name": "POST wav", "status": 200, "seconds": 0.1, "reason": None}
    document = {"schema": smoke.SCHEMA, "seconds": 1.0, "cases": [case], "log": []}
    assert read_smoke("image", "noise\n" + json.dumps(document)).good
    assert not read_smoke("image", json.dumps({**document, "cases": [{**case, "reason": "no"}]})).good
    assert not read_smoke("image", json.dumps({**document, "cases": []})).good, "nothing asked is not passed"
    for text in ("", "Traceback", "{}", json.dumps({**document, "cases": [3]})):
        with pytest.raises(SmokeError, match="gave no answer"):
            read_smoke("image", text)


# ---- the image -----------------------------------------------------------------------------------------------------


def application(flavour: deploy.Flavour, shipped: Workspace) -> sovits_image.Application:
    return sovits_row.application(shipped, None, None, flavour)


@pytest.mark.parametrize("flavour", deploy.FLAVOURS)
def test_the_locks_answer_todays_question_and_move_nothing(flavour: deploy.Flavour, shipped: Workspace) -> None:
    made = application(flavour, shipped)
    (row,) = shipped.choose([made.row])
    kept = shipped.lock(shipped.specs([row], "local")[0])
    assert kept is not None
    names = {file.name for file in made.lock.files}
    assert not names & kept.versions.keys(), "nothing of the row is installed once more"
    assert {"fastapi", "transformers", "librosa", "pyopenjtalk", "jieba-fast", "onnxruntime-gpu"} <= names
    assert "onnxruntime" not in names and "torch" not in names
    assert ("gradio" in names) == (flavour != "api") and ("funasr" in names) == (flavour == "full")
    assert {"pyopenjtalk", "jieba-fast"} <= {file.name for file in made.lock.sdists}
    assert {file.name for file in made.lock.sdists} <= {name.lower() for name in sovits_image.recipe()["sdists"]}
    tools = {file.name: file.version for file in made.tools.files}
    assert tools["numpy"] == kept.versions["numpy"], "compiled against the NumPy that it will meet"


@pytest.mark.parametrize("flavour", deploy.FLAVOURS)
def test_the_dockerfile(flavour: deploy.Flavour, shipped: Workspace, tmp_path: Path) -> None:
    text = sovits_image.dockerfile(application(flavour, shipped))
    (tmp_path / "Dockerfile").write_text(text)
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run(
        [hadolint, tmp_path / "Dockerfile"], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    final = text.rpartition("FROM ${BASE} AS image")[2]
    assert "USER 10001:10001" in final and "gcc" not in final and "HEALTHCHECK" in final and "tini" in final
    assert "--network=none" in final and "/run/before.txt" in final
    assert text.count("--require-hashes") >= 3


def test_a_lock_of_another_question_is_none(tmp_path: Path) -> None:
    question = sovits_lock.Question("api-x", "3.11", ("librosa==0.10.2",), (("numpy", "2.4.6"),))
    file = sovits_lock.File("librosa", "0.10.2", "0" * 64, "librosa-0.10.2-py3-none-any.whl")
    path = tmp_path / "api-x.txt"
    assert sovits_lock.read(path, question) is None
    path.write_text(sovits_lock.text("api-x", sovits_lock.Lock(question.text, (file,))))
    assert sovits_lock.read(path, question) == sovits_lock.Lock(question.text, (file,))
    moved = sovits_lock.Question("api-x", "3.11", ("librosa==0.10.2",), (("numpy", "2.5.0"),))
    assert sovits_lock.read(path, moved) is None
    path.write_text(path.read_text() + "librosa 0.10.2\n")
    with pytest.raises(LockError, match="not a line"):
        sovits_lock.read(path, question)


def test_onnxruntime_follows_the_cuda_of_the_row() -> None:
    assert "onnxruntime-gpu==1.23.2" in sovits_image.requirements("api", "12.8")
    assert "onnxruntime-gpu>=1.24" in sovits_image.requirements("api", "13.0")
    assert "onnxruntime" in sovits_image.requirements("api", "cpu")
    with pytest.raises(TorchpairError):
        sovits_image.requirements("api", "11.8")


def test_pip_check_lets_through_what_is_known_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    class Done:
        returncode = 1
        stdout = "gradio 4.44.1 has requirement markupsafe~=2.0, but you have markupsafe 3.0.4.\ntorchaudio 2.8.0 x\n"
        stderr = ""

    monkeypatch.setattr(subprocess, "run", lambda *a, **k: Done())
    assert verify.pip_check(["gradio 4.44.1 has requirement markupsafe~=2.0"]) == ["pip check: torchaudio 2.8.0 x"]


def test_what_upstream_writes_beside_its_code_is_written_while_the_image_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The dictionary of polyphones, at the first import; a language that fails is named with its last words."""
    text = tmp_path / "GPT_SoVITS" / "text"
    (text / "g2pw").mkdir(parents=True)
    for name in ("__init__", *(module for module, _ in verify.SPOKEN.values())):
        (text / f"{name}.py").write_text("def g2p(words):\n    return words\n")
    (text / "korean.py").write_text("raise OSError('no dictionary')\n")
    (text / "g2pw" / "__init__.py").write_text("open(__file__ + '.pickle', 'w').close()\n")
    monkeypatch.setattr(verify.layout, "CODE", tmp_path)
    problems = verify.languages()
    assert len(problems) == 1 and problems[0].startswith("Korean: ") and "no dictionary" in problems[0]
    assert (text / "g2pw" / "__init__.py.pickle").is_file()


def test_the_package_runs_from_one_file(tmp_path: Path) -> None:
    target = tmp_path / "sovits.pyz"
    pack(target, sovits_image.RECIPE.parent, sovits_image.PACKAGE)
    done = subprocess.run([sys.executable, "-I", target, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "smoke" in done.stdout, done.stderr
    done = subprocess.run([sys.executable, "-I", target, "health", "api"], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "9880" in done.stderr
