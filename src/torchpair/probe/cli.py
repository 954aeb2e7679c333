"""The probe's command line: one JSON document on stdout, everything else on stderr."""

from __future__ import annotations

import argparse
import faulthandler
import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any, Optional, Sequence

from . import SCHEMA, __version__
from .context import Context
from .expect import Expectation, ExpectationError, parse
from .registry import REGISTRY
from .runner import exit_code, run
from .select import CHECKS, IDS, PROFILES, SelectionError, choose

__all__ = ["CHECKS", "main"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="probe", description="Prove that the torch and the torchaudio of this image work together."
    )
    parser.add_argument("--gpu", choices=("auto", "require", "off"), default="auto", help="default: auto")
    parser.add_argument("--expect", metavar="FILE", help="JSON: the versions, locks and labels to compare with")
    parser.add_argument("--nonce", metavar="TEXT", help="repeated in the answer: whose question it answers")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--profile", metavar="|".join([*PROFILES, "FILE"]), help="a set of checks, or a file that lists some"
    )
    which.add_argument("--only", metavar="ID,ID...", help="run these checks, or groups of checks, only")
    which.add_argument("--quick", action="store_true", help="the few checks of a HEALTHCHECK, in about 3 s")
    parser.add_argument("--list", action="store_true", help="list the checks, as JSON, and run none")
    parser.add_argument("--version", action="version", version="torchpair probe " + __version__)
    return parser


def _expectation(parser: argparse.ArgumentParser, file: Optional[str]) -> Expectation:
    if file is None:
        return Expectation()
    try:
        return parse(Path(file).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ExpectationError) as error:
        parser.error("--expect {}: {}".format(file, error))


def _write(descriptor: int, document: Any) -> None:
    """Write JSON to a file descriptor, all of it: a pipe may take it in pieces."""
    data = (json.dumps(document, indent=1, sort_keys=False, allow_nan=False) + "\n").encode("ascii")
    while data:
        data = data[os.write(descriptor, data) :]


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the probe; returns the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        whole_list = options.list and not (options.profile or options.only or options.quick)
        names = IDS if whole_list else choose(options.profile, options.only, options.quick)
    except SelectionError as error:
        parser.error(str(error))
    checks = [REGISTRY[name] for name in names]
    expectation = _expectation(parser, options.expect)
    # From here on file descriptor 1 is stderr: C libraries print too, and a spoilt document is no document.
    sys.stdout.flush()
    answer = os.dup(1)
    os.dup2(2, 1)
    if options.list:
        listing = [{"id": check.id, "purpose": check.purpose} for check in checks]
        _write(answer, {"schema": SCHEMA, "probe": __version__, "checks": listing})
        return 0
    faulthandler.enable(2)
    warnings.simplefilter("ignore")
    document = run(checks, Context(options.gpu, expectation))
    if options.nonce is not None:
        document["nonce"] = options.nonce
    _write(answer, document)
    return exit_code(document)
