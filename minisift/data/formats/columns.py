"""What column files, tables and lists of words share: which column holds the words, which the tags."""

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
"""A word's number in CoNLL-U; with the second part, a row for several words (1-2) or an empty node (1.1)."""
_FEATURE = re.compile(r"(?:^|(?<=\|))([^=|]+)=([^|]*)")
"""One of a cell's features, such as ``name=B-PER``."""
_ENDS = re.compile(r"[\r\n\t]")
_SHARE = 0.9
"""Of the cells of a column, or the sentences, from how many on they speak for all."""


class Line(NamedTuple):
    """A word and what is said about it."""

    place: str
    cells: list[str]
    problem: str = ""


@dataclass(frozen=True)
class Column:
    """A place in a line, from the end if negative, or one feature of the cell there."""

    index: int
    feature: str = ""

    def at(self, line: Line) -> int:
        """Where it is in a line, counted from 0."""
        return self.index + (self.index < 0) * len(line.cells)

    def of(self, line: Line) -> str:
        """The cell, empty where the line is too short; of a feature that is not there, "O"."""
        try:
            cell = line.cells[self.index]
        except IndexError:
            return ""
        if not self.feature:
            return cell
        return dict(_FEATURE.findall(cell)).get(self.feature, "O")


@dataclass(frozen=True)
class Table:
    """Sentences of lines, and the columns' names, where the file has them."""

    path: Path
    sentences: Sequence[Sequence[Line]]
    names: Sequence[str] = ()

    @cached_property
    def width(self) -> int:
        """Cells of most lines."""
        return Counter(len(line.cells) for s in self.sentences for line in s).most_common(1)[0][0]

    @cached_property
    def _counted(self) -> list[Counter[str]]:
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

    def counted(self, column: Column) -> Counter[str]:
        """How often there is what in a column; blank cells are not counted."""
        return self._counted[column.index]

    @cached_property
    def counts_words(self) -> bool:
        """Whether the first column counts the words, as in CoNLL-U, whose further rows are none."""
        plain = any(map(str.isdecimal, self.counted(Column(0))))
        return self.width > 2 and plain and self._counts(Column(0))

    def is_of_words(self, column: Column) -> bool:
        """Whether a column may be the words: no counts, offsets or ids, nor one cell a sentence."""
        cells = self.counted(column)
        if self._counts(column) or self._is_offsets(column) or (len(cells) == 1 < cells.total()):
            return False
        several = [[column.of(line) for line in s] for s in self.sentences if len(s) > 1]
        alike = sum(len(set(each)) == 1 for each in several)
        is_told = all(re.search(r"[\d/]", cell) for cell in cells) or (
            sum(len(each) > 2 for each in several) > 1
        )
        return not (several and is_told and alike >= _SHARE * len(several))

    def _numbers(self, column: Column) -> list[list[int]]:
        """The numbers of words in a column, by sentence; no list at all if it holds anything else."""
        if not all(map(_ID.fullmatch, self.counted(column))):
            return []
        matches = [[_ID.fullmatch(column.of(line)) for line in s] for s in self.sentences]
        if not all(match for each in matches for match in each):
            return []
        are_pairs = all(match and match[2] for each in matches for match in each)
        # else those of two numbers are CoNLL-U's further rows
        return [
            [
                int(match[2 if are_pairs else 1])
                for match in each
                if match and (are_pairs or not match[2])
            ]
            for each in matches
        ]

    def _counts(self, column: Column) -> bool:
        """Whether it counts by one, in each sentence, from 0 or 1, or on through the file."""
        sentences = self._numbers(column)
        flat = [number for each in sentences for number in each]
        is_one = len(flat) == 1 and bool({"0", "1"} & self.counted(column).keys())
        runs_on = len(flat) > 1 and flat == list(range(flat[0], flat[0] + len(flat)))
        several = [each for each in sentences if len(each) > 1]
        by_one = sum(each == list(range(each[0], each[0] + len(each))) for each in several)
        anew = not several and len(flat) > 1 and set(flat) <= {0, 1}
        return is_one or runs_on or anew or (bool(several) and by_one >= _SHARE * len(several))

    def _is_offsets(self, column: Column) -> bool:
        """Whether it and the one beside it hold where words begin and end."""
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
    def tagged(self) -> list[Column]:
        """Columns whose cells are tags."""
        return [c for c in map(Column, range(self.width)) if is_tagged(self.counted(c))]

    @cached_property
    def features(self) -> list[Column]:
        """Features that are tags, of cells that list features."""
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
        named = [column for column in self.features if column.feature == wanted]
        if len(named) == 1:
            return named[0]
        raise DataError(
            f"{self.path}: no column is named {wanted!r} (named: {', '.join(self.names) or 'none'}); "
            "fix: give its number, or begin the file with '# global.columns = FORM TAG'"
        )

    def labels(self, column: Column) -> set[str]:
        """The labels of a column of tags; none of one that holds chunks."""
        labels = {tag[2:] for tag in self.counted(column) if tag[1:2] in ("-", "_")}
        return set() if 2 * len(labels & CHUNKS) >= len(labels) else labels

    def shown(self, column: Column) -> str:
        """What to call a column: its name, or its number."""
        index = column.index % self.width
        return repr(column.feature or (self.names[index] if index < len(self.names) else index))


def records(table: Table, options: Options) -> Iterator[Record]:
    """Records of sentences whose words stand in one column and their tags in another."""
    sentences = [sentence for sentence in table.sentences if sentence]
    if not sentences:
        return
    table = Table(table.path, sentences, table.names)
    if table.counts_words:
        table = Table(table.path, [[w for w in s if _is_word(w)] for s in sentences], table.names)
        yield from _left_out([line for s in sentences for line in s if not _is_word(line)], table)
    tag = (
        table.column(options.tag_column)
        if options.tag_column is not None
        else _tags(table, options)
    )
    word = (
        table.column(options.word_column) if options.word_column is not None else _words(table, tag)
    )
    tags = [
        # a line of one column has no tag, though its last column is its first
        [tag.of(line) if tag.at(line) != word.at(line) else "" for line in sentence]
        for sentence in table.sentences
    ]
    good = [s for s, lines in zip(tags, table.sentences, strict=True) if _is_whole(lines, s)]
    written = notation(good, options.scheme)
    if options.tag_column is None:
        yield from _what_else(table, word, tag)
    if not written.has_labels:
        yield Record(str(table.path), note=f"tags are letters alone; their label is {UNNAMED!r}")
    for lines, sentence in zip(table.sentences, tags, strict=True):
        if lines:
            yield _record(lines, word, tag, sentence, written)


def _is_word(line: Line) -> bool:
    count = _COUNT.fullmatch(line.cells[0])
    return not (count and count[2])


def _left_out(lines: Sequence[Line], table: Table) -> Iterator[Record]:
    """What is said of rows for several words and of empty nodes, which are no words."""
    tags = sum(any(cell[1:2] == "-" and cell[2:] for cell in line.cells[1:]) for line in lines)
    if tags:
        what = "tags of rows for several words and of empty nodes not read"
        yield Record(str(table.path), counts={what: tags}, note=f"{tags} {what}")


def _tags(table: Table, options: Options) -> Column:
    """The last column if it holds tags, or the only one that does.

    Where several hold tags of the same labels, spans inside of spans, it is the first of these; so
    too if the last one says "O" throughout, but for chunks, which usually stand before names.
    """
    last = Column(-1)
    while not table.counted(last) and last.index > -table.width:
        last = Column(last.index - 1)
    counted = table.counted(last)
    if is_tagged(counted):
        labels = table.labels(last)
        words = _words(table, last)
        others = [c for c in table.tagged if c != words]
        same = [c for c in others if table.labels(c) & labels or (not labels and table.labels(c))]
        return same[0] if same and same[0].index != last.index % table.width else last
    bare = notation([list(counted.elements())], options.scheme).scheme == "io"
    if bare and not table.tagged:
        return last
    found = table.tagged or table.features
    if len(found) == 1:
        return found[0]
    shown = ", ".join(table.shown(column) for column in found)
    if found:
        raise DataError(
            f"{table.path}: the last column holds no tags, {len(found)} others do ({shown}); fix: "
            f"name one, as in tag_column={table.shown(found[0])}"
        )
    cells = ", ".join(repr(cell) for cell, _ in counted.most_common(3))
    if any(
        "(" in cell and "*" in cell
        for column in range(table.width)
        for cell in table.counted(Column(column))
    ):
        cells += "; brackets as in CoNLL-2012 are to be converted to B- and I-"
    raise DataError(
        f"{table.path}: no column holds tags such as 'O' or 'B-PER' (lines of {table.width} "
        f"column(s), the last holds {cells}); fix: give tag_column, scheme='io' for labels without "
        "letters, or format where it is no file of columns"
    )


def _words(table: Table, tag: Column) -> Column:
    """The column with a usual name, or the first that holds neither counts and ids nor the tags."""
    for index, name in enumerate(table.names):
        if name.casefold() in WORDS:
            return Column(index)
    left = [Column(i) for i in range(table.width) if i != tag.index % table.width]
    return next((column for column in left if table.is_of_words(column)), (left or [Column(0)])[0])


def _what_else(table: Table, word: Column, tag: Column) -> Iterator[Record]:
    """Which columns are read, if not the first and the last, and what spans others hold."""
    place = str(table.path)
    index = tag.index % table.width
    if index != table.width - 1 or tag.feature:
        note = f"the tags are those of column {table.shown(tag)} of {table.width}"
        yield Record(place, note=note)
    if word.index % table.width:
        note = f"the words are those of column {table.shown(word)} of {table.width}"
        yield Record(place, note=note)
    for column in table.tagged:
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
            what = f"spans in column {table.shown(column)} not read"
            yield Record(place, counts={what: spans}, note=f"{spans} {what}")


def _is_whole(lines: Sequence[Line], tags: Sequence[str]) -> bool:
    return not any(line.problem for line in lines) and all(tags) and not _is_untagged(tags)


def _is_untagged(tags: Sequence[str]) -> bool:
    return set(tags) == {"_"}


def _record(
    lines: Sequence[Line], word: Column, tag: Column, tags: Sequence[str], written: Notation
) -> Record:
    words = [word.of(line) for line in lines]
    is_good = all(words) and all(tags) and not any(line.problem for line in lines)
    if not is_good or _ENDS.search("".join([*words, *tags])):
        for line, cell, told in zip(lines, words, tags, strict=True):
            if problem := _problem(line, cell, told, tag):
                return Record(line.place, problem=problem)
    if _is_untagged(tags) and "_" not in written.outside:
        return Record(lines[0].place, skipped="sentences without tags")
    return record([line.place for line in lines], words, tags, written)


def _problem(line: Line, word: str, told: str, tag: Column) -> str:
    """What is wrong with a line, if anything."""
    if line.problem:
        return line.problem
    if not told:
        return (
            f"{len(line.cells)} column(s), the tag is expected in column {tag.index}"
            f"{' (counted from the end)' if tag.index < 0 else ''}; fix: complete the line, or "
            "give tag_column"
        )
    if not word:
        return "the word is blank (empty, or white space); fix: drop the line"
    if ends := _ENDS.search(word + told):
        return f"word or tag hold {ends[0]!r}; fix: end lines alike, and quote what is quoted"
    return ""


def record(
    places: Sequence[str], words: Sequence[str], tags: Sequence[str], written: Notation
) -> Record:
    """A sentence of words and tags as a Record; places: of each word, at least one."""
    try:
        example = Example.from_words(words, written.decode(tags))
    except TagError as error:
        return Record(places[min(error.index, len(places) - 1)], problem=str(error))
    except DataError as error:
        return Record(places[0], problem=str(error))
    odd = written.odd(tags)
    counts = {"tags of a label 'O' read as 'O'": odd} if odd else {}
    return Record(places[0], example.text, example.spans, example.words, counts=counts)
