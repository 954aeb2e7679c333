"""The probe's command line: one JSON document on stdout, everything else on stderr."""

from __future__ import annotations

import argparse
import difflib
import faulthandler
import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any, List, Optional, Sequence

from . import SCHEMA, __version__, cuda, dsp, fileio, formats, library, origin, pair, resampling, runtime, sound, spectral, wavs, workers
from .context import Context
from .expect import Expectation, ExpectationError, parse
from .registry import REGISTRY, Check
from .runner import exit_code, run

# Importing a module registers its checks; the pair first, because after a failed import nothing else can run.
GROUPS = (pair, origin, library, dsp, sound, resampling, spectral, fileio, wavs, formats, cuda, runtime, workers)
CHECKS = [check for group in GROUPS for check in REGISTRY.values() if check.run.__module__ == group.__name__]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="probe", description="Prove that the torch and the torchaudio of this image work together."
    )
    parser.add_argument("--gpu", choices=("auto", "require", "off"), default="auto", help="default: auto")
    parser.add_argument("--expect", metavar="FILE", help="JSON: the versions, locks and labels to compare with")
    parser.add_argument("--only", metavar="ID,ID...", help="run these checks only")
    parser.add_argument("--list", action="store_true", help="list the checks, as JSON, and run none")
    parser.add_argument("--version", action="version", version="torchpair probe " + __version__)
    return parser


def _chosen(parser: argparse.ArgumentParser, only: Optional[str]) -> List[Check]:
    if only is None:
        return CHECKS
    wanted = [name.strip() for name in only.split(",") if name.strip()]
    if not wanted:
        parser.error("--only: no check is named")
    for name in wanted:
        if name not in REGISTRY:
            near = difflib.get_close_matches(name, list(REGISTRY), 1)
            parser.error("--only: no check is called {}{}".format(name, "; did you mean " + near[0] if near else ""))
    return [check for check in CHECKS if check.id in wanted]


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
    checks = _chosen(parser, options.only)
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
    _write(answer, document)
    return exit_code(document)
