"""Flags: which of them were given, and what their words stand for."""

from __future__ import annotations

import argparse
import json
import types
import typing
from collections.abc import Iterable
from typing import Any

from minisift.scoring.calibration import PREFERENCES

_TEXTS = """a text by label, as in '{"PER": "person"}'"""
_SCORES = """a number, or one by label, as in '{"PER": 0.8}'"""
_NAMES = """a list, as in '["O", "B-PER"]', or the path of a JSON file"""


def flag(name: str) -> str:
    """The flag of an argument: "--word-column" for word_column."""
    return "--" + name.replace("_", "-")


def options(given: argparse.Namespace, names: Iterable[str]) -> dict[str, Any]:
    """The arguments of these names that were given; a flag that was not is left out if it has no default."""
    return {name: getattr(given, name) for name in names if hasattr(given, name)}


def converter(hint: Any) -> Any:
    """The function that turns a flag's word into a value of this type.

    "none" gives None if the type includes it. A word for a Literal stays as it is, right or wrong: the
    function that takes the value refuses wrong ones, and says what is right.
    """
    if typing.get_origin(hint) is typing.Literal:
        return str
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        (inner,) = (arg for arg in typing.get_args(hint) if arg is not type(None))
        convert = converter(inner)
        return lambda word: None if word.lower() == "none" else convert(word)
    return _boolean if hint is bool else hint


def _boolean(word: str) -> bool:
    if word.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{word!r} is neither true nor false")
    return word.lower() == "true"


def texts_by_label(word: str) -> dict[str, str]:
    value = _json(word, _TEXTS)
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value.values()):
        raise argparse.ArgumentTypeError(f"{word!r} has no text for each label; fix: {_TEXTS}")
    return value


def threshold(word: str) -> float | dict[str, float]:
    """A number for all labels, or numbers by label."""
    value = _json(word, _SCORES)
    numbers = list(value.values()) if isinstance(value, dict) else [value]
    if not all(type(number) in (int, float) for number in numbers):
        raise argparse.ArgumentTypeError(f"{word!r} is no score; fix: {_SCORES}")
    return typing.cast("float | dict[str, float]", value)


def add_prefer(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--prefer",
        choices=PREFERENCES,
        default="balance",
        help="which mistake is the worse one: more spans (recall), fewer (precision), or the best F1",
    )


def add_errors(parser: argparse.ArgumentParser, of: str) -> None:
    parser.add_argument(
        "--errors",
        action="store_true",
        help=f"tell what went wrong on {of}: kinds, examples, the surest mistakes, confusion",
    )


def column(word: str) -> int | str:
    """A column by number, which may be negative, or by name."""
    return int(word) if word.removeprefix("-").isdecimal() else word


def tag_names(word: str) -> Any:
    """A list of names, or the path of a file that `minisift.read` takes them from."""
    return _json(word, _NAMES) if word.lstrip().startswith(("[", "{")) else word


def _json(word: str, fix: str) -> Any:
    try:
        return json.loads(word)
    except (ValueError, RecursionError) as error:
        raise argparse.ArgumentTypeError(f"{word!r} is not JSON ({error}); fix: {fix}") from None
