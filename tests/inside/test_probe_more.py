"""The rest of the checks with a real torch and torchaudio: right ones pass, sabotaged ones fail."""

from __future__ import annotations

import importlib
import os
import struct
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch: Any = pytest.importorskip("torch")
torchaudio: Any = pytest.importorskip("torchaudio")

from torchpair.probe import cudalibs, formats, library, runner, samples, select, sovits, sovits_nets, spectral, workers  # noqa: E402
from torchpair.probe.context import Context  # noqa: E402
from torchpair.probe.registry import REGISTRY, within  # noqa: E402

functional = importlib.import_module("torchaudio.functional")
kaldi = importlib.import_module("torchaudio.compliance.kaldi")


@pytest.fixture(scope="module")
def context() -> Context:
    return Context("off")


def status(name: str, context: Context) -> str:
    return str(runner.run_check(REGISTRY[name], context)["status"])


def test_every_check_passes_or_says_what_it_needs(context: Context) -> None:
    document = runner.run([REGISTRY[name] for name in select.PROFILES["gpt-sovits"]], context)
    assert [(entry["id"], entry["reason"]) for entry in document["checks"] if entry["status"] == "fail"] == []
    passed = {entry["id"] for entry in document["checks"] if entry["status"] == "pass"}
    assert {
        "io.m4a",
        "io.opus",
        "pair.loads",
        "pair.libraries",
        "pair.cxx_abi",
        "runtime.fork",
        "runtime.spawn",
    } <= passed
    assert runner.exit_code(document) == 0


def test_what_the_cuda_checks_measure_holds_on_the_cpu(context: Context) -> None:
    assert within(cudalibs.fft_errors(context, "cpu"), cudalibs.FFT_LIMITS).passed
    dtypes = ["float32", "float64", "bfloat16"]  # float16 on the CPU came with torch 2.1
    limits = {name: cudalibs.CONVOLUTION_LIMITS[name] for name in dtypes}
    assert within(cudalibs.convolution_errors(context, "cpu", dtypes), limits).passed
    assert within(cudalibs.spectra_measured(context, "cpu"), cudalibs.SPECTRA_LIMITS).passed
    assert within(cudalibs.features_measured(context, "cpu"), cudalibs.FEATURES_LIMITS).passed
    assert within(cudalibs.without_jit("cpu"), cudalibs.MACHINE_LIMITS).passed
    assert within(sovits_nets.sovits_measured(context, "cpu"), sovits_nets.SOVITS_LIMITS).passed


def test_a_kernel_that_cannot_run_is_told() -> None:
    with pytest.raises(RuntimeError, match="nonsense"):
        cudalibs.without_jit("nonsense")


def altered(module: Any, name: str, change: Callable[[Any], Any]) -> tuple[Any, str, Callable[..., Any]]:
    right = getattr(module, name)
    return module, name, lambda *args, **kwargs: change(right(*args, **kwargs))


WRONG = [
    ("pair.numpy", altered(torch, "from_numpy", lambda out: out * 2)),
    ("dsp.stft", altered(torch, "stft", lambda out: out * 1.00001)),
    ("dsp.stft", altered(torch, "stft", lambda out: out.conj())),
    ("dsp.istft", altered(torch, "istft", lambda out: out.roll(1, -1))),
    ("dsp.fbank", altered(kaldi, "fbank", lambda out: out + 0.01)),
    ("dsp.pitch", altered(functional, "detect_pitch_frequency", lambda out: out * 2)),
    ("dsp.resample_passband", altered(functional, "resample", lambda out: out * 1.001)),
    ("dsp.resample_aliasing", altered(functional, "resample", lambda out: out + 0.01)),
    ("dsp.resample_drift", altered(functional, "resample", lambda out: out.roll(1, -1))),
    ("sovits.fbank", altered(kaldi, "fbank", lambda out: out[1:])),
    ("sovits.mel_v2", altered(torch, "stft", lambda out: out * 1.001)),
    ("sovits.mel_v3", altered(functional, "melscale_fbanks", lambda out: out.roll(1, 0))),
    ("sovits.stft", altered(torch, "istft", lambda out: out * 1.001)),
    ("sovits.attention", altered(torch.nn.functional, "scaled_dot_product_attention", lambda out: out.flip(-2))),
    ("sovits.snake", altered(torch, "sin", lambda out: out * 1.001)),
    ("runtime.threads", altered(functional, "lfilter", lambda out: out + threading.active_count() - 1)),
]


@pytest.mark.parametrize(("name", "wrong"), WRONG, ids=[f"{name}-{n}" for n, (name, _) in enumerate(WRONG)])
def test_a_wrong_operation_fails(
    name: str, wrong: tuple[Any, str, Any], context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert status(name, context) == "pass"
    monkeypatch.setattr(*wrong)
    if name == "runtime.threads":  # one more thread than the main one is alive while it runs
        assert status(name, context) in ("fail",)
    else:
        assert status(name, context) == "fail"


def test_wrong_cepstra_fail(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    right = torchaudio.transforms.MFCC
    assert status("dsp.mfcc", context) == "pass"
    for options in ({"norm": None}, {"dct_type": 2, "log_mels": False}):
        monkeypatch.setattr(
            torchaudio.transforms, "MFCC", lambda *a, options=options, **k: right(*a, **{**k, **options})
        )
        assert status("dsp.mfcc", context) == "fail"
    assert spectral.MFCC_LIMITS and sovits.MELS


LOADS: list[tuple[str, Callable[[Any, int], tuple[Any, int]]]] = [
    ("io.wav_24", lambda x, rate: (x + 1e-6, rate)),
    ("io.wav_float", lambda x, rate: (x * 1.000001, rate)),
    ("io.rates", lambda x, rate: (x, 44100)),
    ("io.channels", lambda x, rate: (x.mean(0, keepdim=True), rate)),
    ("io.partial", lambda x, rate: (x.roll(1, -1), rate)),
    ("io.mp3", lambda x, rate: (x.flip(0), rate)),
    ("io.ogg", lambda x, rate: (x * 0.8, rate)),
    ("io.m4a", lambda x, rate: (x * 0, rate)),
    ("io.opus", lambda x, rate: (x, 44100)),
]


@pytest.mark.parametrize(("name", "change"), LOADS)
def test_a_wrong_file_fails(
    name: str, change: Callable[[Any, int], tuple[Any, int]], context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = torchaudio.load
    assert status(name, context) == "pass"
    monkeypatch.setattr(torchaudio, "load", lambda *args, **kwargs: change(*right(*args, **kwargs)))
    assert status(name, context) == "fail"


def test_silence_instead_of_an_exception_fails(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    right = torchaudio.load

    def quiet(path: str, **options: Any) -> tuple[Any, int]:
        try:
            return tuple(right(path, **options))  # type: ignore[return-value]
        except Exception:
            return torch.zeros(1, 0), 44100

    monkeypatch.setattr(torchaudio, "load", quiet)
    entry = runner.run_check(REGISTRY["io.broken"], context)
    assert entry["status"] == "fail" and "missing.wav" in entry["measured"]["loaded"]


def test_a_loader_without_ffmpeg_is_a_skip_and_one_without_any_is_a_fail(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("Couldn't find appropriate backend")

    monkeypatch.setattr(torchaudio, "load", refuse)
    monkeypatch.setattr(torchaudio, "list_audio_backends", lambda: ["soundfile"], raising=False)
    entry = runner.run_check(REGISTRY["io.m4a"], context)
    assert entry["status"] == ("fail" if context.audio_release >= (2, 9) else "skip")
    monkeypatch.setattr(torchaudio, "list_audio_backends", list, raising=False)
    assert status("io.m4a", context) == "fail"


def test_a_library_with_a_missing_symbol_fails(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(library.own_libraries(context)[0])
    loaded = {"errors": {path: path + ": undefined symbol: _ZN3c10"}, "mapped": library.loaded(context)["mapped"]}
    monkeypatch.setitem(context.memory, "loaded", loaded)
    assert status("pair.loads", context) == "fail"
    twice = [*loaded["mapped"], "/usr/local/cuda/lib64/libc10.so"]
    monkeypatch.setitem(context.memory, "loaded", {"errors": {}, "mapped": twice})
    entry = runner.run_check(REGISTRY["pair.libraries"], context)
    assert entry["status"] == "fail" and "/usr/local/cuda/lib64/libc10.so" in entry["reason"]


def test_another_string_abi_fails(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    assert status("pair.cxx_abi", context) == "pass"
    monkeypatch.setattr(torch._C, "_GLIBCXX_USE_CXX11_ABI", not torch._C._GLIBCXX_USE_CXX11_ABI)
    assert status("pair.cxx_abi", context) == "fail"


def test_a_worker_that_computes_wrong_fails(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    right = functional.lfilter
    monkeypatch.setattr(functional, "lfilter", lambda *a, **k: right(*a, **k) * 1.001)
    assert status("runtime.fork", context) == "fail"


def test_a_spawned_worker_that_ends_is_told_in_its_own_check(monkeypatch: pytest.MonkeyPatch) -> None:
    context = Context("off")
    context.ready()
    monkeypatch.setattr(workers, "serve", os.abort)  # called with two arguments: the worker ends with a TypeError
    entries = runner.run([REGISTRY[name] for name in ("pair.import", "dsp.mel", "runtime.spawn")], context)["checks"]
    assert [entry["status"] for entry in entries] == ["pass", "pass", "fail"]
    assert "ended with exit code" in entries[2]["reason"]


def test_a_user_without_a_name_fails(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 54321)
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME", "TORCHINDUCTOR_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    assert status("runtime.user", context) == "fail"
    monkeypatch.setenv("USER", "someone")
    assert status("runtime.user", context) == "pass"


@pytest.mark.parametrize("kind", samples.SAMPLES)
def test_stored_samples_are_the_tones_to_another_reader(kind: str, tmp_path: Path) -> None:
    file, rate = tmp_path / f"a.{kind}", formats.RATES[kind]
    file.write_bytes(samples.SAMPLES[kind])
    argv = ["ffmpeg", "-loglevel", "error", "-i", str(file), "-f", "s16le", "pipe:1"]
    data = subprocess.run(argv, capture_output=True, check=True).stdout
    values = [value / 32768 for (value,) in struct.iter_unpack("<h", data)]
    measured = formats.tone_errors([values[0::2], values[1::2]], rate, rate)
    assert all(measured[key] <= limit for key, limit in formats.LIMITS.items()), measured
