"""The catalog's page: every published image, by card and driver, as one HTML file that needs nothing beside it.

All rules are applied here and given to the page as data: for each image the cards that it serves, and from which branch
of the driver on. The page itself only looks up.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from packaging.version import Version

from torchpair import choose, formatting, search, source
from torchpair.catalog import Catalog, Published
from torchpair.choose import ARCHES, Card, Machine
from torchpair.facts import Facts
from torchpair.resources import page_templates
from torchpair.search import Wish

ANY = "any"  # a card that nobody named
KINDS = ("base", "cuda", "torch", "triton", "python", "audio", "other")


def html(catalog: Catalog, facts: Facts) -> str:
    """The page. Everything of the catalog is somebody else's text: escaped, and never part of a script."""
    environment = page_templates()
    environment.filters.update(plain=formatting.plain, size=formatting.size, count=formatting.count)
    data = view(catalog, facts)
    return environment.get_template("catalog.html.j2").render(catalog=catalog, data=data, **data)


def view(catalog: Catalog, facts: Facts) -> dict[str, Any]:
    """What the page shows and looks up. Images are in the order in which they are offered to a machine with a GPU."""
    cards = _cards()
    order = sorted(catalog.images, key=lambda image: (search.preference(None, image), not image.gpu_checked))
    where = {image.digest: index for index, image in enumerate(order)}
    shared = Counter(layer.digest for image in order for layer in image.layers)
    idle = Machine((), None, "x86_64")
    without = sorted(order, key=lambda image: choose.order(image, idle, Wish()))
    return {
        "repository": catalog.repository,
        "generated": catalog.generated[:16].replace("T", " ") + " UTC",
        "cards": [{"name": card.name, "sm": card.sm} for card in cards],
        "drivers": _branches(facts),
        "images": [_image(catalog, image, cards, shared, facts) for image in order],
        "without_gpu": [where[image.digest] for image in without],
        "axes": {
            "cuda": _axis({image.cuda for image in order}),
            "python": _axis({image.python for image in order}),
            "torch": _axis({image.torch for image in order}),
            "arch": sorted({ARCHES.get(image.platform, image.platform) for image in order}, reverse=True),
        },
        "kinds": KINDS,
        "rows": _grid(order),
        "stored": sum({layer.digest: layer.size for image in order for layer in image.layers}.values()),
        "summed": sum(image.size for image in order),
    }


def _cards() -> list[Card]:
    """The cards that people name, newest first; one of each name."""
    cards = [Card(gpu.name, gpu.sm) for gpu in source.load().gpus.values()]
    return sorted(cards, key=lambda card: Version(card.sm), reverse=True)


def _branches(facts: Facts) -> list[int]:
    """Branches of the driver that make a difference, newest first; the oldest does nothing."""
    known = {int(one.split(".")[0]) for one in facts.driver.values()}
    known |= {int(t.toolkit_driver.split(".")[0]) for t in facts.toolkits.values() if t.toolkit_driver}
    return sorted(known, reverse=True)


def _axis(values: set[str]) -> list[str]:
    def key(text: str) -> tuple[Version, bool]:  # "3.13t" is a Python, and no version
        return Version("0" if text == "cpu" else text.removesuffix("t")), not text.endswith("t")

    return sorted(values, key=key, reverse=True)


def _grid(order: list[Published]) -> list[dict[str, Any]]:
    """A line for each torch and CUDA, in it by Python the places of the images in `images`."""
    lines: dict[tuple[str, str], dict[str, list[int]]] = {}
    for index, image in enumerate(order):
        lines.setdefault((image.torch, image.cuda), {}).setdefault(image.python, []).append(index)
    return [{"torch": torch, "cuda": cuda, "by_python": found} for (torch, cuda), found in lines.items()]


def _image(catalog: Catalog, image: Published, cards: list[Card], shared: Counter[str], facts: Facts) -> dict[str, Any]:
    needs = {sm: _needs(image, sm, facts) for sm in dict.fromkeys(card.sm for card in cards)}
    needs[ANY] = search.driver_needed(image, (), facts)
    tried = (
        "nothing in it needs a GPU" if image.cuda == "cpu"
        else "checked on a GPU" if image.gpu_checked
        else f"not checked on a GPU: {image.skipped_gpu} checks not run"
    )  # fmt: skip
    return {
        "tag": image.tag,
        "tags": list(image.tags),
        "digest": image.digest,
        "pull": f"docker pull {choose.reference(catalog, image)}",
        "arch": ARCHES.get(image.platform, image.platform),
        "torch": image.torch,
        "torchaudio": image.torchaudio,
        "torchcodec": image.torchcodec or "none",
        "cuda": image.cuda,
        "python": image.python,
        "base": image.base,
        "sm": " ".join(image.sm) or "none",
        "driver": image.min_driver or "none",
        "verdict": image.verdict,
        "offered": image.verdict == "healthy",
        "checked": image.checked[:10],
        "passed": image.passed,
        "failed": image.failed,
        "skipped_gpu": image.skipped_gpu,
        "skipped_other": image.skipped_other,
        "gpu_checked": image.gpu_checked,
        "tried": tried,
        "size": image.size,
        "layers": [
            {"name": layer.name, "kind": _kind(layer.name), "size": layer.size, "others": shared[layer.digest] - 1}
            for layer in image.layers
        ],
        # By compute capability: the lowest driver, and its branch. A card that is not there is not served.
        "needs": {sm: {"driver": d, "branch": int(d.split(".")[0])} for sm, d in needs.items() if d},
    }


def _kind(layer: str) -> str:
    """How a layer is drawn: a word of ours, whatever the catalog calls it."""
    name = layer.split("-")[0]
    return {"system": "base"}.get(name, name if name in KINDS else "other")


def _needs(image: Published, sm: str, facts: Facts) -> str | None:
    """The lowest driver for a card, None where no driver helps."""
    against = choose.obstacles(
        image, Machine((Card(sm, sm),), None, ARCHES.get(image.platform, "")), Wish(sm=(sm,)), facts
    )
    if any(one.kind in ("card", "cpu") for one in against):
        return None
    return search.driver_needed(image, (sm,), facts)
