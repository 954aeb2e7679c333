"""Following buildx, without an engine: what it prints, and what becomes of a row whose build fails."""

from __future__ import annotations

import base64
import io
import json
import shlex
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import docker.errors
import pytest
import requests.exceptions

from torchpair import build, buildx, plan
from torchpair.buildx import Steps
from torchpair.matrix import Mirror
from torchpair.spec import Spec
from torchpair.workspace import Workspace

BASE, TORCH, AUDIO, PULL = ("sha256:" + digit * 64 for digit in "1234")
STEP = {
    BASE: "[torch2_8_0-cu128-py311 base 2/2] RUN --mount=type=cache,target=/var/cache/apt     apt-get update",
    TORCH: "[torch2_8_0-cu128-py311 torch 3/3] RUN --mount=type=secret,id=ca     rm -rf /out  && uv pip install x",
    AUDIO: "[torch2_8_0-cu128-py311 audio 3/3] RUN --mount=type=secret,id=ca     rm -rf /out  && uv pip install y",
    PULL: "[internal] load build definition from Dockerfile",
}


class Heard:
    """A Progress that remembers."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, str, int, int]] = []
        self.stages: list[tuple[str, str, float]] = []
        self.ends: dict[str, str] = {}
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)

    def step(self, row: str, doing: str, done: int, total: int) -> None:
        self.steps.append((row, doing, done, total))

    def stage(self, row: str, name: str, seconds: float) -> None:
        self.stages.append((row, name, seconds))

    def end(self, row: str, result: str) -> None:
        self.ends[row] = result


def vertex(digest: str, seconds: float | None = None, **other: Any) -> dict[str, Any]:
    found = {"digest": digest, "name": STEP[digest], "started": "2026-11-21T11:38:20.100000001Z", **other}
    if seconds is not None:
        found["completed"] = f"2026-11-21T11:38:{20.1 + seconds:06.3f}000001Z"
    return found


def log(digest: str, text: str) -> dict[str, Any]:
    return {
        "vertex": digest,
        "stream": 1,
        "data": base64.b64encode(text.encode()).decode(),
        "timestamp": "2026-11-21T11:38:21.5Z",
    }


def said(*vertexes: dict[str, Any], logs: tuple[dict[str, Any], ...] = ()) -> str:
    body: dict[str, Any] = {}
    if vertexes:
        body["vertexes"] = list(vertexes)
    if logs:
        body["logs"] = list(logs)
    return json.dumps(body) + "\n"


def follow(*lines: str) -> tuple[Steps, Heard, str]:
    heard, out = Heard(), io.StringIO()
    steps = Steps("row", heard)
    steps.follow(io.StringIO("".join(lines)), out)
    return steps, heard, out.getvalue()


EXIT = 'process "/bin/bash -euo pipefail -c rm -rf /out" did not complete successfully: exit code: 2'
CANCELED = "failed to solve: Canceled: context canceled"


def test_a_build_that_works() -> None:
    steps, heard, text = follow(
        said(vertex(PULL), vertex(BASE)),
        said(vertex(PULL, 0.1), vertex(BASE, 0.5, cached=True)),
        said(vertex(TORCH), logs=(log(TORCH, "Installed 2 packages\n"),)),
        said(vertex(TORCH, 31.25)),
        said(vertex(TORCH, 31.25)),
        said(vertex(AUDIO, 2)),
    )
    assert steps.failure is None
    assert steps.stages == {"torch": pytest.approx(31.25), "audio": pytest.approx(2)}, "cached steps took no time"
    assert [(row, name.split(":")[0], round(s, 2)) for row, name, s in heard.stages] == [
        ("row", "torch", 31.25),
        ("row", "audio", 2),
    ]
    assert heard.steps[-1][2:] == (4, 4)
    assert "Installed 2 packages" in text and text.count(f"--- {STEP[TORCH]}") == 1
    assert f"=== {STEP[BASE]}: cached" in text and f"=== {STEP[TORCH]}: 31.2 s" in text


def test_a_failure_names_its_step_and_ends_with_its_own_log() -> None:
    steps, _, text = follow(
        said(vertex(TORCH), vertex(AUDIO)),
        said(logs=(log(AUDIO, "audio goes well\n"), log(TORCH, "Resolved 2 packages\n"))),
        said(logs=(log(TORCH, "error: hash mismatch\n  expected a\n"), log(AUDIO, "audio still goes well\n"))),
        said(vertex(AUDIO, 1, error=CANCELED), vertex(TORCH, 2, error=EXIT)),
    )
    failure = str(steps.failure)
    first, *tail = failure.splitlines()
    assert first == "torch: exit code 2"
    assert "error: hash mismatch" in failure and "expected a" in tail[-1]
    assert "audio" not in failure
    assert f"!!! {STEP[TORCH]}: {EXIT}" in text and "audio goes well" in text


def test_last_words_that_come_with_the_error_are_not_lost() -> None:
    steps, *_ = follow(said(vertex(TORCH)), said(vertex(TORCH, 2, error=EXIT), logs=(log(TORCH, "the last word\n"),)))
    assert "the last word" in str(steps.failure)


def test_apts_own_error_is_where_the_tail_starts() -> None:
    chatter = "".join(f"Get:{i} somewhere\n" for i in range(20))
    words = "E: Unable to locate package nothing\nand then\nsome more\nlines\nafter it\nto the end\n"
    steps, *_ = follow(said(vertex(BASE), logs=(log(BASE, chatter + words),)), said(vertex(BASE, 2, error=EXIT)))
    assert str(steps.failure).splitlines()[1].strip() == "E: Unable to locate package nothing"


def test_only_the_first_cause_counts() -> None:
    steps, *_ = follow(said(vertex(TORCH, 1, error=EXIT)), said(vertex(AUDIO, 1, error="something else")))
    assert "torch" in str(steps.failure) and "something else" not in str(steps.failure)


def test_a_canceled_step_is_no_cause() -> None:
    steps, *_ = follow(said(vertex(AUDIO, 1, error=CANCELED)))
    assert steps.failure is None


def test_a_long_log_is_cut() -> None:
    lines = "".join(f"line {i}\n" for i in range(500))
    steps, _, text = follow(said(vertex(TORCH), logs=(log(TORCH, lines),)), said(vertex(TORCH, 1, error=EXIT)))
    assert "line 499" in str(steps.failure)
    assert len(str(steps.failure).splitlines()) <= buildx.TAIL + 1
    assert "line 0\n" in text, "the log file keeps it all"


@pytest.mark.parametrize(
    ("lines", "failure"),
    [
        (["ERROR: failed to find target nothing\n"], "ERROR: failed to find target nothing"),
        (["ERROR: no builder\n", "\n", "try this\n"], "ERROR: no builder\n    try this"),
        ([said(vertex(BASE, 1)), "ERROR: target x: failed to solve\n"], "ERROR: target x: failed to solve"),
        (
            [said(vertex(TORCH, 1, error="no space left on device")), "ERROR: failed to solve\n"],
            "no space left on device",
        ),
        (['{"vertexes": [{"dig\n'], '{"vertexes": [{"dig'),
        (["{\n", '  "vertexes": [\n', "ERROR: cut off"], "ERROR: cut off"),
        (["[]\n", "null\n", "5\n"], "null"),
        (["\n", "  \n"], None),
        ([], None),
    ],
)
def test_what_buildx_says_outside_its_json(lines: list[str], failure: str | None) -> None:
    steps, _, text = follow(*lines)
    assert (failure in str(steps.failure)) if failure else not steps.failure
    for line in lines:
        assert line in text or line.startswith('{"vertexes"')


def test_an_object_over_several_lines_as_buildx_0_13_prints_it() -> None:
    status = {"vertexes": [vertex(TORCH, 2, error="exit code: 7")], "logs": [log(TORCH, "spread {\n}\n")]}
    steps, *_ = follow(json.dumps(status, indent=2) + "\n", said(vertex(AUDIO, 1)))
    assert str(steps.failure).splitlines()[0] == "torch: exit code 7" and "spread {" in str(steps.failure)
    assert set(steps.done) == {TORCH, AUDIO}


@pytest.mark.parametrize("data", ["%%%", "", None, "w7/DvyE=", "/////w=="])
def test_a_log_entry_that_is_no_text(data: str | None) -> None:
    steps, *_ = follow(
        json.dumps({"logs": [{"vertex": TORCH, "data": data}]}) + "\n", said(vertex(TORCH, 1, error="bad"))
    )
    assert "bad" in str(steps.failure)


@pytest.mark.parametrize(
    ("name", "stage", "short"),
    [
        (STEP[BASE], "base", "base: RUN apt-get update"),
        ("[base 1/2] FROM docker.io/library/debian:12", "base", "base: FROM docker.io/library/debian:12"),
        ("[linux/amd64 image 3/9] COPY --link a b", "image", "image: COPY --link a b"),
        ("[tools  4/12] RUN a \\\n  && b", "tools", "tools: RUN a && b"),
        ("exporting to image", "export", "exporting to image"),
        ("[internal] load metadata for x", None, "[internal] load metadata for x"),
        ("two\nlines", None, "two"),
        ("", None, ""),
        ("\n", None, ""),
    ],
)
def test_names_of_steps(name: str, stage: str | None, short: str) -> None:
    assert (buildx._stage(name), buildx._short(name)) == (stage, short)


@pytest.mark.parametrize(
    ("started", "completed", "seconds"),
    [
        ("2026-11-21T11:38:20.123456789Z", "2026-11-21T11:38:21.123456789Z", 1.0),
        ("2026-11-21T11:38:20Z", "2026-11-21T11:38:20.5Z", 0.5),
        ("2026-11-21T11:38:20.25Z", "2026-11-21T11:38:20.2505Z", 0.0005),
        ("2026-11-21T11:38:20.000000001Z", "2026-11-21T11:38:20.000000999Z", 0.0),
        ("2026-11-21T23:59:59.9Z", "2026-11-22T00:00:00.1Z", 0.2),
        ("2026-11-21T11:38:20+00:00", "2026-11-21T13:38:21+02:00", 1.0),
        ("2026-11-21T11:38:21Z", "2026-11-21T11:38:20Z", 0.0),
        ("2026-11-21T11:38:21Z", "soon", 0.0),
        (None, "2026-11-21T11:38:20Z", 0.0),
        (5, 6, 0.0),
    ],
)
def test_seconds(started: Any, completed: Any, seconds: float) -> None:
    assert buildx._seconds({"started": started, "completed": completed}) == pytest.approx(seconds, abs=1e-9)


def test_seconds_of_a_step_that_never_started() -> None:
    assert buildx._seconds({"completed": "2026-11-21T11:38:20Z"}) == 0.0


# ---- certificates -------------------------------------------------------------------------------------------------


def test_certificates_in_the_order_of_the_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(build, "CA_DEFAULT", str(tmp_path / "default.pem"))
    for name in build.CA_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert build.ca_bundle() is None
    (tmp_path / "default.pem").touch()
    assert build.ca_bundle() == tmp_path / "default.pem"
    for name in reversed(build.CA_VARIABLES):
        (tmp_path / name).touch()
        monkeypatch.setenv(name, str(tmp_path / name))
        assert build.ca_bundle() == tmp_path / name, "the variables stand in the order in which they count"


@pytest.mark.parametrize("value", ["", "missing.pem", "."])
def test_a_variable_that_names_no_file_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, value: str
) -> None:
    default = tmp_path / "default.pem"
    default.touch()
    monkeypatch.setattr(build, "CA_DEFAULT", str(default))
    monkeypatch.chdir(tmp_path)
    for name in build.CA_VARIABLES:
        monkeypatch.setenv(name, value)
    assert build.ca_bundle() == default


# ---- rows, with a buildx made of a shell script -------------------------------------------------------------------

Images = Callable[..., tuple[list[build.Built], Heard]]


@pytest.fixture
def images(tmp_path: Path) -> Images:
    """Runs build.images with a script for buildx and a function for the engine's images."""

    def run(
        specs: list[Spec], script: str, held: Callable[[str], Any], jobs: int = 2, **other: Any
    ) -> tuple[list[build.Built], Heard]:
        def get(reference: str) -> SimpleNamespace:
            found = held(reference)
            if isinstance(found, BaseException):
                raise found
            return SimpleNamespace(attrs={"Id": found, "Size": 5}, tags=[reference])

        client = SimpleNamespace(images=SimpleNamespace(get=get, remove=lambda _: None), close=lambda: None)
        engine = SimpleNamespace(
            buildx=("sh", "-c", script, "buildx"), client=lambda *_: client, env=lambda: {"PATH": "/usr/bin:/bin"}
        )
        heard = Heard()
        return build.images(engine, specs, tmp_path, tmp_path / "logs", heard, jobs, **other), heard  # type: ignore[arg-type]

    return run


# Keeps the arguments in a file named as the row.
KEEP = 'all="$*"; row=${all#*--file dockerfiles/}; echo "$all" > "${row%%/*}"'
TWO = ('torch: "2.8.0", cuda: "12.8", python: "3.11"', 'torch: "2.5.1", cuda: "12.4", python: "3.11"')


def test_a_row_that_fails_takes_no_other_with_it(spec: Callable[..., Spec], images: Images, tmp_path: Path) -> None:
    specs = [spec(text) for text in TWO]
    broken = shlex.quote(said(vertex(TORCH, 1, error=EXIT)))
    script = f'case "$*" in *dockerfiles/torch2.8*) printf %s {broken} >&2; exit 1;; esac; {KEEP}'
    built, heard = images(specs, script, lambda reference: "sha256:1")
    failed, works = built
    assert (failed.spec, failed.image_id, failed.changed) == (specs[0], None, False)
    assert "torch" in str(failed.error) and EXIT.split(": ")[-1] in str(failed.error)
    assert (works.image_id, works.size, works.changed, works.error) == ("sha256:1", 5, False, None)
    assert heard.ends[specs[0].name].startswith("build failed: torch") and "unchanged" in heard.ends[specs[1].name]
    assert EXIT in failed.log.read_text(encoding="utf-8") and failed.log.parent == tmp_path / "logs"
    argv = (tmp_path / specs[1].name).read_text(encoding="utf-8").split()
    assert argv[0] == "build" and argv[-1] == plan.CONTEXT
    assert {"--load", "rawjson"} <= set(argv) and ("--tag", specs[1].reference) in pairwise(argv)


def test_an_index_of_this_machine_is_reached_by_the_hosts_network(
    spec: Callable[..., Spec], images: Images, tmp_path: Path
) -> None:
    wanted = spec(TWO[0])
    for place, network in (("http://127.0.0.1:3141/simple", "host"), ("https://mirror.example/simple", None)):
        images([wanted], KEEP, lambda reference: "sha256:1", mirror=Mirror("m", pypi=place))
        told = (tmp_path / wanted.name).read_text(encoding="utf-8").split()
        assert dict(pairwise(told)).get("--network") == network


def test_the_network_that_is_asked_for(spec: Callable[..., Spec], images: Images, tmp_path: Path) -> None:
    wanted = spec(TWO[0])
    inputs = {wanted.name: build.Inputs({"bundle": tmp_path}, network="none")}
    images([wanted], KEEP, lambda reference: "sha256:1", inputs=inputs)
    told = (tmp_path / wanted.name).read_text(encoding="utf-8").split()
    assert {("--network", "none"), ("--build-context", f"bundle={tmp_path}")} <= set(pairwise(told))


def test_a_context_is_found_from_another_folder(
    spec: Callable[..., Spec], images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """buildx is called in the matrix's folder; what was named from here is named whole."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    wanted = spec(TWO[0])
    images([wanted], KEEP, lambda reference: "sha256:1", inputs={wanted.name: build.Inputs({"audio": Path("source")})})
    told = (tmp_path / wanted.name).read_text(encoding="utf-8").split()
    assert ("--build-context", f"audio={tmp_path}/here/source") in pairwise(told)


def test_the_login_of_an_index_is_a_secret_and_no_argument(
    spec: Callable[..., Spec], images: Images, tmp_path: Path
) -> None:
    wanted, script = spec(TWO[0]), 'printf %s "$TORCHPAIR_NETRC" > seen; '
    mirror = Mirror("m", pypi="https://me:to%40ken@mirror.example/simple")
    images([wanted], script + KEEP, lambda reference: "sha256:1", mirror=mirror)
    assert (tmp_path / "seen").read_text() == "machine mirror.example login me password to@ken\n"
    told = (tmp_path / wanted.name).read_text(encoding="utf-8")
    assert "--secret id=netrc,env=TORCHPAIR_NETRC" in told
    assert "PYPI_INDEX=https://mirror.example/simple" in told and "ken" not in told and " me" not in told
    images([wanted], script + KEEP, lambda reference: "sha256:1", mirror=Mirror("m", pypi="https://mirror.example"))
    assert "id=netrc" not in (tmp_path / wanted.name).read_text(encoding="utf-8"), "no login, no secret"


def test_the_mirror_of_pythons_is_handed_on_only_where_uv_brings_the_python(
    spec: Callable[..., Spec], images: Images, tmp_path: Path
) -> None:
    mirror = Mirror("m", python="https://mirror.example/python")
    specs = [spec(TWO[0]), spec('torch: "2.8.0", cuda: "12.8", python: "3.10"')]
    assert [s.python_from for s in specs] == ["uv", "distro"]
    images(specs, KEEP, lambda reference: "sha256:1", mirror=mirror)
    texts = [(tmp_path / s.name).read_text(encoding="utf-8") for s in specs]
    assert "--build-arg UV_PYTHON_INSTALL_MIRROR=https://mirror.example/python" in texts[0]
    assert "MIRROR" not in texts[1]


def test_wishes_reach_the_compile_as_a_secret(spec: Callable[..., Spec], images: Images, tmp_path: Path) -> None:
    script = 'test -z "$TORCHPAIR_WISHES" || printf %s "$TORCHPAIR_WISHES" > wishes\n'
    for inputs, expected in (
        (build.Inputs(max_jobs=3, nice=True), "jobs=3\nnice=1"),
        (build.Inputs(recache=True), "recache=1"),
        (build.Inputs(), None),
    ):
        (tmp_path / "wishes").unlink(missing_ok=True)
        one = spec(TWO[0])
        images([one], script + KEEP, lambda reference: "sha256:1", inputs={one.name: inputs})
        there = tmp_path / "wishes"
        assert (there.read_text() if there.exists() else None) == expected
        named = "--secret id=wishes,env=TORCHPAIR_WISHES" in (tmp_path / one.name).read_text(encoding="utf-8")
        assert named == (expected is not None)


@pytest.mark.parametrize(
    "gone",
    [
        docker.errors.DockerException("no engine"),
        docker.errors.APIError("500"),
        requests.exceptions.ConnectionError("refused"),
        requests.exceptions.ReadTimeout("late"),
    ],
)
def test_an_engine_that_goes_away_is_a_failed_row(spec: Callable[..., Spec], images: Images, gone: Exception) -> None:
    (built,), heard = images([spec(TWO[0])], "exit 0", lambda reference: gone)
    assert built.image_id is None and "the engine does not answer" in str(built.error)
    assert "build failed" in heard.ends[built.spec.name]


def test_buildx_that_ends_well_without_an_image_is_a_failed_row(spec: Callable[..., Spec], images: Images) -> None:
    (built,), _ = images([spec(TWO[0])], "exit 0", lambda reference: docker.errors.ImageNotFound("none"))
    assert (built.image_id, built.error) == (None, "buildx ended with 0")


def test_silent_buildx(spec: Callable[..., Spec], images: Images) -> None:
    (built,), _ = images([spec(TWO[0])], "exit 17", lambda reference: docker.errors.ImageNotFound("none"), 0)
    assert built.error == "buildx ended with 17"


# ---- a network that fails ------------------------------------------------------------------------------------------

UV = """error: Failed to fetch: `https://index.example/simple/torch/`
  Caused by: Request failed after 5 retries in 12.1s
  Caused by: error sending request for url (https://index.example/simple/torch/)
"""
SWAPPED = """error: Failed to download `torch==2.8.0`
  Caused by: Hash mismatch for `torch==2.8.0`
"""


def failing(words: str, times: int, error: str = EXIT) -> str:
    """A script that fails so many times with these last words of a step, then ends well. Counts in `tries`."""
    broken = shlex.quote(said(vertex(TORCH), logs=(log(TORCH, words),)) + said(vertex(TORCH, 1, error=error)))
    return (
        "echo x >> tries; "
        f'[ "$(wc -l < tries)" -gt {times} ] || {{ printf %s {broken} >&2; exit 1; }}; printf "[]\\n" >&2'
    )


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buildx, "WAITS", (0.0, 0.0))


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("times", [1, 2])
def test_what_passes_is_tried_again(spec: Callable[..., Spec], images: Images, tmp_path: Path, times: int) -> None:
    (built,), heard = images([spec(TWO[0])], failing(UV, times), lambda reference: "sha256:1")
    assert (built.image_id, built.error) == ("sha256:1", None)
    assert (tmp_path / "tries").read_text().count("x") == times + 1
    assert [line.partition("trying again in ")[2] for line in heard.lines] == [
        f"0 s ({number} of 3)" for number in range(2, times + 2)
    ]
    text = built.log.read_text()
    assert text.count("Request failed after 5 retries") == times, "the log has every try"


@pytest.mark.usefixtures("at_once")
def test_a_network_that_stays_away_is_the_reason_after_three_tries(
    spec: Callable[..., Spec], images: Images, tmp_path: Path
) -> None:
    (built,), _ = images([spec(TWO[0])], failing(UV, 9), lambda reference: "sha256:1")
    assert built.image_id is None and "Request failed after 5 retries" in str(built.error)
    assert (tmp_path / "tries").read_text().count("x") == 3


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize(
    ("words", "error"),
    [
        (SWAPPED, EXIT),
        (UV + SWAPPED, EXIT),
        ("ERROR: No matching distribution found for uv==0.13.9\n", EXIT),
        ("E: Unable to locate package nothing\n", EXIT),
        ("g++: fatal error\n", EXIT),
        # A word that passes, in the name of what fails for another reason.
        ("", 'failed to compute cache key: "/connection reset": not found'),
    ],
)
def test_what_lasts_is_not_tried_again(
    spec: Callable[..., Spec], images: Images, tmp_path: Path, words: str, error: str
) -> None:
    (built,), heard = images([spec(TWO[0])], failing(words, 9, error), lambda reference: "sha256:1")
    assert built.image_id is None and not heard.lines
    assert (tmp_path / "tries").read_text().count("x") == 1


@pytest.mark.parametrize(
    ("words", "error", "passing"),
    [
        (UV, EXIT, True),
        ("pip._vendor.urllib3.exceptions.ReadTimeoutError: Read timed out.\n", EXIT, True),
        ("json.decoder.JSONDecodeError: Unterminated string starting at: line 1 column 1070666\n", EXIT, True),
        ("ERROR: HTTP error 503 while getting https://index.example/uv.whl\n", EXIT, True),
        ("ERROR: HTTP error 404 while getting https://index.example/uv.whl\n", EXIT, False),
        ("E: Failed to fetch http://deb.example/x.deb  503  Service Unavailable [IP: 10.0.0.1 80]\n", EXIT, True),
        ("E: Failed to fetch http://deb.example/x.deb  404  Not Found [IP: 10.0.0.1 80]\n", EXIT, False),
        ("Err:1 http://deb.example x\n  Temporary failure resolving 'deb.example'\n", EXIT, True),
        ("E: Failed to fetch http://deb.example/x.deb  Hash Sum mismatch\n Connection failed\n", EXIT, False),
        ("write error: No space left on device\nConnection broken\n", EXIT, False),
        ("", "failed to do request: Head https://registry.example/v2/: net/http: TLS handshake timeout", True),
        ("", "unexpected status from HEAD request to https://registry.example/v2/x: 503 Service Unavailable", True),
        ("", "unexpected status from HEAD request to https://registry.example/v2/x: 403 Forbidden", False),
        ("requests.exceptions.HTTPError: 502 Server Error: Bad Gateway for url: https://index.example\n", EXIT, True),
        ("", "failed to solve: nvidia/cuda:13.0: not found", False),
    ],
)
def test_what_passes(words: str, error: str, passing: bool) -> None:
    steps, *_ = follow(said(vertex(TORCH), logs=(log(TORCH, words),)), said(vertex(TORCH, 1, error=error)))
    assert bool(steps.passing) is passing


@pytest.mark.parametrize("size", [1, 7, 200])
def test_a_lock_of_apt_that_outlived_its_engine_passes(size: int) -> None:
    words = "E: Could not get lock /var/cache/apt/archives/lock. It is held by process 0\n"
    words += "E: Unable to lock directory /var/cache/apt/archives/\n"
    pieces = tuple(log(TORCH, words[i : i + size]) for i in range(0, len(words), size))
    steps, *_ = follow(said(vertex(TORCH), logs=pieces), said(vertex(TORCH, 1, error=EXIT)))
    assert steps.failure and steps.failure.splitlines()[1:] == [f"    {line}" for line in words.splitlines()]
    assert "apt's lock is held" in str(steps.passing)
    assert sum(buildx.WAITS) > 60, "apt takes up to a minute for the packages of a base"


def test_an_engine_that_went_away_is_not_waited_for() -> None:
    steps, *_ = follow("ERROR: error reading from server: EOF; connection reset by peer\n")
    assert steps.failure and not steps.passing


def test_nothing_is_tried_again_once_the_call_is_ended(tmp_path: Path) -> None:
    engine = SimpleNamespace(env=lambda: {"PATH": "/usr/bin:/bin"})
    running, heard = buildx.Running(), Heard()
    running.end()
    argv = ["sh", "-c", failing(UV, 9), "buildx"]
    code = buildx.call(engine, argv, tmp_path / "log", Steps("row", heard), tmp_path, running)  # type: ignore[arg-type]
    assert code == 1 and (tmp_path / "tries").read_text().count("x") == 1


# ---- docker-bake.json ---------------------------------------------------------------------------------------------


def test_bake_of_the_shipped_matrix(shipped: Workspace) -> None:
    specs = shipped.everywhere()
    body = json.loads(plan.bake(specs))
    assert set(body) == {"group", "target"}
    targets = body["target"]
    assert list(targets) == [plan.target(s) for s in specs] and len(targets) == len(specs)
    tags = [tag for target in targets.values() for tag in target["tags"]]
    assert tags == [s.reference for s in specs] and len(set(tags)) == len(tags)
    files = [target["dockerfile"] for target in targets.values()]
    assert len(set(files)) == len(files)
    for file in files:
        assert (shipped.folder / plan.CONTEXT / file).resolve().is_relative_to(shipped.dockerfiles.resolve())
    assert body["group"] == {
        "default": {"targets": [plan.target(s) for s in specs if s.row.default and s.base != "local"]},
        "local": {"targets": [plan.target(s) for s in specs if s.row.default and s.base == "local"]},
    }
    assert not set(body["group"]) & set(targets)


def test_bake_knows_the_platform_and_leaves_empty_groups_out(spec: Callable[..., Spec]) -> None:
    arm = spec('torch: "2.8.0", cuda: "12.9", python: "3.11", arch: aarch64')
    body = json.loads(plan.bake([arm]))
    assert "group" not in body, "buildx refuses an empty one"
    assert body["target"][plan.target(arm)]["platforms"] == ["linux/arm64"]


def test_targets_are_names_that_bake_takes_and_never_clash(spec: Callable[..., Spec]) -> None:
    from torchpair.errors import MatrixError

    row = 'torch: "2.8.0", cuda: "12.8", python: "3.11"'
    names = ["a", "a.b", "a-b", "a.b-c", "a-b.c", "locals", "a-local"]
    found = [plan.target(spec(f"name: {name}, {row}", base)) for name in names for base in ("nvidia", "local")]
    assert len(set(found)) == 2 * len(names)
    assert all(set(target) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-") for target in found)
    for taken in ("a.local", "default", "local"):  # a.local on nvidia would be a on local
        with pytest.raises(MatrixError):
            spec(f"name: {taken}, {row}")
