"""Lock files, and processes that are there no more."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from torchpair import held


def test_the_lock_lets_one_in_and_tells_the_other(tmp_path: Path) -> None:
    said: list[str] = []
    order: list[str] = []
    inside = threading.Event()

    def second() -> None:
        inside.wait()
        with held.locked(tmp_path / "state/x.lock", lambda line: (said.append(line), leave.set())[0]):
            order.append("second")

    leave = threading.Event()
    thread = threading.Thread(target=second)
    thread.start()
    with held.locked(tmp_path / "state/x.lock", said.append):
        inside.set()
        assert leave.wait(5)
        order.append("first")
    thread.join(5)
    assert order == ["first", "second"]
    assert len(said) == 1
    assert "x.lock" in said[0] and f"process {os.getpid()} (torchpair" in said[0]


def test_a_dead_holder_holds_nobody(tmp_path: Path) -> None:
    """kill -9: what it wrote stays in the file, and the next one neither waits nor is told of it."""
    code = (
        "import sys, time; from pathlib import Path; from torchpair import held\n"
        "with held.locked(Path(sys.argv[1]), print):\n    print(held.me(), flush=True); time.sleep(60)\n"
    )
    lock = tmp_path / "lock"
    with subprocess.Popen([sys.executable, "-c", code, str(lock)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout
        name = holder.stdout.readline().strip()
        assert not held.gone(name)
        holder.send_signal(signal.SIGKILL)
        holder.wait(timeout=10)
    assert f"process {holder.pid} " in lock.read_text()
    assert held.gone(name)
    said: list[str] = []
    with held.locked(lock, said.append):
        assert said == [] and f"process {os.getpid()} " in lock.read_text()


def test_who_is_gone() -> None:
    assert not held.gone(held.me())
    host, number, _ = held.me().split("/")
    assert held.gone(f"{host}/{number}/1"), "the number was given to another process since"
    for unknown in ("", "elsewhere/1/1", f"{host}/x/1", f"{host}", f"{host}/-1/1"):
        assert not held.gone(unknown), unknown
