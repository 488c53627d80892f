"""Character spans in JSON: minisift's own lines, and what annotation tools export.

Own records are ``{"text": ..., "spans": [{"start", "end", "label"}, ...]}``, with ``"words":
[[start, end], ...]`` where they are not those of `split_words`. A file is JSON Lines, or one
JSON array (Label Studio). Each record's kind is told by its own keys.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from minisift.data import DataError, Example, Record, Span, shorten
from minisift.text import split_words


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
            for span in spans:
                _check(span, text)
            _check_duplicates(spans)
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
                yield f"{path}: record {number}", record
            return
        for number, line in enumerate(file, 1):
            text = _decode(line, path, number).lstrip("\ufeff")
            if text.strip():
                yield f"{path}:{number}", text


def _decode(raw: bytes, path: Path, number: int) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}:{number}: not UTF-8 ({error}); fix: convert the file to UTF-8"
        ) from None


def _load(raw: str, whole_file: str = "") -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        if whole_file:
            raise DataError(f"{whole_file}: not JSON ({error}); fix: export it again") from None
        raise ProblemError(
            f"not JSON ({error}); fix: one object a line, or for an array the ending .json"
        ) from None


Parsed = tuple[str, list[Span], list[tuple[int, int]]]


def _parse(record: Any) -> Parsed:
    if isinstance(record, list) and len(record) == 2 and isinstance(record[1], Mapping):
        record = {"text": record[0], **record[1]}  # spaCy's (text, {"entities": ...}) pairs
    if not isinstance(record, Mapping):
        raise ProblemError(f"{shorten(str(record))} is not an object; fix: give 'text' and 'spans'")
    for is_kind, parse in _KINDS:
        if is_kind(record):
            return parse(record)
    raise ProblemError(
        f"no spans (keys: {', '.join(map(str, record)) or 'none'}); fix: give 'text' and 'spans', "
        "an empty list where there are none"
    )


def _own(record: Mapping[str, Any]) -> Parsed:
    words = [
        (_integer(word, 0, "word"), _integer(word, 1, "word")) for word in record.get("words", [])
    ]
    return _text(record, "text"), _objects(record["spans"]), words


def _prodigy(record: Mapping[str, Any]) -> Parsed:
    answer = record.get("answer", "accept")
    if answer != "accept":
        raise SkippedError(
            {
                "reject": "records rejected by the annotator",
                "ignore": "records ignored by the annotator",
            }.get(answer, f"records answered {answer!r}")
        )
    text = _text(record, "text")
    tokens = [
        (_integer(token, "start", "token"), _integer(token, "end", "token"))
        for token in record.get("tokens", [])
    ]
    words = [(start, end) for start, end in tokens if text[start:end].strip()]
    return text, _objects(record.get("spans", [])), words


def _label_studio(record: Mapping[str, Any]) -> Parsed:
    data = record["data"]
    strings = [key for key, value in data.items() if isinstance(value, str)]
    text = _text(data, strings[0] if len(strings) == 1 else "text")
    annotations = [a for a in record.get("annotations", []) if not a.get("was_cancelled")]
    if not annotations:
        raise SkippedError("tasks without an annotation")
    results = [r["value"] for r in annotations[0].get("result", []) if r.get("type") == "labels"]
    return text, _label_studio_spans(results, text), []


def _label_studio_min(record: Mapping[str, Any]) -> Parsed:
    text = _text(record, "text")
    return text, _label_studio_spans(record["label"], text), []


def _label_studio_spans(values: Sequence[Any], text: str) -> list[Span]:
    spans = []
    for value in values:
        labels = value.get("labels")
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
                spans += _objects(
                    [
                        {
                            "start": entry.get("start_offset", entry.get("start")),
                            "end": entry.get("end_offset", entry.get("end")),
                            "label": entry.get("label"),
                        }
                    ]
                )
            else:
                spans.append(_span(*(_member(entry, i, "span") for i in range(3))))
        return text, spans, []

    return parse


def _holds(key: str) -> Callable[[Mapping[str, Any]], bool]:
    return lambda record: isinstance(record.get(key), list)


# The kinds of records, the first that fits; a new one is a line here.
_KINDS: tuple[
    tuple[Callable[[Mapping[str, Any]], bool], Callable[[Mapping[str, Any]], Parsed]], ...
] = (
    (lambda r: "answer" in r or _holds("tokens")(r), _prodigy),
    (_holds("spans"), _own),
    (lambda r: isinstance(r.get("data"), Mapping), _label_studio),
    (
        lambda r: _holds("label")(r) and any(isinstance(v, Mapping) for v in r["label"]),
        _label_studio_min,
    ),
    (_holds("label"), _doccano("label")),
    (_holds("labels"), _doccano("labels")),
    (_holds("entities"), _doccano("entities")),
)


def _objects(values: Any) -> list[Span]:
    if not isinstance(values, list):
        raise ProblemError(f"spans are {type(values).__name__}; fix: give a list of objects")
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


def _check(span: Span, text: str) -> None:
    if not 0 <= span.start < span.end <= len(text):
        raise ProblemError(
            f"span ({span.start}, {span.end}, {span.label!r}) is empty or leaves the text of "
            f"{len(text)} characters; fix: count characters (not bytes) from 0"
        )


def _check_duplicates(spans: Sequence[Span]) -> None:
    for index, span in enumerate(spans):
        if span in spans[:index]:
            raise ProblemError(
                f"span ({span.start}, {span.end}, {span.label!r}) is listed twice; fix: keep one"
            )


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


def _integer(container: Any, key: Any, what: str) -> int:
    value = _member(container, key, what)
    if type(value) is not int:
        raise ProblemError(
            f"{what} {shorten(str(container))} has offset {value!r}; fix: an integer"
        )
    return int(value)


def write(examples: Iterable[Example], *, scheme: str) -> bytes:
    """Own records, one a line."""
    rows = []
    for example in examples:
        row: dict[str, Any] = {
            "text": example.text,
            "spans": [{"start": s.start, "end": s.end, "label": s.label} for s in example.spans],
        }
        if list(example.words) != split_words(example.text):
            row["words"] = [list(word) for word in example.words]
        rows.append(json.dumps(row, ensure_ascii=False) + "\n")
    return "".join(rows).encode("utf-8", "surrogatepass")
