"""Going on from a labeler of one's own: more sentences, one label more, beside a fit of all of them.

    python benchmarks/onward.py FOLDER --model gemma-3-270m --label MISC

FOLDER holds ner-conll2003. A first labeler learns 50 sentences without the label. Then 50 more come, and the
label is annotated in all 100: one labeler goes on from the first with all of them, another with the 50 new
ones alone, a third begins from the warm start with all of them. Prints F1 on every 6th test sentence, with
and without the label, and the minutes of each.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import minisift
from minisift import Example


def without(examples: Iterable[Example], label: str) -> list[Example]:
    return [
        replace(example, spans=tuple(span for span in example.spans if span.label != label))
        for example in examples
    ]


def fitted(title: str, model: str, train: Sequence[Example], test: Any, **options: Any) -> Any:
    """A labeler, whose scores are printed."""
    started = time.monotonic()
    labeler = minisift.fit(model, train, **options)
    minutes = (time.monotonic() - started) / 60
    found = labeler.evaluate(test)
    by_label = ", ".join(f"{label} {score.f1:.3f}" for label, score in found.per_label.items())
    print(f"{title}: F1 {found.f1:.3f} ({by_label}), {minutes:.1f} min", flush=True)
    return labeler


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="gemma-3-270m")
    parser.add_argument("--label", default="MISC", help="which is annotated later")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    data = given.folder / "ner-conll2003"
    test = minisift.read(data / "eng.testb")[::6]
    drawn = random.Random(given.seed).sample(list(minisift.read(data / "eng.train")), 100)
    options = {"model": given.model, "test": test, "seed": given.seed, "held_out": 0}
    first = fitted(
        f"50 sentences without {given.label}",
        train=without(drawn[:50], given.label),
        **{**options, "test": without(test, given.label)},
    )
    fitted("going on with all 100", train=drawn, start=first, **options)
    fitted("going on with the 50 new ones", train=drawn[50:], start=first, **options)
    fitted("all 100 from the warm start", train=drawn, **options)


if __name__ == "__main__":
    main()
