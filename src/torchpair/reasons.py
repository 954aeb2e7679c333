"""Candidate + Spec -> Decisions: each answer, and the rule or fact that gave it. Pure; resolve.py gave the answers."""

from __future__ import annotations

from torchpair import recipe as recipes
from torchpair.compat import RULES
from torchpair.compat.candidate import Candidate, from_source
from torchpair.compat.gpus import compiled_sm
from torchpair.compat.wheels import CODEC_SINCE, numpy_pin
from torchpair.facts import cuda_family
from torchpair.spec import Decision, Spec


def decisions(c: Candidate, spec: Spec) -> tuple[Decision, ...]:
    """Every answer of a spec, and why it is that one."""
    assert c.distro is not None
    row, kind = c.row, spec.base
    toolkit = f", the newest toolkit of CUDA {row.cuda} that is published" if kind == "nvidia" and c.toolkit else ""
    ref, numpy, base_rule = spec.torchaudio_ref, numpy_pin(c), "image-exists" if kind == "nvidia" else None
    sm, min_driver, python_from = compiled_sm(c), spec.min_driver, spec.python_from
    cuda = "a CPU build needs no driver" if min_driver is None else f"the lowest of CUDA {row.cuda.split('.')[0]}"
    return (
        Decision("torch", row.torch.version or "as the base has it", _TORCH_RULE[row.torch.origin], _why_torch(c)),
        Decision(
            "torchaudio",
            f"{c.torchaudio.version if c.torchaudio else ref}" + (f", compiled from {ref}" if ref else ""),
            _torchaudio_rule(c),
            why_torchaudio(c),
        ),
        Decision("torchcodec", c.torchcodec.version if c.torchcodec else "none", "torchcodec-pair", why_torchcodec(c)),
        *_toolkit_decision(c, spec),
        Decision("numpy", numpy or "any", "numpy", f"built against numpy {'1' if numpy else '2: either major works'}"),
        Decision("base", spec.image, base_rule, f"{kind}: {c.distro.name}{toolkit}"),
        Decision(
            "python",
            f"{row.python} from {python_from}",
            "wheel-python",
            f"{c.distro.name} has Python {c.distro.python} of its own"
            + (": CPython as uv manages it" if python_from == "uv" else ""),
        ),
        Decision(
            "sm",
            "not verified" if sm is None else ", ".join(sm) or "none",
            _SM_RULE[row.torch.origin],
            "as the row asks" if from_source(row) else "architectures compiled into torch's wheel",
        ),
        Decision("min_driver", min_driver or "none", "driver-floor", cuda),
    )  # fmt: skip


def _toolkit_decision(c: Candidate, spec: Spec) -> tuple[Decision, ...]:
    if c.row.torchaudio.origin != "source" and c.row.torch.origin != "source":
        return ()
    words = {
        None: "compiled for the CPU alone",
        "devel": f"nvcc of {spec.toolkit_image}",
        "base": "nvcc that the base has",
        "debian": f"nvcc {c.row.cuda} as {c.distro.name if c.distro else ''} packages it (non-free)",
        "wheels": f"nvcc out of NVIDIA's wheels: cuda-toolkit[nvcc,cccl] {c.row.cuda}",
    }
    kind, _ = recipes.toolkit_of(c.row, c.base, c.distro, c.toolkit)
    return (Decision("toolkit", kind or "none", "toolkit", words[kind]),)


_TORCH_RULE = {"wheel": "wheel-cuda", "source": "source-torch", "base": "base-image"}
_SM_RULE = {"wheel": "sm-covered", "source": "source-torch", "base": None}


def _why_torch(c: Candidate) -> str:
    if c.row.torch.origin != "wheel" or c.torch is None:
        return f"from {c.row.torch.origin}, as the row says"
    if c.index == "pypi":
        return f"from PyPI, whose one CUDA of torch {c.torch.version} is {cuda_family(c.tag)}"
    there = cuda_family(c.torch.pypi[c.row.arch])
    return f"from PyTorch's own index: PyPI's one CUDA of torch {c.torch.version} is {there}"


def _torchaudio_rule(c: Candidate) -> str:
    if c.row.torchaudio.origin == "source":
        return "source-tag"
    return "lockstep" if c.torchaudio and c.torchaudio.torch else "stable-abi"


def why_torchaudio(c: Candidate) -> str:
    """Why it is this torchaudio."""
    if c.row.torchaudio.origin == "source":
        return f"compiled against this torch, with its CUDA {c.row.cuda}"
    if c.row.torchaudio.version:
        return "the row says so"
    if c.torchaudio and c.torchaudio.torch:
        return RULES["lockstep"].sentence
    return f"{RULES['stable-abi'].sentence} Its CUDA must be torch's, and is."


def why_torchcodec(c: Candidate) -> str:
    """Why it is this torchcodec, or none."""
    if c.row.torchcodec.version:
        return "the row says so"
    if c.torchcodec and c.torch:
        return f"the newest that fits torch {c.torch.version} ({c.torch.torchcodec}) on CUDA {c.row.cuda}"
    return f"torchaudio before {CODEC_SINCE} reads files by itself"
