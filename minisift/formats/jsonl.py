"""Character spans in JSON: minisift's own lines, and what annotation tools export.

Own records are ``{"text": ..., "spans": [{"start", "end", "label"}, ...]}``, with ``"words":
[[start, end], ...]`` where they are not those of `split_words`. A file is JSON Lines, or one
JSON array (Label Studio). Each record's kind is told by its own keys.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from minisift.data import DataError, Example, Record, Span, shorten
from minisift.text import split_words

_ANSWERS = {
    "reject": "records rejected by the annotator",
    "ignore": "records ignored by the annotator",
}
_SURROGATE = re.compile("[\ud800-\udfff]")
_SURROGATE_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")


class ProblemError(ValueError):
    """What is wrong with a record and how to mend it."""


class SkippedError(ValueError):
    """Why a record is not meant to be used."""


def read(
    source: str | os.PathLike[str], *, tag_column: int | str | None, scheme: str | None
) -> Iterator[Record]:
    path = Path(source)
    for place, raw in _records(path):
        try:
            text, spans, words = _parse(_load(raw) if isinstance(raw, str) else raw)
            _check(spans, text)
        except ProblemError as error:
            yield Record(place, problem=str(error))
        except SkippedError as error:
            yield Record(place, skipped=str(error))
        else:
            yield Record(place, text, tuple(spans), tuple(words))


def _records(path: Path) -> Iterator[tuple[str, Any]]:
    """Places and records: lines still as text, members of an array as they are."""
    with path.open("rb") as file:
        head = file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")
        file.seek(0)
        is_array = head.startswith(b"[") and path.suffix.lower() == ".json"
        if is_array:
            content = _load(_decode(file.read(), path, 1), whole_file=str(path))
            for number, record in enumerate(content, 1):
                yield f"{path}: task {number}", record
            return
        for number, line in enumerate(file, 1):
            text = _decode(line, path, number)
            if text.strip():
                yield f"{path}:{number}", text


def _decode(raw: bytes, path: Path, number: int) -> str:
    """Text of bytes that begin in line `number`, without a byte order mark."""
    try:
        return raw.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        number += raw.count(b"\n", 0, error.start)
        raise DataError(
            f"{path}:{number}: not UTF-8 ({error}); fix: convert the file to UTF-8"
        ) from None


def _load(raw: str, whole_file: str = "") -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        if whole_file:
            raise DataError(
                f"{whole_file}: not JSON ({error}); fix: export it again, or give JSON Lines the "
                "ending .jsonl"
            ) from None
        raise ProblemError(
            f"not JSON ({error}); fix: one object a line, or for an array the ending .json"
        ) from None


Parsed = tuple[str, list[Span], list[tuple[int, int]]]


def _parse(record: Any) -> Parsed:
    if isinstance(record, list) and [type(part) for part in record] == [str, dict]:
        record = {**record[1], "text": record[0]}  # spaCy's [text, {"entities": ...}] pairs
    if not isinstance(record, Mapping):
        raise ProblemError(
            f"{shorten(str(record))} is not an object; fix: give 'text' and 'spans', or a file that "
            "is one array the ending .json"
        )
    holding = [key for key in _SPAN_KEYS if _holds(key)(record)]
    if len(holding) > 1:
        raise ProblemError(f"spans under {' and '.join(map(repr, holding))}; fix: keep one")
    for is_kind, parse in _KINDS:
        if is_kind(record):
            return parse(record)
    wrong = [f"{key!r} is {shorten(str(record[key]))}" for key in _SPAN_KEYS if key in record]
    raise ProblemError(
        f"no list of spans ({'; '.join(wrong) or 'keys: ' + (', '.join(record) or 'none')}); fix: "
        "give 'text' and 'spans', an empty list where there are none"
    )


def _own(record: Mapping[str, Any]) -> Parsed:
    words = [
        (_integer(word, 0, "word"), _integer(word, 1, "word"))
        for word in _members(record, "words", list)
    ]
    return _text(record, "text"), _objects(record["spans"]), words


def _prodigy(record: Mapping[str, Any]) -> Parsed:
    if record.get("answer") in list(_ANSWERS):
        raise SkippedError(_ANSWERS[record["answer"]])
    text = _text(record, "text")
    tokens = [
        (_integer(token, "start", "token"), _integer(token, "end", "token"))
        for token in _members(record, "tokens", Mapping)
    ]
    words = [(start, end) for start, end in tokens if text[start:end].strip()]
    return text, _objects(record.get("spans", [])), words


def _label_studio(record: Mapping[str, Any]) -> Parsed:
    data = record["data"]
    strings = [key for key, value in data.items() if isinstance(value, str)]
    text = _text(data, strings[0] if len(strings) == 1 else "text")
    annotations = _members(record, "annotations", Mapping)
    annotations = [a for a in annotations if not a.get("was_cancelled")]
    if not annotations:
        raise SkippedError("tasks without an annotation")
    results = _members(annotations[0], "result", Mapping)
    values = [_member(r, "value", "result") for r in results if r.get("type") == "labels"]
    return text, _label_studio_spans(values, text), []


def _label_studio_min(record: Mapping[str, Any]) -> Parsed:
    text = _text(record, "text")
    return text, _label_studio_spans(record["label"], text), []


def _label_studio_spans(values: Sequence[Any], text: str) -> list[Span]:
    spans = []
    for value in values:
        labels = value.get("labels") if isinstance(value, Mapping) else None
        if not isinstance(labels, list) or len(labels) != 1:
            raise ProblemError(f"span {shorten(str(value))} has not one label; fix: label it once")
        spans += _objects([{**value, "label": labels[0]}])
        shown = value.get("text")
        if isinstance(shown, str) and shown != text[spans[-1].start : spans[-1].end]:
            raise ProblemError(
                f"span ({spans[-1].start}, {spans[-1].end}) is {shorten(shown)} in the export but "
                f"{shorten(text[spans[-1].start : spans[-1].end])} in the text; fix: correct it"
            )
    return spans


def _doccano(key: str) -> Callable[[Mapping[str, Any]], Parsed]:
    def parse(record: Mapping[str, Any]) -> Parsed:
        text = _text(record, "text" if "text" in record else "data")
        spans = []
        for entry in record[key]:
            if isinstance(entry, Mapping):
                start = entry.get("start_offset", entry.get("start"))
                end = entry.get("end_offset", entry.get("end"))
                spans.append(_span(start, end, entry.get("label")))
            else:
                spans.append(_span(*(_member(entry, i, "span") for i in range(3))))
        return text, spans, []

    return parse


def _holds(key: str) -> Callable[[Mapping[str, Any]], bool]:
    def holds(record: Mapping[str, Any]) -> bool:
        value = record.get(key)
        # strings are names of labels (classes of the text, or the task's label set), not spans
        return isinstance(value, list) and not (value and all(isinstance(v, str) for v in value))

    return holds


def _is_prodigy(record: Mapping[str, Any]) -> bool:
    tokens = record.get("tokens")
    has_tokens = isinstance(tokens, list) and any(isinstance(t, Mapping) for t in tokens)
    # an accepted record without a span may come without the key
    spanless = record.get("answer") == "accept" and not any(key in record for key in _SPAN_KEYS)
    is_left_out = record.get("answer") in list(_ANSWERS)
    return is_left_out or (has_tokens and (spanless or _holds("spans")(record)))


_SPAN_KEYS = ("spans", "label", "labels", "entities")

# The kinds of records, the first that fits; a new one is a line here.
_KINDS: tuple[
    tuple[Callable[[Mapping[str, Any]], bool], Callable[[Mapping[str, Any]], Parsed]], ...
] = (
    (_is_prodigy, _prodigy),
    (_holds("spans"), _own),
    (lambda r: isinstance(r.get("data"), Mapping) and "text" not in r, _label_studio),
    (
        lambda r: _holds("label")(r) and any(isinstance(v, Mapping) for v in r["label"]),
        _label_studio_min,
    ),
    (_holds("label"), _doccano("label")),
    (_holds("labels"), _doccano("labels")),
    (_holds("entities"), _doccano("entities")),
)


def _objects(values: Sequence[Any]) -> list[Span]:
    spans = []
    for value in values:
        if not isinstance(value, Mapping):
            raise ProblemError(
                f"span {shorten(str(value))} is not an object; fix: give start, end, label"
            )
        score = value.get("score", 1.0)
        spans.append(_span(value.get("start"), value.get("end"), value.get("label"), score))
    return spans


def _span(start: Any, end: Any, label: Any, score: Any = 1.0) -> Span:
    if type(start) is not int or type(end) is not int:
        raise ProblemError(
            f"span offsets ({start!r}, {end!r}) are not integers; fix: count characters"
        )
    if not isinstance(label, str) or not label.strip():
        raise ProblemError(f"span ({start}, {end}) has the label {label!r}; fix: give a string")
    if type(score) not in (int, float):
        raise ProblemError(f"span ({start}, {end}) has the score {score!r}; fix: give a number")
    return Span(start, end, label, score=float(score))


def _check(spans: Sequence[Span], text: str) -> None:
    for span, times in Counter(spans).items():
        shown = f"span ({span.start}, {span.end}, {span.label!r})"
        if not 0 <= span.start < span.end <= len(text):
            raise ProblemError(
                f"{shown} is empty or leaves the text of {len(text)} characters; fix: count "
                "characters (not bytes) from 0"
            )
        if times > 1:
            raise ProblemError(f"{shown} is listed twice; fix: keep one")


def _text(record: Mapping[str, Any], key: str) -> str:
    text = record.get(key)
    if not isinstance(text, str):
        raise ProblemError(f"{key!r} is {text!r}; fix: give the text as a string under {key!r}")
    return text


def _member(container: Any, key: Any, what: str) -> Any:
    try:
        return container[key]
    except (IndexError, KeyError, TypeError):
        raise ProblemError(
            f"{what} {shorten(str(container))} lacks {key!r}; fix: complete it"
        ) from None


def _members(record: Mapping[str, Any], key: str, kind: type) -> list[Any]:
    """The list under an optional key, each member checked to be of a kind."""
    values = record.get(key)
    if values is None:
        return []
    if not isinstance(values, list) or not all(isinstance(value, kind) for value in values):
        what = "arrays [start, end]" if kind is list else "objects"
        raise ProblemError(f"{key!r} is {shorten(str(values))}; fix: give a list of {what}")
    return values


def _integer(container: Any, key: Any, what: str) -> int:
    value = _member(container, key, what)
    if type(value) is not int:
        raise ProblemError(
            f"{what} {shorten(str(container))} has offset {value!r}; fix: an integer"
        )
    return int(value)


def write(examples: Iterable[Example], *, scheme: str) -> bytes:
    """Own records, one a line. Raises DataError for text that JSON cannot give back."""
    rows = []
    for example in examples:
        row: dict[str, Any] = {
            "text": example.text,
            "spans": [{"start": s.start, "end": s.end, "label": s.label} for s in example.spans],
        }
        if list(example.words) != split_words(example.text):
            row["words"] = [list(word) for word in example.words]
        line = json.dumps(row, ensure_ascii=False) + "\n"
        if _SURROGATE_PAIR.search(line):
            raise DataError(
                f"{shorten(example.text)} holds a character as two surrogates, JSON reads them as "
                "one; fix: text.encode('utf-16', 'surrogatepass').decode('utf-16')"
            )
        # lone surrogates are no UTF-8, but may stand in JSON as escapes
        rows.append(_SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", line))
    return "".join(rows).encode()
