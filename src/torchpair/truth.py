"""Do a tag, labels, a lock and a report say the same of one image? Pure; asked before an image is published, and once
more of what a registry holds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from packaging.version import InvalidVersion, Version

from torchpair.catalog import Layer, Published
from torchpair.errors import TorchpairError
from torchpair.facts import cuda_tag
from torchpair.lock import Lock
from torchpair.probe import arch
from torchpair.probe.select import PROFILES
from torchpair.report import Report
from torchpair.spec import Spec

TAG = "org.opencontainers.image.version"
LABELS = ("row", "torch", "torchaudio", "torchcodec", "cuda", "python", "base", "sm", "min-driver")
# What nobody knows before it is compiled has no label: the running image alone says it.
OPTIONAL = ("torch", "torchaudio")
_SM = re.compile(r"([0-9]{1,3}\.[0-9][a-z]?)(\+PTX| \(PTX only\))?")


def unproven(report: Report) -> list[str]:
    """Why a report is no proof that its image is healthy; nothing where it is."""
    wrong = []
    if report.verdict != "healthy":
        failed = [check.id for check in report.checks if check.status == "fail"]
        names = f": {', '.join(failed[:5])}{' ...' if len(failed) > 5 else ''}" if failed else ""
        wrong.append(f"the report says {report.verdict}{names}")
    missing = sorted({"probe.finished", *PROFILES["core"]} - {check.id for check in report.checks})
    if missing:
        wrong.append(f"the report leaves out {len(missing)} checks of the profile core: {', '.join(missing[:5])}")
    return wrong


def disagreements(tag: str, labels: Mapping[str, str], report: Report, ids: tuple[str, ...]) -> list[str]:
    """What tag, labels and the running image (as its report has it) say differently, one line each.

    tag: the full one. ids: the ids by which the image goes, that of its manifest and that of its configuration.
    """
    said = {name: labels.get(f"torchpair.{name}") for name in LABELS}
    wrong = [f"there is no label torchpair.{name}" for name in LABELS if said[name] is None and name not in OPTIONAL]
    if labels.get(TAG) != tag:
        wrong.append(f"the tag is {tag}, the label {TAG} says {labels.get(TAG)}")
    if report.image_id not in ids:
        wrong.append(f"the report is of the image {_short(report.image_id)}, and this is {_short(ids[0])}")
    if report.row != said["row"]:
        wrong.append(f"the report is of row {report.row}, the label says {said['row']}")
    if report.base != said["base"]:
        wrong.append(f"the report saw the base {report.base}, the label says {said['base']}")
    seen = running(report)
    for name in ("torch", "torchaudio", "torchcodec", "cuda", "python"):
        label = said[name]
        if label is None:
            continue
        if not _same(name, label, seen[name]):
            wrong.append(f"the label torchpair.{name} says {label}, the running image {seen[name] or 'none'}")
    wrong += _sm(said["sm"], report.environment)
    if (said["cuda"] == "cpu") != (said["min-driver"] in ("none", None)):
        wrong.append(f"the label torchpair.min-driver says {said['min-driver']}, torchpair.cuda {said['cuda']}")
    return wrong + _tag(tag, said)


def of_row(spec: Spec, labels: Mapping[str, str], report: Report, lock: Lock | None) -> list[str]:
    """What labels and report say otherwise than the row's spec and its lock, one line each."""
    wrong = [
        f"the label {name} says {labels.get(name)}, the row {value}"
        for name, value in {**spec.labels, TAG: spec.tag}.items()
        if labels.get(name) != value
    ]
    if report.image != spec.reference:
        wrong.append(f"the report is of {report.image}, the row's image is {spec.reference}")
    if lock is None:
        return [*wrong, "the row has no lock"]
    installed = report.environment.get("distributions")
    found = installed if isinstance(installed, dict) else {}
    for wheel in lock.wheels if spec.torch_from != "base" else ():
        there = found.get(wheel.name)
        if not isinstance(there, str) or not _same_version(wheel.version, there):
            wrong.append(f"{wheel.name} is locked at {wheel.version}, the running image has {there or 'none'}")
    return wrong


def running(report: Report) -> dict[str, str | None]:
    """Versions as the running image reported them; cuda is None for a CPU build."""
    seen = report.environment
    names = {"torch": "torch", "torchaudio": "torchaudio", "torchcodec": "torchcodec", "cuda": "torch_cuda"}
    found = {name: seen.get(key) for name, key in names.items()} | {"python": seen.get("python")}
    return {name: value if isinstance(value, str) else None for name, value in found.items()}


def published(
    tag: str,
    tags: tuple[str, ...],
    digest: str,
    platform: str,
    layers: tuple[Layer, ...],
    labels: Mapping[str, str],
    report: Report,
    artifact: str | None,
) -> Published:
    """The catalog's entry for an image whose labels and report agree. Raises TorchpairError where one is missing."""
    seen = running(report)

    def version(name: str) -> str:
        value = labels.get(f"torchpair.{name}") or seen[name]
        if not value:
            raise TorchpairError(f"nobody says which {name} is in the image", where=tag)
        return value

    codec, driver = labels["torchpair.torchcodec"], labels["torchpair.min-driver"]
    cuda = labels["torchpair.cuda"]
    return Published(
        row=labels["torchpair.row"],
        tag=tag,
        tags=tuple(sorted({tag, *tags})),
        digest=digest,
        platform=platform,
        size=sum(layer.size for layer in layers),
        layers=layers,
        torch=version("torch"),
        torchaudio=version("torchaudio"),
        torchcodec=None if codec == "none" else codec,
        cuda=cuda,
        python=labels["torchpair.python"],
        base=labels["torchpair.base"],
        sm=() if cuda == "cpu" else architectures(report.environment),
        min_driver=None if driver == "none" else driver,
        verdict=report.verdict,
        checked=report.started,
        gpu_checked=any(check.id.startswith("cuda.") and check.status == "pass" for check in report.checks),
        passed=report.passed,
        failed=report.failed,
        skipped_gpu=report.skipped_gpu,
        skipped_other=report.skipped_other,
        report=artifact,
    )


def architectures(environment: Mapping[str, Any]) -> tuple[str, ...]:
    """The GPU architectures that the running torch was compiled for.

    PTX alone serves what machine code and PTX of one architecture serve together: both are written "12.0+PTX".
    """
    seen = environment.get("sm")
    found = [match for item in (seen if isinstance(seen, list) else ()) if (match := _SM.fullmatch(str(item)))]
    return tuple(match[1] + ("+PTX" if match[2] else "") for match in found)


def _sm(label: str | None, environment: Mapping[str, Any]) -> list[str]:
    """The label's architectures must be served by what was compiled; more may be: a row names those that it needs."""
    if label in (None, "unknown", "none"):
        return []
    there = []
    for item in architectures(environment):
        major, minor, suffix, ptx = arch.parse_capability(item)
        there.append(arch.Arch(major, minor, suffix, sass=True, ptx=ptx))
    wanted = str(label).split()
    try:
        missing = arch.not_served(there, wanted)
    except ValueError:
        return [f"the label torchpair.sm is {label}"]
    return [f"the label torchpair.sm says {', '.join(missing)}, which the running torch has not"] if missing else []


def _tag(tag: str, said: Mapping[str, str | None]) -> list[str]:
    """What the tag's parts say otherwise than the labels."""
    parts = tag.split("-")
    wrong = []
    torch = (said["torch"] or "").replace("+", ".")
    if torch and parts[0].removesuffix("src") != torch:
        wrong.append(f"the tag {tag} begins with {parts[0]}, the label torchpair.torch says {said['torch']}")
    wanted = (("cuda", cuda_tag(said["cuda"] or "")), ("python", "py" + (said["python"] or "").replace(".", "")))
    for name, part in wanted:
        if said[name] and part not in parts:
            wrong.append(f"the tag {tag} has no {part}, the label torchpair.{name} says {said[name]}")
    distro = (said["base"] or "").partition(":")[2]
    if distro and parts[-1] != distro:
        wrong.append(f"the tag {tag} ends with {parts[-1]}, the label torchpair.base says {said['base']}")
    return wrong


def _same(name: str, label: str, seen: str | None) -> bool:
    if seen is None or label in ("none", "cpu"):
        return seen is None and label in ("none", "cpu")
    if name == "python":
        return seen == label or seen.startswith(f"{label}.")
    return seen == label if name == "cuda" else _same_version(label, seen)


def _same_version(said: str, seen: str) -> bool:
    """The local part (+cu128) counts where both have one: PyPI's wheels say it at run time only."""
    try:
        a, b = Version(said), Version(seen)
    except InvalidVersion:
        return said == seen
    return a.public == b.public and (a.local == b.local or a.local is None or b.local is None)


def _short(image: str | None) -> str:
    return (image or "no id")[:19]
