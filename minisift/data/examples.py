"""Labelled text: `Span`, `Example`, and lists of them with what reading had to change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from minisift.data.text import split_words
from minisift.exceptions import DataError

OnError = Literal["error", "skip"]
OnMisaligned = Literal["error", "snap", "skip"]


@dataclass(frozen=True, order=True)
class Span:
    """A labelled range of a text, in characters: ``text == given[start:end]``."""

    start: int
    end: int
    label: str
    text: str = field(default="", compare=False)
    score: float = field(default=1.0, compare=False)
    """Probability of the span under the constrained model; 1.0 for gold spans."""


@dataclass(frozen=True)
class Example:
    """A text, its gold spans in text order, and the words that spans begin and end at.

    `words` defaults to `split_words(text)`. Raises DataError for spans that overlap or do not begin
    and end at words; `align` mends such spans.
    """

    text: str
    spans: tuple[Span, ...] = ()
    words: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        words = tuple((a, b) for a, b in self.words) or tuple(split_words(self.text))
        cursor = 0
        for start, end in words:
            word = self.text[start:end]
            if not cursor <= start < end <= len(self.text) or word != word.strip():
                raise DataError(
                    f"word ({start}, {end}) {word!r} is empty, overlaps the one before, leaves the "
                    "text or has white space at an end; fix: give words as ascending (start, end)"
                )
            cursor = end
        spans = tuple(
            Span(s.start, s.end, s.label, self.text[s.start : s.end], s.score)
            for s in sorted(self.spans)
        )
        problem = next(_problems(spans, words), None)
        if problem:
            raise DataError(
                f"{problem[1]} in {shorten(self.text)}; fix: correct the offsets, or read the data "
                'with on_misaligned="snap" or "skip"'
            )
        object.__setattr__(self, "words", words)
        object.__setattr__(self, "spans", spans)

    @classmethod
    def from_words(cls, words: Sequence[str], spans: Iterable[tuple[int, int, str]]) -> Example:
        """From a tokenized sentence: the text is the words with a space between them.

        spans: (first word, word after the last, label).
        """
        ranges, at = [], 0
        for word in words:
            ranges.append((at, at + len(word)))
            at += len(word) + 1
        return cls(
            " ".join(words),
            tuple(Span(ranges[first][0], ranges[end - 1][1], label) for first, end, label in spans),
            tuple(ranges),
        )

    def _repr_html_(self) -> str:
        from minisift.data.html import snippet

        return snippet(self.text, self.spans)

    def word_spans(self) -> list[tuple[int, int, str]]:
        """The spans as (first word, word after the last, label)."""
        first = {start: index for index, (start, _) in enumerate(self.words)}
        end = {end: index + 1 for index, (_, end) in enumerate(self.words)}
        return [(first[span.start], end[span.end], span.label) for span in self.spans]

    def span_of(self, first: int, end: int, label: str, score: float = 1.0) -> Span:
        """The span of the words from `first` to before `end`."""
        start, stop = self.words[first][0], self.words[end - 1][1]
        return Span(start, stop, label, self.text[start:stop], score)


def shorten(text: str, limit: int = 60) -> str:
    """`text` quoted for a message, cut with an ellipsis."""
    return repr(text if len(text) <= limit else text[: limit - 1] + "…")


def _problems(
    spans: Sequence[Span], words: Sequence[tuple[int, int]]
) -> Iterator[tuple[Span, str]]:
    """The spans that cannot stay as they are, each with what is wrong with it."""
    starts, ends = {a for a, _ in words}, {b for _, b in words}
    last: Span | None = None
    for span in spans:
        shown = f"span ({span.start}, {span.end}, {span.label!r}) {shorten(span.text, 30)}"
        if span.start not in starts or span.end not in ends or span.start >= span.end:
            yield span, f"{shown} does not begin and end at word borders"
        elif not span.label.strip():
            yield span, f"{shown} has a blank label"
        elif span == last:
            yield span, f"{shown} is listed twice"
        elif last and span.start < last.end:
            yield span, f"{shown} overlaps ({last.start}, {last.end}, {last.label!r})"
        else:
            last = span


def align(
    text: str,
    spans: Iterable[Span],
    words: Sequence[tuple[int, int]] = (),
    on_misaligned: OnMisaligned = "error",
) -> tuple[Example, Counter[str]]:
    """An Example from spans that may overlap or cut words, and a count of what was changed.

    "error" raises DataError; "snap" grows a span to the words that it touches and, of spans
    that still overlap, keeps the longest (then the leftmost); "skip" drops what does not fit,
    likewise keeping the longest of overlapping spans.
    """
    words = tuple(words) or tuple(split_words(text))
    spans = sorted(spans)
    counts: Counter[str] = Counter()
    if on_misaligned != "error":
        starts, ends = {a for a, _ in words}, {b for _, b in words}
        fitting = []
        for span in spans:
            if span.start in starts and span.end in ends and span.start < span.end:
                fitting.append(span)
                continue
            touched = [(a, b) for a, b in words if a < span.end and b > span.start]
            if on_misaligned == "snap" and touched:
                fitting.append(Span(touched[0][0], touched[-1][1], span.label))
                counts["spans snapped to words"] += 1
            else:
                counts["misaligned spans dropped"] += 1
        spans = []
        for span in sorted(fitting, key=lambda s: (s.start - s.end, s.start)):
            if all(span.end <= kept.start or span.start >= kept.end for kept in spans):
                spans.append(span)
            else:
                counts["overlapping spans dropped"] += 1
    return Example(text, tuple(spans), words), counts


class Examples(list[Example]):
    """A list of examples that knows what reading left out or changed (`counts`) and where (`notes`)."""

    def __init__(
        self, examples: Iterable[Example], counts: Counter[str], notes: Sequence[str]
    ) -> None:
        super().__init__(examples)
        self.counts = counts
        self.notes = list(notes)

    def summary(self) -> str:
        """The counts and the first note on one line; empty if there are none."""
        counted = ", ".join(f"{count} {what}" for what, count in self.counts.items())
        first = self.notes[0] if self.notes else ""
        return f"{counted} (first: {first})" if counted else first
