"""The probe without torch: its sums against tiny cases worked out by hand, its rules, its document, its archive."""

from __future__ import annotations

import ast
import itertools
import json
import math
import os
import struct
import subprocess
import sys
import types
import wave
import zipfile
from pathlib import Path
from typing import Any

import pytest

from torchpair.probe import SCHEMA, arch, cuda, expect, fatbin, fileio, pair, reference, runner, versions
from torchpair.probe.cli import CHECKS
from torchpair.probe.context import Context
from torchpair.probe.driver import Driver
from torchpair.probe.pack import pack
from torchpair.probe.registry import Check, Outcome, Skip, within, worst
from torchpair.probe.select import PROFILES

SOURCES = sorted(path for path in Path(pair.__file__).parent.glob("*.py") if path.name != "pack.py")


# --- the archive and the command line ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pyz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("pyz") / "probe.pyz"
    pack(target)
    return target


@pytest.fixture
def broken(tmp_path: Path) -> dict[str, str]:
    """An environment in which torch prints on file descriptor 1 and then does not import."""
    (tmp_path / "torch.py").write_text("import os\nos.write(1, b'chatter')\nprint('more')\nraise OSError('x' * 5000)\n")
    return dict(os.environ, PYTHONPATH=str(tmp_path))


def run(argv: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *argv], capture_output=True, text=True, check=False, **options)


def test_pack_gives_the_same_bytes_every_time(tmp_path: Path) -> None:
    one, two = tmp_path / "one.pyz", tmp_path / "two.pyz"
    assert pack(one) == pack(two)
    assert one.read_bytes() == two.read_bytes()
    with zipfile.ZipFile(one) as archive:
        infos = archive.infolist()
    assert [info.filename for info in infos] == sorted(info.filename for info in infos)
    assert {info.date_time for info in infos} == {(1980, 1, 1, 0, 0, 0)}
    assert {Path(info.filename).name for info in infos} == {path.name for path in SOURCES}


def test_archive_and_package_list_the_same_checks(pyz: Path) -> None:
    source = str(Path(pair.__file__).parents[2])
    answers = [
        run([str(pyz), "--list"]),
        run(["-m", "torchpair.probe", "--list"], env=dict(os.environ, PYTHONPATH=source)),
    ]
    assert [answer.returncode for answer in answers] == [0, 0]
    assert answers[0].stdout == answers[1].stdout
    listed = json.loads(answers[0].stdout)
    assert listed["schema"] == SCHEMA
    assert listed["checks"] == [{"id": check.id, "purpose": check.purpose} for check in CHECKS]


def test_without_torch_the_import_fails_and_the_document_is_clean(pyz: Path, broken: dict[str, str]) -> None:
    answer = run([str(pyz)], env=broken)
    assert answer.returncode == 1
    document = json.loads(answer.stdout)
    assert document["schema"] == SCHEMA and document["gpu"] == "auto"
    entries = {entry["id"]: entry for entry in document["checks"]}
    assert list(entries) == PROFILES["core"]
    assert entries["pair.import"]["status"] == "fail"
    assert entries["pair.import"]["reason"].startswith("import torch: OSError: xxx")
    assert len(entries["pair.import"]["reason"]) <= runner.TEXT_LIMIT
    for entry in document["checks"]:
        assert set(entry) - {"needs"} == {"id", "purpose", "status", "measured", "limit", "unit", "seconds", "reason"}
        if entry["id"] not in ("pair.import", "pair.lock", "pair.origin", "pair.files"):
            assert (entry["status"], entry["needs"]) == ("skip", "import")
    assert {"python", "machine", "torch", "sm", "gpu", "distributions"} <= set(document["environment"])
    assert "chattermore" in answer.stderr.replace("\n", "")
    markers = [line.split()[-1] for line in answer.stderr.splitlines() if line.startswith("torchpair-probe: running ")]
    assert markers == [*entries, "environment"]


def test_a_skip_for_want_of_an_import_is_inconclusive(pyz: Path, broken: dict[str, str]) -> None:
    answer = run([str(pyz), "--only", "dsp.mel"], env=broken)
    assert answer.returncode == 3
    assert [entry["id"] for entry in json.loads(answer.stdout)["checks"]] == ["dsp.mel"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--only", "dsp.lfitler"], "did you mean dsp.lfilter"),
        (["--only", ","], "no check is named"),
        (["--gpu", "maybe"], "invalid choice"),
        (["--expect", "/nonexistent"], "--expect /nonexistent"),
    ],
)
def test_bad_command_lines(pyz: Path, arguments: list[str], said: str) -> None:
    answer = run([str(pyz), *arguments])
    assert (answer.returncode, answer.stdout) == (2, "")
    assert said in answer.stderr


def test_lock_is_compared_with_what_is_installed(pyz: Path, tmp_path: Path) -> None:
    info = tmp_path / "site" / "Some_Thing-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: Some_Thing\nVersion: 1.0\n")
    (tmp_path / "expect.json").write_text('{"lock": {"some.thing": "1.0.0", "no-such-thing": "2"}}')
    answer = run(
        [str(pyz), "--only", "pair.lock", "--expect", str(tmp_path / "expect.json")],
        env=dict(os.environ, PYTHONPATH=str(tmp_path / "site")),
    )
    assert answer.returncode == 1
    measured = json.loads(answer.stdout)["checks"][0]["measured"]
    assert measured == {"compared": 2, "differences": {"no-such-thing": {"expected": "2", "running": None}}}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_sources_are_python_3_8_and_import_only_the_standard_library(path: Path) -> None:
    tree = ast.parse(path.read_text(), feature_version=(3, 8))
    newer = {"tomllib", "zoneinfo", "graphlib"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        else:
            # Relative imports stay inside the package: one dot.
            assert not isinstance(node, ast.ImportFrom) or node.level == 1
            continue
        assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names - newer


# --- running checks and writing down the answer -----------------------------------------------------------------


def answered(run_it: Any, **options: Any) -> dict[str, Any]:
    check = Check("a.check", "A purpose.", 1.0, "m", run_it, options.get("imports", False), options.get("gpu", False))
    entry = runner.run_check(check, Context())
    json.dumps(entry, allow_nan=False)
    return entry


def test_every_way_a_check_can_end() -> None:
    def raises(error: BaseException) -> Any:
        def run_it(context: Context) -> Outcome:
            raise error

        return run_it

    assert answered(lambda context: Outcome(True, 0.5))["status"] == "pass"
    assert answered(lambda context: Outcome(False, 2, "too large"))["reason"] == "too large"
    # Truthy is not true: a tensor or a string must not pass.
    assert answered(lambda context: Outcome("yes", 1))["status"] == "fail"  # type: ignore[arg-type]
    assert answered(raises(ValueError("no\n  good")))["reason"] == "ValueError: no good"
    hidden = OSError("could not load this library")
    hidden.__cause__ = OSError("libcudart.so.13: cannot open shared object file")
    assert "because of OSError: libcudart.so.13" in answered(raises(hidden))["reason"]
    assert answered(raises(SystemExit(0)))["status"] == "fail"
    assert answered(raises(RuntimeError("x" * 10**6)))["status"] == "fail"
    assert len(answered(raises(RuntimeError("x" * 10**6)))["reason"]) <= runner.TEXT_LIMIT
    skipped = answered(raises(Skip("gpu", "no GPU")))
    assert (skipped["status"], skipped["needs"], skipped["reason"]) == ("skip", "gpu", "no GPU")
    with pytest.raises(KeyboardInterrupt):
        answered(raises(KeyboardInterrupt()))


def test_clean_makes_anything_fit_for_json() -> None:
    value = {"nan": math.nan, "inf": -math.inf, 3: (1, True, None), "path": Path("x"), "bad": "\udc80"}
    assert runner.clean(value) == {"nan": "nan", "inf": "-inf", "3": [1, True, None], "path": "x", "bad": "?"}


@pytest.mark.parametrize(
    ("entries", "gpu", "code"),
    [
        ([("pass", None)], "auto", 0),
        ([("pass", None), ("skip", "gpu"), ("skip", "expectation"), ("skip", "torchaudio>=2.1")], "auto", 0),
        ([("pass", None), ("skip", "gpu")], "require", 3),
        ([("pass", None), ("skip", "cuda-build")], "require", 3),
        ([("pass", None), ("skip", "writable-temp")], "off", 3),
        ([("fail", None), ("skip", "gpu")], "require", 1),
        ([], "auto", 3),
    ],
)
def test_exit_codes(entries: list[tuple[str, str | None]], gpu: str, code: int) -> None:
    checks = [dict({"status": status}, **({"needs": needs} if needs else {})) for status, needs in entries]
    assert runner.exit_code({"gpu": gpu, "checks": checks}) == code


def test_limits_cannot_be_passed_by_accident() -> None:
    assert within({"a": 1.0, "free": 9.0}, {"a": 1.0}).passed is True
    assert within({"a": 1.1}, {"a": 1.0}).passed is False
    assert within({"a": math.nan}, {"a": 1.0}).passed is False
    assert within({}, {"a": 1.0}).passed is False
    assert within({"a": None}, {"a": 1.0}).passed is False
    assert math.isnan(worst([1e-9, math.nan, 0.0]))
    assert worst([]) == math.inf
    assert reference.largest_error([[1.0, 2.0]], [[1.0]]) == math.inf
    with pytest.raises(ValueError, match="1 values beside 2"):
        reference.both([1], [1, 2])


# --- what right answers are -------------------------------------------------------------------------------------


def test_lfilter_impulse_response() -> None:
    assert reference.lfilter([1.0, 0.0, 0.0, 0.0], [2.0, -1.0], [2.0, 4.0]) == [1.0, 2.5, 1.25, 0.625]


def test_rnnt_loss_is_the_sum_over_all_alignments() -> None:
    flat = iter(reference.noise(3 * 3 * 4, 1))
    logits = [[[next(flat) for _ in range(4)] for _ in range(3)] for _ in range(3)]
    targets, blank = [2, 1], 0
    p = [[reference.log_softmax(row) for row in table] for table in logits]
    total = 0.0
    # Every order of 2 blanks (time steps) and 2 emissions, and the last blank.
    for emissions in itertools.combinations(range(4), 2):
        t = u = 0
        log_p = 0.0
        for step in range(4):
            if step in emissions:
                log_p, u = log_p + p[t][u][targets[u]], u + 1
            else:
                log_p, t = log_p + p[t][u][blank], t + 1
        total += math.exp(log_p + p[t][u][blank])
    assert reference.rnnt_loss(logits, targets, blank) == pytest.approx(-math.log(total), abs=1e-12)
    gradient = reference.rnnt_gradient(logits, targets, blank)
    # Softmax cannot tell a constant from none, so the gradient over classes sums to zero.
    assert all(abs(sum(row)) < 1e-9 for table in gradient for row in table)
    assert max(abs(value) for table in gradient for row in table for value in row) > 0.1


@pytest.mark.parametrize("targets", [[1], [1, 2], [1, 1], [2, 1, 2]])
def test_ctc_alignment_is_the_best_of_all_paths(targets: list[int]) -> None:
    flat = iter(reference.noise(5 * 3, 2))
    log_p = [reference.log_softmax([3 * next(flat) for _ in range(3)]) for _ in range(5)]

    def collapsed(path: tuple[int, ...]) -> list[int]:
        return [label for label, _ in itertools.groupby(path) if label != 0]

    paths = [path for path in itertools.product(range(3), repeat=5) if collapsed(path) == targets]
    best = max(paths, key=lambda path: sum(row[label] for row, label in zip(log_p, path, strict=True)))
    path, scores = reference.ctc_align(log_p, targets, 0)
    assert tuple(path) == best
    assert scores == [row[label] for row, label in zip(log_p, best, strict=True)]


def test_sine_fit_finds_what_is_there() -> None:
    signal = [value + 0.001 * (-1) ** n for n, value in enumerate(reference.sine(4000, 32000, 1000.3, 0.4, 0.7))]
    hertz, amplitude, left = reference.fit_sine(signal, 32000, 1000)
    assert hertz == pytest.approx(1000.3, abs=1e-3)
    assert amplitude == pytest.approx(0.4, rel=1e-5)
    assert left == pytest.approx(0.001, rel=1e-2)
    assert math.isnan(reference.fit_sine([0.0] * 100, 32000, 1000)[0])


def test_mel_filters_are_triangles_that_add_up_to_one() -> None:
    filters = reference.mel_filters(65, 16000, 10)
    centres = [row.index(max(row)) for row in filters]
    assert centres == sorted(set(centres)) and all(max(row) > 0 for row in filters)
    between = range(centres[0] + 1, centres[-1])
    assert all(sum(row[k] for row in filters) == pytest.approx(1) for k in between)
    # 1000 Hz is 1000 mel, to a fraction: the point that the scale is built around.
    assert 2595 * math.log10(1 + 1000 / 700) == pytest.approx(1000, abs=0.1)


def test_mel_spectrogram_of_a_sine_has_the_power_of_its_window() -> None:
    n_fft, rate = 32, 3200
    signal = reference.sine(160, rate, 800.0, 1.0)  # exactly bin 8
    table = reference.mel_spectrogram(signal, rate, n_fft, 16, 4)
    assert [len(row) for row in table] == [11] * 4
    # |X| is half the window's sum at the bin and a quarter of it at either side.
    weights = reference.mel_filters(n_fft // 2 + 1, rate, 4)
    for row, band in zip(table, weights, strict=True):
        assert row[5] == pytest.approx(64 * band[8] + 16 * (band[7] + band[9]), abs=1e-9)


def test_sound_headers(tmp_path: Path) -> None:
    fileio._write_wav(tmp_path / "a.wav", fileio.stereo())
    assert fileio.header_error(fileio.wav_header((tmp_path / "a.wav").read_bytes())) == 0
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert file.getparams()[:4] == (2, 2, fileio.RATE, fileio.FRAMES)
    packed = fileio.RATE << 44 | 1 << 41 | 15 << 36 | fileio.FRAMES
    flac = b"fLaC" + b"\x80\0\0\x22" + bytes(10) + packed.to_bytes(8, "big") + bytes(16)
    assert fileio.flac_header(flac) == {"channels": 2, "rate": fileio.RATE, "bits": 16, "frames": fileio.FRAMES}
    assert fileio.header_error({"channels": 1, "rate": fileio.RATE}) == 2
    for reader in (fileio.wav_header, fileio.flac_header):
        with pytest.raises(ValueError, match="is not a"):
            reader(b"nonsense")


# --- versions, architectures, expectations ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expected", "running", "cuda_version", "same"),
    [
        ("2.8.0", "2.8.0", "12.8", True),
        ("2.8.0", "2.8.0+cu128", "12.8", True),
        ("2.8.0", "2.8.0+cu126", "12.8", False),
        ("2.8.0", "2.8.0+cpu", "12.8", False),
        ("2.8.0", "2.8.0+cpu", None, True),
        ("2.8.0+cu128", "2.8.0", "12.8", False),
        ("2.8.0+cu128", "2.8.0+CU128", None, True),
        ("2.8", "2.8.0", None, True),
        ("2.8.0", "2.8.1", None, False),
        ("2.10", "2.1", None, False),
        ("2.2.0a0+81ea7a4", "2.2.0a0+81ea7a4", "12.3", True),
        ("2.2.0", "2.2.0a0+81ea7a4", "12.3", False),
        (None, None, None, True),
        (None, "0.17.0", None, False),
        ("0.17.0", None, None, False),
    ],
)
def test_same_version(expected: str | None, running: str | None, cuda_version: str | None, same: bool) -> None:
    assert versions.same_version(expected, running, cuda_version) is same


def test_names_and_cuda_versions() -> None:
    assert versions.normal_name("Foo__bar.-Baz") == "foo-bar-baz"
    assert [versions.cuda_of_number(n) for n in (12080, 11070, 13000, 0, -1)] == ["12.8", "11.7", "13.0", None, None]
    assert versions.same_cuda("12.8", "12.8.1") and versions.same_cuda(None, "cpu")
    assert not versions.same_cuda("12.8", None)
    assert versions.release("2.10.0a0+x") == (2, 10)
    assert versions.same_python("3.1", "3.11.7") is False and versions.same_python("3.11", "3.11.7") is True


def test_architectures_are_read_and_told_apart() -> None:
    compiled = arch.parse_flags("sm_70 sm_86 sm_90a sm_120 compute_120 compute_75")
    assert [str(target) for target in compiled] == ["7.0", "7.5 (PTX only)", "8.6", "9.0a", "12.0+PTX"]
    assert arch.parse_flags("") == []


@pytest.mark.parametrize(
    ("flags", "wanted", "missing"),
    [
        ("sm_80", ["8.0", "8.6"], []),
        ("sm_86", ["8.0"], ["8.0"]),  # machine code does not run on an older minor version
        ("sm_80", ["9.0"], ["9.0"]),  # nor on another major version
        ("sm_80 compute_80", ["8.9", "9.0", "12.0", "7.5"], ["7.5"]),
        ("sm_90a", ["9.0", "9.0a", "10.0"], ["10.0"]),
        ("sm_90", ["9.0a"], ["9.0a"]),
        ("sm_100f", ["10.0", "10.3", "12.0"], ["12.0"]),
        ("compute_90a", ["10.0"], ["10.0"]),
        ("sm_120", ["12.0+PTX"], ["12.0+PTX"]),
        ("sm_120 compute_120", ["12.0+PTX"], []),
        ("", ["8.0"], ["8.0"]),
    ],
)
def test_which_architectures_are_served(flags: str, wanted: list[str], missing: list[str]) -> None:
    assert arch.not_served(arch.parse_flags(flags), wanted) == missing


def fat_binary(*targets: tuple[int, int]) -> bytes:
    entries = b"".join(struct.pack("<HHIQ12xI32x", kind, 257, 64, 24, number) + bytes(24) for kind, number in targets)
    return struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(entries)) + entries


def test_fat_binaries_are_read() -> None:
    data = b"ELF" + fat_binary((1, 50), (2, 50), (2, 86)) + bytes(5) + fat_binary((2, 120)) + b"rest"
    read = fatbin.architectures(data)
    assert read is not None and [str(target) for target in read] == ["5.0+PTX", "8.6", "12.0"]
    assert fatbin.architectures(b"no GPU code") == []
    assert fatbin.architectures(fat_binary((7, 80))) is None  # an unknown kind of entry
    assert fatbin.architectures(fat_binary((2, 80))[:-1]) is None  # cut off


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not JSON"),
        ("[]", "an object is expected"),
        ('{"version": {}}', "unknown part: version"),
        ('{"versions": {"pytorch": "2"}}', "unknown key: pytorch"),
        ('{"versions": {"torch": 2}}', "an object of strings"),
        ('{"sm": ["sm_80"]}', "not a GPU architecture"),
        ('{"sm": "8.0"}', "a list of strings"),
        ('{"lock": {"a": null}}', "a version is missing"),
    ],
)
def test_a_wrong_expectation_is_refused(text: str, said: str) -> None:
    with pytest.raises(expect.ExpectationError, match=said):
        expect.parse(text)


RUNNING: dict[str, str | None] = {
    "torch": "2.8.0+cu128", "torchaudio": "2.8.0+cu128", "torchcodec": None, "cuda": "12.8", "python": "3.11.7",
}  # fmt: skip


def test_versions_that_differ_are_named() -> None:
    right = {"torch": "2.8.0", "torchaudio": "2.8.0", "torchcodec": None, "cuda": "12.8", "python": "3.11"}
    assert pair.differences(right, RUNNING, "12.8") == {}
    wrong = dict(right, cuda=None, python="3.12", torchcodec="0.7.0")
    assert set(pair.differences(wrong, RUNNING, None)) == {"cuda", "python", "torchcodec", "torch", "torchaudio"}


def test_labels_must_be_confirmed_by_what_runs() -> None:
    sm = ["7.0", "12.0+PTX"]
    true = {"torch": "2.8.0", "cuda": "12.8", "torchcodec": "none", "sm": "12.0+PTX, 7.0"}
    assert pair.label_differences(true, RUNNING, sm, "12.8") == {}
    assert set(pair.label_differences({"cuda": "cpu"}, RUNNING, sm, "12.8")) == {"cuda"}
    assert set(pair.label_differences({"sm": "7.0"}, RUNNING, sm, "12.8")) == {"sm"}
    assert set(pair.label_differences({"made-up": "1"}, RUNNING, sm, "12.8")) == {"made-up"}


def test_the_operators_to_expect_follow_the_release() -> None:
    assert pair.expected_operators((2, 0)) == ["_lfilter_core_loop", "rnnt_loss"]
    assert pair.expected_operators((2, 8)) == ["_lfilter_core_loop", "rnnt_loss", "forced_align"]
    assert pair.expected_operators((2, 10)) == ["_lfilter_core_loop", "rnnt_loss_forward", "forced_align"]


# --- GPUs that are there, missing, or unusable ------------------------------------------------------------------


def with_gpu(driver: Driver, capabilities: list[tuple[int, int]], flags: str = "sm_80", gpu: str = "auto") -> Context:
    def init() -> None:
        raise RuntimeError("the driver is too old")

    fake = types.SimpleNamespace(
        version=types.SimpleNamespace(cuda="12.8"),
        _C=types.SimpleNamespace(_cuda_getArchFlags=lambda: flags),
        cuda=types.SimpleNamespace(
            is_available=lambda: bool(capabilities),
            device_count=lambda: len(capabilities),
            get_device_capability=lambda index: capabilities[index],
            get_device_name=lambda index: "a GPU",
            init=init,
        ),
    )
    context = Context(gpu)
    context._modules = {"torch": fake, "torchaudio": types.SimpleNamespace(__version__="2.8.0")}
    context._driver = driver
    return context


def test_a_gpu_that_fits_passes_and_one_that_does_not_fails() -> None:
    one = Driver(1, "13.0", "580.65", "", False)
    assert cuda.device(with_gpu(one, [(8, 6)])).passed is True
    unserved = cuda.device(with_gpu(one, [(9, 0)]))
    assert unserved.passed is False and "a GPU (9.0)" in unserved.reason
    assert cuda.device(with_gpu(Driver(2, None, None, "", False), [(8, 6)])).passed is False


def test_no_gpu_is_a_skip_but_an_unusable_one_is_a_fail() -> None:
    none = Driver(0, None, None, "no driver library", False)
    with pytest.raises(Skip) as skip:
        cuda.device(with_gpu(none, []))
    assert skip.value.needs == "gpu"
    old = cuda.device(with_gpu(Driver(1, "11.4", "470.1", "", False), []))
    assert old.passed is False and "CUDA 11.4" in old.reason and "too old" in old.reason
    assert cuda.device(with_gpu(Driver(0, None, None, "no driver library", True), [])).passed is False
    with pytest.raises(Skip, match="switched off"):
        cuda.device(with_gpu(Driver(1, "11.4", "470.1", "", False), [], gpu="off"))
