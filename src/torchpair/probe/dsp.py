"""torchaudio's compiled operators, each against plain Python on small inputs, on any device.

These three families are what enters compiled torchaudio code in every release; resampling and mel do not.
The functions that take a device are shared with the CUDA checks.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List

from . import reference
from .context import Context
from .registry import Outcome, Skip, check, within, worst
from .spectrogram import Sound

# A stable filter (poles at radius 0.79) whose coefficients are exact in float32; a[0] is not 1 on purpose.
FILTER_A = [2.0, -2.5, 1.25]
FILTER_B = [0.5, 0.25, -0.125]
FILTER_SAMPLES = 400


def lfilter(context: Context, device: str, dtype: str) -> Any:
    """Filter two different channels; returns a (2, FILTER_SAMPLES) tensor on the CPU."""
    torch = context.torch
    kind = getattr(torch, dtype)
    signal = torch.tensor([reference.noise(FILTER_SAMPLES, seed) for seed in (1, 2)], dtype=kind, device=device)
    a, b = (torch.tensor(values, dtype=kind, device=device) for values in (FILTER_A, FILTER_B))
    return context.torchaudio.functional.lfilter(signal, a, b, clamp=False).cpu()


def lfilter_errors(context: Context, device: str) -> Dict[str, float]:
    """The largest absolute error per dtype; the output is about 1 at most."""
    right = [reference.lfilter(reference.noise(FILTER_SAMPLES, seed), FILTER_A, FILTER_B) for seed in (1, 2)]
    errors = {}
    for dtype in ("float32", "float64"):
        errors[dtype] = reference.largest_error(lfilter(context, device, dtype).tolist(), right)
    return errors


def filtered_sound(context: Context) -> Sound:
    """The first channel, and what it should be. It has no rate: 400 samples, shown as if in 25 ms."""
    right = reference.lfilter(reference.noise(FILTER_SAMPLES, 1), FILTER_A, FILTER_B)
    return Sound(lfilter(context, "cpu", "float32")[0].tolist(), right, 16000)


# Rounding of a recursion with gain below 10 stays near 10 units in the last place (6e-8, 1e-16); a wrong
# coefficient, delay or state is wrong in the first digits.
LFILTER_LIMITS = {"float32": 5e-6, "float64": 1e-14}


def operators_called(context: Context, call: Callable[[], Any]) -> List[str]:
    """The torchaudio operators that call() entered, as torch's own hook sees them: "torchaudio._lfilter".

    Not by the profiler: that one looks for a GPU and writes to stderr.
    """
    names: List[str] = []
    mode: Any = context.torch.overrides.TorchFunctionMode

    class Watch(mode):  # type: ignore[misc]
        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            names.append(str(function))
            return function(*args, **(kwargs or {}))

    with Watch():
        call()
    return sorted({name for name in names if name.startswith("torchaudio.")})


@check(
    "dsp.lfilter",
    "The compiled filter equals the recursion written out; without its extension torchaudio would run a Python loop.",
    limit=dict(LFILTER_LIMITS, operators="one of torchaudio's lfilter operators"),
    unit="max absolute error",
)
def lfilter_cpu(context: Context) -> Outcome:
    measured: Dict[str, Any] = dict(lfilter_errors(context, "cpu"))
    measured["operators"] = operators_called(context, lambda: lfilter(context, "cpu", "float32"))
    if context.torchaudio._extension._IS_TORCHAUDIO_EXT_AVAILABLE is not True:
        return Outcome(False, measured, "the compiled extension is not loaded: this was the Python fallback")
    if not any("lfilter" in name for name in measured["operators"]):
        return Outcome(False, measured, "no compiled filter ran: this was the Python fallback")
    return within(measured, LFILTER_LIMITS, lambda: filtered_sound(context))


# Two sequences of different length, so that padding is tested too: [batch][time][targets + 1][classes].
RNNT_TIMES, RNNT_TARGETS, RNNT_CLASSES, RNNT_BLANK = [4, 3], [[1, 3, 2], [2, 2, 1]], 5, 0
RNNT_LENGTHS = [3, 2]


def _rnnt_logits() -> List[List[reference.Table]]:
    flat = iter(reference.noise(2 * 4 * 4 * RNNT_CLASSES, 3))
    return [[[[3 * next(flat) for _ in range(RNNT_CLASSES)] for _ in range(4)] for _ in range(4)] for _ in range(2)]


def rnnt_errors(context: Context, device: str) -> Dict[str, float]:
    """The largest absolute errors of the two losses and of the gradient of their sum, in float32.

    float32 is the only common type: the operator has no float64 and the CPU one no usable float16.
    """
    torch = context.torch
    whole = _rnnt_logits()
    logits = torch.tensor(whole, dtype=torch.float32, device=device, requires_grad=True)
    targets, times, lengths = (
        torch.tensor(values, dtype=torch.int32, device=device) for values in (RNNT_TARGETS, RNNT_TIMES, RNNT_LENGTHS)
    )
    losses = context.torchaudio.functional.rnnt_loss(
        logits, targets, times, lengths, blank=RNNT_BLANK, clamp=-1.0, reduction="none"
    )
    losses.sum().backward()
    loss_errors, gradient_errors = [], []
    for i, loss in enumerate(losses.tolist()):
        table = [frame[: RNNT_LENGTHS[i] + 1] for frame in whole[i][: RNNT_TIMES[i]]]
        labels = RNNT_TARGETS[i][: RNNT_LENGTHS[i]]
        loss_errors.append(abs(loss - reference.rnnt_loss(table, labels, RNNT_BLANK)))
        right = reference.rnnt_gradient(table, labels, RNNT_BLANK)
        for t, frame in enumerate(logits.grad[i].tolist()):
            for u, row in enumerate(frame):
                inside = t < RNNT_TIMES[i] and u <= RNNT_LENGTHS[i]
                # Beyond a sequence's end the gradient is zero: padding must not train anything.
                gradient_errors += [abs(x - (right[t][u][v] if inside else 0.0)) for v, x in enumerate(row)]
    return {"loss": worst(loss_errors), "gradient": worst(gradient_errors)}


# Losses are near 10 and gradients below 1, in float32 (1e-6 and 6e-8 apart): an error of 1e-4 would need a wrong
# term. Logits span -3..3, so a wrong label, blank or length moves the loss by tenths.
RNNT_LIMITS = {"loss": 2e-5, "gradient": 2e-5}


@check(
    "dsp.rnnt_loss",
    "The compiled transducer loss and its gradient equal the forward algorithm; there is no fallback to hide behind.",
    limit=RNNT_LIMITS,
    unit="max absolute error",
)
def rnnt_cpu(context: Context) -> Outcome:
    return within(rnnt_errors(context, "cpu"), RNNT_LIMITS)


ALIGN_FRAMES, ALIGN_CLASSES, ALIGN_TARGETS, ALIGN_BLANK = 24, 6, [2, 2, 5, 1, 4, 4, 3], 0


def align_errors(context: Context, device: str) -> Dict[str, Any]:
    """Per dtype: frames whose label differs from the best path, and the largest absolute error of their scores."""
    if context.audio_release < (2, 1):
        raise Skip("torchaudio>=2.1", "torchaudio {} has no forced_align".format(context.torchaudio.__version__))
    torch = context.torch
    flat = iter(reference.noise(ALIGN_FRAMES * ALIGN_CLASSES, 4))
    log_p = [reference.log_softmax([4 * next(flat) for _ in range(ALIGN_CLASSES)]) for _ in range(ALIGN_FRAMES)]
    path, scores = reference.ctc_align(log_p, ALIGN_TARGETS, ALIGN_BLANK)
    measured: Dict[str, Any] = {}
    for dtype in ("float32", "float64"):
        emission = torch.tensor([log_p], dtype=getattr(torch, dtype), device=device)
        targets = torch.tensor([ALIGN_TARGETS], dtype=torch.int32, device=device)
        got, got_scores = context.torchaudio.functional.forced_align(emission, targets, blank=ALIGN_BLANK)
        measured[dtype + "_wrong_frames"] = sum(x != y for x, y in reference.both(got[0].tolist(), path))
        measured[dtype + "_score"] = reference.largest_error(got_scores.tolist(), [scores])
    return measured


# Scores are copies of the inputs, so only the rounding of inputs up to 8 in float32 may show (5e-7).
ALIGN_LIMITS = {
    "float32_wrong_frames": 0, "float32_score": 1e-6, "float64_wrong_frames": 0, "float64_score": 1e-14,
}  # fmt: skip


@check(
    "dsp.forced_align",
    "The compiled CTC alignment finds the path that a Viterbi search written out finds, repeated labels included.",
    limit=ALIGN_LIMITS,
    unit="frames; max absolute error",
)
def align_cpu(context: Context) -> Outcome:
    return within(align_errors(context, "cpu"), ALIGN_LIMITS)
