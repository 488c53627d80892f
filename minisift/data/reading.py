"""Labelled text in and out of files: `read` and `write`."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from minisift.data.examples import Example, Examples, OnError, OnMisaligned
from minisift.exceptions import DataError
from minisift.files import write_whole

logger = logging.getLogger(__name__)


def read(
    source: Any,
    *,
    format: str | None = None,
    word_column: int | str | None = None,
    tag_column: int | str | None = None,
    scheme: str | None = None,
    names: Any = None,
    text_field: str | None = None,
    spans_key: str | None = None,
    split: str | None = None,
    encoding: str = "utf-8",
    on_error: OnError = "error",
    on_misaligned: OnMisaligned = "error",
) -> Examples:
    """Labelled examples from a file, a folder or a Hugging Face `Dataset`.

    format: "conll" (columns, a word a line; CoNLL-U too), "csv" (tables with a header row: words
    and tags, or texts and their spans as JSON), "jsonl" (JSON and JSON Lines: character spans, words
    with tags; what doccano, Prodigy, Label Studio, NER Annotator, GLiNER and spaCy's training data
    look like), "brat" (a .txt with its .ann, or a folder of such pairs), "webanno" (WebAnno TSV 3,
    INCEpTION), "docbin" (spaCy) or "huggingface" (a `Dataset`, a folder of `save_to_disk`, a Parquet
    file; a data set's name on a hub, which nothing else sends there). None goes by the file's ending
    and first line.
    word_column, tag_column: of columns and tables, by number from 0 (from the end if negative) or by
    name where they have names; tag_column also of words with tags in JSON and data sets. By default
    the words' column is the first that holds no counts, offsets or ids, and the tags' the last one if it
    holds tags, else the only one that does; of several with the same labels the first.
    scheme: "iob1", "iob2", "iobes", "bilou", "bmes", "bmewo", "io", or None to recognise it from the
    whole file.
    names: of tags that are numbers, in their order: a list, a `ClassLabel`, a mapping, or the path of
    a JSON file that holds one.
    text_field: where a record's text lies, if not under "text"; with dots into objects ("data.body").
    spans_key: the group of `doc.spans` to read in DocBin files; by default `doc.ents`.
    split: of a data set that has several.
    encoding: of text files.
    on_error: "skip" leaves bad records out and counts them in the result's `counts`.
    on_misaligned: what becomes of spans that overlap, cut a word, have a gap or are not what the file
    says their words are, see `align`.

    What is left out or was read otherwise than it is written is in the result's `counts`, and where
    in its `notes`. Raises DataError with file, line or record, what is wrong and the fix; ValueError
    for an option that the format does not have.

    >>> read("train.conll", tag_column="ner", on_error="skip")  # doctest: +SKIP
    """
    from minisift.data.formats import records
    from minisift.data.formats.record import Options, collect

    options = Options(
        word_column, tag_column, scheme, names, text_field, spans_key, split, encoding
    )
    return collect(records(source, format, options), on_error, on_misaligned)


def write(
    examples: Iterable[Example],
    path: str | os.PathLike[str],
    *,
    format: str | None = None,
    scheme: str = "iob2",
) -> None:
    """Write examples so that `read` gives them back: "conll", "jsonl" or "docbin"; None by ending.

    The file appears whole or not at all. `scheme` is for columns. Raises DataError for what
    the format cannot hold.
    """
    from minisift.data.formats import writer

    try:
        content = writer(path, format)(examples, scheme=scheme)
    except UnicodeEncodeError as error:
        raise DataError(
            f"{path}: lone surrogates cannot be written ({error.reason}); fix: replace them in the "
            "texts, or write JSONL"
        ) from None
    write_whole(Path(path), content)


def as_examples(source: Any) -> Sequence[Example]:
    """Examples as they are, or read from a path or a Hugging Face `Dataset`, what is lost told."""
    if isinstance(source, Sequence) and not isinstance(source, str):
        if wrong := next((e for e in source if not isinstance(e, Example)), None):
            raise TypeError(
                f"expected minisift.Example, got {type(wrong).__name__}; fix: make them with "
                "minisift.read or minisift.Example"
            )
        return source
    examples = read(source)
    if examples.counts:
        is_path = isinstance(source, str | os.PathLike)
        logger.warning("%s: %s", source if is_path else "the data set", examples.summary())
    return examples


def some_examples(source: Any) -> Sequence[Example]:
    """`as_examples`, to score predictions on: raises ValueError where there are none."""
    examples = as_examples(source)
    if not examples:
        raise ValueError(
            "no sentences to score on, so precision, recall and F1 would mean nothing; fix: give "
            "labelled examples"
        )
    return examples
