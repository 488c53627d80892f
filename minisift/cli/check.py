"""`minisift check`: what a labelled file holds, and what may be wrong with it."""

from __future__ import annotations

import json as jsonlib
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from rich.text import Text

import minisift
from minisift.cli import flags
from minisift.cli.reading import Reading, ReadingFlags, options
from minisift.cli.showing import bracketed, show
from minisift.data.examples import Example, Examples
from minisift.data.formats import format_of
from minisift.prompting.task import make_task

_SHOWN = 3
"""Sentences that are shown."""
_LISTED = 20
"""Lines of a kind that are shown."""


def check(
    data: flags.Data,
    /,
    *,
    dev: str | None = None,
    model: str | None = None,
    json: flags.Json = False,
    reading: ReadingFlags = None,
) -> int:
    """Tell what a labelled file holds, and what may be wrong with it.

    Counts, three sentences with their spans, labels with few spans, texts that stand there twice, words that are
    labelled otherwise than elsewhere (likely mistakes), and each record that cannot be read, with its place and
    the fix. The exit status is 1 where `fit` would stop.

    Example: `minisift check train.conll --dev dev.conll`

    Parameters
    ----------
    dev
        Another one, whose texts should not be among those.
    model
        Tell the memory that a fit of this model would take.
    """
    how = replace(reading or Reading(), on_error="skip")
    examples = minisift.read(data, **options(how, data, [dev] if dev else ()))
    others = minisift.read(dev, **options(how, dev, [data])) if dev else Examples([], Counter(), [])
    problems = [note for note in (*examples.notes, *others.notes) if "; fix: " in note]
    remarks = [note for note in (*examples.notes, *others.notes) if note not in problems]
    try:
        make_task(examples)
    except ValueError as error:
        problems.append(str(error))
    findings = minisift.check(examples, others)
    estimate = minisift.plan(model, examples) if model and not problems else None
    format = how.format or format_of(data)
    if json:
        told = {"format": format, "problems": problems, "remarks": remarks, **findings.to_dict()}
        told |= {"plan": estimate.to_dict()} if estimate else {}
        print(jsonlib.dumps(told, ensure_ascii=False))
        return int(bool(problems))
    show(sys.stdout, f"{data}: {format}", str(findings))
    sections: dict[str, Sequence[Text | str]] = {
        "Some of them": [bracketed(e.text, e.spans, findings.spans) for e in _typical(examples)],
        "Not read, or not as it is written": remarks,
        "Problems, which fit would stop at": problems,
    }
    for title, lines in sections.items():
        if lines:
            show(sys.stdout, f"{title}:")
            for line in lines[:_LISTED]:
                show(sys.stdout, f"  {line}" if isinstance(line, str) else Text("  ") + line)
        if len(lines) > _LISTED:
            show(sys.stdout, f"  and {len(lines) - _LISTED} more")
    if estimate:
        show(sys.stdout, str(estimate))
    return int(bool(problems))


def _typical(examples: Sequence[Example]) -> list[Example]:
    """Some examples that show as many labels as so few can; the shorter the better."""
    chosen: list[Example] = []
    seen: set[str] = set()
    for _ in range(_SHOWN):
        rest = [example for example in examples if example.spans and example not in chosen]
        if not rest:
            break
        best = max(rest, key=lambda e: (len({s.label for s in e.spans} - seen), -len(e.words)))
        seen |= {span.label for span in best.spans}
        chosen.append(best)
    return chosen
