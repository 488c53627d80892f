"""JSON records of a text and its spans, as minisift, doccano, Prodigy and spaCy write them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from minisift.data.examples import shorten
from minisift.data.formats.offsets import RawSpan, member, of_list, of_object, record
from minisift.data.formats.record import Options, ProblemError, Record, SkippedError
from minisift.data.tags import CHUNKS, is_tagged
from minisift.data.text import split_words

Entry = tuple[str, Any]
"""A place in a file and the JSON value there."""

_SPANS = ("spans", "label", "labels", "entities")
TEXTS = ("text", "data", "content", "sentence", "body")
"""Usual keys of a text."""
WORDS = ("tokens", "words", "tokenized_text", "token")
"""Usual keys of a list of words."""
_NOT_SPANS = (*WORDS, "tags", "ner_tags", "relations", "predictions")
"""Keys of lists whose members may look like spans but are none."""
_KEYS = frozenset((*_SPANS, "text", "data", "words", "tokens", "answer"))
"""Keys that are read."""
_ANSWERS = {
    "reject": "records rejected by the annotator",
    "ignore": "records ignored by the annotator",
}


def read(entries: Sequence[Entry], options: Options, path: Path | None) -> Iterator[Record]:
    """A Record for each entry, an object with a text and a list of spans."""
    objects = [value for _, value in entries if isinstance(value, Mapping)]
    # an empty list means no spans if the same key holds spans in other records
    usual = {key for value in objects for key in _SPANS if _holds(value, key) and value[key]}
    unusual = {key for value in objects for key in _other_spans(value)}
    field = (options.text_field or "").split(".")[0]
    yield from unread_keys(entries, path, (*_KEYS, *unusual, field))
    tags = _labels_that_are_tags(objects)
    for place, value in entries:
        try:
            made = _record(place, value, options, usual or unusual)
        except ProblemError as error:
            yield Record(place, problem=str(error))
        except SkippedError as error:
            yield Record(place, skipped=str(error))
        else:
            wrong = next((span.label for span in made.spans if span.label in tags), None)
            problem = wrong and (
                f"the label {wrong!r} is a tag, of a word and not of a span; fix: put the words of a "
                "span together (in a Hugging Face pipeline, aggregation_strategy='simple')"
            )
            yield Record(place, problem=problem) if problem else made


def _labels_that_are_tags(objects: Sequence[Mapping[str, Any]]) -> set[str]:
    """Labels that are tags of words, "B-x" and "I-x" of the same x, as pipelines predict them."""
    labels = {
        str(entry["entity"])
        for value in objects
        for key in _SPANS
        if _holds(value, key)
        for entry in value[key]
        if isinstance(entry, Mapping) and "entity" in entry and "word" in entry
    }
    kinds = {label[2:] for label in labels if label.startswith("B-")}
    kinds &= {label[2:] for label in labels if label.startswith("I-")}
    return {f"{letter}-{kind}" for letter in "BI" for kind in kinds}


def unread_keys(
    entries: Sequence[Entry], path: Path | None, known: Collection[str]
) -> Iterator[Record]:
    """A remark that names the keys that are not read, if there are any, in the order they appear in."""
    keys = dict.fromkeys(
        key
        for _, value in entries
        if isinstance(value, Mapping)
        for key in value
        if key not in known
    )
    if keys:
        note = f"keys that are not read: {', '.join(keys)}"
        yield Record(str(path) if path else entries[0][0], note=note)


def as_object(value: Any) -> Any:
    """A pair [text, {"entities": ...}] of spaCy's as an object; any other value as it is."""
    if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str):
        if isinstance(value[1], Mapping):
            return {**value[1], "text": value[0]}
        if isinstance(value[1], list):
            return {"spans": value[1], "text": value[0]}
    return value


def _record(place: str, value: Any, options: Options, own: Collection[str]) -> Record:
    if value is None:
        raise SkippedError("records without an annotation")
    if not isinstance(value, Mapping):
        raise ProblemError(f"{shorten(str(value))} is not an object; fix: give 'text' and 'spans'")
    if value.get("answer") in list(_ANSWERS):
        raise SkippedError(_ANSWERS[value["answer"]])
    key = _spans_key(value, own)
    text = text_of(value, options)
    counts = unread_counts(value, key)
    found = [span for entry in value.get(key) or [] for span in _span(entry)]
    if _may_count_words(value, text, found):
        raise ProblemError(
            "offsets may count the tokens or characters, and cut words as characters; fix: count "
            "characters, or leave the tokens out"
        )
    return record(place, text, found, _words(value, key, text), counts)


def unread_counts(value: Mapping[str, Any], key: str) -> dict[str, int]:
    """How many spans, tags and relations a record holds that are not under this key."""
    counts: dict[str, int] = {}
    usual = [other for other in _SPANS if _holds(value, other) and value[other]]
    for other in [*usual, *_other_spans(value)]:
        if other != key:
            counts[f"spans under {other!r} not read"] = len(value[other])
    for other, held in value.items():
        if other not in (key, *WORDS) and are_tags(held):
            counts[f"tags under {other!r} not read"] = sum(tag not in ("O", "o") for tag in held)
    counts = {what: number for what, number in counts.items() if number}
    if relations := value.get("relations"):
        counts["relations not read"] = len(relations) if isinstance(relations, list) else 1
    return counts


def are_tags(held: Any) -> bool:
    """Whether a value is a list of words' tags; those of chunks do not count."""
    if not _are_strings(held) or not {"O", "o"} & set(held) or not is_tagged(Counter(held)):
        return False
    labels = {tag[2:] for tag in held} - {""}
    return 2 * len(labels & CHUNKS) < len(labels) or not labels


def _may_count_words(value: Mapping[str, Any], text: str, found: Sequence[RawSpan]) -> bool:
    """Whether offsets may count the record's tokens: they fit those, and as characters they cut words."""
    words = value.get("tokens") or []
    if not found or not _are_strings(words) or any(f.copy or f.end > len(words) for f in found):
        return False
    borders = {at for word in split_words(text) for at in word}
    return any(f.start not in borders or f.end not in borders for f in found)


def _span(entry: Any) -> list[RawSpan]:
    return of_list(entry) if isinstance(entry, list) else of_object(entry)


def _spans_key(value: Mapping[str, Any], own: Collection[str]) -> str:
    """The key of a record's spans. Raises ProblemError.

    own: the keys that hold spans in some record of the file.
    """
    holding = [key for key in _SPANS if _holds(value, key)]
    if not any(value[key] or key in own for key in holding):
        holding += _other_spans(value)
    holding = holding or [key for key in own if value.get(key) == []]
    if len(holding) > 1:
        raise ProblemError(f"spans under {' and '.join(map(repr, holding))}; fix: keep one")
    if holding:
        return holding[0]
    # Prodigy omits the key if an accepted record has no span; records of a choice never have any
    is_accepted = value.get("answer") == "accept" and not {"options", "accept"} & set(value)
    if is_accepted and not any(key in value for key in _SPANS):
        return "spans"
    wrong = [f"{key!r} is {shorten(str(value[key]))}" for key in _SPANS if key in value]
    raise ProblemError(
        f"no list of spans ({'; '.join(wrong) or 'keys: ' + (', '.join(value) or 'none')}); fix: "
        "give 'text' and 'spans', an empty list where there are none"
    )


def holds_spans(value: Mapping[str, Any]) -> bool:
    """Whether there is a list of spans, or an empty list, under one of the usual keys."""
    return any(_holds(value, key) for key in _SPANS)


def _holds(value: Mapping[str, Any], key: str) -> bool:
    """Whether there is a list of spans under this key, or an empty list."""
    members = value.get(key)
    # strings and numbers are classes of the whole text, or the labels to choose from
    return isinstance(members, list) and (
        key == "spans"
        or not members
        or not all(isinstance(member, str | int | float) for member in members)
    )


def _other_spans(value: Mapping[str, Any]) -> list[str]:
    """The keys that hold spans but are none of the usual ones."""
    return [
        key
        for key, members in value.items()
        if key not in _SPANS
        and key not in _NOT_SPANS
        and isinstance(members, list)
        and members
        and all(map(_is_span, members))
    ]


def _is_span(value: Any) -> bool:
    try:
        return bool(_span(value))
    except ProblemError:
        return False


def text_of(value: Mapping[str, Any], options: Options) -> str:
    """The record's text, that under `text_field` if it is given. Raises ProblemError."""
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


def _words(value: Mapping[str, Any], key: str, text: str) -> list[tuple[int, int]]:
    """The words that the record gives: minisift's ranges, or Prodigy's tokens that are not white space."""
    if key == "spans" and "words" in value and not _are_strings(value["words"]):
        ranges = _members(value, "words")
        return [(_integer(word, 0, "word"), _integer(word, 1, "word")) for word in ranges]
    tokens = value.get("tokens")
    if key != "spans" or not isinstance(tokens, list):
        return []
    ranges = [(t.get("start"), t.get("end")) for t in tokens if isinstance(t, Mapping)]
    if len(ranges) < len(tokens) or any(type(at) is not int for pair in ranges for at in pair):
        return []  # tokens without offsets
    return [(start, end) for start, end in ranges if text[start:end].strip()]


def _are_strings(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, str) for v in value)


def _members(value: Mapping[str, Any], key: str) -> list[Any]:
    """The list of lists under a key. Raises ProblemError for anything else."""
    members = value[key]
    if members is None:
        return []
    if not isinstance(members, list) or not all(isinstance(member, list) for member in members):
        raise ProblemError(
            f"{key!r} is {shorten(str(members))}; fix: give a list of arrays [start, end]"
        )
    return members


def _integer(container: Any, key: Any, what: str) -> int:
    value = member(container, key, what)
    if type(value) is not int:
        raise ProblemError(
            f"{what} {shorten(str(container))} has offset {value!r}; fix: an integer"
        )
    return int(value)
