"""What to type instead of a pair that does not work: combinations that the facts prove possible. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from torchpair import facts as facts_data
from torchpair import neighbours, search
from torchpair.errors import TorchpairError
from torchpair.explain import request
from torchpair.facts import cuda_family
from torchpair.spec import Spec


def public(version: object) -> str:
    """ "2.8.0+cu128" -> "2.8.0"; "" for what is no version: an image can say anything, and a user types what we say."""
    text = version.split("+")[0] if isinstance(version, str) else ""
    return text if re.fullmatch(r"\d[0-9A-Za-z.]{0,39}", text) else ""


def python_of(environment: Mapping[str, Any]) -> str | None:
    """ "3.11.2" -> "3.11"."""
    said = re.match(r"3\.\d{1,2}\b", str(environment.get("python")), re.ASCII)
    return said[0] if said else None


def arch_of(environment: Mapping[str, Any]) -> str:
    return "aarch64" if environment.get("machine") in ("aarch64", "arm64") else "x86_64"


def install(spec: Spec) -> str:
    """The pip command that brings a combination of wheels; the index where PyPI has another CUDA."""
    parts = [f"torch=={spec.torch}", f"torchaudio=={spec.torchaudio}"]
    parts += [f"torchcodec=={spec.torchcodec}"] if spec.torchcodec else []
    where = f" --index-url {spec.index_url}" if spec.index_url else ""
    return f"pip install {' '.join(parts)}{where}"


def words(spec: Spec) -> str:
    """A combination in a few words."""
    cuda = "for the CPU" if spec.cuda == "cpu" else f"CUDA {spec.cuda}"
    return f"torch {spec.torch} and torchaudio {spec.torchaudio} ({cuda}, Python {spec.python})"


def nearest(environment: Mapping[str, Any], cuda: str | None, keep: str = "torch", most: int = 2) -> list[Spec]:
    """Wheels that work, nearest to what is installed first; [] where the facts do not know this torch.

    cuda: torch's own ("12.8"), None for a CPU build. keep: "torch" looks around the torch that is there with whatever
    torchaudio goes with it, "pair" around both.
    """
    torch, facts = public(environment.get("torch")), facts_data.load()
    audio = public(environment.get("torchaudio")) if keep == "pair" else ""
    if torch not in facts.torch:
        return []
    with suppress(TorchpairError, KeyError, ValueError):
        row = request(
            facts, torch, cuda=cuda or "cpu", python=python_of(environment), arch=arch_of(environment),
            torchaudio=audio if audio in facts.torchaudio else None,
        )  # fmt: skip
        options = neighbours.nearest(row, facts, "nvidia", most=8)
        # Compiling is an answer for an image (torchpair images), not for an environment.
        return [o.spec for o in options if o.spec.torch_from == o.spec.torchaudio_from == "wheel"][:most]
    return []


def solved(environment: Mapping[str, Any], sm: tuple[str, ...] = (), driver: str | None = None) -> list[Spec]:
    """Wheels for these GPUs and this driver, best first."""
    with suppress(TorchpairError, KeyError, ValueError):
        wish = search.Wish(sm, driver, python_of(environment), None, arch_of(environment))
        return search.solve(wish, facts_data.load(), "nvidia", most=2)
    return []


def pinned(audio: str) -> str | None:
    """The one torch that a torchaudio's metadata pins; None when there is none, or it is not known."""
    known = facts_data.load().torchaudio.get(public(audio))
    return known.torch if known else None


def published_cuda(environment: Mapping[str, Any]) -> str | None:
    """The CUDA of the torchaudio that is installed: what its label says, else what PyPI's wheel has."""
    said = environment.get("torchaudio")
    label = said.partition("+")[2] if isinstance(said, str) else ""
    tag: str | None = label if label == "cpu" or (label.startswith("cu") and label[2:].isdigit()) else None
    if not tag:
        known = facts_data.load().torchaudio.get(public(said))
        tag = known.pypi.get(arch_of(environment)) if known else None
    return None if tag in (None, "cpu") else cuda_family(str(tag))


def codec_specifier(torch: object) -> str | None:
    known = facts_data.load().torch.get(public(torch))
    return known.torchcodec if known else None


def numpy_specifier(torch: object) -> str | None:
    known = facts_data.load().torch.get(public(torch))
    return known.numpy if known else None


def driver_floor(cuda: str) -> str | None:
    """The lowest driver that runs builds of a CUDA's major."""
    return facts_data.load().driver.get(cuda.split(".")[0])
