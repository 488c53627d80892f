"""Demonstrations and a target text to token ids and, for a strategy, the loss mask.

The one renderer: training, both engines and exports call it. A prompt is a sequence of
segments that are tokenized apart, so that no token spans two of them and masks are exact::

    head | " " text | turn | response | joint | " " text | turn | response | ...

and a response is, line by line, the words, the name and the closing (response.py), then the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from minisift.data.examples import Example, shorten
from minisift.prompting.response import END, LEAD, Target, lines, render, target_of
from minisift.prompting.task import Task
from minisift.prompting.template import Template
from minisift.prompting.tokenizer import Tokenizer

Strategy = Literal["vanilla", "src", "mrc"]
STRATEGIES: tuple[Strategy, ...] = ("vanilla", "src", "mrc")
_FREE = 4
"""Tokens of which one is compared with the whole vocabulary."""


@dataclass(frozen=True)
class Row:
    """A training prompt: token ids, and for each whether the loss counts it.

    choices: of each token that the loss counts, in order, the ids that it is compared with; None instead of
    them, and of the whole, is all.
    """

    ids: list[int]
    mask: list[bool]
    choices: list[Sequence[int] | None] | None = None


@dataclass(frozen=True)
class RenderedExample:
    """A labelled example as token ids, made once: a demonstration, or what training aims at.

    text: its text and what stands between it and the response. response: that of its gold spans,
    the end included. choices: for each token of the response those that the grammar allows in its place,
    None where it does not allow the token itself, if a loss is to choose among these.
    """

    target: Target
    text: list[int]
    response: list[int]
    choices: Sequence[Sequence[int] | None] | None = None

    @property
    def example(self) -> Example:
        return self.target.example

    @property
    def key(self) -> str:
        """What tells examples of the same text: the text as the prompt shows it."""
        return self.target.text


@dataclass(frozen=True)
class Renderer:
    """Renders prompts of one task, template and tokenizer."""

    task: Task
    template: Template
    tokenizer: Tokenizer

    def _fixed(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, control=self.template.control)

    @cached_property
    def _head(self) -> list[int]:
        bos = [] if self.tokenizer.bos is None else [self.tokenizer.bos]
        return bos + self._fixed(self.template.head)

    @cached_property
    def turn(self) -> list[int]:
        """What stands between a text and its response."""
        return self._fixed(self.template.turn)

    @cached_property
    def _joint(self) -> list[int]:
        return self._fixed(self.template.joint)

    @cached_property
    def _end(self) -> list[int]:
        return self.tokenizer.encode(END)

    def shown(self, text: str) -> list[int]:
        """The ids of a folded text alone."""
        return self.tokenizer.encode(LEAD + text)

    def text(self, target: Target) -> list[int]:
        """A text and what stands between it and its response."""
        return self.shown(target.text) + self.turn

    def response(self, target: Target) -> list[int]:
        """The response of the gold spans, its end included."""
        ids = []
        for line in lines(target, self.task.names):
            for part in line:
                ids += self.tokenizer.encode(part)
        return ids + self._end

    def render(self, example: Example) -> RenderedExample:
        """A labelled example with all of its ids."""
        target = target_of(example)
        return RenderedExample(target, self.text(target), self.response(target))

    def prefix(self, demonstrations: Sequence[RenderedExample]) -> list[int]:
        """All that precedes the target's text: the part that is shared between texts."""
        ids = list(self._head)
        for shown in demonstrations:
            ids += shown.text + shown.response + self._joint
        return ids

    def prefix_text(self, demonstrations: Sequence[RenderedExample]) -> str:
        """The same as text, for runtimes that take no token ids and may cut it otherwise."""
        parts = [self.template.head]
        for shown in demonstrations:
            response = render(shown.target, self.task.names)
            parts += [LEAD + shown.key, self.template.turn, response, self.template.joint]
        return "".join(parts)

    def row(
        self, demonstrations: Sequence[RenderedExample], target: RenderedExample, strategy: Strategy
    ) -> Row:
        """A training row: the prompt and the target's response, with the strategy's mask.

        "mrc" counts every response token, "src" those of the target, "vanilla" all tokens. Of an example
        with `choices` those count that are one of several, and each fourth token of the row, which is
        compared with the whole vocabulary: a model must prefer what the grammar allows by itself as well,
        since the grammars of other runtimes allow more.
        """
        row = Row([], [], None if target.choices is None or strategy == "vanilla" else [])
        for segment, response, is_target in self._segments(demonstrations, target):
            counts = strategy == "vanilla" or (
                response is not None and (is_target or strategy == "mrc")
            )
            row.ids.extend(segment)
            if row.choices is None or response is None or not counts:
                row.mask.extend([counts] * len(segment))
            else:
                assert response.choices is not None
                for among in response.choices:
                    is_free = among is None or len(row.mask) % _FREE == 0
                    row.mask.append(is_free or len(among or ()) > 1)
                    if row.mask[-1]:
                        row.choices.append(None if is_free else among)
        return row

    def _segments(
        self, demonstrations: Sequence[RenderedExample], target: RenderedExample
    ) -> Iterator[tuple[list[int], RenderedExample | None, bool]]:
        """Ids, the example whose response they are, and whether they are the target's."""
        yield self._head, None, False
        for shown in demonstrations:
            yield shown.text, None, False
            yield shown.response, shown, False
            yield self._joint, None, False
        yield target.text, None, True
        yield target.response, target, True

    def fitting(
        self,
        demonstrations: Sequence[RenderedExample],
        text: str,
        ids: Sequence[int],
        limit: int,
        reserve: int = 0,
    ) -> list[RenderedExample]:
        """The first demonstrations that leave a prompt of `limit` tokens room for a text.

        ids: those of the text, its turn included; `reserve` tokens are kept for the response.
        Demonstrations are dropped whole. Raises ValueError if the text does not even fit alone.
        """
        length = len(self._head) + len(ids)
        room = limit - reserve - length
        if room < 0:
            raise ValueError(
                f"text {shorten(text)} takes {length} tokens and {reserve} for its answer, more than "
                f"{limit}; fix: cut the text"
            )
        return self.within(demonstrations, room)

    def within(self, demonstrations: Sequence[RenderedExample], room: int) -> list[RenderedExample]:
        """The first demonstrations that so many tokens hold; such as find no room are passed over."""
        kept = []
        for shown in demonstrations:
            if (taken := self.length(shown)) <= room:
                room -= taken
                kept.append(shown)
        return kept

    def length(self, shown: RenderedExample) -> int:
        """Tokens that an example takes as a demonstration."""
        return len(shown.text) + len(shown.response) + len(self._joint)
