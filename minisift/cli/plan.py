"""`minisift plan`: the memory that a training would take."""

from __future__ import annotations

import argparse
import json
from typing import Any

import minisift
from minisift.cli.training import add_training, training


def add(commands: Any) -> None:
    parser = commands.add_parser("plan", help="estimate the memory that the same fit would take")
    parser.set_defaults(run=run)
    add_training(parser, output_dir=None)
    parser.add_argument(
        "--device", choices=("cuda", "mps", "cpu"), help="this machine's by default"
    )
    parser.add_argument(
        "--memory", type=float, help="gigabytes there are; by default as found here"
    )


def run(given: argparse.Namespace) -> None:
    estimate = minisift.plan(**training(given), device=given.device, memory=given.memory)
    print(json.dumps(estimate.to_dict(), ensure_ascii=False) if given.json else estimate)
