"""matrix.yaml: what it stands for, and what is refused at the door."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from torchpair import matrix
from torchpair.errors import MatrixError
from torchpair.matrix import Package, Row, fields, nodes

ROW = 'torch: "2.8.0", cuda: "12.8", python: "3.11"'


def one(extra: str = "", row: str = ROW) -> str:
    """A matrix of one row; the row stands in line 2."""
    return f"images:\n  - {{{row}{', ' if extra else ''}{extra}}}\n"


def refused(text: str) -> MatrixError:
    with pytest.raises(MatrixError) as caught:
        matrix.parse(text, "m.yaml")
    return complete(caught.value)


def complete(error: MatrixError) -> MatrixError:
    """An error with every part, in three short lines that no control character breaks."""
    assert error.what and error.where and error.why and error.remedy, str(error)
    lines = str(error).split("\n")
    assert len(lines) == 3 and all(line.isprintable() and len(line) < 400 for line in lines), lines
    return error


# ---- what a file stands for ---------------------------------------------------------------------------------------


def test_axes_expand_to_their_product_in_order() -> None:
    rows = matrix.parse('images: [{torch: ["2.7.1", "2.8.0"], cuda: ["12.8", cpu], python: ["3.11", "3.12"]}]')
    assert [(r.torch.version, r.cuda, r.python) for r in rows] == [
        (torch, cuda, python) for torch in ("2.7.1", "2.8.0") for cuda in ("12.8", "cpu") for python in ("3.11", "3.12")
    ]
    assert len({r.name for r in rows}) == 8


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (ROW, "torch2.8.0-cu128-py311"),
        ('torch: "2.8.0", cuda: cpu, python: "3.13t"', "torch2.8.0-cpu-py313t"),
        (f'{ROW}, torchaudio: "2.8.0"', "torch2.8.0-audio2.8.0-cu128-py311"),
        (f"{ROW}, arch: aarch64", "torch2.8.0-cu128-py311-aarch64"),
        (f"{ROW}, arch: x86_64", "torch2.8.0-cu128-py311"),
        (f"{ROW}, torchaudio: {{from: source}}", "torch2.8.0-audiosrc-cu128-py311"),
        (f'{ROW}, torchaudio: {{version: "2.8.0", from: source}}', "torch2.8.0-audio2.8.0src-cu128-py311"),
        ('torch: {version: "2.5.0", from: source}, cuda: "12.4", python: "3.11"', "torch2.5.0src-cu124-py311"),
        ('torch: {from: base}, base: a/b, cuda: "12.4", python: "3.11"', "torchbase-cu124-py311"),
        ('torch: [{from: base}], base: a/b, cuda: ["12.4"], python: ["3.11"]', "torchbase-cu124-py311"),
        ('torch: "2.2.0a0+81EA7A4", cuda: "12.4", python: "3.11"', "torch2.2.0a0.81ea7a4-cu124-py311"),
        (f"{ROW}, name: ngc-24.01", "ngc-24.01"),
    ],
)
def test_names(row: Callable[[str], Row], text: str, name: str) -> None:
    assert row(text).name == name
    assert fields.NAME(name) == name, "an automatic name must be one that a person could have written"


def test_every_key_is_read(row: Callable[[str], Row]) -> None:
    found = row(
        'name: n, torch: {version: "2.5.0", from: source, ref: v2.5.0}, cuda: "12.4", python: "3.11", base: a/b, '
        'distro: debian12, torchaudio: "2.5.0", torchcodec: "0.1.1", index: pytorch, arch: aarch64, '
        'sm: ["9.0", "12.0+PTX"], default: yes, force: true'
    )
    assert found == Row(
        name="n", torch=Package("2.5.0", "source", "v2.5.0"), cuda="12.4", python="3.11", torchaudio=Package("2.5.0"),
        torchcodec=Package("0.1.1"), base="a/b", distro="debian12", index="pytorch",
        arch="aarch64", sm=("9.0", "12.0+PTX"), default=True, force=True,
    )  # fmt: skip


def test_places_name_the_line_of_a_key() -> None:
    (row,) = matrix.parse('images:\n  - torch: "2.8.0"\n    cuda: "12.8"\n\n    python: "3.11"\n', "m.yaml")
    assert [str(row.at(key)) for key in ("cuda", "python", "base")] == [
        "m.yaml:3: cuda",
        "m.yaml:5: python",
        "m.yaml:2: base",
    ]


def test_a_file_with_a_byte_order_mark(tmp_path: Path) -> None:
    file = tmp_path / "m.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + one().encode())
    assert len(matrix.load(file)) == 1


# ---- what is refused ----------------------------------------------------------------------------------------------

BAD = {
    "unknown key": (one('tourch: "2"'), "2: images[0].tourch", "unknown key 'tourch'", "did you mean 'torch'?"),
    "unknown top key": ("imagse: []", "1: imagse", "unknown key", "did you mean 'images'?"),
    "unknown far key": (one("zzzz: 1"), "2: images[0].zzzz", "unknown key", "remove it"),
    "unknown package key": (one("torchaudio: {vers: x}"), "2: images[0].torchaudio.vers", "unknown", "'version'"),
    "merge key": (one("<<: {base: local}"), "2: images[0].<<", "unknown key", "remove"),
    "odd key": (one("[a]: 1"), "2: images[0].?", "unknown key", "remove"),
    "no torch": (one(row='cuda: "12.8", python: "3.11"'), "2: images[0].torch", "torch is missing", "add torch"),
    "no cuda": (one(row='torch: "2.8.0", python: "3.11"'), "2: images[0].cuda", "cuda is missing", "add cuda"),
    "no python": (one(row='torch: "2.8.0", cuda: "12.8"'), "2: images[0].python", "python is missing", "add python"),
    "row twice": (one() + one()[8:], "3: images[1]", "torch2.8.0-cu128-py311 is there already", "name of its own"),
    "row twice by axis": (
        f'images:\n  - {{{ROW}}}\n  - {{torch: "2.8.0", cuda: "12.8", python: ["3.10", "3.11"]}}\n',
        "3: images[1]", "torch2.8.0-cu128-py311 is there already", "remove one",
    ),
    "name twice": (one("name: a") + one("name: a")[8:], "3: images[1]", "row a is there already", "remove one"),
    "key twice": (one('cuda: "12.6"'), "2: images[0].cuda", "'cuda' stands here twice", "keep one"),
    "top key twice": (f"{one()}images: []", "3: images", "twice", "keep one"),
    "package key twice": (one("torchaudio: {from: wheel, from: wheel}"), "2: images[0].torchaudio.from", "twice", ""),
    "value twice": (
        one(row='torch: "2.8.0", cuda: "12.8", python: ["3.11", "3.12", "3.11"]'),
        "2: images[0].python[2]", "the same value twice", "keep one",
    ),
    "torch twice": (
        one(row='torch: ["2.8.0", {version: "2.8.0"}], cuda: "12.8", python: "3.11"'),
        "2: images[0].torch[1]", "the same value twice", "keep one",
    ),
    "empty list": (one("sm: []"), "2: images[0].sm", "an empty list", "remove the key"),
    "empty file": ("", "1: images", "the file is empty", "add a row"),
    "only a comment": ("# nothing\n", "1: images", "the file is empty", "add a row"),
    "no images": ("{}", "1: images", "the key images is missing", "list of rows"),
    "images: []": ("images: []", "1: images", "no rows", "add a row"),
    "images: null": ("images:", "1: images", "expected a list of rows, found nothing", "dash"),
    "images: {}": (f"images: {{{ROW}}}", "1: images", "expected a list of rows, found keys and values", "dash"),
    "a list": ("- a\n", "1", "expected keys and values, found a list", "key: value"),
    "a word": ("hello\n", "1", "expected keys and values, found 'hello'", "key: value"),
    "row is a word": ("images:\n  - hello", "2: images[0]", "expected keys and values", "key: value"),
    "row is a list": ("images:\n  - [a]", "2: images[0]", "expected keys and values", "key: value"),
    "tab": ("images:\n\t- a: 1\n", "2", "a tab where YAML allows only spaces", "indent with spaces"),
    "broken YAML": ("images:\n  - {torch: \n", "2", "not valid YAML", "look at this line"),
    "two documents": ("images: []\n---\nimages: []\n", "2", "not valid YAML", "look at this line"),
    "control character": ("images: \x07", "", "not valid YAML", "plain text"),
    "alias": (f"images:\n  - &a {{{ROW}}}\n  - *a\n", "3", "alias *a", "write the value out"),
    "alias bomb": (
        "a: &a [x, x]\n" + "".join(f"{c}: &{c} [*{chr(ord(c) - 1)}, *{chr(ord(c) - 1)}]\n" for c in "bcdefghi"),
        "2", "alias *a", "write the value out",
    ),
    "deep nesting": ("images: " + "[" * 100_000, "1", "nested deeper than 16 levels", "brackets"),
    "too large": ("#" * (nodes.MAX_BYTES + 1), "", "larger than 1000000 bytes", "split"),
    "python 3.10": (one(row=ROW.replace('"3.11"', "3.10")), "2: images[0].python", "3.10 is a number", '"3.10"'),
    "torch 2.10": (one(row=ROW.replace('"2.8.0"', "2.10")), "2: images[0].torch", "2.10 is a number", '"2.10"'),
    "cuda 12.8": (one(row=ROW.replace('"12.8"', "12.8")), "2: images[0].cuda", "12.8 is a number", '"12.8"'),
    "cuda 13": (one(row=ROW.replace('"12.8"', "13")), "2: images[0].cuda", "13 is a number", '"13"'),
    "number in a list": (one("sm: [9.0]"), "2: images[0].sm[0]", "9.0 is a number", '"9.0"'),
    "ref of a wheel": (one("torchaudio: {ref: v2.8.0}"), "2: images[0].torchaudio.ref", "without from", "from: source"),
    "switches of a wheel": (
        one('torchaudio: {switches: "USE_FFMPEG=0"}'), "2: images[0].torchaudio.switches", "without from",
        "from: source",
    ),
    "a switch that is none": (
        one('torchaudio: {from: source, switches: "USE_FFMPEG=0 LD_PRELOAD=/x"}'), "2: images[0].torchaudio.switches",
        "is not allowed here", "USE_FBGEMM=0",
    ),
    "a switch with a shell in it": (
        one('torchaudio: {from: source, switches: "USE_FFMPEG=$(id)"}'), "2: images[0].torchaudio.switches",
        "is not allowed here", "USE_FBGEMM=0",
    ),
    "torchaudio of the base": (one("torchaudio: {from: base}"), "2: images[0].torchaudio.from", "torch only", "wheel"),
    "torchcodec from source": (one("torchcodec: {from: source}"), "2: images[0].torchcodec", "expected one value", ""),
    "no version": (one(row=ROW.replace('"2.8.0"', "{from: source}")), "2: images[0].torch", "without a version", "add"),
    "name for several": (
        one(row='name: a, torch: "2.8.0", cuda: "12.8", python: ["3.11", "3.12"]'),
        "2: images[0].name", "one name for several images", "remove name",
    ),
    "too many rows": (
        one(row=ROW.replace('"2.8.0"', str([f"2.{i}.{j}" for i in range(99) for j in range(51)]))),
        "2: images[0]", "more than 5000 rows", "split",
    ),
}  # fmt: skip

BAD |= {
    f"mirrors {text}": (f"{one()}mirrors: {text}\n", where, what, remedy)
    for text, where, what, remedy in [
        ("cn", "3: mirrors", "expected names and mirrors, found 'cn'", "cn: {"),
        ("{[a]: {}}", "3: mirrors", "a mirror without a name", "cn: {"),
        ("{cn: {}, cn: {}}", "3: mirrors.cn", "the same mirror twice", "keep one"),
        ("{CN: {}}", "3: mirrors", "'CN' is not allowed here", "lower-case"),
        ("{cn: a}", "3: mirrors.cn", "expected keys and values", "key: value"),
        ("{cn: {pypii: a}}", "3: mirrors.cn.pypii", "unknown key", "did you mean 'pypi'?"),
        ("{cn: {pypi: mirror.example}}", "3: mirrors.cn.pypi", "is not allowed here", "https://"),
        ("{cn: {pypi: file:///etc}}", "3: mirrors.cn.pypi", "is not allowed here", "https://"),
        (
            "{cn: {pypi: https://user:word@mirror.example}}",
            "3: mirrors.cn.pypi",
            "is not allowed",
            "without a password",
        ),
        ('{cn: {apt: "https://mirror.example/$(id)"}}', "3: mirrors.cn.apt", "is not allowed here", "https://"),
        ('{cn: {apt: "https://mirror.example\\nRUN id"}}', "3: mirrors.cn.apt", "is not allowed here", "https://"),
        (
            "{cn: {registry: https://mirror.example}}",
            "3: mirrors.cn.registry",
            "is not allowed here",
            "mirror.example/hub",
        ),
        ("{cn: {layout: round}}", "3: mirrors.cn.layout", "is not allowed here", '"flat"'),
    ]
}


@pytest.mark.parametrize(("text", "where", "what", "remedy"), BAD.values(), ids=BAD.keys())
def test_a_bad_file(text: str, where: str, what: str, remedy: str) -> None:
    error = refused(text)
    assert error.where == ("m.yaml:" + where if where else "m.yaml")
    assert what in error.what
    assert remedy in str(error.remedy)


def test_combinations_are_counted_before_they_are_made() -> None:
    axes = {
        "torch": [f"2.{i}.{j}" for i in range(100) for j in range(100)],
        "cuda": [f"{i}.{j}" for i in range(10, 100) for j in range(10)],
        "python": [f"3.{i}" for i in range(100)],
    }
    assert "more than 5000 rows" in refused(json.dumps({"images": [axes]})).what


WRONG = ["{a: b}", "[[a]]", "[{a: b}]", "null", "", "[null]", "true", "1"]


@pytest.mark.parametrize("key", fields.ROW_KEYS)
def test_wrong_types_everywhere(key: str) -> None:
    for wrong in WRONG:
        if (wrong, key) in {("true", "default"), ("true", "force")}:
            continue
        good = {"torch": '"2.8.0"', "cuda": '"12.8"', "python": '"3.11"', key: wrong}
        error = refused(one(row=", ".join(f"{k}: {v}" for k, v in good.items())))
        assert f"images[0].{key}" in str(error.where), wrong


@pytest.mark.parametrize(
    ("content", "what", "where"),
    [
        (None, "cannot read the matrix", ""),
        ("folder", "cannot read the matrix", ""),
        (b"images:\n  - caf\xe9\n", "not UTF-8 text", ":2"),
        (b"\xff\xfei\x00", "not UTF-8 text", ":1"),
        (b"\xff" * (nodes.MAX_BYTES + 1), "larger than", ""),
    ],
    ids=["missing", "folder", "latin-1", "utf-16", "large"],
)
def test_a_bad_path(tmp_path: Path, content: bytes | str | None, what: str, where: str) -> None:
    file = tmp_path / "m.yaml"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content:
        file.mkdir()
    with pytest.raises(MatrixError) as caught:
        matrix.load(file)
    assert what in complete(caught.value).what
    assert caught.value.where == f"{file}{where}"


def test_a_file_without_end_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    class Endless(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            assert size and size > 0, "read with a limit, or never come back"
            return b"#" * size

    monkeypatch.setattr(Path, "open", lambda *_, **__: Endless())
    with pytest.raises(MatrixError, match="larger than"):
        matrix.load(Path("endless"))


# ---- values: one door, and nothing slips through ------------------------------------------------------------------

VALUES: dict[str, Any] = {
    "name": "ngc-24.01",
    "torch": "2.8.0",
    "torch.version": "2.8.0",
    "torch.from": "source",
    "torch.ref": "v2.8.0",
    "cuda": "12.8",
    "python": "3.11",
    "torchaudio": "2.8.0",
    "torchaudio.version": "2.8.0",
    "torchaudio.from": "wheel",
    "torchaudio.ref": "v2.8.0",
    "torchcodec": "0.7.0",
    "base": "nvcr.io/nvidia/pytorch:24.01-py3",
    "distro": "ubuntu22.04",
    "index": "pytorch",
    "arch": "aarch64",
    "sm": "12.0+PTX",
    "toolkit": "devel",
    "default": True,
    "force": True,
}
PAYLOADS = {
    "newline behind": "{}\n",
    "newline before": "\n{}",
    "instruction": "{}\nRUN id",
    "carriage return": "{}\rRUN id",
    "line separator": "{}\u2028RUN id",
    "next line": "{}\x85RUN id",
    "NUL": "{}\0",
    "escape": "{}\x1b[2J",
    "space": "{} ",
    "double quote": '{}" LABEL a="b',
    "single quote": "{}'",
    "command": "{}$(id)",
    "backtick": "{}`id`",
    "variable": "{}$HOME",
    "template": "{}{{{{ 7 }}}}",
    "backslash": "{}\\",
    "semicolon": "{};id",
    "ampersand": "{}&&id",
    "pipe": "{}|id",
    "comma": "{},x",
    "comment": "{} #",
    "non-breaking space": "{}\u00a0",
    "zero width": "{}\u200b",
    "right to left": "\u202e{}",
}


def with_value(key: str, value: Any) -> str:
    row: dict[str, Any] = {"torch": "2.8.0", "cuda": "12.8", "python": "3.11"}
    name, _, part = key.partition(".")
    if part:
        package = {"version": "2.8.0", "from": "source", part: value}
        row[name] = package
    else:
        row[name] = value
    return json.dumps({"images": [row]})


def places(key: str, texts: dict[str, str]) -> dict[str, str]:
    """Where the first error of each text stands; "passed" for a text that was taken."""
    found = {}
    for name, text in texts.items():
        try:
            matrix.parse(with_value(key, text))
        except MatrixError as error:
            found[name] = str(complete(error).where).partition(": ")[2]
        else:
            found[name] = "passed"
    return found


@pytest.mark.parametrize(("key", "value"), VALUES.items(), ids=VALUES.keys())
def test_no_value_smuggles(key: str, value: Any) -> None:
    assert places(key, {name: payload.format(value) for name, payload in PAYLOADS.items()}) == dict.fromkeys(
        PAYLOADS, f"images[0].{key}"
    )


def look_alikes(value: str) -> list[str]:
    """The same to the eye: other digits and letters that Python's \\d, \\w and str.isdigit take for ASCII ones."""
    digits = [value.translate({48 + i: zero + i for i in range(10)}) for zero in (0xFF10, 0x0660, 0x0966)]
    letters = value.translate({ord("a"): 0x430, ord("e"): 0x435, ord("o"): 0x43E, ord("p"): 0x440, ord("n"): 0xFF4E})
    dots = value.replace(".", "\uff0e")
    return [text for text in [*digits, letters, dots] if text != value]


@pytest.mark.parametrize(("key", "value"), VALUES.items(), ids=VALUES.keys())
def test_no_look_alike_passes(key: str, value: Any) -> None:
    tries = {ascii(text): text for text in look_alikes(str(value))}
    assert tries and places(key, tries) == dict.fromkeys(tries, f"images[0].{key}")


@pytest.mark.parametrize(("key", "value"), VALUES.items(), ids=VALUES.keys())
def test_the_values_themselves_pass(key: str, value: Any) -> None:
    assert len(matrix.parse(with_value(key, value))) == 1


KINDS = {
    fields.VERSION: (["2.8.0", "2.11.0", "2.2.0a0+81ea7a4"], ["2.8", "2", "v2.8.0", "2.8.0-1", "==2.8.0", "2.8.*"]),
    fields.CUDA: (["12.8", "11.8", "cpu"], ["12", "12.8.1", "1.28", "128", "cu128", "12.10", "02.8", "CPU"]),
    fields.PYTHON: (["3.8", "3.11", "3.13t"], ["3", "2.7", "3.11.2", "3.13tt", "4.0", "3.111"]),
    fields.NAME: (
        ["a", "a1", "0", "a.b-c", "a" * 62, "localhost", "my-default"],
        ["A", "a_b", "-a", "a-", ".a", "a.", "..", "a/b", "a" * 63, "default", "local", "tools", "a.local"],
    ),
    fields.BASE: (
        ["nvidia", "local", "debian:12", "reg.example:5000/a/b_c", f"a@sha256:{'0' * 64}", "a:1@sha256:" + "f" * 64],
        ["Debian", "/a", "a/", "a@sha256:00", "a:", "-a", "a@md5:00", "../a", "scratch as base"],
    ),
    fields.DISTRO: (["ubuntu22.04", "debian12"], ["ubuntu22", "debian12.1", "Ubuntu22.04", "alpine3.20"]),
    fields.REF: (["v2.2.0", "main", "release/2.2", "0" * 40], ["-x", "--upload-pack=id", "/a", "a..b~1", "a" * 101]),
    fields.SM: (["9.0", "9.0a", "12.0f", "12.0+PTX"], ["9", "90", "sm_90", "9.0+ptx", "9.00"]),
}


@pytest.mark.parametrize(("kind", "good", "bad"), [(k, *v) for k, v in KINDS.items()], ids=[k.allowed for k in KINDS])
def test_kinds_match_whole_texts_only(kind: fields.Field, good: list[str], bad: list[str]) -> None:
    for text in good:
        assert kind(text) == text
    for text in [*bad, "", *(g + "\n" for g in good), *(" " + g for g in good)]:
        with pytest.raises(ValueError):
            kind(text)


# ---- generated files ----------------------------------------------------------------------------------------------

words = st.sampled_from([*fields.ROW_KEYS, *fields.PACKAGE_KEYS, "images", *map(str, VALUES.values())])
leaves = st.one_of(
    words, st.text(max_size=8), st.none(), st.booleans(), st.integers(), st.floats(), st.dates(), st.binary(max_size=4)
)
trees = st.recursive(
    leaves,
    lambda t: st.lists(t, max_size=3) | st.dictionaries(words | st.text(max_size=4), t, max_size=4),
    max_leaves=8,
)
mostly = {
    key: st.integers(0, 9).flatmap(lambda n, v=value: trees if n == 0 else st.just(v)) for key, value in VALUES.items()
}
rows = st.fixed_dictionaries(
    {key: mostly[key] for key in ("torch", "cuda", "python")},
    optional={key: mostly[key] for key in fields.ROW_KEYS if key not in ("torch", "cuda", "python")},
)
documents = st.one_of(
    st.text(),
    st.text(alphabet="images:torc[]{}-&*!|>%@`\"'\n\t #,?2.80"),
    trees.map(yaml.safe_dump),
    st.fixed_dictionaries({"images": st.lists(rows, min_size=1, max_size=2)}).map(yaml.safe_dump),
)


@settings(max_examples=300, deadline=None, database=None, derandomize=True)
@given(documents)
def test_generated_documents_are_read_or_refused(text: str) -> None:
    try:
        found = matrix.parse(text)
    except MatrixError as error:
        assert error.what and error.where
    else:
        assert found and all(fields.NAME(row.name) for row in found)
