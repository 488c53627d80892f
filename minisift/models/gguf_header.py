"""What a GGUF file says of its content, by the format's description (ggml's docs/gguf.md).

Its numbers and single strings alone: what tokens spell, most of such a file's beginning, is passed over. The
package gguf makes an array of each and takes seconds; ggml's own reader takes a little longer, and a struct whose
size cannot be checked.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_FORMATS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
"""Of each type of value but strings and arrays."""
_STRING, _ARRAY = 8, 9
_ALIGNMENT = 32
"""What the tensors' beginning is a multiple of, unless the file says otherwise."""


@dataclass
class Header:
    """Values by key (None for an array), the byte at which each ends, and of each tensor its shape, the fastest
    index first, ggml's type and the byte at which it begins."""

    values: dict[str, Any] = field(default_factory=dict)
    ends: dict[str, int] = field(default_factory=dict)
    tensors: dict[str, tuple[tuple[int, ...], int, int]] = field(default_factory=dict)


def read_header(path: Path) -> Header | None:
    """The header of a GGUF file; None where the file is none, or cannot be read."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _header(_Reader(data))
    except (OSError, ValueError, KeyError, IndexError, struct.error):
        return None


class _Reader:
    """A file's numbers and strings, one after the other."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self.at = 0

    def numbers(self, form: str) -> tuple[Any, ...]:
        found = struct.unpack_from(f"<{form}", self._data, self.at)
        self.at += struct.calcsize(f"<{form}")
        return found

    def string(self) -> str:
        (length,) = self.numbers("Q")
        self.at += length
        return self._data[self.at - length : self.at].decode()

    def value(self, kind: int) -> Any:
        if kind == _STRING:
            return self.string()
        if kind != _ARRAY:
            return self.numbers(_FORMATS[kind])[0]
        kind, count = self.numbers("IQ")
        if kind in _FORMATS:
            self.at += count * struct.calcsize(_FORMATS[kind])
        elif kind == _STRING:
            length_of, data, at = struct.Struct("<Q").unpack_from, self._data, self.at
            for _ in range(count):
                at += 8 + length_of(data, at)[0]
            self.at = at
        else:
            for _ in range(count):
                self.value(kind)
        return None


def _header(reader: _Reader) -> Header:
    magic, version, tensors, values = reader.numbers("4sIQQ")
    if magic != b"GGUF" or version not in (2, 3):
        raise ValueError("no GGUF file of these versions")
    header = Header()
    for _ in range(values):
        key = reader.string()
        (kind,) = reader.numbers("I")
        header.values[key] = reader.value(kind)
        header.ends[key] = reader.at
    for _ in range(tensors):
        name = reader.string()
        (dimensions,) = reader.numbers("I")
        shape = reader.numbers(f"{dimensions}Q")
        kind, offset = reader.numbers("IQ")
        header.tensors[name] = shape, kind, offset
    alignment = header.values.get("general.alignment", _ALIGNMENT)
    begin = -(-reader.at // alignment) * alignment
    header.tensors = {n: (s, kind, begin + at) for n, (s, kind, at) in header.tensors.items()}
    return header
