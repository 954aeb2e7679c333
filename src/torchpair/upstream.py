"""What PyPI has now against what the facts say, and the way of a new release into the facts.

`torchpair facts check` and `torchpair facts add`. Nothing else asks PyPI about releases: rows resolve from the facts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from packaging.version import InvalidVersion, Version

from torchpair.errors import TorchpairError
from torchpair.facts import ARCHES, CUDA, FOLDER, RELEASES, Facts, FactsError, schema, text_of
from torchpair.facts import entry as entries
from torchpair.facts import listing as listings_of
from torchpair.facts.architectures import architectures
from torchpair.facts.entry import LEAST_GLIBC, STABLE
from torchpair.facts.listing import Listing, Release
from torchpair.facts.pypi import Fetch, PypiError, fetch, index_url
from torchpair.files import write_whole

PACKAGES = ("torch", "torchaudio", "torchcodec")
Say = Callable[[str], None]


@dataclass(frozen=True)
class Difference:
    """One thing that PyPI and the facts do not say alike.

    kind: new, gone, yanked, served, pythons, arches, glibc or sm.
    """

    package: str
    version: str
    kind: str
    detail: str
    remedy: str | None = None


@dataclass(frozen=True)
class _Known:
    """What the facts say of one release, alike for the three packages."""

    pypi: Mapping[str, str]
    pythons: Mapping[str, tuple[str, ...]]
    glibc: Mapping[str, str]
    status: str


def look_up(package: str, say: Say, fetch: Fetch = fetch, index: str | None = None) -> Listing:
    """Every release of a package on PyPI that has Linux wheels: one request. Raises PypiError."""
    say(f"asking PyPI for {package}")
    page = f"{index or index_url()}/{package}/"
    found = listings_of.read(package, page, fetch(page))
    if found.unreadable:
        say(f"{package}: {found.unreadable} files skipped, their names follow no rule")
    if not found.releases:
        raise PypiError(f"the page of {package} lists no Linux wheel", remedy="look whether the index is the right one")
    return found


def check_facts(
    say: Say, fetch: Fetch = fetch, folder: Path = FOLDER, index: str | None = None, wheels: bool = False
) -> list[Difference]:
    """The facts of a folder, checked in full and compared with PyPI: three requests.

    wheels: also with what torch's wheels were compiled for, some ten MB of each. Raises FactsError, PypiError.
    """
    facts = schema.validate(folder)
    index = index or index_url()
    listings = {package: look_up(package, say, fetch, index) for package in PACKAGES}
    return compare(facts, listings) + (_compiled(facts, listings["torch"], say, fetch) if wheels else [])


def _compiled(facts: Facts, listing: Listing, say: Say, fetch: Fetch) -> list[Difference]:
    """What torch's wheels on PyPI were compiled for, against the facts; oldest release first."""
    found = []
    for version, torch in sorted(facts.torch.items(), key=lambda item: Version(item[0])):
        release = listing.find(version)
        for arch, tag in torch.pypi.items() if release else ():
            if tag == "cpu" or not release or not release.of(arch):
                continue
            wheel = max(release.of(arch), key=lambda wheel: wheel.build)
            say(f"reading {wheel.file}")
            there, here = architectures(wheel.url, fetch), torch.index[tag].sm.get(arch)
            if there is not None and set(there) != set(here or ()):
                detail = f"{tag} on {arch}: {_some(there)}; the facts: {_some(here or ())}"
                found.append(Difference("torch", version, "sm", detail, f"edit its entry in {RELEASES}"))
    return found


def compare(facts: Facts, listings: Mapping[str, Listing]) -> list[Difference]:
    """Differences by package, oldest release first. Pure."""
    found: list[Difference] = []
    for package, listing in listings.items():
        known = _known(facts, package)
        on_pypi = {Version(v): release for v, release in listing.releases.items()}
        described = {Version(v): (v, entry) for v, entry in known.items()}
        for version in sorted({*on_pypi, *described}):
            if version in described:
                found += _compare(package, *described[version], on_pypi.get(version))
            elif not version.is_prerelease and not on_pypi[version].yanked and version > min(described):
                release = on_pypi[version]
                pythons = "; ".join(f"{arch}: Python {_some(release.pythons(arch))}" for arch in release.arches)
                add = f"torchpair facts add {package} {release.version}"
                found.append(Difference(package, release.version, "new", f"not in the facts ({pythons})", add))
    return found


def _known(facts: Facts, package: str) -> dict[str, _Known]:
    if package == "torch":
        return {v: _Known(t.pypi, t.pythons, t.glibc, t.status or "") for v, t in facts.torch.items()}
    table = facts.torchaudio if package == "torchaudio" else facts.torchcodec
    return {v: _Known(e.pypi, dict.fromkeys(ARCHES, e.pythons), {}, e.status or "") for v, e in table.items()}


def _compare(package: str, version: str, known: _Known, release: Release | None) -> list[Difference]:
    def difference(kind: str, detail: str) -> Difference:
        return Difference(package, version, kind, detail, f"edit its entry in {RELEASES}")

    if release is None:
        return [difference("gone", "no longer on PyPI")] if known.pypi else []
    if not known.pypi:
        return [difference("served", f"the facts say that PyPI does not have it; it has: {', '.join(release.arches)}")]
    found = []
    if release.yanked and "yanked" not in known.status:
        found.append(difference("yanked", "taken back by its authors"))
    if set(release.arches) != set(known.pypi):
        found.append(difference("arches", f"{_some(release.arches)}; the facts: {_some(known.pypi)}"))
    for arch in release.arches:
        there, here = release.pythons(arch), known.pythons[arch]
        if arch in known.pypi and there != here:
            more, less = [p for p in there if p not in here], [p for p in here if p not in there]
            changes = [f"{word} {_some(some)}" for word, some in (("new", more), ("gone", less)) if some]
            found.append(difference("pythons", f"Python on {arch}: {', '.join(changes) or 'another order'}"))
        glibc = release.glibc(arch)
        if glibc and arch in known.glibc and max(Version(glibc), LEAST_GLIBC) != Version(known.glibc[arch]):
            found.append(difference("glibc", f"{glibc} on {arch}; the facts: {known.glibc[arch]}"))
    return found


def _some(words: Sequence[str] | Mapping[str, str]) -> str:
    return ", ".join(words) or "none"


def describe(differences: Sequence[Difference]) -> str:
    """The differences for a person: a line each, by package, with what to do."""
    if not differences:
        return "No difference: PyPI has the releases, Pythons and architectures that the facts describe."
    lines = []
    for package in dict.fromkeys(d.package for d in differences):
        lines.append(package)
        for one in (d for d in differences if d.package == package):
            lines.append(f"  {one.version:<8} {one.kind + ':':<9} {one.detail}")
            lines += [f"           try: {one.remedy}"] if one.remedy else []
    return "\n".join(lines)


def add_release(
    package: str,
    version: str,
    folder: Path,
    say: Say,
    fetch: Fetch = fetch,
    index: str | None = None,
    today: date | None = None,
) -> str:
    """Write the entry of a release that PyPI has and the facts do not; what was done, in words.

    A dozen small requests. The file is replaced as a whole and only by one that passes schema.check.
    Raises TorchpairError: unknown to PyPI, known already, yanked, or not to be described by what a wheel says.
    """
    if package not in PACKAGES:
        raise TorchpairError(f"the facts have no table of {package!r}", remedy=f"one of: {', '.join(PACKAGES)}")
    wanted = _version(version)
    releases_text, cuda_text = text_of(folder / RELEASES), text_of(folder / CUDA)
    facts = schema.check(releases_text, cuda_text, folder)
    release = _release(package, wanted, facts, look_up(package, say, fetch, index))
    built = {}
    for arch in release.arches:
        wheel = max(release.of(arch), key=lambda wheel: wheel.build)
        say(f"reading {wheel.file}")
        built[arch] = entries.built(package, release, wheel, fetch)
    status = f"added {today or date.today()} by torchpair facts add; "
    entry = entries.lines(package, release, built, facts, status)
    text = entries.inserted(releases_text, package, Version(release.version), entry)
    try:
        schema.check(text, cuda_text, folder)
    except FactsError as error:
        raise FactsError(
            f"{package} {release.version} cannot be added: its entry would contradict the facts",
            why=str(error),
            remedy=f"write the entry into {folder / RELEASES} by hand",
        ) from error
    write_whole(folder / RELEASES, text)
    return f"{package} {release.version} stands in {folder / RELEASES}, marked as not verified:\n" + "\n".join(entry)


def _version(text: str) -> Version:
    try:
        if len(text) > 40:  # thousands of digits are a version to packaging, and no number to Python
            raise InvalidVersion
        return Version(text)
    except InvalidVersion:
        shown = text if len(text) <= 40 else f"{text[:40]}…"
        raise TorchpairError(f"{shown!r} is not a version", remedy='a whole version such as "2.16.0"') from None


def _release(package: str, wanted: Version, facts: Facts, listing: Listing) -> Release:
    """The release to add. Raises TorchpairError where it is none."""
    release = listing.find(str(wanted))
    if any(Version(v) == wanted for v in _known(facts, package)):
        raise TorchpairError(f"the facts know {package} {wanted} already", remedy="torchpair facts check")
    if release is None:
        newest = max((v for v in listing.releases if not Version(v).is_prerelease), key=Version, default="none")
        raise TorchpairError(f"PyPI has no Linux wheel of {package} {wanted}", why=f"the newest there: {newest}")
    if release.yanked:
        raise TorchpairError(f"{package} {wanted} is yanked: its authors took it back")
    if wanted.is_prerelease:
        raise TorchpairError(f"{package} {wanted} is a pre-release", why="the facts describe releases only")
    if package == "torch" and (wanted.major != STABLE.major or wanted < STABLE):
        raise TorchpairError(
            f"no rule says which torchaudio goes with torch {wanted}",
            why=f"the rule that needs no lookup holds for torch {STABLE} and later, within torch {STABLE.major}",
            remedy="write its entry by hand",
        )
    if package == "torch" and set(release.arches) != set(ARCHES):
        raise TorchpairError(f"torch {wanted} has wheels for {_some(release.arches)} only", why="the facts need both")
    return release
