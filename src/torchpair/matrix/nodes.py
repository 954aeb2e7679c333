"""A matrix file -> YAML nodes, bounded, and the walk over them. Every error carries file, line and key.

The file is composed to YAML nodes rather than loaded to plain objects: nodes know their lines, and a version
written as a bare number is seen before YAML makes 3.1 of 3.10.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TypeVar

import yaml

from torchpair.errors import MatrixError
from torchpair.matrix.fields import Field

MAX_BYTES = 1_000_000  # a matrix of ten thousand rows is smaller; what is larger is not a matrix
MAX_DEPTH = 16

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


def text_of(path: Path) -> str:
    """The text of a matrix file. Raises MatrixError."""
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
        raise too_large(shown)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise MatrixError(
            "not UTF-8 text", where=f"{shown}:{line}", why=str(error), remedy="save the file as UTF-8"
        ) from error


def too_large(file: str) -> MatrixError:
    """The refusal of a file that is no matrix by its size."""
    return MatrixError(
        f"larger than {MAX_BYTES} bytes",
        where=file,
        why="no matrix is that long",
        remedy="split the matrix into several files",
    )


def compose(text: str, file: str) -> yaml.Node | None:
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


class Walker:
    """Walks the nodes of one file: each value is checked by its kind."""

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
                f"expected keys and values, found {kind_of(node)}",
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
                f"expected one value, found {kind_of(node)}",
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
                node, key, "expected true or false", f"found {kind_of(node)}", "write true or false, without quotes"
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


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


def kind_of(node: yaml.Node) -> str:
    """What a node is, for a message."""
    if isinstance(node, yaml.MappingNode):
        return "keys and values"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    return _shown(repr(node.value)) if node.value else "nothing"


def _shown(text: str) -> str:
    """Text of a user's file for a message: one line, bounded, no control characters."""
    clean = "".join(c if c.isprintable() else " " for c in text)
    return clean if len(clean) <= 80 else clean[:77] + "..."
