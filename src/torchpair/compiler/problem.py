"""What stops a build, in words; torchpair on the host shows it from the line with `error:` on."""

from __future__ import annotations

from typing import Optional


class Problem(Exception):
    """what: one sentence. why: the reason. remedy: what to do next."""

    def __init__(self, what: str, why: Optional[str] = None, remedy: Optional[str] = None) -> None:
        super().__init__(what)
        self.what, self.why, self.remedy = what, why, remedy

    def __str__(self) -> str:
        lines = ["error: " + self.what]
        lines += ["  why: " + self.why] if self.why else []
        lines += ["  try: " + self.remedy] if self.remedy else []
        return "\n".join(lines)
