"""A row with every question answered, and the nouns that it is made of. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from torchpair.compat import Problem
from torchpair.matrix import Row
from torchpair.recipe import Recipe

# The variant indexes of PyTorch: https://pytorch.org/get-started/previous-versions/
PYTORCH_INDEX = "https://download.pytorch.org/whl"


@dataclass(frozen=True)
class Requirement:
    """A package that the environment asks for by name; its dependencies come with the lock."""

    name: str
    specifier: str  # "==2.8.0", "<2" or ""
    index: str  # "pypi" or "pytorch"
    why: str


@dataclass(frozen=True)
class Apt:
    """A package of the distribution, and the reason it is in the image."""

    name: str
    why: str


@dataclass(frozen=True)
class Decision:
    """One answer, and the rule or fact that gave it."""

    subject: str
    value: str
    rule: str | None  # an id of compat.RULES
    because: str


@dataclass(frozen=True)
class Spec:
    """A row with every question answered: all that rendering, building and checking need to know."""

    row: Row
    name: str
    tag: str  # "2.8.0-cu128-py311-ubuntu22.04"
    torch: str
    torchaudio: str
    torchcodec: str | None
    cuda: str  # "12.8" or "cpu"
    variant: str  # "cu128" or "cpu"
    index: str  # "pypi" or "pytorch"
    arch: str
    python: str
    python_from: str  # "distro" or "uv"
    base: str  # "nvidia", "local" or "image"
    image: str  # the reference that FROM takes
    distro: str
    tools: str  # the image that wheels are unpacked on, and its distribution
    tools_distro: str
    torch_from: str  # "wheel", "source" or "base"
    torchaudio_from: str  # "wheel" or "source"
    torchaudio_ref: str | None  # the git ref that is compiled
    compile_torch: Recipe | None
    compile_audio: Recipe | None
    requirements: tuple[Requirement, ...]
    apt: tuple[Apt, ...]
    sm: tuple[str, ...] | None  # None: not verified
    min_driver: str | None  # None for a CPU build
    decisions: tuple[Decision, ...]
    broken: tuple[Problem, ...]  # rules that a forced row breaks

    @property
    def reference(self) -> str:
        """The image's local name."""
        return f"torchpair:{self.tag}"

    @property
    def recipes(self) -> tuple[Recipe, ...]:
        """What is compiled, in the order in which it is."""
        return tuple(recipe for recipe in (self.compile_torch, self.compile_audio) if recipe)

    @property
    def toolkit_image(self) -> str | None:
        """The image that nvcc is taken from, where it is one."""
        return next((recipe.toolkit_image for recipe in self.recipes if recipe.toolkit == "devel"), None)

    @property
    def compiled(self) -> dict[str, object] | None:
        """What only a torchaudio compiled for this row is: its whole version and its architectures (None: torch's)."""
        made = self.compile_audio
        if made is None or made.wheel_version is None:
            return None
        return {"torchaudio": made.wheel_version, "sm": list(made.sm) if made.sm or made.cuda == "cpu" else None}

    @property
    def index_url(self) -> str | None:
        """The index of torch and torchaudio; None: PyPI, as the installer knows it."""
        return f"{PYTORCH_INDEX}/{self.variant}" if self.index == "pytorch" else None

    @property
    def versions(self) -> dict[str, str | None]:
        """What the running image must report; None: nothing of that kind. What nobody can know before is left out."""
        torch = {} if self.row.torch.version is None else {"torch": self.torch}
        unknown = self.compile_audio is not None and self.compile_audio.version is None
        return {
            **torch,
            **({} if unknown else {"torchaudio": self.torchaudio}),
            "torchcodec": self.torchcodec,
            "cuda": None if self.cuda == "cpu" else self.cuda,
            "python": self.python,
        }

    @property
    def labels(self) -> dict[str, str]:
        """The image's own labels, beside the OCI ones."""
        said = {
            f"torchpair.{name}": str(self.versions[name]) for name in ("torch", "torchaudio") if name in self.versions
        }
        return {
            "torchpair.row": self.name,
            **said,
            "torchpair.torchcodec": self.torchcodec or "none",
            "torchpair.cuda": self.cuda,
            "torchpair.python": self.python,
            "torchpair.base": f"{self.base}:{self.distro}",
            "torchpair.sm": "unknown" if self.sm is None else " ".join(self.sm) or "none",
            "torchpair.min-driver": self.min_driver or "none",
        }
