"""`torchpair bundle`: rows -> one folder with all that building them takes. What lies where is told in bundle.py."""

from __future__ import annotations

import base64
import json
import shutil
import ssl
import sys
import tarfile
import tempfile
import threading
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

import docker.errors

import torchpair
from torchpair import build, bundle, debs, fetch, formatting, materials, mirrors, wheels
from torchpair import lock as locks
from torchpair.bundle import BundleError
from torchpair.command import run
from torchpair.engine import Engine
from torchpair.errors import CommandError, EngineError, LockError
from torchpair.files import write_whole
from torchpair.lock import Lock
from torchpair.materials import NOTHING
from torchpair.matrix import Mirror
from torchpair.parallel import each
from torchpair.progress import Progress
from torchpair.spec import Spec
from torchpair.workspace import Workspace

PARTS = ("downloads", "images", "locks", "sources", "torchpair")
OTHERS = 1_000_000_000  # bytes: base images, packages of the distribution, sources, torchpair itself
# Where uv has CPython from when no mirror is named (uv 0.13.9).
PYTHONS = ("https://releases.astral.sh/github/python-build-standalone/releases/download",
           "https://github.com/astral-sh/python-build-standalone/releases/download")  # fmt: skip


def prepare(folder: Path, needed: int) -> None:
    """Make the folder, or take that of an earlier call, of which what is right is kept. Raises BundleError."""
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / bundle.ABOUT).is_file())):
        raise BundleError(f"{folder} holds something else", remedy="--output a folder that is not there yet, or empty")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / bundle.SUMS).unlink(missing_ok=True)  # until all is there again, nothing is whole
    write_whole(folder / bundle.ABOUT, "{}\n")
    there = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    free = shutil.disk_usage(folder).free
    if needed - there > free:
        raise BundleError(
            f"the disk cannot hold this bundle: about {needed / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free",
            where=str(folder),
        )


def make(workspace: Workspace, names: Sequence[str], folder: Path, base: str, shown: Progress) -> str:
    """Fill the folder with what rows take; the sha256 of its SHA256SUMS. Raises TorchpairError.

    What an earlier call has fetched, and is right, is not fetched again.
    """
    engine, kind, specs = materials.ready(workspace, names, base, shown.say)
    for reason in materials.lock(workspace, specs, shown.say).values():
        raise LockError(reason)
    given = {spec.name: lock for spec in specs if (lock := workspace.lock(spec))}
    mirror, downloads = workspace.mirror, folder / "downloads"
    everything = [*given.values(), locks.read_tools(workspace.locks)]
    everything += [lock for spec in specs for lock in workspace.extras(spec, make=True).values()]
    sizes = {wheel.sha256: wheel.size or 0 for lock in everything for wheel in lock.wheels}
    prepare(folder, sum(sizes.values()) + OTHERS)
    kept = set[Path]()
    sources = []
    for spec in specs:
        inputs = materials.inputs(workspace, spec, NOTHING, shown.say)
        for recipe in spec.recipes:
            file = f"sources/{recipe.package}-{spec.name}.tar"
            _tar(inputs.contexts[recipe.context], folder / file)
            kept.add(folder / file)
            told = {"row": spec.name, "package": recipe.package, "file": file, "told": inputs.told[recipe.package]}
            sources.append(told)
    materials.base_images(workspace, engine, specs, shown.say)
    kept |= _wheels(specs, given, workspace, downloads, shown)
    images = {}  # before the packages: what a mirror's registry has gets its own name here
    wanted = (image for spec in specs for image in (spec.image, spec.tools, spec.toolkit_image) if image)
    for reference in dict.fromkeys(wanted):
        images[reference] = file = f"images/{reference.translate(str.maketrans('/:@', '___'))}.tar"
        _image(engine, reference, mirror, folder / file, shown)
        kept.add(folder / file)
    kept |= debs.fetch(engine, specs, mirror, downloads / "apt", workspace.reports / "logs" / "bundle.log", shown)
    for spec in specs:
        if spec.python_from == "uv":
            kept.add(_python(spec, downloads, mirror, shown))
    kept |= _own(folder / "torchpair", shown)
    for spec in specs:
        own = [str(locks.path_of(spec, Path())), "tools.txt", *(f"build/{name}.txt" for name in locks.extras(spec))]
        for name in own:
            target = folder / "locks" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(workspace.locks / name, target)
            kept.add(target)
    shutil.copyfile(workspace.file, folder / "matrix.yaml")
    about = {
        "schema": bundle.SCHEMA, "torchpair": torchpair.__version__, "rows": [spec.name for spec in specs],
        "base": kind, "images": images, "sources": sources,
    }  # fmt: skip
    write_whole(folder / bundle.ABOUT, json.dumps(about, indent=1) + "\n")
    return _sums(folder, kept)


# ---- wheels, and the index that pip and uv find them by -----------------------------------------------------------


def _wheels(
    specs: Sequence[Spec], given: Mapping[str, Lock], workspace: Workspace, downloads: Path, shown: Progress
) -> set[Path]:
    """The wheels of every lock; those that are there already stay."""
    asked = [(given[spec.name], spec.python, spec.arch) for spec in specs]
    asked.append((locks.read_tools(workspace.locks), "3.10", "x86_64"))
    asked += [(lock, "3.10", "x86_64") for spec in specs for lock in workspace.extras(spec, make=False).values()]
    places: dict[Path, tuple[locks.Locked, str]] = {}
    for lock, python, arch in asked:
        for wheel, url in wheels.addresses(lock, python, arch, workspace.mirror):
            places[downloads / wheels.place(wheel)] = wheel, url
    context = ssl.create_default_context(cafile=build.ca_bundle())
    headers, stop = _login(workspace.mirror), threading.Event()

    def one(item: tuple[Path, tuple[locks.Locked, str]]) -> None:
        target, (wheel, url) = item
        if target.is_file() and fetch.digest(target) == wheel.sha256:
            return
        target.unlink(missing_ok=True)
        ours = urlsplit(url).hostname == urlsplit(workspace.mirror.pypi or "").hostname
        try:
            login = headers if ours else None
            fetch.bring(url, target, size=wheel.size, sha256=wheel.sha256, headers=login, context=context, stop=stop)
        except fetch.FetchError as error:
            raise BundleError(
                f"{wheel.file} cannot be had", why=error.what, remedy="the same command goes on where it stopped"
            ) from error
        if (wheel.size or 0) > 100_000_000:
            shown.say(f"{wheel.file}: {formatting.size(wheel.size)}")

    shown.say(f"Wheels: {len(places)}, {formatting.size(sum(wheel.size or 0 for wheel, _ in places.values()))}.")
    each(one, places.items(), 4, stop)
    pages: dict[str, list[locks.Locked]] = {}
    for wheel, _ in places.values():
        if wheel.url is None:
            pages.setdefault(wheel.name, []).append(wheel)
    for name, found in pages.items():
        page = downloads / "simple" / name / "index.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        write_whole(page, wheels.page(found))
    return {*places, *(downloads / "simple" / name / "index.html" for name in pages)}


def _login(mirror: Mirror) -> dict[str, str]:
    """The header that logs in to the index of the environment, where its address has a login."""
    parts = urlsplit(mirror.pypi or "")
    if not parts.username:
        return {}
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


def _python(spec: Spec, downloads: Path, mirror: Mirror, shown: Progress) -> Path:
    """CPython as uv brings it: the archive that the uv of the build's own tools asks for."""
    (wheel,) = (downloads / "wheels").glob("uv-*.whl")
    with tempfile.TemporaryDirectory(prefix="torchpair-uv-") as temporary, zipfile.ZipFile(wheel) as packed:
        (name,) = [one for one in packed.namelist() if one.endswith(".data/scripts/uv")]
        program = Path(packed.extract(name, temporary))
        program.chmod(0o755)
        key = f"cpython-{spec.python}-linux-{spec.arch}-gnu"
        argv = [str(program), "python", "list", key, "--only-downloads", "--no-config", "--output-format", "json"]
        url = str(json.loads(run(argv))[0]["url"])
    rest = next((url.removeprefix(f"{start}/") for start in PYTHONS if url.startswith(f"{start}/")), None)
    if rest is None:
        raise BundleError(f"CPython {spec.python} is not where it was looked for", why=url)
    target = downloads / "python" / unquote(rest)
    if not target.is_file():
        shown.say(f"fetching {target.name}")
        try:
            fetch.bring(f"{mirror.python.rstrip('/')}/{rest}" if mirror.python else url, target)
        except fetch.FetchError as error:
            why = f"{spec.distro} has no Python {spec.python} of its own; {error.what}"
            raise BundleError(f"CPython {spec.python} cannot be had", why=why, remedy="--mirror NAME") from error
    return target


# ---- images, sources, torchpair itself ----------------------------------------------------------------------------


def _image(engine: Engine, reference: str, mirror: Mirror, target: Path, shown: Progress) -> None:
    """An image as `docker save` gives it; pulled where the engine has it not. Raises EngineError."""
    if "@" in reference:
        raise BundleError(f"{reference} is named by its digest, and `docker load` gives no digests back",
                          remedy="name it by a tag in the matrix")  # fmt: skip
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    try:
        with closing(engine.client(timeout=3600)) as client:
            try:
                image = client.images.get(reference)
            except docker.errors.ImageNotFound:
                place = mirrors.image(reference, mirror)
                shown.say(f"Pulling {place}.")
                client.images.pull(place).tag(*reference.rsplit(":", 1))
                image = client.images.get(reference)
            shown.say(f"Saving {reference}: {formatting.size(image.attrs['Size'])}.")
            with part.open("wb") as out:
                out.writelines(image.save(chunk_size=1 << 20, named=reference))
        part.rename(target)
    except docker.errors.DockerException as error:
        why = str(getattr(error, "explanation", None) or error)
        raise EngineError(f"{reference} cannot be had", why=why) from error
    finally:
        part.unlink(missing_ok=True)


def _tar(folder: Path, target: Path) -> None:
    """A folder as tar, of nobody."""

    def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        return member

    target.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(target, "w") as tar:
        for path in sorted(folder.iterdir()):
            tar.add(path, arcname=path.name, filter=plain)


def _own(folder: Path, shown: Progress) -> set[Path]:
    """What `make` installs torchpair with, for this Python; nothing where torchpair is not a checkout."""
    root = Path(torchpair.__file__).resolve().parents[2]
    if not (root / "pyproject.toml").is_file():
        shown.say("torchpair is installed here, not a checkout: install it on the other machine as well.")
        return set()
    folder.mkdir(parents=True, exist_ok=True)
    argv = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--dest", str(folder)]
    argv += ["--constraint", str(root / "constraints.txt"), "--only-binary", ":all:"]
    try:
        # What hatchling's own editable installs need is asked for by name: pip looks for it during the build only.
        run([*argv, *_requirements(), "hatchling", "editables"], timeout=1800)
    except CommandError as error:
        raise BundleError("torchpair's own packages cannot be had", why=error.why or error.what) from error
    return {path for path in folder.iterdir() if path.suffix == ".whl"}


def _requirements() -> list[str]:
    from importlib.metadata import requires

    return [one for one in requires("torchpair") or () if "extra ==" not in one]


def _sums(folder: Path, kept: Iterable[Path]) -> str:
    """Remove what an earlier call left and no list names, and write SHA256SUMS; its own sha256."""
    wanted = {*kept, folder / bundle.ABOUT, folder / "matrix.yaml"}
    for part in PARTS:
        for path in (folder / part).rglob("*"):
            if not path.is_dir() and path not in wanted:
                path.unlink()
    names = sorted(wanted)
    digests = each(fetch.digest, names, 4)
    lines = [f"{one}  {path.relative_to(folder)}\n" for path, one in zip(names, digests, strict=True)]
    write_whole(folder / bundle.SUMS, "".join(lines))
    bundle.read(folder)  # what was written is what is read
    return fetch.digest(folder / bundle.SUMS)
