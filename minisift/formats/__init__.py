"""File formats of labelled text: each module reads `Record`s and writes bytes.

A format is a module with ``read(source, *, tag_column, scheme) -> Iterator[Record]`` and
``write(examples, *, scheme) -> bytes``; a new one is a new module and a line in `_BY_NAME`.
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from types import ModuleType
from typing import Any

_BY_NAME = ("conll", "jsonl", "docbin", "huggingface")
_BY_ENDING = {".jsonl": "jsonl", ".json": "jsonl", ".spacy": "docbin"}


def format_of(source: Any, name: str | None) -> ModuleType:
    """The module for a format name, or for a source where the name is None."""
    if name is None:
        if isinstance(source, str | os.PathLike):
            name = _BY_ENDING.get(Path(source).suffix.lower(), "conll")
        else:
            name = "huggingface"
    if name not in _BY_NAME:
        raise ValueError(f"format={name!r}; fix: one of {', '.join(_BY_NAME)}")
    return importlib.import_module(f"minisift.formats.{name}")
