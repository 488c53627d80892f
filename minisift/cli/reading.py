"""What commands share: reading labelled files, with the arguments of `minisift.read` as flags; loading
labelers; telling what was left out."""

from __future__ import annotations

import argparse
import sys
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import minisift
from minisift.cli import flags
from minisift.data.examples import OnError, OnMisaligned
from minisift.data.formats import NAMES, options_of

_READING: dict[str, dict[str, Any]] = {
    "format": {
        "choices": NAMES,
        "help": "columns, tables, JSON and JSON Lines, standoff files, WebAnno TSV, spaCy's DocBin, "
        "data sets; by the file's ending and first line if not given",
    },
    "word_column": {
        "type": flags.column,
        "metavar": "COLUMN",
        "help": "column of the words, by number from 0 (-1 is the last) or by name; the first that "
        "holds no numbers or ids by default",
    },
    "tag_column": {
        "type": flags.column,
        "metavar": "COLUMN",
        "help": "column or field of the tags, by number or name; the last that holds tags by default",
    },
    "scheme": {
        "help": "of the tags: iob1, iob2, iobes, bilou, bmes, bmewo or io; recognised if not given"
    },
    "tag_names": {
        "type": flags.tag_names,
        "metavar": "NAMES",
        "help": 'of tags that are numbers, in order: as in ["O", "B-PER"], or a JSON file of them',
    },
    "text_field": {
        "metavar": "FIELD",
        "help": "field of a record that holds its text; data.text is one inside of another",
    },
    "spans_key": {
        "metavar": "KEY",
        "help": "group of doc.spans in a DocBin file; its entities by default",
    },
    "split": {"help": "of a data set that has several, such as train"},
    "encoding": {"help": "of the file; utf-8 by default"},
    "on_error": {
        "choices": typing.get_args(OnError),
        "help": "what becomes of a record that cannot be read: end with an error (the default), or "
        "leave it out and count it",
    },
    "on_misaligned": {
        "choices": typing.get_args(OnMisaligned),
        "help": "what becomes of a span that overlaps another or cuts a word: end with an error (the "
        "default), grow it to whole words, or leave it out and count it",
    },
}
"""The arguments of `minisift.read` as flags; their defaults are its own."""


def add_reading(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("reading")
    for name, how in _READING.items():
        group.add_argument(flags.flag(name), default=argparse.SUPPRESS, **how)


def read(given: argparse.Namespace, path: str, others: Sequence[str] = ()) -> Any:
    """The examples of a file, read as the flags say; what was left out is told on stderr.

    others: the other files of the command. A flag that the format of one of them takes is left out for
    this file if its own format does not.
    """
    options = flags.options(given, _READING)
    if "tag_names" in options:
        options["names"] = options.pop("tag_names")
    format = options.get("format")
    known = {option for other in others for option in options_of(other, format)}
    unfit = known - set(options_of(path, format)) if known else known
    options = {name: value for name, value in options.items() if name not in unfit}
    examples = minisift.read(path, **options)
    if summary := examples.summary():
        print(f"{path}: {summary}" if examples.counts else summary, file=sys.stderr)
    return examples


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
