"""Hugging Face `Dataset`s of words with tags (ClassLabel or strings)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
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
            f"{type(source).__name__} is neither a path nor a Hugging Face Dataset; fix: give a "
            "path, a Dataset or a list of minisift.Example"
        )
    lists = {name: _inner(feature) for name, feature in features.items() if _inner(feature)}
    tags = _tags(lists, tag_column)
    names = getattr(lists[tags], "names", None)
    words = _words(lists, tags)
    rows = [
        (row[words], [names[tag] for tag in row[tags]] if names else list(row[tags]))
        for row in source.select_columns([words, tags])
    ]
    scheme = scheme or recognise([tags for _, tags in rows])
    for number, (row_words, row_tags) in enumerate(rows):
        place = f"dataset row {number}"
        if len(row_words) != len(row_tags):
            problem = f"{len(row_words)} words but {len(row_tags)} tags; fix: a tag for each word"
            yield Record(place, problem=problem)
        elif blank := next((w for w in row_words if not w.strip()), None):
            yield Record(place, problem=f"the word {blank!r} is blank; fix: drop it and its tag")
        else:
            yield tagged_record([place] * len(row_words), row_words, row_tags, scheme)


def _inner(feature: Any) -> Any:
    """What a list feature holds; None for other features."""
    if isinstance(feature, list):
        return feature[0]
    return getattr(feature, "feature", None)


def _tags(lists: dict[str, Any], wanted: int | str | None) -> str:
    if wanted is not None:
        if wanted not in lists:
            raise DataError(
                f"no list column {wanted!r} in the dataset ({', '.join(lists) or 'none'}); fix: "
                "give the name of the tags' column as tag_column"
            )
        return str(wanted)
    labelled = [name for name, inner in lists.items() if hasattr(inner, "names")]
    labelled = labelled or [name for name in ("ner_tags", "tags", "labels") if name in lists]
    if len(labelled) != 1:
        raise DataError(
            f"{len(labelled)} columns could hold the tags ({', '.join(labelled or lists)}); fix: "
            "name one with tag_column"
        )
    return labelled[0]


def _words(lists: dict[str, Any], tags: str) -> str:
    strings = [
        name
        for name, inner in lists.items()
        if name != tags and str(getattr(inner, "dtype", "")) in ("string", "large_string")
    ]
    named = [name for name in ("tokens", "words") if name in strings]
    if len(strings) != 1 and not named:
        raise DataError(
            f"{len(strings)} columns could hold the words ({', '.join(strings) or 'none'}); fix: "
            "name that column 'tokens'"
        )
    return (named or strings)[0]


def write(examples: Iterable[Example], *, scheme: str) -> Sequence[int]:
    raise ValueError(
        "datasets are not files; fix: write JSONL and load it with "
        "datasets.load_dataset('json', data_files=...)"
    )
