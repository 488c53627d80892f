"""Constrained completion by llama.cpp, many texts in one batch over one cached prefix."""

from __future__ import annotations

import os
import weakref
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from minisift.decoding.protocols import Completion, Prompt
from minisift.engines.llamacpp.cells import Cells
from minisift.engines.llamacpp.machine import cores
from minisift.engines.llamacpp.model import Model, load_pieces
from minisift.engines.llamacpp.native import is_wanted, llama

if TYPE_CHECKING:
    from minisift.engines.llamacpp.lane import Lane, Text

_CONTEXT = 8192
"""Tokens that all running texts and the prefix may have together, unless the model has less."""
_LANES = 2
_SMALL = 1 << 30
"""Bytes of a model's weights below which it runs in lanes."""


class LlamaCppEngine:
    """A GGUF model under llama.cpp. `close` frees it. Raises ValueError; `complete` MemoryError, where
    there is none for a context.

    Small models run in two lanes on a CPU, each with texts and half of the cores of its own: work
    that is cut among all cores leaves them waiting for each other.

    adapter: a LoRA adapter's GGUF file, computed on top of the model. Models of the same file share
    its memory. context: tokens for the prefix and all texts that run in a lane; None for what the model
    allows, up to 8,192. threads: None for one a physical core. sequences: texts that run at once.
    n_gpu_layers: layers to compute on a GPU; "auto" for all where llama.cpp was built with
    Metal, CUDA or Vulkan, none elsewhere. native: "off" for the way that layers on a GPU take, here as
    well: one lane, in which llama.cpp runs by its own defaults and multiplies the whole output head. Slower;
    nothing is used but what llama-cpp-python declares. So does MINISIFT_NATIVE=off in the environment.
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
        native: Literal["auto", "off"] = "auto",
    ) -> None:
        for name, value in (("context", context), ("threads", threads), ("sequences", sequences)):
            if value is not None and value < 1:
                raise ValueError(f"{name}={value}; fix: 1 or more, or None for the default")
        is_native = is_wanted(native)
        self._model: Model | None = None
        with ThreadPoolExecutor(1) as pool:  # C code, beside which Python runs
            loading = pool.submit(
                Model, Path(path), Path(adapter) if adapter else None, n_gpu_layers, is_native
            )
            pieces = load_pieces(Path(path)) if is_native else None
            self._model = model = loading.result()
        self._lanes: list[Lane] = []
        # not when the collector gets round to it
        self._close = weakref.finalize(self, _close, self._lanes, model)
        self.files = model.files
        self.context = context or min(_CONTEXT, model.longest_input)
        self._threads = threads or cores()
        self._sequences = sequences
        is_small = not model.is_plain and model.size < _SMALL
        self._most_lanes = min(_LANES, self._threads, sequences) if is_small else 1
        self._texts = -(-sequences // self._most_lanes)
        most = llama.llama_max_parallel_sequences() - Cells.sequences(0)
        if self._texts > most:
            raise ValueError(
                f"sequences={sequences}; fix: {most * self._most_lanes} or fewer for this model"
            )
        pool = ThreadPoolExecutor(1)
        self._first = pool.submit(self._lane)  # is waited for where it is needed
        pool.shutdown(wait=False)
        self.tokenizer = model.tokenizer(pieces)
        self._runs: dict[Future[list[Text]], Lane] = {}
        self._busy = self._failed = False

    def metadata(self, key: str) -> str | None:
        """A string that the adapter's file holds under a key, or the model's if there is none."""
        return self._opened().metadata(key)

    def close(self) -> None:
        """Free what llama.cpp holds; the engine cannot be used afterwards."""
        wait([self._first])
        self._close()
        self._model = None

    def _opened(self) -> Model:
        """The model, unless it is closed."""
        if not self._model:
            raise RuntimeError("this labeler is closed; fix: load it again")
        return self._model

    def _lane(self) -> Lane:
        from minisift.engines.llamacpp.lane import Lane

        return Lane(self._opened(), self.context, self._texts, self._threads)

    def complete(
        self, prompts: Iterable[Prompt], at_once: int | None = None
    ) -> Iterator[Completion]:
        """Texts enter as soon as others end; their prefill shares batches with decoding."""
        from minisift.engines.llamacpp.lane import Text

        self._opened()
        if self._busy:
            raise RuntimeError(
                "this labeler is in the middle of another stream; fix: finish or close it first, "
                "or load the file a second time"
            )
        most = min(at_once or self._sequences, self._sequences)
        count = min(self._most_lanes, most)
        feed = _Feed((Text(p, i, self.context) for i, p in enumerate(prompts)), count)
        if not self._lanes:
            self._lanes.append(self._first.result())
        for lane in self._lanes:  # an earlier stream may have been left
            lane.thread.submit(lane.clear, self._failed).result()
        finished: dict[int, Completion] = {}
        given = 0
        self._busy, self._failed = True, False
        try:
            while True:
                running = list(self._runs.values())
                for number in range(count):
                    if number == len(self._lanes) and feed.peek(number):
                        self._lanes.append(self._lane())
                    if number < len(self._lanes) and self._lanes[number] not in running:
                        finished.update(feed.fill(self._lanes[number], number, -(-most // count)))
                starting = [lane for lane in self._lanes if lane.busy and lane not in running]
                share = self._threads // max(1, len(running) + len(starting))
                self._runs |= {lane.thread.submit(lane.run, share): lane for lane in starting}
                done = wait(self._runs, return_when=FIRST_COMPLETED).done
                for run in done:
                    del self._runs[run]
                    finished.update((text.number, text.completion) for text in run.result())
                while given in finished:
                    yield finished.pop(given)
                    given += 1
                    self._opened()
                if not done:
                    return
        except (Exception, KeyboardInterrupt):
            self._failed = True
            raise
        finally:
            self._busy = False
            self._runs.clear()
            for lane in self._lanes:
                lane.stop()  # not waited for: this may be the collector's doing, in its thread


def _close(lanes: list[Lane], model: Model) -> None:
    """Free a model, once no thread of its lanes is in it."""
    for lane in lanes:
        lane.stop()
        lane.thread.shutdown()
    lanes.clear()
    model.free()


class _Feed:
    """Texts dealt to the lanes in turn, so that no lane's work depends on another's pace."""

    def __init__(self, source: Iterator[Text], lanes: int) -> None:
        self._source = source
        self._dealt: list[deque[Text]] = [deque() for _ in range(lanes)]

    def peek(self, lane: int) -> Text | None:
        """The next text of a lane."""
        while not self._dealt[lane] and (text := next(self._source, None)):
            self._dealt[text.number % len(self._dealt)].append(text)
        return self._dealt[lane][0] if self._dealt[lane] else None

    def fill(self, lane: Lane, number: int, most: int) -> dict[int, Completion]:
        """Let a lane's next texts run in it, and give those that have but one answer."""
        finished = {}
        while len(lane.running) < most and (text := self.peek(number)):
            if text.done:  # no words
                finished[text.number] = text.completion
            elif not lane.thread.submit(lane.enter, text).result():
                break
            self._dealt[number].popleft()
        return finished
