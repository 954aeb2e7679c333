"""The wheels of a package as its index lists them.

https://packaging.python.org/en/latest/specifications/simple-repository-api/ as HTML and as JSON. What comes from there
is matched before it is believed: versions, Pythons and platforms are packaging's own reading of file names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name, parse_wheel_filename
from packaging.version import Version

from torchpair.facts import ARCHES
from torchpair.facts.pypi import PypiError

_LINUX = re.compile(r"manylinux(?:_2_(\d{1,3})|1|2010|2014)_(" + "|".join(ARCHES) + ")", re.ASCII)
_OLD_GLIBC = {"1": 5, "2010": 12, "2014": 17}  # PEP 513, 571, 599
_CPYTHON = re.compile(r"cp3(\d{1,2})", re.ASCII)


@dataclass(frozen=True)
class Wheel:
    """One Linux wheel for one CPU architecture, as its file name describes it."""

    url: str
    file: str
    arch: str
    pythons: tuple[str, ...]  # () for a wheel that fits every Python ("py3-none") until `Listing` knows which exist
    glibc: str
    build: tuple[Any, ...] = ()
    since: str | None = None  # the lowest Python of such a wheel


@dataclass(frozen=True)
class Release:
    """The Linux wheels of one version."""

    version: str
    wheels: tuple[Wheel, ...]
    yanked: bool

    def of(self, arch: str) -> tuple[Wheel, ...]:
        return tuple(wheel for wheel in self.wheels if wheel.arch == arch)

    @property
    def arches(self) -> tuple[str, ...]:
        return tuple(arch for arch in ARCHES if self.of(arch))

    def pythons(self, arch: str) -> tuple[str, ...]:
        return tuple(sorted({p for wheel in self.of(arch) for p in wheel.pythons}, key=python_order))

    def glibc(self, arch: str) -> str | None:
        """The highest glibc that any of the wheels asks for."""
        return max((wheel.glibc for wheel in self.of(arch)), key=Version, default=None)


@dataclass(frozen=True)
class Listing:
    """All releases of a package that have Linux wheels. unreadable: files skipped for their names."""

    package: str
    releases: Mapping[str, Release] = field(default_factory=dict)
    unreadable: int = 0

    def find(self, version: str) -> Release | None:
        """The release of this version, however it is spelled ("2.8" is "2.8.0")."""
        wanted = Version(version)
        return next((r for v, r in self.releases.items() if Version(v) == wanted), None)


def python_order(python: str) -> tuple[int, bool]:
    return int(python.rstrip("t").split(".")[1]), python.endswith("t")


def read(package: str, page: str, data: bytes) -> Listing:
    """The listing on a package's page (its URL and its bytes). Raises PypiError."""
    try:
        text = data.decode("utf-8")
        links = list(_json_links(text) if text.lstrip().startswith("{") else _html_links(text))
    except (ValueError, RecursionError) as error:
        raise PypiError(f"the page of {package} cannot be read", why=str(error)[:200]) from error
    return _listing(package, page, links)


@dataclass(frozen=True)
class _Link:
    file: str
    url: str
    yanked: bool
    requires_python: str


def _json_links(text: str) -> Iterator[_Link]:
    page = json.loads(text)
    for entry in page.get("files", ()) if isinstance(page.get("files", ()), list) else ():
        if isinstance(entry, dict) and isinstance(entry.get("filename"), str) and isinstance(entry.get("url"), str):
            requires = entry.get("requires-python")
            yanked = entry.get("yanked", False) is not False
            yield _Link(entry["filename"], entry["url"], yanked, requires if isinstance(requires, str) else "")


class _Anchors(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[_Link] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        href = found.get("href")
        if tag == "a" and href:
            # The path's last part, not the text of the link: the URL is what would be fetched.
            file = unquote(urlsplit(href).path.rsplit("/", 1)[-1])
            self.links.append(_Link(file, href, "data-yanked" in found, found.get("data-requires-python") or ""))


def _html_links(text: str) -> Iterator[_Link]:
    parser = _Anchors()
    parser.feed(text)
    parser.close()
    return iter(parser.links)


def _listing(package: str, page: str, links: list[_Link]) -> Listing:
    wheels: dict[Version, list[tuple[Wheel, bool]]] = {}
    unreadable = 0
    for link in links:
        if not link.file.endswith(".whl"):
            continue
        try:
            version, found = _wheels(link, package, page)
        except ValueError:  # what packaging raises, too
            unreadable += 1
            continue
        if found:
            wheels.setdefault(version, []).extend((wheel, link.yanked) for wheel in found)
    exist = sorted({p for found in wheels.values() for wheel, _ in found for p in wheel.pythons}, key=python_order)
    releases = {}
    for version in sorted(wheels):
        complete = tuple(_with_pythons(wheel, exist) for wheel, _ in wheels[version])
        yanked = all(yanked for _, yanked in wheels[version])
        releases[str(version)] = Release(str(version), complete, yanked)
    return Listing(package, releases, unreadable)


def _wheels(link: _Link, package: str, page: str) -> tuple[Version, list[Wheel]]:
    """The wheel of a link, once for every CPU architecture of ours that it is for. Raises what packaging raises."""
    name, version, build, tags = parse_wheel_filename(link.file)
    url = urljoin(page, link.url).split("#")[0]
    if name != canonicalize_name(package) or urlsplit(url).scheme not in ("http", "https"):
        raise ValueError
    if version.local:
        return version, []  # a variant; the release is the version without a label
    wheels = []
    for arch in ARCHES:
        minors = [_glibc_minor(m) for t in tags if (m := _LINUX.fullmatch(t.platform)) and m[2] == arch]
        if not minors:
            continue
        exact = {(t.interpreter, t.abi) for t in tags if t.abi in (t.interpreter, t.interpreter + "t")}
        pythons = {f"3.{m[1]}" + "t" * abi.endswith("t") for cp, abi in exact if (m := _CPYTHON.fullmatch(cp))}
        since = None
        if not pythons:
            lowest = [int(m[1]) for t in tags if (m := _CPYTHON.fullmatch(t.interpreter))]
            since = f">=3.{min(lowest)}" if lowest else ">=3"
            if link.requires_python:
                since = str(SpecifierSet(since) & SpecifierSet(link.requires_python))
        wheels.append(
            # Several tags on one wheel: the lowest glibc is enough.
            Wheel(url, link.file, arch, tuple(sorted(pythons, key=python_order)), f"2.{min(minors)}", build, since)
        )
    return version, wheels


def _glibc_minor(match: re.Match[str]) -> int:
    return int(match[1]) if match[1] else _OLD_GLIBC[match[0].removeprefix("manylinux").split("_")[0]]


def _with_pythons(wheel: Wheel, exist: list[str]) -> Wheel:
    """A wheel for every Python is one for those that the package has been published for, free-threaded ones apart."""
    if wheel.since is None:
        return wheel
    allowed = SpecifierSet(wheel.since)
    pythons = tuple(p for p in exist if not p.endswith("t") and allowed.contains(p))
    return replace(wheel, pythons=pythons)
