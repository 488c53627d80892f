"""A model's output head, for the tokens that an answer allows alone.

llama.cpp multiplies what the layers give by a row for each token of the vocabulary, though a grammar
allows some dozens of them. Whoever watches its computation may cancel it: here that is done where the
head begins, and only the rows of allowed tokens are multiplied.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from minisift.engines.llamacpp.matrix import Matrix
from minisift.engines.llamacpp.native import declared, libggml_base, llama

_INPUT = b"result_norm"
"""llama.cpp's name of the hidden states that go into the head."""
_KEPT = 4096
"""Rows that are kept in float32."""


class _Traits(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("block", ctypes.c_int64),
        ("interleaved", ctypes.c_int64),
        ("block_bytes", ctypes.c_size_t),
        ("is_quantized", ctypes.c_bool),
        ("to_float", ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)),
    )


_function = partial(declared, libggml_base)
_place, _size = ctypes.c_void_p, ctypes.c_size_t
_traits = _function("ggml_get_type_traits", ctypes.POINTER(_Traits), ctypes.c_int)
_name = _function("ggml_get_name", ctypes.c_char_p, _place)
_bytes = _function("ggml_nbytes", _size, _place)
_copy = _function("ggml_backend_tensor_get", None, _place, _place, _size, _size)


class Head:
    """A head for one context of llama.cpp, whose parameters have `watch` as `cb_eval`."""

    def __init__(self, matrix: Matrix) -> None:
        self._matrix = matrix
        self._to_float = _traits(matrix.type).contents.to_float
        self._rows = np.empty((_KEPT, matrix.width), np.float32)
        self._places = np.full(matrix.rows, -1, np.int32)
        self._count = 0
        self._seen: list[Any] = []
        self.watch = _watching(self._seen)

    def take(self) -> Any:
        """The hidden states of the last call's tokens whose logits are wanted, [wanted, width]; None
        if there are none, and llama.cpp has computed all logits."""
        return self._seen.pop().reshape(-1, self._rows.shape[1]) if self._seen else None

    def logits(self, hidden: Any, tokens: Sequence[int]) -> Any:
        """Those of some tokens, [tokens] float32, where the hidden state is [width]."""
        if len(tokens) > _KEPT:
            parts = tokens[:_KEPT], tokens[_KEPT:]
            return np.concatenate([self.logits(hidden, part) for part in parts])
        if (self._places[tokens] < 0).any():
            self._read(tokens)
        # not by BLAS, which has threads and an order of adding up of its own
        return np.einsum("ij,j->i", self._rows[self._places[tokens]], hidden)

    def _read(self, tokens: Sequence[int]) -> None:
        """Have rows in float32, in the place of all others where there is no room for them."""
        missing = [token for token in tokens if self._places[token] < 0]
        if self._count + len(missing) > _KEPT:
            self._places.fill(-1)
            self._count, missing = 0, list(tokens)
        for token in missing:
            stored, row = self._matrix.row(token), self._rows[self._count]
            if self._to_float:
                self._to_float(stored, row.ctypes.data, len(row))
            else:  # float32 already
                row[:] = np.frombuffer(stored, np.float32)
            self._places[token] = self._count
            self._count += 1


class Logits:
    """The logits behind one token of a call, computed when they are asked for: [tokens] float32 for
    a list of tokens."""

    def __init__(self, head: Head, hidden: Any) -> None:
        self._head, self._hidden = head, hidden

    def __getitem__(self, tokens: Sequence[int]) -> Any:
        return self._head.logits(self._hidden, tokens)


def _watching(seen: list[Any]) -> Any:
    """What puts the hidden states that go into the head into a list, and cancels what would follow."""

    @llama.ggml_backend_sched_eval_callback
    def watch(tensor: int, asked: bool, _: Any) -> bool:
        if asked:
            return bool(_name(tensor) == _INPUT)
        states = np.empty(_bytes(tensor) // 4, np.float32)
        _copy(tensor, states.ctypes.data, 0, states.nbytes)
        seen[:] = [states]
        return False

    return watch
