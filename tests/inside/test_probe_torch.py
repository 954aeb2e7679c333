"""The probe's checks with a real torch and torchaudio, where they are installed: right ones pass, wrong ones fail."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

import pytest

torch: Any = pytest.importorskip("torch")
torchaudio: Any = pytest.importorskip("torchaudio")

from torchpair.probe import cuda, dsp, fileio, pair, reference, runner, sound  # noqa: E402, F401
from torchpair.probe.context import Context  # noqa: E402
from torchpair.probe.registry import REGISTRY, within  # noqa: E402

functional = importlib.import_module("torchaudio.functional")


@pytest.fixture(scope="module")
def context() -> Context:
    return Context("off")


def status(name: str, context: Context) -> str:
    return str(runner.run_check(REGISTRY[name], context)["status"])


def test_what_the_cuda_checks_measure_holds_on_the_cpu(context: Context) -> None:
    assert within(cuda.lfilter_measured(context, "cpu"), cuda.LFILTER_LIMITS).passed
    assert within(dsp.rnnt_errors(context, "cpu"), dsp.RNNT_LIMITS).passed
    if context.audio_release >= (2, 1):
        assert within(dsp.align_errors(context, "cpu"), dsp.ALIGN_LIMITS).passed
    assert within(cuda.resample_measured(context, "cpu"), cuda.RESAMPLE_LIMITS).passed
    assert within(sound.gradient_errors(context, "cpu"), sound.GRADIENT_LIMITS).passed
    assert within(cuda.mel_measured(context, "cpu"), cuda.MEL_LIMITS).passed
    dtypes = ["float32", "bfloat16"]  # float16 products on the CPU came with torch 2.1
    limits = {name: cuda.MATMUL_LIMITS[name] for name in dtypes}
    assert within(cuda.matmul_measured(context, "cpu", dtypes), limits).passed


def test_precision_settings_are_put_back(context: Context) -> None:
    backends = torch.backends
    before = backends.cuda.matmul.allow_tf32, backends.cudnn.allow_tf32
    with cuda.full_precision(context):
        assert (backends.cuda.matmul.allow_tf32, backends.cudnn.allow_tf32) == (False, False)
    assert (backends.cuda.matmul.allow_tf32, backends.cudnn.allow_tf32) == before


def altered(name: str, change: Callable[[Any], Any]) -> tuple[str, Callable[..., Any]]:
    right = getattr(functional, name)
    return name, lambda *args, **kwargs: change(right(*args, **kwargs))


def loop(waveform: Any, a: Any, b: Any, clamp: bool = True) -> Any:
    """What torchaudio does without its extension: right numbers, no compiled code."""
    out = torch.zeros_like(waveform)
    for n in range(waveform.shape[-1]):
        for k in range(min(n, len(b) - 1) + 1):
            out[..., n] += b[k] / a[0] * waveform[..., n - k]
            if k:
                out[..., n] -= a[k] / a[0] * out[..., n - k]
    return out


def swapped(result: tuple[Any, Any]) -> tuple[Any, Any]:
    paths = result[0].clone()
    paths[0, 3] = (paths[0, 3] + 1) % dsp.ALIGN_CLASSES
    return paths, result[1]


WRONG = [
    ("dsp.lfilter", altered("lfilter", lambda out: out * 1.00001)),
    ("dsp.lfilter", altered("lfilter", lambda out: out.roll(1, -1))),
    ("dsp.lfilter", altered("lfilter", lambda out: out * float("nan"))),
    ("dsp.lfilter", altered("lfilter", lambda out: out[..., :-1])),
    ("dsp.lfilter", ("lfilter", loop)),
    ("dsp.rnnt_loss", altered("rnnt_loss", lambda out: out * 1.0001)),
    ("dsp.rnnt_loss", altered("rnnt_loss", lambda out: out.detach().requires_grad_())),
    ("dsp.resample_gradient", altered("resample", lambda out: out.detach().requires_grad_())),
    ("dsp.resample_gradient", altered("resample", lambda out: out.float().double())),
]
if hasattr(functional, "forced_align"):
    WRONG.append(("dsp.forced_align", altered("forced_align", swapped)))
    WRONG.append(("dsp.forced_align", altered("forced_align", lambda out: (out[0], out[1] * 1.0001))))


@pytest.mark.parametrize(("name", "wrong"), WRONG)
def test_a_wrong_operator_fails(
    name: str, wrong: tuple[str, Any], context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert status(name, context) == "pass"
    monkeypatch.setattr(functional, *wrong)
    assert status(name, context) == "fail"


class Change(torch.nn.Module):  # type: ignore[misc]
    """Spoils what the module before it gave."""

    def __init__(self, change: Callable[[Any], Any]) -> None:
        super().__init__()
        self.forward = change


def test_wrong_audio_fails(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    right = torchaudio.transforms.Resample

    name = "dsp.resample_44100_32000"
    assert status(name, context) == "pass"
    off_tone = torch.tensor([reference.sine(8000, 32000, 1000.01, 0.5)])
    wrong_outputs: list[Callable[[Any], Any]] = [
        lambda out: out * 1.001,
        lambda out: out[..., 1:],
        lambda out: out + 1e-4 * torch.randn(out.shape),
        lambda out: off_tone,
        lambda out: out * 0,
    ]
    transforms: list[Callable[..., Any]] = [
        lambda rate, new: right(48000, new),
        lambda rate, new: right(rate, new, lowpass_filter_width=1),
    ]
    for change in wrong_outputs:
        transforms.append(lambda rate, new, change=change: torch.nn.Sequential(right(rate, new), Change(change)))
    for transform in transforms:
        monkeypatch.setattr(torchaudio.transforms, "Resample", transform)
        assert status(name, context) == "fail"

    mel = torchaudio.transforms.MelSpectrogram
    assert status("dsp.mel", context) == "pass"
    for option in ({"mel_scale": "slaney"}, {"norm": "slaney"}, {"power": 1.0}, {"pad": 1}, {"center": False}):
        wrong = functools.partial(mel, **option)
        monkeypatch.setattr(torchaudio.transforms, "MelSpectrogram", wrong)
        assert status("dsp.mel", context) == "fail"


def test_wrong_files_fail(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    load, save = torchaudio.load, torchaudio.save
    assert status("io.wav", context) == "pass"
    wrong_loads = (
        lambda path: (load(path)[0].flip(0), load(path)[1]),
        lambda path: (load(path)[0].roll(1, -1), load(path)[1]),
        lambda path: (load(path)[0][:, :-1], load(path)[1]),
        lambda path: (load(path)[0], 48000),
    )
    for wrong in wrong_loads:
        monkeypatch.setattr(torchaudio, "load", wrong)
        assert [status(name, context) for name in ("io.wav", "io.flac")] == ["fail", "fail"]
    # A wrong rate in the file that the reader makes good again.
    monkeypatch.setattr(torchaudio, "load", lambda path: (load(path)[0], 44100))
    monkeypatch.setattr(torchaudio, "save", lambda path, sound, rate: save(path, sound, 22050))
    assert [status(name, context) for name in ("io.wav", "io.flac")] == ["fail", "fail"]
