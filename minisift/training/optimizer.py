"""What turns gradients into new weights: AdamW under a schedule of learning rates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

_WARMUP = 0.1
"""Share of the steps in which the learning rate rises."""
_LARGEST_GRADIENT = 1.0


class Optimizer:
    """AdamW. Its learning rate rises over the first steps of a run and falls to nothing at the last.

    rate: the highest. paged: 8-bit states that may leave the GPU.
    """

    def __init__(self, weights: Sequence[torch.nn.Parameter], rate: float, paged: bool) -> None:
        self._weights = weights
        self._rate = rate
        self._paged = paged
        self.forget()

    def forget(self) -> None:
        """Begin anew: another run."""
        self._adam = _adamw(self._weights, self._paged)

    def step(self, step: int, steps: int) -> None:
        """Make the update of a run's step, of so many, and drop the gradients."""
        torch.nn.utils.clip_grad_norm_(self._weights, _LARGEST_GRADIENT)
        for group in self._adam.param_groups:
            group["lr"] = self._rate * share_of_rate(step, steps)
        self._adam.step()
        self._adam.zero_grad()

    def state_dict(self) -> dict[str, Any]:
        state: dict[str, Any] = self._adam.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._adam.load_state_dict(state)


def share_of_rate(step: int, steps: int) -> float:
    """The learning rate of a step, as a share: a linear rise, then half a cosine to nothing."""
    rise = math.ceil(_WARMUP * steps)
    if step < rise:
        return (step + 1) / (rise + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / (steps - rise)))


def _adamw(weights: Sequence[torch.nn.Parameter], paged: bool) -> Any:
    if paged:
        from bitsandbytes.optim import PagedAdamW8bit

        return PagedAdamW8bit(weights, weight_decay=0.0)
    return torch.optim.AdamW(weights, weight_decay=0.0, fused=True)
