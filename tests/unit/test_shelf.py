"""The catalog's page: the same answers as `torchpair choose`, clicked through in Chromium, at two widths, as a file and
from a web server."""

from __future__ import annotations

import html
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from catalogs import FACTS, REPOSITORY, WIDE, catalog, changed, image
from test_cli_know import run
from test_page import chromium, picture

from torchpair import choose, shelf
from torchpair.catalog import Catalog
from torchpair.choose import Card, Machine
from torchpair.search import Wish

TELL = """<script>addEventListener("load", () => setTimeout(async () => {
  const form = document.getElementById("asks"), answer = document.getElementById("answer");
  const ask = values => { form.reset();
    for (const [name, value] of Object.entries(values)) form.elements[name].value = value;
    form.dispatchEvent(new Event("change")); return answer.querySelector("h3").textContent; };
  const all = ASKED.map(ask);
  const shown = {all, inner: innerWidth, wide: document.documentElement.scrollWidth};
  ask({card: "12.0", driver: "535"}); shown.refused = answer.innerText;
  answer.querySelector(".also button").click(); shown.mended = answer.innerText;
  ask({card: "8.0", driver: "580"}); answer.querySelector(".also button").click(); shown.second = answer.innerText;
  ask({card: "8.0", driver: "580"}); shown.command = document.getElementById("command").textContent;
  answer.querySelector(".take button").click(); await new Promise(r => setTimeout(r, 100));
  shown.copied = answer.querySelector(".take button").textContent;
  const marks = document.querySelectorAll(".grid a.cell"); marks[marks.length - 1].click();
  shown.inspector = document.getElementById("inspector").innerText;
  shown.alerted = window.alerted === true;
  shown.cut = [...document.querySelectorAll("header *, .choose *, .sizes *, .card *, .inspector *")].filter(
    e => !e.closest(".hidden, svg, option") && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML);
  parent.postMessage(JSON.stringify(shown), "*"); }, 300));</script></body>"""
FRAME = """<!doctype html><iframe src="page.html" width="{width}" height="900"></iframe><pre id="told"></pre>
<script>addEventListener("message", e => {{ document.getElementById("told").textContent = e.data; }});</script>"""
MIXED = changed(WIDE, "2.5.1-cu124-py311-ubuntu22.04", verdict="unhealthy", failed=1)
ARM = catalog(*WIDE.images, image("2.11.0", "13.0", "3.12", "aarch64"))


def write(folder: Path, offer: Catalog, asked: list[dict[str, str]], width: int) -> None:
    text = shelf.html(offer, FACTS)
    (folder / "page.html").write_text(text.replace("</body>", TELL.replace("ASKED", json.dumps(asked))), "utf-8")
    (folder / "frame.html").write_text(FRAME.format(width=width))


def told(folder: Path, address: str, width: int) -> dict[str, Any]:
    # The last of two rules counts: this machine's own address is no other host.
    local = ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--no-proxy-server"]
    done = chromium(folder, *local, f"--window-size={width + 100},1000", "--dump-dom", address)
    found = re.search(r'<pre id="told">(.*?)</pre>', done, re.S)
    assert found and found[1].startswith("{"), done[-800:]
    answer = json.loads(html.unescape(found[1]))
    assert isinstance(answer, dict)
    return answer


def wanted(offer: Catalog, ask: dict[str, str]) -> str:
    """What `torchpair choose` says to the same question."""
    sms = [ask[key] for key in ("card", "other") if ask.get(key) not in (None, "", "any", "none")]
    # A page asks for "any GPU" where a machine would have named one.
    driver = ask.get("driver") or ("999" if ask["card"] == "any" and not sms else None)
    there = Machine(tuple(Card(sm, sm) for sm in sms), driver, ask.get("arch", "x86_64"))
    if ask["card"] == "none":
        there = Machine((), None, there.arch)
    wish = Wish(cuda=ask.get("cuda"), python=ask.get("python"), torch=ask.get("torch"))
    best = choose.choose(offer, there, wish, FACTS).best
    return best.image.tag if best else "Nothing here runs on that"


DATA = shelf.view(WIDE, FACTS)
CARDS = ["any", "none", *dict.fromkeys(card["sm"] for card in DATA["cards"])]
ASKED: list[dict[str, str]] = [
    *({"card": card, "driver": str(driver)} for card, driver in product(CARDS, DATA["drivers"])),
    *({"card": card} for card in CARDS),
    *({"card": "7.5", "other": sm, "driver": "570"} for sm in CARDS[2:]),
    *({"card": card, "driver": "570", "cuda": cuda} for card in CARDS for cuda in DATA["axes"]["cuda"]),
    *({"card": card, "driver": "580", "python": python} for card in CARDS for python in DATA["axes"]["python"]),
    *({"card": card, "driver": "580", "torch": torch} for card in CARDS for torch in DATA["axes"]["torch"]),
]


@pytest.mark.parametrize("width", [390, 1280])
def test_it_says_what_choose_says_and_fits(tmp_path: Path, width: int) -> None:
    write(tmp_path, MIXED, ASKED, width)
    seen = told(tmp_path, f"file://{tmp_path}/frame.html", width)
    assert len(ASKED) > 400
    wrong = [(ask, a, b) for ask, a in zip(ASKED, seen["all"], strict=True) if a != (b := wanted(MIXED, ask))]
    assert wrong == []
    assert seen["inner"] == width and seen["wide"] <= width and seen["cut"] == []
    assert "Nothing here runs on that" in seen["refused"] and "with driver 570.26 or newer" in seen["refused"]
    assert "docker pull" not in seen["refused"] and "docker pull" in seen["mended"]
    assert "2.14.1-cu126" in seen["second"]
    best = next(one for one in MIXED.images if one.tag == wanted(MIXED, {"card": "8.0", "driver": "580"}))
    assert seen["command"] == f"docker pull {REPOSITORY}@{best.digest}"
    assert seen["copied"] in ("Copied", "Selected")
    assert "2.8.0-cpu-py311" in seen["inspector"], "the last mark of the grid was clicked"


def test_two_kinds_of_cpu(tmp_path: Path) -> None:
    asked = [{"card": card, "arch": arch} for card in ("9.0", "none") for arch in ("x86_64", "aarch64")]
    write(tmp_path, ARM, asked, 1280)
    seen = told(tmp_path, f"file://{tmp_path}/frame.html", 1280)
    assert seen["all"] == [wanted(ARM, ask) for ask in asked] and "aarch64" in seen["all"][1]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as serving:
        thread = threading.Thread(target=serving.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()
        thread.join()


def test_from_a_web_server(tmp_path: Path, server: str) -> None:
    asked = [{"card": "12.0", "driver": "570"}]
    write(tmp_path, WIDE, asked, 1280)
    seen = told(tmp_path, f"{server}/frame.html", 1280)
    assert seen["all"] == [wanted(WIDE, asked[0])] == ["2.8.0-cu128-py311-ubuntu22.04"]


def test_what_a_catalog_says_is_never_code(tmp_path: Path) -> None:
    """No reader lets such words in; the page does not rely on it."""
    evil = "</script><script>window.alerted = true</script><img src=x onerror='window.alerted = true'>"
    layer = replace(WIDE.images[0].layers[0], name=f'x" style="{evil}')
    bad = replace(
        WIDE.images[0], tag=evil, tags=(evil,), base=evil, layers=(layer, *WIDE.images[0].layers[1:]), checked=evil
    )
    offer = replace(WIDE, images=(*WIDE.images[1:], bad), repository=evil)
    text = shelf.html(offer, FACTS)
    assert "<script>window" not in text and "<img src=x" not in text and text.count("</script>") == 2
    write(tmp_path, offer, [{"card": "any"}], 1280)
    seen = told(tmp_path, f"file://{tmp_path}/frame.html", 1280)
    assert seen["alerted"] is False and seen["all"] == [evil], "shown as text"


@pytest.mark.parametrize("width", [500, 1280])  # a window of Chromium is never narrower than 500
def test_a_picture(tmp_path: Path, width: int) -> None:
    (tmp_path / "page.html").write_text(shelf.html(MIXED, FACTS), encoding="utf-8")
    file = tmp_path / "shot.png"
    chromium(tmp_path, f"--window-size={width},1600", f"--screenshot={file}", f"file://{tmp_path}/page.html")
    wide, high, colours = picture(file)
    assert (wide, high) == (width, 1600) and colours > 60


def test_the_page_loads_nothing_and_says_it_all_without_a_script() -> None:
    text = shelf.html(MIXED, FACTS)
    assert "default-src 'none'" in text and not re.search(r'(src|href)="(?!data:|#)', text)
    for one in MIXED.images:
        assert text.count(f"docker pull {REPOSITORY}@{one.digest}") >= 1
    layers = {layer.digest: layer.size for one in MIXED.images for layer in one.layers}
    assert f"{sum(layers.values()) / 1e9:.2f} GB" in text


def test_an_empty_catalog() -> None:
    assert "Nothing was published yet" in shelf.html(catalog(), FACTS)


def test_the_command(tmp_path: Path) -> None:
    (tmp_path / "catalog.json").write_text(WIDE.text())
    done = run("page", "--catalog", tmp_path / "catalog.json", "--output", tmp_path / "shelf.html")
    assert done.code == 0 and (tmp_path / "shelf.html").read_text().startswith("<!doctype html>")
