"""The GPU architectures inside a compiled library, read from its bytes: torchaudio has no call that tells them.

nvcc embeds "fat binaries". Their header is public (fatbinary_section.h and fatbinary.h of the CUDA toolkit): magic,
version, header size, size of what follows. The entries behind it, one per target, begin with kind, version, header
size and size, and have the architecture at byte 28: that part is observed, on torchaudio's wheels for CUDA 11.7, 12.1,
12.8 and 13.0, where it gives targets that fit torch's own list. Anything unexpected is answered with None, not a guess.
"""

from __future__ import annotations

import struct
from typing import Dict, List, Optional, Set, Tuple

from .arch import Arch

HEADER = struct.Struct("<IHHQ")
ENTRY = struct.Struct("<HHIQ12xI")
MAGIC = struct.pack("<IHH", 0xBA55ED50, 1, HEADER.size)
PTX, SASS = 1, 2


def architectures(data: bytes) -> Optional[List[Arch]]:
    """All targets in a library's bytes; empty without GPU code, None when its fat binaries cannot be read."""
    kinds: Dict[Tuple[int, int], Set[int]] = {}
    start = data.find(MAGIC)
    while start >= 0:
        position = start + HEADER.size
        end = position + HEADER.unpack_from(data, start)[3]
        while position + ENTRY.size <= end <= len(data):
            kind, _, header_size, size, number = ENTRY.unpack_from(data, position)
            if kind not in (PTX, SASS) or header_size < ENTRY.size or not 20 <= number < 1000:
                return None
            kinds.setdefault((number // 10, number % 10), set()).add(kind)
            position += header_size + size
        if position != end:
            return None
        start = data.find(MAGIC, end)
    return [Arch(*key, suffix="", sass=SASS in found, ptx=PTX in found) for key, found in sorted(kinds.items())]
