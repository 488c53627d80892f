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
    export), "brat" (a .txt with its .ann, or a folder of such pairs), "webanno" (WebAnno TSV 3, as
    INCEpTION exports it), "docbin" (spaCy) or "huggingface" (a `Dataset`, a folder of `save_to_disk`,
    a Parquet file, or the name of a data set on a hub; only this format ever asks a hub). None goes by
    the file's ending and first line.
    word_column, tag_column: a column of the file by its number, from 0 (negative: from the end), or by
    its name; tag_column is also the key of the tags in JSON and data sets. By default the words are in
    the first column that holds no counts, offsets or ids. The tags are in the last column if that one
    holds tags, else in the only one that does; of several with the same labels, in the first.
    scheme: "iob1", "iob2", "iobes", "bilou", "bmes", "bmewo", "io", or None to recognise it from the
    whole file.
    names: what tags that are numbers stand for: a list in the order of the numbers, a `ClassLabel`, a
    mapping, or the path of a JSON file that holds one.
    text_field: the key of a record's text, if it is not "text"; "data.body" is a key inside an object.
    spans_key: the group of `doc.spans` to read in DocBin files; by default `doc.ents` is read.
    split: which split to read of a data set that has several.
    encoding: of text files.
    on_error: "error" ends at the first bad record; "skip" leaves bad records out and counts them.
    on_misaligned: what becomes of spans that overlap, cut a word, have a gap, or whose words differ from
    the file's own copy of them; see `align`.

    The result's `counts` say what was left out or changed, its `notes` where. Raises DataError with file,
    line or record, what is wrong and the fix; ValueError for an option that the format does not have.

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
    """Write examples so that `read` gives them back.

    format: "conll", "jsonl" or "docbin"; None goes by the path's ending. scheme: of "conll".


    The file appears whole or not at all. Raises DataError for what the format cannot hold.
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
    """Examples as they are, or read from a path or a Hugging Face `Dataset`.

    What reading left out is logged.
    """
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
    """As `as_examples`, for scoring: raises ValueError where there are none."""
    examples = as_examples(source)
    if not examples:
        raise ValueError(
            "no sentences to score on, so precision, recall and F1 would mean nothing; fix: give "
            "labelled examples"
        )
    return examples
