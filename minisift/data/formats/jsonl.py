"""JSON and JSON Lines of several programs, which are told apart by the records' keys.

minisift's own records are ``{"text": ..., "spans": [{"start", "end", "label"}, ...]}``, with
``"words": [[start, end], ...]`` if the words are not those of `split_words`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from minisift.data.examples import Example, shorten
from minisift.data.formats import labelstudio, objects, tokens
from minisift.data.formats.objects import Entry
from minisift.data.formats.record import Options, Record
from minisift.data.text import split_words
from minisift.exceptions import DataError
from minisift.files import read_text

OPTIONS = ("tag_column", "scheme", "names", "text_field", "encoding")

_WHITE = re.compile(r"\s*")
_SURROGATE = re.compile("[\ud800-\udfff]")
_SURROGATE_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")

Reader = Callable[[Sequence[Entry], Options, "Path | None"], Iterator[Record]]


class Broken(str):
    """What is wrong with a line that is not JSON."""


def read(source: str | os.PathLike[str], options: Options) -> Iterator[Record]:
    """The records of a file: one on each line, those of an array, or those of an object's only list."""
    path = Path(source)
    yield from records(_entries(path, read_text(path, options.encoding), options), options, path)


def records(
    entries: Iterable[Entry], options: Options, path: Path | None = None
) -> Iterator[Record]:
    """Records of parsed entries, in their order.

    All records of a kind are read together, since a reader may need them all to understand each one.
    path: the file that they come from, if any.
    """
    by_reader: dict[Reader, list[Entry]] = {}
    order: dict[str, int] = {}
    for number, (place, value) in enumerate(entries):
        value = tokens.with_words(objects.as_object(value))
        by_reader.setdefault(_reader(value), []).append((place, value))
        order[place] = number
    made = [record for reader, own in by_reader.items() for record in reader(own, options, path)]
    # remarks on the file as a whole come first
    yield from sorted(made, key=lambda record: order.get(record.place, -1))


def _reader(value: Any) -> Reader:
    """The reader for records like this one. To add a kind of record, add its reader here."""
    if isinstance(value, Broken):
        return _broken
    if labelstudio.is_task(value):
        return labelstudio.read
    if tokens.is_gliner(value):
        return tokens.read_gliner
    if tokens.is_tagged_words(value):
        return tokens.read
    return objects.read


def _broken(entries: Sequence[Entry], options: Options, path: Path | None) -> Iterator[Record]:
    for place, problem in entries:
        yield Record(place, problem=str(problem))


def _entries(path: Path, text: str, options: Options) -> list[Entry]:
    """The records of a text as JSON values with their places: the values of its lines, or the members of
    its only value.
    """
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not lines:
        return []
    values = _values(text)
    if isinstance(values, Broken):
        first = _load(lines[0][1])
        loaded = [(f"{path}:{number}", _load(line)) for number, line in lines]
        is_lines = text.lstrip()[0] != "[" and any(isinstance(v, Mapping) for _, v in loaded)
        if isinstance(first, Broken) and not is_lines:
            raise DataError(f"{path}:{values}; fix: export it again")
        return loaded
    if len(values) > 1:
        starts = [number for number, line in lines if len(lines) == len(values)]
        return [
            (f"{path}:{starts[at]}" if starts else f"{path}: record {at + 1}", value)
            for at, value in enumerate(values)
        ]
    (value,) = values
    members = _members(value, options)
    if members is None:
        return [(f"{path}:{lines[0][0]}", value)]
    return [(f"{path}: record {number}", member) for number, member in enumerate(members, 1)]


def _members(value: Any, options: Options) -> list[Any] | None:
    """The records in a value that is a list of them, or an object that has just one such list; else None."""
    if isinstance(value, list):
        return None if objects.as_object(value) is not value else value
    if not isinstance(value, Mapping) or _reader(value) is not objects.read:
        return None
    texts = (*objects.TEXTS, options.text_field)
    if objects.holds_spans(value) or any(isinstance(value.get(key), str) for key in texts):
        return None
    lists = [
        held
        for held in value.values()
        if isinstance(held, list)
        and any(isinstance(objects.as_object(member), Mapping) for member in held)
    ]
    inner = [held for held in value.values() if isinstance(held, Mapping)]
    if not lists and len(inner) == 1:
        return _members(inner[0], options)
    return lists[0] if len(lists) == 1 else None


def _values(text: str) -> list[Any] | Broken:
    """The JSON values of a text, one after the other; if one of them is broken, its line and why."""
    decoder = json.JSONDecoder()
    values: list[Any] = []
    at, end = 0, len(text.rstrip())
    try:
        while at < end:
            at = _WHITE.match(text, at).end()  # type: ignore[union-attr]
            value, at = decoder.raw_decode(text, at)
            values.append(value)
    except json.JSONDecodeError as error:
        return Broken(f"{error.lineno}: not JSON ({error.msg})")
    except RecursionError:
        return Broken("1: not JSON (too deeply nested)")
    return values


def _load(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        return Broken(f"not JSON ({error}); fix: one object a line")


def write(examples: Iterable[Example], *, scheme: str) -> bytes:
    """minisift's own records, one a line. Raises DataError for text that JSON cannot give back."""
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
        # UTF-8 has no bytes for lone surrogates, but JSON has escapes
        rows.append(_SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", line))
    return "".join(rows).encode()
