"""Where the files lie that are not Python."""

from __future__ import annotations

from pathlib import Path


def templates_dir() -> Path:
    """The Jinja2 templates: inside the package when installed, at the top level of a checkout."""
    package = Path(__file__).resolve().parent
    installed = package / "templates"
    return installed if installed.is_dir() else package.parents[1] / "templates"
