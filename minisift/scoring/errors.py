"""What went wrong in labelling: kinds of errors, confusion between labels, examples."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from minisift.data.examples import Example, Span

KINDS = ("type", "boundary", "boundary and type", "missed", "spurious")
"""The right range with another label; another range that overlaps, with the label or another; no
predicted span at all; no gold span at all."""
_NONE = "-"


@dataclass(frozen=True)
class Mistake:
    """A gold span that was not predicted, a predicted one that is not gold, or both of a pair."""

    kind: str
    text: str
    gold: Span | None
    predicted: Span | None

    def __str__(self) -> str:
        wanted = f"{self.gold.label} {self.gold.text!r}" if self.gold else "nothing"
        found = f"{self.predicted.label} {self.predicted.text!r}" if self.predicted else "nothing"
        return f"{wanted}, found {found}: {self._context()}"

    def _context(self, around: int = 30) -> str:
        spans = [span for span in (self.gold, self.predicted) if span]
        start = max(0, min(span.start for span in spans) - around)
        end = max(span.end for span in spans) + around
        cut = " ".join(self.text[start:end].split())
        return f"{'…' * (start > 0)}{cut}{'…' * (end < len(self.text))}"


@dataclass(frozen=True)
class Errors:
    """All mistakes in some labelled texts.

    confusion: how often a gold label met a predicted one, right ones included; "-" stands for no
    span there.
    """

    mistakes: tuple[Mistake, ...]
    confusion: Counter[tuple[str, str]]

    @property
    def counts(self) -> dict[str, int]:
        """Mistakes of each kind."""
        found = Counter(mistake.kind for mistake in self.mistakes)
        return {kind: found[kind] for kind in KINDS}

    def examples(self, kind: str, most: int = 3, seed: int = 0) -> list[Mistake]:
        """Some mistakes of a kind, drawn at random. Raises ValueError for an unknown kind."""
        if kind not in KINDS:
            raise ValueError(f"kind={kind!r}; fix: one of {', '.join(KINDS)}")
        found = [mistake for mistake in self.mistakes if mistake.kind == kind]
        return random.Random(seed).sample(found, min(most, len(found)))

    def surest(self, most: int = 5) -> list[Mistake]:
        """The mistakes whose predicted spans have the highest scores, the surest first.

        Of sentences that the labeler has not learned from these are often mistakes of the annotation: a span
        that was forgotten, or has another label elsewhere. (A span that should not be there has no score: nothing
        was predicted.)
        """
        found = [mistake for mistake in self.mistakes if mistake.predicted]
        return sorted(found, key=_score, reverse=True)[:most]

    def table(self) -> list[list[str]]:
        """The confusion, a row a gold label, a column a predicted one, with headings."""
        labels = sorted({label for pair in self.confusion for label in pair} - {_NONE})
        heads = [*labels, _NONE]
        rows = [[gold, *(str(self.confusion[gold, found]) for found in heads)] for gold in heads]
        return [["gold \\ found", *heads], *rows]

    def to_dict(self, most: int = 3) -> dict[str, Any]:
        """Counts, the confusion, some examples and the surest mistakes as JSON values."""
        return {
            "counts": self.counts,
            "confusion": self.table(),
            "examples": {kind: [str(m) for m in self.examples(kind, most)] for kind in KINDS},
            "surest": [str(mistake) for mistake in self.surest(most)],
        }

    def __str__(self) -> str:
        lines = []
        for kind, count in self.counts.items():
            lines.append(f"{kind:18}{count:6}")
            lines += [f"    {mistake}" for mistake in self.examples(kind)]
        if surest := self.surest():
            lines.append("the surest, which may be mistakes of the annotation:")
            lines += [f"    {_score(mistake):.2f}  {mistake}" for mistake in surest]
        table = self.table()
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines.append("")
        for head, *cells in table:
            shown = (f"{cell:>{width}}" for cell, width in zip(cells, widths[1:], strict=True))
            lines.append(f"{head:{widths[0]}}  {'  '.join(shown)}")
        return "\n".join(lines)


def _score(mistake: Mistake) -> float:
    return mistake.predicted.score if mistake.predicted else 0.0


def compare(pairs: Iterable[tuple[Example, Sequence[Span]]]) -> Errors:
    """The mistakes of predicted spans against the examples' own.

    A gold and a predicted span make a pair, each at most once: equal ones first, then those of the same
    range, then those that overlap most.
    """
    mistakes: list[Mistake] = []
    confusion: Counter[tuple[str, str]] = Counter()
    for example, found in pairs:
        for gold, predicted in _pair(example.spans, found):
            labels = (gold.label if gold else _NONE, predicted.label if predicted else _NONE)
            confusion[labels] += 1
            if gold != predicted:
                mistakes.append(Mistake(_kind(gold, predicted), example.text, gold, predicted))
    return Errors(tuple(mistakes), confusion)


def _pair(
    gold: Sequence[Span], found: Sequence[Span]
) -> list[tuple[Span, Span] | tuple[Span, None] | tuple[None, Span]]:
    def closeness(pair: tuple[Span, Span]) -> tuple[bool, bool, int]:
        a, b = pair
        return (
            a == b,
            (a.start, a.end) == (b.start, b.end),
            min(a.end, b.end) - max(a.start, b.start),
        )

    near = [(a, b) for a in gold for b in found if a.start < b.end and b.start < a.end]
    pairs: list[Any] = []
    rest, left = set(gold), set(found)
    for a, b in sorted(near, key=closeness, reverse=True):
        if a in rest and b in left:
            rest.remove(a)
            left.remove(b)
            pairs.append((a, b))
    return [*pairs, *((a, None) for a in sorted(rest)), *((None, b) for b in sorted(left))]


def _kind(gold: Span | None, predicted: Span | None) -> str:
    if gold is None:
        return "spurious"
    if predicted is None:
        return "missed"
    if (gold.start, gold.end) == (predicted.start, predicted.end):
        return "type"
    return "boundary" if gold.label == predicted.label else "boundary and type"
