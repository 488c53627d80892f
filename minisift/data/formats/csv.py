"""Tables with a header row. A row is a word and its tag, or a text and its spans as JSON."""

from __future__ import annotations

import ast
import csv
import io
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from minisift.data.formats import jsonl, objects
from minisift.data.formats.columns import TAGS, WORDS, Line, Table, records
from minisift.data.formats.record import Options, Record
from minisift.data.formats.tokens import tag_names
from minisift.data.tags import is_tagged
from minisift.exceptions import DataError
from minisift.files import read_text

OPTIONS = ("word_column", "tag_column", "scheme", "names", "text_field", "encoding")

SENTENCES = ("sentence #", "sentence", "sentence_id", "sentence_idx", "sent_id", "sentence id")
"""Names of columns whose value changes where a new sentence begins."""
_DOCUMENTS = ("document", "document #", "document_id", "doc", "doc_id", "article_id", "file")
_ITEM = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|-?\d+"""
_NUMPY = re.compile(rf"\[\s*(?:(?:{_ITEM})(?:\s+|(?=\])))*\]")
"""A list of strings or numbers as numpy prints it, without commas."""
_LONGEST_CELL = 1 << 27
"""Characters that a cell may have."""


def read(source: str | os.PathLike[str], options: Options) -> Iterator[Record]:
    """Rows of words if the header names a column of words and one of tags, else rows of texts.

    A sentence of words begins where the sentence column ("Sentence #", "sentence_id", ...) has a new
    value, or after an empty row. In rows of texts, a column that holds lists is parsed.
    """
    path = Path(source)
    rows = _rows(path, read_text(path, options.encoding))
    if not rows:
        return
    header, *rows = rows
    names = [name.strip() for name in header[1]]
    if isinstance(options.tag_column, int) and is_tagged(Counter(names[options.tag_column :][:1])):
        rows, names = [header, *rows], [""] * len(names)  # no header
    known = [name.casefold() for name in names]
    texts = (*objects.TEXTS, options.text_field)
    lists = {
        name
        for _, row in rows
        for name, cell in zip(names, row, strict=False)
        if name not in texts and _is_list(cell)
    }
    tags = [name for name, usual in zip(names, known, strict=True) if usual in TAGS]
    tag = options.tag_column if options.tag_column is not None else tags[-1] if tags else None
    has_words = any(name in WORDS and name != "text" for name in known)
    is_told = options.tag_column is not None or options.word_column is not None or has_words
    if tag is not None and is_told and tag not in lists and options.text_field is None:
        options = replace(options, tag_column=tag)
        yield from records(_table(path, names, rows, options), options)
        return
    if options.word_column is not None:
        raise ValueError(
            f"word_column={options.word_column!r}, but {path} is no table of words with a tag each; "
            "fix: leave it out, or give tag_column"
        )
    entries = [(f"{path}:{number}", _record(names, row, lists)) for number, row in rows if any(row)]
    yield from jsonl.records(entries, options, path)


def _rows(path: Path, text: str) -> list[tuple[int, list[str]]]:
    """Numbered rows, split at the delimiter that is most frequent in the header.

    A row's number is that of its first line.
    """
    header = text[: text.find("\n")] if "\n" in text else text
    delimiter = max(",;\t|", key=header.count)
    csv.field_size_limit(_LONGEST_CELL)
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


def _table(
    path: Path, names: list[str], rows: Sequence[tuple[int, list[str]]], options: Options
) -> Table:
    """Rows of words as sentences; tags that are numbers get their names."""
    known = [name.casefold() for name in names]
    telling = [at for at, name in enumerate(known) if name in (*SENTENCES, *_DOCUMENTS)]
    sentences: list[list[Line]] = [[]]
    current = [""] * len(telling)
    for number, row in rows:
        cells = [cell.strip() for cell in row]
        if not any(cells):
            sentences.append([])
            continue
        # in Kaggle's tables only a sentence's first row has its number
        said = [
            cells[at] if at < len(cells) and cells[at] else before
            for at, before in zip(telling, current, strict=True)
        ]
        if said != current:
            sentences.append([])
            current = said
        problem = ""
        if len(row) != len(known):
            problem = f"{len(row)} cells under {len(known)} names; fix: quote or complete the row"
        sentences[-1].append(Line(f"{path}:{number}", cells, problem))
    sentences = [sentence for sentence in sentences if sentence]
    if not set(known) & set(SENTENCES) and len(sentences) == 1 and len(sentences[0]) > 1:
        raise DataError(
            f"{path}: no column tells where sentences begin (columns: {', '.join(known)}); fix: name "
            f"it {SENTENCES[2]!r}, or leave an empty row between sentences"
        )
    table = Table(path, sentences, names)
    if options.names is not None and options.tag_column is not None:
        column = table.column(options.tag_column)
        numbers = {
            str(n): name for n, name in tag_names(options.names, table.title(column)).items()
        }
        for line in (line for sentence in sentences for line in sentence if not line.problem):
            line.cells[column.index] = numbers.get(
                line.cells[column.index], line.cells[column.index]
            )
    return table


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
    """The list in a cell, written as JSON or as Python or numpy print it; an empty cell is an empty list.

    Any other cell is returned as it is.
    """
    given, cell = cell, cell.strip()
    if not cell:
        return []
    if cell[0] != "[":
        return given
    if _NUMPY.fullmatch(cell):
        cell = f"[{', '.join(re.findall(_ITEM, cell))}]"
    for parse in (json.loads, ast.literal_eval):
        try:
            return _as_lists(parse(cell))
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return given


def _as_lists(value: Any) -> Any:
    """The value with its tuples as lists, as JSON has them."""
    return [_as_lists(member) for member in value] if isinstance(value, list | tuple) else value
