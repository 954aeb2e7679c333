"""Profile gpt-sovits: its kinds of networks with made-up weights, and cuda.sovits, the whole profile on a GPU."""

from __future__ import annotations

import importlib
import importlib.util
import math
from typing import Any, Dict, List

from . import fourier, reference, sovits
from .context import Context
from .cuda import full_precision
from .registry import Outcome, Skip, check, within, worst

UPSAMPLE = ((10, 20), (6, 12), (2, 4), (2, 4), (2, 4))  # of v4's vocoder: factor and kernel; 480 samples a frame
CHANNELS, BANDS, FRAMES = 64, 100, 50


def weights(context: Context, shape: List[int], seed: int, fan: float, dtype: str) -> Any:
    """Reproducible weights of variance 1 / fan: the power of a sum of `fan` products stays what it was."""
    torch = context.torch
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(shape, generator=generator, dtype=torch.float64) * 2 - 1
    return (values * math.sqrt(3 / fan)).to(getattr(torch, dtype))


def vocoder(context: Context, device: str, dtype: str) -> Any:
    """50 mel frames through convolutions and transposed ones, as in HiFi-GAN: (1, 1, 24000) on the CPU."""
    torch = context.torch
    functional = torch.nn.functional

    def weight(shape: List[int], seed: int, fan: float) -> Any:
        return weights(context, shape, seed, fan, dtype).to(device)

    x = functional.conv1d(weight([1, BANDS, FRAMES], 60, 3), weight([CHANNELS, BANDS, 7], 61, BANDS * 7), padding=3)
    channels = CHANNELS
    for index, (factor, kernel) in enumerate(UPSAMPLE):
        x = functional.leaky_relu(x, 0.1)
        # The activation halves the power.
        up = weight([channels, channels // 2, kernel], 62 + index, channels * kernel / factor / 2)
        x = functional.conv_transpose1d(x, up, stride=factor, padding=(kernel - factor) // 2)
        channels //= 2
        more = weight([channels, channels, 3], 70 + index, channels * 6)
        x = x + functional.conv1d(functional.leaky_relu(x, 0.1), more, padding=1)
    return torch.tanh(functional.conv1d(x, weight([1, channels, 7], 80, channels * 28), padding=3)).cpu()


def vocoder_errors(context: Context, device: str, dtype: str) -> Dict[str, float]:
    """Wrong dimensions, and the largest difference from double precision on the CPU; the output is below 1."""
    got, right = vocoder(context, device, dtype).double(), vocoder(context, "cpu", "float64")
    if list(got.shape) != [1, 1, 24000]:
        return {"shape_error": 1.0, "error": math.inf, "silence": 0.0}
    # A network that gives silence would agree with anything that gives silence.
    return {"shape_error": 0.0, "error": float((got - right).abs().max()), "silence": float(right.std() < 0.01)}


VOCODER_LIMITS = {"shape_error": 0, "error": 1e-4, "silence": 0}  # twelve layers of float32, each near 1e-6


@check(
    "sovits.vocoder",
    "A vocoder like v4's: 50 frames become 24000 samples, the same in single as in double precision.",
    limit=VOCODER_LIMITS,
    unit="dimensions; max absolute error; flag",
)
def vocoder_cpu(context: Context) -> Outcome:
    return within(vocoder_errors(context, "cpu", "float32"), VOCODER_LIMITS)


def snake_errors(context: Context, device: str) -> Dict[str, float]:
    """v3's activation x + sin(ax)^2 / a, between doubling and halving the rate under a low-pass of 12 taps."""
    torch = context.torch
    functional = torch.nn.functional
    alpha, values = 1.5, reference.noise(64, 90)
    x = torch.tensor([[values]], device=device)
    got = (x + torch.sin(x * alpha).pow(2) / alpha)[0, 0].tolist()
    right = [value + math.sin(alpha * value) ** 2 / alpha for value in values]
    taps = torch.hann_window(12, periodic=False, device=device)
    taps = (taps / taps.sum()).reshape(1, 1, 12)
    up = functional.conv_transpose1d(x, 2 * taps, stride=2, padding=5)
    down = functional.conv1d(up, taps, stride=2, padding=5)[0, 0].tolist()
    # The same two filters written out: zeros between the samples, filter, filter, every second sample.
    kernel = [float(value) for value in taps[0, 0].tolist()]
    spread = [values[n // 2] if n % 2 == 0 else 0.0 for n in range(2 * len(values) - 1)]
    first = fourier.convolution(spread, [2 * value for value in kernel])[5:-5]
    second = fourier.convolution(first, kernel)[11 - 5 :][::2][: len(values)]
    return {
        "snake": reference.largest_error([got], [right]),
        "filter": reference.largest_error([down[:-6]], [second[: len(down) - 6]]),
    }


SNAKE_LIMITS = {"snake": 1e-6, "filter": 1e-5}


@check(
    "sovits.snake",
    "v3's periodic activation, and the filters around it, equal the same written out.",
    limit=SNAKE_LIMITS,
    unit="max absolute error",
)
def snake(context: Context) -> Outcome:
    return within(snake_errors(context, "cpu"), SNAKE_LIMITS)


STEPS, WIDTH = 8, 16


def attention_errors(context: Context, device: str) -> Dict[str, float]:
    """Causal attention at once, and step by step with kept keys and values, against softmax written out."""
    torch = context.torch
    functional = torch.nn.functional
    flat = iter(reference.noise(3 * STEPS * WIDTH, 91))
    query, key, value = ([[next(flat) for _ in range(WIDTH)] for _ in range(STEPS)] for _ in range(3))
    right = fourier.attention(query, key, value)
    q, k, v = (torch.tensor(table, device=device)[None, None] for table in (query, key, value))
    at_once = functional.scaled_dot_product_attention(q, k, v, is_causal=True)[0, 0].tolist()
    steps = [
        functional.scaled_dot_product_attention(q[..., t : t + 1, :], k[..., : t + 1, :], v[..., : t + 1, :])
        for t in range(STEPS)
    ]
    cached = torch.cat(steps, dim=-2)[0, 0].tolist()
    return {"causal": reference.largest_error(at_once, right), "cached": reference.largest_error(cached, right)}


ATTENTION_LIMITS = {"causal": 2e-6, "cached": 2e-6}  # float32, values below 1


@check(
    "sovits.attention",
    "Scaled dot-product attention equals softmax written out, at once and step by step as in decoding.",
    limit=ATTENTION_LIMITS,
    unit="max absolute error",
)
def attention(context: Context) -> Outcome:
    return within(attention_errors(context, "cpu"), ATTENTION_LIMITS)


SCRIPT = """
def gate(a: Tensor, b: Tensor, n: int) -> Tensor:
    both = a + b
    return torch.tanh(both[:n]) * torch.sigmoid(both[n:])
"""


@check(
    "sovits.script",
    "TorchScript compiles a gated activation, as GPT-SoVITS does when it is imported, and it computes right.",
    limit={"error": 1e-6},
    unit="max absolute error",
)
def script(context: Context) -> Outcome:
    torch = context.torch
    one, other = reference.noise(8, 92), reference.noise(8, 93)
    unit = torch.jit.CompilationUnit(SCRIPT)
    got = unit.gate(torch.tensor(one), torch.tensor(other), 4).tolist()
    both = [a + b for a, b in reference.both(one, other)]
    right = [math.tanh(both[n]) / (1 + math.exp(-both[n + 4])) for n in range(4)]
    return within({"error": reference.largest_error([got], [right])}, {"error": 1e-6})


@check(
    "sovits.transformers",
    "Small HuBERT and BERT models with made-up weights run: finite features of the right shape.",
    limit={"shape_error": 0, "not_finite": 0},
    unit="dimensions; values",
)
def transformers(context: Context) -> Outcome:
    if importlib.util.find_spec("transformers") is None:
        raise Skip("package", "transformers is not installed")
    library = importlib.import_module("transformers")
    torch = context.torch
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    hubert = library.HubertModel(library.HubertConfig(num_conv_pos_embeddings=16, **sizes)).eval()
    bert = library.BertModel(library.BertConfig(vocab_size=100, **sizes)).eval()
    with torch.no_grad():
        heard = hubert(torch.tensor([sovits.voice(16000, 0.5)])).last_hidden_state
        read = bert(torch.arange(10)[None]).last_hidden_state
    # HuBERT has a feature every 20 ms, of 25 ms; BERT one a token.
    wrong = [abs(have - want) for have, want in reference.both([*heard.shape, *read.shape], [1, 24, 32, 1, 10, 32])]
    finite = sum(int((~torch.isfinite(x)).sum()) for x in (heard, read))
    return within({"shape_error": sum(wrong), "not_finite": finite}, {"shape_error": 0, "not_finite": 0})


def sovits_measured(context: Context, device: str) -> Dict[str, Any]:
    """The profile's operations on a device: errors against what is right, and the largest difference from the CPU."""
    measured: Dict[str, Any] = {}
    with full_precision(context):
        measured.update(("resample_" + key, value) for key, value in sovits.resample_errors(context, device).items())
        for version in sovits.MELS:
            found = sovits.mel_errors(context, device, version)
            measured.update(("mel_{}_{}".format(version, key), value) for key, value in found.items())
        measured.update(("fbank_" + key, value) for key, value in sovits.fbank_errors(context, device).items())
        measured["stft"] = worst(sovits.round_trip_errors(context, device).values())
        measured.update(("vocoder_" + key, value) for key, value in vocoder_errors(context, device, "float32").items())
        measured.update(snake_errors(context, device))
        measured.update(attention_errors(context, device))
    return measured


SOVITS_LIMITS: Dict[str, float] = dict(
    [("resample_" + key, float(value)) for key, value in sovits.RESAMPLE_LIMITS.items()]
    + [
        ("mel_{}_{}".format(version, key), float(value))
        for version in sovits.MELS
        for key, value in sovits.MEL_LIMITS.items()
    ]
    + [("fbank_" + key, float(value)) for key, value in sovits.FBANK_LIMITS.items()]
    + [("stft", 1e-4)]
    + [("vocoder_" + key, float(value)) for key, value in VOCODER_LIMITS.items()]
    + [*SNAKE_LIMITS.items(), *ATTENTION_LIMITS.items()]
)


@check(
    "cuda.sovits",
    "The profile's operations on the GPU, TF32 off, give what is right within the limits of the CPU's checks.",
    limit=SOVITS_LIMITS,
    unit="max error",
    gpu=True,
)
def on_gpu(context: Context) -> Outcome:
    return within(sovits_measured(context, context.device()), SOVITS_LIMITS)


# Logarithms of float16 power (11 bits) correlate to better than 0.999; twelve layers of float16 stay within 0.05.
HALF_LIMITS = {"not_finite": 0, "uncorrelated": 0.01, "vocoder_error": 0.05, "vocoder_shape_error": 0}


@check(
    "cuda.sovits_half",
    "In float16 the speaker's filter bank stays finite and near float32's, and the vocoder near double precision's.",
    limit=HALF_LIMITS,
    unit="values; 1 - correlation; absolute error",
    gpu=True,
)
def half(context: Context) -> Outcome:
    return within(half_measured(context, context.device(), "float16"), HALF_LIMITS)


def half_measured(context: Context, device: str, dtype: str) -> Dict[str, Any]:
    """The filter bank and the vocoder in a half type."""
    torch = context.torch
    got, right = sovits.fbank(context, device, dtype).double(), sovits.fbank(context, "cpu", "float32").double()
    finite = int((~torch.isfinite(got)).sum())
    both = torch.stack([got.flatten(), right.flatten()])
    measured = {"not_finite": finite, "uncorrelated": 1 - float(torch.corrcoef(both)[0, 1])}
    found = vocoder_errors(context, device, dtype)
    return dict(measured, vocoder_error=found["error"], vocoder_shape_error=found["shape_error"])
