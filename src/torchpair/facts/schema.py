"""The whole check of releases.yaml and cuda.yaml: spelling line by line, then what the entries say of each other.

Slow beside `facts.load` (it composes YAML nodes, which know their lines), so commands that only read do without it.
It runs in the tests, in `torchpair facts check`, and on every text that `torchpair facts add` is about to write.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from torchpair.facts import _LOADER, ARCHES, CUDA, FOLDER, RELEASES, Facts, parse, text_of
from torchpair.facts.agree import Keys, Spot, agree

Shape = Callable[[yaml.Node, Keys, Spot], None]


def _scalar(node: yaml.Node, kind: str, path: Keys, spot: Spot) -> str:
    if not isinstance(node, yaml.ScalarNode) or node.tag != f"tag:yaml.org,2002:{kind}":
        scalar = isinstance(node, yaml.ScalarNode)
        shown = repr(node.value) if scalar else "a list or a mapping"
        hint = "put it in quotes" if kind == "str" and scalar else None
        spot.refuse(path, f"{shown} is not a {'text' if kind == 'str' else kind}", hint)
    return str(node.value)


def _text(allowed: str, test: Callable[[str], object]) -> Shape:
    """A text that `test` accepts: it returns something true and raises no ValueError."""

    def check(node: yaml.Node, path: Keys, spot: Spot) -> None:
        value = _scalar(node, "str", path, spot)
        try:
            fits = test(value)
        except ValueError:  # what packaging raises, too
            fits = False
        if not fits:
            spot.refuse(path, f"{value!r} is not {allowed}")

    return check


def _like(allowed: str, pattern: str) -> Shape:
    return _text(allowed, re.compile(pattern, re.ASCII).fullmatch)


def _integer(node: yaml.Node, path: Keys, spot: Spot) -> None:
    _scalar(node, "int", path, spot)


def _date(node: yaml.Node, path: Keys, spot: Spot) -> None:
    _scalar(node, "timestamp", path, spot)


def _maybe(shape: Shape) -> Shape:
    def check(node: yaml.Node, path: Keys, spot: Spot) -> None:
        if node.tag != "tag:yaml.org,2002:null":
            shape(node, path, spot)

    return check


def _list(shape: Shape, order: Callable[[str], Any] | None = None, least: int = 1) -> Shape:
    """A list without duplicates; with `order`, ascending by it."""

    def check(node: yaml.Node, path: Keys, spot: Spot) -> None:
        if not isinstance(node, yaml.SequenceNode):
            spot.refuse(path, "is not a list")
        for child in node.value:
            shape(child, path, spot)
        values = [child.value for child in node.value]
        if len(values) < least:
            spot.refuse(path, "is empty")
        _unique_and_ordered(values, order, path, spot)

    return check


def _unique_and_ordered(values: list[str], order: Callable[[str], Any] | None, path: Keys, spot: Spot) -> None:
    ranks = [order(value) for value in values] if order else values
    twice = next((value for value, rank in zip(values, ranks, strict=True) if ranks.count(rank) > 1), None)
    if twice:
        spot.refuse(path, f"{twice!r} stands there twice")
    if order and ranks != sorted(ranks):
        spot.refuse(path, "is not in ascending order", f"right: {', '.join(sorted(values, key=order))}")


def _pairs(node: yaml.Node, path: Keys, spot: Spot) -> Iterable[tuple[str, yaml.Node]]:
    if not isinstance(node, yaml.MappingNode):
        spot.refuse(path, "is not a mapping of keys")
    seen = set()
    for key_node, child in node.value:
        key = _scalar(key_node, "str", path, spot)
        spot.lines[(*path, key)] = key_node.start_mark.line + 1
        if key in seen:
            spot.refuse((*path, key), "stands there twice")
        seen.add(key)
        yield key, child


def _keys(needed: Mapping[str, Shape], optional: Mapping[str, Shape] | None = None) -> Shape:
    known = {**needed, **(optional or {})}

    def check(node: yaml.Node, path: Keys, spot: Spot) -> None:
        found = set()
        for key, child in _pairs(node, path, spot):
            if key not in known:
                spot.refuse((*path, key), f"unknown key {key!r}", f"known here: {', '.join(known)}")
            known[key](child, (*path, key), spot)
            found.add(key)
        missing = [key for key in needed if key not in found]
        if missing:
            spot.refuse(path, f"the key {missing[0]!r} is missing")

    return check


def _table(key: Shape, shape: Shape, order: Callable[[str], Any] | None = None) -> Shape:
    """A mapping whose keys are data."""

    def check(node: yaml.Node, path: Keys, spot: Spot) -> None:
        keys = []
        for name, child in _pairs(node, path, spot):
            key(yaml.ScalarNode("tag:yaml.org,2002:str", name), (*path, name), spot)
            shape(child, (*path, name), spot)
            keys.append(name)
        _unique_and_ordered(keys, order, path, spot)

    return check


def _sm_order(sm: str) -> tuple[int, ...]:
    return tuple(int(part) for part in sm.removesuffix("+PTX").split("."))


def _python_order(python: str) -> tuple[int, bool]:
    return int(python.rstrip("t").split(".")[1]), python.endswith("t")


ANY = _text("a text", lambda text: text.strip() and text.isprintable())
NOTES = _list(ANY)
VERSION = _text(
    "a version, written without a label", lambda text: re.fullmatch(r"[0-9][0-9a-z.]*", text) and Version(text)
)
CUDNN = _like('a version such as "9.10.2.21"', r"\d+(\.\d+)+")
SPECIFIER = _text('a version specifier such as ">=0.12"', lambda text: text and SpecifierSet(text) is not None)
REQUIREMENT = _text("a requirement", lambda text: Requirement(text) is not None)
TAG = _like('a CUDA variant such as "cu128", or "cpu"', r"cpu|cu[1-9]\d\d")
FAMILY = _like('a CUDA such as "12.8"', r"[1-9]\d\.\d")
SM = _like('a compute capability such as "9.0" or "12.0+PTX"', r"\d{1,2}\.\d(\+PTX)?")
PYTHON = _like('a Python such as "3.11" or "3.13t"', r"3\.\d{1,2}t?")
GLIBC = _like('a glibc such as "2.28"', r"2\.\d{1,2}")
ARCH = _like(" or ".join(ARCHES), "|".join(ARCHES))
PYTHONS = _list(PYTHON, _python_order)
SM_LIST = _maybe(_list(SM, _sm_order))
SOURCES = _list(ANY)
PYPI = _table(ARCH, TAG)
PACKAGE = _like('a package such as "libgomp1"', r"[a-z0-9][a-z0-9+.-]+")
ARCH_LIST = _maybe(_list(ARCH))
MARKS = {"status": ANY, "notes": NOTES}
VARIANT = _keys(
    {"arches": ARCH_LIST},
    {"sm": SM_LIST, "sm_aarch64": SM_LIST, "cudnn": _maybe(CUDNN), "nccl": _maybe(CUDNN), "status": ANY},
)
TORCH = _keys(
    {
        "torchaudio": _list(VERSION),
        "torchcodec": _maybe(SPECIFIER),
        "pythons": PYTHONS,
        "pypi": PYPI,
        "index": _table(TAG, VARIANT),
        "glibc": _table(ARCH, GLIBC),
        "numpy": SPECIFIER,
        "sources": SOURCES,
    },
    {
        "torchvision": VERSION,
        "pythons_aarch64": PYTHONS,
        "cxx11_abi": ANY,
        "cxx_standard": _integer,
        "cudnn": _maybe(CUDNN),
        "nccl": _maybe(CUDNN),
        "triton": SPECIFIER,
        "setuptools": REQUIREMENT,
        "requires_python": SPECIFIER,
        "system": _table(ARCH, _list(PACKAGE)),
        **MARKS,
    },
)
TORCHAUDIO = _keys(
    {
        "torch": _maybe(VERSION),
        "cuda_check": _like('"exact" or "major"', "exact|major"),
        "pythons": PYTHONS,
        "pypi": _maybe(PYPI),
        "sources": SOURCES,
    },
    {"index": _maybe(_table(TAG, _keys({"arches": ARCH_LIST}, {"status": ANY}))), **MARKS},
)
TORCHCODEC = _keys({"pythons": PYTHONS, "pypi": PYPI, "sources": SOURCES}, MARKS)
TOOLKIT = _keys(
    {
        "toolkit_driver": _maybe(CUDNN),
        "cudnn": _like('"cudnn", "cudnn8" or "cudnn9"', r"cudnn\d?"),
        "ubuntu": _list(_like('an Ubuntu such as "22.04"', r"\d\d\.\d\d"), Version),
        "gcc_max": _maybe(_integer),
        "gcc_max_status": _maybe(_like('"verified" or "inferred"', "verified|inferred")),
        "source": ANY,
    },
    MARKS,
)
DISTRO = _keys(
    {
        "family": _like('"ubuntu" or "debian"', "ubuntu|debian"),
        "version": _like("a version", r"\d+(\.\d+)?"),
        "codename": _like("a word", "[a-z]+"),
        "glibc": _maybe(GLIBC),
        "python": PYTHON,
        "ffmpeg": _maybe(_integer),
        "source": ANY,
    },
    MARKS,
)
HEAD = {
    "schema": ANY,
    "collected": _date,
    "sources": _table(_like("a short name", r"[a-z0-9][a-z0-9.-]*"), ANY),
}
RELEASES_FILE = _keys(
    {
        **HEAD,
        "torchaudio": _table(VERSION, TORCHAUDIO, Version),
        "torchcodec": _table(VERSION, TORCHCODEC, Version),
        "torch": _table(VERSION, TORCH, Version),
    }
)
CUDA_FILE = _keys(
    {
        **HEAD,
        "driver": _table(_like("a CUDA major", r"[1-9]\d"), CUDNN),
        "dropped_sm": _table(FAMILY, _list(SM, _sm_order), Version),
        "min_cuda_for_sm": _table(SM, FAMILY),
        "distros": _table(_like('a name such as "debian12"', r"(ubuntu\d\d\.\d\d|debian\d\d)"), DISTRO),
        "toolkits": _table(_like('a toolkit such as "12.8.1"', r"[1-9]\d\.\d\.\d{1,2}"), TOOLKIT, Version),
    }
)


def validate(folder: Path = FOLDER) -> Facts:
    """The facts of a folder, checked in full. Raises FactsError: file, line, keys and reason."""
    return check(text_of(folder / RELEASES), text_of(folder / CUDA), folder)


def check(releases_text: str, cuda_text: str, folder: Path = FOLDER) -> Facts:
    """As `validate`, from the text of both files. folder: named in errors, never read."""
    spots = []
    for name, text, shape in ((RELEASES, releases_text, RELEASES_FILE), (CUDA, cuda_text, CUDA_FILE)):
        spot = Spot(folder / name, {})
        try:
            node = yaml.compose(text, _LOADER)
        except yaml.YAMLError:
            parse(releases_text, cuda_text, folder)  # says where and why
            raise
        if node is None:
            spot.refuse((), "is empty")
        shape(node, (), spot)
        spots.append(spot)
    facts = parse(releases_text, cuda_text, folder)
    agree(facts, *spots)
    return facts
