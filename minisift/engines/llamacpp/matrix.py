"""Where a GGUF file holds its output head, as ggml's own reader of such files finds it."""

from __future__ import annotations

import ctypes
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

from minisift.engines.llamacpp import cache as states
from minisift.engines.llamacpp.native import LIBRARIES, declared, libggml_base

_PLAIN = ("llama", "smollm3", "qwen2", "qwen3", "gemma3", "phi3", "olmo2", "stablelm")
"""Architectures whose logits are the product of hidden states and head."""
_MORE = ("final_logit_softcapping", "logit_scale")
"""Keys of what logits may go through besides."""
_STRING = 8
"""The number of a type of values in GGUF files."""
_HEADS = (b"output.weight", b"token_embd.weight")
"""Names of the head; the embeddings serve as such where there is none."""


class _Reading(ctypes.Structure):
    _fields_ = (("no_alloc", ctypes.c_bool), ("context", ctypes.c_void_p))


_function = partial(declared, libggml_base)
_number, _size, _place = ctypes.c_int64, ctypes.c_size_t, ctypes.c_void_p
_open = _function("gguf_init_from_file", _place, ctypes.c_char_p, _Reading)
_close = _function("gguf_free", None, _place)
_key = _function("gguf_find_key", _number, _place, ctypes.c_char_p)
_kind = _function("gguf_get_kv_type", ctypes.c_int, _place, _number)
_text = _function("gguf_get_val_str", ctypes.c_char_p, _place, _number)
_tensor = _function("gguf_find_tensor", _number, _place, ctypes.c_char_p)
_shape = _function("gguf_get_tensor_ne", ctypes.POINTER(_number), _place, _number)
_type = _function("gguf_get_tensor_type", ctypes.c_int, _place, _number)
_bytes = _function("gguf_get_tensor_size", _size, _place, _number)
_begin = _function("gguf_get_data_offset", _size, _place)
_offset = _function("gguf_get_tensor_offset", _size, _place, _number)


class Matrix:
    """Numbers of one of ggml's types in a file, [rows, width]. The file stays open until `close`, so
    that another in its place changes nothing. Threads may share it."""

    def __init__(self, path: Path, begin: int, rows: int, width: int, row_bytes: int, kind: int):
        self.rows, self.width, self.row_bytes, self.type = rows, width, row_bytes, kind
        self._begin = begin
        self._file = path.open("rb", buffering=0)
        self._lock = Lock()

    def close(self) -> None:
        self._file.close()

    def row(self, number: int) -> bytes:
        """A row as it is stored. Raises OSError."""
        with self._lock:
            self._file.seek(self._begin + number * self.row_bytes)
            stored = self._file.read(self.row_bytes)
        if len(stored) < self.row_bytes:
            raise OSError(f"{self._file.name} was cut; fix: copy it again and load it")
        return stored


def head_of(model: Path, adapter: Path | None) -> Matrix | None:
    """A model's output head, a row a token. None where logits are more than its product with hidden
    states, as an adapter of the head makes them, and where it lies in another file.

    Where it lies is kept in the user's cache, since ggml reads the whole vocabulary to tell.
    """
    files = [path for path in (model, adapter, LIBRARIES) if path]
    key = states.key(files, [], [_PLAIN, _MORE])
    if kept := states.load("heads", key):
        found = json.loads(bytes(kept))
    else:
        with _opened(model) as file, _opened(adapter) as changes:
            if not file or (adapter and not changes):
                return None
            found = _find(file, changes)
        states.save("heads", key, json.dumps(found).encode())
    return Matrix(model, *found) if found else None


def _find(file: Any, changes: Any) -> list[int] | None:
    """The numbers of a head's `Matrix`."""
    if changes and any(_has(changes, name + b".lora_a") for name in _HEADS):
        return None
    key = _key(file, b"general.architecture")
    architecture = _text(file, key).decode() if key >= 0 and _kind(file, key) == _STRING else ""
    more = [*(f"{architecture}.{name}" for name in _MORE), "split.count"]
    if architecture not in _PLAIN or any(_key(file, name.encode()) >= 0 for name in more):
        return None
    found = next((name for name in _HEADS if _has(file, name)), None)
    if not found or any(_has(file, name) for name in (b"output.bias", b"output.scale")):
        return None
    at = _tensor(file, found)
    width, rows = _shape(file, at)[:2]
    begin = _begin(file) + _offset(file, at)
    return [begin, rows, width, _bytes(file, at) // rows, _type(file, at)]


@contextmanager
def _opened(path: Path | None) -> Iterator[Any]:
    """What a GGUF file says of its content; None where it cannot be read."""
    file = _open(os.fsencode(path), _Reading(True, None)) if path else None
    try:
        yield file
    finally:
        if file:
            _close(file)


def _has(file: Any, tensor: bytes) -> bool:
    return bool(_tensor(file, tensor) >= 0)
