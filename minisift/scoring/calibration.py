"""Scores that mean what they say, and how many spans are worth finding."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, get_args

from minisift.decoding.labelling import probability

BINS = 10
Preference = Literal["recall", "balance", "precision"]
PREFERENCES: tuple[Preference, ...] = get_args(Preference)
_SHIFTS = {"recall": 3.0, "balance": 0.0, "precision": -3.0}
"""What else is taken from the end's logit: trained models are so sure that less would change next to nothing."""
_SPREAD = 0.3
"""By how much temperatures of labelers differ from the expected one: the standard deviation of their logarithms."""
_LEAST = 0.2
"""With a lower F1 the end would hardly ever come."""


def expected_temperature(worth: float, f1: float) -> float:
    """The temperature that a labeler needs which was trained on what so many sentences are worth and reaches
    about this F1.

    The fewer they are, the more often each was seen and the surer of itself is what learned them; and the
    harder the task, the less right it is in that (measured: docs/decisions.md).
    """
    return round(1 + 3.2 * math.sqrt(1 - f1**2) * math.pow(50 / worth, 0.2), 3)


def fit_temperature(
    lines: Sequence[Sequence[Any]], right: Sequence[bool], expected: float | None = None
) -> float:
    """The temperature under which the lines' probabilities fit best how often they are right.

    Minimises the negative log-likelihood of `right` between 0.1 and 20, by golden section
    over the logarithm (Guo et al. 2017, arXiv 1706.04599). expected: what it is likely to be before the
    lines tell, which counts for as much as a few dozen of them; None for any. That, or 1.0, is the answer
    where there is nothing to fit.
    """
    if not lines or not any(right) or all(right):
        return expected or 1.0
    import numpy as np  # here, so that commands start without it

    def loss(log_temperature: float) -> float:
        found = np.array([probability(line, float(np.exp(log_temperature))) for line in lines])
        found = found.clip(1e-12, 1 - 1e-12)
        surprise = -float(np.where(right, np.log(found), np.log1p(-found)).sum())
        off = log_temperature - np.log(expected) if expected else 0.0
        return surprise + off**2 / (2 * _SPREAD**2)

    low, high = np.log(0.1), np.log(20.0)
    golden = (5**0.5 - 1) / 2
    inner = [high - golden * (high - low), low + golden * (high - low)]
    losses = [loss(at) for at in inner]
    while high - low > 1e-3:
        if losses[0] < losses[1]:
            high, inner[1], losses[1] = inner[1], inner[0], losses[0]
            inner[0] = high - golden * (high - low)
            losses[0] = loss(inner[0])
        else:
            low, inner[0], losses[0] = inner[0], inner[1], losses[1]
            inner[1] = low + golden * (high - low)
            losses[1] = loss(inner[1])
    return float(np.exp((low + high) / 2))


def expected_calibration_error(scores: Sequence[float], right: Sequence[bool]) -> float:
    """How far scores are from the share that is right, weighted over bins of equal width."""
    if not scores:
        return 0.0
    import numpy as np

    found, hits = np.array(scores, float), np.array(right, float)
    bins = np.minimum((found * BINS).astype(int), BINS - 1)
    gap = sum(abs((found - hits)[bins == b].sum()) for b in range(BINS))
    return float(gap / len(found))


def end_bias(f1: float) -> float:
    """What to take from the logit of an answer's end in a labeler that reaches about this F1.

    Another span raises F1 if it is right with at least half of that probability (Lipton et al. 2014, arXiv
    1402.1892). At a line's beginning the end competes with each span by itself: it is made even with a span
    that has just that probability and takes the rest.
    """
    likely = max(_LEAST, f1) / 2
    return round(math.log((1 - likely) / likely), 3)


def preferred(bias: float, preference: Preference) -> float:
    """The same where missed spans ("recall") or wrong ones ("precision") are the worse mistake."""
    return bias + _SHIFTS[preference]
