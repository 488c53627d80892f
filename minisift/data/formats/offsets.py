"""Spans as other programs write them, with offsets in characters, UTF-16 units or bytes.

Which of these it is shows in the copies of the spans' words that many files hold.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

from minisift.data.examples import Span, shorten
from minisift.data.formats.record import Doubt, ProblemError, Record

_WHITE = re.compile(r"(?:\\[nrt]|\s)+")
"""White space, also line ends and tabs that some program wrote as a backslash and a letter."""

_STARTS = ("start", "start_offset", "startOffset", "start_char", "start_idx", "begin", "from")
_ENDS = ("end", "end_offset", "endOffset", "end_char", "end_idx", "stop", "to")
_LABELS = (
    "label", "labels", "tag", "type", "entity", "entity_type", "entity_group", "category", "class",
)  # fmt: skip
_MAYBE_WORDS = ("word", "surface", "mention")


@dataclass(frozen=True)
class RawSpan:
    """A span as a file has it."""

    start: int
    end: int
    label: str
    copy: str | None = None
    """The file's own copy of the span's words."""
    score: float = 1.0
    doubt: Doubt | None = None
    is_weak: bool = False
    """Whether `copy` may be something else than a copy, such as an id."""


def record(
    place: str,
    text: str,
    found: Iterable[RawSpan],
    words: Sequence[tuple[int, int]] = (),
    counts: Mapping[str, int] | None = None,
) -> Record:
    """A Record with spans in characters, whatever unit the file's offsets count.

    They count characters, unless the file's copies of the words contradict that and all agree with UTF-16
    units (of JavaScript and Java) or UTF-8 bytes. A copy agrees if it differs in white space or case only.
    If no unit agrees with all copies, the spans that differ from theirs are doubtful.
    """
    found = [f if _is_copy(text, f) else replace(f, copy=None) for f in found]
    counted = dict(counts or {})
    unit, moved = _unit(text, found)
    if unit != "characters":
        counted[f"spans with offsets in {unit}"] = len(found)
    spans = tuple(Span(f.start, f.end, f.label, score=f.score) for f in moved)
    doubts = {
        span: f.doubt or _difference(text, f)
        for span, f in zip(spans, moved, strict=True)
        if f.doubt or not agrees(text, f)
    }
    return Record(place, text, spans, tuple(words), doubts, counted)


_UNITS: dict[str, Callable[[str], int]] = {
    "UTF-16 units": lambda char: 1 + (char > "\uffff"),
    "UTF-8 bytes": lambda char: len(char.encode("utf-8", "surrogatepass")),
}
"""Units other than characters, each with how many of them a character takes."""


def _is_copy(text: str, found: RawSpan) -> bool:
    """Whether `copy` is a copy of the span's words.

    If that is in doubt, the text must have it where the span starts, in some unit.
    """
    if not found.copy:
        return False
    if not found.is_weak:
        return True
    places = [found, *(f for w in _UNITS.values() for f in _in_characters(text, [found], w) or ())]
    return any(text[f.start :].startswith(found.copy) for f in places if f.start >= 0)


def _unit(text: str, found: Sequence[RawSpan]) -> tuple[str, Sequence[RawSpan]]:
    """The unit that the offsets count, and the spans with offsets in characters."""
    units: dict[str, Sequence[RawSpan]] = {"characters": found}
    if not text.isascii():
        for unit, width in _UNITS.items():
            if (moved := _in_characters(text, found, width)) is not None:
                units[unit] = moved
    for is_exact in (True, False):
        for unit, changed in units.items():
            if all(agrees(text, each, is_exact) for each in changed):
                return unit, changed
    return "characters", found


def _in_characters(
    text: str, found: Sequence[RawSpan], width: Callable[[str], int]
) -> list[RawSpan] | None:
    """The spans with offsets in characters; None if one of the given offsets lies inside a character.

    width: how many of the offsets' units a character takes.
    """
    starts = [0, *accumulate(map(width, text))]

    def moved(at: int) -> int:
        index = bisect_left(starts, at)
        return index if index < len(starts) and starts[index] == at else -1

    changed = [replace(f, start=moved(f.start), end=moved(f.end)) for f in found]
    return None if any(f.start < 0 or f.end < 0 for f in changed) else changed


def agrees(text: str, found: RawSpan, is_exact: bool = False) -> bool:
    """Whether the text at the offsets is the file's copy of the words, if there is one.

    is_exact: whether white space and case count too.
    """
    if found.copy is None or found.doubt:
        return True
    if not 0 <= found.start < found.end <= len(text):
        return False
    there = text[found.start : found.end]
    return there == found.copy or (not is_exact and _fold(there) == _fold(found.copy))


def _fold(text: str) -> str:
    return _WHITE.sub(" ", text).strip().casefold()


def _difference(text: str, found: RawSpan) -> Doubt:
    there = shorten(text[max(0, found.start) : max(0, found.end)])
    return Doubt(
        "spans whose words differ from the text",
        f"span ({found.start}, {found.end}, {found.label!r}) is {shorten(found.copy or '')} in the "
        f"file but {there} in the text",
    )


def of_object(value: Any) -> list[RawSpan]:
    """The spans of an object: offsets, one label or several, perhaps a copy of the words and a score.

    Raises ProblemError.
    """
    if not isinstance(value, Mapping):
        raise ProblemError(
            f"span {shorten(str(value))} is not an object; fix: give start, end, label"
        )
    start, end, label = (_first(value, keys) for keys in (_STARTS, _ENDS, _LABELS))
    weak = _MAYBE_WORDS if label == value.get("entity") else (*_MAYBE_WORDS, "entity")
    copy = value.get("text") or _first(value, weak)
    made = [
        raw_span(start, end, each, copy if isinstance(copy, str) else None, value.get("score"))
        for each in (label if isinstance(label, list) and label else [label])
    ]
    return [replace(each, is_weak=not value.get("text")) for each in made]


def of_list(value: Any) -> list[RawSpan]:
    """The span of a list: start, end, label, perhaps a copy of the words. Raises ProblemError."""
    start, end, label = (member(value, index, "span") for index in range(3))
    copy = value[3] if isinstance(value, list) and len(value) > 3 else None
    made = raw_span(start, end, label, copy if isinstance(copy, str) else None)
    return [replace(made, is_weak=True)]


def raw_span(
    start: Any, end: Any, label: Any, copy: str | None = None, score: Any = None
) -> RawSpan:
    """A span of these values. Raises ProblemError for values of other types than they should have."""
    if type(start) is not int or type(end) is not int:
        raise ProblemError(
            f"span offsets ({start!r}, {end!r}) are not integers; fix: count characters"
        )
    if not isinstance(label, str) or not label.strip():
        raise ProblemError(f"span ({start}, {end}) has the label {label!r}; fix: give a string")
    if score is not None and type(score) not in (int, float):
        raise ProblemError(f"span ({start}, {end}) has the score {score!r}; fix: give a number")
    return RawSpan(start, end, label, copy, 1.0 if score is None else float(score))


def _first(value: Mapping[str, Any], keys: Sequence[str]) -> Any:
    return next((value[key] for key in keys if value.get(key) is not None), None)


def member(container: Any, key: Any, what: str) -> Any:
    """A member of a list or object. Raises ProblemError if it is missing."""
    try:
        return container[key]
    except (IndexError, KeyError, TypeError):
        raise ProblemError(
            f"{what} {shorten(str(container))} lacks {key!r}; fix: complete it"
        ) from None
