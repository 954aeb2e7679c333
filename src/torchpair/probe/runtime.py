"""The place where torch and torchaudio run: user, file system, network, shared memory, threads.

What a container is asked to be (another user, a read-only root) is the caller's choice. Where it is not so, the check
is a skip that says what to ask for; where it is, the check does what usually breaks there.
"""

from __future__ import annotations

import getpass
import os
import tempfile
import threading
from pathlib import Path
from typing import Any, Dict, List

from . import dsp, network, reference
from .context import Context
from .registry import Outcome, Skip, check, told, within

MIB = 1 << 20


@check(
    "runtime.user",
    "As a user who is not root, the caches that torch.compile uses have a place: torch asks for the user's name.",
    limit="the user has a name, or TORCHINDUCTOR_CACHE_DIR is set",
)
def user(context: Context) -> Outcome:
    if not hasattr(os, "getuid") or os.getuid() == 0:
        raise Skip("non-root", "the probe runs as root; to prove it for another user: --user 10001")
    measured: Dict[str, Any] = {"uid": os.getuid(), "gid": os.getgid()}
    try:
        # A uid without a name: KeyError, from Python 3.13 on OSError. torch's cache folder is called after the name.
        measured["name"] = getpass.getuser()
    except (KeyError, OSError) as error:
        if not os.environ.get("TORCHINDUCTOR_CACHE_DIR"):
            measured["name"] = None
            return Outcome(
                False, measured, "this uid has no name: set USER, or TORCHINDUCTOR_CACHE_DIR; " + told(error)
            )
    return Outcome(True, measured)


def read_only(path: str) -> bool:
    """Whether the file system of a path is mounted read-only."""
    return bool(os.statvfs(path).f_flag & os.ST_RDONLY)


@check(
    "runtime.read_only",
    "With a read-only root, tensors and compiled functions are still saved and loaded, in a temporary folder.",
    limit="what was saved is what is loaded",
)
def read_only_root(context: Context) -> Outcome:
    if not read_only("/"):
        raise Skip("read-only", "the root is writable; to prove it for a read-only one: --read-only --tmpfs /tmp")
    torch = context.torch
    try:
        handle, name = tempfile.mkstemp(prefix="torchpair-probe-")
    except OSError as error:
        raise Skip("writable-temp", "no folder can be written: {}".format(error)) from error
    os.close(handle)
    try:
        values = reference.noise(100, 30)
        torch.save(torch.tensor(values), name)
        back = torch.load(name).tolist()
    finally:
        Path(name).unlink()
    return Outcome(back == values, {"temporary": tempfile.gettempdir()}, "" if back == values else "another tensor")


@check(
    "runtime.offline",
    "Importing torch and torchaudio, and the checks before this one, reach for no network.",
    limit="no connection and no look-up of a name",
)
def offline(context: Context) -> Outcome:
    attempts = context.watch.attempts
    measured = {"network": network.has_network(), "attempts": attempts[:10]}
    return Outcome(not attempts, measured, "reached for the network: " + ", ".join(attempts[:5]) if attempts else "")


# Docker's default for /dev/shm, which carries a few batches; less stops a DataLoader with "bus error".
SHM_MIB = 64


@check(
    "runtime.shm",
    "/dev/shm, through which workers hand back tensors, is writable and not below Docker's own default.",
    limit={"missing_mib": 0},
    unit="MiB",
)
def shm(context: Context) -> Outcome:
    if not Path("/dev/shm").is_dir():
        return Outcome(False, None, "there is no /dev/shm: DataLoader workers cannot hand back tensors")
    found = os.statvfs("/dev/shm")
    size, free = found.f_blocks * found.f_frsize // MIB, found.f_bavail * found.f_frsize // MIB
    measured: Dict[str, Any] = {"size_mib": size, "free_mib": free, "missing_mib": max(0, SHM_MIB - size)}
    if not os.access("/dev/shm", os.W_OK):
        return Outcome(False, measured, "/dev/shm cannot be written by uid {}".format(os.getuid()))
    if free >= 2:
        # Only with room: writing to shared memory that is not there ends the process.
        torch = context.torch
        shared = torch.zeros(MIB // 4).share_memory_()
        shared += 1
        if not shared.is_shared() or float(shared.sum()) != MIB // 4:
            return Outcome(False, measured, "a tensor in shared memory is not what was written")
    outcome = within(measured, {"missing_mib": 0})
    if outcome.passed:
        return outcome
    return Outcome(False, measured, "/dev/shm has {} MiB; docker run --shm-size 1g gives more".format(size))


THREADS = 4


@check(
    "runtime.threads",
    "Filters that run in several threads at once, and with one thread inside torch, give the same right numbers.",
    limit=dict(dsp.LFILTER_LIMITS, failed=0),
    unit="max absolute error; threads",
)
def threads(context: Context) -> Outcome:
    torch = context.torch
    results: List[Dict[str, float]] = []
    failures: List[str] = []

    def work() -> None:
        try:
            results.append(dsp.lfilter_errors(context, "cpu"))
        except Exception as error:
            failures.append(told(error))

    before = torch.get_num_threads()
    at_once = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in at_once:
        thread.start()
    for thread in at_once:
        thread.join()
    try:
        torch.set_num_threads(1)
        work()
    finally:
        torch.set_num_threads(before)
    measured: Dict[str, Any] = {"failed": THREADS + 1 - len(results), "torch_threads": before}
    measured["cpus"] = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    for dtype in dsp.LFILTER_LIMITS:
        measured[dtype] = max((result[dtype] for result in results), default=float("inf"))
    outcome = within(measured, dict(dsp.LFILTER_LIMITS, failed=0))
    return Outcome(outcome.passed, measured, "; ".join([outcome.reason, *failures]).strip("; "))
