"""catalog.json: what is read, what is refused, what differs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from published import entry

from torchpair import catalog
from torchpair.catalog import Catalog
from torchpair.errors import TorchpairError

IMAGES = (entry("2.14.1", "13.0", "3.13"), entry(), entry(cuda="cpu"))
GOOD = Catalog("127.0.0.1:5000/torchpair", "2026-11-21T12:00:00+00:00", IMAGES)


def test_there_and_back() -> None:
    assert catalog.parse(GOOD.text()) == GOOD
    assert catalog.parse(GOOD.text().encode()).text() == GOOD.text()


def test_the_order_is_no_accident() -> None:
    turned = tuple(replace(image, tags=tuple(reversed(image.tags))) for image in reversed(IMAGES))
    assert replace(GOOD, images=turned).text() == GOOD.text()


def _set(path: str, value: object) -> Callable[[dict[str, Any]], None]:
    def change(body: dict[str, Any]) -> None:
        *way, last = path.split(".")
        at: Any = body
        for step in way:
            at = at[int(step)] if step.isdigit() else at[step]
        at[last] = value

    return change


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("schema", "torchpair.catalog/2", "is 'torchpair.catalog/2', not torchpair.catalog/1"),
        ("repository", "torchpair", "repository"),
        ("repository", "a.b/c; rm -rf /", "repository"),
        ("generated", "yesterday", "not a time in UTC"),
        ("generated", "2026-11-21T12:00:00+01:00", "not a time in UTC"),
        ("images", {}, "not a list"),
        ("more", 1, "unknown key 'more'"),
        ("images.0.more", 1, "unknown key 'more'"),
        ("images.0.tag", "latest; rm", "images[0].tag"),
        ("images.0.tag", "other", "lack the full tag other"),
        ("images.0.tags", ["2.8.0-cu128-py311-debian12"] * 2, "images[0].tags"),
        ("images.0.digest", "sha256:" + "A" * 64, "images[0].digest"),
        ("images.0.digest", IMAGES[1].digest, "have the digest"),
        ("images.0.size", 4, "but the layers have 3 bytes"),
        ("images.0.size", True, "not a number"),
        ("images.0.layers.0.size", -1, "images[0].layers[0].size"),
        ("images.0.torch", "two", "images[0].torch"),
        ("images.0.torch", "2..0", "no version"),
        ("images.0.cuda", "cu128", "images[0].cuda"),
        ("images.0.python", 3.11, "images[0].python"),
        ("images.0.sm", ["8"], "images[0].sm[0]"),
        ("images.0.min_driver", None, "images[0].min_driver"),
        ("images.0.verdict", "fine", "allowed: healthy, unhealthy, inconclusive"),
        ("images.0.verdict", "unhealthy", "with 50 passed and 0 failed"),
        ("images.0.failed", 1, "is healthy, with 50 passed and 1 failed"),
        ("images.0.passed", 0, "is healthy, with 0 passed"),
        ("images.0.gpu_checked", 1, "not true or false"),
        ("images.0.report", "x", "images[0].report"),
        ("images.0.checked", None, "images[0].checked"),
        ("images.0.base", "local", "images[0].base"),
        ("images.0.platform", "linux", "images[0].platform"),
    ],
)
def test_edited_by_hand(path: str, value: object, words: str) -> None:
    body = GOOD.to_json()
    _set(path, value)(body)
    with pytest.raises(TorchpairError) as caught:
        catalog.parse(json.dumps(body), "here.json")
    assert words in str(caught.value) and str(caught.value).startswith("here.json")
    assert "torchpair catalog --registry R --output" in str(caught.value)


@pytest.mark.parametrize("key", [*GOOD.to_json(), *GOOD.to_json()["images"][0]])
def test_nothing_may_be_missing(key: str) -> None:
    body = GOOD.to_json()
    target = body if key in body else body["images"][0]
    del target[key]
    with pytest.raises(TorchpairError, match=f"has no {key}"):
        catalog.from_json(body)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "[]", "null", '{"a": NaN}', b"\xff\xfe", "1" * 5000])
def test_no_catalog_at_all(text: str | bytes) -> None:
    with pytest.raises(TorchpairError):
        catalog.parse(text)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from([*GOOD.to_json()["images"][0]]), _JSON)
def test_whatever_stands_there_is_read_or_refused(key: str, value: object) -> None:
    body = GOOD.to_json()
    body["images"][0][key] = value
    try:
        found = catalog.from_json(body)
    except TorchpairError:
        return
    assert catalog.parse(found.text()) == found


def test_differences() -> None:
    assert catalog.differences(GOOD, replace(GOOD, generated="2027-01-01T00:00:00+00:00")) == []
    changed = replace(
        GOOD, repository="a.b/c", images=(replace(IMAGES[0], verdict="inconclusive"), IMAGES[1], entry("2.5.1"))
    )
    assert catalog.differences(GOOD, changed) == [
        "repository: the catalog says 127.0.0.1:5000/torchpair, this is a.b/c",
        '2.14.1-cu130-py313-debian12: verdict: the catalog says "healthy", the registry "inconclusive"',
        "2.5.1-cu128-py311-debian12: is in the registry, and not in the catalog",
        "2.8.0-cpu-py311-debian12: is in the catalog, and not in the registry with a report that holds",
    ]
