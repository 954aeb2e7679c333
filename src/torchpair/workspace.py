"""The folder of a matrix.yaml: its rows, locks, rendered files and reports, and the way from one to the next.

What the commands share; every effect here is a file below that folder, or a question to an index (`lock`).
"""

from __future__ import annotations

import difflib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from torchpair import compiler, locking, matrix, mirrors, plan, render, resources
from torchpair import facts as facts_data
from torchpair import lock as lockfile
from torchpair.bundle import HERE, Bundle
from torchpair.errors import LockError, ResolveError, TorchpairError
from torchpair.facts import Facts
from torchpair.files import write_whole
from torchpair.held import locked
from torchpair.journal import Journal
from torchpair.matrix import Mirror, Row
from torchpair.probe.pack import pack
from torchpair.resolve import resolve
from torchpair.spec import Spec

BASES = ("nvidia", "local")


@dataclass(frozen=True)
class Workspace:
    """Everything below the folder of one matrix file. bundle: from which rows are built; offline: by steps that have no
    network."""

    file: Path
    mirror_name: str | None = None
    bundle: Bundle | None = None
    offline: bool = False

    @cached_property
    def mirror(self) -> Mirror:
        """The mirror of the command line, filled up with what this machine's environment says; or the bundle."""
        if self.bundle is not None:
            return HERE
        if self.mirror_name is None:
            return mirrors.from_environment(mirrors.NONE)
        known = matrix.load_mirrors(self.file)
        if self.mirror_name not in known:
            raise TorchpairError(
                f"no mirror {self.mirror_name!r} in {self.file}",
                why=f"its mirrors: {', '.join(known) or 'none'}",
                remedy="add it under mirrors: in the matrix",
            )
        return mirrors.from_environment(known[self.mirror_name])

    @property
    def folder(self) -> Path:
        return self.file.parent

    @property
    def locks(self) -> Path:
        return self.folder / "locks"

    @property
    def dockerfiles(self) -> Path:
        return self.folder / plan.DOCKERFILES

    @property
    def sources(self) -> Path:
        """Sources that were fetched, each in a folder named after what was asked for."""
        return self.folder / "build" / "sources"

    @property
    def reports(self) -> Path:
        return self.folder / "reports"

    @property
    def journal(self) -> Journal:
        return Journal(self.folder / "build" / "journal")

    def alone(self, say: Callable[[str], None]) -> AbstractContextManager[None]:
        """While it lasts no other call builds or proves in this folder; a second one waits, and is told for whom."""
        return locked(self.folder / "build" / "torchpair.lock", say)

    @cached_property
    def facts(self) -> Facts:
        return facts_data.load()

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        return matrix.load(self.file)

    def choose(self, names: Sequence[str], everything: bool = False) -> tuple[Row, ...]:
        """The rows of these names; without names the default rows, or all. Raises TorchpairError."""
        if names:
            known = {row.name: row for row in self.rows}
            for name in names:
                if name not in known:
                    near = difflib.get_close_matches(name, known, n=1)
                    raise TorchpairError(
                        f"no row {name!r} in {self.file}",
                        why=f"its rows: {', '.join(known)}",
                        remedy=f"did you mean {near[0]}?" if near else None,
                    )
            return tuple(known[name] for name in dict.fromkeys(names))
        rows = self.rows if everything else tuple(row for row in self.rows if row.default)
        if not rows:
            raise TorchpairError(
                "no row is marked default: true", where=str(self.file), remedy="name rows, or use --all"
            )
        return rows

    def specs(self, rows: Sequence[Row], base: str) -> list[Spec]:
        """The specs of rows on a base. Raises ResolveError."""
        return [resolve(row, self.facts, base) for row in rows]

    def everywhere(self) -> list[Spec]:
        """Every row on every base that it can stand on. Raises ResolveError for a row that can stand on none."""
        specs: dict[tuple[str, str], Spec] = {}
        for row in self.rows:
            found, refused = [], None
            for base in BASES:
                try:
                    found.append(resolve(row, self.facts, base))
                except ResolveError as error:
                    refused = refused or error
            if not found and refused:
                raise refused
            specs |= {(row.name, spec.base): spec for spec in found}
        return list(specs.values())

    def lock(self, spec: Spec) -> lockfile.Lock | None:
        return lockfile.read(spec, self.locks)

    def make_lock(self, spec: Spec, upgrade: bool = False) -> lockfile.Lock:
        """Ask the indexes and write the row's lock; versions of an older lock stay where they fit, unless upgrading."""
        old = None
        if not upgrade:
            try:
                old = self.lock(spec)
            except LockError:
                old = lockfile.read_stale(spec, self.locks)
        self.extras(spec, make=True)
        lock = locking.resolve(spec, old, self.mirror)
        write_whole(lockfile.path_of(spec, self.locks), lockfile.text(spec.name, lock))
        return lock

    def make_tools_lock(self) -> lockfile.Lock:
        lock = locking.resolve_tools(self.mirror)
        write_whole(self.locks / "tools.txt", lockfile.text("tools", lock))
        return lock

    @property
    def _tools(self) -> Path:
        return self.locks if (self.locks / "tools.txt").is_file() else resources.tools_folder()

    def extras(self, spec: Spec, *, make: bool) -> dict[str, lockfile.Lock]:
        """The builder's locks of a row. make: those that are not there, or stale, are settled. Raises LockError."""
        found = {}
        for name, wanted in lockfile.extras(spec).items():
            lock = lockfile.read_extra(name, wanted, self.locks)
            if lock is None:
                if not make:
                    raise LockError(
                        "a lock of what compiles is missing, or stale",
                        where=str(lockfile.extra_path(name, self.locks)),
                        remedy=f"torchpair lock {spec.name}",
                    )
                lock = locking.resolve_extra(name, wanted, self.mirror)
                write_whole(lockfile.extra_path(name, self.locks), lockfile.text(name, lock))
            found[name] = lock
        return found

    def remember_sources(self, spec: Spec, told: Mapping[str, str]) -> None:
        """Keep what a row's image was compiled from, for `rows`."""
        if told:
            write_whole(self._sources_file(spec), json.dumps(dict(told)) + "\n")

    def compiled_from(self, spec: Spec) -> dict[str, str]:
        """What the row's image was compiled from, by package; nothing where nobody knows."""
        try:
            found = json.loads(self._sources_file(spec).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) and spec.recipes else {}

    def _sources_file(self, spec: Spec) -> Path:
        return self.reports / "logs" / f"{spec.name}.sources.json"

    def ensure_locks(self, specs: Sequence[Spec], say: Callable[[str], None]) -> dict[str, str]:
        """Lock what has no lock yet, or a stale one; the rows that could not be locked, with the reason."""
        if not (self.locks / "tools.txt").is_file():
            self.make_tools_lock()
        failed = {}
        for spec in specs:
            try:
                self.extras(spec, make=True)
                if self.lock(spec) is not None:
                    continue
            except LockError:
                pass
            say(f"{spec.name}: settling exact versions")
            try:
                self.make_lock(spec)
            except LockError as error:
                failed[spec.name] = str(error)
        return failed

    def rendered(self, specs: Sequence[Spec]) -> dict[str, str]:
        """The text of every Dockerfile, by its path below dockerfiles/."""
        tools = lockfile.read_tools(self._tools)
        return {
            render.file_name(spec): render.dockerfile(spec, self.lock(spec), tools, self.extras(spec, make=False))
            for spec in specs
        }

    def write_rendered(self) -> list[str]:
        """Render the whole matrix to dockerfiles/ and docker-bake.json; what changed.

        A folder without locks/tools.txt gets the one that came with torchpair.
        """
        specs = self.everywhere()
        changed = render.write(self.dockerfiles, self.rendered(specs))
        if (shipped := self._tools) != self.locks:
            write_whole(self.locks / "tools.txt", (shipped / "tools.txt").read_text(encoding="utf-8"))
            changed.append("locks/tools.txt")
        bake = self.folder / plan.BAKE_FILE
        text = plan.bake(specs)
        if not bake.is_file() or bake.read_text(encoding="utf-8") != text:
            write_whole(bake, text)
            changed.append(plan.BAKE_FILE)
        return changed

    def drift(self) -> list[str]:
        """A diff for every rendered file that is not what would be rendered now."""
        specs = self.everywhere()
        diffs = render.drift(self.dockerfiles, self.rendered(specs))
        bake = self.folder / plan.BAKE_FILE
        old = bake.read_text(encoding="utf-8") if bake.is_file() else ""
        return diffs + render.diff(plan.BAKE_FILE, old, plan.bake(specs))

    def probe(self) -> tuple[Path, str]:
        """Pack the probe, and what compiles, into the build context; the probe's path and sha256."""
        target = self.folder / plan.CONTEXT / "probe.pyz"
        target.parent.mkdir(parents=True, exist_ok=True)
        pack(target.with_name("compiler.pyz"), Path(compiler.__file__).parent, "torchpair_compiler")
        return target, pack(target)

    def uv(self) -> None:
        """Put the uv of locks/tools.txt into the build context; it is fetched once. Raises LockError.

        From here and not in a stage of the build: there pip had to be installed first, at each build from nothing.
        """
        (wheel,) = lockfile.read_tools(self._tools).wheels
        kept = self.folder / "build" / "tools" / wheel.sha256[:16]
        if not (kept / "bin/uv").is_file():
            wheels = self.bundle.downloads / "wheels" if self.bundle is not None else None
            locking.install(self._tools / "tools.txt", kept, self.mirror, wheels)
        target = self.folder / plan.CONTEXT / "uv"
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.is_file() or target.read_bytes() != (kept / "bin/uv").read_bytes():
            shutil.copyfile(kept / "bin/uv", target)
