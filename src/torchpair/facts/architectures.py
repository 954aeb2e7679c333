"""The GPU architectures that a wheel of torch was compiled for, read in the wheel itself.

What torch._C._cuda_getArchFlags() returns is a text in libtorch_python.so, such as "sm_75 sm_80 compute_90": ten MB of
the wheel's 500. Upstream's release matrix is no evidence: it names PTX that no wheel of PyPI has (2.11 to 2.14).
"""

from __future__ import annotations

import re

from torchpair.facts.pypi import Fetch, PypiError, member

LIBRARY = "torch/lib/libtorch_python.so"
MOST = 200_000_000  # bytes, unpacked; 2.15 has 35 MB
# Two or more stand wherever the compiler put them, even right behind another text (2.8); one is known by its ends.
_ONE = rb"(?:sm|compute)_\d{2,3}"
_FLAGS = re.compile(rb"%s(?: %s)+(?![\w ])|(?<=\0)%s(?=\0)" % (_ONE, _ONE, _ONE))


def architectures(url: str, fetch: Fetch) -> tuple[str, ...] | None:
    """Compute capabilities, ascending, as the facts write them ("9.0", "12.0+PTX"); None: it has no such library.

    () where nothing was compiled for a GPU. Raises PypiError.
    """
    data = member(url, LIBRARY, MOST, fetch)
    if data is None:
        return None
    texts = sorted(set(_FLAGS.findall(data)))
    if len(texts) > 1:
        raise PypiError("a wheel of torch names its GPU architectures in more than one way", why=repr(texts)[:200])
    words = texts[0].decode().split() if texts else []
    with_ptx = {word.partition("_")[2] for word in words if word.startswith("compute_")}
    numbers = sorted({word.partition("_")[2] for word in words}, key=int)
    return tuple(f"{n[:-1]}.{n[-1]}{'+PTX' if n in with_ptx else ''}" for n in numbers)
