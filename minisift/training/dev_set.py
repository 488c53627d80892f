"""Sentences to evaluate on while a training runs: held out, sampled, and what chance does to them."""

from __future__ import annotations

import logging
import math
import random
from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from minisift.data.examples import Example
from minisift.training.settings import worth

logger = logging.getLogger(__name__)

_FEW, _DENSE, _MOST_HELD_OUT, _SCARCE = 100, 200, 200, 5
"""Sentences from which on some are held out, and what fewer have to be worth for that; how many at most (by a run),
and how many a label keeps."""
_SAMPLE = 100
"""Dev sentences that are labelled at each evaluation in training."""


def hold_out(
    examples: Sequence[Example], share: float, seed: int
) -> tuple[Sequence[Example], Sequence[Example]]:
    """The examples less a random share of them, at most 200, and that share.

    Fewer than 100 examples stay whole, unless they are worth more than 200 (see `settings.worth`); so does what
    a label needs to keep five examples.
    """
    spans = sum(len(example.spans) for example in examples)
    if not share or (len(examples) < _FEW and worth(len(examples), spans) <= _DENSE):
        return examples, []
    order = list(range(len(examples)))
    random.Random(seed).shuffle(order)
    taken = _spared(order, examples, min(round(share * len(examples)), _MOST_HELD_OUT))
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


def leave_out(
    examples: Sequence[Example], shown: Collection[str], runs: int, share: float, seed: int
) -> list[list[Example]]:
    """For each run of a training others of the examples, this share of them, which it is to do without, so that
    it can label them as new ones.

    None is among the texts that are `shown` in every prompt; at most 200 are left out, and half of all texts, and
    of each label five examples stay.
    """
    order = [index for index, example in enumerate(examples) if example.text not in shown]
    random.Random(seed).shuffle(order)
    half = len({example.text for example in examples}) // 2
    wanted = min(round(share * len(examples)), half, _MOST_HELD_OUT)
    folds: list[list[Example]] = []
    for _ in range(runs):
        folds.append([examples[index] for index in _spared(order, examples, wanted)])
        taken = {example.text for example in folds[-1]}
        order = [index for index in order if examples[index].text not in taken]
    return folds


def _spared(order: Iterable[int], examples: Sequence[Example], wanted: int) -> list[int]:
    """The first so many examples, in this order, that leave five of each of their labels."""
    left = Counter(label for example in examples for label in {s.label for s in example.spans})
    taken: list[int] = []
    for index in order:
        labels = {span.label for span in examples[index].spans}
        if len(taken) < wanted and all(left[label] > _SCARCE for label in labels):
            taken.append(index)
            left.subtract(labels)
    return taken


def evaluation_sample(dev: Sequence[Example], seed: int) -> Sequence[Example]:
    """The dev sentences that are labelled at each evaluation in training."""
    return random.Random(seed).sample(dev, min(len(dev), _SAMPLE))


def chance(sample: Sequence[Example]) -> float:
    """By how much two F1 on these sentences may differ by chance alone: two standard errors of a
    difference, where one F1's is that of a share of as many spans, at most sqrt(1 / spans) / 2.
    """
    spans = sum(len(example.spans) for example in sample)
    return math.sqrt(2 / max(1, spans))
