"""`minisift evaluate`: score a labeler."""

from __future__ import annotations

import json as jsonlib

from minisift.cli import flags
from minisift.cli.reading import ReadingFlags, load, read, tell


def evaluate(
    labeler: flags.Labeler,
    data: flags.Data,
    /,
    *,
    errors: flags.Errors = False,
    prefer: flags.Prefer = "balance",
    json: flags.Json = False,
    reading: ReadingFlags = None,
) -> None:
    """Score a labeler on labelled sentences.

    Example: `minisift evaluate ner.gguf test.conll --errors`
    """
    examples = read(reading, data)
    report = load(labeler).evaluate(examples, prefer=prefer)
    tell(report.counts)
    if json:
        told = {"errors": report.errors().to_dict()} if errors else {}
        print(jsonlib.dumps({**report.to_dict(), **told}, ensure_ascii=False))
        return
    print(report)
    if errors:
        print(f"\n{report.errors()}")
