"""GGUF files as they lie on disk: the one place that opens them outside of llama.cpp."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from minisift.models.gguf_header import Header, read_header

_NUMBERS = {
    gguf.GGMLQuantizationType.F32: np.float32,
    gguf.GGMLQuantizationType.F16: np.float16,
    gguf.GGMLQuantizationType.F64: np.float64,
}
"""Types whose numbers numpy knows; rows of others are bytes."""


@dataclass(frozen=True)
class Tensor:
    """A tensor of a GGUF file. shape: the slowest index first. data: mapped into memory, [*shape], but the last
    index counts bytes where numpy does not know the type."""

    name: str
    shape: tuple[int, ...]
    type: gguf.GGMLQuantizationType
    data: np.ndarray[Any, Any]


def open_gguf(path: Path) -> gguf.GGUFReader:
    """All that a GGUF file holds, what its tokens spell included, which takes seconds.

    Raises ValueError for a file that is none, or was cut.
    """
    try:
        return gguf.GGUFReader(path)
    except (ValueError, IndexError, OverflowError) as error:
        raise _not_whole(path, error) from None


def value_of(path: Path, key: str) -> Any:
    """The number or string under a key; None where there is none. Raises ValueError as `open_gguf`."""
    return _header(path).values.get(key)


def tensors_of(path: Path) -> Iterator[Tensor]:
    """The tensors, in the order of the file. Raises ValueError as `open_gguf`."""
    size = path.stat().st_size
    for name, (sizes, number, begin) in _header(path).tensors.items():
        try:
            kind = gguf.GGMLQuantizationType(number)
        except ValueError as error:
            raise _not_whole(path, error) from None
        shape = stored = sizes[::-1]
        dtype = _NUMBERS.get(kind, np.uint8)
        if dtype is np.uint8:
            stored = gguf.quant_shape_to_byte_shape(shape, kind)
        count = math.prod(stored)
        if begin + count * np.dtype(dtype).itemsize > size:
            raise _not_whole(path, f"{name} is cut")
        data = np.memmap(path, dtype, "r", begin, (count,))
        yield Tensor(name, shape, kind, np.asarray(data).reshape(stored))


def write_over(path: Path, key: str, content: bytes) -> None:
    """Put bytes in the place of a string's of the same length."""
    header = _header(path)
    assert len(content) == len(header.values[key].encode())
    with path.open("r+b") as file:
        file.seek(header.ends[key] - len(content))
        file.write(content)


def _header(path: Path) -> Header:
    if header := read_header(path):
        return header
    raise _not_whole(path, "its header cannot be read")


def _not_whole(path: Path, why: object) -> ValueError:
    return ValueError(f"{path}: not a whole GGUF file ({why}); fix: export or copy it again")
