"""Hugging Face `Dataset`s of words with tags (ClassLabel or strings)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from minisift.data import DataError, Example, Record
from minisift.formats.conll import tagged_record
from minisift.tags import recognise


def read(source: Any, *, tag_column: int | str | None, scheme: str | None) -> Iterator[Record]:
    """Rows of a dataset: the words' column, and the tags' (`tag_column`, or the only one)."""
    features = getattr(source, "features", None)
    if isinstance(source, dict):
        raise DataError(
            f"a DatasetDict of {', '.join(map(str, source))}; fix: choose a split, as in data['train']"
        )
    if features is None:
        raise DataError(
            f"{type(source).__name__} is neither a path nor a Hugging Face Dataset with features; "
            "fix: give a path, a Dataset or a list of minisift.Example"
        )
    lists = {name: _inner(feature) for name, feature in features.items() if _inner(feature)}
    column = _tags(lists, tag_column)
    words = _words(lists, column)
    # without a format: rows are plain lists, not arrays or tensors
    plain = source.select_columns([words, column]).with_format(None)
    rows = [_row(row[words], row[column], lists[column]) for row in plain]
    scheme = scheme or recognise([tags for _, tags, problem in rows if not problem])
    for number, (row_words, tags, problem) in enumerate(rows):
        place = f"dataset row {number}"
        if problem:
            yield Record(place, problem=problem)
        else:
            yield tagged_record([place] * (len(row_words) + 1), row_words, tags, scheme)


def _row(words: Any, tags: Any, feature: Any) -> tuple[list[str], list[str], str]:
    """A row's words, its tags as strings, and what is wrong with it."""
    if words is None or tags is None:
        return [], [], "no words or no tags; fix: drop the row"
    if len(words) != len(tags):
        return [], [], f"{len(words)} words but {len(tags)} tags; fix: a tag for each word"
    for word in words:
        if not word or not word.strip():
            return [], [], f"the word {word!r} is blank; fix: drop it and its tag"
    names = getattr(feature, "names", None)
    for tag in tags:
        # int2str raises for what is out of range; -1 stands for "no tag known" in test splits
        if tag is None or (names and not 0 <= tag < len(names)):
            return [], [], f"the tag {tag!r} has no name; fix: drop the row, or tag it"
    return words, feature.int2str(tags) if names else tags, ""


def _inner(feature: Any) -> Any:
    """What a list feature (List, LargeList, or a Python list) holds; None for other features."""
    if isinstance(feature, list):
        return feature[0]
    return getattr(feature, "feature", None)


def _is_text(feature: Any) -> bool:
    return str(getattr(feature, "dtype", "")) in ("string", "large_string")


def _tags(lists: dict[str, Any], wanted: int | str | None) -> str:
    if wanted is not None and wanted not in lists:
        raise DataError(
            f"no list column {wanted!r} in the dataset ({', '.join(lists) or 'none'}); fix: "
            "give the name of the tags' column as tag_column"
        )
    labelled = [name for name, inner in lists.items() if hasattr(inner, "names")]
    usual = [name for name in ("ner_tags", "tags", "labels") if name in lists]
    found = labelled or [name for name in usual if _is_text(lists[name])] or usual
    if wanted is None and len(found) != 1:
        raise DataError(
            f"{len(found)} columns could hold the tags ({', '.join(found or lists)}); fix: "
            "name one with tag_column"
        )
    column = found[0] if wanted is None else str(wanted)
    if not hasattr(lists[column], "names") and not _is_text(lists[column]):
        raise DataError(
            f"column {column!r} holds {getattr(lists[column], 'dtype', lists[column])}, not tags; "
            f"fix: data.cast_column({column!r}, datasets.List(datasets.ClassLabel(names=[...])))"
        )
    return column


def _words(lists: dict[str, Any], tags: str) -> str:
    strings = [name for name, inner in lists.items() if name != tags and _is_text(inner)]
    named = [name for name in ("tokens", "words") if name in strings]
    if len(strings) != 1 and not named:
        raise DataError(
            f"{len(strings)} columns could hold the words ({', '.join(strings) or 'none'}); fix: "
            "name that column 'tokens'"
        )
    return (named or strings)[0]


def write(examples: Iterable[Example], *, scheme: str) -> bytes:
    raise ValueError(
        "datasets are not files; fix: write JSONL and load it with "
        "datasets.load_dataset('json', data_files=...)"
    )
