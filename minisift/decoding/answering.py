"""A prompt under way: its answer so far, and what the model has yet to read."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from minisift.decoding.protocols import Completion, Prompt


class Running:
    """A prompt under way: its answer so far and the tokens that the model has yet to read.

    context: tokens that prompt and answer may have; an answer that would need more ends after
    its last whole line.
    """

    def __init__(self, prompt: Prompt, context: int) -> None:
        self.completion = Completion()
        self.pending = list(prompt.ids)
        self._answer = prompt.language.answer()
        self._end = prompt.language.end
        self._end_bias = prompt.end_bias
        self._room = context - len(prompt.prefix) - len(prompt.ids)
        self._whole_lines = 0
        self._write(self._answer.forced())

    @property
    def done(self) -> bool:
        return self._answer.done or self.completion.cut

    def _write(self, tokens: Sequence[int], choice: Any = None) -> None:
        self.completion.tokens += tokens
        self.completion.choices += [choice] * len(tokens)
        self.pending += tokens
        if self._answer.at_line:
            self._whole_lines = len(self.completion.tokens)

    def draft(self, count: int) -> list[int]:
        """At most so many tokens that may come next, for the model to read before they are chosen."""
        left = self._room - len(self.completion.tokens)
        return self._answer.guess(min(count, left))

    def choose_along(self, logits: Sequence[Any], draft: Sequence[int]) -> int:
        """`choose`, and again as long as what is chosen is what was drafted.

        logits: those of the last pending token, then of the drafted ones. Returns how many tokens of
        the draft came true: they are not pending.
        """
        true = 0
        while True:
            self.choose(logits[true])
            same = itertools.takewhile(
                lambda pair: pair[0] == pair[1], zip(self.pending, draft[true:], strict=False)
            )
            count = len(list(same))
            del self.pending[:count]
            true += count
            if self.pending or self.done:
                return true

    def choose(self, logits: Any) -> None:
        """Write the best allowed token and what it forces. logits: [vocabulary] array, or what gives
        the logits of tokens when it is indexed by them.

        Only the allowed tokens' logits are asked for.
        """
        allowed = self._answer.allowed()
        values = logits[allowed]
        best = int(self._weighed(allowed, values).argmax())
        self._answer.advance(allowed[best])
        self._write([allowed[best]], values - values[best])
        self._write(self._answer.forced())
        if not self.done and len(self.completion.tokens) > self._room:
            kept = self._whole_lines
            self.completion.tokens[kept:] = self._end
            self.completion.choices[kept:] = [None] * len(self._end)
            self.completion.cut = True

    def _weighed(self, allowed: Sequence[int], logits: Any) -> Any:
        """The logits by which is chosen: where a line may begin, that of the end less the bias."""
        end = self._end[0] if self._end_bias and self._answer.at_line else None
        if end not in allowed:
            return logits
        weighed = logits.copy()
        weighed[allowed.index(end)] -= self._end_bias
        return weighed
