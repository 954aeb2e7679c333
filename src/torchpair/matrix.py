"""matrix.yaml -> Row: parse, check, expand axes. Every error carries file, line and key.

The file is composed to YAML nodes rather than loaded to plain objects: nodes know their lines, and a version
written as a bare number is seen before YAML makes 3.1 of 3.10.
"""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import yaml

from torchpair.errors import MatrixError

MAX_BYTES = 1_000_000  # a matrix of ten thousand rows is smaller; what is larger is not a matrix
MAX_DEPTH = 16
MAX_ROWS = 5_000

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
T = TypeVar("T")


@dataclass(frozen=True)
class Place:
    """Where something stands: a file, a line from 1, and the key concerned."""

    file: str
    line: int
    key: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.key}" if self.key else f"{self.file}:{self.line}"


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


@dataclass(frozen=True)
class Field:
    """One kind of value: a pattern that the whole text must match, and how to say what is allowed."""

    pattern: re.Pattern[str]
    allowed: str

    def __call__(self, text: str) -> str:
        if not self.pattern.fullmatch(text):
            raise ValueError(self.allowed)
        return text


# Values reach Dockerfiles, shells, labels and tags. Each kind admits only what it needs, so that no quote, newline,
# dollar or backslash can pass: this is the one door.
VERSION = Field(
    re.compile(r"\d{1,4}\.\d{1,4}\.\d{1,4}[0-9A-Za-z.+]{0,40}", re.ASCII), 'a whole version such as "2.8.0"'
)
# torchcodec has a release of two numbers, 0.5.
CODEC = Field(re.compile(r"\d{1,4}\.\d{1,4}(?:\.\d{1,4})?", re.ASCII), 'a whole version such as "0.12.0"')
# Two digits and one: a tag such as cu128 then names one CUDA only.
CUDA = Field(re.compile(r"[1-9]\d\.\d|cpu", re.ASCII), '"12.8" (major.minor) or "cpu"')
PYTHON = Field(re.compile(r"3\.\d{1,2}t?", re.ASCII), '"3.11" (major.minor), or "3.13t" for the free-threaded build')
# A row's name is a build target (plan.py: groups "default" and "local", "_local" behind a name) and a lock file, as
# tools.txt is.
NAME = Field(
    re.compile(r"(?!(?:default|local|tools|.*\.local)\Z)[a-z0-9](?:[a-z0-9.-]{0,60}[a-z0-9])?"),
    'lower-case letters, digits, dots and dashes, at most 62; not "default", "local", "tools", nor ".local" at its end',
)
# https://github.com/distribution/reference: repository, then tag and digest.
BASE = Field(
    re.compile(
        r"nvidia|local|[a-z0-9]+(?:[._:/-]+[a-z0-9]+)*(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@sha256:[0-9a-f]{64})?"
    ),
    '"nvidia", "local" or an image reference',
)
DISTRO = Field(re.compile(r"(?:ubuntu\d\d\.\d\d|debian\d\d)", re.ASCII), '"ubuntu22.04" or "debian12"')
REF = Field(re.compile(r"[0-9A-Za-z][0-9A-Za-z._/-]{0,99}"), "a git tag, branch or commit")
# pip's own notation: git+https://host/repository.git@ref#commit=..., https://host/a.tar.gz#sha256=..., a file, a folder
SOURCE = Field(
    re.compile(r"(?:git\+)?[A-Za-z0-9._~/+@:%-]{1,300}(?:#(?:sha256=[0-9a-f]{64}|commit=[0-9a-f]{7,40}))?", re.ASCII),
    "git+https://host/repository.git@ref, an archive with #sha256=..., or a folder",
)
_SWITCH = r"(?:USE|BUILD)_[A-Z0-9_]{1,40}=[A-Za-z0-9_.;+-]{1,40}"
SWITCHES = Field(
    re.compile(rf"{_SWITCH}(?: {_SWITCH}){{0,39}}"),
    'switches of the build, such as "USE_FBGEMM=0 USE_MKLDNN=1"',
)
SM = Field(re.compile(r"\d{1,2}\.\d[af]?(?:\+PTX)?", re.ASCII), 'a compute capability such as "9.0" or "12.0+PTX"')


def one_of(*words: str) -> Field:
    return Field(re.compile("|".join(re.escape(w) for w in words)), " or ".join(f'"{w}"' for w in words))


URL = Field(
    re.compile(r"https?://[A-Za-z0-9.-]+(?::\d{1,5})?(?:/[A-Za-z0-9._~%+-]+)*/?", re.ASCII),
    "an address such as https://mirror.example/simple, without a password",
)
REGISTRY = Field(
    re.compile(r"[a-z0-9.-]+(?::\d{1,5})?(?:/[a-z0-9._-]+)*", re.ASCII), 'a registry such as "mirror.example/hub"'
)
DRIVER = Field(re.compile(r"\d{3}(?:\.\d{1,3}){0,2}", re.ASCII), 'a driver such as "570" or "570.124.06"')
VERSION_START = Field(re.compile(r"\d{1,4}\.\d{1,4}(?:\.\d{1,4})?", re.ASCII), 'a version or its start, such as "2.8"')
ARCH = one_of("x86_64", "aarch64")
PACKAGE_KEYS: Mapping[str, Field] = {
    "version": VERSION,
    "from": one_of("wheel", "source", "base"),
    "ref": REF,
    "source": SOURCE,
    "switches": SWITCHES,
}
ROW_KEYS = (
    "name", "torch", "cuda", "python", "torchaudio", "torchcodec", "base", "distro", "index", "arch", "sm",
    "toolkit", "default", "force",
)  # fmt: skip
TOP_KEYS = ("images", "mirrors")
MIRROR_KEYS: Mapping[str, Field] = {
    "registry": REGISTRY,
    "apt": URL,
    "pypi": URL,
    "pytorch": URL,
    "layout": one_of("simple", "flat"),
    "python": URL,
    "git": URL,
    "models": URL,
}


def load(path: Path) -> tuple[Row, ...]:
    """Read a matrix file into rows, in the file's order. Raises MatrixError."""
    return parse(_text(path), str(path))


def load_mirrors(path: Path) -> dict[str, Mirror]:
    """The mirrors of a matrix file, by name. Raises MatrixError."""
    return _Reader(str(path)).mirrors(_compose(_text(path), str(path)))


def _text(path: Path) -> str:
    shown = str(path)
    try:
        with path.open("rb") as matrix:
            data = matrix.read(MAX_BYTES + 1)  # never more: a path may lead to what has no end
    except OSError as error:
        raise MatrixError(
            "cannot read the matrix",
            where=shown,
            why=error.strerror or str(error),
            remedy="name another file with --matrix, or run from the folder that holds matrix.yaml",
        ) from error
    if len(data) > MAX_BYTES:
        raise _too_large(shown)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise MatrixError(
            "not UTF-8 text", where=f"{shown}:{line}", why=str(error), remedy="save the file as UTF-8"
        ) from error


def parse(text: str, file: str = "matrix.yaml") -> tuple[Row, ...]:
    """Rows from the text of a matrix file. Raises MatrixError."""
    if len(text) > MAX_BYTES:
        raise _too_large(file)
    return _Reader(file).rows(_compose(text, file))


def _too_large(file: str) -> MatrixError:
    return MatrixError(
        f"larger than {MAX_BYTES} bytes",
        where=file,
        why="no matrix is that long",
        remedy="split the matrix into several files",
    )


def _compose(text: str, file: str) -> yaml.Node | None:
    """YAML nodes, after a flat pass that refuses what a hostile file would use: aliases, depth."""
    try:
        depth = 0
        for event in yaml.parse(text, _LOADER):
            if isinstance(event, yaml.AliasEvent):
                line = _line(event)
                raise MatrixError(
                    f"alias *{event.anchor}",
                    where=f"{file}:{line}",
                    why="anchors and aliases are not used here",
                    remedy="write the value out",
                )
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH:
                raise MatrixError(
                    f"nested deeper than {MAX_DEPTH} levels",
                    where=f"{file}:{_line(event)}",
                    why="a row has three levels at most",
                    remedy="look for brackets that are not closed",
                )
        return yaml.compose(text, _LOADER)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        lines = text.splitlines()
        line = min(mark.line + 1 if mark else 1, max(1, len(lines)))  # the end of a text lies behind its last line
        tab = 0 < line <= len(lines) and "\t" in lines[line - 1]
        raise MatrixError(
            "a tab where YAML allows only spaces" if tab else "not valid YAML",
            where=f"{file}:{line}",
            why=str(error.problem or error.context),
            remedy="indent with spaces" if tab else "look at this line and the one before it",
        ) from error
    except yaml.YAMLError as error:  # a character that YAML does not allow
        raise MatrixError(
            "not valid YAML", where=file, why=str(error).splitlines()[0], remedy="save the file as plain text"
        ) from error


class _Reader:
    """Walks the nodes of one file."""

    def __init__(self, file: str) -> None:
        self.file = file

    def fail(self, node: yaml.Node, key: str, what: str, why: str | None, remedy: str | None) -> NoReturn:
        raise MatrixError(what, where=str(Place(self.file, node.start_mark.line + 1, key)), why=why, remedy=remedy)

    def mapping(self, node: yaml.Node, key: str, known: tuple[str, ...]) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        """The pairs of a mapping as name -> (key node, value node); unknown and repeated keys are refused."""
        if not isinstance(node, yaml.MappingNode):
            self.fail(
                node,
                key,
                f"expected keys and values, found {_kind(node)}",
                f"known keys: {', '.join(known)}",
                "write key: value",
            )
        pairs: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for name_node, value in node.value:
            name = str(name_node.value) if isinstance(name_node, yaml.ScalarNode) else "?"
            here = f"{key}.{name}" if key else name
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                self.fail(
                    name_node, _shown(here), f"unknown key {_shown(name)!r}", f"known keys: {', '.join(known)}",
                    f"did you mean {near[0]!r}?" if near else "remove it",
                )  # fmt: skip
            if name in pairs:
                self.fail(
                    name_node,
                    here,
                    f"key {name!r} stands here twice",
                    f"first in line {pairs[name][0].start_mark.line + 1}",
                    "keep one",
                )
            pairs[name] = (name_node, value)
        return pairs

    def text(self, node: yaml.Node, key: str, kind: Field) -> str:
        """One value, checked by its kind."""
        if not isinstance(node, yaml.ScalarNode):
            self.fail(
                node,
                key,
                f"expected one value, found {_kind(node)}",
                f"expected {kind.allowed}",
                f"write {kind.allowed}",
            )
        if node.tag in ("tag:yaml.org,2002:float", "tag:yaml.org,2002:int") and re.fullmatch(
            r"\d+\.\d*0|\d+(\.\d+)?", node.value
        ):
            self.fail(
                node,
                key,
                f"{node.value} is a number to YAML",
                "YAML drops the last zero of 3.10 and 2.10",
                f'put it in quotes: "{node.value}"',
            )
        try:
            if node.tag in ("tag:yaml.org,2002:null", "tag:yaml.org,2002:bool"):  # else "null" and "true" were names
                raise ValueError
            return kind(node.value)
        except ValueError:
            self.fail(
                node,
                key,
                f"{_shown(node.value)!r} is not allowed here",
                f"expected {kind.allowed}",
                f"write {kind.allowed}",
            )

    def flag(self, node: yaml.Node, key: str) -> bool:
        if not isinstance(node, yaml.ScalarNode) or node.tag != "tag:yaml.org,2002:bool":
            self.fail(
                node, key, "expected true or false", f"found {_kind(node)}", "write true or false, without quotes"
            )
        return str(node.value).lower() in ("true", "yes", "on")

    def many(self, node: yaml.Node, key: str, one: Callable[[yaml.Node, str], T]) -> tuple[T, ...]:
        """A list of values, or one value standing for a list of one; repeated values are refused."""
        if not isinstance(node, yaml.SequenceNode):
            return (one(node, key),)
        if not node.value:
            self.fail(
                node,
                key,
                "an empty list",
                "it would expand to no image at all",
                "name at least one value, or remove the key",
            )
        values = tuple(one(child, f"{key}[{i}]") for i, child in enumerate(node.value))
        first: dict[T, int] = {}
        for i, value in enumerate(values):
            if first.setdefault(value, i) != i:
                self.fail(
                    node.value[i], f"{key}[{i}]", "the same value twice", f"first at {key}[{first[value]}]", "keep one"
                )
        return values

    def package(self, node: yaml.Node, key: str) -> Package:
        """`"2.8.0"`, or `{version: "2.8.0", from: source, ref: v2.8.0}`."""
        if isinstance(node, yaml.ScalarNode):
            return Package(version=self.text(node, key, VERSION))
        pairs = self.mapping(node, key, tuple(PACKAGE_KEYS))
        values = {name: self.text(value, f"{key}.{name}", PACKAGE_KEYS[name]) for name, (_, value) in pairs.items()}
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
        return Package(version=self.text(node, key, CODEC))

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
                f"expected names and mirrors, found {_kind(block)}",
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
            name = self.text(name_node, "mirrors", NAME)
            if name in found:
                self.fail(
                    name_node, f"mirrors.{name}", "the same mirror twice", "a name stands for one mirror", "keep one"
                )
            pairs = self.mapping(value, f"mirrors.{name}", tuple(MIRROR_KEYS))
            values = {
                key: self.text(node, f"mirrors.{name}.{key}", MIRROR_KEYS[key]).rstrip("/")
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
        top = self.mapping(root, "", TOP_KEYS)
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
                f"expected a list of rows, found {_kind(images)}",
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
        pairs = self.mapping(node, key, ROW_KEYS)
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
        cudas = self.many(values["cuda"], f"{key}.cuda", plain(CUDA))
        pythons = self.many(values["python"], f"{key}.python", plain(PYTHON))
        if len(torches) * len(cudas) * len(pythons) > MAX_ROWS:
            self.too_many(node, key)
        name = get("name", plain(NAME), None)
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
            "base": get("base", plain(BASE), None),
            "distro": get("distro", plain(DISTRO), None),
            "index": get("index", plain(one_of("pypi", "pytorch")), None),
            "arch": get("arch", plain(ARCH), "x86_64"),
            "sm": get("sm", lambda n, k: self.many(n, k, plain(SM)), ()),
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


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


def _kind(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "keys and values"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    return _shown(repr(node.value)) if node.value else "nothing"


def _shown(text: str) -> str:
    """Text of a user's file for a message: one line, bounded, no control characters."""
    clean = "".join(c if c.isprintable() else " " for c in text)
    return clean if len(clean) <= 80 else clean[:77] + "..."
