"""What a call was at: written whole, read with care."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from torchpair.journal import Entry, Journal


def test_an_entry_comes_back(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    assert journal.read("row") is None
    journal.note("row", "building")
    journal.note("row", "checking", "sha256:1")
    found = journal.read("row")
    assert found == Entry("row", "checking", found.at if found else "", "sha256:1")
    assert [path.name for path in (tmp_path / "journal").iterdir()] == ["row.json"]


def test_what_was_under_way(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for step in ("building", "built", "checking", "checked", "failed"):
        journal.note(step, step)
    assert [entry.row for entry in journal.interrupted(["failed", "checking", "built", "none", "building"])] == [
        "checking", "building",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "\xff", '{"schema": "torchpair.journal/1"}']
    + [
        json.dumps(
            {"schema": "torchpair.journal/1", "row": "row", "step": "building", "at": "now", "image_id": None} | wrong
        )
        for wrong in ({"row": "other"}, {"step": "dancing"}, {"step": []}, {"at": 1}, {"image_id": 1}, {"schema": "x"})
    ],
)
def test_what_cannot_be_read_is_no_entry(tmp_path: Path, text: str) -> None:
    (tmp_path / "row.json").write_text(text, encoding="latin-1")
    assert Journal(tmp_path).read("row") is None and Journal(tmp_path).interrupted(["row"]) == []


def test_a_row_cannot_leave_the_folder(tmp_path: Path) -> None:
    Journal(tmp_path / "journal").note("../../row", "built")
    assert [path.parent for path in tmp_path.rglob("*.json")] == [tmp_path / "journal"]
