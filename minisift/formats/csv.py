"""Tables with a header row: a word a row with its tag, or a text a row with its spans as JSON."""

from __future__ import annotations

import ast
import csv
import io
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from minisift.exceptions import DataError
from minisift.files import read_text
from minisift.formats import jsonl
from minisift.formats.columns import WORDS, Line, Table, records
from minisift.formats.record import Options, Record

OPTIONS = ("word_column", "tag_column", "scheme", "names", "text_field", "encoding")

_TAGS = ("tag", "tags", "ner", "ner_tag", "ner_tags", "label", "labels", "entity", "iob", "bio")
_SENTENCES = ("sentence #", "sentence", "sentence_id", "sentence_idx", "sent_id", "sentence id")
_LARGEST = 1 << 27
"""Characters that a cell may have."""


def read(source: str | os.PathLike[str], options: Options) -> Iterator[Record]:
    """Rows of words, where the header names a column of words and one of tags, else rows of texts.

    Sentences begin where the sentence column ("Sentence #", "sentence_id", ...) says something new,
    or behind empty rows. Cells of texts' rows that hold lists or objects are read as such.
    """
    path = Path(source)
    rows = _rows(path, read_text(path, options.encoding))
    if not rows:
        return
    header, *rows = rows
    names = [name.strip() for name in header[1]]
    known = [name.casefold() for name in names]
    lists = {n for _, row in rows for n, cell in zip(names, row, strict=False) if _is_list(cell)}
    tags = [name for name, usual in zip(names, known, strict=True) if usual in _TAGS]
    is_words = options.tag_column is not None or (
        any(name in WORDS and name != "text" for name in known)
        and bool(tags)
        and not lists & set(tags)
    )
    if is_words and options.text_field is None:
        table = Table(path, _sentences(path, rows, known), names)
        if options.tag_column is None:
            options = replace(options, tag_column=tags[-1])
        yield from records(table, options)
        return
    entries = [(f"{path}:{number}", _record(names, row, lists)) for number, row in rows if any(row)]
    yield from jsonl.records(entries, options, path)


def _rows(path: Path, text: str) -> list[tuple[int, list[str]]]:
    """Rows with the lines that they begin in; the delimiter is the one that the header has most of."""
    header = text[: text.find("\n")] if "\n" in text else text
    delimiter = max(",;\t|", key=header.count)
    csv.field_size_limit(_LARGEST)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    rows = []
    number = 1
    try:
        for row in reader:
            rows.append((number, row))
            number = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{path}:{reader.line_num}: not a table ({error}); fix: quote cells that hold quotes, "
            "delimiters or line ends"
        ) from None
    return rows


def _sentences(
    path: Path, rows: Sequence[tuple[int, list[str]]], known: Sequence[str]
) -> list[list[Line]]:
    column = next((known.index(name) for name in _SENTENCES if name in known), None)
    sentences: list[list[Line]] = [[]]
    current = ""
    for number, row in rows:
        if not any(cell.strip() for cell in row):
            sentences.append([])
            continue
        said = row[column].strip() if column is not None and column < len(row) else ""
        if said and said != current:
            sentences.append([])
            current = said
        problem = ""
        if len(row) != len(known):
            problem = f"{len(row)} cells under {len(known)} names; fix: quote or complete the row"
        sentences[-1].append(Line(f"{path}:{number}", [cell.strip() for cell in row], problem))
    sentences = [sentence for sentence in sentences if sentence]
    if column is None and len(sentences) == 1 and len(sentences[0]) > 1:
        raise DataError(
            f"{path}: no column tells where sentences begin (columns: {', '.join(known)}); fix: name "
            f"it {_SENTENCES[2]!r}, or leave an empty row between sentences"
        )
    return sentences


def _record(names: Sequence[str], row: Sequence[str], lists: set[str]) -> Any:
    if len(row) != len(names):
        return jsonl.Broken(
            f"{len(row)} cells under {len(names)} names; fix: quote or complete the row"
        )
    cells = dict(zip(names, row, strict=True))
    return {name: _value(cell) if name in lists else cell for name, cell in cells.items()}


def _is_list(cell: str) -> bool:
    return isinstance(_value(cell), list) and bool(cell.strip())


def _value(cell: str) -> Any:
    """What a cell spells in JSON, or as Python prints lists; an empty cell is an empty list."""
    cell = cell.strip()
    if not cell:
        return []
    if cell[0] not in "[{":
        return cell
    for parse in (json.loads, ast.literal_eval):
        try:
            return parse(cell)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return cell
