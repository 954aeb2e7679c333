"""sovits.pyz: prepare FOLDER | start ROLE | health ROLE | stub ... | smoke | verify."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from . import health, layout, smoke, start, stub, verify


def main(arguments: Sequence[str] | None = None) -> int:
    argv = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(prog="sovits.pyz", description="GPT-SoVITS in an image of torchpair.")
    commands = parser.add_subparsers(dest="command", required=True)
    prepare = commands.add_parser("prepare", help="put links where models are looked for and files are written")
    prepare.add_argument("folder", type=Path)
    prepare.add_argument("--originals", type=Path, default=layout.ORIGINALS)
    starting = commands.add_parser("start", help="check, then become GPT-SoVITS")
    starting.add_argument("role", choices=start.ROLES, nargs="?", default="api")
    healthy = commands.add_parser("health", help="ends with 0 when the service answers")
    healthy.add_argument("role", choices=start.ROLES, nargs="?", help="by default what this container became")
    commands.add_parser("stub", help="the server with a stub voice; arguments go to api_v2.py")
    commands.add_parser("smoke", help="start the server with a stub voice and ask it for speech")
    commands.add_parser("verify", help="the last step of the build: requirements and languages")
    # What follows "stub" is api_v2.py's: argparse would take "-a" for its own.
    asked = parser.parse_args(argv[:1] if argv[:1] == ["stub"] else argv)
    if asked.command == "prepare":
        layout.prepare(asked.folder, originals=asked.originals)
        return 0
    if asked.command == "start":
        return start.main(asked.role)
    if asked.command == "health":
        return health.main(asked.role)
    if asked.command == "stub":
        stub.serve(layout.CODE, argv[1:])
        return 0
    if asked.command == "verify":
        return verify.main()
    return smoke.main()
