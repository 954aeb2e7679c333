"""Generated matrices: every row resolves, or a rule says why not and what would."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from torchpair import compat, matrix
from torchpair import facts as facts_data
from torchpair.errors import MatrixError, ResolveError
from torchpair.explain import explain, lines, to_json
from torchpair.matrix import Row
from torchpair.matrix.fields import ROW_KEYS
from torchpair.neighbours import nearest
from torchpair.resolve import candidate, resolve

FACTS = facts_data.load()
BASES = ("nvidia", "local")


def quoted(values: list[str]) -> st.SearchStrategy[str]:
    return st.sampled_from(values).map(lambda value: f'"{value}"')


TORCHES = [
    *FACTS.torch,
    "1.13.1",
    "2.8.9",
    "2.99.0",
    "9.9.9",
    "2.2.0a0+81ea7a4",
    "2.6.0a0+ecf3bae40a.nv25.01",
    "2.8.0.x",
]
AUDIOS = [*FACTS.torchaudio, "2.8.9", "9.9.9", "2.8.0abc"]
FULL = TORCHES[:-1] + AUDIOS[:-1]
SOURCES = st.one_of(
    st.just("{from: source}"),
    st.sampled_from(AUDIOS).map(lambda v: f'{{version: "{v}", from: source}}'),
    st.sampled_from(["main", "v2.2.0", "release/2.6"]).map(lambda ref: f"{{from: source, ref: {ref}}}"),
)
TORCH = st.one_of(
    quoted(list(FACTS.torch)),
    quoted(TORCHES),
    st.sampled_from(TORCHES).map(lambda v: f'{{version: "{v}", from: source}}'),
    st.sampled_from(TORCHES).map(lambda v: f'{{version: "{v}", from: base}}'),
    st.just("{from: base}"),
)
CUDA = quoted(
    ["cpu", "11.7", "11.8", "12.1", "12.4", "12.6", "12.8", "12.9", "13.0", "13.2", "13.4", "10.2", "14.0", "99.9"]
)
PYTHON = quoted(["3.0", "3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.13t", "3.14", "3.14t", "3.15", "3.99"])
SMS = [
    "3.5",
    "5.0",
    "6.1",
    "7.5",
    "8.9",
    "9.0a",
    "9.0a+PTX",
    "10.0f",
    "10.3",
    "12.0",
    "12.0+PTX",
    "12.1",
    "99.9",
    "0.0",
]
OTHERS = {
    "torchaudio": quoted(AUDIOS) | SOURCES,
    "torchcodec": quoted([*FACTS.torchcodec, "0.99.0", "9.9.9"]),
    "base": st.sampled_from(["nvidia", "local", "debian:12", "nvcr.io/nvidia/pytorch:24.01-py3"]),
    "distro": st.sampled_from([*FACTS.distros, "ubuntu99.04", "debian99"]),
    "index": st.sampled_from(["pypi", "pytorch"]),
    "arch": st.sampled_from(["x86_64", "aarch64"]),
    "sm": st.lists(quoted(SMS), min_size=1, max_size=3, unique=True).map(lambda sms: f"[{', '.join(sms)}]"),
    "default": st.sampled_from(["true", "false"]),
    "force": st.sampled_from(["true", "false"]),
}


@st.composite
def row_text(draw: st.DrawFn) -> str:
    keys = draw(st.sets(st.sampled_from(sorted(OTHERS)), max_size=4))
    pairs = {"torch": draw(TORCH), "cuda": draw(CUDA), "python": draw(PYTHON)}
    pairs |= {key: draw(OTHERS[key]) for key in sorted(keys)}
    return "{" + ", ".join(f"{key}: {value}" for key, value in pairs.items()) + "}"


def judge(row: Row, base: str) -> bool:
    """Whether a row resolves; where not, a rule and a way out are named."""
    broken = compat.problems(candidate(row, FACTS, base), FACTS)
    assert all(p.rule is compat.RULES[p.rule.id] and p.detail and p.key in ROW_KEYS for p in broken)
    try:
        spec = resolve(row, FACTS, base)
    except ResolveError as refused:
        assert broken and f"rule {broken[0].rule.id}: " in str(refused.why)
        assert str(refused.where) == str(row.at(broken[0].key))
        options = nearest(row, FACTS, base)
        assert options, f"nothing is offered instead of {row}"
        where = row.base if row.base in BASES else base
        for option in options:
            assert resolve(option.spec.row, FACTS, where) == option.spec and not option.spec.broken
        return False
    assert spec.broken == broken and (row.force or not broken)
    assert spec.row == row and {d.rule for d in spec.decisions} - {None} <= compat.RULES.keys()
    return True


@settings(max_examples=500, deadline=None)
@given(st.lists(row_text(), min_size=1, max_size=5), st.sampled_from(BASES))
def test_a_generated_matrix(rows: list[str], base: str) -> None:
    text = "images:\n" + "".join(f"  - {row}\n" for row in rows)
    try:
        found = matrix.parse(text)
    except MatrixError as error:
        assert "is there already" in error.what, "two rows of one name are all that may be wrong with its form"
        found = tuple(row for one in dict.fromkeys(rows) for row in matrix.parse(f"images:\n  - {one}\n"))
    assert len(found) >= 1
    for row in found:
        judge(row, base)
    answer = explain(found[0], FACTS, base)
    assert lines(answer, FACTS)
    assert len(to_json(answer, FACTS)["problems"]) == len(answer.problems)


def test_the_generator_makes_both_kinds() -> None:
    """Else the test above could pass without a row that resolves, or without one that is refused."""
    seen = {True: 0, False: 0}

    @settings(max_examples=200, deadline=None, database=None, derandomize=True)
    @given(row_text())
    def count(text: str) -> None:
        (row,) = matrix.parse(f"images:\n  - {text}\n")
        seen[judge(row, "nvidia")] += 1

    count()
    assert min(seen.values()) >= 3, seen
