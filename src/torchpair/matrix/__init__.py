"""matrix.yaml -> Row: parse, expand axes. Every error carries file, line and key.

fields.py says what a value may be, nodes.py walks over the file.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import yaml

from torchpair.errors import MatrixError
from torchpair.matrix import fields
from torchpair.matrix.fields import Field, one_of
from torchpair.matrix.nodes import MAX_BYTES, Place, Walker, compose, kind_of, text_of, too_large

MAX_ROWS = 5_000
T = TypeVar("T")


@dataclass(frozen=True)
class Package:
    """A package that a row asks for. version None: resolved by rule."""

    version: str | None = None
    origin: str = "wheel"  # the key `from`: wheel, source, base
    ref: str | None = None  # a git tag, branch or commit, for origin "source"
    source: str | None = None  # where the source is, for origin "source"; None: upstream's git (sources.py)
    switches: str | None = None  # of its build, over those of the facts: "USE_FBGEMM=0 USE_MKLDNN=1"


@dataclass(frozen=True)
class Row:
    """One line of matrix.yaml after its axes are expanded."""

    name: str
    torch: Package
    cuda: str
    python: str
    torchaudio: Package = Package()
    torchcodec: Package = Package()
    base: str | None = None  # None: what the command line says
    distro: str | None = None
    index: str | None = None  # None: by rule; else "pypi" or "pytorch"
    arch: str = "x86_64"
    sm: tuple[str, ...] = ()
    toolkit: str | None = None  # where nvcc comes from; None: by rule
    default: bool = False
    force: bool = False  # build although the rules refuse it; the check decides
    place: Place = field(default=Place("(command line)", 0), compare=False)
    lines: Mapping[str, int] = field(default_factory=dict, compare=False)

    def at(self, key: str) -> Place:
        """The place of one key of this row."""
        return Place(self.place.file, self.lines.get(key, self.place.line), key)


@dataclass(frozen=True)
class Mirror:
    """Where downloads come from instead; None: from where upstream serves them."""

    name: str
    registry: str | None = None  # "mirror.example/hub": stands before the image's name
    apt: str | None = None  # below it: ubuntu/, debian/, debian-security/
    pypi: str | None = None  # a simple index
    pytorch: str | None = None  # below it: cu128/ and the other variants
    layout: str = "simple"  # of pytorch: "simple" (PEP 503) or "flat" (one page of links a variant)
    python: str | None = None  # python-build-standalone's releases
    git: str | None = None  # stands before https://github.com/...
    models: str | None = None  # a Hugging Face endpoint


def load(path: Path) -> tuple[Row, ...]:
    """Read a matrix file into rows, in the file's order. Raises MatrixError."""
    return parse(text_of(path), str(path))


def load_mirrors(path: Path) -> dict[str, Mirror]:
    """The mirrors of a matrix file, by name. Raises MatrixError."""
    return _Reader(str(path)).mirrors(compose(text_of(path), str(path)))


def parse(text: str, file: str = "matrix.yaml") -> tuple[Row, ...]:
    """Rows from the text of a matrix file. Raises MatrixError."""
    if len(text) > MAX_BYTES:
        raise too_large(file)
    return _Reader(file).rows(compose(text, file))


class _Reader(Walker):
    """Reads the nodes of one file into rows and mirrors."""

    def package(self, node: yaml.Node, key: str) -> Package:
        """`"2.8.0"`, or `{version: "2.8.0", from: source, ref: v2.8.0}`."""
        if isinstance(node, yaml.ScalarNode):
            return Package(version=self.text(node, key, fields.VERSION))
        pairs = self.mapping(node, key, tuple(fields.PACKAGE_KEYS))
        values = {
            name: self.text(value, f"{key}.{name}", fields.PACKAGE_KEYS[name]) for name, (_, value) in pairs.items()
        }
        origin = values.get("from", "wheel")
        for word in ("ref", "source", "switches"):
            if word in values and origin != "source":
                self.fail(
                    pairs[word][0],
                    f"{key}.{word}",
                    f"a {word} without from: source",
                    "a wheel has no git ref" if word == "ref" else "a wheel is not compiled",
                    f"add from: source, or remove {word}",
                )
        if origin == "base" and key.rpartition(".")[2].partition("[")[0] != "torch":
            self.fail(
                pairs["from"][0],
                f"{key}.from",
                '"base" is for torch only',
                "only torch is kept from a base image",
                'write "wheel" or "source"',
            )
        return Package(values.get("version"), origin, values.get("ref"), values.get("source"), values.get("switches"))

    def wheel(self, node: yaml.Node, key: str) -> Package:
        """A package that comes as a wheel only."""
        return Package(version=self.text(node, key, fields.CODEC))

    def mirrors(self, root: yaml.Node | None) -> dict[str, Mirror]:
        if not isinstance(root, yaml.MappingNode):
            return {}
        block = next((value for key, value in root.value if key.value == "mirrors"), None)
        if block is None:
            return {}
        if not isinstance(block, yaml.MappingNode):
            self.fail(
                block,
                "mirrors",
                f"expected names and mirrors, found {kind_of(block)}",
                "each mirror has a name",
                "mirrors: {cn: {pypi: ...}}",
            )
        found = {}
        for name_node, value in block.value:
            if not isinstance(name_node, yaml.ScalarNode):
                self.fail(
                    name_node,
                    "mirrors",
                    "a mirror without a name",
                    "each mirror has a name",
                    "mirrors: {cn: {pypi: ...}}",
                )
            name = self.text(name_node, "mirrors", fields.NAME)
            if name in found:
                self.fail(
                    name_node, f"mirrors.{name}", "the same mirror twice", "a name stands for one mirror", "keep one"
                )
            pairs = self.mapping(value, f"mirrors.{name}", tuple(fields.MIRROR_KEYS))
            values = {
                key: self.text(node, f"mirrors.{name}.{key}", fields.MIRROR_KEYS[key]).rstrip("/")
                for key, (_, node) in pairs.items()
            }
            found[name] = Mirror(name, **values)
        return found

    def rows(self, root: yaml.Node | None) -> tuple[Row, ...]:
        if root is None:
            raise MatrixError(
                "the file is empty",
                where=f"{self.file}:1: images",
                why="there is nothing to build",
                remedy="add a row under images:",
            )
        top = self.mapping(root, "", fields.TOP_KEYS)
        if "images" not in top:
            self.fail(
                root,
                "images",
                "the key images is missing",
                "there is nothing to build",
                "add images: with a list of rows",
            )
        self.mirrors(root)  # a mistake there is said at once, not when a mirror is asked for
        images = top["images"][1]
        if not isinstance(images, yaml.SequenceNode):
            self.fail(
                images,
                "images",
                f"expected a list of rows, found {kind_of(images)}",
                "images holds one row per image",
                "start each row with a dash",
            )
        if not images.value:
            self.fail(images, "images", "no rows", "there is nothing to build", "add a row")
        rows: list[Row] = []
        seen: dict[str, Row] = {}
        for i, node in enumerate(images.value):
            for row in self.row(node, f"images[{i}]"):
                if row.name in seen:
                    first = seen[row.name].place
                    self.fail(
                        node,
                        f"images[{i}]",
                        f"the row {row.name} is there already",
                        f"first in line {first.line}",
                        "remove one, or give it a name of its own",
                    )
                seen[row.name] = row
                rows.append(row)
                if len(rows) > MAX_ROWS:
                    self.too_many(node, f"images[{i}]")
        return tuple(rows)

    def too_many(self, node: yaml.Node, key: str) -> NoReturn:
        self.fail(
            node,
            key,
            f"more than {MAX_ROWS} rows",
            "each combination of a row's lists is a row",
            "split the matrix into several files",
        )

    def row(self, node: yaml.Node, key: str) -> list[Row]:
        """One entry of the list: a row for each combination of its axes torch, cuda and python."""
        pairs = self.mapping(node, key, fields.ROW_KEYS)
        values = {name: value for name, (_, value) in pairs.items()}
        for needed in ("torch", "cuda", "python"):
            if needed not in values:
                self.fail(
                    node,
                    f"{key}.{needed}",
                    f"the key {needed} is missing",
                    "torch, cuda and python name an image",
                    f"add {needed}: ...",
                )
        lines = {name: name_node.start_mark.line + 1 for name, (name_node, _) in pairs.items()}

        def get(name: str, read: Callable[[yaml.Node, str], T], default: T) -> T:
            return read(values[name], f"{key}.{name}") if name in values else default

        def plain(kind: Field) -> Callable[[yaml.Node, str], Any]:
            return lambda n, k: self.text(n, k, kind)

        torches = self.many(values["torch"], f"{key}.torch", self.package)
        cudas = self.many(values["cuda"], f"{key}.cuda", plain(fields.CUDA))
        pythons = self.many(values["python"], f"{key}.python", plain(fields.PYTHON))
        if len(torches) * len(cudas) * len(pythons) > MAX_ROWS:
            self.too_many(node, key)
        name = get("name", plain(fields.NAME), None)
        if name is not None and len(torches) * len(cudas) * len(pythons) > 1:
            self.fail(
                pairs["name"][0],
                f"{key}.name",
                "one name for several images",
                "this row has a list of values",
                "remove name, or split the row",
            )
        for i, torch in enumerate(torches):
            if torch.version is None and torch.origin != "base":
                self.fail(
                    values["torch"],
                    f"{key}.torch" + (f"[{i}]" if len(torches) > 1 else ""),
                    "torch without a version",
                    "only the torch of a base image needs none",
                    'add version: "2.8.0"',
                )
        common: dict[str, Any] = {
            "torchaudio": get("torchaudio", self.package, Package()),
            "torchcodec": get("torchcodec", self.wheel, Package()),
            "base": get("base", plain(fields.BASE), None),
            "distro": get("distro", plain(fields.DISTRO), None),
            "index": get("index", plain(one_of("pypi", "pytorch")), None),
            "arch": get("arch", plain(fields.ARCH), "x86_64"),
            "sm": get("sm", lambda n, k: self.many(n, k, plain(fields.SM)), ()),
            "toolkit": get("toolkit", plain(one_of("devel", "base", "debian", "wheels")), None),
            "default": get("default", self.flag, False),
            "force": get("force", self.flag, False),
            "place": Place(self.file, node.start_mark.line + 1, key),
            "lines": lines,
        }
        rows = []
        for torch, cuda, python in itertools.product(torches, cudas, pythons):
            row = Row(name=name or "", torch=torch, cuda=cuda, python=python, **common)
            rows.append(row if name else named(row))
        return rows


def named(row: Row) -> Row:
    """The name of a row that has none: what tells its image from others."""

    def short(prefix: str, package: Package) -> list[str]:
        if package.origin == "wheel" and package.version is None:
            return []
        label = (package.version or ("base" if package.origin == "base" else "")).replace("+", ".").lower()
        return [prefix + label + ("" if package.origin == "wheel" else "src" if package.origin == "source" else "")]

    parts = short("torch", row.torch)
    parts += short("audio", row.torchaudio)
    parts.append("cpu" if row.cuda == "cpu" else "cu" + row.cuda.replace(".", ""))
    parts.append("py" + row.python.replace(".", ""))
    if row.arch != "x86_64":
        parts.append(row.arch)
    return replace(row, name="-".join(parts))
