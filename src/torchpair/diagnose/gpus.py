"""Causes at the GPU: its driver, the code for it, and whether a container gets it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from packaging.version import Version

from torchpair import remedy
from torchpair.diagnose.evidence import CUDA, Entry, Found, Seen, entering

CAUSES: dict[str, Entry] = {}
_cause = entering(CAUSES)


@_cause(
    "old-driver", "The NVIDIA driver is too old for this torch",
    "A driver runs what was built for its own CUDA major from a lowest version on. This one serves an older CUDA "
    "than torch was built for.",
    "cuda.device; host driver",
)  # fmt: skip
def _old_driver(seen: Seen) -> Found | None:
    reason, cuda = seen.failed("cuda.device"), seen.torch_cuda
    if not reason or not cuda:
        return None
    serves = seen.measured("cuda.device").get("driver_cuda")
    floor, driver = remedy.driver_floor(cuda), seen.host.driver
    low = isinstance(serves, str) and CUDA.fullmatch(serves) and int(serves.split(".")[0]) < int(cuda.split(".")[0])
    under = bool(driver and floor and re.fullmatch(r"[\d.]+", driver) and Version(driver) < Version(floor))
    if not (low or under or "driver on your system is too old" in reason or "driver version is insufficient" in reason):
        return None
    evidence = [f"torch is for CUDA {cuda}" + (f", which needs driver {floor} or newer" if floor else "")]
    evidence += [f"the driver serves CUDA {serves}"] if serves else []
    evidence += [f"the host's driver is {driver}"] if driver else []
    sm = tuple(gpu.capability for gpu in seen.host.gpus if gpu.capability)
    # Without the host's own word the driver is at least the lowest of the CUDA major that it serves.
    known = driver or (remedy.driver_floor(serves) if isinstance(serves, str) else None)
    fits = [f"{remedy.install(s)}   # {remedy.words(s)}" for s in remedy.solved(seen.env, sm, known)] if known else []
    return [*evidence, f"cuda.device: {reason}"], [
        f"install driver {floor} or newer on the host (not in the image)",
        *fits,
    ]


@_cause(
    "no-kernels", "This build has no code for the GPU",
    "torch's wheels hold machine code for some GPUs only; this GPU is older or newer than all of them.",
    "cuda.device",
)  # fmt: skip
def _no_kernels(seen: Seen) -> Found | None:
    reason = seen.failed("cuda.device")
    gpus = seen.measured("cuda.device").get("gpu")
    bare = [
        gpu for gpu in (gpus if isinstance(gpus, list) else [])
        if isinstance(gpu, Mapping) and gpu.get("served_by") == [] and CUDA.fullmatch(str(gpu.get("capability")))
    ]  # fmt: skip
    if not reason or not (bare or "no kernel image" in reason):
        return None
    sm = tuple(dict.fromkeys(gpu["capability"] for gpu in bare))
    fits = (
        [f"{remedy.install(s)}   # {remedy.words(s)}" for s in remedy.solved(seen.env, sm, seen.host.driver)]
        if sm
        else []
    )
    ask = [f"torchpair solve {' '.join(f'--gpu {name}' for name in sm)}"] if sm else []
    compiled = ", ".join(seen.texts("sm"))
    return [f"cuda.device: {reason}", f"torch was compiled for {compiled}"], [*fits, *ask]


@_cause(
    "no-gpu-passed", "The container got no GPU",
    "The host has a GPU and the container sees none: the engine has no NVIDIA runtime, or the container was started"
    " without --gpus.",
    "cuda.device; host GPUs, container runtime",
)  # fmt: skip
def _no_gpu_passed(seen: Seen) -> Found | None:
    check, host = seen.check("cuda.device"), seen.host
    if seen.report.gpu == "off" or not check or check.status != "skip" or check.needs != "gpu":
        return None
    if not host.gpus and seen.report.gpu != "require":
        return None
    evidence = [f"cuda.device: {check.reason}", *(f"the host has {gpu.name}" for gpu in host.gpus)]
    evidence += [host.how] if host.how else []
    toolkit = [
        "install nvidia-container-toolkit on the host, then:",
        "nvidia-ctk runtime configure --runtime=docker && systemctl restart docker",
    ]
    return evidence, [*(toolkit if not host.passes_gpus else []), "docker run --gpus all ..."]
