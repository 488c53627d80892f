"""Demonstrations and a target text to token ids and, for a strategy, the loss mask.

The one renderer: training, both engines and exports call it. A prompt is a sequence of
segments that are tokenized apart, so that no token spans two of them and masks are exact::

    head | " " text | turn | response | joint | " " text | turn | response | ...

and a response is, line by line, the words, the name and the closing (response.py), then the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from minisift.data import Example, shorten
from minisift.response import END, LEAD, lines, render, target_of
from minisift.task import Task

Strategy = Literal["vanilla", "src", "mrc"]
_LOW_LINE = "\u2581"
STRATEGIES: tuple[Strategy, ...] = ("vanilla", "src", "mrc")


class Tokenizer:
    """A tokenizer as the renderer wants it: one segment at a time, byte for byte.

    tokenize: (text, whether control tokens are parsed) -> ids, nothing added.
    pieces: the bytes of each token id; empty for control tokens, which text never contains.
    bos: the token that the model expects at the head of any input, or None.
    """

    def __init__(
        self, tokenize: Callable[[str, bool], list[int]], pieces: Sequence[bytes], bos: int | None
    ) -> None:
        self._tokenize = tokenize
        self.pieces = pieces
        self.bos = bos
        # SentencePiece: some put a space before any input, all take U+2581 for a space
        self.adds_space = self.decode(tokenize("a", False)) == b" a"
        self.low_line: list[int] = []
        if self.decode(tokenize(_LOW_LINE, False)) != _LOW_LINE.encode():
            by_byte = {piece: i for i, piece in enumerate(pieces) if len(piece) == 1}
            wanted = [bytes([byte]) for byte in _LOW_LINE.encode()]
            self.low_line = [by_byte[byte] for byte in wanted if byte in by_byte]

    def encode(self, text: str, *, control: bool = False) -> list[int]:
        """Ids of one segment; control tokens are parsed only if `control`."""
        if self.low_line and _LOW_LINE in text:
            first, *rest = (self.encode(part, control=control) for part in text.split(_LOW_LINE))
            return first + [token for ids in rest for token in self.low_line + ids]
        if not self.adds_space or not text:
            return self._tokenize(text, control) if text else []
        # give it something else than the segment to put its space before
        return self._tokenize("\n" + text, control)[len(self._tokenize("\n", control)) :]

    def decode(self, ids: Sequence[int]) -> bytes:
        return b"".join(self.pieces[token] for token in ids)


@dataclass(frozen=True)
class Template:
    """The fixed segments of a prompt; `control` tells whether they may hold control tokens."""

    head: str
    """Before the first text; holds the instruction."""
    turn: str
    """Between a text and its response."""
    joint: str
    """Between a response and the next text."""
    control: bool = False


def plain_template(instruction: str = "") -> Template:
    """Texts headed by ``Text:``, nothing else; for base and instruct models alike."""
    return Template(f"{instruction}\n\nText:" if instruction else "Text:", "\n", "Text:")


@dataclass(frozen=True)
class Row:
    """A training prompt: token ids, and for each whether the loss counts it."""

    ids: list[int]
    mask: list[bool]


@dataclass(frozen=True)
class Renderer:
    """Renders prompts of one task, template and tokenizer."""

    task: Task
    template: Template
    tokenizer: Tokenizer

    def _fixed(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, control=self.template.control)

    def text(self, example: Example) -> list[int]:
        """A text and what stands between it and its response."""
        folded = target_of(example).text
        return self.tokenizer.encode(LEAD + folded) + self._fixed(self.template.turn)

    def response(self, example: Example) -> list[int]:
        """The response of the example's gold spans, its end included."""
        ids = []
        for line in lines(example, self.task.names):
            for part in line:
                ids += self.tokenizer.encode(part)
        return ids + self.tokenizer.encode(END)

    def prefix(self, demonstrations: Sequence[Example]) -> list[int]:
        """All that precedes the target's text: the part that is shared between texts."""
        ids = [] if self.tokenizer.bos is None else [self.tokenizer.bos]
        ids += self._fixed(self.template.head)
        for example in demonstrations:
            ids += self.text(example) + self.response(example) + self._fixed(self.template.joint)
        return ids

    def prefix_text(self, demonstrations: Sequence[Example]) -> str:
        """The same as text, for runtimes that take no token ids and may cut it otherwise."""
        parts = [self.template.head]
        for example in demonstrations:
            shown = LEAD + target_of(example).text
            parts += [shown, self.template.turn, render(example, self.task.names)]
            parts.append(self.template.joint)
        return "".join(parts)

    def prompt(self, demonstrations: Sequence[Example], target: Example) -> list[int]:
        """The ids that a model continues with the target's response."""
        return self.prefix(demonstrations) + self.text(target)

    def row(self, demonstrations: Sequence[Example], target: Example, strategy: Strategy) -> Row:
        """The training row: `prompt` and the target's response, with the strategy's mask.

        "mrc" counts every response token, "src" those of the target, "vanilla" all tokens.
        """
        if strategy not in STRATEGIES:
            raise ValueError(f"strategy={strategy!r}; fix: one of {', '.join(STRATEGIES)}")
        ids: list[int] = []
        mask: list[bool] = []
        for segment, is_response, is_target in self._segments(demonstrations, target):
            counts = strategy == "vanilla" or (is_response and (is_target or strategy == "mrc"))
            ids += segment
            mask += [counts] * len(segment)
        return Row(ids, mask)

    def fitting(
        self, demonstrations: Sequence[Example], target: Example, limit: int, reserve: int = 0
    ) -> list[Example]:
        """The first demonstrations that leave a prompt of `limit` tokens room for the target.

        `reserve` tokens are kept for the response. Demonstrations are dropped whole. Raises
        ValueError if the target does not even fit alone.
        """
        room = limit - reserve - len(self.prompt((), target))
        if room < 0:
            raise ValueError(
                f"text {shorten(target.text)} takes {limit - reserve - room} tokens and "
                f"{reserve} for its answer, more than {limit}; fix: cut the text"
            )
        kept = []
        for example in demonstrations:
            if (length := self.length(example)) <= room:
                room -= length
                kept.append(example)
        return kept

    def _segments(
        self, demonstrations: Sequence[Example], target: Example
    ) -> Iterator[tuple[list[int], bool, bool]]:
        yield self.prefix(()), False, False
        for example in demonstrations:
            yield self.text(example), False, False
            yield self.response(example), True, False
            yield self._fixed(self.template.joint), False, False
        yield self.text(target), False, True
        yield self.response(target), True, True

    def length(self, example: Example) -> int:
        """Tokens that an example takes as a demonstration."""
        joint = self._fixed(self.template.joint)
        return len(self.text(example)) + len(self.response(example)) + len(joint)
