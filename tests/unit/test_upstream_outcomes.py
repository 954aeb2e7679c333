"""`make upstream-tests`: what is read of pytest's files, and what counts as the same passes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.upstream import __main__ as upstream
from tests.upstream import outcomes
from tests.upstream.outcomes import Outcome

from torchpair.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]
JUNIT = """<?xml version="1.0" encoding="utf-8"?><testsuites><testsuite name="pytest">
<testcase classname="torchaudio_unittest.functional.a_test.TestA" name="test_fine_0" time="0.1" />
<testcase classname="torchaudio_unittest.functional.a_test.TestA" name="test_bad"><failure message="AssertionError: off
by one">long</failure></testcase>
<testcase classname="torchaudio_unittest.functional.a_test.TestA" name="test_gone"><skipped type="pytest.skip"
 message="CUDA is not available."/></testcase>
<testcase classname="" name="torchaudio_unittest.b_test"><error message="collection failure">trace</error></testcase>
<testcase classname="torchaudio_unittest.functional.a_test.TestA" name="test_twice" />
<testcase classname="torchaudio_unittest.functional.a_test.TestA" name="test_twice"><error message="">in tearDown
more</error></testcase>
</testsuite></testsuites>"""
A = "functional.a_test.TestA::"
FINE, BAD, GONE = Outcome("passed"), Outcome("failed", "off"), Outcome("skipped", "no GPU")


def test_pytests_file() -> None:
    found = outcomes.parse(JUNIT)
    assert found == {
        A + "test_fine_0": Outcome("passed"),
        A + "test_bad": Outcome("failed", "AssertionError: off by one"),
        A + "test_gone": Outcome("skipped", "CUDA is not available."),
        "::torchaudio_unittest.b_test": Outcome("failed", "collection failure"),
        A + "test_twice": Outcome("failed", "in tearDown"),
    }
    assert outcomes.counts(found) == {"passed": 1, "failed": 3, "skipped": 1}


@pytest.mark.parametrize(
    ("environments", "same"),
    [
        ({"a": {"x": FINE, "y": BAD}, "b": {"x": FINE, "y": GONE}}, True),
        ({"a": {"x": FINE, "y": FINE}, "b": {"x": FINE, "y": GONE}}, False),
        ({"a": {"x": FINE}, "b": {"x": FINE, "y": FINE}}, False),
        ({"a": {"x": FINE}, "b": {"y": FINE}}, False),
        ({"a": {"x": FINE}}, True),
        # Where nothing passes, nothing is the same.
        ({"a": {"x": GONE}, "b": {"x": GONE}}, False),
        ({"a": {}, "b": {}}, False),
        ({}, False),
    ],
)
def test_the_same_passes(environments: dict[str, dict[str, Outcome]], same: bool) -> None:
    assert outcomes.same(environments) == same


def test_differences_are_told_by_test() -> None:
    environments = {"a": {"x": FINE, "y": BAD, "z": FINE}, "b": {"x": FINE, "y": GONE}}
    assert outcomes.differences(environments) == {
        "y": {"a": "failed", "b": "skipped"}, "z": {"a": "passed", "b": "not there"},
    }  # fmt: skip
    assert outcomes.reasons(environments, "skipped") == {"no GPU": {"a": 0, "b": 1}}


def test_the_page_says_whether_they_differ() -> None:
    alike = {"wheel": {"x": FINE, "y": GONE}, "plain": {"x": FINE, "y": GONE}}
    text = upstream.page(alike)
    assert "| wheel | torch2.6.0-cu124-py313 | 1 | 0 | 1 |" in text
    assert "Every environment passes the same tests." in text and "differ" not in text
    assert "| `no GPU` | 1 | 1 |" in text
    other = {"wheel": {"x": FINE}, "plain": {"x": BAD}}
    text = upstream.page(other)
    assert "The passes DIFFER." in text and "| `x` | passed | failed |" in text and "| `off` | 0 | 1 |" in text


def test_what_is_put_beside_the_image_changes_nothing_in_it(shipped: Workspace) -> None:
    """pip leaves alone what is there in the version that is asked for."""
    asked = dict(re.findall(r"(?m)^([\w-]+)==(\S+)$", upstream.NEEDED))
    assert len(asked) > 20
    for one in upstream.ENVIRONMENTS:
        if one.row:
            (spec,) = shipped.specs(shipped.choose([one.row]), "local")
            lock = shipped.lock(spec)
            assert lock and one.image == spec.reference
            both = asked.keys() & lock.versions.keys()
            assert "numpy" in both and {n: asked[n] for n in both} == {n: lock.versions[n] for n in both}
    assert "torch" not in asked and "torchaudio" not in asked


def test_what_is_left_out_is_left_out_by_name_and_with_a_reason() -> None:
    text = upstream.page({"plain": {"x": FINE}})
    for name, why in upstream.LEFT_OUT.items():
        assert f"`{name}`" in text and why in text and f"not {name}" in upstream.chosen(None)
    assert upstream.chosen("lfilter").startswith("(lfilter)")
