"""Causes in the pair: a torch and a torchaudio that were not made for each other."""

from __future__ import annotations

import re

from torchpair import remedy
from torchpair.diagnose.evidence import MISSING_MODULE, Entry, Found, Seen, entering

CAUSES: dict[str, Entry] = {}
_cause = entering(CAUSES)

_MISSING_LIBRARY = re.compile(r"(lib[\w.+-]+\.so[\w.]*): cannot open shared object file")


@_cause(
    "wrong-torchaudio", "This torchaudio is for another torch",
    "Through 2.10 a torchaudio fits exactly the one torch that it was compiled with; from 2.11 on it needs torch "
    "2.11 or later. Another torch has other symbols in its libraries.",
    "versions; pair.import, pair.loads, pair.extension, pair.cxx_abi",
)  # fmt: skip
def _wrong_torchaudio(seen: Seen) -> Found | None:
    # The checks that a torchaudio of another torch fails; wrong numbers alone are no evidence.
    failing = [
        n for n in ("pair.import", "pair.loads", "pair.extension", "pair.cxx_abi", "pair.versions") if seen.failed(n)
    ]
    torch, audio = seen.version("torch"), seen.version("torchaudio")
    failing += ["probe.finished"] if "pair.import" in (seen.failed("probe.finished") or "") else []
    if not failing or not torch or not audio or MISSING_MODULE.search(seen.import_error):
        return None
    wanted, why = remedy.pinned(str(audio)), ""
    if audio.release >= (2, 11):
        if torch.release < (2, 11):
            why = f"torchaudio {audio.public} needs torch 2.11 or later; torch is {torch.public}"
    elif wanted and wanted != torch.public:
        why = f"torchaudio {audio.public} was made for torch {wanted}; torch is {torch.public}"
    elif not wanted and audio.release[:2] != torch.release[:2]:
        why = f"torchaudio {audio.public} is not of torch's own series {torch.release[0]}.{torch.release[1]}"
    elif (
        torch.is_devrelease
        or torch.is_prerelease
        or "undefined symbol" in seen.import_error + (seen.failed("pair.loads") or "")
    ):
        said = f"{seen.import_error} {seen.failed('pair.loads') or ''}"
        # The same number, compiled against another torch: a vendor's, a nightly, another C++ ABI.
        if re.search(r"torchaudio[^ ]*\.so: undefined symbol", said):
            why = "a symbol that torchaudio was compiled with is not in this torch, although the versions agree"
    if not why:
        return None
    evidence = [why, *(f"{name}: {seen.failed(name)}" for name in failing)]
    return evidence, seen.instead() or [f"torchpair explain --torch {torch.public}   # which torchaudio goes with it"]


@_cause(
    "cpu-torch", "A torch for the CPU beside a torchaudio for CUDA",
    "torch was installed as a CPU build, torchaudio as a CUDA build: often torch came from an index of its own and "
    "torchaudio, unpinned, from PyPI.",
    "pair.cuda; pair.import",
)  # fmt: skip
def _cpu_torch(seen: Seen) -> Found | None:
    torch, audio, how = seen.cudas()
    label = (seen.text("torch") or "").partition("+")[2]
    if torch or not (label == "cpu" or seen.measured("pair.cuda")):
        return None
    lost = _MISSING_LIBRARY.search(seen.import_error)
    lost_cuda = lost and re.match(r"lib(torch_cuda|c10_cuda|cudart|cublas|cudnn|nvrtc)", lost[1])
    if not (seen.failed("pair.cuda") or lost_cuda) or not (audio or lost_cuda):
        return None
    evidence = [f"torch {seen.text('torch')} is a CPU build; torchaudio is for CUDA {audio or 'too'} ({how})"]
    cuda = [f"{remedy.install(s)}   # with CUDA" for s in remedy.nearest(seen.env, audio, most=1)]
    cpu = [f"{remedy.install(s)}   # for the CPU" for s in remedy.nearest(seen.env, None, most=1)]
    return evidence, [*cuda, *cpu]


@_cause(
    "cpu-torchaudio", "A torchaudio for the CPU beside a torch for CUDA",
    "torchaudio was installed as a CPU build: its own kernels do not run on the GPU.", "pair.cuda",
)  # fmt: skip
def _cpu_torchaudio(seen: Seen) -> Found | None:
    measured = seen.measured("pair.cuda")
    if not seen.failed("pair.cuda") or not measured.get("torch") or measured.get("torchaudio"):
        return None
    return [f"pair.cuda: {seen.failed('pair.cuda')}"], seen.instead()


def _cuda_mismatch(seen: Seen, major: bool) -> Found | None:
    torch, audio, how = seen.cudas()
    lost = _MISSING_LIBRARY.search(seen.import_error)
    runtime = re.match(r"lib(?:cudart|nvrtc|cublas|cufft)\.so\.(\d+)", lost[1]) if lost else None
    if torch and runtime and "torchaudio" in seen.import_error and runtime[1] != torch.split(".")[0]:
        audio, how = f"{runtime[1]}.x", f"it asks for {lost[1] if lost else ''}"
    elif not (seen.failed("pair.cuda") or "CUDA version" in seen.import_error):
        return None
    if not torch or not audio or torch == audio or _wrong_torchaudio(seen):
        return None
    if (torch.split(".")[0] != audio.split(".")[0]) != major:
        return None
    evidence = [f"{seen.pair()}: torch is for CUDA {torch}, torchaudio for CUDA {audio} ({how})"]
    kept = remedy.public(seen.text("torch"))
    source = f"torchpair explain --torch {kept} --from-source   # keep this torch: compile torchaudio"
    return evidence, [*seen.instead("pair", torch), source]


@_cause(
    "cuda-major", "torch and torchaudio are for different CUDA majors",
    "They were compiled with different major versions of CUDA; their libraries cannot be shared.",
    "pair.cuda; pair.import",
)  # fmt: skip
def _cuda_major(seen: Seen) -> Found | None:
    return _cuda_mismatch(seen, major=True)


@_cause(
    "cuda-minor", "torch and torchaudio are for different CUDA versions",
    "torchaudio up to 2.11.0 refuses to be imported unless its CUDA is torch's, major and minor. A plain `pip "
    "install torch torchaudio` can bring such a pair, because each release on PyPI is built with one CUDA only.",
    "pair.cuda; pair.import",
)  # fmt: skip
def _cuda_minor(seen: Seen) -> Found | None:
    return _cuda_mismatch(seen, major=False)
