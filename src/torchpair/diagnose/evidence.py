"""What a diagnosis goes by: a report, and what the host knows; and the form of a predicate over them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from packaging.version import InvalidVersion, Version

from torchpair import remedy
from torchpair.report import CheckResult, Report

CUDA = re.compile(r"\d{1,2}\.\d{1,2}", re.ASCII)
MISSING_MODULE = re.compile(r"No module named '(torch|torchaudio)'")


@dataclass(frozen=True)
class Gpu:
    """A GPU of the host. capability: "12.0"; None: not told."""

    name: str
    capability: str | None = None


@dataclass(frozen=True)
class Host:
    """What the host knows. passes_gpus: whether its engine can hand GPUs to a container; None: not asked. how: why."""

    driver: str | None = None
    gpus: tuple[Gpu, ...] = ()
    passes_gpus: bool | None = None
    how: str = ""


class Seen:
    """A report, asked as the predicates ask. Whatever a stranger's probe wrote, an answer has the type it should."""

    def __init__(self, report: Report, host: Host) -> None:
        self.report, self.host, self.env = report, host, report.environment
        self._checks = {check.id: check for check in report.checks}

    def check(self, name: str) -> CheckResult | None:
        return self._checks.get(name)

    def failed(self, name: str) -> str | None:
        """Why a check failed; None when it did not."""
        check = self._checks.get(name)
        return (check.reason or "failed") if check and check.status == "fail" else None

    def measured(self, name: str) -> Mapping[str, Any]:
        check = self._checks.get(name)
        return check.measured if check and isinstance(check.measured, Mapping) else {}

    @property
    def import_error(self) -> str:
        return self.failed("pair.import") or ""

    def text(self, key: str) -> str | None:
        value = self.env.get(key)
        return value if isinstance(value, str) and value else None

    @property
    def torch_cuda(self) -> str | None:
        """The CUDA of torch, "12.8"; None for a CPU build, and for what is none."""
        said = self.text("torch_cuda") or ""
        return said if CUDA.fullmatch(said) else None

    def texts(self, key: str) -> list[str]:
        value = self.env.get(key)
        return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []

    def version(self, key: str) -> Version | None:
        try:
            return Version(self.text(key) or "")
        except InvalidVersion:
            return None

    def cudas(self) -> tuple[str | None, str | None, str]:
        """CUDA of torch and of torchaudio (None: a CPU build, or not told), and how torchaudio's is known."""
        torch = self.torch_cuda
        said = re.search(
            r"PyTorch has CUDA version (\d+\.\d+) whereas TorchAudio has CUDA version (\d+\.\d+)", self.import_error
        )
        if said:
            return said[1], said[2], "torchaudio says so as it is imported"
        measured = self.measured("pair.cuda").get("torchaudio")
        if isinstance(measured, str) and CUDA.fullmatch(measured) and self.failed("pair.cuda"):
            return torch, measured, "pair.cuda measured it"
        return torch, self._told_cuda() or remedy.published_cuda(self.env), "its label or its wheel says so"

    def _told_cuda(self) -> str | None:
        said = self.text("torchaudio_cuda") or ""
        return said if CUDA.fullmatch(said) else None

    def pair(self) -> str:
        return f"torch {self.text('torch') or 'unknown'}, torchaudio {self.text('torchaudio') or 'none'}"

    def instead(self, keep: str = "torch", cuda: str | None = None) -> list[str]:
        """Remedies that the facts know: the nearest pairs of wheels."""
        found = remedy.nearest(self.env, cuda or self.torch_cuda, keep)
        return [f"{remedy.install(spec)}   # {remedy.words(spec)}" for spec in found]


Found = tuple[list[str], list[str]]  # evidence, remedy
Predicate = Callable[[Seen], "Found | None"]
# Title, explanation, where to look in a report, and what finds it. What a predicate finds fills in evidence and remedy.
Entry = tuple[str, str, str, Predicate]


def entering(table: dict[str, Entry]) -> Callable[[str, str, str, str], Callable[[Predicate], Predicate]]:
    """A decorator that enters a cause into a table by its id; its predicate stands below."""

    def cause(cause_id: str, title: str, explanation: str, looks_at: str) -> Callable[[Predicate], Predicate]:
        def add(predicate: Predicate) -> Predicate:
            table[cause_id] = (title, explanation, looks_at, predicate)
            return predicate

        return add

    return cause
