"""File formats of labelled text, and which of them a file has.

A format is a module with ``OPTIONS``, the names of the reading options that it takes, and
``read(source, options) -> Iterator[Record]``; if it can be written, also
``write(examples, *, scheme) -> bytes``. To add one, write the module, add its name to `NAMES`, and
teach `format_of` the endings, folders or first lines by which to recognise it.
"""

from __future__ import annotations

import dataclasses
import importlib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, get_args

from minisift.data.formats.record import Options, Record
from minisift.exceptions import DataError

Format = Literal["conll", "csv", "jsonl", "brat", "webanno", "docbin", "huggingface"]
NAMES: tuple[str, ...] = get_args(Format)
_BY_ENDING = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".ann": "brat",
    ".spacy": "docbin",
    ".parquet": "huggingface",
    ".arrow": "huggingface",
}
_NOT_TEXT = {
    b"PK\x03\x04": "a ZIP archive; fix: unpack it",
    b"\x1f\x8b": "compressed by gzip; fix: unpack it",
    b"PAR1": "Parquet; fix: give it the ending .parquet",
    b"%PDF": "a PDF file; fix: give labelled text",
    b"<?xml": "XML; fix: convert it to one of the formats that minisift.read names (for SemEval's "
    "aspects see recipes/absa_restaurants.py)",
}
_WRITABLE = ("conll", "jsonl", "docbin")


def records(source: Any, name: str | None, options: Options) -> Iterator[Record]:
    """The records of a source in the named format, or else in the one that it seems to have.

    Raises ValueError for an option that this format does not take.
    """
    name = name or format_of(source)
    module = _module(name)
    if name != "huggingface":
        _check_path(source)
    for field in dataclasses.fields(options):
        if field.name not in module.OPTIONS and getattr(options, field.name) != field.default:
            raise ValueError(
                f"{field.name}={getattr(options, field.name)!r} is not for {name}, whose options are "
                f"{', '.join(module.OPTIONS) or 'none'}; fix: leave it out, or give another format"
            )
    found: Iterator[Record] = module.read(source, options)
    return found


def writer(path: str | os.PathLike[str], name: str | None) -> Callable[..., bytes]:
    """The function that writes examples in the named format, or else in that of the path's ending."""
    name = name or _BY_ENDING.get(Path(path).suffix.lower(), "conll")
    if name not in _WRITABLE:
        raise ValueError(
            f"format={name!r} is read, not written; fix: one of {', '.join(_WRITABLE)} (datasets "
            "load JSONL: datasets.load_dataset('json', data_files=...))"
        )
    write: Callable[..., bytes] = _module(name).write
    return write


def _module(name: str) -> ModuleType:
    if name not in NAMES:
        raise ValueError(f"format={name!r}; fix: one of {', '.join(NAMES)}")
    return importlib.import_module(f"minisift.data.formats.{name}")


def format_of(source: Any) -> str:
    """The format of a source: by its type, its ending, or the begin of its content."""
    if not isinstance(source, str | os.PathLike):
        return "huggingface"
    _check_path(source)
    path = Path(source)
    if path.is_dir():
        return _format_of_folder(path)
    if not path.is_file():
        raise DataError(f"{source}: a pipe or device, which can be read once; fix: name its format")
    ending = path.suffix.lower()
    if ending in _BY_ENDING and ending != ".csv":
        return _BY_ENDING[ending]
    with path.open("rb") as file:
        head = file.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()
    if _ends_in_tag(head):
        return "conll"
    if ending == ".csv":
        return "csv"
    for begin, what in _NOT_TEXT.items():
        if head.startswith(begin):
            raise DataError(f"{source}: {what}")
    if head.lower().startswith(b"#format=webanno"):
        return "webanno"
    if head.startswith((b'{"', b'[{"', b'[["', b'["', b"[\n", b"{\n", b"[\r\n", b"{\r\n")):
        return "jsonl"
    if _is_table(head):
        return "csv"
    if ending == ".txt" and path.with_suffix(".ann").is_file():
        return "brat"
    return "conll"


def options_of(source: Any, name: str | None) -> tuple[str, ...]:
    """The names of the reading options that a source's format takes."""
    options: tuple[str, ...] = _module(name or format_of(source)).OPTIONS
    return options


def _check_path(source: Any) -> None:
    if not isinstance(source, str | os.PathLike):
        raise DataError(
            f"{type(source).__name__} is no path; fix: give a path, or leave format out"
        )
    if not Path(source).exists():
        raise FileNotFoundError(
            f"{source}: no such file; fix: give the path of a labelled file, or format='huggingface' "
            "with the name of a data set on a hub"
        )


def _ends_in_tag(head: bytes) -> bool:
    """Whether the first line ends in a tag, so that the file is columns whatever its words look like."""
    line = head.split(b"\n")[0].rstrip()
    return bool(re.search(rb"[\t ](?:O|[BIESLUMW]-[^\s,;]+)$", line)) and b"," not in line


def _is_table(head: bytes) -> bool:
    """Whether the file is a table: a header with tabs that names sentences, or spans as quoted JSON."""
    names = head.split(b"\n")[0].decode("latin-1").casefold().strip().split("\t")
    return len(names) > 1 and ("sentence #" in names or "sentence_id" in names or b'"[{""' in head)


def _format_of_folder(path: Path) -> str:
    if any((path / name).is_file() for name in ("dataset_dict.json", "state.json")):
        return "huggingface"
    if next(path.rglob("*.ann"), None):
        return "brat"
    raise DataError(
        f"{path}: a folder, but neither of brat's pairs (.txt, .ann) nor of a Hugging Face Dataset; "
        "fix: give one of its files, or format"
    )
