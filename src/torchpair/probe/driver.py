"""What the NVIDIA driver says, asked without torch: torch cannot tell "no GPU" from "a GPU I cannot use"."""

from __future__ import annotations

import ctypes
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from .versions import cuda_of_number

NO_DEVICE = 100  # CUDA_ERROR_NO_DEVICE in cuda.h


@dataclass(frozen=True)
class Driver:
    """devices: how many the driver offers to this process. cuda: the newest CUDA it serves. error: why it has none.

    broken: device nodes are there but the driver library failed or is missing.
    """

    devices: int
    cuda: Optional[str]
    version: Optional[str]
    error: str
    broken: bool


def _kernel_version() -> Optional[str]:
    try:
        text = Path("/proc/driver/nvidia/version").read_text(errors="replace")
    except OSError:
        return None
    found = re.search(r"\b(\d{3,}\.\d+(?:\.\d+)?)\b", text)
    return found.group(1) if found else None


def ask() -> Driver:
    """Ask libcuda.so.1, the driver's own library, which the container runtime mounts from the host."""
    version = _kernel_version()
    # nvidiactl: Linux; dxg: WSL 2.
    nodes = any(Path(node).exists() for node in ("/dev/nvidiactl", "/dev/dxg"))
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        return Driver(0, None, version, "no driver library: {}".format(error), nodes)
    number = ctypes.c_int(0)
    newest = cuda_of_number(number.value) if cuda.cuDriverGetVersion(ctypes.byref(number)) == 0 else None
    code = cuda.cuInit(0)
    if code == 0:
        code = cuda.cuDeviceGetCount(ctypes.byref(number))
    if code != 0:
        return Driver(0, newest, version, "the driver answers with error {}".format(code), nodes and code != NO_DEVICE)
    return Driver(number.value, newest, version, "" if number.value else "the driver offers no device", False)
