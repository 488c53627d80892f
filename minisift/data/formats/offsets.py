"""Spans as other programs write them: offsets in their units, checked by their copies of the words."""

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
"""White space, and line ends and tabs that a front end wrote as a backslash and a letter."""

_STARTS = ("start", "start_offset", "startOffset", "start_char", "start_idx", "begin", "from")
_ENDS = ("end", "end_offset", "endOffset", "end_char", "end_idx", "stop", "to")
_LABELS = (
    "label", "labels", "tag", "type", "entity", "entity_type", "entity_group", "category", "class",
)  # fmt: skip
_MAYBE_WORDS = ("word", "surface", "mention")


@dataclass(frozen=True)
class Found:
    """A span as a file has it."""

    start: int
    end: int
    label: str
    shown: str | None = None
    """The file's own copy of the span's words."""
    score: float = 1.0
    doubt: Doubt | None = None
    is_weak: bool = False
    """Whether what is shown may as well be something else, such as an id."""


def record(
    place: str,
    text: str,
    found: Iterable[Found],
    words: Sequence[tuple[int, int]] = (),
    counts: Mapping[str, int] | None = None,
) -> Record:
    """A Record whose spans count characters, whatever unit the file counts.

    Offsets are characters, unless the file's copies of the words do not agree with those and all
    agree with UTF-16 units (of JavaScript and Java) or UTF-8 bytes. Copies agree if they differ in
    white space only. Spans whose words agree with no unit are doubtful.
    """
    found = [f if _is_copy(text, f) else replace(f, shown=None) for f in found]
    counted = dict(counts or {})
    unit, moved = _agreeing(text, found)
    if unit != "characters":
        counted[f"spans with offsets in {unit}"] = len(found)
    spans = tuple(Span(f.start, f.end, f.label, score=f.score) for f in moved)
    doubts = {
        span: f.doubt or _differs(text, f)
        for span, f in zip(spans, moved, strict=True)
        if f.doubt or not agrees(text, f)
    }
    return Record(place, text, spans, tuple(words), doubts, counted)


_UNITS: dict[str, Callable[[str], int]] = {
    "UTF-16 units": lambda char: 1 + (char > "\uffff"),
    "UTF-8 bytes": lambda char: len(char.encode("utf-8", "surrogatepass")),
}


def _is_copy(text: str, found: Found) -> bool:
    """Whether what is shown are words of the text: they begin where the span does, in some unit."""
    if not found.shown:
        return False
    if not found.is_weak:
        return True
    places = [found, *(f for w in _UNITS.values() for f in _in_characters(text, [found], w) or ())]
    return any(text[f.start :].startswith(found.shown) for f in places if f.start >= 0)


def _agreeing(text: str, found: Sequence[Found]) -> tuple[str, Sequence[Found]]:
    """The unit of the offsets, and the spans with offsets in characters."""
    units: dict[str, Sequence[Found]] = {"characters": found}
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
    text: str, found: Sequence[Found], width: Callable[[str], int]
) -> list[Found] | None:
    """The same spans with offsets in characters; None if one of them cuts a character."""
    starts = [0, *accumulate(map(width, text))]

    def moved(at: int) -> int:
        index = bisect_left(starts, at)
        return index if index < len(starts) and starts[index] == at else -1

    changed = [replace(f, start=moved(f.start), end=moved(f.end)) for f in found]
    return None if any(f.start < 0 or f.end < 0 for f in changed) else changed


def agrees(text: str, found: Found, is_exact: bool = False) -> bool:
    """Whether the file's copy of the words, if it has one, stands at the offsets: in the same white
    space if `is_exact`.
    """
    if found.shown is None or found.doubt:
        return True
    if not 0 <= found.start < found.end <= len(text):
        return False
    there = text[found.start : found.end]
    return there == found.shown or (not is_exact and _folded(there) == _folded(found.shown))


def _folded(text: str) -> str:
    return _WHITE.sub(" ", text).strip().casefold()


def _differs(text: str, found: Found) -> Doubt:
    there = shorten(text[max(0, found.start) : max(0, found.end)])
    return Doubt(
        "spans whose words differ from the text",
        f"span ({found.start}, {found.end}, {found.label!r}) is {shorten(found.shown or '')} in the "
        f"file but {there} in the text",
    )


def of_object(value: Any) -> list[Found]:
    """A span that is an object: offsets, one label or several, maybe its words and a score.

    Raises ProblemError.
    """
    if not isinstance(value, Mapping):
        raise ProblemError(
            f"span {shorten(str(value))} is not an object; fix: give start, end, label"
        )
    start, end, label = (_first(value, keys) for keys in (_STARTS, _ENDS, _LABELS))
    weak = _MAYBE_WORDS if label == value.get("entity") else (*_MAYBE_WORDS, "entity")
    shown = value.get("text") or _first(value, weak)
    made = [
        found_of(start, end, each, shown if isinstance(shown, str) else None, value.get("score"))
        for each in (label if isinstance(label, list) and label else [label])
    ]
    return [replace(each, is_weak=not value.get("text")) for each in made]


def of_list(value: Any) -> list[Found]:
    """A span that is a list of start, end, label and maybe its words. Raises ProblemError."""
    start, end, label = (member(value, index, "span") for index in range(3))
    shown = value[3] if isinstance(value, list) and len(value) > 3 else None
    made = found_of(start, end, label, shown if isinstance(shown, str) else None)
    return [replace(made, is_weak=True)]


def found_of(
    start: Any, end: Any, label: Any, shown: str | None = None, score: Any = None
) -> Found:
    """A span of values that are checked to be what they should. Raises ProblemError."""
    if type(start) is not int or type(end) is not int:
        raise ProblemError(
            f"span offsets ({start!r}, {end!r}) are not integers; fix: count characters"
        )
    if not isinstance(label, str) or not label.strip():
        raise ProblemError(f"span ({start}, {end}) has the label {label!r}; fix: give a string")
    if score is not None and type(score) not in (int, float):
        raise ProblemError(f"span ({start}, {end}) has the score {score!r}; fix: give a number")
    return Found(start, end, label, shown, 1.0 if score is None else float(score))


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
