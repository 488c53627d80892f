"""Spans to response text and back: the one place that knows the answer format.

One span a line, in text order: a space, the span's words, ``: ``, the label's name, and
`` #k`` only for the k-th occurrence (k > 1) of the same words in the text. An empty line ends
the answer::

     Angela Merkel: person
     Paris: location
     Paris: location #2

The words are those of the folded text, so that none holds a line end; names hold neither a
line end nor ``: `` nor an occurrence mark (task.py), so a line splits at its last ``: `` in one
way only. Hence flat word-aligned span sets and valid responses correspond one to one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from minisift.data.examples import Example, Span
from minisift.data.text import Folded, fold
from minisift.exceptions import ResponseError

LEAD = " "
"""What begins a line: words after a space are tokenized as they are inside of a text."""
END = "\n"
"""What ends the answer: an empty line."""
_OCCURRENCE = re.compile(r"(.*) #([1-9][0-9]*)", re.DOTALL)


@dataclass(frozen=True)
class Target:
    """A text as the prompt shows it, or a part of it, with the word borders that answers keep to.

    Made once by `target_of` and handed on. `starts` and `ends` are ascending offsets into
    `folded.text` of the words, pair by pair; `folded.offsets` lead back into `example.text`.
    """

    example: Example
    folded: Folded
    starts: tuple[int, ...]
    ends: tuple[int, ...]

    @property
    def text(self) -> str:
        return self.folded.text

    @cached_property
    def _borders(self) -> tuple[frozenset[int], frozenset[int]]:
        return frozenset(self.starts), frozenset(self.ends)

    def occurrences(self, words: str) -> Iterator[int]:
        """Where `words` stand in the text as whole words: start offsets, ascending."""
        starts, ends = self._borders
        at = self.text.find(words)
        while at >= 0:
            if at in starts and at + len(words) in ends:
                yield at
            at = self.text.find(words, at + 1)

    def part(self, first: int, end: int) -> Target:
        """The words from one to before another as a target of its own; no words, an empty text."""
        if first == end:
            return Target(self.example, Folded("", []), (), ())
        begin, stop = self.starts[first], self.ends[end - 1]
        return Target(
            self.example,
            Folded(self.text[begin:stop], self.folded.offsets[begin:stop]),
            tuple(at - begin for at in self.starts[first:end]),
            tuple(at - begin for at in self.ends[first:end]),
        )


def target_of(example: Example) -> Target:
    """An example's text as the prompt shows it."""
    folded = fold(example.text)
    ranges = [folded.fold_range(start, end) for start, end in example.words]
    return Target(example, folded, tuple(a for a, _ in ranges), tuple(b for _, b in ranges))


def label_part(name: str) -> str:
    """What follows a span's words: its label's name."""
    return f": {name}"


def closing(occurrence: int) -> str:
    """What ends a line: the occurrence of its words in the text, if not the first."""
    return f" #{occurrence}\n" if occurrence > 1 else "\n"


def lines(target: Target, names: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """The response of an example's gold spans, a line as (lead and words, name, closing)."""
    rendered = []
    for span in target.example.spans:
        start, end = target.folded.fold_range(span.start, span.end)
        words = target.text[start:end]
        occurrence = 1 + list(target.occurrences(words)).index(start)
        rendered.append((LEAD + words, label_part(names[span.label]), closing(occurrence)))
    return rendered


def render(target: Target, names: Mapping[str, str]) -> str:
    """The response text of an example's gold spans.

    >>> e = Example("no no", (Span(3, 5, "NEG"),))
    >>> render(target_of(e), {"NEG": "negation"})
    ' no: negation #2\\n\\n'
    """
    return "".join(part for line in lines(target, names) for part in line) + END


def parse(response: str, target: Target, labels_by_name: Mapping[str, str]) -> list[Span]:
    """The spans of a response to a text, with offsets into its example's text.

    The inverse of `render`; raises ResponseError for anything that `render` does not give.
    """
    if not response.endswith(END):
        raise ResponseError(f"no empty line ends {response[-40:]!r}")
    spans: list[Span] = []
    cursor = 0
    body = response[: -len(END)]
    if body and not body.endswith("\n"):
        raise ResponseError(f"the last line of {body[-40:]!r} is not ended")
    for line in body.split("\n")[:-1]:
        words, colon, name = line.rpartition(": ")
        if not colon or not words.startswith(LEAD):
            raise ResponseError(f"line {line!r} is not '{LEAD}words: name'")
        words = words[len(LEAD) :]
        number = 1
        if name not in labels_by_name and (found := _OCCURRENCE.fullmatch(name)):
            name, number = found[1], int(found[2])
            if number == 1:
                raise ResponseError(f"line {line!r} counts a first occurrence")
        if name not in labels_by_name:
            raise ResponseError(f"line {line!r}: no label is named {name!r}")
        places = list(target.occurrences(words)) if words else []
        if number > len(places):
            raise ResponseError(f"line {line!r}: the text has {len(places)} such words")
        start = places[number - 1]
        if start < cursor:
            raise ResponseError(f"line {line!r}: overlaps or precedes the span before")
        cursor = start + len(words)
        begin, end = target.folded.unfold_range(start, cursor)
        spans.append(Span(begin, end, labels_by_name[name], target.example.text[begin:end]))
    return spans
