"""Speech over HTTP from the real server code with a stub voice: every format, streamed and whole, good and bad.

Runs inside the image. Prints one JSON document; ends with 0 when every answer was as expected.
"""

from __future__ import annotations

import array
import itertools
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from . import health, start, stub, weights

SCHEMA = "torchpair.smoke/1"
START_SECONDS = 240.0
ANSWER_SECONDS = 60.0
PORT = 9880
FORMATS = ("wav", "raw", "ogg", "aac")
MODES: tuple[Any, ...] = (0, 1, 2, 3, False, True)
SECONDS = stub.FRAGMENTS * stub.FRAGMENT_SECONDS
WAV_HEADER = 44
PIECE = 1600  # samples, 0.05 s: what one level and one frequency are taken from


class Answer(NamedTuple):
    """What the server said. status 0: nothing at all."""

    status: int
    kind: str
    body: bytes


class Case(NamedTuple):
    """One request and what came of it; reason None: as expected."""

    name: str
    status: int
    seconds: float
    reason: str | None


def main() -> int:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="smoke-") as temporary:
        folder = Path(temporary)
        voice = folder / "voice.wav"
        write_voice(voice)
        config = folder / "tts_infer.yaml"
        start.write_config(config, folder / "none", weights.DEFAULT_VERSION, None, "auto")
        log = folder / "server.log"
        argv = [sys.executable, sys.argv[0], "stub", "-a", "127.0.0.1", "-p", str(PORT), "-c", str(config)]
        with log.open("wb") as out:
            server = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
        try:
            ready = wait(server)
            cases = [] if ready else list(ask_all(f"http://127.0.0.1:{PORT}", str(voice)))
        finally:
            server.terminate()
            try:
                server.wait(timeout=20)
            except subprocess.TimeoutExpired:
                server.kill()
        words = log.read_text(encoding="utf-8", errors="replace").splitlines()[-30:]
    up = Case("the server starts", 0, round(time.monotonic() - began, 2), ready)
    failed = [case for case in (up, *cases) if case.reason]
    document = {
        "schema": SCHEMA,
        "seconds": round(time.monotonic() - began, 1),
        "cases": [case._asdict() for case in (up, *cases)],
        "log": words if failed else [],
    }
    print(json.dumps(document))
    return 1 if failed else 0


def wait(server: subprocess.Popen[bytes]) -> str | None:
    """Until the server answers; why it does not."""
    end = time.monotonic() + START_SECONDS
    reason: str | None = "it was never asked"
    while time.monotonic() < end:
        if server.poll() is not None:
            return f"it ended with {server.returncode}"
        reason = health.ask(f"http://127.0.0.1:{PORT}/openapi.json", api=True)
        if reason is None:
            return None
        time.sleep(0.3)
    return f"no answer in {START_SECONDS:.0f} s: {reason}"


def write_voice(path: Path) -> None:
    """A reference of 4 s, as long as GPT-SoVITS wants one (3 to 10 s)."""
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(stub.RATE)
        step = 2 * math.pi * 220 / stub.RATE
        out.writeframes(array.array("h", (round(9000 * math.sin(step * n)) for n in range(4 * stub.RATE))).tobytes())


def ask_all(base: str, voice: str) -> Iterator[Case]:
    """Every request, in turn."""
    good = {"text": "Hello.", "text_lang": "en", "prompt_lang": "en", "prompt_text": "Hello.", "ref_audio_path": voice}
    for kind in FORMATS:
        for mode in MODES:
            for method in ("GET", "POST"):
                request = {**good, "media_type": kind, "streaming_mode": mode}
                name = f"{method} {kind}, streaming_mode {str(mode).lower()}"
                streamed = bool(mode)
                yield _case(name, base, method, request, lambda a, k=kind, s=streamed: heard(a, k, s))
    bad: list[tuple[str, str, dict[str, Any], tuple[int, ...]]] = [
        ("no text", "POST", {**good, "text": ""}, (400,)),
        ("no reference", "POST", {**good, "ref_audio_path": ""}, (400,)),
        ("a reference that is not there", "POST", {**good, "ref_audio_path": f"{voice}.none"}, (400,)),
        ("an unknown language", "POST", {**good, "text_lang": "xx"}, (400,)),
        ("an unknown format", "POST", {**good, "media_type": "mp5"}, (400,)),
        ("an unknown way of splitting", "POST", {**good, "text_split_method": "cut99"}, (400,)),
        ("an unknown streaming_mode", "POST", {**good, "streaming_mode": 9}, (400,)),
        ("text that is a number", "POST", {**good, "text": 1}, (400, 422)),
        # Upstream answers 500 here (text_lang.lower() of nothing): wrong, but said.
        ("GET without a language", "GET", {"text": "Hello.", "ref_audio_path": voice}, (400, 422, 500)),
    ]
    for name, method, request, allowed in bad:
        yield _case(name, base, method, request, lambda a, w=allowed: refused(a, w))
    yield _case("and after all that it still speaks", base, "POST", dict(good), lambda a: heard(a, "wav", False))


def _case(name: str, base: str, method: str, request: dict[str, Any], judge: Any) -> Case:
    began = time.monotonic()
    answer = ask(base, method, request)
    reason = judge(answer) if answer.status else answer.kind
    return Case(name, answer.status, round(time.monotonic() - began, 3), reason)


def ask(base: str, method: str, request: dict[str, Any]) -> Answer:
    """One request to /tts."""
    url, data = f"{base}/tts", None
    if method == "GET":
        url += "?" + urllib.parse.urlencode(
            {k: str(v).lower() if v in (True, False) else v for k, v in request.items()}
        )
    else:
        data = json.dumps(request).encode()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    question = urllib.request.Request(url, data, {"Content-Type": "application/json"} if data else {}, method=method)
    try:
        with opener.open(question, timeout=ANSWER_SECONDS) as answer:
            return Answer(answer.status, answer.headers.get("Content-Type", ""), answer.read())
    except urllib.error.HTTPError as error:
        return Answer(error.code, error.headers.get("Content-Type", ""), error.read())
    except (urllib.error.URLError, OSError) as error:
        return Answer(0, f"no answer: {getattr(error, 'reason', error)}", b"")


def refused(answer: Answer, allowed: tuple[int, ...]) -> str | None:
    """A bad request has to be refused, with words."""
    if answer.status not in allowed:
        return f"answered with {answer.status} instead of {' or '.join(map(str, allowed))}"
    return None if answer.body else "refused without a word"


def heard(answer: Answer, kind: str, streamed: bool) -> str | None:
    """Whether the answer is the stub's tone in that format."""
    if answer.status != 200:
        return f"answered with {answer.status}: {answer.body[:200].decode('utf-8', 'replace')}"
    if answer.kind != f"audio/{kind}":
        return f"its type is {answer.kind or 'not said'}"
    marks = {"wav": b"RIFF", "ogg": b"OggS", "aac": b"\xff"}
    if not answer.body.startswith(marks.get(kind, b"")):
        return f"does not begin like {kind}: {answer.body[:8].hex()}"
    try:
        samples = decode(answer.body, kind, streamed)
    except (OSError, ValueError, RuntimeError, EOFError, wave.Error) as error:
        return f"cannot be decoded: {error}"
    return tone_error(samples, 0.1 * SECONDS if kind in ("ogg", "aac") else 0.0)


def decode(body: bytes, kind: str, streamed: bool) -> array.array[int]:
    """16-bit samples at the stub's rate."""
    if kind == "raw":
        data = body
    elif kind == "wav" and streamed:
        # A stream's header cannot know the length: it says 0, and samples follow to the end.
        data = body[WAV_HEADER:]
    else:
        argv = ["ffmpeg", "-nostdin", "-loglevel", "error", "-i", "pipe:0", "-f", "s16le", "-ac", "1", "-ar"]
        done = subprocess.run([*argv, str(stub.RATE), "pipe:1"], input=body, capture_output=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr.decode("utf-8", "replace").strip()[-200:] or "ffmpeg failed")
        data = done.stdout
    return array.array("h", data[: len(data) // 2 * 2])


def tone_error(samples: array.array[int], slack: float) -> str | None:
    """Length, level and frequency of the tone. slack: seconds that a coder may add or take away."""
    seconds = len(samples) / stub.RATE
    if abs(seconds - SECONDS) > max(slack, 1e-3):
        return f"{seconds:.3f} s instead of {SECONDS:.3f} s"
    # Piece by piece, and the middle one of all pieces: a coder that begins anew with each fragment of a stream puts a
    # moment of silence before it.
    pieces = [samples[n : n + PIECE] for n in range(0, len(samples) - PIECE + 1, PIECE)]
    levels = [math.sqrt(2 * sum(s * s for s in piece) / PIECE) / 32767 for piece in pieces]
    level = statistics.median(levels)
    if abs(20 * math.log10(max(level, 1e-9) / stub.AMPLITUDE)) > 1.5:
        return f"its level is {level:.3f} instead of {stub.AMPLITUDE}"
    hertz = statistics.median(frequency(piece) for piece in pieces)
    return None if abs(hertz - stub.HERTZ) < 5 else f"its frequency is {hertz:.0f} Hz instead of {stub.HERTZ:.0f}"


def frequency(piece: array.array[int]) -> float:
    """Hz, from the first rising zero to the last; 0 where there are not two."""
    zeros = [n + a / (a - b) for n, (a, b) in enumerate(itertools.pairwise(piece)) if a < 0 <= b]
    return stub.RATE * (len(zeros) - 1) / (zeros[-1] - zeros[0]) if len(zeros) > 1 else 0.0
