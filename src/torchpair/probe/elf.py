"""What a shared library needs and which symbols it takes or gives, read from its ELF tables without loading it.

Source: System V ABI, chapters 4 and 5 (section headers, symbol table, dynamic section); 64-bit, little-endian only:
x86-64 and AArch64, the platforms that torch has wheels for.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional, Tuple

HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
SECTION = struct.Struct("<IIQQQQIIQQ")
SYMBOL = struct.Struct("<IBBHQQ")
DYNAMIC, DYNSYM = 6, 11  # section types
NEEDED = 1  # tag of a dynamic entry


@dataclass(frozen=True)
class Library:
    """needed: the libraries it asks for by name. taken, given: undefined and defined dynamic symbols, mangled."""

    needed: Tuple[str, ...]
    taken: Tuple[str, ...]
    given: Tuple[str, ...]


def read(path: Path) -> Optional[Library]:
    """The tables of one library; None when it is no such ELF file or cannot be understood."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _read(data)
    except (OSError, ValueError, struct.error, IndexError):
        return None


def _text(data: mmap.mmap, start: int) -> str:
    return data[start : data.find(b"\0", start)].decode("latin-1")


def _read(data: mmap.mmap) -> Optional[Library]:
    if data[:6] != b"\x7fELF\x02\x01":
        return None
    fields = HEADER.unpack_from(data, 0)
    table, size, count = fields[6], fields[11], fields[12]
    sections: List[Dict[str, int]] = []
    for index in range(count):
        _, kind, _, _, offset, length, link, _, _, _ = SECTION.unpack_from(data, table + index * size)
        sections.append({"kind": kind, "offset": offset, "length": length, "link": link})
    needed: List[str] = []
    taken: List[str] = []
    given: List[str] = []
    for section in sections:
        end = section["offset"] + section["length"]
        if section["kind"] == DYNAMIC:
            names = sections[section["link"]]["offset"]
            for tag, value in struct.iter_unpack("<QQ", data[section["offset"] : end]):
                if tag == NEEDED:
                    needed.append(_text(data, names + value))
        elif section["kind"] == DYNSYM:
            names = sections[section["link"]]["offset"]
            for name, _, _, place, _, _ in SYMBOL.iter_unpack(data[section["offset"] : end]):
                if name:
                    (given if place else taken).append(_text(data, names + name))
    return Library(tuple(needed), tuple(taken), tuple(given))
