"""CoNLL columns: a word a line, its tag in one column, an empty line between sentences."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from minisift.data import DataError, Example, Record
from minisift.tags import TagError, decode, encode, recognise

_NAMES = re.compile(r"#\s*global\.columns\s*=\s*(.+)", re.IGNORECASE)

Line = tuple[int, list[str]]
"""Line number and columns."""


def read(
    source: str | os.PathLike[str], *, tag_column: int | str | None, scheme: str | None
) -> Iterator[Record]:
    """Sentences of a column file, checked against the one scheme that fits the file best.

    Columns are split at tabs where the file has any, else at runs of spaces. Skipped are
    ``-DOCSTART-`` lines and comments: lines at the head of a sentence that begin with ``#``
    and hold no tag where the sentence has its tags. Column names come from a line
    ``# global.columns = FORM TAG`` (CoNLL-U Plus).
    """
    path = Path(source)
    try:
        # not splitlines(): a word may hold U+2028 and its like
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        number = error.object.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}:{number}: not UTF-8 ({error}); fix: convert the file to UTF-8"
        ) from None
    # not str.split(): words may hold no-break spaces
    columns = re.compile("\t" if any("\t" in line for line in lines) else " +")
    names: list[str] = []
    sentences: list[list[Line]] = [[]]
    for number, line in enumerate(lines, 1):
        if found := _NAMES.match(line):
            names = found[1].split()
        elif not line.strip() or line.startswith("-DOCSTART-"):
            sentences.append([])
        else:
            sentences[-1].append((number, [c.strip() for c in columns.split(line.strip(" \r"))]))
    column = _column(path, tag_column, names)
    bodies = [body for body in (_without_comments(s, column) for s in sentences) if body]
    whole = [body for body in bodies if not any(_incomplete(line, column) for line in body)]
    scheme = scheme or recognise([[columns[column] for _, columns in body] for body in whole])
    for body in bodies:
        yield _record(path, body, column, scheme)


def _column(path: Path, tag_column: int | str | None, names: list[str]) -> int:
    if not isinstance(tag_column, str):
        return -1 if tag_column is None else tag_column
    if tag_column not in names:
        raise DataError(
            f"{path}: no column is named {tag_column!r} (named: {', '.join(names) or 'none'}); "
            "fix: give its number, or begin the file with '# global.columns = FORM TAG'"
        )
    return names.index(tag_column)


def _incomplete(line: Line, column: int) -> bool:
    columns = line[1]
    least = column + 1 if column >= 0 else max(2, -column)
    return len(columns) < least or not columns[0] or not columns[column]


def _without_comments(body: list[Line], column: int) -> list[Line]:
    def is_comment(line: Line) -> bool:
        if not line[1][0].startswith("#"):
            return False
        width = len(body[-1][1])
        return len(line[1]) != width or _incomplete(line, column) or not _is_tag(line[1][column])

    first = next((i for i, line in enumerate(body) if not is_comment(line)), len(body))
    return body[first:]


def _is_tag(tag: str) -> bool:
    return tag == "O" or tag[1:2] == "-"


def _record(path: Path, body: list[Line], column: int, scheme: str) -> Record:
    for line in body:
        if _incomplete(line, column):
            return Record(
                f"{path}:{line[0]}",
                problem=f"{len(line[1])} column(s), the tag is expected in column {column}"
                f"{' (counted from the end)' if column < 0 else ''}; fix: complete the line, or "
                "give tag_column",
            )
    places = [f"{path}:{number}" for number, _ in body]
    return tagged_record(
        places,
        [columns[0] for _, columns in body],
        [columns[column] for _, columns in body],
        scheme,
    )


def tagged_record(
    places: Sequence[str], words: Sequence[str], tags: Sequence[str], scheme: str
) -> Record:
    """A sentence of words and tags as a Record; places: of each word, at least one."""
    try:
        example = Example.from_words(words, decode(tags, scheme))
    except TagError as error:
        place = places[min(error.index, len(places) - 1)]
        return Record(place, problem=f"{error}; fix: correct the tag, or give tag_column or scheme")
    except DataError as error:
        return Record(places[0], problem=str(error))
    return Record(places[0], example.text, example.spans, example.words)


def write(examples: Iterable[Example], *, scheme: str) -> bytes:
    """Two columns, word and tag, separated by a tab; an example without words is left out.

    Raises DataError for a word or label that columns cannot hold.
    """
    sentences = []
    for example in examples:
        tags = encode(len(example.words), example.word_spans(), scheme)
        rows = zip(example.words, tags, strict=True)
        sentences.append("".join(_row(example.text[a:b], tag) for (a, b), tag in rows))
    content = "\n".join(sentence for sentence in sentences if sentence)
    # a reader takes one mark at the begin of a file for the byte order's
    return ("\ufeff" * content.startswith("\ufeff") + content).encode()


def _row(word: str, tag: str) -> str:
    label = tag[2:]
    if (
        any(mark in word + tag for mark in "\t\r\n")
        or label != label.strip()
        or word.startswith("-DOCSTART-")
    ):
        raise DataError(f"{word!r} {tag!r} cannot be written as columns; fix: write JSONL")
    return f"{word}\t{tag}\n"
