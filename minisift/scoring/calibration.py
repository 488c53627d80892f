"""Scores that mean what they say: a temperature, and how far scores are off."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minisift.decoding.labelling import probability

BINS = 10


def fit_temperature(lines: Sequence[Sequence[Any]], right: Sequence[bool]) -> float:
    """The temperature under which the lines' probabilities fit best how often they are right.

    Minimises the mean negative log-likelihood of `right` between 0.1 and 20, by golden section
    over the logarithm (Guo et al. 2017, arXiv 1706.04599). 1.0 where there is nothing to fit.
    """
    if not lines or not any(right) or all(right):
        return 1.0
    import numpy as np  # here, so that commands start without it

    def loss(log_temperature: float) -> float:
        found = np.array([probability(line, float(np.exp(log_temperature))) for line in lines])
        found = found.clip(1e-12, 1 - 1e-12)
        return -float(np.where(right, np.log(found), np.log1p(-found)).mean())

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
