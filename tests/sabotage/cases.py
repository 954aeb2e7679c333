"""Environments that are broken on purpose, each with the cause that the doctor must name, and good ones.

A case is a script that runs as root in a container of a default image; what it changed becomes a thin layer. Wheels
come from PyPI. `simulated` says what is only pretended, where the real thing takes gigabytes, a GPU or another driver.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torchpair.diagnose.evidence import Gpu, Host

HERE = Path(__file__).parent
EIGHT, FOURTEEN = "torchpair:2.8.0-cu128-py311-debian12", "torchpair:2.14.1-cu130-py313-debian13"
SITES = {EIGHT: "/opt/venv/lib/python3.11/site-packages", FOURTEEN: "/opt/venv/lib/python3.13/site-packages"}
PYTHONS = {EIGHT: "3.11", FOURTEEN: "3.13"}
RTX = Host(driver="580.65.06", gpus=(Gpu("NVIDIA GeForce RTX 5090", "12.0"),), passes_gpus=False)


@dataclass(frozen=True)
class Case:
    """cause: the id of diagnose.CAUSES that must come first; None: a good environment, which must have none.

    script: sh, run as root in a container of `image`; $S is its site-packages. env, workdir, user: the image's own.
    wheels: from PyPI, laid into /tmp/wheels. memory, cpus: the cage's.
    """

    name: str
    image: str
    cause: str | None
    script: str = ":"
    env: Mapping[str, str] = field(default_factory=dict)
    workdir: str | None = None
    user: str | None = None
    wheels: tuple[str, ...] = ()
    host: Host | None = None
    memory: str = "8g"
    cpus: str | None = None
    simulated: str = ""


def replace_with(name: str, target: str = "$S") -> str:
    """sh: the installed distribution goes, the wheel in /tmp/wheels comes; a wheel is a zip file."""
    return (
        f"rm -rf {target}/{name} {target}/{name}-*.dist-info; python3 -m zipfile -e /tmp/wheels/{name}-*.whl {target}"
    )


def version(name: str, text: str, cuda: str | None) -> str:
    """sh: torch says that it is another build of itself, in its version module and in its metadata."""
    return f"python3 /tmp/pretend.py $S {name} '{text}' '{cuda or ''}'"


NO_FFMPEG = "rm -f /usr/lib/*-linux-gnu/libav*.so* /usr/lib/*-linux-gnu/libsw*.so*"

BROKEN = [
    Case(
        "torchaudio 2.7.1 beside torch 2.8.0", EIGHT, "wrong-torchaudio",
        replace_with("torchaudio"), wheels=("torchaudio==2.7.1",),
    ),
    Case(
        "torchaudio 2.11.0 beside torch 2.8.0", EIGHT, "wrong-torchaudio",
        replace_with("torchaudio"), wheels=("torchaudio==2.11.0",),
    ),
    Case(
        "torchaudio 2.9.1 beside torch 2.14.1", FOURTEEN, "wrong-torchaudio",
        replace_with("torchaudio"), wheels=("torchaudio==2.9.1",),
    ),
    Case(
        "torch 2.15.0 (CUDA 13.2) beside torchaudio 2.11.0 (CUDA 13.0)", FOURTEEN, "cuda-minor",
        version("torch", "2.15.0+cu132", "13.2"), simulated="torch's version",
    ),
    Case(
        "torch 2.8.0+cu126 beside torchaudio 2.8.0+cu128", EIGHT, "cuda-minor",
        version("torch", "2.8.0+cu126", "12.6"), simulated="torch's version",
    ),
    Case(
        "torch 2.11.0+cu128 beside torchaudio 2.11.0+cu130", FOURTEEN, "cuda-major",
        version("torch", "2.11.0+cu128", "12.8"), simulated="torch's version",
    ),
    Case(
        "CPU torch beside a CUDA torchaudio", FOURTEEN, "cpu-torch",
        version("torch", "2.14.1+cpu", None), simulated="torch's version",
    ),
    Case("torchcodec not installed", FOURTEEN, "no-torchcodec", "rm -rf $S/torchcodec $S/torchcodec-*"),
    Case(
        "torchcodec 0.9.1 (for torch 2.9) beside torch 2.14.1", FOURTEEN, "wrong-torchcodec",
        replace_with("torchcodec"), wheels=("torchcodec==0.9.1",),
    ),
    Case("no FFmpeg libraries", FOURTEEN, "no-ffmpeg", NO_FFMPEG),
    Case(
        "neither FFmpeg nor soundfile", EIGHT, "no-backend",
        NO_FFMPEG + "; rm -rf $S/soundfile* $S/_soundfile*",
    ),
    Case(
        "NumPy 2 beside torch 2.2.2", EIGHT, "numpy-2",
        version("torch", "2.2.2+cu128", "12.8") + "; " + version("torchaudio", "2.2.2+cu128", None)
        + "; python3 /tmp/pretend.py $S no-numpy",
        simulated="the versions, and torch's refusal",
    ),
    Case(
        "a driver for CUDA 12.0 under torch for CUDA 13.0", FOURTEEN, "old-driver",
        "cp /tmp/libcuda.so.1 /usr/lib/x86_64-linux-gnu/", simulated="the driver's library",
    ),
    Case(
        "a GPU of compute capability 6.1 under torch from 7.5 on", FOURTEEN, "no-kernels",
        "python3 /tmp/pretend.py $S gpu 6 1", simulated="the GPU, in torch.cuda",
    ),
    # torch's wheels find CUDA's libraries by RPATH, which LD_LIBRARY_PATH does not touch; the compiler's they do not.
    Case(
        "LD_LIBRARY_PATH with another libstdc++", EIGHT, "library-path",
        "mkdir -p /opt/conda/lib; cp /tmp/libstdc++.so.6 /opt/conda/lib/",
        env={"LD_LIBRARY_PATH": "/opt/conda/lib"},
    ),
    Case(
        "LD_PRELOAD with another libcudart", EIGHT, "library-path",
        "mkdir -p /usr/local/cuda/lib64; cp -L $(find /opt/venv/cuda/ -name libcudart.so.12 | head -1) "
        "/usr/local/cuda/lib64/",
        env={"LD_PRELOAD": "/usr/local/cuda/lib64/libcudart.so.12"},
    ),
    Case(
        "torchaudio's library cut in half", EIGHT, "truncated",
        "cp $S/torchaudio/lib/libtorchaudio.so /tmp/l; rm $S/torchaudio/lib/libtorchaudio.so; "
        "head -c 1000000 /tmp/l > $S/torchaudio/lib/libtorchaudio.so; rm /tmp/l",
    ),
    Case("a Python file of torchaudio missing", FOURTEEN, "truncated", "rm $S/torchaudio/functional/filtering.py"),
    Case(
        "a CUDA library that is empty", FOURTEEN, "truncated",
        "f=$(find /opt/venv/cuda/ -name 'libcublasLt.so.13' | head -1); rm $f; : > $f",
    ),
    Case(
        "torchaudio twice", EIGHT, "copies", "mkdir /opt/more; " + replace_with("torchaudio", "/opt/more"),
        env={"PYTHONPATH": "/opt/more"}, wheels=("torchaudio==2.7.1",),
    ),
    Case(
        "a folder torchaudio on PYTHONPATH", EIGHT, "shadowed",
        "mkdir -p /src/torchaudio; echo 'x = 1' > /src/torchaudio/__init__.py", env={"PYTHONPATH": "/src"},
    ),
    Case(
        "a folder torchaudio in the working folder", FOURTEEN, "shadowed",
        "mkdir -p /src/torchaudio; echo 'x = 1' > /src/torchaudio/__init__.py", workdir="/src",
    ),
    Case(
        "an environment of Python 3.12 under 3.13", FOURTEEN, "wrong-python",
        "for f in $(find $S/torch/ -maxdepth 1 -name '_C.*.so'); do "
        "mv $f $(echo $f | sed s/cpython-313/cpython-312/); done",
        simulated="the name of torch's extension",
    ),
    Case(
        "python on the PATH is not the environment's", EIGHT, "wrong-python",
        env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
    ),
    Case("torchaudio not installed", EIGHT, "not-installed", "rm -rf $S/torchaudio $S/torchaudio-* $S/torio"),
    Case(
        "no GPU passed to the container", EIGHT, "no-gpu-passed", host=RTX, simulated="the host's GPU",
    ),
]  # fmt: skip

GOOD = [
    Case(f"{image.split(':')[1]}: {what}", image, None, env=env, user=user, memory=memory, cpus=cpus)
    for image in (EIGHT, FOURTEEN)
    for what, env, user, memory, cpus in (
        ("as it is, root read-only", {}, None, "8g", None),
        ("locale C without UTF-8, TZ far away", {"LC_ALL": "C", "LANG": "C", "TZ": "Pacific/Apia"}, None, "8g", None),
        ("locale tr_TR", {"LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8"}, None, "8g", None),
        ("uid 4242 without a name", {}, "4242:4242", "8g", None),
        ("root", {}, "0:0", "8g", None),
        ("1 CPU", {}, None, "8g", "0"),
        ("2 GB of memory", {}, None, "2g", None),
    )
]  # fmt: skip

SMOKE = (
    "torchaudio 2.7.1 beside torch 2.8.0",
    "torch 2.15.0 (CUDA 13.2) beside torchaudio 2.11.0 (CUDA 13.0)",
    "torchcodec not installed",
    "torchaudio's library cut in half",
    "python on the PATH is not the environment's",
)
