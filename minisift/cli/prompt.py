"""`minisift prompt`: a labeler of a few labelled sentences, without training."""

from __future__ import annotations

import argparse
from typing import Any

import minisift
from minisift.cli import flags
from minisift.cli.reading import add_reading, read
from minisift.cli.training import add_task, task, tell_of
from minisift.models.device import Quantization
from minisift.prompting.template import TemplateKind

_OPTIONS = ("output_dir", "shots", "template", "quantize", "seed")


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "prompt", help="make a labeler of a few labelled sentences, without training"
    )
    parser.set_defaults(run=run)
    add_task(parser)
    parser.add_argument("--output-dir", required=True, help="where to write the labeler's folder")
    for name, hint, what in (
        ("shots", int, "sentences to show; as many as 1,024 tokens hold by default"),
        ("template", TemplateKind, "'plain' text, or 'chat' (default: plain)"),
        ("quantize", Quantization | None, "'nf4' for 4-bit weights (default: none)"),
        ("seed", int, "of which sentences are shown (default: 0)"),
    ):
        convert = flags.converter(hint)
        parser.add_argument(flags.flag(name), type=convert, default=argparse.SUPPRESS, help=what)
    add_reading(parser)


def run(given: argparse.Namespace) -> None:
    examples = read(given, given.train)
    labeler = minisift.prompt(train_set=examples, **task(given), **flags.options(given, _OPTIONS))
    shown = f"shows {labeler.description.made['shots']} sentences"
    tell_of(labeler, given, f"{given.output_dir}: {', '.join(labeler.labels)}; {shown}")
