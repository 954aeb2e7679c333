"""What a call was at, row by row, in build/journal/<row>.json.

Nothing is decided by the journal: an image in the engine and a report of this very image are what counts, so done work
is not repeated and undone work is not taken for done. It says what a call that ended without a word was at.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal, get_args

from torchpair.errors import TorchpairError
from torchpair.files import file_stem, write_whole
from torchpair.strict_json import parse

Step = Literal["building", "built", "checking", "checked", "failed"]
UNDER_WAY = ("building", "checking")
SCHEMA = "torchpair.journal/1"


@dataclass(frozen=True)
class Entry:
    """How far a row came. at: when this step began, ISO 8601; image_id: of the image, once there is one."""

    row: str
    step: Step
    at: str
    image_id: str | None = None

    def to_json(self) -> dict[str, str | None]:
        return {"schema": SCHEMA, "row": self.row, "step": self.step, "at": self.at, "image_id": self.image_id}


@dataclass(frozen=True)
class Journal:
    """The journal of one folder."""

    folder: Path

    def note(self, row: str, step: Step, image_id: str | None = None) -> None:
        """Write down that a row is at a step, whole or not at all. Raises OSError."""
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        write_whole(self._file(row), json.dumps(Entry(row, step, now, image_id).to_json()) + "\n")

    def read(self, row: str) -> Entry | None:
        """The last entry of a row; None where there is none, or none that can be read."""
        try:
            found = parse(self._file(row).read_bytes(), str(self._file(row)))
        except (OSError, TorchpairError):
            return None
        if not isinstance(found, dict) or found.get("schema") != SCHEMA or found.get("step") not in get_args(Step):
            return None
        image_id, at = found.get("image_id"), found.get("at")
        if found.get("row") != row or not isinstance(at, str) or not isinstance(image_id, str | None):
            return None
        return Entry(row, found["step"], at, image_id)

    def interrupted(self, rows: Sequence[str]) -> list[Entry]:
        """What a call before was at when it ended. Who asks holds the lock, so nobody is at it any more."""
        return [entry for row in rows if (entry := self.read(row)) and entry.step in UNDER_WAY]

    def _file(self, row: str) -> Path:
        return self.folder / f"{file_stem(row)}.json"
