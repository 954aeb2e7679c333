"""The pictures of the documentation, each made of what it shows.

    python docs/figures.py compatibility                      docs/compatibility.svg, from src/torchpair/facts/*.yaml
    python docs/figures.py report REPORT.json...              docs/report.png, the page of reports/
    python docs/figures.py catalog CATALOG.json               docs/catalog.png, the page of a catalog

The first needs nothing; `make figures` calls it and tests/unit/test_figures.py compares. The others need Chromium.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from html import escape
from itertools import groupby
from pathlib import Path

from packaging.version import Version

from torchpair import compat, source
from torchpair import facts as facts_data
from torchpair.compat.wheels import CODEC_SINCE
from torchpair.facts import Facts, cuda_family
from torchpair.files import write_whole
from torchpair.matrix import Package, Row, named
from torchpair.resolve import candidate

HERE = Path(__file__).resolve().parent

# What a pair of release lines can be, best first.
WHEELS, COMPILED, NONE = "wheels", "compiled", "none"
CELL, LEFT, TOP, RIGHT = 46, 128, 62, 24


def lines_of(versions: Sequence[str]) -> list[str]:
    """ "2.8.0", "2.8.1" -> "2.8", oldest first."""
    return sorted({".".join(one.split(".")[:2]) for one in versions}, key=Version)


def works(facts: Facts, row: Row) -> bool:
    """Whether no rule refuses a row, on the base that has most Pythons."""
    return not compat.problems(candidate(named(row), facts, "nvidia"), facts)


def pair(facts: Facts, torch_line: str, audio_line: str) -> str:
    """How releases of two lines come together on x86_64: official wheels of one CUDA, compiled, or not at all."""
    found = NONE
    for version, torch in facts.torch.items():
        if lines_of([version]) != [torch_line]:
            continue
        python = next(p for p in ("3.11", "3.12") if p in torch.pythons["x86_64"])
        served = {torch.pypi["x86_64"], *(tag for tag, one in torch.index.items() if "x86_64" in (one.arches or ()))}
        for tag in served:
            torch_row = Row("", Package(version), cuda_family(tag), python)
            for audio in facts.torchaudio:
                if lines_of([audio]) == [audio_line] and works(facts, replace(torch_row, torchaudio=Package(audio))):
                    return WHEELS
            for line in source.lines_for(version, source.load()):
                compiled = replace(torch_row, torchaudio=Package(None, "source", line.tag))
                if line.name == audio_line and works(facts, compiled):
                    found = COMPILED
    return found


def mark(kind: str, x: float, y: float) -> str:
    """Told apart by shape, not by colour alone."""
    if kind == WHEELS:
        return f'<circle class="wheels" cx="{x}" cy="{y}" r="9"/>'
    if kind == COMPILED:
        return f'<path class="compiled" d="M{x} {y - 9}L{x + 9} {y + 7}H{x - 9}Z"/>'
    return f'<circle class="none" cx="{x}" cy="{y}" r="1.5"/>'


def text(x: float, y: float, words: str, anchor: str = "middle", kind: str = "") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}"{f" class={kind!r}" if kind else ""}>{escape(words)}</text>'


def compatibility(facts: Facts) -> str:
    """Which torchaudio fits which torch, by release lines; under each torch what else a plain install decides. SVG."""
    torches, audios = lines_of(list(facts.torch)), lines_of(list(facts.torchaudio))
    newest = {line: [one for v, one in facts.torch.items() if lines_of([v]) == [line]][-1] for line in torches}
    across = {line: LEFT + CELL * i + CELL / 2 for i, line in enumerate(torches)}
    bottom, right = TOP + CELL * 0.7 * len(audios), LEFT + CELL * len(torches)
    out = [text(LEFT - 12, TOP - 12, "torchaudio", "end", "soft"), text(LEFT - 12, TOP - 34, "torch", "end", "soft")]
    for line, x in across.items():
        out.append(text(x, TOP - 34, line, kind="head"))
        out.append(f'<line x1="{x}" y1="{TOP - 22}" x2="{x}" y2="{bottom}" class="grid"/>')
    for i, audio in enumerate(audios):
        y = TOP + CELL * 0.7 * (i + 0.5)
        out.append(text(LEFT - 12, y + 4, audio, "end", "head"))
        out += [mark(pair(facts, line, audio), x, y) for line, x in across.items()]
    rows = [
        ("CUDA on PyPI", [cuda_family(newest[line].pypi["x86_64"]) for line in torches]),
        ("driver from", [_driver(facts, cuda_family(newest[line].pypi["x86_64"])) for line in torches]),
        ("Python from", [_whole(newest[line].pythons["x86_64"])[0] for line in torches]),
        ("to", [_whole(newest[line].pythons["x86_64"])[-1] for line in torches]),
        ("NumPy", ["1" if newest[line].numpy.startswith("<2") else "1, 2" for line in torches]),
        ("files by", ["torchcodec" if Version(n) >= CODEC_SINCE else "torchaudio" for n in torches]),
    ]
    y = bottom + 22.0
    for name, values in rows:
        out.append(text(LEFT - 12, y + 4, name, "end", "soft"))
        place = 0
        # What several lines have alike is one bar.
        for value, run in groupby(values):
            many = len(list(run))
            x = LEFT + CELL * place
            out.append(f'<rect x="{x + 2}" y="{y - 10}" width="{CELL * many - 4}" height="20" rx="4" class="bar"/>')
            out.append(text(x + CELL * many / 2, y + 4, value, kind="small"))
            place += many
        y += 25
    x = float(LEFT)
    legend = {WHEELS: "official wheels fit", COMPILED: "torchaudio has to be compiled", NONE: "does not fit"}
    for kind, words in legend.items():
        out += [mark(kind, x + 10, y + 14), text(x + 26, y + 18, words, "start")]
        x += 46 + 6.6 * len(words)
    width, height = right + RIGHT, round(y + 36)
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img"'
        ' font-family="system-ui, sans-serif" font-size="13">',
        f"<title>Which torchaudio fits which torch, by the facts of {facts.collected}</title>",
        f"<style>{STYLE}</style>",
        f'<rect width="{width}" height="{height}" class="page"/>',
        *out,
        "</svg>",
    ]) + "\n"  # fmt: skip


STYLE = (
    ".page{fill:#fff}text{fill:#1c1d1f}.soft{fill:#5c5f66}.head{font-weight:600}.small{font-size:11.5px}"
    ".grid{stroke:#e2e2dd}.bar{fill:#f1f1ee}.wheels{fill:#1a7443}"
    ".compiled{fill:#8a5a00}.none{fill:#b9b9b2}"
    "@media(prefers-color-scheme:dark){.page{fill:#1b1d20}text{fill:#ececea}.soft{fill:#a3a7ae}.grid{stroke:#33363b}"
    ".bar{fill:#2a2d31}.wheels{fill:#5fcb8d}.compiled{fill:#e7b754}.none{fill:#63666d}}"
)


def _whole(pythons: Sequence[str]) -> list[str]:
    """Without the free-threaded builds."""
    return sorted((one for one in pythons if not one.endswith("t")), key=Version)


def _driver(facts: Facts, cuda: str) -> str:
    """The branch of the lowest driver for a CUDA: "525"."""
    return facts.driver[cuda.split(".")[0]].split(".")[0]


def page_of_reports(files: Sequence[Path]) -> str:
    from torchpair import page, report

    reports = [report.load(file) for file in files]
    return page.html(reports, max(one.started for one in reports)[:16].replace("T", " ") + " UTC")


def page_of_catalog(file: Path) -> str:
    from torchpair import catalog, shelf

    return shelf.html(catalog.parse(file.read_bytes(), str(file)), facts_data.load())


def photograph(html: str, target: Path, width: int, height: int) -> None:
    """The upper part of a page, by Chromium, in the light theme. width, height: CSS pixels."""
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder, "page.html")
        page.write_text(html, encoding="utf-8")
        subprocess.run(
            [
                "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                f"--user-data-dir={folder}", f"--window-size={width},{height}", f"--screenshot={target}", page.as_uri(),
            ],
            check=True, capture_output=True, timeout=120,
        )  # fmt: skip


def main(what: str, *arguments: str) -> None:
    files = [Path(one) for one in arguments]
    if what == "compatibility":
        write_whole(HERE / "compatibility.svg", compatibility(facts_data.load()))
    elif what == "report":
        photograph(page_of_reports(files), HERE / "report.png", 1200, 900)
    elif what == "catalog":
        photograph(page_of_catalog(files[0]), HERE / "catalog.png", 1200, 900)
    else:
        raise SystemExit(__doc__)


if __name__ == "__main__":
    main(*(sys.argv[1:] or ["help"]))
