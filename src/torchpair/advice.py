"""What choose.py answers, in words and as data."""

from __future__ import annotations

from typing import Any

from torchpair import choose, search
from torchpair.catalog import Published
from torchpair.choose import Answer, Choice
from torchpair.facts import Facts
from torchpair.search import Wish

OTHERS = 4  # that would do too
REFUSED = 8  # with the reason


def lines(answer: Answer, facts: Facts) -> list[str]:
    """The answer in words."""
    catalog = answer.catalog
    out = [f"for: {answer.machine} ({answer.machine.told})" if answer.machine.told else f"for: {answer.machine}"]
    asked = _asked(answer.wish)
    out += [f"asked: {asked}"] if asked else []
    if answer.best is None:
        return [*out, *_refusal(answer, facts)]
    best = answer.best
    out += [f"{catalog.repository}:{best.image.tag}", f"  {_described(best.image)}"]
    out += [f"  {text}" for text in best.why]
    out += ["pull it:", f"  docker pull {choose.reference(catalog, best.image)}"]
    others = _others(answer)
    out += ["what else would do:"] if others else []
    out += [f"  {one.image.tag}: {_described(one.image)}" for one in others]
    return out


def _others(answer: Answer) -> list[Choice]:
    """Two Pythons of one answer are one answer."""
    found: list[Choice] = list(answer.fitting[:1])
    for one in answer.fitting[1:]:
        if all((one.image.torch, one.image.cuda) != (b.image.torch, b.image.cuda) for b in found):
            found.append(one)
    return found[1 : OTHERS + 1] or list(answer.fitting[1 : OTHERS + 1])


def _asked(wish: Wish) -> str:
    said = (("torch", wish.torch), ("CUDA", wish.cuda), ("Python", wish.python), ("for", wish.profile))
    return ", ".join(f"{name} {value}" for name, value in said if value)


def _described(image: Published) -> str:
    codec = f", torchcodec {image.torchcodec}" if image.torchcodec else ""
    cuda = "CPU" if image.cuda == "cpu" else f"CUDA {image.cuda}"
    return (
        f"torch {image.torch}, torchaudio {image.torchaudio}{codec}, {cuda}, Python {image.python}, {image.base}, "
        f"{image.size / 1e9:.2f} GB to pull"
    )


def _refusal(answer: Answer, facts: Facts) -> list[str]:
    """Why nothing runs, and what would."""
    if not answer.catalog.images:
        return [f"the catalog of {answer.catalog.repository} is empty"]
    out = [f"nothing of {answer.catalog.repository} runs there; nothing was pulled"]
    for card in answer.machine.cards:
        # A CPU build or one for another CPU has nothing to do with the card.
        rest = [against for image, against in answer.refused if image.cuda != "cpu"]
        if rest and all(any(one.card == card for one in against) for against in rest):
            out.append(f"  no image has code for the {card}: no driver helps")
    for image, against in answer.refused[:REFUSED]:
        out.append(f"  {image.tag}: {'; '.join(one.text for one in against)}")
    out += [f"  and {len(answer.refused) - REFUSED} more"] if answer.refused[REFUSED:] else []
    out += ["what would run:"] if answer.instead else []
    out += [f"  {one.change}: {answer.catalog.repository}:{one.image.tag}" for one in answer.instead]
    built = search.solve(answer.wish, facts, most=1)
    if built:
        from torchpair.explain import yaml_row

        out += ["what could be built, in matrix.yaml:", f"  {yaml_row(built[0])}"]
    return out


def to_json(answer: Answer) -> dict[str, Any]:
    """The answer as data."""

    def shown(image: Published) -> dict[str, Any]:
        keys = ("tag", "digest", "size", "torch", "torchaudio", "torchcodec", "cuda", "python", "base", "row")
        return {**{key: getattr(image, key) for key in keys}, "reference": choose.reference(answer.catalog, image)}

    choices = [{**shown(one.image), "driver": one.driver, "why": list(one.why)} for one in answer.fitting]
    there = answer.machine
    return {
        "ok": bool(choices),
        "machine": {
            "gpus": [{"name": card.name, "sm": card.sm} for card in there.cards],
            "driver": there.driver,
            "arch": there.arch,
        },
        "best": choices[0] if choices else None,
        "others": choices[1:],
        "driver_that_does": None if choices else choose.driver_that_does(answer),
        "instead": [{**shown(one.image), "change": one.change} for one in answer.instead],
        "refused": [{"tag": image.tag, "because": [one.text for one in against]} for image, against in answer.refused],
    }
