"""`minisift fit`: train a labeler."""

from __future__ import annotations

import argparse
import json
from typing import Any

import minisift
from minisift.cli.training import add_training, training
from minisift.scoring.evaluation import Report


def add(commands: Any) -> None:
    parser = commands.add_parser("fit", help="train a labeler on labelled sentences")
    parser.set_defaults(run=run)
    add_training(parser, output_dir="where to write the adapter folder")


def run(given: argparse.Namespace) -> None:
    labeler = minisift.fit(**training(given))
    made = labeler.description.made
    if given.json:
        print(json.dumps({"output_dir": given.output_dir, **made}, ensure_ascii=False))
        return
    print(f"{given.output_dir}: {', '.join(labeler.labels)}")
    print(
        f"{made['sentences']} sentences, {made['prompts']} prompts, "
        f"{made['training']['seconds']:.0f} s, loss {made['training']['loss']:.3f}"
    )
    if "scores" in made:
        print(Report.from_dict(made["scores"]["dev"]))
    if made["training"].get("stopped") == "interrupted":
        raise KeyboardInterrupt
