"""CoNLL columns: a word a line, its tag in one of the columns, an empty line between sentences."""

from __future__ import annotations

import itertools
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from minisift.data.examples import Example
from minisift.data.formats.columns import TAGS, WORDS, Line, Table, records
from minisift.data.formats.record import Options, Record
from minisift.data.tags import encode, is_readable, is_tagged
from minisift.exceptions import DataError
from minisift.files import read_text

OPTIONS = ("word_column", "tag_column", "scheme", "encoding")

_NAMES = re.compile(r"#\s*global\.columns\s*=\s*(.+)", re.IGNORECASE)
_CONLLU = "ID FORM LEMMA UPOS XPOS FEATS HEAD DEPREL DEPS MISC".split()
_STUDIO = ["-X-", "_"]
"""The columns between word and tag in Label Studio's export, whose labels may hold spaces."""
_SPACES = re.compile(" +")  # not str.split(): words may hold no-break spaces


def read(source: str | os.PathLike[str], options: Options) -> Iterator[Record]:
    """The sentences of a column file; all are checked against the one scheme that fits the file best.

    Columns are split at tabs if most lines have one, else at runs of spaces. ``-DOCSTART-`` lines and
    comments are skipped: a comment is a line before a sentence's words that begins with ``#`` and is not
    made as the lines of words are. The columns' names come from a line
    ``# global.columns = FORM TAG`` (CoNLL-U Plus), from a header row, or from CoNLL-U if there are ten
    columns and the first one numbers the words.
    """
    path = Path(source)
    names: list[str] = []
    blocks: list[list[tuple[int, str]]] = [[]]
    text = read_text(path, options.encoding)
    # not splitlines(): a word may hold U+2028 and similar characters
    for number, line in enumerate(text.split("\n" if "\n" in text else "\r"), 1):
        if found := _NAMES.match(line):
            names = found[1].split()
        elif not line.strip().strip("\ufeff") or line.startswith("-DOCSTART-"):
            blocks.append([])
        else:
            blocks[-1].append((number, line.rstrip("\r")))
    is_strict = options.tag_column is None
    header, sentences = _sentences(path, [block for block in blocks if block], is_strict)
    names = names or header
    sentences = [sentence for sentence in sentences if sentence]
    table = Table(path, sentences, names)
    if sentences and not names and table.width == len(_CONLLU) and table.counts_words:
        table = Table(path, sentences, _CONLLU)
    yield from records(table, options)


def _sentences(
    path: Path, blocks: Sequence[Sequence[tuple[int, str]]], is_strict: bool
) -> tuple[list[str], list[list[Line]]]:
    """The header, empty if there is none, and the sentences' lines, split and without comments.

    is_strict: whether a line with more columns than the others is an error.
    """
    cells = _cells([line for block in blocks for _, line in block])
    shape = _shape(cells, is_strict)
    split = iter(cells)
    numbered = [
        [(f"{path}:{number}", line, next(split)) for number, line in block] for block in blocks
    ]
    header: list[str] = []
    sure = [(block, each) for block in numbered for each in block if not each[1].startswith("#")]
    if _is_header([columns for _, (_, _, columns) in sure]):
        block, first = sure[0]
        block.remove(first)
        header = first[2]
    heads = Counter(block[0][2][0] for block in numbered if block and shape.is_odd(*block[0][1:]))
    # lines such as "#doc 7" are no words if they precede many sentences, or stand alone
    usual = {
        head for head, times in heads.items() if times > 1 or 2 * heads.total() > len(numbered)
    }

    def is_head(line: str, columns: Sequence[str]) -> bool:
        is_usual = columns[0] in usual or shape.is_comment(line, columns)
        return shape.is_odd(line, columns) and is_usual

    sentences = []
    for block in numbered:
        if all(
            shape.is_odd(line, each) and not shape.is_word(line, each) for _, line, each in block
        ):
            continue
        rest = itertools.dropwhile(lambda each: is_head(*each[1:]), block)
        words = [each for each in rest if not shape.is_remark(*each[1:])]
        # a sentence whose lines all are longer has one more column, not words with spaces
        is_wider = len(words) > 1 and all(len(columns) > shape.width for *_, columns in words)
        own = replace(shape, is_usual=False) if is_wider else shape
        sentences.append([own.line(*each) for each in words])
    return header, sentences


def _cells(lines: Sequence[str]) -> list[list[str]]:
    """The cells of each line, all split in the way that suits most lines."""
    sure = [line for line in lines if not line.startswith("#")] or lines
    if 2 * sum("\t" in line for line in sure) > len(sure):
        cells = [[cell.strip() for cell in line.split("\t")] for line in lines]
        # columns aligned by several tabs
        dense = [[cell for cell in each if cell] for each in cells]
        widths = {len(each) for each in dense}
        return dense if len(widths) == 1 and len({*map(len, cells)}) > 1 else cells
    trimmed = [line.strip(" \r") for line in lines]
    cells = [_SPACES.split(line) for line in trimmed]
    if 2 * sum(each[1:3] == _STUDIO for each in cells) > len(sure):
        cells = [_SPACES.split(line, maxsplit=len(_STUDIO) + 1) for line in trimmed]
    return [[cell.strip() for cell in each] for each in cells]


@dataclass(frozen=True)
class _Shape:
    """What the lines of words look like in a file."""

    width: int
    """How many columns most lines have."""
    is_strict: bool
    is_usual: bool
    """Whether few lines are longer: then these have a word or label with spaces, not more columns."""
    tags: frozenset[str]
    """The last cells of the lines that are surely words."""

    def is_odd(self, line: str, cells: Sequence[str]) -> bool:
        """Whether a line begins with # and does not look like one of a word."""
        is_tag = cells[-1] in self.tags or re.match(r"[BIMESLUW]-.|O$", cells[-1])
        return line.startswith("#") and not (len(cells) == self.width and is_tag)

    def is_comment(self, line: str, cells: Sequence[str]) -> bool:
        """Whether such a line is surely a comment, by what follows the #."""
        is_broken = re.fullmatch(r"#\w\S*", line.strip()) is not None
        return not self.is_word(line, cells) and not is_broken

    def is_word(self, line: str, cells: Sequence[str]) -> bool:
        """Whether such a line begins with a hashtag and has all columns, so that it may be a word's."""
        is_whole = len(cells) == self.width or not cells[-1]
        return re.match(r"#[\w@]", line) is not None and is_whole

    def is_remark(self, line: str, cells: Sequence[str]) -> bool:
        """Whether a line is a comment in the middle of a sentence: one column that begins with "# "."""
        return line.startswith("# ") and len(cells) == 1 < self.width

    def line(self, place: str, line: str, cells: list[str]) -> Line:
        """The line with as many cells as the others, or with what is wrong with it."""
        by_spaces = "\t" not in line
        if by_spaces and line.startswith(" ") and len(cells) == self.width - 1:
            cells = ["", *cells]  # a blank word
        while len(cells) > self.width and not cells[-1]:
            cells = cells[:-1]
        if len(cells) <= self.width or not self.is_strict:
            return Line(place, cells)
        last = self.width - 1
        by_spaces = by_spaces and self.is_usual
        if by_spaces and _is_tag(cells[last]) and not _is_tag(cells[-1]):
            return Line(place, [*cells[:last], " ".join(cells[last:])])  # a label with spaces
        if by_spaces and last == 1 and _is_tag(cells[-1]):
            return Line(place, [" ".join(cells[:-1]), cells[-1]])  # a word with spaces
        return Line(
            place,
            cells,
            f"{len(cells)} columns where the file has {self.width}; fix: join or drop what is too "
            "many, or give tag_column",
        )


def _shape(cells: Sequence[Sequence[str]], is_strict: bool) -> _Shape:
    """The shape that most of the lines have."""
    sure = [each for each in cells if not each[0].startswith("#")] or cells
    # lines that end in a tag come first: others may end in the second half of a label with spaces
    telling = [each for each in sure if _is_tag(each[-1])] or sure
    width = max(Counter(map(len, telling)).items(), key=lambda row: row[1], default=(0, 0))[0]
    longer = sum(len(each) > width for each in telling)
    tags = frozenset(each[-1] for each in sure if len(each) == width)
    return _Shape(width, is_strict, 3 * longer < len(telling), tags)


@lru_cache(4096)
def _is_tag(cell: str) -> bool:
    return is_tagged({cell: 1})


def _is_header(cells: Sequence[Sequence[str]]) -> bool:
    """Whether the first line names the columns: one has a usual name, and none looks like a tag."""
    if len(cells) < 2:
        return False
    first, *others = cells
    return (
        (any(cell.casefold() in WORDS for cell in first) or first[-1].casefold() in TAGS)
        and not any(map(_is_tag, first))
        and all(each[-1] != first[-1] for each in others)
    )


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
    # readers take the first U+FEFF of a file for a byte order mark
    return ("\ufeff" * content.startswith("\ufeff") + content).encode()


def _row(word: str, tag: str) -> str:
    label = tag[2:]
    if (
        any(mark in word + tag for mark in "\t\r\n")
        or label != label.strip()
        or word.startswith("-DOCSTART-")
        or (label and not is_readable(label))
    ):
        raise DataError(f"{word!r} {tag!r} cannot be written as columns; fix: write JSONL")
    return f"{word}\t{tag}\n"
