"""Spec + lock -> the text of a Dockerfile. Pure: the same spec and lock give the same bytes everywhere."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from pathlib import Path

from torchpair import lock as locks
from torchpair.resolve import LAYERS, UID, layer_of, shared, tools_apt
from torchpair.resources import text_templates
from torchpair.spec import PYTORCH_INDEX, Spec

BANNER = (
    "Rendered by torchpair from matrix.yaml by `torchpair render`: do not edit, `torchpair render --check` compares."
)

# One time for every file of a layer, so that two builds of one lock give one digest: 1 January 2020, UTC.
EPOCH = 1577836800


def dockerfile(
    spec: Spec, lock: locks.Lock | None, tools: locks.Lock, extras: Mapping[str, locks.Lock] | None = None
) -> str:
    """The Dockerfile of a row. lock None: of a row that is not locked yet. extras: those of lock.extras."""
    layers: dict[str, list[locks.Locked]] = {layer: [] for layer in LAYERS}
    for wheel in lock.wheels if lock else ():
        layers[layer_of(wheel.name)].append(wheel)
    groups = [] if lock else ["wheels"]
    groups += [layer for layer in ("python", "triton", "torch") if layers[layer]]
    nvidia = [layer for layer in ("cuda", "cudnn") if layers[layer]]
    below = [*(["cuda", "metadata"] if nvidia else []), "venv", *groups]
    return (
        text_templates()
        .get_template("kept.Dockerfile.j2" if spec.torch_from == "base" else "image.Dockerfile.j2")
        .render(
            banner=BANNER,
            spec=spec,
            lock=lock,
            layers=layers,
            shared=shared(spec),
            nvidia=nvidia,
            groups=groups,
            below=[*below, "torch-made"] if spec.compile_torch else below,
            tools=tools,
            tools_apt=tools_apt,
            project="" if lock else locks.project(spec),
            site=f"/opt/venv/lib/python{spec.python}/site-packages",
            labels=labels(spec),
            expect=json.dumps(expectation(spec, lock), sort_keys=True),
            uid=UID,
            epoch=EPOCH,
            pytorch_index=PYTORCH_INDEX,
            plans={recipe.package: json.dumps(recipe.plan(), sort_keys=True) for recipe in spec.recipes},
            build_tools=(extras or {}).get("compile"),
            toolkit_lock=(extras or {}).get(f"nvcc-{spec.variant}"),
        )
    )


def labels(spec: Spec) -> dict[str, str]:
    """OCI labels (https://specs.opencontainers.org/image-spec/annotations/), then torchpair's own."""
    files = f", torchcodec {spec.torchcodec}" if spec.torchcodec else ""
    cuda = "CPU" if spec.cuda == "cpu" else f"CUDA {spec.cuda}"
    return {
        "org.opencontainers.image.title": "torchpair",
        "org.opencontainers.image.description": f"torch {spec.torch} and torchaudio {spec.torchaudio}{files}, {cuda}, "
        f"Python {spec.python}",
        "org.opencontainers.image.version": spec.tag,
        "org.opencontainers.image.base.name": spec.image,
        **spec.labels,
    }


def expectation(spec: Spec, lock: locks.Lock | None) -> dict[str, object]:
    """What the probe is told to find: versions, architectures, every package of the lock."""
    return {
        "versions": spec.versions,
        "sm": None if spec.sm is None else list(spec.sm),
        # In a base that has its torch already, only what was missing there comes from the lock.
        "lock": lock.versions if lock and spec.torch_from != "base" else None,
        **({"compiled": spec.compiled} if spec.compiled else {}),
    }


def file_name(spec: Spec) -> str:
    """Where a rendered Dockerfile lies, below the folder of rendered files."""
    return f"{spec.name}/{'local.' if spec.base == 'local' else ''}Dockerfile"


def drift(folder: Path, rendered: Mapping[str, str]) -> list[str]:
    """A unified diff for each file below `folder` that is not what would be rendered, is missing or is left over."""
    diffs = []
    for name in sorted(_ours(folder) | rendered.keys()):
        old = _read(folder / name) if (folder / name).is_file() else ""
        diffs += diff(f"{folder.name}/{name}", old, rendered.get(name, ""))
    return diffs


def _ours(folder: Path) -> set[str]:
    """The rendered files below a folder. A Dockerfile without the banner is somebody's own, and is left alone."""
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*Dockerfile") if p.is_file() and BANNER in _read(p)}


def _read(path: Path) -> str:
    """A file as it is: read_text would make the line ends alike, and what is not UTF-8 is drift, not an error."""
    return path.read_bytes().decode("utf-8", "replace")


def diff(name: str, old: str, new: str) -> list[str]:
    """A unified diff in a list of its own, or nothing when the texts are the same."""
    if old == new:
        return []
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), name, "rendered now", lineterm="")
    return ["\n".join(lines) or f"{name}: only its line ends differ"]


def write(folder: Path, rendered: Mapping[str, str]) -> list[str]:
    """Write what differs, remove what is left over; the names that changed."""
    changed = []
    for name, text in rendered.items():
        path = folder / name
        if not path.is_file() or _read(path) != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            changed.append(name)
    for name in sorted(_ours(folder) - rendered.keys()):
        path = folder / name
        path.unlink()
        if not any(path.parent.iterdir()):
            path.parent.rmdir()
        changed.append(name)
    return changed
