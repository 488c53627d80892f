"""WebAnno TSV 3, which INCEpTION exports too: a token a line, a column for each layer's features.

Format: WebAnno's user guide, appendix "WebAnno TSV 3.2 File format".
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, product
from pathlib import Path

from minisift.data.examples import Span, shorten
from minisift.data.formats.record import Options, ProblemError, Record
from minisift.exceptions import DataError
from minisift.files import read_text

OPTIONS = ("tag_column", "encoding")

_LAYER = re.compile(r"#T_(SP|CH|RL)=([^|]+)\|?(.*)")
_ROW = re.compile(r"\d+-\d+(\.\d+)?\t(\d+)-(\d+)\t")
_BAR = re.compile(r"(?<!\\)\|")
_ESCAPE = re.compile(r"\\(.)")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}
_USUAL = ("NamedEntity", "value")


@dataclass(frozen=True)
class _Feature:
    kind: str
    """Of its layer: SP for spans, CH for chains, RL for relations."""
    layer: str
    name: str

    def __str__(self) -> str:
        return f"{self.layer}|{self.name}".rstrip("|")


@dataclass(frozen=True)
class _Row:
    line: int
    start: int
    end: int
    token: str
    is_part: bool
    """Whether it is a part of the token in the row before it."""
    values: list[str]

    def value(self, column: int) -> str:
        return (self.values[column] if column < len(self.values) else "") or "_"

    def span_columns(self) -> list[int]:
        """The columns in which the token belongs to a span, whether with a value or without."""
        return [column for column in range(len(self.values)) if self.value(column) != "_"]


@dataclass
class _Sentence:
    texts: list[str]
    rows: list[_Row]


def read(source: str | os.PathLike[str], options: Options) -> Iterator[Record]:
    """A record for each sentence, with the spans of one feature: `tag_column`, or the only one."""
    path = Path(source)
    features: list[_Feature] = []
    sentences = [_Sentence([], [])]
    for number, line in enumerate(read_text(path, options.encoding).split("\n"), 1):
        line = line.rstrip("\r")
        if number == 1 and not re.match(r"#FORMAT=WebAnno TSV 3", line, re.IGNORECASE):
            raise DataError(f"{path}:1: {line[:60]!r}; fix: export as WebAnno TSV 3")
        if layer := _LAYER.match(line):
            names = layer[3].split("|")
            features += [_Feature(layer[1], layer[2].rpartition(".")[2], name) for name in names]
        elif line.startswith("#Text="):
            if sentences[-1].rows:
                sentences.append(_Sentence([], []))
            sentences[-1].texts.append(line.removeprefix("#Text="))
        elif row := _ROW.match(line):
            token, *values = line[row.end() :].split("\t")
            start, end = int(row[2]), int(row[3])
            sentences[-1].rows.append(_Row(number, start, end, token, bool(row[1]), values))
        elif line.strip() and not line.startswith("#"):
            raise DataError(
                f"{path}:{number}: {line[:60]!r} is no token's line; fix: export it again"
            )
    sentences = [sentence for sentence in sentences if sentence.rows]
    filled = _rows_of_columns(sentences, features)
    marked = {c for sentence in sentences for row in sentence.rows for c in row.span_columns()}
    column = _column(path, features, filled, marked, options.tag_column)
    for other, rows in filled.items():
        if other != column:
            what = f"rows of {features[other]} not read"
            yield Record(str(path), note=f"{rows} {what}", counts={what: rows})
    seen: set[str] = set()
    for sentence in sentences:
        place = f"{path}:{sentence.rows[0].line}"
        try:
            yield _record(place, sentence, column, seen)
        except ProblemError as error:
            yield Record(place, problem=str(error))


def _rows_of_columns(
    sentences: Sequence[_Sentence], features: Sequence[_Feature]
) -> dict[int, int]:
    """In how many rows each column has a value; columns without any are left out.

    A star, which is a span without a value, counts as one only if its layer has a single feature.
    """
    layers = Counter(feature.layer for feature in features)
    counted: Counter[int] = Counter()
    for sentence in sentences:
        for row in sentence.rows:
            for column, feature in enumerate(features):
                value = _parse(row.value(column))[0]
                counted[column] += value != "_" and (value != "*" or layers[feature.layer] == 1)
    return dict(+counted)


def _column(
    path: Path,
    features: Sequence[_Feature],
    filled: Collection[int],
    marked: Collection[int],
    wanted: int | str | None,
) -> int:
    """The column of the labels. Raises DataError if it is not clear which.

    filled: the columns that have values; marked: those that have spans.
    """
    spans = [column for column, feature in enumerate(features) if feature.kind == "SP"]
    if wanted is not None:
        found = [
            column
            for column in spans
            if wanted
            in (column, features[column].name, features[column].layer, str(features[column]))
        ]
    else:
        found = [column for column in spans if column in filled]
        usual = [c for c in spans if (features[c].layer, features[c].name) == _USUAL]
        usual = [c for c in usual if c in marked]
        found = usual if len(usual) == 1 else found or spans[:1]
    if len(found) != 1:
        names = ", ".join(str(features[column]) for column in spans)
        raise DataError(
            f"{path}: {len(found)} features may hold the labels (of spans: {names or 'none'}); fix: "
            "name one with tag_column"
        )
    return found[0]


def _record(place: str, sentence: _Sentence, column: int, seen: set[str]) -> Record:
    """A sentence with the spans of a column.

    seen: the ids of spans in the sentences before it, to which its own are added.
    """
    text, at = _locate(sentence)
    tokens = [row for row in sentence.rows if not row.is_part]
    words = tuple((at[row.start], at[row.end]) for row in tokens)
    spans: dict[str, Span] = {}
    counts: Counter[str] = Counter()
    for row in sentence.rows:
        for number, cell in enumerate(_BAR.split(row.value(column))):
            value, name = _parse(cell)
            if value == "_":
                continue
            key = name or f"{row.line}:{number}"
            if value == "*":
                counts["rows of spans without a label not read"] += 1
            elif key in spans:
                spans[key] = Span(spans[key].start, at[row.end], spans[key].label)
            else:
                counts["spans cut where a sentence ends"] += key in seen
                spans[key] = Span(at[row.start], at[row.end], _unescape(value))
    seen.update(spans)
    return Record(place, text, tuple(spans.values()), words, counts=+counts)


def _locate(sentence: _Sentence) -> tuple[str, dict[int, int]]:
    """The sentence's text, and the index in it of each offset of its rows. Raises ProblemError.

    Offsets count from the begin of the document, in UTF-16 units, or in characters if another program
    wrote the file.
    """
    rows = sentence.rows
    written = "\n".join(sentence.texts)
    wanted = [_unescape(row.token) for row in rows]
    for text, wide in product((_unescape(written), written), (True, False)):
        ends = [0, *accumulate(1 + (wide and char > "\uffff") for char in text)]
        first = text.find(wanted[0])
        base = rows[0].start - ends[max(first, 0)]
        at = {base + end: index for index, end in enumerate(ends)}
        if all(
            text[at.get(row.start, 0) : at.get(row.end, 0)] in (token, row.token) and token
            for row, token in zip(rows, wanted, strict=True)
        ):
            return text, at
    raise ProblemError(
        f"tokens are not where their offsets say in {shorten(written)}; fix: export it again"
    )


def _parse(cell: str) -> tuple[str, str | None]:
    """A cell's value, and the number that all rows of a span share, if there is one."""
    value, _, number = cell.removesuffix("]").rpartition("[")
    is_numbered = cell.endswith("]") and number.isdecimal() and not value.endswith("\\")
    return (value, number) if is_numbered else (cell, None)


def _unescape(text: str) -> str:
    return _ESCAPE.sub(lambda found: _ESCAPES.get(found[1], found[1]), text)
