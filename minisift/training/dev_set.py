"""Sentences to evaluate on while a training runs: held out, sampled, and what chance does to them."""

from __future__ import annotations

import logging
import math
import random
from collections import Counter
from collections.abc import Sequence

from minisift.data.examples import Example

logger = logging.getLogger(__name__)

_FEW, _MOST_HELD_OUT, _SCARCE = 100, 200, 5
"""Sentences from which on some are held out, how many at most, and how many a label keeps."""
_SAMPLE = 100
"""Dev sentences that are labelled at each evaluation in training."""


def hold_out(
    examples: Sequence[Example], share: float, seed: int
) -> tuple[Sequence[Example], Sequence[Example]]:
    """The examples less a random share of them, at most 200, and that share.

    Fewer than 100 examples stay whole; so does what a label needs to keep five examples.
    """
    if len(examples) < _FEW or not share:
        return examples, []
    left = Counter(label for e in examples for label in {s.label for s in e.spans})
    wanted = min(round(share * len(examples)), _MOST_HELD_OUT)
    order = list(range(len(examples)))
    random.Random(seed).shuffle(order)
    taken: list[int] = []
    for index in order:
        labels = {span.label for span in examples[index].spans}
        if len(taken) < wanted and all(left[label] > _SCARCE for label in labels):
            taken.append(index)
            left.subtract(labels)
    logger.warning(
        "No dev set: %d of %d sentences are held out as one (held_out=0 trains on all).",
        len(taken),
        len(examples),
    )
    held = set(taken)
    return (
        [example for index, example in enumerate(examples) if index not in held],
        [examples[index] for index in taken],
    )


def evaluation_sample(dev: Sequence[Example], seed: int) -> Sequence[Example]:
    """The dev sentences that are labelled at each evaluation in training."""
    return random.Random(seed).sample(dev, min(len(dev), _SAMPLE))


def chance(sample: Sequence[Example]) -> float:
    """By how much two F1 on these sentences may differ by chance alone: two standard errors of a
    difference, where one F1's is that of a share of as many spans, at most sqrt(1 / spans) / 2.
    """
    spans = sum(len(example.spans) for example in sample)
    return math.sqrt(2 / max(1, spans))
