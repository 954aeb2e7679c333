"""What this machine knows of itself: NVIDIA driver, GPUs, whether its engine hands GPUs to containers."""

from __future__ import annotations

import re

from torchpair.command import found, run
from torchpair.diagnose.evidence import Gpu, Host
from torchpair.engine import Engine
from torchpair.errors import CommandError, TorchpairError

SECONDS = 20.0


def look(engine: Engine | None = None) -> Host:
    """Ask nvidia-smi where there is one, and the engine where there is one."""
    from torchpair import check

    driver: str | None = None
    gpus: tuple[Gpu, ...] = ()
    how = ""
    if found("nvidia-smi"):
        fields = "--query-gpu=name,compute_cap,driver_version"
        try:
            driver, gpus = parse(run(["nvidia-smi", fields, "--format=csv,noheader"], timeout=SECONDS))
        except CommandError as error:
            # A driver that is broken is a fact too.
            how = f"nvidia-smi: {error.what}"
    passes = None
    if engine:
        try:
            devices, told = check.gpu_request(engine)
            passes, how = bool(devices), "; ".join(filter(None, (how, told)))
        except TorchpairError as error:
            how = error.what
    return Host(driver, gpus, passes, how)


def parse(text: str) -> tuple[str | None, tuple[Gpu, ...]]:
    """Driver and GPUs from `nvidia-smi --query-gpu=name,compute_cap,driver_version --format=csv,noheader`."""
    driver, gpus = None, []
    for line in text.splitlines()[:64]:
        parts = [part.strip() for part in line.split(",")]
        if len(parts) != 3 or not re.fullmatch(r"\d+(\.\d+)+", parts[2]):
            continue
        driver = parts[2]
        gpus.append(Gpu(parts[0], parts[1] if re.fullmatch(r"\d+\.\d", parts[1]) else None))
    return driver, tuple(gpus)
