"""The same sums on the GPU. Every function takes the device, so that tests run it on the CPU too.

The limits come from the formats' precision: float32 has 24 bits, TF32 11, float16 11, bfloat16 8. They were chosen
without a GPU at hand; tighten them when measurements are.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any, Dict, Iterator, List

from . import dsp, sound
from .arch import serves
from .context import Context
from .registry import Outcome, Skip, check, told, within


@contextmanager
def full_precision(context: Context) -> Iterator[None]:
    """Switch TF32 off in matrix products and cuDNN: it keeps 10 bits of a float32's 23, by design."""
    backends = context.torch.backends
    before = backends.cuda.matmul.allow_tf32, backends.cudnn.allow_tf32
    backends.cuda.matmul.allow_tf32 = backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        backends.cuda.matmul.allow_tf32, backends.cudnn.allow_tf32 = before


@check(
    "cuda.device",
    "torch sees every GPU that the driver offers, and was compiled for it.",
    limit="as many devices as the driver offers; each is served by a compiled architecture",
)
def device(context: Context) -> Outcome:
    torch = context.torch
    try:
        context.device()
    except Skip:
        # Not "no GPU": the driver offers one (or is broken), and this torch cannot use it.
        if context.gpu == "off" or not context.torch_cuda():
            raise
        seen = context.driver()
        if not seen.devices and not seen.broken:
            raise
        try:
            torch.cuda.init()
            said = "torch says nothing"
        except Exception as error:
            said = told(error)
        measured: Dict[str, Any] = {"devices": 0, "driver_devices": seen.devices, "driver_cuda": seen.cuda}
        offer = seen.error or "the driver (CUDA {}) offers {} device(s)".format(seen.cuda, seen.devices)
        return Outcome(False, measured, "{}; torch for CUDA {} cannot: {}".format(offer, context.torch_cuda(), said))
    compiled = context.compiled()
    found: List[Dict[str, Any]] = []
    for index in range(torch.cuda.device_count()):
        major, minor = torch.cuda.get_device_capability(index)
        served = [str(target) for target in compiled if serves(target, major, minor)]
        name = torch.cuda.get_device_name(index)
        found.append({"name": name, "capability": "{}.{}".format(major, minor), "served_by": served})
    measured = {"devices": len(found), "driver_devices": context.driver().devices, "gpu": found}
    unserved = ["{name} ({capability})".format(**gpu) for gpu in found if not gpu["served_by"]]
    if unserved:
        return Outcome(False, measured, "nothing was compiled for " + ", ".join(unserved))
    # Unequal counts: a device that torch lost, or two drivers; whatever it is, it is no proof.
    return Outcome(0 < len(found) == context.driver().devices, measured)


def lfilter_measured(context: Context, device: str) -> Dict[str, Any]:
    """Errors on the device against the recursion, and against the CPU's result."""
    # Half of the filter is a convolution, where cuDNN would use TF32.
    with full_precision(context):
        measured: Dict[str, Any] = dict(dsp.lfilter_errors(context, device))
        for dtype in ("float32", "float64"):
            apart = dsp.lfilter(context, device, dtype) - dsp.lfilter(context, "cpu", dtype)
            measured[dtype + "_from_cpu"] = float(apart.abs().max())
    return measured


LFILTER_LIMITS = dict(dsp.LFILTER_LIMITS, float32_from_cpu=5e-6, float64_from_cpu=1e-14)


@check(
    "cuda.lfilter",
    "The CUDA filter kernel gives what the recursion and the CPU give.",
    limit=LFILTER_LIMITS,
    unit="max absolute error",
    gpu=True,
)
def lfilter(context: Context) -> Outcome:
    return within(lfilter_measured(context, context.device()), LFILTER_LIMITS)


@check(
    "cuda.rnnt_loss",
    "The CUDA transducer loss and its gradient equal the forward algorithm, as on the CPU.",
    limit=dsp.RNNT_LIMITS,
    unit="max absolute error",
    gpu=True,
)
def rnnt(context: Context) -> Outcome:
    return within(dsp.rnnt_errors(context, context.device()), dsp.RNNT_LIMITS)


@check(
    "cuda.forced_align",
    "The CUDA alignment finds the same path as the Viterbi search, as on the CPU.",
    limit=dsp.ALIGN_LIMITS,
    unit="frames; max absolute error",
    gpu=True,
)
def align(context: Context) -> Outcome:
    return within(dsp.align_errors(context, context.device()), dsp.ALIGN_LIMITS)


def resample_measured(context: Context, device: str) -> Dict[str, float]:
    """Per source rate the largest difference from the CPU's result, and the tone's own errors on the device."""
    measured: Dict[str, float] = {}
    with full_precision(context):
        for rate in (44100, 48000):
            apart = sound.resample(context, device, rate) - sound.resample(context, "cpu", rate)
            measured["{}_from_cpu".format(rate)] = float(apart.abs().max())
        measured.update(sound.resample_errors(context, device, 44100))
    return measured


# Sums of products below 0.5 in float32, in another order: about 1e-6 at worst. TF32 rounds inputs by 2e-4.
RESAMPLE_LIMITS = dict(sound.RESAMPLE_LIMITS, **{"44100_from_cpu": 1e-5, "48000_from_cpu": 1e-5})


@check(
    "cuda.resample",
    "Resampling on the GPU (a cuDNN convolution) gives what the CPU gives.",
    limit=RESAMPLE_LIMITS,
    unit="max absolute error; dB; Hz; dB; samples",
    gpu=True,
)
def resample(context: Context) -> Outcome:
    return within(resample_measured(context, context.device()), RESAMPLE_LIMITS)


def mel_measured(context: Context, device: str) -> Dict[str, float]:
    """Errors against the Fourier sum, and the largest difference from the CPU relative to the largest value."""
    with full_precision(context):
        measured = dict(sound.mel_errors(context, device))
        ours, theirs = sound.mel(context, device, "float32"), sound.mel(context, "cpu", "float32")
    measured["float32_from_cpu"] = float((ours - theirs).abs().max() / theirs.abs().max())
    return measured


# Relative to the largest value, so that only rounding shows; TF32 in the filter bank rounds by 5e-4.
MEL_LIMITS = dict(sound.MEL_LIMITS, float32_from_cpu=1e-5)


@check(
    "cuda.mel",
    "MelSpectrogram on the GPU (cuFFT, cuBLAS) gives what the Fourier sum and the CPU give.",
    limit=MEL_LIMITS,
    unit="max relative error",
    gpu=True,
)
def mel(context: Context) -> Outcome:
    return within(mel_measured(context, context.device()), MEL_LIMITS)


MATMUL_SIZE = 256
# Relative to the largest entry (about 23, from 256 products of numbers below 1). float32 sums leave 1e-6 and TF32
# would leave 2e-4 (simulated); half types round the result to 11 and 8 bits, and may round partial sums too.
MATMUL_LIMITS = {"float32": 2e-5, "float16": 4e-3, "bfloat16": 3e-2}


def matmul_measured(context: Context, device: str, dtypes: List[str]) -> Dict[str, Any]:
    """Per dtype the largest error of a matrix product against float64 on the CPU, relative to the largest entry."""
    torch = context.torch
    generator = torch.Generator().manual_seed(9)
    left, right = (torch.rand(MATMUL_SIZE, MATMUL_SIZE, generator=generator) * 2 - 1 for _ in range(2))
    measured: Dict[str, Any] = {}
    with full_precision(context):
        for dtype in dtypes:
            kind = getattr(torch, dtype)
            # The inputs are rounded first: only the product is on trial.
            a, b = left.to(kind), right.to(kind)
            true = a.double() @ b.double()
            got = (a.to(device) @ b.to(device)).cpu().double()
            measured[dtype] = float((got - true).abs().max() / true.abs().max())
    return measured


@check(
    "cuda.matmul",
    "cuBLAS multiplies right in float32 (TF32 off), float16 and, where the device has it, bfloat16.",
    limit=MATMUL_LIMITS,
    unit="max relative error",
    gpu=True,
)
def matmul(context: Context) -> Outcome:
    dtypes = [name for name in MATMUL_LIMITS if name != "bfloat16" or context.torch.cuda.is_bf16_supported()]
    measured = matmul_measured(context, context.device(), dtypes)
    return within(measured, {name: MATMUL_LIMITS[name] for name in dtypes})
