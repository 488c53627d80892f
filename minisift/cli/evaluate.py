"""`minisift evaluate`: score a labeler."""

from __future__ import annotations

import argparse
import json
from typing import Any

from minisift.cli import flags
from minisift.cli.reading import add_reading, load, read, tell


def add(commands: Any) -> None:
    parser = commands.add_parser("evaluate", help="score a labeler on labelled sentences")
    parser.set_defaults(run=run)
    parser.add_argument("labeler", help="GGUF file or adapter folder")
    parser.add_argument("data", help="labelled file, see --format")
    flags.add_errors(parser, "them")
    flags.add_prefer(parser)
    add_reading(parser)


def run(given: argparse.Namespace) -> None:
    examples = read(given, given.data)
    report = load(given.labeler).evaluate(examples, prefer=given.prefer)
    tell(report.counts)
    if given.json:
        content = report.to_dict()
        if given.errors:
            content["errors"] = report.errors().to_dict()
        print(json.dumps(content, ensure_ascii=False))
        return
    print(report)
    if given.errors:
        print(f"\n{report.errors()}")
