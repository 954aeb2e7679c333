"""The report's page in Chromium, as a local file: phone and desktop width, the mark that was clicked, a picture."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import struct
import subprocess
import zlib
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from test_present import ALL, BROKEN, EVIL, SILENT, check, hostile, report

from torchpair import page as pages
from torchpair.apt import apt_install

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--host-resolver-rules=MAP * ~NOTFOUND",
    "--virtual-time-budget=3000",
]  # fmt: skip
WRONG = report(
    "wrong",
    check("pair.import", "fail", measured="nothing", limit="both import", unit="", reason=(
        "import torchaudio: OSError: /v/torchaudio/lib/libtorchaudio.so: undefined symbol: _ZNK3c105Error4whatEv")),
    environment={"torch": "2.8.0+cu128", "torchaudio": "2.7.1", "python": "3.11.2", "machine": "x86_64"},
)  # fmt: skip
REPORTS = [WRONG, SILENT, *ALL, replace(hostile(), row="hostile")]

# Runs inside the page: how wide it is, what a click on the first failed mark shows; told to the page around it.
ASK = """<script>addEventListener("load", () => setTimeout(() => {
  const mark = document.querySelector(".grid .cell.fail"); mark?.click();
  parent.postMessage(JSON.stringify({inner: innerWidth, wide: document.documentElement.scrollWidth,
    panel: document.getElementById("inspector")?.innerText,
    drawn: [...document.querySelectorAll(".problem .heard img")].map(i => [i.naturalWidth, i.naturalHeight]),
    // The sheets clip what is too wide: an edge beyond the window is text that nobody can read.
    cut: [...document.querySelectorAll("header *, .problem *, .card *, .inspector *")].filter(
      e => !e.closest(".wide, .hidden, svg") && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML)
  }), "*"); }, 300));</script></body>"""
FRAME = """<!doctype html><iframe src="page.html" width="{width}" height="900"></iframe><pre id="told"></pre>
<script>addEventListener("message", e => {{ document.getElementById("told").textContent = e.data; }});</script>"""


@cache
def browser() -> str:
    """A Chromium; on a Debian that has none, as root, it is installed."""
    names = ("chromium", "chromium-browser", "google-chrome")
    if not any(map(shutil.which, names)) and os.geteuid() == 0 and Path("/etc/debian_version").exists():
        apt_install(["chromium"])
    found = next(filter(None, map(shutil.which, names)), None)
    return found or pytest.skip("no Chromium here: install it, on Debian with: apt-get install chromium")


def chromium(folder: Path, *arguments: str) -> str:
    argv = [browser(), *FLAGS, f"--user-data-dir={folder / 'profile'}", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, timeout=120, check=True).stdout


@pytest.fixture
def page(tmp_path: Path) -> Path:
    file = tmp_path / "page.html"
    file.write_text(pages.html(REPORTS, "2026-11-21 12:00 UTC"), encoding="utf-8")
    return file


@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_and_a_click_shows_measured_and_limit(page: Path, width: int) -> None:
    page.write_text(page.read_text(encoding="utf-8").replace("</body>", ASK), encoding="utf-8")
    (page.parent / "frame.html").write_text(FRAME.format(width=width))
    done = chromium(page.parent, f"--window-size={width + 100},1000", "--dump-dom", f"file://{page.parent}/frame.html")
    told = re.search(r'<pre id="told">(.*?)</pre>', done, re.S)
    assert told and told[1].startswith("{"), done[:500]
    seen = json.loads(html.unescape(told[1]))
    assert seen["inner"] == width
    assert seen["wide"] <= width  # nothing sticks out; the grid scrolls inside itself
    assert seen["cut"] == []
    assert seen["drawn"] == [[64, 32]] * 2, "the browser could read both pictures"
    for words in ("pair.import", "in wrong", "undefined symbol", "nothing", "both import", "measured", "limit"):
        assert words in seen["panel"]


def test_the_cause_stands_above_what_failed(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    cause = text.index("This torchaudio is for another torch")
    assert text.index("pip install torch==2.8.0 torchaudio==2.8.0") > cause
    assert cause < text.index("both import")
    assert "<script>alert" not in text and EVIL not in text


def picture(file: Path) -> tuple[int, int, int]:
    """Width, height and how many bytes the rows of a PNG unpack to differently: 0 for one flat colour."""
    data = file.read_bytes()
    width, height = struct.unpack(">II", data[16:24])
    position, packed = 8, b""
    while position < len(data):
        (size,) = struct.unpack_from(">I", data, position)
        if data[position + 4 : position + 8] == b"IDAT":
            packed += data[position + 8 : position + 8 + size]
        position += size + 12
    return width, height, len(set(zlib.decompress(packed)))


@pytest.mark.parametrize("width", [500, 1280])  # a window of Chromium is never narrower than 500
def test_a_picture(page: Path, width: int) -> None:
    file = page.parent / "shot.png"
    chromium(page.parent, f"--window-size={width},1600", f"--screenshot={file}", f"file://{page}")
    wide, high, colours = picture(file)
    assert (wide, high) == (width, 1600) and colours > 60


def test_a_page_without_problems_has_no_cause() -> None:
    good = pages.html([item for item in ALL if item is not BROKEN and item.verdict == "healthy"], "now")
    assert "What to do" not in good
