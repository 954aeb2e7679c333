"""Reports for people and machines, with a stranger's text in every field."""

from __future__ import annotations

import io
import re
import struct
import zlib
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import junitparser
import pytest
from rich.console import Console

from torchpair import formatting, views
from torchpair import present as p
from torchpair.page import html
from torchpair.report import CheckResult, Report, Spectrograms

CONTROLS = "\x1b[2J\x1b[31m\x1b]0;title\x07\x9b1m\x00\x08\r\u202e\u2066"
EVIL = f"<script>alert(1)</script>{CONTROLS}[red]|`x`\n</pre><img src=x onerror=y>"


def check(identity: str, status: str = "pass", **other: Any) -> CheckResult:
    fields: dict[str, Any] = {
        "id": identity,
        "purpose": f"purpose of {identity}",
        "status": status,
        "measured": {"float32": 2.5e-7},
        "limit": {"float32": 1e-5},
        "unit": "max absolute error",
        "seconds": 0.5,
        "reason": "",
        "needs": None,
    }
    return CheckResult(**{**fields, **other})


def report(row: str | None, *checks: CheckResult, **other: Any) -> Report:
    environment = {"torch": "2.8.0+cu128", "torchaudio": "2.8.0+cu128", "torchcodec": None, "torch_cuda": "12.8"}
    fields: dict[str, Any] = {
        "row": row,
        "image": f"example/torchpair:{row}",
        "image_id": "sha256:" + "1" * 64,
        "base": "local",
        "started": "2026-11-21T12:00:00Z",
        "seconds": 12.5,
        "gpu": "auto",
        "environment": {**environment, "torchaudio_cuda": "12.8", "python": "3.11.2", "sm": ["8.0", "12.0+PTX"]},
        "checks": checks,
        "size": 5_540_000_000,
        "probe": "a" * 64,
        "log": "",
    }
    return Report(**{**fields, **other})


NO_GPU = {"needs": "gpu", "reason": "no NVIDIA driver", "measured": None}
HEALTHY = report("whole", check("pair.import"), check("cuda.mel"))
NO_DEVICE = report("no-gpu", check("pair.import"), check("cuda.mel", "skip", **NO_GPU))
BROKEN = report(
    "broken",
    check("dsp.mel", "skip", needs="import", reason="torchaudio does not import"),
    check("pair.import", "fail", measured="nothing", limit="both import", unit="", reason="OSError: undefined symbol"),
)
OPEN = replace(NO_DEVICE, row="open", gpu="require")
EMPTY = report("empty")
ALL = [HEALTHY, NO_DEVICE, BROKEN, OPEN, EMPTY]


def hostile() -> Report:
    failed = check(
        "pair.import", "fail", purpose=EVIL, reason=EVIL, unit=EVIL[:40], measured={EVIL: EVIL}, limit={EVIL: EVIL}
    )
    seen = {"torch": EVIL, "torchaudio": [EVIL], "torch_cuda": {EVIL: EVIL}, "gpu": [{"name": EVIL}, 3, EVIL], "sm": 1}
    stuck = check("x", "skip", reason=EVIL, needs="import")
    return report(EVIL, failed, stuck, image=EVIL, image_id=EVIL, base=EVIL, environment=seen, log=EVIL)


def shown(outcomes: list[p.Outcome], width: int = 120) -> str:
    out = io.StringIO()
    Console(file=out, width=width, color_system=None).print(p.table(outcomes))
    return out.getvalue()


def test_table() -> None:
    built = [p.outcome(item, Path("reports") / f"{item.row}.json") for item in (HEALTHY, NO_DEVICE, BROKEN)]
    failed = p.Outcome("src", "x", "nvidia", None, "build failed", 812.34, None, "nvcc ended with 1")
    text = shown([*built, failed, replace(failed, row="later", verdict="not built", note="")])
    for words in ("✓ healthy", "✗ unhealthy", "✗ build failed", "- not built", "5.54 GB", "12.5", "reports/whole.json"):
        assert words in text
    assert "✗ broken: pair.import: OSError: undefined symbol" in text
    assert "✗ src: nvcc ended with 1" in text
    flat = " ".join(text.split())
    assert "5 images: 2 healthy, 1 unhealthy, 1 build failed, 1 not built." in flat
    assert "Checks: 3 passed, 1 failed, 1 not run: no GPU, 1 not run: other reasons." in flat


def test_nothing_hostile_reaches_the_terminal() -> None:
    evil = p.outcome(hostile(), Path(EVIL.replace("/", "")))
    for width in (60, 200):
        text = shown([evil, replace(evil, verdict=EVIL)], width)
        assert all(c.isprintable() or c == "\n" for c in text)
    assert "[red]" in shown([evil], 200)


def printed(done: Report) -> str:
    out = io.StringIO()
    Console(file=out, width=100, color_system=None).print(p.checks_table(done))
    return out.getvalue()


def test_checks_table() -> None:
    assert "? not run" in printed(BROKEN) and "✗ failed" in printed(BROKEN)
    assert "OSError: undefined symbol" in printed(BROKEN)
    assert "✓ passed" in printed(NO_DEVICE) and "- not run" in printed(NO_DEVICE)
    assert "? not run" in printed(OPEN)
    assert "float32 2.5e-07" in printed(HEALTHY) and "1e-05" in printed(HEALTHY)
    assert printed(BROKEN).index("pair.import") < printed(BROKEN).index("dsp.mel")
    assert all(c.isprintable() or c == "\n" for c in printed(hostile()))


def test_a_long_note_keeps_its_remedy() -> None:
    note = "it failed\n  why: " + "x" * 500 + "\n  try: torchpair engine start"
    text = shown([p.Outcome("row", "x", "local", None, "not built", 0.0, None, note)], 2000)
    assert "try: torchpair engine start" in text


def test_no_outcomes() -> None:
    assert "0 images: none. Checks: 0 passed." in shown([])


@pytest.mark.parametrize(
    ("done", "text"),
    [
        (HEALTHY, ""),
        (NO_DEVICE, ""),
        (BROKEN, "pair.import: OSError: undefined symbol"),
        (OPEN, "cuda.mel: no NVIDIA driver"),
        (EMPTY, "no check ran"),
        (report("x", check("cuda.mel", "skip", needs="gpu")), "no check passed"),
        (
            report("x", check("dsp.mel", "fail")),
            "dsp.mel: measured float32 2.5e-07 (max absolute error), limit float32 1e-05 (max absolute error)",
        ),
    ],
)
def test_cause(done: Report, text: str) -> None:
    assert views.cause(done) == text


def test_cause_is_one_visible_line() -> None:
    text = views.cause(hostile())
    assert text.isprintable()
    assert text.startswith("pair.import: <script>")
    assert len(views.cause(report("x", check("dsp.mel", "fail", reason="y\n" * 4000)))) == 300


@pytest.mark.parametrize(
    ("obj", "text"),
    [
        (None, formatting.ABSENT),
        (True, "yes"),
        (3, "3 dB"),
        (1 / 3, "0.3333 dB"),
        ([], "none"),
        (["8.0", 9], "8.0, 9"),
        ({"a": 1e-9, "b": None}, "a 1e-09, b \N{EN DASH} (dB)"),
        ("word", "word"),
    ],
)
def test_value(obj: Any, text: str) -> None:
    assert formatting.value(obj, "dB") == text


def test_junit() -> None:
    xml = junitparser.JUnitXml.fromstring(p.junit(ALL).encode())
    suites = {suite.name: suite for suite in xml}
    assert list(suites) == ["whole", "no-gpu", "broken", "open", "empty"]
    assert (xml.tests, xml.failures, xml.errors, xml.skipped) == (10, 1, 2, 3)
    counts = {name: (s.tests, s.failures, s.errors, s.skipped) for name, s in suites.items()}
    assert counts["no-gpu"] == (2, 0, 0, 1)
    assert counts["broken"] == (2, 1, 0, 1)
    # Inconclusive is not green: skips and an empty suite alone would be.
    assert counts["open"] == (3, 0, 1, 1)
    assert counts["empty"] == (1, 0, 1, 0)
    failure = list(suites["broken"])[1].result[0]
    assert failure.message == "measured nothing, limit both import"
    assert failure.text == "OSError: undefined symbol"
    assert list(suites["no-gpu"])[1].result[0].message == "no NVIDIA driver"


def test_junit_of_hostile_text_is_xml() -> None:
    (suite,) = junitparser.JUnitXml.fromstring(p.junit([hostile()]).encode())
    case = next(iter(suite))
    assert "<script>alert(1)</script>" in case.result[0].text
    assert "\x1b" not in case.result[0].text


def test_markdown() -> None:
    text = p.markdown(ALL)
    assert "| whole | ✓ healthy | 2.8.0+cu128 | 2.8.0+cu128 | 12.8 | 5.54 GB | 2 passed, 0 failed" in text
    assert "1 not run: no GPU" in text
    assert "- **broken**: pair.import: OSError: undefined symbol" in text
    evil = p.markdown([hostile()])
    assert not re.search(r"(?<!\\)<", evil)
    (line,) = [line for line in evil.splitlines() if line.startswith(r"| \<")]
    assert len(re.findall(r"(?<!\\)\|", line)) == 8


@pytest.mark.parametrize(
    ("reports", "text"),
    [
        ([], "No image was checked."),
        ([HEALTHY], "proven to work together in 1 of 1 image, on a GPU too."),
        ([EMPTY, BROKEN], "in none of 2 images."),
        ([HEALTHY, NO_DEVICE], "not proven: their work on a GPU in 1 image, where 1 GPU check could not run."),
        ([NO_DEVICE, NO_DEVICE], "on a GPU in all of them, where 2 GPU checks could not run."),
        ([report("x", check("pair.import"))], "in 1 of 1 image."),
    ],
)
def test_headline(reports: list[Report], text: str) -> None:
    assert views.headline(reports).endswith(text)


class Page(HTMLParser):
    """Collects the tags, and insists that every opened one is closed in its turn."""

    void = frozenset({"meta", "link", "br", "img", "path", "circle", "rect", "use"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, (tag, self.getpos())

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("reports", [[], [HEALTHY], ALL, [hostile()]], ids=["none", "one", "all", "hostile"])
def test_html_is_whole_and_loads_nothing(reports: list[Report]) -> None:
    page = Page(html(reports, "2026-11-21 12:00 UTC"))
    identities = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(set(identities)) == len(identities)
    for tag, attrs in page.tags:
        assert tag not in ("iframe", "object", "embed")
        for name, text in attrs.items():
            assert not name.startswith("on")
            if name in ("href", "src"):
                assert text is not None and text.startswith(("#", "data:image/svg+xml", "data:image/png;base64,"))
                assert not text.startswith("#") or text[1:] in identities
    assert sum(tag == "script" for tag, _ in page.tags) == 1
    assert sum(tag == "h1" for tag, _ in page.tags) == 1


def test_html_shows_every_check_with_words() -> None:
    page = Page(html(ALL, "now"))
    labels = [attrs["aria-label"] for _, attrs in page.tags if attrs.get("class", "").startswith("cell")]  # type: ignore[union-attr]
    assert len(labels) == sum(len(item.checks) for item in ALL)
    assert "pair.import, broken: failed" in labels
    assert "cuda.mel, no-gpu: not run" in labels
    for words in ("2 of 5 images are healthy", "OSError: undefined symbol", "2.5e-07", "12.0+PTX", "5.54 GB"):
        assert words in page.text
    # What failed stands before everything else.
    assert page.text.index("OSError") < page.text.index("Every check")


DRAWN = Spectrograms(16000, got=("0" * 64,) * 32, expected=("0f" * 32,) * 31 + ("f" * 64,))
SILENT = report("silent", check("io.wav", "fail", spectrograms=DRAWN))


def test_html_draws_a_sound_that_failed_beside_the_expected_one() -> None:
    page = Page(html([SILENT], "now"))
    images = [attrs for tag, attrs in page.tags if tag == "img"]
    captions = ["Spectrogram: expected, 0 to 8 kHz", "Spectrogram: got, 0 to 8 kHz"]
    assert [image["alt"] for image in images] == captions * 2, "above, and among all checks"
    assert images[0]["src"] == images[2]["src"] != images[1]["src"] == images[3]["src"]
    assert [tag for tag, _ in Page(html([HEALTHY], "now")).tags if tag == "img"] == []


@pytest.mark.parametrize("lines", [("0123", "cdef"), ("0",), ("f0a",)])
def test_a_picture_has_a_pixel_for_each_digit(lines: tuple[str, ...]) -> None:
    data, chunks, position = views.png(lines), {}, 8
    while position < len(data):
        size = int.from_bytes(data[position : position + 4], "big")
        name, body = data[position + 4 : position + 8], data[position + 8 : position + 8 + size]
        assert int.from_bytes(data[position + 8 + size : position + 12 + size], "big") == zlib.crc32(name + body)
        chunks[name] = body
        position += size + 12
    assert list(chunks) == [b"IHDR", b"PLTE", b"IDAT", b"IEND"]
    assert struct.unpack(">IIBB", chunks[b"IHDR"][:10]) == (len(lines[0]), len(lines), 4, 3)
    rows = zlib.decompress(chunks[b"IDAT"]).hex()
    step = 2 + len(lines[0]) + len(lines[0]) % 2
    assert [rows[n : n + 2 + len(lines[0])] for n in range(0, len(rows), step)] == ["00" + line for line in lines]
    assert len(chunks[b"PLTE"]) == 16 * 3


def test_html_escapes_what_a_probe_printed() -> None:
    page = html([hostile()], EVIL)
    assert "<script>alert" not in page
    assert "<img" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert all(c.isprintable() or c == "\n" for c in page)


def test_write_all(tmp_path: Path) -> None:
    p.write_all(ALL, tmp_path / "reports")
    assert sorted(item.name for item in (tmp_path / "reports").iterdir()) == ["index.html", "junit.xml", "summary.md"]
    assert junitparser.JUnitXml.fromfile(str(tmp_path / "reports" / "junit.xml")).tests == 10
