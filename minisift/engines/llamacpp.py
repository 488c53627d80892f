"""Constrained completion by llama.cpp, many texts in one batch over one cached prefix."""

from __future__ import annotations

import ctypes
import logging
import os
import weakref
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, Literal

import llama_cpp as llama
import numpy as np

from minisift.engines import Completion, Prompt, Running, states
from minisift.engines.machine import cores
from minisift.prompts import Tokenizer

logger = logging.getLogger(__name__)

_CONTEXT = 8192
"""Tokens that all running texts and the prefix may have together, unless the model has less."""
_BATCH = 1024
"""Tokens in one call of the model, at most."""
_EXACT = 60
"""Tokens in one call on a CPU. llama.cpp computes 64 tokens and more by another attention kernel,
and tokens that are left over from a multiple of 4 by another matrix product: both round
otherwise, which int8 activations amplify until near ties fall otherwise. Calls of 4, 8, ..., 60
tokens give each text the same logits, bit by bit, whatever else is in the call."""
_MULTIPLE = 4
_DEAD = 256
"""Cells of ended texts that are kept before running texts move together."""
_PREFIX = 0
"""The sequence that holds the prefix; texts run in the ones after it, two more hold what is dead."""


@cache
def quiet() -> Any:
    """Send llama.cpp's log to this module's logger; the callback has to stay referenced."""

    @llama.llama_log_callback
    def log(level: int, text: bytes, _: Any) -> None:
        logger.debug(text.decode(errors="replace").rstrip())

    llama.llama_log_set(log, ctypes.c_void_p(0))
    llama.llama_backend_init()
    return log


def _tokenizer(vocab: Any) -> Tokenizer:
    """A GGUF model's tokenizer as the renderer wants it."""
    size = 1024
    buffer = ctypes.create_string_buffer(size)
    to_piece = llama.llama_token_to_piece

    def piece(token: int) -> bytes:
        # nothing for control, unknown and unused tokens
        length = to_piece(vocab, token, buffer, size, 0, False)
        return ctypes.string_at(buffer, length) if length > 0 else b""

    def tokenize(text: str, control: bool) -> list[int]:
        raw = text.encode()
        size = len(raw) + 8
        tokens = (llama.llama_token * size)()
        count = llama.llama_tokenize(vocab, raw, len(raw), tokens, size, False, control)
        if count < 0:
            raise ValueError(f"llama.cpp cannot tokenize {text[:60]!r}")
        return list(tokens[:count])

    pieces = [piece(token) for token in range(llama.llama_vocab_n_tokens(vocab))]
    bos = llama.llama_vocab_bos(vocab) if llama.llama_vocab_get_add_bos(vocab) else None
    return Tokenizer(tokenize, pieces, bos)


def load_tokenizer(path: str | os.PathLike[str]) -> Tokenizer:
    """The tokenizer of a GGUF file alone, for the life of the process."""
    quiet()
    params = llama.llama_model_default_params()
    params.vocab_only = True
    model = llama.llama_model_load_from_file(os.fsencode(path), params)
    if not model:
        raise ValueError(f"{path}: llama.cpp cannot load it; fix: export or copy it again")
    return _tokenizer(llama.llama_model_get_vocab(model))


class LlamaCppEngine:
    """A GGUF model under llama.cpp. `close` frees it. Raises ValueError, MemoryError.

    context: tokens for the prefix and all running texts; None for what the model allows, up to
    8,192. threads: None for one a physical core. sequences: texts that run at once.
    n_gpu_layers: layers to compute on a GPU; "auto" for all where llama.cpp was built with
    Metal, CUDA or Vulkan, none elsewhere.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        context: int | None = None,
        threads: int | None = None,
        sequences: int = 32,
        n_gpu_layers: int | Literal["auto"] = "auto",
    ) -> None:
        for name, value in (("context", context), ("threads", threads), ("sequences", sequences)):
            if value is not None and value < 1:
                raise ValueError(f"{name}={value}; fix: 1 or more, or None for the default")
        quiet()
        self._handle: Any = None
        self._memory: Any = None
        self._batch: Any = None
        self._path = Path(path)
        if not self._path.is_file():
            raise FileNotFoundError(f"{path}: no such file; fix: give the path of a GGUF file")
        params = llama.llama_model_default_params()
        has_gpu = llama.llama_supports_gpu_offload()
        params.n_gpu_layers = (999 if has_gpu else 0) if n_gpu_layers == "auto" else n_gpu_layers
        self._gpu_layers = params.n_gpu_layers
        self._model = llama.llama_model_load_from_file(os.fsencode(path), params)
        if not self._model:
            raise ValueError(f"{path}: llama.cpp cannot load it; fix: export or copy it again")
        # run by close, at the latest when the engine is garbage; the latest goes first
        self._frees = [weakref.finalize(self, llama.llama_model_free, self._model)]
        vocab = llama.llama_model_get_vocab(self._model)
        self._vocabulary = llama.llama_vocab_n_tokens(vocab)
        self.context = context or min(_CONTEXT, llama.llama_model_n_ctx_train(self._model))
        self._threads = threads or cores()
        self._sequences = sequences
        self._step_size, self._multiple = (_BATCH, 1) if self._gpu_layers else (_EXACT, _MULTIPLE)
        self._padding, self._grave = sequences + 1, sequences + 2
        self._padded = 0
        self._dead = 0
        self._busy = False
        self._prefix: tuple[int, ...] | None = None
        with ThreadPoolExecutor(1) as pool:
            started = pool.submit(self._start)  # C code, beside which Python runs
            self.tokenizer = _tokenizer(vocab)
            started.result()

    def metadata(self, key: str) -> str | None:
        """A string that the file holds under a key."""
        name = key.encode()
        length = llama.llama_model_meta_val_str(self._model, name, None, 0)
        if length < 0:
            return None
        buffer = ctypes.create_string_buffer(length + 1)
        llama.llama_model_meta_val_str(self._model, name, buffer, len(buffer))
        return buffer.value.decode()

    def close(self) -> None:
        """Free what llama.cpp holds; the engine cannot be used afterwards."""
        for free in reversed(self._frees):
            free()
        self._handle = self._model = None

    def _start(self) -> None:
        params = llama.llama_context_default_params()
        params.n_ctx = self.context
        params.n_batch = _BATCH
        params.n_seq_max = self._sequences + 3
        params.n_threads = params.n_threads_batch = self._threads
        params.kv_unified = True
        params.no_perf = True
        self._handle = llama.llama_init_from_model(self._model, params)
        if not self._handle:
            raise MemoryError(
                f"llama.cpp cannot make a context of {self.context} tokens; fix: a smaller context"
            )
        self._frees.append(weakref.finalize(self, llama.llama_free, self._handle))
        self._memory = llama.llama_get_memory(self._handle)
        self._batch = _Batch(_BATCH)

    def complete(
        self, prompts: Iterable[Prompt], at_once: int | None = None
    ) -> Iterator[Completion]:
        """Texts enter as soon as others end; their prefill shares batches with decoding."""
        if not self._model:
            raise RuntimeError("this labeler is closed; fix: load it again")
        if self._busy:
            raise RuntimeError(
                "this labeler is in the middle of another stream; fix: finish or close it first, "
                "or load the file a second time"
            )
        waiting: _Sequence | None = None
        source = enumerate(prompts)
        running: dict[int, _Sequence] = {}
        free = list(range(min(at_once or self._sequences, self._sequences), _PREFIX, -1))
        finished: dict[int, Completion] = {}
        given = 0
        self._busy = True
        try:
            while True:
                while free and (waiting := waiting or self._next(source)):
                    if waiting.done:  # a text without words has but one answer
                        finished[waiting.number], waiting = waiting.completion, None
                        continue
                    if not self._enter(waiting, running, free[-1]):
                        break
                    running[free.pop()], waiting = waiting, None
                if running:
                    self._step(running)
                for seat in [seat for seat, sequence in running.items() if sequence.done]:
                    finished[running[seat].number] = running[seat].completion
                    self._bury(seat, running.pop(seat))
                    free.append(seat)
                while given in finished:
                    yield finished.pop(given)
                    given += 1
                if not running and not waiting:
                    return
        finally:
            self._busy = False
            if self._handle:
                self._compact({})

    def _next(self, source: Iterator[tuple[int, Prompt]]) -> _Sequence | None:
        number, prompt = next(source, (0, None))
        if prompt is None:
            return None
        if len(prompt.prefix) + len(prompt.ids) >= self.context:
            raise ValueError(
                f"a prompt of {len(prompt.prefix) + len(prompt.ids)} tokens does not fit a context "
                f"of {self.context}; fix: cut the text, or on_long='window'"
            )
        return _Sequence(prompt, number, self.context)

    def _enter(self, waiting: _Sequence, running: dict[int, _Sequence], seat: int) -> bool:
        """Seat a text that waits, if there is room for it and its prefix is the running ones'."""
        if waiting.prefix != self._prefix:
            if running:
                return False
            self._read_prefix(waiting.prefix)
        promised = sum(s.cells for s in running.values()) + waiting.cells + self._multiple
        if running and len(waiting.prefix) + promised > self.context:
            return False
        llama.llama_memory_seq_cp(self._memory, _PREFIX, seat, -1, -1)
        return True

    def _bury(self, seat: int, sequence: _Sequence) -> None:
        """Empty a seat, but keep its cells from being used again until all move together."""
        begin = len(sequence.prefix)
        llama.llama_memory_seq_cp(self._memory, seat, self._grave, begin, -1)
        llama.llama_memory_seq_rm(self._memory, seat, -1, -1)
        self._dead += sequence.position - begin

    def _compact(self, running: dict[int, _Sequence]) -> None:
        """Free the cells of ended texts, and move those of running ones together.

        Attention sums in the order of cells, so a text's cells have to lie in its own order
        always: one that is freed in between would be given to a running text.
        """
        own = {}
        for seat, sequence in running.items():
            if sequence.position > len(sequence.prefix):
                llama.llama_memory_seq_rm(self._memory, seat, 0, len(sequence.prefix))
                own[seat] = self._state(seat)
        for seat in range(_PREFIX + 1, self._grave + 1):
            llama.llama_memory_seq_rm(self._memory, seat, -1, -1)
        for seat in running:
            if seat in own and not self._restore(own[seat], seat):
                raise RuntimeError("llama.cpp lost a running text; fix: a larger context")
            llama.llama_memory_seq_cp(self._memory, _PREFIX, seat, -1, -1)
        self._dead = self._padded = 0

    def _state(self, seat: int) -> Any:
        size = llama.llama_state_seq_get_size(self._handle, seat)
        state = (ctypes.c_uint8 * size)()
        llama.llama_state_seq_get_data(self._handle, state, size, seat)
        return state

    def _restore(self, state: Any, seat: int) -> bool:
        found = llama.llama_state_seq_set_data(self._handle, state, len(state), seat)
        return bool(found == len(state))

    def _read_prefix(self, prefix: tuple[int, ...]) -> None:
        """Have the prefix in its sequence: from the user's cache, or computed and kept there."""
        self._prefix = None
        llama.llama_memory_clear(self._memory, True)
        self._dead = self._padded = 0
        key = states.key(self._path, prefix, [llama.__version__, self._gpu_layers])
        kept = states.load(key)
        if not kept or not self._restore((ctypes.c_uint8 * len(kept)).from_buffer(kept), _PREFIX):
            llama.llama_memory_clear(self._memory, True)
            for at in range(0, len(prefix), _BATCH):
                part = prefix[at : at + _BATCH]
                self._decode([(token, at + i, _PREFIX, False) for i, token in enumerate(part)])
            states.save(key, memoryview(self._state(_PREFIX)).cast("B"))
        self._prefix = prefix

    def _step(self, running: dict[int, _Sequence]) -> None:
        """One call of the model: what is pending of each text, as far as the batch goes."""
        read = sum(s.position - len(s.prefix) for s in running.values())
        used = len(self._prefix or ()) + read + self._dead
        if self._dead > _DEAD or used + self._step_size > self.context:
            self._compact(running)
        batch: list[tuple[int, int, int, bool]] = []
        chosen_at = []
        for seat, sequence in running.items():
            tokens = sequence.take(self._step_size - len(batch))
            complete = not sequence.pending and bool(tokens)
            for index, token in enumerate(tokens):
                wants_logits = complete and index == len(tokens) - 1
                batch.append((token, sequence.position - len(tokens) + index, seat, wants_logits))
            if complete:
                chosen_at.append((sequence, len(batch) - 1))
        while len(batch) % self._multiple:
            batch.append((0, self._padded, self._padding, False))
            self._padded += 1
            self._dead += 1
        self._decode(batch)
        for sequence, index in chosen_at:
            pointer = llama.llama_get_logits_ith(self._handle, index)
            sequence.choose(np.ctypeslib.as_array(pointer, (self._vocabulary,)))

    def _decode(self, entries: list[tuple[int, int, int, bool]]) -> None:
        if result := llama.llama_decode(self._handle, self._batch.of(entries)):
            self._prefix = None
            raise RuntimeError(
                f"llama.cpp could not go on (code {result}); fix: shorter texts, or a larger context"
            )


class _Batch:
    """llama.cpp's batch over arrays that are filled at once; each token in one sequence."""

    def __init__(self, size: int) -> None:
        self._arrays = [np.zeros(size, dtype) for dtype in (np.int32, np.int32, np.int32, np.int8)]
        token, position, seat, wants_logits = (array.ctypes.data for array in self._arrays)
        self._counts = np.ones(size, np.int32)
        self._seats = seat + np.arange(size, dtype=np.uintp) * np.uintp(4)
        self._struct = llama.llama_batch(
            0,
            ctypes.cast(token, ctypes.POINTER(llama.llama_token)),
            None,
            ctypes.cast(position, ctypes.POINTER(llama.llama_pos)),
            ctypes.cast(self._counts.ctypes.data, ctypes.POINTER(ctypes.c_int32)),
            ctypes.cast(
                self._seats.ctypes.data, ctypes.POINTER(ctypes.POINTER(llama.llama_seq_id))
            ),
            ctypes.cast(wants_logits, ctypes.POINTER(ctypes.c_int8)),
        )

    def of(self, entries: list[tuple[int, int, int, bool]]) -> Any:
        """(token, position, sequence, whether its logits are wanted), in order."""
        for array, values in zip(self._arrays, zip(*entries, strict=True), strict=True):
            array[: len(values)] = values
        self._struct.n_tokens = len(entries)
        return self._struct


class _Sequence(Running):
    """A running text, with its place in the order and in the context."""

    def __init__(self, prompt: Prompt, number: int, context: int) -> None:
        super().__init__(prompt, context)
        self.number = number
        self.prefix = prompt.prefix
        self.position = len(prompt.prefix)
        self.cells = len(prompt.ids) + prompt.language.longest_answer()

    def take(self, limit: int) -> list[int]:
        """The next pending tokens for the model to read; moves `position` past them."""
        tokens, self.pending = self.pending[:limit], self.pending[limit:]
        self.position += len(tokens)
        return tokens
