"""The start of a container: look before leaping, then become GPT-SoVITS.

What would otherwise be a traceback minutes later, or a quiet service on the CPU, is one clear message at once.
Environment: SOVITS_DEVICE (cpu or gpu), SOVITS_VERSION, SOVITS_GPT_WEIGHTS, SOVITS_SOVITS_WEIGHTS, SOVITS_HALF (auto,
true, false), SOVITS_LANGUAGE.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from . import layout, weights

EXIT_CONFIG = 78  # EX_CONFIG of sysexits.h: starting once more changes nothing
PROBE = Path("/opt/torchpair/probe.pyz")
WRITTEN = Path("/tmp/tts_infer.yaml")
ROLES = ("api", "webui", "inference")
_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_* in cuda.h


class Refusal(Exception):
    """Why the container does not start, and what to do."""

    def __init__(self, what: str, why: str, remedy: str) -> None:
        super().__init__(what)
        self.lines = (f"gpt-sovits: {what}", f"  why: {why}", f"  try: {remedy}")


class Gpu(NamedTuple):
    """The first GPU that the driver offers to this container."""

    name: str
    capability: tuple[int, int]


def main(role: str, environment: Mapping[str, str] = os.environ) -> int:
    """Check, write the configuration, and exec. Returns only with a refusal's exit code."""
    try:
        argv = plan(role, environment)
        layout.ROLE.write_text(role, encoding="utf-8")
    except Refusal as refusal:
        print("\n".join(refusal.lines), file=sys.stderr, flush=True)
        return EXIT_CONFIG
    os.chdir(layout.CODE)
    os.execv(argv[0], argv)
    return EXIT_CONFIG  # not reached


def plan(role: str, environment: Mapping[str, str]) -> list[str]:
    """The command that the container becomes. Raises Refusal."""
    version = environment.get("SOVITS_VERSION") or weights.DEFAULT_VERSION
    if version not in weights.VERSIONS:
        raise Refusal(
            f"SOVITS_VERSION is {version!r}", "no such version of the model", f"one of {', '.join(weights.VERSIONS)}"
        )
    device = environment.get("SOVITS_DEVICE") or "cpu"
    if device not in ("cpu", "gpu"):
        raise Refusal(f"SOVITS_DEVICE is {device!r}", "it says where to compute", "cpu or gpu")
    gpu = need_gpu() if device == "gpu" else None
    try:
        layout.make_folders()
    except OSError as error:
        raise Refusal(
            f"the volume {layout.DATA} cannot be written",
            f"{error.filename}: {error.strerror}; this container runs as {os.getuid()}:{os.getgid()}",
            "give the folder to that user (chown), or set another one with SOVITS_USER in .env",
        ) from None
    own = {kind: environment.get(f"SOVITS_{kind}_WEIGHTS", "") for kind in ("GPT", "SOVITS")}
    for kind, path in own.items():
        if path and not (layout.CODE / path).is_file():
            raise Refusal(
                f"the model file {path} is not there", f"SOVITS_{kind}_WEIGHTS names it",
                f"put it into the folder {Path(path).parts[0]} of the data volume",
            )  # fmt: skip
    if role != "webui":
        need_models(layout.MODELS, version)
    check_pair(device)
    language = environment.get("SOVITS_LANGUAGE") or "en_US"
    if role == "webui":
        return [sys.executable, "webui.py", language]
    if role == "inference":
        return [sys.executable, "GPT_SoVITS/inference_webui_fast.py", language]
    half = environment.get("SOVITS_HALF") or "auto"
    write_config(WRITTEN, layout.CONFIG, version, gpu, half, own["GPT"], own["SOVITS"])
    return [
        sys.executable, "api_v2.py", "-a", "0.0.0.0", "-p", str(layout.API_PORT), "-c", str(WRITTEN),
    ]  # fmt: skip


def need_models(folder: Path, version: str) -> None:
    """Raises Refusal with every file that is missing or was cut off."""
    problems = weights.look(folder, weights.needed(version))
    if not problems:
        return
    listed = "".join(f"\n       {problem}" for problem in problems)
    raise Refusal(
        f"{len(problems)} model file{'s' if len(problems) > 1 else ''} of {version} cannot be used",
        f"in the folder mounted at {folder}:{listed}",
        f"torchpair models gpt-sovits fetch --version {version} --models DIR, the folder that is mounted there",
    )


def need_gpu() -> Gpu:
    """The GPU, asked of the driver itself. Raises Refusal: a service that was to run on it must not run on the CPU."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        raise _no_gpu("no NVIDIA driver in this container (libcuda.so.1)") from None
    count = ctypes.c_int(0)
    code = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
    if code:
        raise _no_gpu(f"the NVIDIA driver answers with error {code}")
    if not count.value:
        raise _no_gpu("the NVIDIA driver offers no GPU")
    device, name = ctypes.c_int(0), ctypes.create_string_buffer(128)
    major, minor = ctypes.c_int(0), ctypes.c_int(0)
    driver.cuDeviceGet(ctypes.byref(device), 0)
    driver.cuDeviceGetName(name, 128, device)
    driver.cuDeviceGetAttribute(ctypes.byref(major), _CAPABILITY_MAJOR, device)
    driver.cuDeviceGetAttribute(ctypes.byref(minor), _CAPABILITY_MINOR, device)
    return Gpu(name.value.decode("utf-8", "replace"), (major.value, minor.value))


def _no_gpu(why: str) -> Refusal:
    return Refusal(
        "a GPU was asked for and there is none", why,
        "nvidia-smi on the host; the NVIDIA Container Toolkit; or deploy with --cpu",
    )  # fmt: skip


def check_pair(device: str) -> None:
    """The quick part of torchpair's check, where the image carries it. Raises Refusal."""
    if not PROBE.is_file():
        return
    argv = [sys.executable, str(PROBE), "--quick", "--gpu", "require" if device == "gpu" else "off"]
    done = subprocess.run(argv, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode == 0:
        return
    try:
        checks = json.loads(done.stdout)["checks"]
        words = [f"{c['id']}: {c['reason']}" for c in checks if c["status"] != "pass" and c.get("needs") != "gpu"]
    except (ValueError, KeyError, TypeError):
        words = done.stderr.strip().splitlines()[-3:]
    raise Refusal(
        "torch and torchaudio do not pass their check in this container", "; ".join(words) or "no reason was given",
        "torchpair doctor IMAGE",
    )  # fmt: skip


def half_precision(gpu: Gpu | None, wish: str) -> bool:
    """Whether to compute in 16 bits: upstream's own rule (config.py): not on Pascal, not on the 16 series."""
    if gpu is None:
        return False
    if wish in ("true", "false"):
        return wish == "true"
    return gpu.capability >= (7, 0) and not (gpu.capability == (7, 5) and re.search(r"16\d{2}", gpu.name))


def write_config(
    target: Path, mounted: Path, version: str, gpu: Gpu | None, half: str, gpt: str = "", sovits: str = ""
) -> None:
    """Write tts_infer.yaml anew: GPT-SoVITS stores what it falls back to in it, for ever on a mounted file."""
    if mounted.is_file():
        target.write_bytes(mounted.read_bytes())
        return
    base = "GPT_SoVITS/pretrained_models"
    own = {"t2s_weights_path": gpt or _first(version, ".ckpt"), "vits_weights_path": sovits or _first(version, ".pth")}
    lines = [
        "custom:",
        f"  device: {'cuda' if gpu else 'cpu'}",
        f"  is_half: {'true' if half_precision(gpu, half) else 'false'}",
        f"  version: {version}",
        *(f"  {key}: {json.dumps(value)}" for key, value in own.items()),
        f"  bert_base_path: {base}/chinese-roberta-wwm-ext-large",
        f"  cnhuhbert_base_path: {base}/chinese-hubert-base",
    ]
    target.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _first(version: str, suffix: str) -> str:
    """The s1 (.ckpt) or s2 (.pth) file that only this version, or its family, needs."""
    for weight in weights.needed(version):
        name = Path(weight.path).name
        if weight.versions and name.endswith(suffix) and name.startswith(("s1", "s2")):
            return f"GPT_SoVITS/{weight.path}"
    raise LookupError(version)
