"""Completing constrained prompts: one module an engine, all with the same `complete`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from minisift.grammar import Answer, Language
from minisift.prompts import Tokenizer


@dataclass(frozen=True)
class Prompt:
    """What an engine completes: token ids and the language of the answer.

    Consecutive prompts of an equal `prefix` share its computation.
    """

    prefix: tuple[int, ...]
    ids: list[int]
    language: Language


@dataclass
class Completion:
    """An answer's tokens, with the log-probability of each among those allowed there."""

    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    cut: bool = False
    """Whether the context was full before the answer ended: its last lines are missing."""


class Engine(Protocol):
    tokenizer: Tokenizer
    context: int
    """Tokens that a prompt and its answer may have."""

    def complete(self, prompts: Iterable[Prompt]) -> Iterator[Completion]:
        """Greedy answers in the order of the prompts, which are taken lazily."""


class Running:
    """A prompt under way: its answer so far and the tokens that the model has yet to read.

    context: tokens that prompt and answer may have; an answer that would need more ends after
    its last whole line.
    """

    def __init__(self, prompt: Prompt, context: int) -> None:
        self.completion = Completion()
        self.pending = list(prompt.ids)
        self._answer = Answer(prompt.language)
        self._end = prompt.language.vocabulary.end
        self._room = context - len(prompt.prefix) - len(prompt.ids)
        self._whole_lines = 0
        self._write(self._answer.forced(), 0.0)

    @property
    def done(self) -> bool:
        return self._answer.done or self.completion.cut

    def _write(self, tokens: Sequence[int], logprob: float) -> None:
        self.completion.tokens += tokens
        self.completion.logprobs += [logprob] * len(tokens)
        self.pending += tokens
        if self._answer.at_line:
            self._whole_lines = len(self.completion.tokens)

    def choose(self, logits: Any) -> None:
        """Write the best allowed token and what it forces. logits: [vocabulary] array.

        Only the allowed tokens' logits are touched.
        """
        allowed = self._answer.allowed()
        values = np.asarray(logits[allowed], dtype=np.float64)
        best = int(values.argmax())
        logprob = -math.log(np.exp(values - values[best]).sum())
        self._answer.advance(allowed[best])
        self._write([allowed[best]], logprob)
        self._write(self._answer.forced(), 0.0)
        if not self.done and len(self.completion.tokens) > self._room:
            kept = self._whole_lines
            self.completion.tokens[kept:] = self._end
            self.completion.logprobs[kept:] = [0.0] * len(self._end)
            self.completion.cut = True
