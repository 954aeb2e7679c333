"""The tags of a published image, and which of them may move. Pure.

full      2.8.0-cu128-py311-debian12            a row's own; moves to a later proof of the same row
dated     2.8.0-cu128-py311-debian12-20261121   the day of the report; never moves, never is overwritten
rolling   2.8-cu128, cu128, latest              each at the newest image that qualifies

An image qualifies for rolling tags when it is healthy and plain: its full tag says torch, CUDA, Python and base and no
more. What was compiled, has a name or a torchaudio of its own, is a pre-release or for another machine than linux/amd64
is asked for by its full tag; and `latest` is never a CPU build. Newest is `Published.rank`: the newest torch, then
torchaudio, CUDA, Python, base.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count

from packaging.version import Version

from torchpair.catalog import Published
from torchpair.errors import TorchpairError
from torchpair.facts import cuda_tag

# While an image is pushed it needs some tag; one for each row, so that they do not pile up where none can be deleted.
INCOMING = "torchpair-incoming-"
# What a registry without the referrers API is given instead (distribution spec 1.1), and cosign's own tags.
_ARTIFACT = re.compile(r"sha256-[0-9a-f]{64}(\.[a-z]+)?")
_DATED = re.compile(r"-20[0-9]{6}(\.[0-9]+)?$")
_MOST = 128  # characters of a tag


@dataclass(frozen=True)
class Move:
    """A tag that shall point at an image. was: the digest that it points at now, None where it is new."""

    tag: str
    digest: str
    was: str | None


@dataclass(frozen=True)
class Plan:
    """What moves, in this order; and what stays where it is, with the reason, a line each."""

    moves: tuple[Move, ...]
    kept: tuple[str, ...]


def incoming(row: str) -> str:
    """The tag under which a row is pushed before anything that users know points at it."""
    name = INCOMING + row
    return name if len(name) <= _MOST else INCOMING + hashlib.sha256(row.encode()).hexdigest()[:32]


def is_users(tag: str) -> bool:
    """Whether a tag is one for users, and not one of torchpair's, of a registry's or of cosign's own."""
    return not tag.startswith(INCOMING) and not _ARTIFACT.fullmatch(tag)


def is_dated(tag: str) -> bool:
    """Whether a tag is a dated one."""
    return bool(_DATED.search(tag))


def plain(image: Published) -> bool:
    """Whether an image's full tag says torch, CUDA, Python and base, and no more."""
    kind, _, distro = image.base.partition(":")
    local = "-local" if kind == "local" and distro.startswith("ubuntu") else ""
    said = f"{image.torch}-{cuda_tag(image.cuda)}-py{image.python.replace('.', '')}{local}-{distro}"
    version = Version(image.torch)
    return (image.tag, image.platform, version.is_prerelease, version.local) == (said, "linux/amd64", False, None)


def rolling(image: Published) -> tuple[str, ...]:
    """The rolling tags that an image qualifies for; none for one that is not healthy, or not plain."""
    if image.verdict != "healthy" or not plain(image):
        return ()
    torch, cuda = Version(image.torch), cuda_tag(image.cuda)
    tags = (f"{torch.major}.{torch.minor}-{cuda}", cuda)
    return tags if image.cuda == "cpu" else (*tags, "latest")


def dated(image: Published, held: Mapping[str, str]) -> str:
    """The dated tag of an image: the one that it has, or the first of its day that is free.

    held: every tag of the repository with its digest.
    """
    day = image.checked[:10].replace("-", "")
    for number in count(1):
        tag = f"{image.tag}-{day}" + ("" if number == 1 else f".{number}")
        if held.get(tag, image.digest) == image.digest:
            return tag
    raise AssertionError


def refused(tag: str, checked: str, there: Published | None, repository: str) -> TorchpairError | None:
    """Why a full tag that points at another image may not move to one that was proven then; None where it may.

    checked: ISO 8601, UTC. there: the image that the tag points at, None for one without a report that holds.
    """
    if there is None:
        why = "it points at another image, which no report of torchpair's proves: somebody else's, or an older way"
    elif there.checked > checked:
        why = f"it points at {there.digest[:19]}, which was proven later ({there.checked}; this one: {checked})"
    else:
        return None
    return TorchpairError(
        f"the tag {tag} exists already, with another digest; nothing was moved", where=repository, why=why,
        remedy="torchpair publish --force moves it all the same; by its dated tag the old image stays",
    )  # fmt: skip


def plan(
    publishing: Sequence[Published],
    known: Mapping[str, Published],
    held: Mapping[str, str],
    repository: str,
    force: bool = False,
) -> Plan:
    """Which tags move once everything that images need is there: dated ones first, rolling ones last.

    known: the proven images of the repository, by digest; held: each of its tags with the digest it points at.
    force: tags move to the images published, even backwards. Raises TorchpairError for a full tag that may not move.
    """
    wanted: dict[str, Published] = {}
    kept: list[str] = []
    for image in publishing:
        there = held.get(image.tag)
        if there not in (None, image.digest) and not force:
            error = refused(image.tag, image.checked, known.get(there or ""), repository)
            if error:
                raise error
        wanted[dated(image, held)] = image
    wanted |= {image.tag: image for image in publishing}
    full = [image for image in known.values() if held.get(image.tag) == image.digest and image.tag not in wanted]
    names = dict.fromkeys(tag for image in publishing for tag in rolling(image))
    for name in sorted(names, key=lambda tag: (tag == "latest", "-" not in tag, tag)):
        best = max(
            (image for image in (*publishing, *(() if force else full)) if name in rolling(image)),
            key=lambda image: image.rank,
        )
        current = held.get(name)
        if current == best.digest and all(image.digest != current for image in publishing):
            kept.append(f"{name} stays at {best.tag}, which is newer (--force moves it back)")
        if current not in (None, best.digest) and not force:
            there_image = known.get(current or "")
            if there_image is None:
                kept.append(f"{name} stays: it points at an image that no report proves (--force moves it)")
                continue
            if there_image.tag != best.tag and there_image.rank > best.rank:
                kept.append(f"{name} stays at {there_image.tag}, which is newer (--force moves it back)")
                continue
        wanted[name] = best
    moves = tuple(
        Move(tag, image.digest, held.get(tag)) for tag, image in wanted.items() if held.get(tag) != image.digest
    )
    return Plan(moves, tuple(kept))
