"""What several commands take, and what the words of some arguments stand for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

from cyclopts import Parameter, Token

from minisift.scoring.calibration import Preference

_TEXTS = """a text by label, as in '{"PER": "person"}'"""
_SCORES = """a number, or one by label, as in '{"PER": 0.8}'"""
_NAMES = """a list, as in '["O", "B-PER"]', or the path of a JSON file"""


def flag(name: str) -> str:
    """The flag of an argument: "--word-column" for word_column."""
    return "--" + name.replace("_", "-")


def _texts_by_label(_: Any, tokens: Sequence[Token]) -> dict[str, str]:
    value = _json(tokens[0].value, _TEXTS)
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value.values()):
        raise ValueError(f"{tokens[0].value!r} has no text for each label; fix: {_TEXTS}")
    return value


def _threshold(_: Any, tokens: Sequence[Token]) -> Any:
    value = _json(tokens[0].value, _SCORES)
    numbers = list(value.values()) if isinstance(value, dict) else [value]
    if not all(type(number) in (int, float) for number in numbers):
        raise ValueError(f"{tokens[0].value!r} is no score; fix: {_SCORES}")
    return value


def _tag_names(_: Any, tokens: Sequence[Token]) -> Any:
    word = tokens[0].value
    return _json(word, _NAMES) if word.lstrip().startswith(("[", "{")) else word


def _json(word: str, fix: str) -> Any:
    try:
        return json.loads(word)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{word!r} is not JSON ({error}); fix: {fix}") from None


Model = Annotated[str, Parameter(help="Bundled name, hub id, folder or .gguf file.")]
Data = Annotated[str, Parameter(help="Labelled file, see --format.")]
Labeler = Annotated[str, Parameter(help="GGUF file or adapter folder.")]
TextsByLabel = Annotated[Any, Parameter(converter=_texts_by_label)]
"""A mapping, as JSON."""
Threshold = Annotated[Any, Parameter(converter=_threshold)]
"""A number, or a mapping, as JSON."""
TagNames = Annotated[Any, Parameter(converter=_tag_names)]
"""A list, as JSON, or a path."""
PathOrDash = Annotated[str, Parameter(allow_leading_hyphen=True)]
"""A file, or - for a pipe."""
Switch = Annotated[bool, Parameter(negative="", show_default=False)]
"""A flag that is only ever turned on."""
Json = Annotated[Switch, Parameter(help="Print JSON for machines.")]
Errors = Annotated[
    Switch, Parameter(help="Tell what went wrong: kinds, examples, the surest mistakes, confusion.")
]
Prefer = Annotated[
    Preference,
    Parameter(
        help="Which mistake is the worse one: more spans (recall), fewer (precision), or the best F1."
    ),
]
