"""Texts to label from files of lines, JSON, CSV or Parquet, each with the record it came in."""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, get_args

from minisift.data.examples import Example, Span
from minisift.exceptions import DataError
from minisift.files import decode

InputFormat = Literal["lines", "jsonl", "json", "csv", "parquet"]
FORMATS: tuple[str, ...] = get_args(InputFormat)
_BY_ENDING = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
}
_DATA_ENDINGS = (
    ".spacy",
    ".conll",
    ".conllu",
    ".conllup",
    ".iob",
    ".iob2",
    ".bio",
    ".bioes",
    ".ann",
)
_MODEL_ENDINGS = (".gguf", ".safetensors")
_LONGEST_CELL = 2**31 - 1
"""Characters that a CSV file's cell may have: the csv module allows 131,072 unless told otherwise."""


@dataclass(frozen=True)
class Input:
    """A text to label, and the record it came in.

    text: an Example if the record says what its words are.
    """

    text: str | Example
    record: Mapping[str, Any]

    def with_spans(self, spans: Sequence[Span]) -> dict[str, Any]:
        """The record with these spans as its last field, in place of any that it had."""
        kept = {name: value for name, value in self.record.items() if name != "spans"}
        return {**kept, "spans": [asdict(span) for span in spans]}


def read_inputs(
    path: str,
    *,
    format: str | None = None,
    text_field: str | None = None,
    encoding: str = "utf-8",
) -> Iterator[Input]:
    """The texts of a file, or of stdin for "-", read one by one as they are asked for.

    format: "lines" (a text a line), "jsonl", "json" (an array of objects or of strings, one object, or
    JSON Lines), "csv" (with a header; a .tsv file is split at tabs) or "parquet"; None goes by the
    file's ending, upper or lower case, and takes a file with any other ending for lines. text_field:
    which field of a record is the text, "text" by default; "data.text" is a field inside an object. If a
    record has "words", as `minisift.write` writes them, they are the words of its text.

    Raises ValueError for a bad option and OSError for a file that cannot be opened, both at once;
    DataError with file, line and fix for a bad record, when its turn comes.

    >>> [item.text for item in read_inputs("letters.csv", text_field="body")]  # doctest: +SKIP
    """
    ending = "" if path == "-" else Path(path).suffix.lower()
    if format is None:
        _check_ending(path, ending)
        format = _BY_ENDING.get(ending, "lines")
    if format not in FORMATS:
        raise ValueError(f"input format {format!r}; fix: one of {', '.join(FORMATS)}")
    if format == "lines" and text_field is not None:
        raise ValueError(
            f"text_field={text_field!r}, but {path} has a text a line, no fields; fix: leave it out, "
            f"or say --input-format {', '.join(FORMATS[1:])}"
        )
    decode(
        bytes(4), path, encoding
    )  # raises for an unknown encoding: zero bytes are valid in all others
    file = _open(path)
    name = "stdin" if path == "-" else path
    records = _records(file, name, format, "\t" if ending == ".tsv" else ",", encoding)
    return _inputs(file, records, text_field or "text")


def _check_ending(path: str, ending: str) -> None:
    """Raises ValueError for a file whose ending says that it holds no texts."""
    if ending in _DATA_ENDINGS:
        raise ValueError(
            f"{path}: labelled data, no texts; fix: score it by minisift evaluate, or write its texts by "
            f"minisift.write(minisift.read({path!r}), 'texts.jsonl') and label these"
        )
    if ending in _MODEL_ENDINGS:
        raise ValueError(f"{path}: a model, no texts; fix: give a file to label")


def _open(path: str) -> BinaryIO:
    if path == "-":
        return sys.stdin.buffer
    if Path(path).is_dir():
        raise IsADirectoryError(f"{path}: a folder; fix: give a file to label")
    if not Path(path).exists():
        raise FileNotFoundError(
            f"{path}: no such file; fix: give the path of a file to label, or - for stdin"
        )
    return Path(path).open("rb")


def _inputs(file: BinaryIO, records: Iterator[tuple[str, Any]], text_field: str) -> Iterator[Input]:
    with file:
        for place, record in records:
            if isinstance(record, str):
                yield Input(record, {"text": record})
            elif isinstance(record, Mapping):
                yield Input(_text(record, text_field, place), record)
            else:
                raise DataError(
                    f"{place}: {record!r:.60} is neither an object nor a string; fix: give objects that "
                    f"hold {text_field!r}, or strings"
                )


def _records(
    file: BinaryIO, name: str, format: str, delimiter: str, encoding: str
) -> Iterator[tuple[str, Any]]:
    """Texts, or records that hold one, each with its place in the file."""
    if format == "parquet":
        return _parquet(file, name)
    lines = _lines(file, name, encoding)
    if format == "csv":
        return _table(lines, name, delimiter)
    if format == "lines":
        return ((f"{name}:{number}", line.rstrip("\r\n")) for number, line in lines)
    return _json(lines, name, by_line=format == "jsonl")


def _lines(file: BinaryIO, name: str, encoding: str) -> Iterator[tuple[int, str]]:
    """Numbered lines, decoded, each with its line end and without a byte order mark."""
    if "\n".encode(encoding) != b"\n":  # UTF-16 and UTF-32: a line end is no single byte
        yield from enumerate(io.StringIO(decode(file.read(), name, encoding), newline="\n"), 1)
        return
    for number, raw in enumerate(file, 1):
        if b"\0" in raw and not raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise DataError(
                f"{name}:{number}: holds NUL bytes, so it is no text in {encoding}; fix: give a file of "
                "text, and its encoding if that is another (such as --encoding utf-16-le)"
            )
        if line := decode(
            raw, name, encoding, number
        ):  # empty if there was a byte order mark and nothing else
            yield number, line


def _json(lines: Iterator[tuple[int, str]], name: str, by_line: bool) -> Iterator[tuple[str, Any]]:
    """Records of JSON Lines, of one array, or of one value that goes over several lines.

    by_line: whether a line that is not JSON is an error, rather than part of a longer value.
    """
    first = next(((number, line) for number, line in lines if line.strip()), None)
    if first is None:
        return
    if first[1].lstrip().startswith("[") or not (by_line or _is_json(first[1])):
        content = _load(first[1] + "".join(line for _, line in lines), name, first[0])
        records = content if isinstance(content, list) else [content]
        yield from ((f"{name}: record {index}", each) for index, each in enumerate(records, 1))
        return
    for number, line in itertools.chain([first], lines):
        if line.strip():
            yield f"{name}:{number}", _load(line, name, number)


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _load(text: str, name: str, first_line: int) -> Any:
    try:
        return json.loads(text.rstrip())
    except (ValueError, RecursionError) as error:
        number, wrong = first_line, str(error)
        if isinstance(error, json.JSONDecodeError):
            number += error.lineno - 1
            wrong = f"{error.msg} at character {error.colno}"
        raise DataError(
            f"{name}:{number}: not JSON ({wrong}); fix: correct it, or say what the file is by "
            "--input-format"
        ) from None


def _table(
    lines: Iterator[tuple[int, str]], name: str, delimiter: str
) -> Iterator[tuple[str, dict[str, str]]]:
    """Rows of a CSV file as objects, keyed by the header; a row's place is its first line."""
    csv.field_size_limit(_LONGEST_CELL)
    rows = csv.reader((line for _, line in lines), delimiter=delimiter, strict=True)
    header: list[str] = []
    first = 1
    try:
        for row in rows:
            place, first = f"{name}:{first}", rows.line_num + 1
            if not row:
                continue
            if not header:
                header = row
                if twice := [column for column in header if header.count(column) > 1]:
                    raise DataError(f"{place}: two columns {twice[0]!r}; fix: rename one")
                continue
            if len(row) != len(header):
                raise DataError(
                    f"{place}: {len(row)} cells under {len(header)} column names; fix: complete the "
                    "row, quote cells that hold the delimiter, or, if there is no header, write one"
                )
            yield place, dict(zip(header, row, strict=True))
    except csv.Error as error:
        raise DataError(
            f"{name}:{first}: not CSV ({error}); fix: close the quotes, doubling those inside of them"
        ) from None


def _parquet(file: BinaryIO, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise ImportError(
            f"{name}: Parquet is read by pyarrow, which is not installed; fix: pip install pyarrow"
        ) from None
    try:
        batches = ParquetFile(file if file.seekable() else io.BytesIO(file.read())).iter_batches()
        rows = itertools.chain.from_iterable(batch.to_pylist() for batch in batches)
        for number, row in enumerate(rows, 1):
            yield f"{name}: row {number}", row
    except (OSError, ValueError) as error:
        raise DataError(f"{name}: not Parquet ({error}); fix: write the file again") from None


def _text(record: Mapping[str, Any], field: str, place: str) -> str | Example:
    """A record's text, as an Example if the record says what its words are."""
    text = _value(record, field, place)
    if not isinstance(text, str):
        raise DataError(f"{place}: {field!r} is {text!r:.60}; fix: make it a string")
    words = record.get("words")
    if not words or not isinstance(words, list) or not all(map(_is_range, words)):
        return text
    try:
        return Example(text, (), tuple((start, end) for start, end in words))
    except DataError as error:
        raise DataError(f"{place}: {error}") from None


def _value(record: Mapping[str, Any], field: str, place: str) -> Any:
    """What a record holds under a field's name, or under a path such as "data.text"."""
    if field in record:
        return record[field]
    within: Any = record
    for name in field.split("."):
        if not isinstance(within, Mapping) or name not in within:
            there = ", ".join(map(repr, within)) if isinstance(within, Mapping) else ""
            raise DataError(
                f"{place}: no field {field!r}, there are {there or 'none'}; fix: say by --text-field "
                "which one is the text (data.text is one inside of another)"
            )
        within = within[name]
    return within


def _is_range(word: Any) -> bool:
    return isinstance(word, list) and [type(place) for place in word] == [int, int]
