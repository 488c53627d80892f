"""JSON records of a text and its spans: minisift's own, doccano's, Prodigy's, spaCy's pairs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from minisift.data import shorten
from minisift.formats.offsets import Found, member, of_list, of_object, record
from minisift.formats.record import Options, ProblemError, Record, SkippedError

Entry = tuple[str, Any]
"""A place and what stands there."""

_SPANS = ("spans", "label", "labels", "entities")
_OTHERS = ("tokens", "words", "tags", "ner_tags", "relations", "predictions")
"""Lists that are no spans, though their members may look like it."""
_READ = frozenset((*_SPANS, "text", "data", "words", "tokens", "answer"))
_ANSWERS = {
    "reject": "records rejected by the annotator",
    "ignore": "records ignored by the annotator",
}


def read(entries: Sequence[Entry], options: Options, path: Path | None) -> Iterator[Record]:
    """A Record for each entry: an object, or a pair of a text and an object."""
    if keys := _unread(entries):
        note = f"keys that are not read: {', '.join(keys)}"
        yield Record(str(path) if path else entries[0][0], note=note)
    for place, value in entries:
        try:
            yield _record(place, value, options)
        except ProblemError as error:
            yield Record(place, problem=str(error))
        except SkippedError as error:
            yield Record(place, skipped=str(error))


def as_object(value: Any) -> Any:
    """spaCy's pairs [text, {"entities": ...}] as objects; all else as it is."""
    if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str):
        if isinstance(value[1], Mapping):
            return {**value[1], "text": value[0]}
        if isinstance(value[1], list):
            return {"spans": value[1], "text": value[0]}
    return value


def _unread(entries: Sequence[Entry]) -> list[str]:
    """Keys of these records that are not read, in the order of their first appearance."""
    keys: dict[str, None] = {}
    for _, value in entries:
        value = as_object(value)
        if isinstance(value, Mapping):
            keys.update(dict.fromkeys(key for key in value if key not in _READ))
    return list(keys)


def _record(place: str, value: Any, options: Options) -> Record:
    value = as_object(value)
    if value is None:
        raise SkippedError("records without an annotation")
    if not isinstance(value, Mapping):
        raise ProblemError(f"{shorten(str(value))} is not an object; fix: give 'text' and 'spans'")
    if value.get("answer") in list(_ANSWERS):
        raise SkippedError(_ANSWERS[value["answer"]])
    key, others = _spans_key(value)
    text = text_of(value, options)
    counts = {
        f"spans under {other!r} not read": len(value[other]) for other in others if value[other]
    }
    if relations := value.get("relations"):
        counts["relations not read"] = len(relations) if isinstance(relations, list) else 1
    found = [span for entry in value.get(key) or [] for span in _span(key, entry)]
    return record(place, text, found, _words(value, text), counts)


def _span(key: str, entry: Any) -> list[Found]:
    if isinstance(entry, list):
        return of_list(entry)
    return of_object(entry)


def _spans_key(value: Mapping[str, Any]) -> tuple[str, list[str]]:
    """The key of the spans, and others that hold some too. Raises ProblemError."""
    usual = [key for key in _SPANS if _holds(value, key)]
    others = [
        key
        for key, members in value.items()
        if key not in _SPANS and key not in _OTHERS and _are_spans(members)
    ]
    holding = usual if usual and (value[usual[0]] or not others) else [*usual, *others]
    if len(holding) > 1:
        raise ProblemError(f"spans under {' and '.join(map(repr, holding))}; fix: keep one")
    if holding:
        return holding[0], [key for key in others if key not in holding]
    # Prodigy leaves the key out where an accepted record has no span
    if value.get("answer") == "accept" and not any(key in value for key in _SPANS):
        return "spans", []
    wrong = [f"{key!r} is {shorten(str(value[key]))}" for key in _SPANS if key in value]
    raise ProblemError(
        f"no list of spans ({'; '.join(wrong) or 'keys: ' + (', '.join(value) or 'none')}); fix: "
        "give 'text' and 'spans', an empty list where there are none"
    )


def holds_spans(value: Mapping[str, Any]) -> bool:
    """Whether there is a list of spans under a usual key."""
    return any(_holds(value, key) for key in _SPANS)


def _holds(value: Mapping[str, Any], key: str) -> bool:
    members = value.get(key)
    # strings and numbers are classes of the text, or the task's label set
    return isinstance(members, list) and (
        key == "spans"
        or not members
        or not all(isinstance(member, str | int | float) for member in members)
    )


def _are_spans(members: Any) -> bool:
    return isinstance(members, list) and bool(members) and all(map(_is_span, members))


def _is_span(value: Any) -> bool:
    try:
        return bool(of_list(value) if isinstance(value, list) else of_object(value))
    except ProblemError:
        return False


def text_of(value: Mapping[str, Any], options: Options) -> str:
    """The record's text, by `text_field` if it is given. Raises ProblemError."""
    key = options.text_field or ("text" if "text" in value else "data")
    text: Any = value
    for part in [key] if key in value else key.split("."):
        text = text.get(part) if isinstance(text, Mapping) else None
    if isinstance(text, str):
        return text
    fields = [name for name, held in value.items() if isinstance(held, str)]
    raise ProblemError(
        f"{options.text_field or 'text'!r} is {text!r}; fix: give the text as a string under "
        f"'text', or say where it is with text_field (strings: {', '.join(fields) or 'none'})"
    )


def _words(value: Mapping[str, Any], text: str) -> list[tuple[int, int]]:
    """The record's own words: minisift's ranges, or Prodigy's tokens without white space."""
    if "words" in value and not _are_strings(value["words"]):
        ranges = _members(value, "words", list)
        return [(_integer(word, 0, "word"), _integer(word, 1, "word")) for word in ranges]
    if _are_strings(value.get("tokens")):
        return []
    tokens = [
        (_integer(token, "start", "token"), _integer(token, "end", "token"))
        for token in _members(value, "tokens", Mapping)
    ]
    return [(start, end) for start, end in tokens if text[start:end].strip()]


def _are_strings(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, str) for v in value)


def _members(value: Mapping[str, Any], key: str, kind: type) -> list[Any]:
    """The list under an optional key, each member checked to be of a kind."""
    members = value.get(key)
    if members is None:
        return []
    if not isinstance(members, list) or not all(isinstance(member, kind) for member in members):
        what = "arrays [start, end]" if kind is list else "objects"
        raise ProblemError(f"{key!r} is {shorten(str(members))}; fix: give a list of {what}")
    return members


def _integer(container: Any, key: Any, what: str) -> int:
    value = member(container, key, what)
    if type(value) is not int:
        raise ProblemError(
            f"{what} {shorten(str(container))} has offset {value!r}; fix: an integer"
        )
    return int(value)
