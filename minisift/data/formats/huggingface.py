"""Hugging Face's data sets: words with tags (ClassLabel or strings), or texts with spans.

A source is a `Dataset`, a folder of its `save_to_disk`, a Parquet or Arrow file, or, if this format was
asked for by name, the name of a data set on a hub.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from minisift.data.formats import jsonl
from minisift.data.formats.objects import unread_counts, unread_keys
from minisift.data.formats.record import Options, Record
from minisift.data.formats.tokens import of_rows, tag_names
from minisift.exceptions import DataError

OPTIONS = ("tag_column", "word_column", "scheme", "names", "text_field", "split")


def read(source: Any, options: Options) -> Iterator[Record]:
    """The rows of a data set: words and tags if it has a column of words, else records as in JSON."""
    is_path = isinstance(source, str | os.PathLike)
    data = _load(source, options) if is_path else source
    if isinstance(data, Mapping):
        data = _split(
            data, options.split or (next(iter(data)) if is_path and len(data) == 1 else None)
        )
    features = getattr(data, "features", None)
    if features is None:
        raise DataError(
            f"{type(source).__name__} is neither a path nor a Hugging Face Dataset with features; "
            "fix: give a path, a Dataset or a list of minisift.Example"
        )
    lists = {name: inner for name, feature in features.items() if (inner := _inner(feature))}
    # without a format, rows hold plain lists rather than arrays or tensors
    plain = data.with_format(None)
    has_spans = any(isinstance(inner, Mapping) and "start" in inner for inner in lists.values())
    has_words = any(map(_is_text, lists.values())) and not (has_spans and "text" in features)
    if not has_words or options.text_field:
        rows = [{k: _plain(v, features[k]) for k, v in row.items()} for row in plain]
        places = [f"dataset row {number}" for number in range(len(rows))]
        yield from jsonl.records(zip(places, rows, strict=True), options)
        return
    column = _tags(lists, options.tag_column, options.names)
    words = _words(lists, column, options.word_column)
    names = options.names or getattr(lists[column], "names", None)
    rows = [{k: _plain(v, features[k]) for k, v in row.items() if k != column} for row in plain]
    places = [f"dataset row {number}" for number in range(len(rows))]
    yield from unread_keys(list(zip(places, rows, strict=True)), None, (words, "id"))
    made = of_rows(
        list(zip(places, (row[words] for row in rows), plain[column], strict=True)),
        tag_names(names, column) if names is not None else None,
        options.scheme,
    )
    for record, row in zip(made, rows, strict=True):
        yield replace(record, counts={**record.counts, **unread_counts(row, words)})


def _datasets() -> Any:
    try:
        import datasets
    except ImportError:
        raise ImportError(
            "data sets and Parquet files need datasets; fix: pip install datasets, or write JSONL"
        ) from None
    return datasets


def _load(source: str | os.PathLike[str], options: Options) -> Any:
    """The data set at a path, or, if nothing is there, the one of that name on a hub."""
    datasets = _datasets()
    path = Path(source)
    try:
        if path.is_dir():
            return datasets.load_from_disk(path)
        if path.suffix.lower() == ".parquet":
            # not load_dataset, which would copy the texts into a cache
            import pyarrow.parquet

            return datasets.Dataset(pyarrow.parquet.read_table(path))
        if path.is_file():
            return datasets.Dataset.from_file(str(path))
        return datasets.load_dataset(str(source), split=options.split)
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"{source}: no data set there ({reason}); fix: give a folder of Dataset.save_to_disk, a "
            "Parquet file or the name of a data set on the hub"
        ) from None


def _split(data: Mapping[str, Any], wanted: str | None) -> Any:
    if wanted is None or wanted not in data:
        raise DataError(
            f"a DatasetDict of {', '.join(map(str, data))}; fix: choose a split, as in "
            f"data[{next(iter(data), 'train')!r}], or with split="
        )
    return data[wanted]


def _plain(value: Any, feature: Any) -> Any:
    """A value with names in place of ClassLabels' numbers, and with lists of objects as lists."""
    if value is None:
        return None
    if isinstance(feature, Mapping):
        held = {key: _plain(value[key], inner) for key, inner in feature.items()}
        if not all(_inner(inner) for inner in feature.values()):
            return held
        # a Sequence of objects comes as an object of lists
        return [dict(zip(held, row, strict=True)) for row in zip(*held.values(), strict=True)]
    inner = _inner(feature)
    if inner is not None:
        return [_plain(member, inner) for member in value]
    names = getattr(feature, "names", None)
    return names[value] if names and isinstance(value, int) and 0 <= value < len(names) else value


def _inner(feature: Any) -> Any:
    """The feature of the members of a list feature (List, LargeList, a Python list); None for others."""
    if isinstance(feature, list):
        return feature[0]
    return getattr(feature, "feature", None)


def _is_text(feature: Any) -> bool:
    return str(getattr(feature, "dtype", "")) in ("string", "large_string")


def _tags(lists: dict[str, Any], wanted: int | str | None, names: Any) -> str:
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
    if not hasattr(lists[column], "names") and not _is_text(lists[column]) and names is None:
        raise DataError(
            f"column {column!r} holds {getattr(lists[column], 'dtype', lists[column])}, not tags; "
            f"fix: names=['O', 'B-PER', ...], or data.cast_column({column!r}, "
            "datasets.List(datasets.ClassLabel(names=[...])))"
        )
    return column


def _words(lists: dict[str, Any], tags: str, wanted: int | str | None) -> str:
    strings = [name for name, inner in lists.items() if name != tags and _is_text(inner)]
    named = [name for name in (wanted, "tokens", "words") if name in strings]
    if (wanted is not None and wanted not in strings) or (len(strings) != 1 and not named):
        raise DataError(
            f"{len(strings)} columns could hold the words ({', '.join(strings) or 'none'}); fix: "
            "name that column 'tokens', or name it with word_column"
        )
    return str((named or strings)[0])
