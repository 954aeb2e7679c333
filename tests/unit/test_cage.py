"""The end of a caged container, and whose answer it was; what the cage asks of the engine is in test_gpu_request.py."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import docker.errors
import pytest
import requests.exceptions

from torchpair import cage, check
from torchpair.cage import Answer


class Container:
    """Ends as it is told to: a code, or what `wait` raises."""

    def __init__(self, *ends: int | Exception, kill: Exception | None = None) -> None:
        self.ends, self.refusal, self.calls = list(ends), kill, list[str]()
        self.attrs: dict[str, Any] = {"State": {"OOMKilled": False}}

    def wait(self, timeout: float) -> dict[str, int]:
        self.calls.append("wait")
        end = self.ends.pop(0)
        if isinstance(end, Exception):
            raise end
        return {"StatusCode": end}

    def kill(self) -> None:
        self.calls.append("kill")
        if self.refusal:
            raise self.refusal

    def reload(self) -> None: ...

    def logs(self, stdout: bool, stderr: bool) -> bytes:
        return b"out" if stdout else b"err \xff"


LATE = requests.exceptions.ReadTimeout("read timed out")
# docker-py through a socket: https://github.com/docker/docker-py/issues/1966
LATE_TOO = requests.exceptions.ConnectionError("read timed out")
GONE = docker.errors.APIError("409: it is not running")


@pytest.mark.parametrize(
    ("container", "code", "late", "calls"),
    [
        (Container(3), 3, False, ["wait"]),
        (Container(LATE, 137), None, True, ["wait", "kill", "wait"]),
        (Container(LATE_TOO, 137), None, True, ["wait", "kill", "wait"]),
        (Container(LATE, 0, kill=GONE), None, True, ["wait", "kill", "wait"]),  # it ended just then
        (Container(LATE, LATE), None, True, ["wait", "kill", "wait"]),  # the engine is slow to kill it
    ],
)
def test_an_end_or_one_that_is_made(container: Any, code: int | None, late: bool, calls: list[str]) -> None:
    answer = Answer()
    cage._wait(container, answer, 0.0)
    assert (answer.code, answer.late, container.calls) == (code, late, calls)
    assert (answer.stdout, answer.stderr) == ("out", "err \N{REPLACEMENT CHARACTER}")


def test_an_engine_that_goes_away_is_not_the_time() -> None:
    container: Any = Container(requests.exceptions.ConnectionError("connection reset"))
    with pytest.raises(requests.exceptions.ConnectionError):
        cage._wait(container, Answer(), 300.0)
    assert container.calls == ["wait"]


def answered(asked: str | None, **other: Any) -> Answer:
    answer = Answer()
    answer.code, answer.nonce = 0, asked
    entry = {"id": "pair.import", "purpose": "x", "status": "pass", "measured": 1, "limit": 1, "unit": None,
             "seconds": 0.1, "reason": ""}  # fmt: skip
    answer.stdout = json.dumps({"schema": "torchpair.probe/1", "environment": {}, "checks": [entry], **other})
    return answer


@pytest.mark.parametrize(
    ("asked", "said", "status"),
    [("a", {"nonce": "a"}, "pass"), ("a", {"nonce": "b"}, "skip"), ("a", {}, "skip"), (None, {}, "pass")],
)
def test_an_answer_to_another_question_is_none(asked: str | None, said: dict[str, str], status: str) -> None:
    _, (finished, *rest) = check.judge(answered(asked, **said), ["pair.import"])
    assert finished.status == status and len(rest) == (status == "pass")


def test_what_is_left_of_ended_processes_is_swept_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    removed = []

    def made(name: str, owner: str) -> SimpleNamespace:
        labels = {cage.OWNER: owner}
        return SimpleNamespace(labels=labels, attrs={"Labels": labels}, remove=lambda **_: removed.append(name))

    client = SimpleNamespace(
        containers=SimpleNamespace(list=lambda **_: [made("c1", "gone"), made("c2", "here")]),
        volumes=SimpleNamespace(list=lambda **_: [made("v1", "gone"), made("v2", "here")]),
        close=lambda: None,
    )
    monkeypatch.setattr(cage.held, "gone", lambda owner: owner == "gone")
    engine: Any = SimpleNamespace(client=lambda: client)
    cage.sweep(engine)
    assert removed == ["c1", "v1"]
