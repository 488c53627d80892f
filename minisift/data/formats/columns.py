"""Words and tags in columns, of files, tables or lists: which column holds which, and their records."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from minisift.data.examples import Example
from minisift.data.formats.record import Options, Record
from minisift.data.tags import CHUNKS, UNNAMED, Notation, is_tagged, notation
from minisift.exceptions import DataError, TagError

WORDS = ("form", "token", "tokens", "word", "words", "text")
"""Names of the words' column."""
TAGS = ("tag", "tags", "ner", "ner_tag", "ner_tags", "label", "labels", "entity", "iob", "bio")
"""Names of the tags' column."""
_ID = re.compile(r"[a-z]?(\d+)(?:[-.:](\d+))?")
"""A number, or an id such as t1, or 2-1 for the first word of the second sentence."""
_COUNT = re.compile(r"(\d+)([-.]\d+)?")
"""A word's number in CoNLL-U. With the second part the row is no word: it is a range of words (1-2) or an
empty node (1.1)."""
_FEATURE = re.compile(r"(?:^|(?<=\|))([^=|]+)=([^|]*)")
"""One of a cell's features, such as ``name=B-PER``."""
_ENDS = re.compile(r"[\r\n\t]")
"""Line ends and tabs, which no word or tag may hold."""
_SHARE = 0.9
"""A property that this share of the sentences has is taken for one of the whole column."""


class Line(NamedTuple):
    """A line of a file: a word and its annotations."""

    place: str
    cells: list[str]
    problem: str = ""


@dataclass(frozen=True)
class Column:
    """A column by its index, which is counted from the end if negative, or one feature of its cells."""

    index: int
    feature: str = ""

    def at(self, line: Line) -> int:
        """Its index in a line, counted from 0."""
        return self.index + (self.index < 0) * len(line.cells)

    def of(self, line: Line) -> str:
        """The line's cell: empty if the line is too short, "O" if the cell lacks the feature."""
        try:
            cell = line.cells[self.index]
        except IndexError:
            return ""
        if not self.feature:
            return cell
        features: dict[str, str] = dict(_FEATURE.findall(cell))
        return features.get(self.feature, "O")


@dataclass(frozen=True)
class Table:
    """Sentences of lines, and the columns' names if the file has them."""

    path: Path
    sentences: Sequence[Sequence[Line]]
    names: Sequence[str] = ()

    @cached_property
    def width(self) -> int:
        """How many cells most of the lines have."""
        return Counter(len(line.cells) for s in self.sentences for line in s).most_common(1)[0][0]

    @cached_property
    def _cells(self) -> list[Counter[str]]:
        whole = [
            line.cells
            for sentence in self.sentences
            for line in sentence
            if len(line.cells) == self.width and not line.problem
        ]
        counted = [Counter(cells) for cells in zip(*whole, strict=True)]
        for cells in counted:
            del cells[""]
        return counted or [Counter()] * self.width

    def cells(self, column: Column) -> Counter[str]:
        """How often each cell occurs in a column; empty cells are not counted."""
        return self._cells[column.index]

    @cached_property
    def counts_words(self) -> bool:
        """Whether the first column numbers the words, as in CoNLL-U, where some rows are no words."""
        plain = any(map(str.isdecimal, self.cells(Column(0))))
        return self.width > 2 and plain and self._counts(Column(0))

    def is_of_words(self, column: Column) -> bool:
        """Whether a column may hold the words: it has no numbers or offsets, and its cells differ."""
        cells = self.cells(column)
        if self._counts(column) or self._is_offsets(column) or (len(cells) == 1 < cells.total()):
            return False
        several = [[column.of(line) for line in s] for s in self.sentences if len(s) > 1]
        alike = sum(len(set(each)) == 1 for each in several)
        is_told = all(re.search(r"[\d/]", cell) for cell in cells) or (
            sum(len(each) > 2 for each in several) > 1
        )
        return not (several and is_told and alike >= _SHARE * len(several))

    def _numbers(self, column: Column) -> list[list[int]]:
        """The numbers in a column, by sentence; an empty list if the column holds anything else."""
        if not all(map(_ID.fullmatch, self.cells(column))):
            return []
        matches = [[_ID.fullmatch(column.of(line)) for line in s] for s in self.sentences]
        if not all(match for each in matches for match in each):
            return []
        are_pairs = all(match and match[2] for each in matches for match in each)
        # if only some are pairs, these are CoNLL-U's rows that are no words
        return [
            [
                int(match[2 if are_pairs else 1])
                for match in each
                if match and (are_pairs or not match[2])
            ]
            for each in matches
        ]

    def _counts(self, column: Column) -> bool:
        """Whether a column counts by one: anew in each sentence, or on through the file."""
        sentences = self._numbers(column)
        flat = [number for each in sentences for number in each]
        is_one = len(flat) == 1 and bool({"0", "1"} & self.cells(column).keys())
        runs_on = len(flat) > 1 and flat == list(range(flat[0], flat[0] + len(flat)))
        several = [each for each in sentences if len(each) > 1]
        by_one = sum(each == list(range(each[0], each[0] + len(each))) for each in several)
        anew = not several and len(flat) > 1 and set(flat) <= {0, 1}
        return is_one or runs_on or anew or (bool(several) and by_one >= _SHARE * len(several))

    def _is_offsets(self, column: Column) -> bool:
        """Whether a column and its neighbour hold the offsets where words begin and end."""
        begins, beside = self._numbers(column), Column(column.index + 1)
        ends = self._numbers(beside) if beside.index < self.width else []
        if not begins or not ends:
            before = Column(column.index - 1)
            return column.index > 0 and bool(begins) and self._is_offsets(before)
        if [*map(len, begins)] != [*map(len, ends)]:
            return False
        return all(
            a < b for each in zip(begins, ends, strict=True) for a, b in zip(*each, strict=True)
        )

    @cached_property
    def tag_columns(self) -> list[Column]:
        """Columns whose cells are tags."""
        return [c for c in map(Column, range(self.width)) if is_tagged(self.cells(c))]

    @cached_property
    def tag_features(self) -> list[Column]:
        """Features that are tags, in columns whose cells list features."""
        found: dict[tuple[int, str], Counter[str]] = {}
        for sentence in self.sentences:
            for line in sentence:
                for index, cell in enumerate(line.cells):
                    for name, value in _FEATURE.findall(cell) if "=" in cell else ():
                        found.setdefault((index, name), Counter())[value] += 1
        return [Column(*key) for key, values in found.items() if is_tagged(values)]

    def column(self, wanted: int | str) -> Column:
        """A column by number or name, or a feature by name. Raises DataError."""
        if not isinstance(wanted, str):
            if not -self.width <= wanted < self.width:
                raise DataError(
                    f"{self.path}: no column {wanted} in lines of {self.width}; fix: a number from 0 "
                    f"to {self.width - 1}, or from -1 to -{self.width} counted from the end"
                )
            return Column(wanted)
        for names in (self.names, [name.casefold() for name in self.names]):
            if (name := wanted if names is self.names else wanted.casefold()) in names:
                return Column(list(names).index(name))
        named = [column for column in self.tag_features if column.feature == wanted]
        if len(named) == 1:
            return named[0]
        raise DataError(
            f"{self.path}: no column is named {wanted!r} (named: {', '.join(self.names) or 'none'}); "
            "fix: give its number, or begin the file with '# global.columns = FORM TAG'"
        )

    def labels(self, column: Column) -> set[str]:
        """The labels of a column of tags; none if they are chunks."""
        labels = {tag[2:] for tag in self.cells(column) if tag[1:2] in ("-", "_")}
        return set() if 2 * len(labels & CHUNKS) >= len(labels) else labels

    def title(self, column: Column) -> str:
        """A column's name, or else its number, for messages."""
        index = column.index % self.width
        return repr(column.feature or (self.names[index] if index < len(self.names) else index))


def records(table: Table, options: Options) -> Iterator[Record]:
    """A record for each sentence, of the words in one column and the tags in another."""
    sentences = [sentence for sentence in table.sentences if sentence]
    if not sentences:
        return
    table = Table(table.path, sentences, table.names)
    if table.counts_words:
        table = Table(table.path, [[w for w in s if _is_word(w)] for s in sentences], table.names)
        yield from _unread_rows(
            [line for s in sentences for line in s if not _is_word(line)], table
        )
    tag = (
        table.column(options.tag_column)
        if options.tag_column is not None
        else _tags(table, options)
    )
    word = (
        table.column(options.word_column) if options.word_column is not None else _words(table, tag)
    )
    tags = [
        # in a line of one cell, -1 is the word and no tag
        [tag.of(line) if tag.at(line) != word.at(line) else "" for line in sentence]
        for sentence in table.sentences
    ]
    good = [s for s, lines in zip(tags, table.sentences, strict=True) if _is_whole(lines, s)]
    written = notation(good, options.scheme)
    if options.tag_column is None:
        yield from _remarks(table, word, tag)
    if not written.has_labels:
        yield Record(str(table.path), note=f"tags are letters alone; their label is {UNNAMED!r}")
    for lines, sentence in zip(table.sentences, tags, strict=True):
        if lines:
            yield _record(lines, word, tag, sentence, written)


def _is_word(line: Line) -> bool:
    count = _COUNT.fullmatch(line.cells[0])
    return not (count and count[2])


def _unread_rows(lines: Sequence[Line], table: Table) -> Iterator[Record]:
    """A remark on tags in CoNLL-U's rows that are no words, if there are any."""
    tags = sum(any(cell[1:2] == "-" and cell[2:] for cell in line.cells[1:]) for line in lines)
    if tags:
        what = "tags of rows for several words and of empty nodes not read"
        yield Record(str(table.path), counts={what: tags}, note=f"{tags} {what}")


def _tags(table: Table, options: Options) -> Column:
    """The column of the tags: the last one if it holds tags, else the only one that does.

    If several columns have tags of the same labels, for spans inside spans, it is the first of them. If
    the last one is "O" throughout, it is the first that has labels, unless these are chunks, which
    usually stand before a column of names.
    """
    last = Column(-1)
    while not table.cells(last) and last.index > -table.width:
        last = Column(last.index - 1)
    counted = table.cells(last)
    if is_tagged(counted):
        labels = table.labels(last)
        words = _words(table, last)
        others = [c for c in table.tag_columns if c != words]
        same = [c for c in others if table.labels(c) & labels or (not labels and table.labels(c))]
        return same[0] if same and same[0].index != last.index % table.width else last
    bare = notation([list(counted.elements())], options.scheme).scheme == "io"
    if bare and not table.tag_columns:
        return last
    found = table.tag_columns or table.tag_features
    if len(found) == 1:
        return found[0]
    shown = ", ".join(table.title(column) for column in found)
    if found:
        raise DataError(
            f"{table.path}: the last column holds no tags, {len(found)} others do ({shown}); fix: "
            f"name one, as in tag_column={table.title(found[0])}"
        )
    cells = ", ".join(repr(cell) for cell, _ in counted.most_common(3))
    if any(
        "(" in cell and "*" in cell
        for column in range(table.width)
        for cell in table.cells(Column(column))
    ):
        cells += "; brackets as in CoNLL-2012 are to be converted to B- and I-"
    raise DataError(
        f"{table.path}: no column holds tags such as 'O' or 'B-PER' (lines of {table.width} "
        f"column(s), the last holds {cells}); fix: give tag_column, scheme='io' for labels without "
        "letters, or format where it is no file of columns"
    )


def _words(table: Table, tag: Column) -> Column:
    """The column of the words: the one with a usual name, else the first that may hold words."""
    for index, name in enumerate(table.names):
        if name.casefold() in WORDS:
            return Column(index)
    left = [Column(i) for i in range(table.width) if i != tag.index % table.width]
    return next((column for column in left if table.is_of_words(column)), (left or [Column(0)])[0])


def _remarks(table: Table, word: Column, tag: Column) -> Iterator[Record]:
    """Remarks: which columns are read, if not the first and the last, and what spans are in others."""
    place = str(table.path)
    index = tag.index % table.width
    if index != table.width - 1 or tag.feature:
        note = f"the tags are those of column {table.title(tag)} of {table.width}"
        yield Record(place, note=note)
    if word.index % table.width:
        note = f"the words are those of column {table.title(word)} of {table.width}"
        yield Record(place, note=note)
    for column in table.tag_columns:
        if column.index in (index, word.index % table.width) or not table.labels(column):
            continue
        tags = [[column.of(line) for line in s if column.of(line)] for s in table.sentences]
        written = notation(tags)
        spans = 0
        for sentence in tags:
            try:
                spans += len(written.decode(sentence))
            except TagError:
                continue
        if spans:
            what = f"spans in column {table.title(column)} not read"
            yield Record(place, counts={what: spans}, note=f"{spans} {what}")


def _is_whole(lines: Sequence[Line], tags: Sequence[str]) -> bool:
    """Whether a sentence is annotated and nothing is missing."""
    return not any(line.problem for line in lines) and all(tags) and not _is_unannotated(tags)


def _is_unannotated(tags: Sequence[str]) -> bool:
    return set(tags) == {"_"}


def _record(
    lines: Sequence[Line], word: Column, tag: Column, tags: Sequence[str], written: Notation
) -> Record:
    words = [word.of(line) for line in lines]
    is_good = all(words) and all(tags) and not any(line.problem for line in lines)
    if not is_good or _ENDS.search("".join([*words, *tags])):
        for line, each, cell in zip(lines, words, tags, strict=True):
            if problem := _problem(line, each, cell, tag):
                return Record(line.place, problem=problem)
    if _is_unannotated(tags) and "_" not in written.outside:
        return Record(lines[0].place, skipped="sentences without tags")
    return record([line.place for line in lines], words, tags, written)


def _problem(line: Line, word: str, cell: str, tag: Column) -> str:
    """What is wrong with a line of this word and this cell of the tag's column; empty if nothing."""
    if line.problem:
        return line.problem
    if not cell:
        return (
            f"{len(line.cells)} column(s), the tag is expected in column {tag.index}"
            f"{' (counted from the end)' if tag.index < 0 else ''}; fix: complete the line, or "
            "give tag_column"
        )
    if not word:
        return "the word is blank (empty, or white space); fix: drop the line"
    if ends := _ENDS.search(word + cell):
        return f"word or tag hold {ends[0]!r}; fix: end lines alike, and quote what is quoted"
    return ""


def record(
    places: Sequence[str], words: Sequence[str], tags: Sequence[str], written: Notation
) -> Record:
    """A sentence of words and tags as a Record.

    places: of the words, in order; at least one.
    """
    try:
        example = Example.from_words(words, written.decode(tags))
    except TagError as error:
        return Record(places[min(error.index, len(places) - 1)], problem=str(error))
    except DataError as error:
        return Record(places[0], problem=str(error))
    odd = written.odd(tags)
    counts = {"tags of a label 'O' read as 'O'": odd} if odd else {}
    return Record(places[0], example.text, example.spans, example.words, counts=counts)
