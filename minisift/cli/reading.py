"""What commands share: reading labelled files, with the arguments of `minisift.read` as flags; loading
labelers; telling what was left out."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

import minisift
from minisift.cli import flags
from minisift.data.examples import OnError, OnMisaligned
from minisift.data.formats import Format, options_of


@dataclass(frozen=True)
class Reading:
    """The arguments of `minisift.read` as flags; their defaults are its own."""

    format: Format | None = None
    """Columns, tables, JSON and JSON Lines, standoff files, WebAnno TSV, spaCy's DocBin, data sets; by the
    file's ending and first line if not given."""
    word_column: int | str | None = None
    """Column of the words, by number from 0 (-1 is the last) or by name; the first that holds no numbers or
    ids by default."""
    tag_column: int | str | None = None
    """Column or field of the tags, by number or name; the last that holds tags by default."""
    scheme: str | None = None
    """Of the tags: iob1, iob2, iobes, bilou, bmes, bmewo or io; recognised if not given."""
    tag_names: flags.TagNames = None
    """Of tags that are numbers, in order: as in '["O", "B-PER"]', or a JSON file of them."""
    text_field: str | None = None
    """Field of a record that holds its text; data.text is one inside of another."""
    spans_key: str | None = None
    """Group of doc.spans in a DocBin file; its entities by default."""
    split: str | None = None
    """Of a data set that has several, such as train."""
    encoding: str | None = None
    """Of the file; utf-8 by default."""
    on_error: OnError | None = None
    """What becomes of a record that cannot be read: end with an error (the default), or leave it out and
    count it."""
    on_misaligned: OnMisaligned | None = None
    """What becomes of a span that overlaps another or cuts a word: end with an error (the default), grow it
    to whole words, or leave it out and count it."""


ReadingFlags = Annotated[Reading | None, Parameter(name="*", group="Reading")]


def read(how: Reading | None, path: str, others: Sequence[str] = ()) -> Any:
    """The examples of a file, read as the flags say (see `options`); what was left out is told on stderr."""
    examples = minisift.read(path, **options(how, path, others))
    if summary := examples.summary():
        print(f"{path}: {summary}" if examples.counts else summary, file=sys.stderr)
    return examples


def options(how: Reading | None, path: str, others: Sequence[str] = ()) -> dict[str, Any]:
    """The flags as arguments of `minisift.read` for a file.

    others: the other files of the command. A flag that the format of one of them takes is left out for
    this file if its own format does not.
    """
    given = asdict(how or Reading())
    found = {name: value for name, value in given.items() if value is not None}
    if "tag_names" in found:
        found["names"] = found.pop("tag_names")
    format = found.get("format")
    known = {option for other in others for option in options_of(other, format)}
    unfit = known - set(options_of(path, format)) if known else known
    return {name: value for name, value in found.items() if name not in unfit}


def load(path: str, **options: Any) -> Any:
    """A labeler from a file or folder.

    options: of `minisift.load`, those that are None left out. Raises ValueError if any is left and
    `path` is a folder, since they are for GGUF files.
    """
    options = {name: value for name, value in options.items() if value is not None}
    if Path(path).is_dir():
        if options:
            names = ", ".join(map(flags.flag, options))
            raise ValueError(f"{path}: a folder, {names} is for GGUF files; fix: leave it out")
        print(f"loading {path}", file=sys.stderr)  # takes seconds
    return minisift.load(path, **options)


def tell(counts: Mapping[str, int]) -> None:
    """What labelling had to leave out or cut."""
    for what, number in counts.items():
        print(f"{number} {what}", file=sys.stderr)
