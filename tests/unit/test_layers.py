"""Layers by name, what a pull brings, what an image's answer is worth, what two builds differ in."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import docker.errors
import pytest
import requests.exceptions

from torchpair import difference, layers, strict_json
from torchpair.difference import Difference
from torchpair.engine import Engine
from torchpair.errors import EngineError, TorchpairError
from torchpair.layers import Contents, Inventory, Layer

CUDA = Layer("cuda", "sha256:" + "c" * 64, 4_000_000_000)
TORCH = Layer("torch", "sha256:" + "1" * 64, 1_000_000_000)
OTHER_TORCH = Layer("torch", "sha256:" + "2" * 64, 1_200_000_000)
BASE = Layer("base", "sha256:" + "b" * 64, 80_000_000)
HOSTILE = "\x1b[2J\x1b]0;owned\x07evil\u202e"

# As the engine gives it: the newest entry first, sizes in bytes. WORKDIR makes a layer, an empty one; ENV makes none.
SYSTEM = (
    'RUN |1 A=b /bin/bash -euo pipefail -c : system; export SOURCE_DATE_EPOCH=1;  && apt-get install -y "x" # buildkit'
)
HISTORY: list[tuple[str | None, int]] = [
    ('CMD ["python"]', 0),
    ("WORKDIR /home/torchpair", 0),
    ("USER 10001:10001", 0),
    ("LABEL torchpair.row=RUN apt-get update", 0),
    ("COPY /layer/torch-cuda / # buildkit", 500),
    ("COPY /layer/cuda / # buildkit", 4000),
    ("ENV PATH=/opt/venv/bin", 0),
    (SYSTEM, 300),
    ("ARG DEBIAN_FRONTEND=noninteractive", 0),
    ("", 80),
]


def history(*entries: tuple[str | None, int | None]) -> list[dict[str, Any]]:
    return [{"CreatedBy": words, "Size": size} for words, size in entries]


def digests(number: int) -> list[str]:
    return [f"sha256:{i:064x}" for i in range(number)]


def names(found: Iterable[Layer]) -> list[tuple[str, int]]:
    return [(layer.name, layer.size) for layer in found]


# ---- layers by name -----------------------------------------------------------------------------------------------


def test_named_lowest_first_with_the_digests_in_their_places() -> None:
    found = layers.named(history(*HISTORY), digests(5))
    assert names(found) == [("base", 80), ("system", 300), ("cuda", 4000), ("torch-cuda", 500), ("other", 0)]
    assert [layer.digest for layer in found] == digests(5)


def test_a_run_without_files_is_a_layer_too() -> None:
    entries = [*HISTORY[:7], (SYSTEM, 300), ("RUN |1 APT_MIRROR= /bin/sh -c true # buildkit", 0), *HISTORY[8:]]
    found = layers.named(history(*entries), digests(6))
    assert names(found)[:3] == [("base", 80), ("base", 0), ("system", 300)]


def test_a_base_with_steps_of_its_own() -> None:
    """nvidia/cuda's: several layers, among them its own apt-get and COPY."""
    base: list[tuple[str | None, int]] = [
        ("COPY NGC-DL-CONTAINER-LICENSE / # buildkit", 16),
        ("RUN |1 TARGETARCH=amd64 /bin/sh -c apt-get update && apt-get install -y x # buildkit", 10),
        ("ENV NVARCH=x86_64", 0),
        ("/bin/sh -c #(nop)  LABEL maintainer=x", 0),
        ("/bin/sh -c #(nop) ADD file:1 in / ", 77),
    ]
    found = layers.named(history(*HISTORY[:-1], *base), digests(7))
    assert [layer.name for layer in found] == ["base", "base", "base", "system", "cuda", "torch-cuda", "other"]


def test_another_builder_whose_workdir_made_no_layer() -> None:
    assert names(layers.named(history(*HISTORY), digests(4)))[-1] == ("torch-cuda", 500)


def test_steps_that_are_not_ours_above_ours_are_other() -> None:
    found = layers.named(history(("RUN pip install x # buildkit", 7), *HISTORY), digests(6))
    assert names(found)[-1] == ("other", 7)


@pytest.mark.parametrize("number", [0, 1, 3, 9])
def test_a_history_that_does_not_fit_is_not_guessed_at(number: int) -> None:
    found = layers.named(history(*HISTORY), digests(number))
    assert names(found) == [("?", 0)] * number
    assert [layer.digest for layer in found] == digests(number)


def test_a_history_with_holes() -> None:
    assert names(layers.named(history((None, None), (None, 5)), digests(2))) == [("base", 5), ("base", 0)]
    assert layers.named([], []) == ()


# ---- what a pull brings -------------------------------------------------------------------------------------------


def test_pulled_and_stored_go_by_digest_alone() -> None:
    one, two = (BASE, CUDA, TORCH), (BASE, CUDA, OTHER_TORCH)
    assert layers.pulled(two, one) == (OTHER_TORCH,)
    assert layers.pulled(one, ()) == one
    assert layers.pulled(one, one) == ()
    assert layers.pulled([Layer("renamed", CUDA.digest, 1)], one) == ()
    assert layers.stored([one, two]) == BASE.size + CUDA.size + TORCH.size + OTHER_TORCH.size
    assert layers.stored([one, one]) == layers.stored([one])
    assert layers.stored([]) == 0


def test_same_in_bytes() -> None:
    one, two = (BASE, CUDA, TORCH), (BASE, CUDA, OTHER_TORCH)
    assert difference.same(one, two) == (BASE.size + CUDA.size, BASE.size + CUDA.size + TORCH.size)
    assert difference.same(one, one) == (5_080_000_000, 5_080_000_000)
    assert difference.same(one, ()) == (0, 5_080_000_000)


# ---- for reading --------------------------------------------------------------------------------------------------


def contents(**changes: Any) -> Contents:
    files: dict[str, Any] = {
        "wheels": {
            "nvidia-cublas-cu12": 900_000_000,
            "nvidia-cusparse-cu12": 1_000_000_000,
            "torch": 999_000_000,
            "x": 1,
        },
        "debs": {"ffmpeg": 2_000_000, "libllvm15": 117_300_000},
        "nobody": {"/usr/share/mime": 2_700_000, "/etc/x/y": 5},
        "twice": {"libcupti.so.12": (("/a/libcupti.so.12", "triton", 7), ("/b/libcupti.so.12", "", 7))},
    }
    return Contents("pair:1", (BASE, CUDA, TORCH), Inventory(**{**files, **changes}))


def test_packages_below_their_layer_largest_first() -> None:
    found = layers.by_layer({"torch": 5, "nvidia-b": 2, "nvidia-a": 2, "nvidia-c": 9, "numpy": 1})
    assert list(found) == ["cuda", "torch", "python"]
    assert list(found["cuda"]) == ["nvidia-c", "nvidia-a", "nvidia-b"]
    assert layers.by_layer({}) == {}


def test_lines_largest_first() -> None:
    found = layers.lines(contents())
    assert found[0] == "pair:1: 5.08 GB in 3 layers, in MB:"
    heads = [line.split()[1] for line in found if line[:9].strip() and line[9:11] == "  " and "MB" not in line]
    assert heads == ["cuda", "torch", "base", "of"]
    text = "\n".join(found)
    assert text.index("nvidia-cusparse-cu12") < text.index("nvidia-cublas-cu12")
    assert "/usr/share/mime" in text and "/etc/x/y" not in text, "what weighs nothing is not listed"
    assert "at 2 places: libcupti.so.12: /a/libcupti.so.12 (triton); /b/libcupti.so.12 (of no package)" in found
    assert "pulls" not in text


def test_lines_say_how_many_more() -> None:
    many = {f"nvidia-{i:02}": 1_000_000 * (i + 1) for i in range(layers.SHOWN + 3)}
    (more,) = [line for line in layers.lines(contents(wheels=many)) if line.endswith(" more")]
    assert more.split() == ["6.0", "3", "more"]
    few = dict(list(many.items())[: layers.SHOWN])
    assert not [line for line in layers.lines(contents(wheels=few)) if line.endswith(" more")]


def test_lines_of_a_pull() -> None:
    (line,) = [line for line in layers.lines(contents(), (BASE, CUDA, OTHER_TORCH), "row-x") if "pulls" in line]
    assert line == "who has row-x pulls 1.00 GB of 5.08: torch"


def test_an_image_of_nothing() -> None:
    nothing = Contents("x", (), Inventory({}, {}, {}, {}))
    assert nothing.size == 0
    assert layers.lines(nothing)[0] == "x: 0.00 GB in 0 layers, in MB:"
    assert layers.to_json(nothing, None)["layers"] == []


def test_to_json() -> None:
    body = layers.to_json(contents(), None)
    assert json.loads(json.dumps(body)) == body
    assert (body["image"], body["size"]) == ("pair:1", 5_080_000_000)
    assert body["layers"][1] == {"name": "cuda", "digest": CUDA.digest, "size": CUDA.size}
    assert list(body["wheels"]["cuda"]) == ["nvidia-cusparse-cu12", "nvidia-cublas-cu12"]
    assert list(body["debs"]) == ["libllvm15", "ffmpeg"]
    assert body["nobody"] == {"/usr/share/mime": 2_700_000, "/etc/x/y": 5}
    assert body["twice"]["libcupti.so.12"][1] == ["/b/libcupti.so.12", "", 7]
    assert "pull" not in body
    assert [layer["name"] for layer in layers.to_json(contents(), (BASE, CUDA))["pull"]] == ["torch"]
    assert layers.to_json(contents(), (BASE, CUDA, TORCH))["pull"] == []


def safe(found: Sequence[str]) -> bool:
    return all(line.isprintable() for line in found) and sum(map(len, found)) <= layers.TEXT


def test_what_an_image_says_of_itself_does_not_steer_the_terminal() -> None:
    shown = layers.lines(
        contents(
            wheels={f"nvidia-{HOSTILE}": 10**9, f"a\nb{HOSTILE}": 1},
            debs={HOSTILE: 10**9},
            nobody={f"/x/{HOSTILE}": 10**9},
            twice={HOSTILE: ((f"/{HOSTILE}", HOSTILE, 1), ("/b", "", 1))},
        ),
        (),
        HOSTILE,
    )
    assert safe(shown)
    assert sum("evil" in line for line in shown) >= 4, "shown, not hidden"


def test_a_long_answer_is_cut() -> None:
    many = {f"/area/{i}/{'x' * 100}": 10**6 for i in range(10_000)}
    assert safe(layers.lines(contents(nobody=many)))


# ---- the engine ---------------------------------------------------------------------------------------------------


@dataclass
class Client:
    """Of docker-py, what layers.py calls: images, one container, `docker save`."""

    stdout: bytes = b""
    stderr: bytes = b""
    code: int = 0
    fails: dict[str, Exception] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    rootfs: dict[str, Any] = field(default_factory=dict)
    saved: bytes = b""
    asked: dict[str, Any] = field(default_factory=dict)
    did: list[str] = field(default_factory=list)

    def _do(self, what: str) -> None:
        self.did.append(what)
        if what in self.fails:
            raise self.fails[what]

    @property
    def images(self) -> Client:
        return self

    @property
    def containers(self) -> Client:
        return self

    def close(self) -> None:
        self.did.append("close")

    def get(self, reference: str) -> Any:
        self._do("get")
        image = type("Image", (), {})()
        image.history = lambda: self.history
        image.attrs = {"RootFS": self.rootfs}
        image.save = lambda: iter([self.saved[i : i + 1000] for i in range(0, len(self.saved), 1000)])
        return image

    def create(self, *arguments: Any, **options: Any) -> Client:
        self._do("create")
        self.asked = {"arguments": arguments, **options}
        return self

    def start(self) -> None:
        self._do("start")

    def wait(self, timeout: float) -> dict[str, int]:
        assert 0 < timeout <= 600
        self._do("wait")
        return {"StatusCode": self.code}

    def logs(self, stdout: bool, stderr: bool, tail: int = 0) -> bytes:
        assert stdout != stderr
        return self.stdout if stdout else self.stderr

    def remove(self, force: bool, v: bool) -> None:
        assert force and v
        self._do("remove")


@dataclass(frozen=True)
class FakeEngine:
    """An engine that has these images."""

    clients: Mapping[str, Client]

    def client(self, timeout: int = 60) -> Any:
        assert 0 < timeout <= 600
        return self if len(self.clients) > 1 else next(iter(self.clients.values()))

    images = property(lambda self: self)

    def get(self, reference: str) -> Any:
        return self.clients[reference].get(reference)

    def close(self) -> None:
        pass


def engine(client: Client | Mapping[str, Client]) -> Engine:
    return cast("Engine", FakeEngine({"image": client} if isinstance(client, Client) else client))


GOOD = {"wheel": {"torch": 5}, "deb": {"ffmpeg": 3}, "nobody": {"/etc/x/y": 1}, "twice": {}}


def answer(**changes: Any) -> bytes:
    return json.dumps({**GOOD, **changes}).encode()


def test_read_says_which_image_is_missing() -> None:
    missing = Client(fails={"get": docker.errors.ImageNotFound("no")})
    with pytest.raises(EngineError, match="no image torchpair:x") as error:
        layers.read(engine(missing), "torchpair:x")
    assert error.value.remedy


@pytest.mark.parametrize(
    "problem", [docker.errors.APIError("broken"), requests.exceptions.ConnectionError("gone")], ids=["api", "gone"]
)
def test_read_when_the_engine_fails(problem: Exception) -> None:
    with pytest.raises(EngineError, match="the engine does not show image"):
        layers.read(engine(Client(fails={"get": problem})), "image")


def test_read_an_image_without_layers() -> None:
    assert layers.read(engine(Client(rootfs={"Type": "layers", "Layers": None})), "image") == ()


def test_the_inventory_and_its_cage() -> None:
    client = Client(stdout=answer(twice={"libcudart.so.12": [["/a", "x", 1], ["/b", "", 2]]}))
    found = layers.take_inventory(engine(client), "image")
    twice = {"libcudart.so.12": (("/a", "x", 1), ("/b", "", 2))}
    assert found == Inventory({"torch": 5}, {"ffmpeg": 3}, {"/etc/x/y": 1}, twice)
    assert client.asked["network_mode"] == "none" and client.asked["read_only"] is True
    assert client.asked["cap_drop"] == ["ALL"] and client.asked["security_opt"] == ["no-new-privileges"]
    assert client.asked["mem_limit"] and client.asked["pids_limit"]
    assert client.asked["log_config"]["Config"]["max-size"] == layers.OUTPUT, "an image that prints without end"
    assert client.asked["arguments"][0] == "image" and "def count(" in client.asked["arguments"][1][1]
    assert client.did[-2:] == ["remove", "close"]


@pytest.mark.parametrize(
    "stdout",
    [
        b"",
        b"all is well",
        b"null",
        b"[]",
        b"{}",
        b'{"wheel": {}, "deb": {}, "nobody": {}}',
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b"{" * 5_000_000,
        answer(wheel=[]),
        answer(wheel={"torch": None}),
        answer(wheel={"torch": "many"}),
        answer(wheel={"torch": float("nan")}),
        answer(wheel={"torch": [1]}),
        answer(wheel={"torch": 10**30}),
        answer(wheel={"x" * 201: 1}),
        answer(nobody={f"/{i}": i for i in range(60_000)}),
        answer(twice={"lib": 3}),
        answer(twice={"lib": [3]}),
        answer(twice={"lib": [["/a", "x"]]}),
        answer(twice={"lib": [["/a", "x", "y"]]}),
        answer(twice=[]),
    ],
    ids=lambda data: data[:40].decode("latin-1"),
)
def test_an_answer_that_is_none(stdout: bytes) -> None:
    client = Client(stdout=stdout)
    with pytest.raises(TorchpairError) as error:
        layers.take_inventory(engine(client), "image")
    assert "image" in str(error.value) and len(str(error.value)) < 1000
    assert "remove" in client.did


def test_an_answer_beyond_the_limit_is_not_parsed() -> None:
    with pytest.raises(TorchpairError, match="larger than"):
        layers.take_inventory(engine(Client(stdout=answer() + b" " * strict_json.MAX_BYTES)), "image")


def test_numbers_in_other_shapes_and_half_characters() -> None:
    found = layers.take_inventory(engine(Client(stdout=answer(wheel={"a\ud800": 7.0}))), "image")
    assert list(found.wheels.values()) == [7]
    json.dumps(layers.to_json(Contents("x", (), found), None)).encode("utf-8")
    "\n".join(layers.lines(Contents("x", (), found))).encode("utf-8")


def test_python_that_fails_says_why_and_leaves_nothing() -> None:
    client = Client(code=1, stderr=b"ModuleNotFoundError: No module named 'importlib.metadata'\n")
    with pytest.raises(EngineError) as error:
        layers.take_inventory(engine(client), "image")
    assert "importlib.metadata" in str(error.value) and "def count" not in str(error.value)
    assert "remove" in client.did


@pytest.mark.parametrize(
    ("step", "problem", "made"),
    [
        ("create", docker.errors.ImageNotFound("no such image"), False),
        ("start", docker.errors.APIError('exec: "python": executable file not found'), True),
        ("wait", requests.exceptions.ReadTimeout("it does not end"), True),
        ("wait", requests.exceptions.ConnectionError("the engine is gone"), True),
        ("remove", docker.errors.APIError("x" * 10_000), True),
    ],
)
def test_whatever_fails_is_an_engine_error_and_the_container_goes(step: str, problem: Exception, made: bool) -> None:
    client = Client(stdout=answer(), fails={step: problem})
    with pytest.raises(EngineError, match="cannot be counted") as error:
        layers.take_inventory(engine(client), "image")
    assert len(str(error.value)) < 1000
    assert ("remove" in client.did) == made
    assert client.did[-1] == "close"


# ---- two builds ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class File:
    """An entry of a layer."""

    data: bytes = b""
    mode: int = 0o644
    time: int = 1577836800
    uid: int = 0
    link: str = ""
    folder: bool = False


def tar(entries: Mapping[str, File]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as out:
        for name, file in entries.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode, info.mtime, info.uid = len(file.data), file.mode, file.time, file.uid
            if file.link or file.folder:
                info.type, info.linkname = (tarfile.SYMTYPE, file.link) if file.link else (tarfile.DIRTYPE, "")
            out.addfile(info, io.BytesIO(file.data))
    return buffer.getvalue()


def image(*parts: tuple[str, str, Mapping[str, File]], where: str = "blobs/sha256/") -> Client:
    """An image of layers (name, digest, entries), as `docker save` streams it."""
    saved = {f"{where}{digest}": File(tar(entries)) for _, digest, entries in parts}
    return Client(
        history=history(*[(f"COPY /layer/{name} / # buildkit", 100) for name, _, _ in reversed(parts)]),
        rootfs={"Layers": [f"sha256:{digest}" for _, digest, _ in parts]},
        saved=tar({"oci-layout": File(b"{}"), "blobs": File(folder=True), **saved, "manifest.json": File(b"[]")}),
    )


SAME = {"opt/a": File(b"same" * 400)}


def differences(one: Client, two: Client) -> tuple[Difference, ...]:
    return difference.differences(engine({"one": one, "two": two}), "one", "two")


def test_two_builds_that_are_alike_are_not_even_read() -> None:
    one, two = image(("cuda", "aa", SAME)), image(("cuda", "aa", SAME))
    one.saved = two.saved = b"not a tar"
    assert differences(one, two) == ()


def test_what_two_builds_differ_in() -> None:
    one = {
        "opt": File(folder=True, mode=0o755),
        "opt/same": File(b"x"),
        "opt/time": File(b"x", time=1),
        "opt/content": File(b"x" * 2_000_000),
        "opt/mode": File(b"x", mode=0o755),
        "opt/owner": File(b"x", uid=10001),
        "opt/link": File(link="a"),
        "opt/kind": File(link="a"),
        "opt/first": File(b"x"),
    }
    two = {
        "opt": File(folder=True, mode=0o755),
        "opt/same": File(b"x"),
        "opt/time": File(b"x", time=2),
        "opt/content": File(b"x" * 1_999_999 + b"y"),
        "opt/mode": File(b"x", mode=0o700),
        "opt/owner": File(b"x"),
        "opt/link": File(link="b"),
        "opt/kind": File(b""),
        "opt/second": File(b"x"),
    }
    found = differences(
        image(("cuda", "aa", SAME), ("torch", "01", one)), image(("cuda", "aa", SAME), ("torch", "02", two))
    )
    assert {difference.layer for difference in found} == {"torch"}
    said = {difference.path: difference.what for difference in found}
    assert list(said) == sorted(said) and not {"opt", "opt/same"} & said.keys()
    assert said["opt/time"] == "time 1 and 2"
    assert said["opt/content"].startswith("content ")
    assert said["opt/mode"] == "mode 755 and 700"
    assert said["opt/owner"] == "owner 10001:0 and 0:0"
    assert said["opt/link"] == "link a and b"
    assert "type 2 and 0" in said["opt/kind"]
    assert said["opt/first"] == "only in the first" and said["opt/second"] == "only in the second"


def test_the_order_of_entries_is_a_difference() -> None:
    a, b = File(b"a"), File(b"b")
    found = differences(image(("torch", "01", {"a": a, "b": b})), image(("torch", "02", {"b": b, "a": a})))
    assert found == (Difference("torch", "", "the order of its entries"),)


def test_layers_that_differ_are_never_called_alike() -> None:
    (found,) = differences(image(("torch", "01", SAME)), image(("torch", "02", SAME)))
    assert found.layer == "torch" and "not compared" in found.what


def test_images_of_other_layers() -> None:
    (found,) = differences(image(("torch", "01", SAME)), image(("torch", "01", SAME), ("audio", "02", SAME)))
    assert found.what == "the images have other layers"


def test_a_layout_of_docker_save_that_is_not_known() -> None:
    """Before Docker 25 <id>/layer.tar; with containerd's image store the names are those of compressed layers."""
    one, two = image(("torch", "01", SAME), where="old/layer-"), image(("torch", "02", SAME), where="old/layer-")
    with pytest.raises(EngineError, match="1 layers are not in") as error:
        differences(one, two)
    assert error.value.remedy


@pytest.mark.parametrize("saved", [b"", b"not a tar" * 1000, None], ids=["empty", "rubbish", "cut"])
def test_what_the_engine_saves_cannot_be_read(saved: bytes | None) -> None:
    one, two = image(("torch", "01", {"a": File(b"x" * 50_000)})), image(("torch", "02", SAME))
    one.saved = one.saved[:30_000] if saved is None else saved
    with pytest.raises(EngineError):
        differences(one, two)


def test_the_engine_goes_away_while_it_saves() -> None:
    one, two = image(("torch", "01", SAME)), image(("torch", "02", SAME))

    class Leaving(Client):
        def get(self, reference: str) -> Any:
            found = super().get(reference)

            def save() -> Iterator[bytes]:
                yield self.saved[:700]
                raise requests.exceptions.ChunkedEncodingError("gone")

            found.save = save
            return found

    with pytest.raises(EngineError, match="cannot be read"):
        differences(Leaving(history=one.history, rootfs=one.rootfs, saved=one.saved), two)


def test_lines_of_a_difference() -> None:
    found = [Difference("torch", f"opt/{i}", "time 1 and 2") for i in range(difference.DIFFERENCES + 2)]
    shown = difference.diff_lines((950, 1000), found)
    assert shown[0] == "95.0% of 0.00 GB lie in layers of one digest."
    assert shown[1] == "torch: opt/0: time 1 and 2"
    assert len(shown) == difference.DIFFERENCES + 2 and shown[-1] == "and 2 more"
    assert difference.diff_lines((5_000_000_000, 5_000_000_000), []) == [
        "100.0% of 5.00 GB lie in layers of one digest."
    ]


def test_lines_of_a_difference_between_images_of_unknown_size() -> None:
    assert difference.diff_lines((0, 0), []) == ["Nothing of 0.00 GB lie in layers of one digest."]


def test_lines_of_a_hostile_difference() -> None:
    found = [Difference(HOSTILE, f"{HOSTILE}\n{HOSTILE}{'x' * 10_000}", HOSTILE)] * 30
    assert safe(difference.diff_lines((1, 2), found))
