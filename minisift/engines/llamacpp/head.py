"""A model's output head, multiplied only for the tokens that an answer allows.

llama.cpp multiplies what the layers give by a row for each token of the vocabulary, though a grammar
allows some dozens of them. Whoever watches its computation may cancel it: here that is done where the
head begins, and only the rows of allowed tokens are multiplied. First it is tried whether that gives
llama.cpp's own logits: `open_head`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minisift.engines.llamacpp import native
from minisift.engines.llamacpp.matrix import Matrix
from minisift.engines.llamacpp.model import Model
from minisift.engines.llamacpp.native import llama

_INPUT = b"result_norm"
"""llama.cpp's name of the hidden states that go into the head."""
_KEPT = 4096
"""Rows that are kept in float32."""
_TRIED = 4
"""Tokens that are read to compare logits: those behind every other one."""
_SPREAD, _LIKELIEST = 128, 16
"""Tokens whose logits are compared: so many from all over the vocabulary, and the likeliest."""
_FACTOR, _MOST = 0.02, 0.15
"""How far the factor between both may be from 1, and any logit from the other, beside their spread (a
root mean square). llama.cpp rounds hidden states first, to 8 bits or to F16: of 19 files of SmolLM2 and
Gemma 3, from F32 to Q2_K, that moved the factor by 0.008 and logits by 0.055 at most. A cap of 30 moved
them by 0.18 and more."""


class Head:
    """A head for one context of llama.cpp, whose parameters have `watcher.callback` as `cb_eval`.
    Raises native.NativeError.

    is_worth_it: False from when more tokens were asked for than are kept in float32: llama.cpp's own product
    of all is faster then.
    """

    def __init__(self, matrix: Matrix, kept: int = _KEPT) -> None:
        self.is_worth_it = True
        self.watcher = native.Watcher(_INPUT, matrix.width)
        self._matrix = matrix
        self._kept = kept
        self._row_bytes = native.row_bytes(matrix.type, matrix.width)
        self._to_float = native.to_float(matrix.type, matrix.width)
        self._rows = np.empty((kept, matrix.width), np.float32)
        self._places = np.full(matrix.rows, -1, np.int32)
        self._count = 0

    def logits(self, hidden: Any, tokens: Sequence[int]) -> Any:
        """Those of some tokens, [tokens] float32, where the hidden state is [width]."""
        if len(tokens) > self._kept:
            self.is_worth_it = False
            parts = tokens[: self._kept], tokens[self._kept :]
            return np.concatenate([self.logits(hidden, part) for part in parts])
        if (self._places[tokens] < 0).any():
            self._read(tokens)
        # not by BLAS, which has threads and an order of adding up of its own
        return np.einsum("ij,j->i", self._rows[self._places[tokens]], hidden)

    def _read(self, tokens: Sequence[int]) -> None:
        """Have rows in float32, in the place of all others where there is no room for them."""
        missing = [token for token in tokens if self._places[token] < 0]
        if self._count + len(missing) > self._kept:
            self._places.fill(-1)
            self._count, missing = 0, list(tokens)
        for token in missing:
            stored = self._matrix.row(token, self._row_bytes)
            self._to_float(stored, self._rows[self._count])
            self._places[token] = self._count
            self._count += 1


class Logits:
    """The logits behind one token of a call, computed when they are asked for: [tokens] float32 for
    a list of tokens."""

    def __init__(self, head: Head, hidden: Any) -> None:
        self._head, self._hidden = head, hidden

    def __getitem__(self, tokens: Sequence[int]) -> Any:
        return self._head.logits(self._hidden, tokens)


def open_head(model: Model, threads: int) -> Head | None:
    """A model's head, where its product is seen to be llama.cpp's own logits; otherwise None, and the
    model has none any more.

    Both are compared when a model is first used with a build of llama.cpp on this machine; the verdict
    is kept. Where no comparison comes about, the next process tries again.
    """
    matrix = model.head  # another lane may drop it
    if not matrix:
        return None
    try:
        head = Head(matrix)
        if model.head_fault is None:
            model.judge_head(_compare(model, head, threads))
    except (native.NativeError, MemoryError) as error:
        model.drop_head(str(error))
        return None
    if model.head_fault:
        model.drop_head(model.head_fault)
        return None
    return head


def _compare(model: Model, head: Head, threads: int) -> str:
    """In what a head's product differs from llama.cpp's logits behind some tokens: "" if in nothing.

    They are read twice: llama.cpp goes on behind the hidden states once, and is cancelled once. Raises
    NativeError and MemoryError where it cannot be told.
    """
    params = llama.llama_context_default_params()
    params.n_ctx = params.n_batch = params.n_ubatch = _TRIED
    params.n_seq_max = 1
    params.n_threads = params.n_threads_batch = threads
    params.no_perf = True
    params.flash_attn_type = llama.LLAMA_FLASH_ATTN_TYPE_DISABLED
    params.offload_kqv = params.op_offload = False
    params.cb_eval = head.watcher.callback
    context = model.context(params)
    try:
        memory, batch = native.Memory(context), native.Batch(_TRIED)
        read = _spread(model.vocabulary, _TRIED)
        entries = [(token, at, 0, at % 2 == 1) for at, token in enumerate(read)]
        wanted = [at for _, at, _, is_wanted in entries if is_wanted]
        states = []
        for cancels in (False, True):
            memory.clear()
            head.watcher.cancels = cancels
            head.watcher.expect(len(wanted))
            result = llama.llama_decode(context, batch.of(entries))
            states.append(head.watcher.take())
            if result or states[-1] is None:
                raise native.NativeError(
                    head.watcher.fault or f"it does not go on when it is watched (code {result})"
                )
            if not cancels:
                own = [native.logits(context, at, model.vocabulary).copy() for at in wanted]
        if not np.array_equal(*states):
            return "its hidden states are others when it is cancelled"
        pairs: list[tuple[Any, Any]] = []
        for hidden, logits in zip(states[1], own, strict=True):
            likeliest = np.argpartition(logits, -_LIKELIEST)[-_LIKELIEST:]
            tokens = [*_spread(model.vocabulary, _SPREAD), *likeliest.tolist()]
            pairs.append((logits[tokens], head.logits(hidden, tokens)))
        return difference(*(np.stack(side) for side in zip(*pairs, strict=True)))
    finally:
        model.drop(context)


def _spread(vocabulary: int, count: int) -> range:
    """So many tokens from all over a vocabulary."""
    return range(vocabulary // count // 2, vocabulary, max(1, vocabulary // count))[:count]


def difference(own: Any, found: Any) -> str:
    """In what logits, [places, tokens] float32, differ from llama.cpp's own: "" if in nothing but
    rounding, or in what is added to all alike."""
    own, found = (side - side.mean(-1, keepdims=True) for side in (own, found))
    factor = float((own * found).sum() / (found * found).sum())
    most = float(np.abs(own - found).max() / own.std())
    if abs(factor - 1) <= _FACTOR and most <= _MOST:
        return ""
    return (
        f"logits are {factor:.3f} times its product, and up to {most:.3f} of their spread from it"
    )
