"""A labeler that may say anything: what the grammar is worth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from minisift.data.examples import Example, Span
from minisift.data.reading import some_examples
from minisift.decoding.grammar import Vocabulary
from minisift.decoding.protocols import Prompt
from minisift.exceptions import ResponseError
from minisift.labeler import Labeler
from minisift.prompting.demonstrations import without
from minisift.prompting.response import END, Target, parse, target_of
from minisift.scoring.evaluation import Report, score

_SPARE = 16
"""Tokens that an answer may have beside four for each of its text's."""


@dataclass(frozen=True)
class Anything:
    """The language of all answers, in the place of `grammar.Language`."""

    vocabulary: Vocabulary
    longest: int

    @property
    def end(self) -> Sequence[int]:
        return self.vocabulary.end

    def longest_answer(self) -> int:
        return self.longest

    def answer(self) -> Any:
        return _Answer(self)


class _Answer:
    """An answer in the making: it ends with an empty line, a control token, or when it is long."""

    def __init__(self, language: Anything) -> None:
        self._pieces = language.vocabulary.pieces
        self._left = language.longest
        self._text = b""
        self.done = False

    @property
    def at_line(self) -> bool:
        return self._text[-1:] in (b"", b"\n")

    def allowed(self) -> Sequence[int]:
        return range(len(self._pieces))

    def advance(self, token: int) -> None:
        piece = self._pieces[token]
        self._text += piece
        self._left -= 1
        empty_line = self._text == b"\n" or self._text.endswith(b"\n\n")
        self.done = empty_line or not piece or not self._left

    def forced(self) -> list[int]:
        return []

    def guess(self, count: int) -> list[int]:
        return []


class Unconstrained:
    """A labeler whose model answers freely. Lines that are no valid ones are dropped.

    counts: of the last call, answers, those that are not valid as they are, and lines dropped.
    """

    def __init__(self, labeler: Labeler) -> None:
        self._labeler = labeler
        self._vocabulary = Vocabulary(labeler.engine.tokenizer, labeler.description.task.names)
        self.counts: Counter[str] = Counter()

    def predict(self, texts: Iterable[str | Example]) -> list[list[Span]]:
        """The spans of each text, in text order; without scores."""
        self.counts = Counter()
        engine = self._labeler.engine
        given = (Example(text) if isinstance(text, str) else text for text in texts)
        targets = [target_of(example) for example in given]
        found = []
        for target, completion in zip(
            targets, engine.complete(map(self._prompt, targets)), strict=True
        ):
            answer = b"".join(engine.tokenizer.pieces[token] for token in completion.tokens)
            found.append(self._parse(answer.decode(errors="replace"), target))
        return found

    def evaluate(self, examples: Any) -> Report:
        """Span precision, recall and F1, as `Labeler.evaluate`."""
        examples = some_examples(examples)
        spans = self.predict(examples)
        return score(examples, spans, self.counts)

    def _prompt(self, target: Target) -> Prompt:
        renderer, context = self._labeler.renderer, self._labeler.engine.context
        ids = renderer.text(target)
        longest = 4 * len(ids) + _SPARE
        allowed = without(self._labeler.demonstrations, target.text)
        shown = renderer.fitting(allowed, target.text, ids, context, longest)
        return Prompt(tuple(renderer.prefix(shown)), ids, Anything(self._vocabulary, longest))

    def _parse(self, answer: str, target: Target) -> list[Span]:
        """The spans of the lines that are valid after those before them."""
        self.counts["answers"] += 1
        names = self._labeler.description.task.labels_by_name
        try:
            return parse(answer, target, names)
        except ResponseError:
            self.counts["invalid answers"] += 1
        kept, spans = "", []
        for line in _lines(answer):
            try:
                spans = parse(f"{kept}{line}\n{END}", target, names)
            except ResponseError:
                self.counts["lines dropped"] += 1
            else:
                kept += f"{line}\n"
        return spans


def _lines(answer: str) -> Iterator[str]:
    return (line for line in answer.split("\n") if line)
