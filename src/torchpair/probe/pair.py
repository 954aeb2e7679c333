"""Do torch and torchaudio belong together, and is the image what it says it is?"""

from __future__ import annotations

import importlib
import platform
import re
from typing import Any, Dict, List, Mapping, Optional, Tuple

from . import arch, versions
from .context import Context
from .registry import Outcome, Skip, check

NONE = "no differences"


@check(
    "pair.import",
    "torch and torchaudio import in one process; most mismatched pairs already end here.",
    limit="both import",
    imports=False,
)
def imports(context: Context) -> Outcome:
    modules = context.modules()
    measured: Dict[str, Any] = {}
    for name in ("torch", "torchaudio"):
        module = modules.get(name)
        measured[name] = getattr(module, "__version__", None)
        measured[name + "_installed"] = context.distributions().get(name)
    measured["seconds"] = context.import_seconds
    return Outcome(not context.import_error, measured, context.import_error or "")


def running_versions(context: Context) -> Dict[str, Optional[str]]:
    """What runs here, by the keys of the expectation; None is absent (for cuda: a CPU build)."""
    # torchcodec is not imported for its version: that needs FFmpeg, which is another check's business.
    return {
        "torch": str(context.torch.__version__),
        "torchaudio": str(context.torchaudio.__version__),
        "torchcodec": context.distributions().get("torchcodec"),
        "cuda": context.torch_cuda(),
        "python": platform.python_version(),
    }


def differences(
    expected: Mapping[str, Optional[str]], running: Mapping[str, Optional[str]], cuda: Optional[str]
) -> Dict[str, Any]:
    """The keys whose running value is not the expected one. cuda: what an unasked local label must stand for."""
    found: Dict[str, Any] = {}
    for key, want in expected.items():
        have = running.get(key)
        if key == "cuda":
            same = versions.same_cuda(want, have)
        elif key == "python":
            same = want is not None and have is not None and versions.same_python(want, have)
        else:
            same = versions.same_version(want, have, cuda)
        if not same:
            found[key] = {"expected": want, "running": have}
    return found


def _no_differences(found: Mapping[str, Any], compared: int) -> Outcome:
    told = ", ".join("{} is {running}, expected {expected}".format(key, **found[key]) for key in list(found)[:10])
    return Outcome(not found, {"compared": compared, "differences": found}, told)


def _build_cuda(context: Context) -> Optional[str]:
    """The CUDA that local labels must name: the expected one, or what torch says where none is expected."""
    expected = context.expect.versions or {}
    return expected["cuda"] if "cuda" in expected else context.torch_cuda()


@check("pair.versions", "torch, torchaudio, torchcodec, CUDA and Python are the versions asked for.", limit=NONE)
def expected_versions(context: Context) -> Outcome:
    expected = context.expect.versions
    if not expected:
        raise Skip("expectation", "no expected versions were given")
    return _no_differences(differences(expected, running_versions(context), _build_cuda(context)), len(expected))


def label_differences(
    labels: Mapping[str, Optional[str]], running: Mapping[str, Optional[str]], sm: List[str], cuda: Optional[str]
) -> Dict[str, Any]:
    """Labels that the running image contradicts, or that nothing in it can confirm.

    An empty label, "none" and (for cuda) "cpu" stand for absent. sm lists all compiled architectures, in any order.
    """
    absent = {"", "none"}
    claimed = {
        key: None if value is None or value.lower() in absent or (key == "cuda" and value.lower() == "cpu") else value
        for key, value in labels.items()
    }
    listed = claimed.pop("sm", None)
    found = differences(claimed, running, cuda)
    if "sm" in labels and sorted(re.split(r"[\s,;]+", listed or "")) != sorted(sm or [""]):
        found["sm"] = {"expected": labels["sm"], "running": " ".join(sm)}
    return found


@check("pair.labels", "What the image's labels say is what runs in it.", limit=NONE)
def labels(context: Context) -> Outcome:
    expected = context.expect.labels
    if not expected:
        raise Skip("expectation", "no labels were given")
    installed: Dict[str, Optional[str]] = dict(context.distributions())
    running = {key: installed.get(versions.normal_name(key)) for key in expected}
    running.update(running_versions(context))
    sm = [str(target) for target in context.compiled()]
    return _no_differences(label_differences(expected, running, sm, _build_cuda(context)), len(expected))


@check("pair.lock", "Every locked distribution is installed in its locked version.", limit=NONE, imports=False)
def lock(context: Context) -> Outcome:
    expected = context.expect.lock
    if not expected:
        raise Skip("expectation", "no lock was given")
    # Not through differences(): in a lock "cuda" and "python" would be distributions like any other.
    wanted = {versions.normal_name(name): version for name, version in expected.items()}
    cuda = (context.expect.versions or {}).get("cuda")
    installed = context.distributions()
    found = {
        name: {"expected": version, "running": installed.get(name)}
        for name, version in sorted(wanted.items())
        if not versions.same_version(version, installed.get(name), cuda)
    }
    return _no_differences(found, len(wanted))


@check(
    "pair.cuda",
    "torchaudio was compiled for the CUDA that torch was compiled for; both their local labels say so too.",
    limit="torch, torchaudio and their labels name the same CUDA major.minor, or all the CPU",
)
def same_cuda(context: Context) -> Outcome:
    measured: Dict[str, Optional[str]] = {"torch": context.torch_cuda(), "torchaudio": context.audio_cuda()}
    said = {}
    for name, module in (("torch", context.torch), ("torchaudio", context.torchaudio)):
        measured[name + "_label"] = label = versions.split_local(str(module.__version__))[1] or None
        # Other labels ("git81ea7a4", a vendor's) say nothing about CUDA.
        if label and re.match(r"(cu\d+|cpu)$", label):
            said[name + "'s label"] = label
    said["torch"], said["torchaudio"] = (versions.cuda_label(measured[name]) for name in ("torch", "torchaudio"))
    same = len(set(said.values())) == 1
    return Outcome(same, measured, "" if same else ", ".join("{}: {}".format(*item) for item in sorted(said.items())))


# Per release, one operator of each compiled family. lfilter and rnnt_loss were renamed with the stable ABI.
def expected_operators(audio_release: Tuple[int, int]) -> List[str]:
    """Operators that a complete torchaudio extension of this release registers."""
    new = audio_release >= (2, 9)
    names = ["_lfilter_core_loop", "rnnt_loss_forward" if new else "rnnt_loss"]
    return [*names, "forced_align"] if audio_release >= (2, 1) else names


@check(
    "pair.extension",
    "torchaudio's compiled extension is loaded and has registered its operators, for CUDA too in a CUDA build.",
    limit="the extension is there, no operator is missing",
)
def extension(context: Context) -> Outcome:
    flag = context.torchaudio._extension._IS_TORCHAUDIO_EXT_AVAILABLE
    has = context.torch._C._dispatch_has_kernel_for_dispatch_key
    keys = ["CPU"] + (["CUDA"] if context.torch_cuda() else [])
    missing = []
    for name in expected_operators(context.audio_release):
        full = "torchaudio::" + name
        for key in keys:
            try:
                # A composite kernel serves every device; through 2.8 lfilter is one.
                good = has(full, key) or has(full, "CompositeImplicitAutograd")
            except RuntimeError:  # not registered at all
                good = False
            if not good:
                missing.append("{} ({})".format(full, key))
    reason = "" if flag is True else "torchaudio runs without its compiled extension; "
    reason += "missing: " + ", ".join(missing) if missing else ""
    return Outcome(flag is True and not missing, {"extension": flag, "missing": missing}, reason)


@check(
    "pair.architectures",
    "The GPU architectures that torch was compiled for serve every architecture asked for.",
    limit="some in a CUDA build, none in a CPU build; every expected architecture is served",
)
def architectures(context: Context) -> Outcome:
    compiled = context.compiled()
    missing = arch.not_served(compiled, context.expect.sm or [])
    measured = {"compiled": [str(target) for target in compiled], "not_served": missing}
    if bool(compiled) != bool(context.torch_cuda()):
        return Outcome(False, measured, "a CUDA build without architectures, or the reverse")
    return Outcome(not missing, measured, "nothing compiled serves " + ", ".join(missing) if missing else "")


@check(
    "pair.audio_architectures",
    "torchaudio's own GPU kernels serve every architecture asked for, else every one that torch was compiled for.",
    limit="some in a CUDA build; every architecture is served",
)
def audio_architectures(context: Context) -> Outcome:
    compiled = context.audio_compiled()
    if compiled is None:
        raise Skip("known-format", "torchaudio's library has GPU code in a form that the probe cannot read")
    # torchaudio has no use for a device's special instructions: "9.0a" and "12.0+PTX" ask for 9.0 and 12.0.
    wanted = context.expect.sm or [str(target) for target in context.compiled() if target.sass]
    missing = arch.not_served(compiled, ["{}.{}".format(*arch.parse_capability(text)[:2]) for text in wanted])
    measured = {"compiled": [str(target) for target in compiled], "not_served": missing}
    if context.torch_cuda() and not compiled:
        return Outcome(False, measured, "torchaudio's library has no GPU code")
    return Outcome(not missing, measured, "nothing in torchaudio serves " + ", ".join(missing) if missing else "")


@check(
    "pair.compiled",
    "torchaudio is the one that was compiled for this image, not an official wheel.",
    limit="the whole version, label included, and exactly the architectures it was compiled for",
)
def compiled_here(context: Context) -> Outcome:
    expected = context.expect.compiled
    if not expected:
        raise Skip("expectation", "torchaudio was not compiled for this image")
    running, installed = str(context.torchaudio.__version__), context.distributions().get("torchaudio")
    targets = context.audio_compiled()
    if targets is None:
        raise Skip("known-format", "torchaudio's library has GPU code in a form that the probe cannot read")
    wanted = expected["sm"]
    if wanted is None:
        wanted = [str(target) for target in context.compiled() if target.sass]
    # The library's header names plain numbers: 9.0a reads as 9.0, and PTX is told apart by the compiler alone.
    numbers = sorted({arch.parse_capability(text)[:2] for text in wanted})
    found = sorted((target.major, target.minor) for target in targets)
    listed = [str(target) for target in targets]
    measured = {"running": running, "installed": installed, "compiled": listed}
    wrong = []
    if not running == installed == expected["torchaudio"]:
        wrong.append("torchaudio is {}, compiled was {}".format(running, expected["torchaudio"]))
    if found != numbers:
        wrong.append(
            "its architectures are {}, compiled were {}".format(" ".join(listed) or "none", " ".join(wanted) or "none")
        )
    return Outcome(not wrong, measured, "; ".join(wrong))


@check(
    "pair.numpy",
    "A NumPy array becomes a tensor and an array again: torch and NumPy agree on NumPy's own ABI.",
    limit="the same numbers; nothing to do without NumPy",
)
def with_numpy(context: Context) -> Outcome:
    version = context.distributions().get("numpy")
    try:
        numpy = importlib.import_module("numpy")
    except ImportError as error:
        if version is None:
            raise Skip("package", "NumPy is not installed") from error
        raise
    values = [0.5, -2.0, 3.25]
    # A torch built against NumPy 1 imports beside NumPy 2 with a warning, and raises only here.
    back = context.torch.from_numpy(numpy.array(values)).numpy().tolist()
    return Outcome(back == values, {"numpy": version}, "" if back == values else "other numbers: {}".format(back))
