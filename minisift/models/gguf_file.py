"""GGUF files as they lie on disk: the one place that opens them outside of llama.cpp."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import gguf


def open_gguf(path: Path, mode: Literal["r", "r+"] = "r") -> gguf.GGUFReader:
    """A GGUF file's metadata and tensors, mapped into memory; "r+" lets them be written over.

    Raises ValueError for a file that is none, or was cut.
    """
    try:
        return gguf.GGUFReader(path, mode)
    except (ValueError, IndexError, OverflowError) as error:
        raise ValueError(
            f"{path}: not a whole GGUF file ({error}); fix: export or copy it again"
        ) from None


def value_of(file: gguf.GGUFReader, key: str) -> Any:
    """The value under a key; None where there is none."""
    field = file.get_field(key)
    return None if field is None else field.contents()
