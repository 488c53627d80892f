"""What labelled sentences hold, and what in them may be wrong."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from minisift.data.examples import Example, shorten

FEW = 10
"""Spans of a label below which it is hardly learned."""
_USUAL, _OFTEN = 0.75, 3
"""The share and the number of a mention's occurrences from which on a label is its usual one."""
_ALIKE = 0.8
"""Words that two texts share, of all that they have, from which on they are nearly the same."""
_RAREST, _COMMON = 3, 100
"""Words of a text by which texts that may be like it are looked up: its rarest, and none that so many have."""
_AROUND = 30
"""Characters that are shown on either side of a mention."""


@dataclass(frozen=True)
class Twin:
    """A text that stands in the data twice, or nearly. first, second: places in the list, from 0."""

    kind: str
    """"the same" or "nearly the same"; with "in dev" where the first is among the dev sentences."""
    first: int
    second: int
    text: str
    labelled_alike: bool

    def __str__(self) -> str:
        other = f"dev {self.first + 1}" if "dev" in self.kind else str(self.first + 1)
        apart = "" if self.labelled_alike else ", but labelled otherwise"
        return f"{self.second + 1} and {other} are {self.kind}{apart}: {shorten(self.text)}"


@dataclass(frozen=True)
class Odd:
    """An occurrence of some words that is labelled as others of them are not. place: in the list, from 0."""

    words: str
    label: str | None
    usual: str
    times: int
    """Occurrences with the usual label."""
    of: int
    place: int
    context: str

    def __str__(self) -> str:
        here = self.label or "no span"
        usual = f"{self.usual} in {self.times} of {self.of} places"
        return f"{self.place + 1}: {self.words!r} is {here}, {usual}: {self.context}"


@dataclass(frozen=True)
class Findings:
    """What `check` found; `print` shows it."""

    sentences: int
    words: int
    longest: int
    """Words of the longest sentence."""
    empty: int
    """Sentences without a span."""
    spans: dict[str, int]
    """Spans of each label."""
    twins: tuple[Twin, ...]
    """Texts that are like one of dev, then those that are like one before them; labelled otherwise first."""
    odd: tuple[Odd, ...]
    """Likely mistakes of the annotation, the strangest first."""

    @property
    def few(self) -> list[str]:
        """Labels with fewer than `FEW` spans."""
        return [label for label, count in self.spans.items() if count < FEW]

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "few": self.few}

    def __str__(self) -> str:
        width = max(map(len, [*self.spans, "label"]))
        lines = [
            f"{self.sentences:,} sentences, {self.words:,} words; the longest has {self.longest:,}; "
            f"{self.empty:,} without a span",
            f"{'label':{width}}   spans",
            *(f"{label:{width}}  {count:6,}" for label, count in self.spans.items()),
        ]
        if self.few:
            lines.append(f"Fewer than {FEW} spans, hardly learned: {', '.join(self.few)}")
        for found, what in (
            (self.twins, "Texts that stand there twice, or nearly"),
            (self.odd, "Labelled otherwise than elsewhere, the strangest first"),
        ):
            if found:
                lines.append(f"{what} ({len(found)}):")
                lines += [f"  {one}" for one in found[:10]]
        return "\n".join(lines)


def check(examples: Sequence[Example], dev: Sequence[Example] = ()) -> Findings:
    """What labelled sentences hold, and what may be wrong with them: texts that stand there twice or nearly,
    among `dev` as well; words that are labelled otherwise than elsewhere; labels with few spans.

    >>> print(check(minisift.read("train.conll")))  # doctest: +SKIP
    """
    spans = Counter(span.label for example in examples for span in example.spans)
    return Findings(
        sentences=len(examples),
        words=sum(len(example.words) for example in examples),
        longest=max((len(example.words) for example in examples), default=0),
        empty=sum(not example.spans for example in examples),
        spans=dict(sorted(spans.items(), key=lambda item: (-item[1], item[0]))),
        twins=tuple(
            sorted(_twins(examples, dev), key=lambda t: ("dev" not in t.kind, t.labelled_alike))
        ),
        odd=tuple(_odd(examples)),
    )


def _twins(examples: Sequence[Example], dev: Sequence[Example]) -> Iterator[Twin]:
    """Each text that is like one before it, or like one of dev. Each is told of once."""
    texts = [*dev, *examples]
    keys = [_plain(example.text) for example in texts]
    common = Counter(word for words in keys for word in set(words))
    same: dict[tuple[str, ...], int] = {}
    near: dict[str, list[int]] = defaultdict(list)
    for at, words in enumerate(keys):
        rarest = sorted(set(words), key=lambda word: (common[word], word))[:_RAREST]
        before = same.get(words)
        if before is None and len(words) > _RAREST:
            candidates = {other for word in rarest for other in near[word]}
            before = next((o for o in sorted(candidates) if _share(keys[o], words) >= _ALIKE), None)
        if before is not None and at >= len(dev):
            in_dev = before < len(dev)
            kind = "the same" if texts[at].text == texts[before].text else "nearly the same"
            yield Twin(
                f"{kind} in dev" if in_dev else kind,
                before if in_dev else before - len(dev),
                at - len(dev),
                texts[at].text,
                _labelled(texts[before]) == _labelled(texts[at]),
            )
        same.setdefault(words, at)
        for word in rarest:
            if common[word] < _COMMON:
                near[word].append(at)


def _plain(text: str) -> tuple[str, ...]:
    """The words of a text without what twins differ in: case, punctuation, numbers."""
    return tuple(re.findall(r"\w+", re.sub(r"\d+", "0", text.casefold())))


def _share(a: Sequence[str], b: Sequence[str]) -> float:
    return len(set(a) & set(b)) / len(set(a) | set(b))


def _labelled(example: Example) -> list[tuple[str, str]]:
    return [(" ".join(span.text.casefold().split()), span.label) for span in example.spans]


def _odd(examples: Sequence[Example]) -> list[Odd]:
    """Occurrences of mentions that are labelled otherwise than most; the more others there are, the stranger."""
    odd: list[tuple[float, Odd]] = []
    for mention, places in _occurrences(examples).items():
        labels = Counter(label for *_, label in places)
        usual, times = labels.most_common(1)[0]
        if usual is None or times < _OFTEN or times < _USUAL * len(places):
            continue
        for place, first, label in places:
            if label != usual:
                words = " ".join(mention)
                around = _context(examples[place], first, len(mention))
                one = Odd(words, label, usual, times, len(places), place, around)
                odd.append((times / labels[label], one))
    return [one for _, one in sorted(odd, key=lambda pair: (-pair[0], pair[1].place))]


def _occurrences(
    examples: Sequence[Example],
) -> dict[tuple[str, ...], list[tuple[int, int, str | None]]]:
    """By the words of each labelled span: all places of theirs, as (example, first word, label), those without
    a label included where they are not part of a span."""
    mentions = {_words_of(e, *words[:2]) for e in examples for words in e.word_spans()}
    lengths: dict[str, set[int]] = defaultdict(set)
    for mention in mentions:
        lengths[mention[0]].add(len(mention))
    found: dict[tuple[str, ...], list[tuple[int, int, str | None]]] = defaultdict(list)
    for place, example in enumerate(examples):
        free = set(range(len(example.words)))
        for first, end, label in example.word_spans():
            found[_words_of(example, first, end)].append((place, first, label))
            free -= set(range(first, end))
        words = _words_of(example, 0, len(example.words))
        for first in sorted(free):
            for end in sorted(first + length for length in lengths.get(words[first], ())):
                if free.issuperset(range(first, end)) and words[first:end] in mentions:
                    found[words[first:end]].append((place, first, None))
    return found


def _context(example: Example, first: int, words: int) -> str:
    """The text around some words of it."""
    start = max(0, example.words[first][0] - _AROUND)
    end = example.words[first + words - 1][1] + _AROUND
    cut = " ".join(example.text[start:end].split())
    return f"{'…' * (start > 0)}{cut}{'…' * (end < len(example.text))}"


def _words_of(example: Example, first: int, end: int) -> tuple[str, ...]:
    return tuple(example.text[a:b] for a, b in example.words[first:end])
