"""A context of llama.cpp and the texts that run in it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from operator import itemgetter
from typing import Any

from minisift.decoding.answering import Running
from minisift.decoding.protocols import Prompt
from minisift.engines.llamacpp import cache as states
from minisift.engines.llamacpp import native
from minisift.engines.llamacpp.cells import FILL, PADDING, PREFIX, UNIT, Cells
from minisift.engines.llamacpp.head import Logits, open_head
from minisift.engines.llamacpp.model import Model
from minisift.engines.llamacpp.native import LIBRARIES, llama

_SHORT = 1536
"""Tokens that a CPU's context has at first. It grows when a prompt needs more."""
_BATCH = 1024
"""Tokens in one call of the model, at most."""
_CALL = 48
"""Tokens in one call on a CPU."""
_MULTIPLE = 4
"""Calls on a CPU are of 4, 8, ... tokens: llama.cpp computes those that are left over by another
matrix product, which rounds otherwise, and int8 activations amplify that until near ties fall
otherwise. So, and by the order of cells.py, each text gets the same logits, bit by bit, whatever else
is in the call. What a call lacks are drafted tokens, which cost nothing there, then padding."""


def _multiple() -> int:
    """What the tokens of a call have to be a multiple of on this CPU."""
    compiled = llama.llama_print_system_info()
    # measured: AVX-512 rounds what is left over otherwise, AVX2 only a token alone
    return 2 if b"AVX2 = 1" in compiled and b"AVX512" not in compiled else _MULTIPLE


class Lane:
    """A context of llama.cpp and the texts that run in it, over one prefix.

    What calls llama.cpp has to run in `thread`: llama.cpp keeps threads of its own for each that calls it,
    and calls Python back, where the main thread would lose Ctrl-C.

    context: tokens that prefix and texts may have; texts: how many may run at once.
    """

    def __init__(self, model: Model, context: int, texts: int, threads: int) -> None:
        self.running: dict[int, Text] = {}
        self.thread = ThreadPoolExecutor(1)
        self._stopped = False
        self._outgrown: deque[Text] = deque()
        self._model = model
        self._is_plain = model.is_plain
        self._most = context
        self._texts = texts
        self._call_size, self._multiple = (_BATCH, 1) if self._is_plain else (_CALL, _multiple())
        self._prefix: tuple[int, ...] | None = None
        self._filling: Any = None
        self._fill_size = FILL
        self._batch = native.Batch(_BATCH)
        self._params = params = llama.llama_context_default_params()
        params.n_batch = _BATCH
        params.n_seq_max = Cells.sequences(texts)
        params.n_threads = params.n_threads_batch = threads
        params.kv_unified = True
        params.no_perf = True
        self._head = self.thread.submit(open_head, model, threads).result()
        if self._head:
            params.cb_eval = self._head.watcher.callback
        if not self._is_plain:
            params.n_ubatch = _CALL
            params.flash_attn_type = llama.LLAMA_FLASH_ATTN_TYPE_DISABLED
            params.offload_kqv = params.op_offload = False  # should there be a GPU
        self._handle: Any = None
        self._open(context if self._is_plain else min(context, _SHORT))

    def _open(self, size: int) -> None:
        """Have a context of so many tokens, with nothing in it, in the place of a smaller one."""
        if self._handle:
            self._model.drop(self._handle)
        self._handle = self._prefix = None
        self._size = 0  # should there be no memory for it, the next text tries again
        # with fewer tokens than sequences llama.cpp ends the process
        self._params.n_ctx = max(size + UNIT + _MULTIPLE, self._params.n_seq_max)
        self._handle = self._model.context(self._params)
        self._memory = native.Memory(self._handle)
        self._cells = Cells(self._memory, size, self._texts, self._fill)
        self._size = size

    @property
    def busy(self) -> bool:
        return bool(self.running or self._outgrown)

    def _resume(self) -> bool:
        """Seat texts again that had outgrown their cells; False if one still has to wait."""
        while self._outgrown and self._seat(self._outgrown[0]):
            self._outgrown.popleft()
        return not self._outgrown

    def enter(self, waiting: Text) -> bool:
        """Seat a text, if there is room for it and its prefix is the running ones'."""
        with self._laid_anew_on_error():
            return self._resume() and self._seat(waiting)

    def _seat(self, text: Text) -> bool:
        if text.prefix != self._prefix:
            if self.running:
                return False
            self._reach(text.prefix, Cells.context(len(text.prefix)))
        if self._is_plain:
            promised = sum(s.most for s in self.running.values()) + text.most
            if self.running and len(text.prefix) + promised > self._most:
                return False
        elif text.cells > self._cells.capacity:
            if self.running:
                return False
            self._reach(text.prefix, len(text.prefix) + text.most)
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

    def _reach(self, prefix: tuple[int, ...], size: int) -> None:
        """Have a context of so many tokens, or as many as there may be, and the prefix in it."""
        if self._size < min(size, self._most):
            self._open(min(size, self._most))
        if prefix != self._prefix:
            self._read_prefix(prefix)

    def run(self, threads: int) -> list[Text]:
        """Call the model until texts are done, or `stop`; gives those, whose cells are free for others."""
        with self._laid_anew_on_error():
            while self.busy and not self._stopped:
                self._resume()
                self._step(threads)
                if done := [seat for seat, text in self.running.items() if text.done]:
                    for seat in done:
                        self._cells.leave(seat)
                    return [self.running.pop(seat) for seat in done]
        return []

    @contextmanager
    def _laid_anew_on_error(self) -> Iterator[None]:
        """Have prefix and cells laid out anew by the next text, where what was under way has moved them."""
        try:
            yield
        except BaseException:
            self._prefix = None
            raise

    def _step(self, threads: int) -> None:
        """One call of the model: what is pending of each text, as far as the call goes."""
        llama.llama_set_n_threads(self._handle, threads, threads)
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
        logits: dict[int, list[Any]] = {seat: [] for seat in drafts}
        wanted = [index for index, token in enumerate(call) if token[4]]
        for index, found in zip(wanted, self._logits(wanted), strict=True):
            logits[call[index][3]].append(found)
        for seat, draft in drafts.items():
            text = self.running[seat]
            true = text.choose_along(logits[seat], draft)
            text.position += true
            self._cells.retract(seat, len(draft) - true)

    def _logits(self, wanted: list[int]) -> list[Any]:
        """Those of all tokens of the last call whose logits were wanted."""
        if self._head:
            if (hidden := self._head.watcher.take()) is not None:
                return [Logits(self._head, state) for state in hidden]
            if fault := self._head.watcher.fault:
                self._model.drop_head(fault)
        return [native.logits(self._handle, index, self._model.vocabulary) for index in wanted]

    def stop(self) -> None:
        """Let no further call of the model begin until `clear`. May be called in any thread."""
        self._stopped = True

    def clear(self, failed: bool) -> None:
        """Forget all texts, done or not, and begin anew. failed: something went wrong half-way, so that
        the prefix and all cells are laid out again."""
        self._stopped = False
        if self._head:
            self._head.is_worth_it = True
        if failed:
            self._prefix = None
        self._outgrown.clear()
        while self.running:
            self._cells.leave(self.running.popitem()[0])

    def _read_prefix(self, prefix: tuple[int, ...]) -> None:
        """Have the prefix in its sequence: from the user's cache, or computed and kept there."""
        self._prefix = None
        self._memory.clear()
        shape = [self._model.gpu_layers, self._is_plain, _CALL, native.features()]
        key = states.key([*self._model.files, *LIBRARIES], prefix, shape)
        state = states.load("prefixes", key)
        if state is None or not native.restore(self._handle, PREFIX, state):
            self._memory.clear()
            for at in range(0, len(prefix), _BATCH):
                self._read(prefix[at : at + _BATCH], PREFIX, at)
            state = native.state(self._handle, PREFIX)
            states.save("prefixes", key, state)
        self._fill_size = max(FILL, len(prefix))
        if not self._is_plain:
            self._filling = state if len(prefix) >= FILL else None
            self._cells.lay(len(prefix))
        else:
            self._cells.open(len(prefix))
        self._prefix = prefix

    def _fill(self, sequence: int, count: int | None) -> int:
        if count:
            self._read([0] * count, sequence, 0)
            return count
        if self._filling is None:
            self._read([0] * FILL, sequence, 0)
            self._filling = native.state(self._handle, sequence)
        elif not native.restore(self._handle, sequence, self._filling):
            raise RuntimeError("llama.cpp cannot fill its cache; fix: a larger context")
        return self._fill_size

    def _read(self, tokens: Sequence[int], sequence: int, position: int) -> None:
        self._decode([(t, position + i, sequence, False) for i, t in enumerate(tokens)])

    def _decode(self, entries: list[tuple[int, int, int, bool]]) -> None:
        if self._stopped:
            raise RuntimeError("stopped")  # nobody waits for what it was for
        if self._head:
            is_used = self._model.head and self._head.is_worth_it
            self._head.watcher.expect(sum(entry[3] for entry in entries) if is_used else 0)
        if result := llama.llama_decode(self._handle, self._batch.of(entries)):
            raise RuntimeError(
                f"llama.cpp could not go on (code {result}); fix: shorter texts, or a larger context"
            )


class Text(Running):
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
