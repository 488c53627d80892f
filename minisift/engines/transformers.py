"""Constrained completion by transformers, in batches over one cached prefix."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import DynamicCache

from minisift.decoding.answering import Running
from minisift.decoding.protocols import Completion, Prompt
from minisift.models.logits import hidden_states, logits
from minisift.prompting.tokenizer import Tokenizer

_CONTEXT = 8192
_DRAFTED = 4
"""Tokens of each text that are read before they are chosen, at most: reading a few more costs little
beside what a step costs anyway, and most come true."""


class TransformersEngine:
    """A causal LM of transformers with its tokenizer.

    model: gives the model, when it is needed. longest: tokens that it takes. batch_size: texts
    that run at once. many: where more tokens than that may come next, the whole output head is multiplied.
    """

    def __init__(
        self,
        model: Callable[[], Any],
        tokenizer: Tokenizer,
        longest: int | None,
        *,
        batch_size: int = 16,
        many: int = 4096,
    ) -> None:
        self._get_model = model
        self._many = many
        self.files: Sequence[Path] = ()
        self.tokenizer = tokenizer
        self.context = min(_CONTEXT, longest or _CONTEXT)
        self._batch_size = batch_size
        self._prefix: tuple[int, ...] | None = None
        self._layers: list[tuple[Any, Any]] = []

    def metadata(self, key: str) -> None:
        """None: there is no GGUF file to ask."""

    def close(self) -> None:
        """Drop what was computed. The model is whoever's gives it."""
        self.forget()

    def forget(self) -> None:
        """Drop what was computed with weights that have changed since."""
        self._prefix = None
        self._layers = []

    @property
    def model(self) -> Any:
        return self._get_model()

    def complete(
        self, prompts: Iterable[Prompt], at_once: int | None = None
    ) -> Iterator[Completion]:
        size = at_once or self._batch_size
        for prefix, group in itertools.groupby(prompts, key=lambda prompt: prompt.prefix):
            while batch := list(itertools.islice(group, size)):
                with torch.no_grad():  # weights that come from other processes serve training again
                    yield from self._complete(prefix, batch)

    def _complete(self, prefix: tuple[int, ...], prompts: Sequence[Prompt]) -> list[Completion]:
        self._read_prefix(prefix)
        rows = [Running(prompt, self.context) for prompt in prompts]
        # a text without words has but one answer
        alive = [row for row in rows if not row.done]
        cache = DynamicCache()
        for index, (keys, values) in enumerate(self._layers):
            shape = (len(alive), -1, -1, -1)
            cache.update(keys.expand(shape), values.expand(shape), index)
        # positions of what is in the cache, a row each; -1 marks padding
        positions = torch.arange(len(prefix)).expand(len(alive), -1)
        while alive:
            drafts = [row.draft(_DRAFTED) for row in alive]
            pending = [row.pending + draft for row, draft in zip(alive, drafts, strict=True)]
            wanted = 1 + max(map(len, drafts))
            states, positions = self._step(cache, positions, pending)
            step = _Step(self.model, states[:, -wanted:], self._many)
            for index, (row, draft) in enumerate(zip(alive, drafts, strict=True)):
                row.pending = []
                true = row.choose_along(step.places(index)[wanted - 1 - len(draft) :], draft)
                # what did not come true is as padding to what follows
                positions[index, positions.shape[1] - (len(draft) - true) :] = -1
            left = [index for index, row in enumerate(alive) if not row.done]
            if len(left) < len(alive):
                alive = [alive[index] for index in left]
                cache.batch_select_indices(
                    torch.tensor(left, device=self.model.device, dtype=torch.long)
                )
                positions = positions[left]
        return [row.completion for row in rows]

    def _read_prefix(self, prefix: tuple[int, ...]) -> None:
        if prefix == self._prefix:
            return
        cache: Any = DynamicCache()
        self._step(cache, torch.zeros((1, 0), dtype=torch.long), [list(prefix)])
        self._layers = [(layer.keys, layer.values) for layer in cache.layers]
        self._prefix = prefix

    def _step(
        self,
        cache: DynamicCache,
        positions: torch.Tensor,
        pending: Sequence[Sequence[int]],
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Let the model read each row's pending tokens, padded at the left.

        Returns their hidden states, [rows, tokens, size], and the positions in the cache afterwards.
        """
        longest = max(len(tokens) for tokens in pending)
        ids = torch.zeros((len(pending), longest), dtype=torch.long)
        new = torch.full((len(pending), longest), -1)
        for row, tokens in enumerate(pending):
            first = int(positions[row].max()) + 1 if positions.shape[1] else 0
            ids[row, longest - len(tokens) :] = torch.tensor(tokens)
            new[row, longest - len(tokens) :] = torch.arange(first, first + len(tokens))
        positions = torch.cat([positions, new], dim=1)
        device = self.model.device
        states = hidden_states(
            self.model,
            input_ids=ids.to(device),
            position_ids=new.clamp(min=0).to(device),
            attention_mask=self._masks(new, positions),
            past_key_values=cache,
            use_cache=True,
        )
        return states, positions

    def _masks(self, queries: torch.Tensor, keys: torch.Tensor) -> Any:
        """Additive masks from positions, [rows, 1, queries, keys], for each kind of layer.

        Rows of different lengths leave gaps of padding in the cache: by positions, a sliding
        window counts tokens, not cache slots.
        """
        # padding attends to the first token, since a row of nothing would be not a number
        distance = queries.clamp(min=0)[:, :, None] - keys[:, None, :]
        visible = (keys >= 0)[:, None, :] & (distance >= 0)
        config = self.model.config.get_text_config()
        window = getattr(config, "sliding_window", None)
        kinds = getattr(config, "layer_types", None)

        def additive(allowed: torch.Tensor) -> torch.Tensor:
            lowest = torch.finfo(self.model.dtype).min
            mask = torch.zeros(allowed.shape, dtype=self.model.dtype)
            return mask.masked_fill_(~allowed, lowest)[:, None].to(self.model.device)

        windowed = visible & (distance < window) if window else visible
        if not kinds:
            return additive(windowed)
        return {
            kind: additive(windowed if kind == "sliding_attention" else visible)
            for kind in set(kinds)
        }


class _Step:
    """What a step gave, [rows, places, size], and its logits as far as they are asked for.

    On a CPU the output head is multiplied for the tokens that may come next alone, some dozens of up to 262,144;
    on a GPU for all of them at once, since there what costs time is to ask.
    """

    def __init__(self, model: Any, states: torch.Tensor, many: int) -> None:
        self._model = model
        self._states = states
        self._many = many
        self._all: Any = None
        if states.device.type != "cpu":
            self.compute_all()

    def compute_all(self) -> None:
        """Multiply the whole head, for all places at once."""
        rows, places, size = self._states.shape
        found = logits(self._model, self._states.reshape(-1, size)).float().cpu().numpy()
        self._all = found.reshape(rows, places, -1)

    def places(self, row: int) -> list[_Place]:
        return [_Place(self, row, place) for place in range(self._states.shape[1])]

    def logits(self, row: int, place: int, tokens: Sequence[int]) -> Any:
        """Logits of tokens, [tokens] float32."""
        if self._all is None and len(tokens) > self._many:
            self.compute_all()
        if self._all is not None:
            return self._all[row, place][tokens]
        state = self._states[row, place][None]
        return logits(self._model, state, torch.tensor(tokens))[0].float().numpy()


@dataclass(frozen=True)
class _Place:
    """The logits of one place, by index."""

    step: _Step
    row: int
    place: int

    def __getitem__(self, tokens: Any) -> Any:
        return self.step.logits(self.row, self.place, tokens)
