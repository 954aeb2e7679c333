"""Where the files lie that are not Python."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import jinja2


def templates_dir() -> Path:
    """The Jinja2 templates: inside the package when installed, at the top level of a checkout."""
    package = Path(__file__).resolve().parent
    installed = package / "templates"
    return installed if installed.is_dir() else package.parents[1] / "templates"


def tools_folder() -> Path:
    """The folder of the tools.txt that came with torchpair, for who has not locked the build stages' tools yet."""
    package = Path(__file__).resolve().parent
    return package if (package / "tools.txt").is_file() else package.parents[1] / "locks"


@lru_cache(maxsize=1)
def text_templates() -> jinja2.Environment:
    """For Dockerfiles, YAML and .env: nothing is escaped; what may stand in a value is settled where it comes in."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates_dir()), undefined=jinja2.StrictUndefined, autoescape=False,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip


def page_templates() -> jinja2.Environment:
    """For HTML: everything is escaped. One for each page, which adds filters of its own."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates_dir()), undefined=jinja2.StrictUndefined, autoescape=True,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
