"""Downloads: what may pass is tried again and gone on with, what is refused is not, and another file is named."""

from __future__ import annotations

import hashlib
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from test_models import Hub

from torchpair import fetch
from torchpair.fetch import FetchError

DATA = bytes(range(256)) * 40
SHA = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def hub() -> Hub:
    made = Hub()
    made.files = {"a.whl": DATA}
    return made


def bring(hub: Hub, target: Path, **other: object) -> tuple[list[float], tuple[int, str] | str]:
    """The waits, and what came of it."""
    waits: list[float] = []
    try:
        return waits, fetch.bring(f"{hub.url}/a.whl", target, pause=waits.append, **other)  # type: ignore[arg-type]
    except FetchError as error:
        return waits, error.what


@pytest.mark.parametrize(
    ("status", "cut", "tries"),
    [([500, 503, 429], [], 4), ([], [100, 5000], 3), ([502], [100], 3), ([408], [], 2)],
)
def test_what_may_pass_is_tried_again(hub: Hub, tmp_path: Path, status: list[int], cut: list[int], tries: int) -> None:
    hub.status["a.whl"], hub.cut["a.whl"] = status, [*([None] * len(status)), *cut]  # type: ignore[list-item]
    waits, came = bring(hub, tmp_path / "a.whl", size=len(DATA), sha256=SHA)
    assert came == (len(DATA), SHA) and (tmp_path / "a.whl").read_bytes() == DATA
    assert len(hub.asked) == tries and waits == [2.0**number for number in range(tries - 1)], "longer and longer"
    ranges = [wanted for _, wanted in hub.asked if wanted]
    assert len(ranges) == (len(cut) if cut else 0), "it goes on where it stopped"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_what_is_refused_is_not(hub: Hub, tmp_path: Path, status: int) -> None:
    hub.status["a.whl"] = [status]
    waits, came = bring(hub, tmp_path / "a.whl")
    assert waits == [] and f"127.0.0.1:{hub.server.server_address[1]}: {status}" in str(came)
    assert list(tmp_path.iterdir()) == []


def test_another_file_is_an_error_and_is_not_kept(hub: Hub, tmp_path: Path) -> None:
    hub.files["a.whl"] = DATA[:-1] + b"x"
    waits, came = bring(hub, tmp_path / "a.whl", size=len(DATA), sha256=SHA)
    assert waits == [] and f"has another file: sha256 {hashlib.sha256(hub.files['a.whl']).hexdigest()[:12]}" in str(
        came
    )
    assert list(tmp_path.iterdir()) == []


def test_it_gives_up_in_the_end_and_keeps_what_came(hub: Hub, tmp_path: Path) -> None:
    hub.cut["a.whl"] = [100] * fetch.TRIES
    waits, came = bring(hub, tmp_path / "a.whl", size=len(DATA), sha256=SHA)
    assert len(waits) == fetch.TRIES - 1 and "the connection ended after" in str(came)
    assert (tmp_path / "a.whl.part").stat().st_size == 100 * fetch.TRIES
    hub.cut["a.whl"] = []
    assert bring(hub, tmp_path / "a.whl", size=len(DATA), sha256=SHA) == ([], (len(DATA), SHA))


def test_small_answers(hub: Hub) -> None:
    hub.status["a.whl"] = [500, 503]
    assert fetch.opened(urllib.request.Request(f"{hub.url}/a.whl"), 5).read() == DATA
    hub.status["a.whl"], hub.asked = [404], []
    with pytest.raises(urllib.error.HTTPError):
        fetch.opened(f"{hub.url}/a.whl", 5)
    assert len(hub.asked) == 1


def test_no_login_in_a_message() -> None:
    assert fetch.host("https://me:secret@index.example:8443/simple/x") == "index.example:8443"
