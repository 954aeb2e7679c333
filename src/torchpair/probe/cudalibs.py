"""CUDA's libraries under torch: machine code, cuFFT, cuDNN, spectra and features, memory, graphs.

As in cuda.py, what can take a device does, so that tests run it on the CPU; memory and graphs cannot.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List

from . import dsp, fourier, reference, spectral
from .context import Context
from .cuda import full_precision
from .registry import Outcome, check, within, worst

CHILD = (
    "import importlib, json, sys; sys.path[:0] = [sys.argv[1]]; importlib.import_module(sys.argv[2]).child(sys.argv[3])"
)
CHILD_SECONDS = 120.0


def child(device: str) -> None:
    """Runs in a process of its own: one kernel of torch and two of torchaudio; errors as JSON in the last line."""
    context = Context("auto")
    torch = context.torch
    measured: Dict[str, float] = {"torch": float((torch.arange(8.0, device=device) * 3).sum()) - 84.0}
    with full_precision(context):
        measured["lfilter"] = dsp.lfilter_errors(context, device)["float32"]
    measured["rnnt_loss"] = dsp.rnnt_errors(context, device)["loss"]
    print(json.dumps(measured))


# As the checks of the same names.
MACHINE_LIMITS = {"torch": 0, "lfilter": 5e-6, "rnnt_loss": 2e-5}


def without_jit(device: str) -> Dict[str, Any]:
    """child(device) with the driver's compiler of PTX switched off. RuntimeError with what it said when it failed.

    CUDA_DISABLE_PTX_JIT: CUDA C++ Programming Guide, "CUDA Environment Variables"; it must be set before CUDA starts.
    """
    package = str(__package__)
    home = str(Path(__file__).parents[package.count(".") + 1])
    environment = dict(os.environ, CUDA_DISABLE_PTX_JIT="1", CUDA_CACHE_DISABLE="1")
    done = subprocess.run(
        [sys.executable, "-c", CHILD, home, __name__, device],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, timeout=CHILD_SECONDS, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(done.stderr.decode("utf-8", "replace").strip()[-800:] or "exit {}".format(done.returncode))
    answer: Dict[str, Any] = json.loads(done.stdout.decode().strip().splitlines()[-1])
    return answer


@check(
    "cuda.machine_code",
    "Kernels of torch and torchaudio run from machine code in the wheel: with the driver's PTX compiler switched off.",
    limit=MACHINE_LIMITS,
    unit="max absolute error",
    gpu=True,
)
def machine_code(context: Context) -> Outcome:
    return within(without_jit(context.device()), MACHINE_LIMITS)


FFT_SIZES = (512, 60)  # a power of two, and one with factors 3 and 5


def fft_errors(context: Context, device: str) -> Dict[str, float]:
    """Per dtype the largest error of a Fourier transform and back, relative to the largest coefficient."""
    torch = context.torch
    measured: Dict[str, float] = {}
    for dtype in ("float32", "float64"):
        errors = []
        for size in FFT_SIZES:
            noise = reference.noise(size, 40)
            signal = torch.tensor(noise, dtype=getattr(torch, dtype), device=device)
            spectrum = torch.fft.rfft(signal)
            errors.append(fourier.complex_error([spectrum.tolist()], [fourier.fft(noise)[: size // 2 + 1]]))
            errors.append(reference.largest_error([torch.fft.irfft(spectrum, size).tolist()], [noise]))
        measured[dtype] = worst(errors)
    return measured


# log2(512) steps of rounding: a few units in the last place.
FFT_LIMITS = {"float32": 2e-6, "float64": 1e-14}


@check(
    "cuda.fft",
    "cuFFT transforms as the definition says, forwards and back.",
    limit=FFT_LIMITS,
    unit="max relative error",
    gpu=True,
)
def fft(context: Context) -> Outcome:
    return within(fft_errors(context, context.device()), FFT_LIMITS)


CONV_SAMPLES, CONV_TAPS = 64, 9


def convolution_errors(context: Context, device: str, dtypes: List[str]) -> Dict[str, Any]:
    """Per dtype the largest error of conv1d and conv_transpose1d, relative to the largest value."""
    torch = context.torch
    functional = torch.nn.functional
    signal, kernel = reference.noise(CONV_SAMPLES, 41), reference.noise(CONV_TAPS, 42)
    measured: Dict[str, Any] = {}
    for dtype in dtypes:
        kind = getattr(torch, dtype)
        x, k = (torch.tensor([[values]]).to(kind) for values in (signal, kernel))
        # The inputs are rounded first: only the convolution is on trial.
        right = fourier.convolution(x[0, 0].double().tolist(), k[0, 0].double().tolist())
        full = functional.conv_transpose1d(x.to(device), k.to(device))[0, 0].double().tolist()
        # torch's conv1d is a correlation: with the kernel turned round it is the part without edges.
        inner = functional.conv1d(x.to(device), k.flip(-1).to(device))[0, 0].double().tolist()
        scale = max(abs(value) for value in right)
        edge = CONV_TAPS - 1
        errors = [reference.largest_error([full], [right]), reference.largest_error([inner], [right[edge:-edge]])]
        measured[dtype] = worst(errors) / scale
    return measured


# Nine products each; the half types round the result to 11 and 8 bits, and may round partial sums too.
CONVOLUTION_LIMITS = {"float32": 1e-6, "float64": 1e-14, "float16": 4e-3, "bfloat16": 3e-2}


@check(
    "cuda.cudnn",
    "cuDNN is there, and convolves right, also in half precision.",
    limit=CONVOLUTION_LIMITS,
    unit="max relative error",
    gpu=True,
)
def cudnn(context: Context) -> Outcome:
    torch = context.torch
    device = context.device()
    dtypes = [name for name in CONVOLUTION_LIMITS if name != "bfloat16" or torch.cuda.is_bf16_supported()]
    with full_precision(context):
        measured = convolution_errors(context, device, dtypes)
    measured["cudnn"] = torch.backends.cudnn.version()
    if not torch.backends.cudnn.is_acceptable(torch.zeros(1, device=device)):
        return Outcome(False, measured, "torch cannot use cuDNN here")
    return within(measured, {name: CONVOLUTION_LIMITS[name] for name in dtypes})


def spectra_measured(context: Context, device: str) -> Dict[str, float]:
    """The errors of STFT and ISTFT on the device, against the transform written out."""
    measured = {"stft_" + key: value for key, value in spectral.stft_errors(context, device).items()}
    measured.update(("istft_" + key, value) for key, value in spectral.istft_errors(context, device).items())
    return measured


SPECTRA_LIMITS = dict(
    [("stft_" + key, value) for key, value in spectral.STFT_LIMITS.items()]
    + [("istft_" + key, value) for key, value in spectral.ISTFT_LIMITS.items()]
)


@check(
    "cuda.spectra",
    "STFT, ISTFT and torchaudio's Spectrogram give on the GPU what the transform written out gives.",
    limit=SPECTRA_LIMITS,
    unit="max error",
    gpu=True,
)
def spectra(context: Context) -> Outcome:
    return within(spectra_measured(context, context.device()), SPECTRA_LIMITS)


def features_measured(context: Context, device: str) -> Dict[str, float]:
    """The errors of MFCC and Kaldi's filter bank on the device, against those written out and against the CPU's."""
    measured: Dict[str, float] = {}
    with full_precision(context):
        for name, errors, values in (
            ("mfcc", spectral.mfcc_errors, spectral.mfcc),
            ("fbank", spectral.fbank_errors, spectral.fbank),
        ):
            measured[name] = errors(context, device)["float32"]
            apart = values(context, device, "float32") - values(context, "cpu", "float32")
            measured[name + "_from_cpu"] = float(apart.abs().max())
    return measured


# The limits of the CPU's checks; between the devices only the order of sums differs, which the logarithm of a band
# with little in it turns into 1e-4.
FEATURES_LIMITS = {"mfcc": 2e-4, "mfcc_from_cpu": 2e-4, "fbank": 2e-3, "fbank_from_cpu": 2e-3}


@check(
    "cuda.features",
    "MFCC and Kaldi's filter bank give on the GPU what the CPU gives.",
    limit=FEATURES_LIMITS,
    unit="max absolute error",
    gpu=True,
)
def features(context: Context) -> Outcome:
    return within(features_measured(context, context.device()), FEATURES_LIMITS)


@check(
    "cuda.memory",
    "What filters, transforms and a large tensor took of the GPU's memory is given back.",
    limit={"leaked": 0, "kept": 0},
    unit="bytes",
    gpu=True,
)
def memory(context: Context) -> Outcome:
    torch = context.torch
    device = context.device()

    def work() -> None:
        dsp.lfilter(context, device, "float32")
        spectral.stft(context, device, "float32")
        large = torch.zeros(64 << 20, dtype=torch.uint8, device=device)
        large.add_(1)

    def state() -> List[int]:
        gc.collect()
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        return [int(torch.cuda.memory_allocated()), int(torch.cuda.memory_reserved())]

    work()  # once before: handles and work areas of cuBLAS, cuDNN and cuFFT stay, by design
    before = state()
    for _ in range(3):
        work()
    after = state()
    measured = {"leaked": max(0, after[0] - before[0]), "kept": max(0, after[1] - before[1]), "in_use": after[0]}
    return within(measured, {"leaked": 0, "kept": 0})


@check(
    "cuda.graph",
    "A CUDA graph captures a step and replays it on new data: the same as without the graph.",
    limit={"error": 1e-5},
    unit="max absolute error",
    gpu=True,
)
def graph(context: Context) -> Outcome:
    torch = context.torch
    device = context.device()
    first, second, weight = (
        torch.tensor([reference.noise(64, seed + n) for n in range(64)], device=device) for seed in (100, 200, 300)
    )
    weight = weight / 8

    def step(x: Any) -> Any:
        return torch.relu(x @ weight) + x

    with full_precision(context):
        eager = step(second)
        held = first.clone()
        # A graph is captured after a few runs on another stream, as torch's documentation of CUDAGraph asks.
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                step(held)
        torch.cuda.current_stream().wait_stream(side)
        captured = torch.cuda.CUDAGraph()
        with torch.cuda.graph(captured):
            out = step(held)
        held.copy_(second)
        captured.replay()
        torch.cuda.synchronize()
    measured = {"error": float((out - eager).abs().max())}
    return within(measured, {"error": 1e-5})
