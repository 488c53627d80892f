"""The flags that `fit`, `plan` and `prompt` share, so that a line for `fit` works for `plan`."""

from __future__ import annotations

import argparse
import ast
import functools
import inspect
import itertools
import json
import typing
from dataclasses import fields
from typing import Any

from minisift.cli import flags
from minisift.cli.reading import add_reading, read
from minisift.labeler import Labeler
from minisift.training.settings import Settings


def add_task(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that `fit` and `prompt` share: a model, sentences, what the task is."""
    parser.add_argument("model", help="bundled name, hub id, folder or .gguf file")
    parser.add_argument("train", help="labelled file, see --format")
    parser.add_argument(
        "--names", type=flags.texts_by_label, help='display names by label, as in {"PER": "person"}'
    )
    parser.add_argument(
        "--descriptions",
        type=flags.texts_by_label,
        help="what labels mean, for the standard instruction",
    )
    parser.add_argument(
        "--instruction", help="instruction text; 'standard' for the built-in one, 'none' for none"
    )
    parser.add_argument(
        "--start",
        default="warm",
        help="'warm', the adapter that minisift brings for the model; 'none', nothing but the model; "
        "or an adapter folder to go on from (default: warm)",
    )
    flags.add_errors(parser, "the sentences that were held out")


def task(given: argparse.Namespace) -> dict[str, Any]:
    """Those arguments but the sentences."""
    instruction = {"standard": True, "none": False}.get(given.instruction, given.instruction)
    return {
        "model": given.model,
        "names": given.names,
        "descriptions": given.descriptions,
        "start": None if given.start.lower() == "none" else given.start,
        **({} if instruction is None else {"instruction": instruction}),
    }


def add_training(parser: argparse.ArgumentParser, output_dir: str | None) -> None:
    """Adds a flag for each argument of `minisift.fit`.

    output_dir: the help of that flag; None if the command can do without it.
    """
    add_task(parser)
    parser.add_argument(
        "--dev",
        help="labelled file to choose the adapter, calibrate and score by; without it a tenth is held out",
    )
    parser.add_argument(
        "--output-dir",
        required=output_dir is not None,
        help=output_dir or "as for fit; nothing is written",
    )
    parser.add_argument("--resume", action="store_true", help="continue a training that was killed")
    _add_settings(parser)
    add_reading(parser)


def training(given: argparse.Namespace) -> dict[str, Any]:
    """The arguments of `minisift.fit`; this reads the files."""
    return {
        **task(given),
        "train_set": read(given, given.train, [given.dev] if given.dev else ()),
        "dev_set": read(given, given.dev, [given.train]) if given.dev else None,
        "output_dir": given.output_dir,
        "resume": given.resume,
        **flags.options(given, [field.name for field in fields(Settings)]),
    }


def tell_of(labeler: Labeler, given: argparse.Namespace, what: str) -> None:
    """Tell of a labeler that was made (what), and how it labels the sentences that were held out."""
    report = labeler.report
    errors = report.errors() if given.errors and report else None
    if given.json:
        made = {"output_dir": given.output_dir, **labeler.description.made}
        told = {"errors": errors.to_dict()} if errors else {}
        print(json.dumps({**made, **told}, ensure_ascii=False))
        return
    print(what)
    if report:
        print(report)
    if errors:
        print(f"\n{errors}")


def _add_settings(parser: argparse.ArgumentParser) -> None:
    """Adds a flag for each field of Settings, with the field's docstring as help."""
    hints = typing.get_type_hints(Settings)
    docs = _docs()
    group = parser.add_argument_group("settings")
    for field in fields(Settings):
        group.add_argument(
            flags.flag(field.name),
            type=flags.converter(hints[field.name]),
            default=argparse.SUPPRESS,
            metavar=field.name.upper(),
            help=f"{docs.get(field.name, '')} (default: {field.default})".replace("%", "%%"),
        )


@functools.cache
def _docs() -> dict[str, str]:
    """The docstring under each field of Settings; none at all if the source is not at hand."""
    try:
        (settings,) = ast.parse(inspect.getsource(Settings)).body
    except OSError:
        return {}
    assert isinstance(settings, ast.ClassDef)
    return {
        ast.unparse(field.target): " ".join(ast.literal_eval(doc.value).split())
        for field, doc in itertools.pairwise(settings.body)
        if isinstance(field, ast.AnnAssign) and isinstance(doc, ast.Expr)
    }
