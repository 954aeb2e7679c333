"""Catalog + machine + wishes -> which published image to pull, why, and what stands in the way of the others. Pure.

What a card, a driver and a CUDA can do together is search.py's and compat/gpus.py's to say; here it is asked per image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from packaging.version import Version

from torchpair import search
from torchpair.catalog import Catalog, Published
from torchpair.compat.gpus import covers, serves
from torchpair.diagnose.evidence import Host
from torchpair.errors import TorchpairError
from torchpair.facts import Facts
from torchpair.search import Wish

ARCHES = {"linux/amd64": "x86_64", "linux/arm64": "aarch64"}
NONE = "none"  # --gpu none: as if the machine had no card


@dataclass(frozen=True)
class Card:
    """A GPU: its name, and its compute capability ("12.0")."""

    name: str
    sm: str

    def __str__(self) -> str:
        return self.name if self.name == self.sm else f"{self.name} ({self.sm})"


@dataclass(frozen=True)
class Machine:
    """Where an image is to run. driver: None: not told, or there is none. told: how that is known, for reading."""

    cards: tuple[Card, ...]
    driver: str | None
    arch: str
    told: str = ""

    @property
    def gpu(self) -> bool:
        """Whether there is a GPU to be used: a driver without a name of a card counts as one."""
        return bool(self.cards or self.driver)

    def __str__(self) -> str:
        cards = ", ".join(map(str, self.cards)) or ("any GPU" if self.driver else "no GPU")
        driver = f", driver {self.driver}" if self.driver else ", driver not told" if self.cards else ""
        return f"{cards}{driver}, {self.arch}"


@dataclass(frozen=True)
class Obstacle:
    """Why an image is not for a machine. kind: verdict, arch, wish, cpu, card or driver; driver: the one that would do;
    wish: the wish that it does not meet; card: the one it has no code for."""

    kind: str
    text: str
    driver: str | None = None
    wish: str | None = None
    card: Card | None = None


@dataclass(frozen=True)
class Choice:
    """An image that runs there. driver: the lowest that runs it on these cards, None for a CPU build."""

    image: Published
    driver: str | None
    why: tuple[str, ...]


@dataclass(frozen=True)
class Instead:
    """What would run if one thing were otherwise."""

    image: Published
    change: str


@dataclass(frozen=True)
class Answer:
    """fitting: best first; instead: only where nothing fits; refused: the others, with what stands in the way."""

    catalog: Catalog
    machine: Machine
    wish: Wish
    fitting: tuple[Choice, ...]
    instead: tuple[Instead, ...]
    refused: tuple[tuple[Published, tuple[Obstacle, ...]], ...]

    @property
    def best(self) -> Choice | None:
        return self.fitting[0] if self.fitting else None


def machine(
    host: Host, gpus: Sequence[str] = (), driver: str | None = None, arch: str | None = None, here: str = "x86_64"
) -> Machine:
    """The machine to choose for: what the host says, overridden by what the command line says.

    gpus: names, compute capabilities, or "none". here: this machine's CPU architecture. Raises TorchpairError.
    """
    if NONE in (text.lower() for text in gpus):
        if len(gpus) > 1 or driver:
            raise TorchpairError("--gpu none beside a card or a driver", remedy="leave one of them out")
        return Machine((), None, arch or here, "--gpu none")
    told, own = [], None
    if gpus:
        known = [(text, *search.gpu(text)) for text in gpus]
        cards = tuple(Card(text, sm) for text, sm, _ in known)
        own = next((one for *_, one in known if one), None)
        told.append("--gpu")
    else:
        cards = tuple(_card(gpu.name, gpu.capability) for gpu in host.gpus)
    told += ["nvidia-smi"] if host.driver and not (gpus and driver) else []
    told += ["--driver"] if driver else []
    how = ", ".join(told) or host.how or "there is no nvidia-smi here"
    return Machine(tuple(dict.fromkeys(cards)), driver or host.driver, arch or own or here, how)


def _card(name: str, capability: str | None) -> Card:
    """A card that nvidia-smi names; an old one does not tell its compute capability."""
    try:
        return Card(name, capability or search.gpu(name)[0])
    except TorchpairError as error:
        raise TorchpairError(
            f"the compute capability of {name!r} is not known", why=error.why, remedy="name it: --gpu sm_86, say"
        ) from error


def choose(catalog: Catalog, there: Machine, wish: Wish, facts: Facts) -> Answer:
    """What to pull. wish: python, cuda, torch and profile count; cards and driver are the machine's."""
    wish = replace(wish, sm=tuple(card.sm for card in there.cards), driver=there.driver, arch=there.arch)
    found = [(image, obstacles(image, there, wish, facts)) for image in catalog.images]
    newest = sorted((image for image, against in found if not against), key=lambda image: order(image, there, wish))
    refused = tuple((image, against) for image, against in found if against)
    fitting = tuple(
        Choice(image, search.driver_needed(image, wish.sm, facts), _why(image, there, wish, facts)) for image in newest
    )
    instead = () if fitting else _instead(catalog, refused, there, wish, facts)
    return Answer(catalog, there, wish, fitting, instead, refused)


def order(image: Published, there: Machine, wish: Wish) -> tuple[object, ...]:
    """Without a GPU a CPU build is the better one: it lacks what could not be used. Ties: as the catalog has them."""
    idle = not there.gpu and image.cuda != "cpu"
    return (idle, *search.preference(wish.profile, image), not image.gpu_checked)


def obstacles(image: Published, there: Machine, wish: Wish, facts: Facts) -> tuple[Obstacle, ...]:
    """All that stands in the way of an image; () when it runs. wish: with the machine's cards and driver in it."""
    found = []
    if image.verdict != "healthy":
        found.append(Obstacle("verdict", f"its check said {image.verdict} on {image.checked[:10]}"))
    if ARCHES.get(image.platform) != there.arch:
        found.append(Obstacle("arch", f"is made for {image.platform}"))
    words = {"torch": f"torch {image.torch}", "cuda": f"CUDA {image.cuda}", "python": f"Python {image.python}"}
    for key in search.unlike(wish, image):
        found.append(Obstacle("wish", f"has {words[key]}" if key in words else f"is not for {wish.profile}", wish=key))
    if image.cuda == "cpu":
        if there.gpu and wish.cuda != "cpu":
            found.append(Obstacle("cpu", "is a CPU build: the GPU would lie idle"))
        return tuple(found)
    if not there.gpu:
        return tuple(found)
    for card in there.cards:
        if not image.sm:
            found.append(Obstacle("card", f"nobody verified what GPUs it has code for: {card}?", card=card))
        elif not serves(image.sm, card.sm, image.cuda, facts):
            found.append(Obstacle("card", f"has no code for the {card}", card=card))
    needed = search.driver_needed(image, wish.sm, facts)
    if not any(one.card for one in found) and not search.driver_does(wish, image, facts):
        found.append(Obstacle("driver", f"needs driver {needed} or newer", driver=needed))
    return tuple(found)


def _why(image: Published, there: Machine, wish: Wish, facts: Facts) -> tuple[str, ...]:
    """Reasons, for reading."""
    out = []
    if not there.gpu:
        out.append(
            "a CPU build: nothing in it needs a GPU"
            if image.cuda == "cpu"
            else "runs without a GPU too, with CUDA's libraries unused"
        )
    elif image.cuda != "cpu":
        out += [_code(image, card) for card in there.cards]
        out.append(_driver(image, there, wish, facts))
    tried = ", on a GPU too" if image.gpu_checked else f", not on a GPU ({image.skipped_gpu} checks not run)"
    out.append(f"healthy on {image.checked[:10]}: {image.passed} checks passed{'' if image.cuda == 'cpu' else tried}")
    return tuple(out)


def _code(image: Published, card: Card) -> str:
    machine_code = tuple(sm for sm in image.sm if not sm.endswith("+PTX"))
    exact = tuple(sm.removesuffix("+PTX") for sm in image.sm)
    if card.sm in exact:
        return f"{card}: has code for it"
    if covers(machine_code or exact, card.sm) or covers(exact, card.sm):
        return f"{card}: machine code of its generation serves it"
    return f"{card}: from PTX, which the driver compiles when it is first used"


def _driver(image: Published, there: Machine, wish: Wish, facts: Facts) -> str:
    needed = search.driver_needed(image, wish.sm, facts)
    floor = facts.driver.get(image.cuda.split(".")[0], image.min_driver)
    if there.driver is None:
        return f"needs driver {needed} or newer; yours was not told"
    because = f"CUDA {image.cuda.split('.')[0]} runs from {floor} on"
    if needed != floor:
        because = f"{because}, these cards and this CUDA from {needed} on"
    return f"driver {there.driver} does: {because}"


# ---- nothing fits -------------------------------------------------------------------------------------------------


def _instead(
    catalog: Catalog,
    refused: Sequence[tuple[Published, tuple[Obstacle, ...]]],
    there: Machine,
    wish: Wish,
    facts: Facts,
) -> tuple[Instead, ...]:
    """The smallest changes after which something of the catalog runs: a driver, a wish, one card alone, the CPU."""
    found: list[Instead] = []

    def only(*kinds: str) -> list[tuple[Published, tuple[Obstacle, ...]]]:
        some = [(image, against) for image, against in refused if {one.kind for one in against} <= set(kinds)]
        return sorted(some, key=lambda pair: search.preference(None, pair[0]))

    def add(image: Published, change: str) -> None:
        if all(image != one.image for one in found):
            found.append(Instead(image, change))

    by_driver = [(image, str(against[0].driver)) for image, against in only("driver")]
    if by_driver:  # the driver that is nearest, and the newest torch
        image, driver = min(by_driver, key=lambda pair: Version(pair[1]))
        add(image, f"driver {driver} or newer")
        add(by_driver[0][0], f"driver {by_driver[0][1]} or newer")
    by_wish = sorted(only("wish"), key=lambda pair: len(pair[1]))
    for image, against in by_wish[:1]:
        add(image, f"another {' and '.join(_WISHES[str(one.wish)] for one in against)}")
    if not found:
        for image, against in sorted(only("wish", "driver"), key=lambda pair: Version(_driver_of(pair[1])))[:1]:
            driver = _driver_of(against)
            wishes = " and ".join(_WISHES[str(one.wish)] for one in against if one.wish)
            add(image, f"another {wishes}, and driver {driver} or newer")
    if len(there.cards) > 1 and any(one.card for _, against in refused for one in against):
        for card in there.cards:
            alone = choose(catalog, replace(there, cards=(card,)), wish, facts).best
            if alone:
                found.append(Instead(alone.image, f"on the {card} alone"))
    idle = [pair for pair in only("cpu", "wish") if {one.wish for one in pair[1]} in ({None}, {None, "cuda"})]
    for image, _ in idle[:1]:
        add(image, "on the CPU (--cuda cpu)")
    return tuple(found)


def _driver_of(against: Sequence[Obstacle]) -> str:
    return next((one.driver for one in against if one.driver), "0")


_WISHES = {"torch": "torch", "cuda": "CUDA", "python": "Python", "profile": "use"}


def driver_that_does(answer: Answer) -> str | None:
    """The lowest driver with which something would run, all else as it is; None where no driver helps."""
    drivers = [str(against[0].driver) for _, against in answer.refused if [one.kind for one in against] == ["driver"]]
    return min(drivers, key=Version, default=None)


def reference(catalog: Catalog, image: Published) -> str:
    """What a pull takes: by digest, which nothing can move."""
    return f"{catalog.repository}@{image.digest}"
