"""Constrained completion by llama.cpp, many texts in one batch over one cached prefix."""

from __future__ import annotations

import ctypes
import os
import weakref
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal

import llama_cpp as llama
import numpy as np

from minisift.engines import Completion, Prompt, Running, states
from minisift.engines.backend import start
from minisift.engines.cells import FILL, PADDING, PREFIX, Cells
from minisift.engines.machine import cores
from minisift.prompts import Tokenizer

_CONTEXT = 8192
"""Tokens that all running texts and the prefix may have together, unless the model has less."""
_BATCH = 1024
"""Tokens in one call of the model, at most."""
_CALL = 64
"""Tokens in one call on a CPU."""
_MULTIPLE = 4
"""Calls on a CPU are of 4, 8, ... tokens: llama.cpp computes those that are left over by another
matrix product, which rounds otherwise, and int8 activations amplify that until near ties fall
otherwise. So, and by the order of cells.py, each text gets the same logits, bit by bit, whatever else
is in the call. What a call lacks are drafted tokens, which cost nothing there, then padding."""
_LANES = 2
_SMALL = 1 << 30
"""Bytes of a model's weights below which it runs in lanes."""


def _multiple() -> int:
    """What the tokens of a call have to be a multiple of on this CPU."""
    compiled = llama.llama_print_system_info()
    # measured: AVX-512 rounds what is left over otherwise, AVX2 only a token alone
    return 2 if b"AVX2 = 1" in compiled and b"AVX512" not in compiled else _MULTIPLE


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
    start()
    params = llama.llama_model_default_params()
    params.vocab_only = True
    model = llama.llama_model_load_from_file(os.fsencode(path), params)
    if not model:
        raise ValueError(f"{path}: llama.cpp cannot load it; fix: export or copy it again")
    return _tokenizer(llama.llama_model_get_vocab(model))


def _adapter(model: Any, path: Path) -> Any:
    """A LoRA adapter for a model, freed with it."""
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such file; fix: give the path of an adapter's GGUF file"
        )
    adapter = llama.llama_adapter_lora_init(model, os.fsencode(path))
    if not adapter:
        raise ValueError(
            f"{path}: llama.cpp cannot load it on this model; fix: the GGUF file of the base model "
            "that the adapter was trained on"
        )
    return adapter


class LlamaCppEngine:
    """A GGUF model under llama.cpp. `close` frees it. Raises ValueError, MemoryError.

    Small models run in two lanes on a CPU, each with texts and half of the cores of its own: work
    that is cut among all cores leaves them waiting for each other.

    adapter: a LoRA adapter's GGUF file, computed on top of the model. Models of the same file share
    its memory. context: tokens for the prefix and all texts that run in a lane; None for what the model
    allows, up to 8,192. threads: None for one a physical core. sequences: texts that run at once.
    n_gpu_layers: layers to compute on a GPU; "auto" for all where llama.cpp was built with
    Metal, CUDA or Vulkan, none elsewhere.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        adapter: str | os.PathLike[str] | None = None,
        context: int | None = None,
        threads: int | None = None,
        sequences: int = 32,
        n_gpu_layers: int | Literal["auto"] = "auto",
    ) -> None:
        for name, value in (("context", context), ("threads", threads), ("sequences", sequences)):
            if value is not None and value < 1:
                raise ValueError(f"{name}={value}; fix: 1 or more, or None for the default")
        start()
        self._model: Any = None
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
        self._adapter = _adapter(self._model, Path(adapter)) if adapter else None
        self.files: Sequence[Path] = [self._path, Path(adapter)] if adapter else [self._path]
        vocab = llama.llama_model_get_vocab(self._model)
        self.context = context or min(_CONTEXT, llama.llama_model_n_ctx_train(self._model))
        self._threads = threads or cores()
        self._sequences = sequences
        is_small = not self._gpu_layers and llama.llama_model_size(self._model) < _SMALL
        self._most_lanes = min(_LANES, self._threads, sequences) if is_small else 1
        self._lanes: list[_Lane] = []
        self._steps: dict[Future[None], _Lane] = {}
        self._busy = False
        with ThreadPoolExecutor(1) as pool:
            started = pool.submit(self._add_lane)  # C code, beside which Python runs
            self.tokenizer = _tokenizer(vocab)
            started.result()

    def metadata(self, key: str) -> str | None:
        """A string that the adapter's file holds under a key, or the model's if there is none."""
        name = key.encode()
        reading, held = llama.llama_model_meta_val_str, self._model
        if self._adapter:
            reading, held = llama.llama_adapter_meta_val_str, self._adapter
        length = reading(held, name, None, 0)
        if length < 0:
            return None
        buffer = ctypes.create_string_buffer(length + 1)
        reading(held, name, buffer, len(buffer))
        return buffer.value.decode()

    def close(self) -> None:
        """Free what llama.cpp holds; the engine cannot be used afterwards."""
        wait(self._steps)
        for free in reversed(self._frees):
            free()
        self._model = None

    def _add_lane(self) -> None:
        seats = -(-self._sequences // self._most_lanes)
        lane = _Lane(self._model, self.files, self.context, seats, self._threads, self._gpu_layers)
        if self._adapter:
            adapters = (llama.llama_adapter_lora_p_ctypes * 1)(self._adapter)
            scales = (ctypes.c_float * 1)(1.0)
            if result := llama.llama_set_adapters_lora(lane.handle, adapters, 1, scales):
                raise RuntimeError(f"llama.cpp cannot apply {self.files[-1]} (code {result})")
        self._frees.append(weakref.finalize(self, llama.llama_free, lane.handle))
        self._lanes.append(lane)

    def complete(
        self, prompts: Iterable[Prompt], at_once: int | None = None
    ) -> Iterator[Completion]:
        """Texts enter as soon as others end; their prefill shares batches with decoding."""
        if self._busy:
            raise RuntimeError(
                "this labeler is in the middle of another stream; fix: finish or close it first, "
                "or load the file a second time"
            )
        most = min(at_once or self._sequences, self._sequences)
        count = min(self._most_lanes, most)
        feed = _Feed((_Sequence(p, i, self.context) for i, p in enumerate(prompts)), count)
        finished: dict[int, Completion] = {}
        given = 0
        self._busy = True
        pool = ThreadPoolExecutor(count)
        try:
            while True:
                if not self._model:
                    raise RuntimeError("this labeler is closed; fix: load it again")
                stepping = list(self._steps.values())
                for number in range(count):
                    if number == len(self._lanes) and feed.peek(number):
                        self._add_lane()
                    if number < len(self._lanes) and self._lanes[number] not in stepping:
                        finished.update(feed.fill(self._lanes[number], number, -(-most // count)))
                starting = [lane for lane in self._lanes if lane.busy and lane not in stepping]
                if len(starting) == 1 and not stepping:
                    starting[0].step(self._threads)  # a thread of its own would only cost
                    stepped = starting
                else:
                    share = self._threads // max(1, len(stepping) + len(starting))
                    self._steps.update({pool.submit(lane.step, share): lane for lane in starting})
                    done = wait(self._steps, return_when=FIRST_COMPLETED).done
                    stepped = [self._steps.pop(step) for step in done]
                    for step in done:
                        step.result()
                for lane in stepped:
                    finished.update((s.number, s.completion) for s in lane.ended())
                while given in finished:
                    yield finished.pop(given)
                    given += 1
                if not stepped:
                    return
        finally:
            pool.shutdown()
            self._steps.clear()
            self._busy = False
            for lane in self._lanes if self._model else ():
                lane.clear()


class _Feed:
    """Texts dealt to the lanes in turn, so that no lane's work depends on another's pace."""

    def __init__(self, source: Iterator[_Sequence], lanes: int) -> None:
        self._source = source
        self._dealt: list[deque[_Sequence]] = [deque() for _ in range(lanes)]

    def peek(self, lane: int) -> _Sequence | None:
        """The next text of a lane."""
        while not self._dealt[lane] and (text := next(self._source, None)):
            self._dealt[text.number % len(self._dealt)].append(text)
        return self._dealt[lane][0] if self._dealt[lane] else None

    def fill(self, lane: _Lane, number: int, most: int) -> dict[int, Completion]:
        """Let a lane's next texts run in it, and give those that have but one answer."""
        finished = {}
        lane.resume()
        while len(lane.running) < most and (text := self.peek(number)):
            if text.done:  # no words
                finished[text.number] = text.completion
            elif not lane.enter(text):
                break
            self._dealt[number].popleft()
        return finished


class _Lane:
    """A context of llama.cpp and the texts that run in it, over one prefix."""

    def __init__(
        self,
        model: Any,
        files: Sequence[Path],
        context: int,
        texts: int,
        threads: int,
        gpu_layers: int,
    ) -> None:
        self.running: dict[int, _Sequence] = {}
        self._outgrown: deque[_Sequence] = deque()
        self._files = files
        self._gpu_layers = gpu_layers
        self._context = context
        self._call_size, self._multiple = (_BATCH, 1) if gpu_layers else (_CALL, _multiple())
        self._prefix: tuple[int, ...] | None = None
        self._filling: Any = None
        self._batch = _Batch(_BATCH)
        self._vocabulary = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(model))
        params = llama.llama_context_default_params()
        params.n_ctx = context + _MULTIPLE
        params.n_batch = _BATCH
        params.n_seq_max = Cells.sequences(texts)
        params.n_threads = params.n_threads_batch = threads
        params.kv_unified = True
        params.no_perf = True
        if not gpu_layers:
            params.n_ubatch = _CALL
            params.flash_attn_type = llama.LLAMA_FLASH_ATTN_TYPE_DISABLED
        self.handle = llama.llama_init_from_model(model, params)
        if not self.handle:
            raise MemoryError(
                f"llama.cpp cannot make a context of {context} tokens; fix: a smaller context"
            )
        self._memory = llama.llama_get_memory(self.handle)
        self._cells = Cells(self._memory, context, texts, self._fill)

    @property
    def busy(self) -> bool:
        return bool(self.running or self._outgrown)

    def resume(self) -> bool:
        """Seat texts again that had outgrown their cells; False if one still has to wait."""
        while self._outgrown and self._seat(self._outgrown[0]):
            self._outgrown.popleft()
        return not self._outgrown

    def enter(self, waiting: _Sequence) -> bool:
        """Seat a text, if there is room for it and its prefix is the running ones'."""
        return self.resume() and self._seat(waiting)

    def _seat(self, text: _Sequence) -> bool:
        if text.prefix != self._prefix:
            if self.running:
                return False
            self._read_prefix(text.prefix)
        if self._gpu_layers:
            promised = sum(s.most for s in self.running.values()) + text.most
            if self.running and len(text.prefix) + promised > self._context:
                return False
        elif text.cells > self._cells.capacity:
            if self.running:
                return False
            self._cells.open(len(text.prefix))  # for this one alone
        elif self._cells.is_open:
            if self.running:
                return False
            self._cells.lay(len(text.prefix))
        while (seat := self._cells.enter(text.cells)) is None:
            if not self._cells.grow():
                return False
        self.running[seat] = text
        return True

    def step(self, threads: int) -> None:
        """One call of the model: what is pending of each text, as far as the call goes."""
        llama.llama_set_n_threads(self.handle, threads, threads)
        call: list[tuple[int, int, int, int, bool]] = []  # cells, and what _decode takes
        drafts: dict[int, list[int]] = {}
        for seat, text in list(self.running.items()):
            count = min(self._call_size - len(call), len(text.pending))
            if (cells := self._cells.extend(seat, count)) is None:
                self._cells.leave(seat)
                del self.running[seat]
                text.restart()
                self._outgrown.append(text)
            elif count:
                tokens, at = text.take(count)
                is_whole = not text.pending
                call += (
                    (cells[i], tokens[i], at + i, seat, is_whole and i == count - 1)
                    for i in range(count)
                )
                if is_whole:
                    drafts[seat] = []
        if not call:
            return
        spare = -len(call) % self._multiple
        for seat in drafts:
            text = self.running[seat]
            draft = text.draft(spare)
            if draft and (cells := self._cells.extend(seat, len(draft))):
                call += (
                    (cells[i], token, text.position + i, seat, True)
                    for i, token in enumerate(draft)
                )
                drafts[seat] = draft
                spare -= len(draft)
        call += ((cell, 0, at, PADDING, False) for cell, at in self._cells.pad(spare))
        call.sort(key=itemgetter(0))
        self._decode([token[1:] for token in call])
        wanted: dict[int, list[int]] = {seat: [] for seat in drafts}
        for index, (_, _, _, seat, wants_logits) in enumerate(call):
            if wants_logits:
                wanted[seat].append(index)
        for seat, draft in drafts.items():
            text = self.running[seat]
            true = text.choose_along(map(self._logits, wanted[seat]), draft)
            text.position += true
            self._cells.retract(seat, len(draft) - true)

    def _logits(self, index: int) -> Any:
        """Those of a token of the last call."""
        pointer = llama.llama_get_logits_ith(self.handle, index)
        return np.ctypeslib.as_array(pointer, (self._vocabulary,))

    def ended(self) -> list[_Sequence]:
        """Texts that are done, whose cells are free for others."""
        done = [seat for seat, text in self.running.items() if text.done]
        for seat in done:
            self._cells.leave(seat)
        return [self.running.pop(seat) for seat in done]

    def clear(self) -> None:
        """Forget all texts, done or not."""
        for seat in self.running:
            self._cells.leave(seat)
        self.running.clear()
        self._outgrown.clear()

    def _state(self, seat: int) -> Any:
        size = llama.llama_state_seq_get_size(self.handle, seat)
        state = (ctypes.c_uint8 * size)()
        llama.llama_state_seq_get_data(self.handle, state, size, seat)
        return state

    def _restore(self, state: Any, seat: int) -> bool:
        found = llama.llama_state_seq_set_data(self.handle, state, len(state), seat)
        return bool(found == len(state))

    def _read_prefix(self, prefix: tuple[int, ...]) -> None:
        """Have the prefix in its sequence: from the user's cache, or computed and kept there."""
        self._prefix = None
        llama.llama_memory_clear(self._memory, False)
        key = states.key(self._files, prefix, [llama.__version__, self._gpu_layers, _CALL])
        kept = states.load(key)
        state = (ctypes.c_uint8 * len(kept)).from_buffer(kept) if kept else None
        if state is None or not self._restore(state, PREFIX):
            llama.llama_memory_clear(self._memory, False)
            for at in range(0, len(prefix), _BATCH):
                self._read(prefix[at : at + _BATCH], PREFIX, at)
            state = self._state(PREFIX)
            states.save(key, memoryview(state).cast("B"))
        self._prefix = prefix
        if not self._gpu_layers:
            self._filling = state if len(prefix) >= FILL else None
            self._cells.lay(len(prefix))
        else:
            self._cells.open(len(prefix))

    def _fill(self, sequence: int) -> int:
        if self._filling is None:
            self._read([0] * FILL, sequence, 0)
            self._filling = self._state(sequence)
        elif not self._restore(self._filling, sequence):
            raise RuntimeError("llama.cpp cannot fill its cache; fix: a larger context")
        return max(FILL, len(self._prefix or ()))

    def _read(self, tokens: Sequence[int], sequence: int, position: int) -> None:
        self._decode([(t, position + i, sequence, False) for i, t in enumerate(tokens)])

    def _decode(self, entries: list[tuple[int, int, int, bool]]) -> None:
        if result := llama.llama_decode(self.handle, self._batch.of(entries)):
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
        size = len(prompt.prefix) + len(prompt.ids)
        if size >= context:
            raise ValueError(
                f"a prompt of {size} tokens does not fit a context of {context}; fix: cut the text, "
                "or on_long='window'"
            )
        super().__init__(prompt, context)
        self.number = number
        self._ids = prompt.ids
        self.prefix = prompt.prefix
        self.position = len(prompt.prefix)
        self.most = len(prompt.ids) + prompt.language.longest_answer()
        self.cells = min(self.most, len(prompt.ids) * 5 // 4 + 4)
        """How many it is given to begin with. When it needs more and there are none, it begins again
        with twice as many."""

    def take(self, count: int) -> tuple[list[int], int]:
        """The next pending tokens for the model to read, and their position; moves past them."""
        tokens, self.pending = self.pending[:count], self.pending[count:]
        self.position += count
        return tokens, self.position - count

    def restart(self) -> None:
        """Have everything read again, the answer so far included, into more cells."""
        self.pending = [*self._ids, *self.completion.tokens]
        self.position = len(self.prefix)
        self.cells = min(self.most, 2 * self.cells)
