"""Which tags an image gets, and which of them may move."""

from __future__ import annotations

from dataclasses import replace

import pytest
from published import entry, spec

from torchpair import tags
from torchpair.catalog import Published
from torchpair.errors import TorchpairError
from torchpair.tags import Move

WHERE = "127.0.0.1:5000/torchpair"


def plan(publishing: list[Published], there: list[Published], more: dict[str, str] | None = None, force: bool = False):
    """A plan over a registry in which every image has its full tag."""
    held = {image.tag: image.digest for image in there} | (more or {})
    return tags.plan(publishing, {image.digest: image for image in there}, held, WHERE, force)


def targets(found: tags.Plan) -> dict[str, str]:
    return {move.tag: move.digest for move in found.moves}


def test_the_tags_of_the_first_image() -> None:
    image = entry()
    assert plan([image], []).moves == tuple(
        Move(tag, image.digest, None)
        for tag in (
            "2.8.0-cu128-py311-debian12-20261121", "2.8.0-cu128-py311-debian12", "2.8-cu128", "cu128", "latest",
        )
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ("2.8-cu128", "cu128", "latest")),
        ({"cuda": "cpu"}, ("2.8-cpu", "cpu")),
        ({"verdict": "inconclusive"}, ()),
        ({"verdict": "unhealthy", "failed": 1}, ()),
        ({"platform": "linux/arm64"}, ()),
        ({"tag": "2.8.0-cu128-py311-mine-debian12"}, ()),
        ({"tag": "2.8.0-audio2.8.0src-cu128-py311-debian12"}, ()),
        ({"torch": "2.9.0a0"}, ()),
        ({"torch": "2.9.0+git1"}, ()),
    ],
)
def test_who_qualifies(changes: dict[str, str], expected: tuple[str, ...]) -> None:
    assert tags.rolling(entry(**changes)) == expected


@pytest.mark.parametrize(
    ("text", "base", "plain"),
    [
        ('torch: "2.8.0", cuda: "12.8", python: "3.11"', "local", True),
        ('torch: "2.8.0", cuda: "12.8", python: "3.11"', "nvidia", True),
        ('torch: "2.6.0", cuda: "12.4", python: "3.12", base: local, distro: ubuntu24.04', "local", True),
        ('torch: "2.6.0", cuda: "12.4", python: "3.11", torchaudio: {from: source}', "nvidia", False),
        ('name: mine, torch: "2.8.0", cuda: "12.8", python: "3.11"', "local", False),
    ],
)
def test_plain_is_what_the_factory_calls_a_row_by_itself(text: str, base: str, plain: bool) -> None:
    found = spec(text, base)
    said = found.labels
    image = entry(found.torch, found.cuda, found.python, tag=found.tag, base=said["torchpair.base"])
    assert tags.plain(image) is plain


ORDER = [  # the newest first
    entry("2.14.1", "13.0", "3.13"),
    entry("2.14.0", "13.0", "3.13"),
    entry("2.8.0", "12.8", "3.12", base="nvidia:ubuntu22.04", tag="2.8.0-cu128-py312-ubuntu22.04"),
    entry("2.8.0", "12.8", "3.12"),
    entry("2.8.0", "12.8", "3.11"),
    entry("2.8.0", "12.6", "3.13"),
    entry("2.8.0", "cpu", "3.13"),
]


def test_the_order() -> None:
    assert sorted(ORDER, key=lambda image: image.rank) == ORDER[::-1]


def test_every_rolling_tag_is_at_the_newest_whatever_the_order_of_publishing() -> None:
    """All orders of neighbours: one after the other, each plan carried out."""
    for start in range(len(ORDER)):
        order = ORDER[start:] + ORDER[:start]
        held: dict[str, str] = {}
        known: dict[str, Published] = {}
        for image in order:
            known[image.digest] = image
            held |= targets(tags.plan([image], known, held, WHERE))
        by = {image.digest: image for image in ORDER}
        rolled = {
            tag: by[held[tag]].tag for tag in ("latest", "cu130", "cu128", "cu126", "cpu", "2.8-cu128", "2.14-cu130")
        }
        assert rolled == {
            "latest": ORDER[0].tag, "cu130": ORDER[0].tag, "2.14-cu130": ORDER[0].tag, "cu128": ORDER[2].tag,
            "2.8-cu128": ORDER[2].tag, "cu126": ORDER[5].tag, "cpu": ORDER[6].tag,
        }  # fmt: skip


def test_nothing_moves_backwards_without_force() -> None:
    new, old = entry("2.8.1"), entry("2.8.0")
    more = dict.fromkeys(("2.8-cu128", "cu128", "latest"), new.digest)
    assert set(targets(plan([old], [new], more))) == {old.tag, f"{old.tag}-20261121"}
    assert targets(plan([old], [new], more, force=True))["latest"] == old.digest
    # The newer image has only a dated tag left: still it is the newer one.
    found = tags.plan([old], {new.digest: new}, {**more, f"{new.tag}-20261121": new.digest}, WHERE)
    assert "latest" not in targets(found)
    assert "latest stays at 2.8.1-cu128-py311-debian12, which is newer" in found.kept[-1]


def test_a_rolling_tag_that_is_missing_goes_to_the_newest_there_is() -> None:
    """A publish of the newer one may have ended before its rolling tags moved."""
    new, old = entry("2.8.1"), entry("2.8.0")
    assert targets(plan([old], [new]))["latest"] == new.digest
    assert targets(plan([old], [new], force=True))["latest"] == old.digest


def test_a_rolling_tag_of_somebody_elses_stays() -> None:
    image = entry()
    found = plan([image], [], {"latest": "sha256:" + "0" * 64})
    assert "latest" not in targets(found) and "cu128" in targets(found)
    assert found.kept == ("latest stays: it points at an image that no report proves (--force moves it)",)
    assert targets(plan([image], [], {"latest": "sha256:" + "0" * 64}, force=True))["latest"] == image.digest


def test_a_full_tag_moves_to_a_later_proof_only() -> None:
    there = entry(checked="2026-11-21T12:00:00+00:00")
    later = replace(there, digest="sha256:" + "1" * 64, checked="2026-11-22T12:00:00+00:00")
    more = dict.fromkeys((f"{there.tag}-20261121", "2.8-cu128", "cu128", "latest"), there.digest)
    moved = plan([later], [there], more)
    assert targets(moved) == dict.fromkeys(
        (f"{there.tag}-20261122", there.tag, "2.8-cu128", "cu128", "latest"), later.digest
    )
    earlier = replace(there, digest="sha256:" + "2" * 64, checked="2026-11-20T12:00:00+00:00")
    with pytest.raises(TorchpairError, match="exists already, with another digest; nothing was moved"):
        plan([earlier], [there], more)
    with pytest.raises(TorchpairError, match="exists already"):
        plan([earlier], [], {earlier.tag: "sha256:" + "3" * 64})
    assert targets(plan([earlier], [there], more, force=True))[there.tag] == earlier.digest


@pytest.mark.parametrize("force", [False, True])
def test_a_dated_tag_is_never_overwritten(force: bool) -> None:
    image = entry()
    dated = f"{image.tag}-20261121"
    more = {dated: "sha256:" + "0" * 64, f"{dated}.2": "sha256:" + "1" * 64}
    found = targets(plan([image], [], more, force=force))
    assert dated not in found and f"{dated}.2" not in found and found[f"{dated}.3"] == image.digest


def test_a_second_time_nothing_moves() -> None:
    image = entry()
    first = targets(plan([image], []))
    assert plan([image], [image], first).moves == ()


def test_two_rows_at_a_time() -> None:
    found = targets(plan([entry("2.8.0"), entry("2.8.1")], []))
    assert found["latest"] == found["2.8-cu128"] == found["2.8.1-cu128-py311-debian12"]
    assert list(found)[-1] == "latest"


@pytest.mark.parametrize(
    ("tag", "users"),
    [
        ("2.8.0-cu128-py311-debian12", True),
        ("latest", True),
        ("torchpair-incoming-torch2.8.0", False),
        ("sha256-" + "a" * 64, False),
        ("sha256-" + "a" * 64 + ".sig", False),
        ("sha256-abc", True),
    ],
)
def test_whose_tag(tag: str, users: bool) -> None:
    assert tags.is_users(tag) is users


def test_the_tag_of_what_comes_in_is_one() -> None:
    assert tags.incoming("a") == "torchpair-incoming-a"
    long = tags.incoming("a" * 200)
    assert len(long) <= 128 and long != tags.incoming("a" * 201) and not tags.is_users(long)
