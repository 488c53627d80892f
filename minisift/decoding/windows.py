"""Long texts in windows of the length that a model was trained on, and their spans stitched.

A model that learned from sentences finds little in a page: it ends its answer early. So a long
text is cut after its lines and sentences, and only a sentence that is itself too long is cut
between words, into windows that overlap.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from minisift.data.examples import Example, Span
from minisift.prompting.response import Target

_WIDE_STOPS = frozenset("。！？")
_STOP = re.compile(r"[.!?…][\"'”’»)\]]*$")
# titles, initials and the like: "Dr.", "Mrs.", "U.S.", "J."
_SHORT = re.compile(r"(?:^|[\s(\"'“])(?:[A-Z][a-z]{0,2}|(?:\w\.)+\w?)\.$")
_LOOK_BACK = 12
"""Characters that tell whether a sentence ends."""


_SHORTEST = 48
"""Tokens that a text may have at least before it is labelled in windows."""


@dataclass(frozen=True)
class Window:
    """A part of a text, or all of it."""

    target: Target
    cut_before: bool = False
    """Whether it begins within a sentence."""
    cut_after: bool = False
    """Whether it ends within a sentence."""


class _Run(NamedTuple):
    """The words from `first` to `end` (exclusive), which are `tokens` long."""

    first: int
    end: int
    tokens: int


def window_sizes(lengths: Sequence[int]) -> tuple[int, int]:
    """Tokens that windows are filled to, and that none exceeds, for a model that learned from texts
    of these lengths: the median and the 99th percentile."""
    ordered = sorted(lengths)
    return ordered[len(ordered) // 2], max(_SHORTEST, ordered[len(ordered) * 99 // 100])


def windows(
    target: Target,
    tokens: Callable[[str], int],
    usual: int,
    most: int,
    counts: Counter[str],
) -> Iterator[Window]:
    """Windows over all words of a text, left to right, lazily.

    tokens: length of a folded text in tokens. Sentences are gathered up to `usual` tokens; no window
    has more than about `most`. A word that alone is longer cannot be shown: it is in no window,
    and counted.
    """
    held: _Run | None = None
    none = True
    for sentence in _sentences(target, tokens):
        if held and held.tokens + sentence.tokens > usual:
            yield Window(target.part(held.first, held.end))
            held, none = None, False
        if sentence.tokens <= most:
            first, length = (held.first, held.tokens) if held else (sentence.first, 0)
            held = _Run(first, sentence.end, length + sentence.tokens)
        else:
            for window in _overlapping(target, tokens, most, sentence, counts):
                yield window
                none = False
    if held:
        yield Window(target.part(held.first, held.end))
    elif none:
        yield Window(target.part(0, 0))


def _overlapping(
    target: Target,
    tokens: Callable[[str], int],
    most: int,
    sentence: _Run,
    counts: Counter[str],
) -> Iterator[Window]:
    """Windows over a sentence that is too long; the last quarter of each opens the next."""

    def shown(runs: Sequence[_Run]) -> Window:
        first, end = runs[0].first, runs[-1].end
        return Window(target.part(first, end), first > sentence.first, end < sentence.end)

    held: list[_Run] = []
    fresh = False
    for piece in _pieces(target, tokens, max(1, most // 4), sentence):
        if sum(run.tokens for run in held) + piece.tokens > most:
            if fresh:
                yield shown(held)
                fresh = False
            held = held[-1:] if held and held[-1].tokens + piece.tokens <= most else []
        if piece.tokens > most:
            counts["words too long to be labelled"] += 1
            held = []
        else:
            held.append(piece)
            fresh = True
    if fresh:
        yield shown(held)


def _sentences(target: Target, tokens: Callable[[str], int]) -> Iterator[_Run]:
    first, count = 0, len(target.starts)
    for end in range(1, count + 1):
        if end == count or _ends_sentence(target.example, end - 1):
            yield _measure(target, tokens, first, end)
            first = end


def _ends_sentence(example: Example, index: int) -> bool:
    """Whether a line or a sentence ends after a word that is not the last."""
    text, end = example.text, example.words[index][1]
    following = example.words[index + 1][0]
    gap = text[end:following]
    if "\n" in gap or text[end - 1] in _WIDE_STOPS:
        return True
    before = text[max(0, end - _LOOK_BACK) : end]
    if not gap or text[following].islower() or not _STOP.search(before):
        return False
    return not _SHORT.search(before)


def _measure(target: Target, tokens: Callable[[str], int], first: int, end: int) -> _Run:
    return _Run(first, end, tokens(target.text[target.starts[first] : target.ends[end - 1]]))


def _pieces(target: Target, tokens: Callable[[str], int], most: int, run: _Run) -> Iterator[_Run]:
    """Words as they are or, if they are longer than `most` tokens, each half of them, in turn."""
    if run.tokens <= most or run.end - run.first == 1:
        yield run
        return
    middle = (run.first + run.end) // 2
    for first, end in ((run.first, middle), (middle, run.end)):
        yield from _pieces(target, tokens, most, _measure(target, tokens, first, end))


def stitch(parts: Sequence[tuple[Window, Sequence[Span]]]) -> list[Span]:
    """The spans of a text from those of its windows, in text order, without overlap.

    Of spans that overlap the likelier one stays; those that touch a cut within a sentence stay
    only where no other does.
    """
    found = []
    for window, spans in parts:
        offsets = window.target.folded.offsets
        for span in spans:
            doubtful = (window.cut_before and span.start == offsets[0]) or (
                window.cut_after and span.end == offsets[-1] + 1
            )
            found.append((doubtful, -span.score, span))
    taken: list[Span] = []
    for *_, span in sorted(found):
        at = bisect_left(taken, span)
        near = taken[max(0, at - 1) : at + 1]
        if all(span.end <= other.start or span.start >= other.end for other in near):
            taken.insert(at, span)
    return taken
