"""The report: verdicts, files, and what is refused at the door."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from torchpair import files, strict_json
from torchpair import report as r
from torchpair.errors import TorchpairError
from torchpair.report import CheckResult, Report


def check(status: str = "pass", needs: str | None = None, identity: str = "pair.import", **other: Any) -> CheckResult:
    fields: dict[str, Any] = {
        "id": identity,
        "purpose": "torch and torchaudio import",
        "status": status,
        "measured": 1.5e-7,
        "limit": 1e-5,
        "unit": "",
        "seconds": 0.25,
        "reason": None,
        "needs": needs,
    }
    return CheckResult(**{**fields, **other})


def report(*checks: CheckResult, **other: Any) -> Report:
    fields: dict[str, Any] = {
        "row": "2.8.0-cu128-py311",
        "image": "example/torchpair:2.8.0-cu128-py311",
        "image_id": "sha256:" + "1" * 64,
        "base": "local",
        "started": "2026-11-21T12:00:00Z",
        "seconds": 12.5,
        "gpu": "auto",
        "environment": {"torch": "2.8.0+cu128", "sm": ["8.0", "9.0"], "gpu": [], "distributions": {"torch": "2.8.0"}},
        "checks": checks or (check(),),
        "size": 5_540_000_000,
        "probe": "a" * 64,
        "log": "torchpair-probe: running pair.import\n",
    }
    return Report(**{**fields, **other})


PASS, FAIL = check(), check("fail", identity="dsp.mel")


def skip(needs: str | None) -> CheckResult:
    return check("skip", needs, "cuda.mel")


@pytest.mark.parametrize(
    ("checks", "gpu", "verdict"),
    [
        ((), "auto", "inconclusive"),
        ((PASS,), "auto", "healthy"),
        ((PASS,), "require", "healthy"),
        ((FAIL,), "auto", "unhealthy"),
        ((PASS, FAIL), "off", "unhealthy"),
        ((skip("gpu"), FAIL), "auto", "unhealthy"),
        ((skip(None), FAIL), "auto", "unhealthy"),
        ((skip("gpu"),), "auto", "inconclusive"),
        ((skip("expectation"),), "off", "inconclusive"),
        ((PASS, skip("gpu")), "auto", "healthy"),
        ((PASS, skip("gpu")), "off", "healthy"),
        ((PASS, skip("gpu")), "require", "inconclusive"),
        ((PASS, skip("gpu")), "surprise", "inconclusive"),
        ((PASS, skip("cuda-build")), "auto", "healthy"),
        ((PASS, skip("cuda-build")), "require", "inconclusive"),
        ((PASS, skip("expectation")), "require", "healthy"),
        ((PASS, skip("torchaudio>=2.1")), "auto", "healthy"),
        ((PASS, skip("torchaudio")), "auto", "inconclusive"),
        ((PASS, skip("import")), "auto", "inconclusive"),
        ((PASS, skip("writable-temp")), "auto", "inconclusive"),
        ((PASS, skip(None)), "auto", "inconclusive"),
        ((PASS, skip("")), "auto", "inconclusive"),
    ],
)
def test_judge(checks: tuple[CheckResult, ...], gpu: str, verdict: str) -> None:
    assert r.judge(checks, gpu) == verdict
    assert r.judge(reversed(checks), gpu) == verdict


def test_counts() -> None:
    checks = [PASS, FAIL, skip("gpu"), skip("cuda-build"), skip("import"), skip(None)]
    done = report(*(replace(item, id=f"pair.{index}") for index, item in enumerate(checks)))
    assert (done.passed, done.failed, done.skipped_gpu, done.skipped_other) == (1, 1, 2, 2)


@pytest.mark.parametrize("measured", [None, True, 0, -80.0, "both import", ["a"], {"float32": 1e-7, "nan": "nan"}])
def test_round_trip(measured: Any, tmp_path: Path) -> None:
    before = report(check(measured=measured, limit=measured), check("skip", "gpu", "cuda.mel", reason="no driver"))
    path = r.save(before, tmp_path / "reports")
    assert path == tmp_path / "reports" / "2.8.0-cu128-py311.json"
    assert r.load(path) == before
    body = json.loads(path.read_text(encoding="utf-8"))
    assert body["schema"] == "torchpair.report/1"
    assert body["verdict"] == "healthy"
    keys = {"id", "purpose", "status", "measured", "limit", "unit", "seconds", "reason", "needs", "spectrograms"}
    assert all(set(item) == keys for item in body["checks"])


def test_a_foreign_image_has_no_row_and_little_else(tmp_path: Path) -> None:
    bare = report(row=None, image_id=None, base=None, size=None, checks=(), environment={}, log="", probe="")
    assert r.load(r.save(bare, tmp_path)) == bare


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("schema", "torchpair.report/2", "schema"),
        ("schema", None, "schema"),
        ("verdict", "unhealthy", "the checks say healthy"),
        ("verdict", None, "verdict"),
        ("row", 7, "report.row"),
        ("row", "x" * 201, "201 characters"),
        ("image", None, "report.image"),
        ("base", ["local"], "report.base"),
        ("started", "yesterday", "report.started"),
        ("started", "2026-11-21T12:00:00", "UTC"),
        ("started", "2026-11-21T12:00:00+02:00", "UTC"),
        ("seconds", "3", "report.seconds"),
        ("seconds", True, "report.seconds"),
        ("seconds", -1, "report.seconds"),
        ("seconds", 1e300, "report.seconds"),
        ("seconds", float("nan"), "nan"),
        ("gpu", "maybe", "auto, require, off"),
        ("gpu", ["auto"], "report.gpu"),
        ("environment", [], "report.environment"),
        ("environment", {"x": float("inf")}, "finite"),
        ("environment", {"x": "y" * (strict_json.MAX_LOG + 1)}, "characters"),
        ("environment", {"k" * 201: 1}, "key"),
        ("environment", {1: 1}, "key"),
        ("environment", {"x": {1, 2}}, "set"),
        ("environment", {"x": 2**70}, "64 bits"),
        ("checks", {}, "report.checks"),
        ("checks", [1], "report.checks[0]"),
        ("checks", [{}] * (r.MAX_CHECKS + 1), "at most"),
        ("size", 1.5, "report.size"),
        ("size", -1, "report.size"),
        ("size", False, "report.size"),
        ("probe", 1, "report.probe"),
        ("log", "x" * (strict_json.MAX_LOG + 1), "report.log"),
    ],
)
def test_a_bad_report_is_refused_by_name(key: str, value: Any, named: str) -> None:
    body = {**report().to_json(), key: value}
    with pytest.raises(TorchpairError) as error:
        Report.from_json(body)
    assert named in str(error.value)
    assert len(str(error.value)) < 600


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("id", ""),
        ("id", "../../x"),
        ("id", "pair.\x1b[31m"),
        ("id", "x" * 81),
        ("purpose", None),
        ("purpose", "x" * 501),
        ("status", "passed"),
        ("status", True),
        ("status", None),
        ("measured", float("nan")),
        ("measured", [float("-inf")]),
        ("measured", {"x": "y" * (strict_json.MAX_VALUE + 1)}),
        ("limit", object()),
        ("unit", 5),
        ("unit", "x" * 41),
        ("seconds", None),
        ("reason", ["no"]),
        ("reason", "x" * (r.MAX_TEXT + 1)),
        ("needs", "a sentence, not a word"),
        ("needs", 1),
        ("spectrograms", []),
        ("spectrograms", {"rate": 0, "got": ["0f"], "expected": ["0f"]}),
        ("spectrograms", {"rate": True, "got": ["0f"], "expected": ["0f"]}),
        ("spectrograms", {"rate": 16000, "got": ["0f"]}),
        ("spectrograms", {"rate": 16000, "got": [], "expected": ["0f"]}),
        ("spectrograms", {"rate": 16000, "got": ["0f", "0"], "expected": ["0f"]}),
        ("spectrograms", {"rate": 16000, "got": ["0g"], "expected": ["0f"]}),
        ("spectrograms", {"rate": 16000, "got": ["0f\n"], "expected": ["0f"]}),
        ("spectrograms", {"rate": 16000, "got": ["0" * 129], "expected": ["0f"]}),
        ("spectrograms", {"rate": 16000, "got": ["0"] * 65, "expected": ["0f"]}),
        ("spectrograms", {"rate": 16000, "got": [1], "expected": ["0f"]}),
    ],
)
def test_a_bad_check_is_refused_by_name(key: str, value: Any) -> None:
    body = {**report().to_json()["checks"][0], key: value}
    with pytest.raises(TorchpairError, match=rf"check\.{key}"):
        r.check_from_json(body)


def test_what_a_probe_may_leave_out() -> None:
    body = report().to_json()["checks"][0]
    del body["needs"], body["reason"], body["unit"], body["measured"], body["limit"]
    body["not known yet"] = 1
    assert r.check_from_json(body) == check(measured=None, limit=None, unit=None)


def test_the_same_check_twice_is_refused() -> None:
    with pytest.raises(TorchpairError, match=r"pair\.import is there twice"):
        Report.from_json(report(PASS, PASS).to_json())


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not readable"),
        ("{", "not readable"),
        (b"\xff\xfe\xfa", "not readable"),
        ("[NaN]", "nan"),
        ("[-Infinity]", "inf"),
        ("[1e999]", "inf"),
        ("[" * 200_000, "not readable"),
        ("[" * 50 + "]" * 50, "nested"),
        ("9" * 6000, "not readable|64 bits"),
        ("[" + "0," * strict_json.MAX_NODES + "0]", "more than"),
        (" " * (strict_json.MAX_BYTES + 1), "larger"),
        ('{"\\u001b[31m": 1e999}', "inf"),
    ],
)
def test_hostile_json(text: str | bytes, why: str) -> None:
    with pytest.raises(TorchpairError, match=why) as error:
        strict_json.parse(text, "probe")
    assert "\x1b" not in str(error.value)


def test_half_characters_do_not_stop_a_report(tmp_path: Path) -> None:
    done = report(check("fail", reason="bad name \ud800"), environment={"\udfff": "\udc80"}, log="\ud800")
    loaded = r.load(r.save(done, tmp_path))
    assert loaded.checks[0].reason == "bad name \ufffd"
    assert loaded.environment == {"\ufffd": "\ufffd"}


def test_of_a_long_log_the_end_is_kept(tmp_path: Path) -> None:
    loaded = r.load(r.save(report(log="x" * strict_json.MAX_LOG + "the end"), tmp_path))
    assert len(loaded.log) == strict_json.MAX_LOG
    assert loaded.log.endswith("the end")


NAMES = ["../../x", "/etc/x", "..", ".", "...", ".hidden", "a/b:c@sha256:0", "a\\b", "x" * 200, "\x1b[31m", "ü", "a\nb"]


@pytest.mark.parametrize("name", NAMES)
def test_no_name_leaves_the_folder(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "reports"
    for done in (report(row=name), report(row=None, image=name)):
        path = r.save(done, folder)
        assert path.parent == folder
        assert path.resolve().parent == folder.resolve()
        assert path.name.isascii() and path.name.isprintable() and not path.name.startswith(".")
        assert r.load(path) == done
    assert [item.name for item in tmp_path.iterdir()] == ["reports"]


def test_different_names_get_different_files() -> None:
    names = [*NAMES, "a-b", "a:b", "a/b", "x", "-x", "x" * 201, "hidden"]
    assert len({files.file_stem(name) for name in names}) == len(names)
    assert files.file_stem("2.8.0-cu128-py311") == "2.8.0-cu128-py311"


def test_a_report_that_could_not_be_read_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(TorchpairError):
        r.save(report(seconds=float("nan")), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = r.save(report(), tmp_path)
    before = path.read_bytes()

    def broken(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", broken)
    with pytest.raises(OSError, match="disk full"):
        r.save(report(seconds=99.0), tmp_path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_load_says_which_file(tmp_path: Path) -> None:
    with pytest.raises(TorchpairError, match=r"missing\.json"):
        r.load(tmp_path / "missing.json")
    with pytest.raises(TorchpairError, match="cannot be read"):
        r.load(tmp_path)
    large = tmp_path / "large.json"
    large.write_bytes(b" " * (strict_json.MAX_BYTES + 1))
    with pytest.raises(TorchpairError, match=r"large\.json.*larger"):
        r.load(large)
