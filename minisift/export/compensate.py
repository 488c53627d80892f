"""Rounding weights to 4 bits column by column, each error made good by the columns that are left.

After Frantar et al., GPTQ (arXiv 2210.17323), onto the grid of llama.cpp's Q4_0: blocks of 32
weights of a row share a scale, their largest over -8, and each is one of 16 multiples of it.
llama.cpp's own quantizer finds the same grid in the result and changes nothing.
"""

from __future__ import annotations

import torch

BLOCK = 32
_DAMP = 0.01
"""What is added to the inputs' squares, as a share of their mean."""


def compensate(weight: torch.Tensor, heard: torch.Tensor) -> torch.Tensor:
    """A matrix [outputs, inputs] of Q4_0 values whose products with the inputs are close.

    heard: the inputs' products with each other, [inputs, inputs], summed over tokens.
    """
    order = _loudest_first(heard.diagonal())
    # squares of inputs span many orders of magnitude: factored in float64
    weight, heard = weight[:, order], heard[order][:, order].double()
    size = weight.shape[1]
    heard.diagonal().add_(_DAMP * heard.diagonal().mean() + 1e-12)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(heard))
    upper = torch.linalg.cholesky(inverse, upper=True).float()
    for first in range(0, size, BLOCK):
        block = slice(first, first + BLOCK)
        # updated as it goes, and written back rounded
        left, spread = weight[:, block], upper[block, block]
        errors = torch.empty_like(left)
        loudest = left.abs().argmax(1, keepdim=True)
        scale = (left.gather(1, loudest) / -8).half().float()
        inverse_scale = torch.where(scale == 0, 0, 1 / scale)
        for column in range(left.shape[1]):
            steps = (left[:, column : column + 1] * inverse_scale).round().clamp(-8, 7)
            # the one that the scale comes from stays the largest, so that the grid is found again
            steps = torch.where(loudest == column, -8, steps)
            rounded = steps * scale
            error = (left[:, column : column + 1] - rounded) / spread[column, column]
            left[:, column + 1 :] -= error * spread[column, column + 1 :]
            left[:, column] = rounded[:, 0]
            errors[:, column] = error[:, 0]
        weight[:, first + BLOCK :] -= errors @ upper[block, first + BLOCK :]
    return weight[:, order.argsort()]


def _loudest_first(squares: torch.Tensor) -> torch.Tensor:
    """An order of the inputs, blocks kept together: the quiet come last and take the errors."""
    blocks = squares.reshape(-1, BLOCK)
    inside = blocks.argsort(1, descending=True) + torch.arange(0, len(squares), BLOCK)[:, None]
    return inside[blocks.sum(1).argsort(descending=True)].flatten()
