"""JSON records of words, with a tag for each (as Hugging Face has them) or spans of words (GLiNER)."""

from __future__ import annotations

import itertools
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from minisift.data.examples import Span
from minisift.data.formats.columns import record
from minisift.data.formats.objects import (
    WORDS,
    Entry,
    are_tags,
    holds_spans,
    unread_counts,
    unread_keys,
)
from minisift.data.formats.offsets import member, raw_span
from minisift.data.formats.record import Options, ProblemError, Record
from minisift.data.tags import is_tagged, notation
from minisift.exceptions import DataError

_TAGS = ("ner_tags", "tags", "labels", "ner", "ner_labels", "label")
_SIDECARS = ("label.json", "labels.json", "dataset_info.json", "dataset_infos.json")
"""Files beside the data that say what tags that are numbers stand for, as data sets of the hub have."""


def words_key(value: Any) -> str | None:
    """The key of a record's list of words; None if it has none."""
    if not isinstance(value, Mapping):
        return None
    for key in WORDS:
        words = value.get(key)
        if isinstance(words, list) and all(isinstance(word, str) for word in words):
            return key
    return None


def with_words(value: Any) -> Any:
    """A record of a sentence and tags, with the sentence's words added; any other value as it is."""
    if not isinstance(value, Mapping) or words_key(value) is not None:
        return value
    for key in ("text", "sentence", "Sentence"):
        words = value[key].split() if isinstance(value.get(key), str) else []
        for tags in value.values() if len(words) > 1 else ():
            if isinstance(tags, list) and len(tags) == len(words) and are_tags(tags):
                return {**value, "tokens": words}
    return value


def is_gliner(value: Any) -> bool:
    """Whether the record lists spans of words under "ner": [first word, last word, label]."""
    key = words_key(value)
    if key is None or (isinstance(value.get("text"), str) and holds_spans(value)):
        return False
    spans = value.get("ner")
    return isinstance(spans, list) and all(isinstance(span, list) for span in spans)


def is_tagged_words(value: Any) -> bool:
    """Whether the record has words and a list of tags, which may be strings or numbers."""
    key = words_key(value)
    if key is None or (isinstance(value.get("text"), str) and holds_spans(value)):
        return False
    lists = {k: v for k, v in value.items() if k != key and isinstance(v, list)}
    return any(key in _TAGS or are_tags(held) for key, held in lists.items())


def read_gliner(entries: Sequence[Entry], options: Options, path: Path | None) -> Iterator[Record]:
    """Records of words and spans of words, in GLiNER's way: a span's end is its last word."""
    yield from unread_keys(entries, path, (*WORDS, "text", "ner"))
    for place, value in entries:
        words = value[words_key(value)]
        try:
            for word in words:
                _check_word(word)
            text, ranges = _locate(words, value.get("text"))
            spans = [_span(span, ranges) for span in value["ner"]]
        except ProblemError as error:
            yield Record(place, problem=str(error))
        else:
            yield Record(
                place, text, tuple(spans), tuple(ranges), counts=unread_counts(value, "ner")
            )


def _locate(words: Sequence[str], text: Any) -> tuple[str, list[tuple[int, int]]]:
    """A text, and where its words are in it.

    It is the given text if that consists of the words, else the words joined by spaces.
    """
    ranges, at = [], 0
    for word in words if isinstance(text, str) else ():
        start = text.find(word, at)
        if start < 0 or text[at:start].strip():
            break
        at = start + len(word)
        ranges.append((start, at))
    if isinstance(text, str) and len(ranges) == len(words) and not text[at:].strip():
        return text, ranges
    text = " ".join(words)
    ends = list(itertools.accumulate(len(word) + 1 for word in words))
    return text, [(end - 1 - len(word), end - 1) for word, end in zip(words, ends, strict=True)]


def _span(span: Any, ranges: Sequence[tuple[int, int]]) -> Span:
    first, last, label = (member(span, index, "span") for index in range(3))
    raw_span(first, last, label)
    if not 0 <= first <= last < len(ranges):
        raise ProblemError(
            f"span ({first}, {last}, {label!r}) is empty or leaves the {len(ranges)} words; fix: count "
            "words from 0, the last one included"
        )
    return Span(ranges[first][0], ranges[last][1], label)


def _check_word(word: Any) -> None:
    if not isinstance(word, str) or not word.strip():
        raise ProblemError(f"the word {word!r} is blank; fix: drop it and its tag")


def read(entries: Sequence[Entry], options: Options, path: Path | None) -> Iterator[Record]:
    """Records of words and tags.

    path: the file; another one beside it may hold the names of tags.
    """
    key = _tags_key(entries, options.tag_column)
    names = _names(entries, key, options.names, path)
    if path is not None and names and options.names is None:
        yield Record(str(path), note="the names of tags are those of the file beside it")
    yield from unread_keys(entries, path, (*WORDS, "text", key))
    rows = [(place, value[words_key(value)], value.get(key)) for place, value in entries]
    made = of_rows(rows, names, options.scheme)
    for each, (_, value) in zip(made, entries, strict=True):
        text, ranges = _locate([each.text[a:b] for a, b in each.words], value.get("text"))
        moved = dict(zip(each.words, ranges, strict=True))
        starts = {old[0]: new[0] for old, new in moved.items()}
        ends = {old[1]: new[1] for old, new in moved.items()}
        spans = tuple(Span(starts[s.start], ends[s.end], s.label) for s in each.spans)
        counts = {**each.counts, **unread_counts(value, key)}
        yield replace(each, text=text, spans=spans, words=tuple(ranges), counts=counts)


def of_rows(
    rows: Sequence[tuple[str, Any, Any]], names: Mapping[int, str] | None, scheme: str | None
) -> Iterator[Record]:
    """Records of rows of (place, words, tags).

    names: what tags that are numbers stand for.
    """
    checked: list[tuple[str, list[str], list[str]] | Record] = []
    for place, words, tags in rows:
        try:
            checked.append((place, words, _tags(words, tags, names)))
        except ProblemError as error:
            checked.append(Record(place, problem=str(error)))
    written = notation([row[2] for row in checked if not isinstance(row, Record)], scheme)
    for row in checked:
        if isinstance(row, Record):
            yield row
        else:
            place, words, tags = row
            yield record([place] * (len(words) + 1), words, tags, written)


def _tags(words: Any, tags: Any, names: Mapping[int, str] | None) -> list[str]:
    """A row's tags as strings. Raises ProblemError for words or tags that cannot be used."""
    if words is None or not isinstance(tags, list):
        raise ProblemError("no words or no tags; fix: drop the row")
    if len(words) != len(tags):
        raise ProblemError(f"{len(words)} words but {len(tags)} tags; fix: a tag for each word")
    for word in words:
        _check_word(word)
    found = []
    for tag in tags:
        named = names.get(tag) if names is not None and type(tag) is int else tag
        if not isinstance(named, str) or not named:
            raise ProblemError(f"the tag {tag!r} has no name; fix: drop the row, or tag it")
        found.append(named)
    return found


def _tags_key(entries: Sequence[Entry], wanted: int | str | None) -> str:
    """The key of the tags: the one asked for, else a usual one, else that of the only list of tags.

    Raises DataError if there is no such list, or several.
    """
    place, first = entries[0]
    lists: dict[str, Counter[Any]] = {}
    for _, value in entries:
        words = words_key(value)
        for key, held in value.items():
            if key != words and isinstance(held, list):
                plain = [tag for tag in held if isinstance(tag, str | int)]
                if len(plain) == len(held):
                    lists.setdefault(key, Counter()).update(plain)
    if wanted is not None:
        if wanted in lists:
            return str(wanted)
        raise DataError(
            f"{place}: no list {wanted!r} of tags (lists: {', '.join(lists) or 'none'}); fix: give "
            "the tags' key as tag_column"
        )
    usual = [key for key in _TAGS if key in lists]
    tagged = [key for key, tags in lists.items() if is_tagged({str(t): n for t, n in tags.items()})]
    found = usual[:1] or tagged
    if len(found) != 1:
        raise DataError(
            f"{place}: {len(found)} lists could be the tags ({', '.join(found or first)}); fix: name "
            "one with tag_column"
        )
    return found[0]


def _names(
    entries: Sequence[Entry], key: str, given: Any, path: Path | None
) -> dict[int, str] | None:
    numbers = any(type(tag) is int for _, value in entries for tag in value.get(key) or ())
    if given is not None:
        return tag_names(given, key)
    if not numbers:
        return None
    for sidecar in _SIDECARS if path is not None else ():
        if path is not None and (beside := path.with_name(sidecar)).is_file():
            return tag_names(beside, key)
    raise DataError(
        f"{entries[0][0]}: {key!r} holds numbers; fix: say what they stand for with names=, as in "
        "names=['O', 'B-PER', 'I-PER'], or with the path of a JSON file (--tag-names)"
    )


def tag_names(given: Any, key: str) -> dict[int, str]:
    """What tags that are numbers stand for, by number.

    given: a list, a ClassLabel, a mapping from or to numbers, or the path of a JSON file with one of
    these. key: that of the tags, to find them in the description of a data set.
    """
    shown = given
    if isinstance(given, str | os.PathLike):
        if not Path(given).is_file():
            raise FileNotFoundError(
                f"{given}: no such file; fix: give a list of names, or its path"
            )
        try:
            given = json.loads(Path(given).read_text(encoding="utf-8-sig"))
        except ValueError as error:
            raise DataError(f"{shown}: not JSON ({error}); fix: a list of names") from None
        given = _in_features(given, key) or given
    given = getattr(given, "names", given)
    if isinstance(given, Mapping):
        pairs = [
            (name, int(number)) if isinstance(number, int) else (number, int(name))
            for name, number in given.items()
            if isinstance(number, int) or str(name).isdecimal()
        ]
        names = {number: name for name, number in pairs}
        given = given if len(names) == len(given) else None
    elif isinstance(given, Sequence) and not isinstance(given, str):
        names = dict(enumerate(given))
    else:
        given = None
    if given is None or not all(isinstance(name, str) for name in names.values()):
        raise ValueError(
            f"names={shown!r} are not names of tags; fix: a list in the order of their numbers, or a "
            "JSON file of one, or of an object from numbers to names"
        )
    return names


def _in_features(content: Any, key: str) -> Any:
    """The names of the tags in the description of a data set (dataset_info.json); None if not there."""
    if not isinstance(content, Mapping):
        return None
    features = content.get("features")
    if isinstance(features, Mapping) and key in features:
        feature = features[key]
        while isinstance(feature, Mapping) and "names" not in feature:
            feature = feature.get("feature")
        return feature["names"] if isinstance(feature, Mapping) else None
    found = (_in_features(inner, key) for inner in content.values())
    return next((names for names in found if names), None)
