"""`minisift fit`: train a labeler."""

from __future__ import annotations

import argparse
from typing import Any

import minisift
from minisift.cli.training import add_training, tell_of, training


def add(commands: Any) -> None:
    parser = commands.add_parser("fit", help="train a labeler on labelled sentences")
    parser.set_defaults(run=run)
    add_training(parser, output_dir="where to write the adapter folder")


def run(given: argparse.Namespace) -> None:
    labeler = minisift.fit(**training(given))
    made = labeler.description.made
    learned = (
        f"{made['sentences']} sentences, {made['prompts']} prompts, "
        f"{made['training']['seconds']:.0f} s, loss {made['training']['loss']:.3f}"
    )
    tell_of(labeler, given, f"{given.output_dir}: {', '.join(labeler.labels)}\n{learned}")
    if made["training"].get("stopped") == "interrupted":
        raise KeyboardInterrupt
