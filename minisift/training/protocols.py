"""What the training loop and an objective promise each other: every member that either may rely on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import torch


class AnyRow(Protocol):
    """What is trained on: one prompt or sentence. Equal ones have an equal `repr`, by which a
    checkpoint tells that it is of the same rows."""

    @property
    def ids(self) -> Sequence[int]:
        """Token ids: as many tokens as the row takes of a pass."""


RowT = TypeVar("RowT", bound=AnyRow)
RowT_contra = TypeVar("RowT_contra", bound=AnyRow, contravariant=True)


class Objective(Protocol[RowT_contra]):
    """A model with its loss. Makes rows into passes and answers these, as `loss.CausalObjective`."""

    model: Any
    """Of transformers. Its device is that of the passes; where it has bf16 weights, passes compute in
    bf16; its parameters count for the learning rate."""

    def named_parameters(self) -> Iterator[tuple[str, torch.nn.Parameter]]:
        """All weights, those of the model included, by the names that checkpoints keep them under.
        Those that require a gradient are trained."""

    def prepare(self, training: bool) -> None:
        """Make the model ready for passes (True) or to label as it came (False). It is called
        before the first step and around each evaluation; the model is in train mode, or not, by then."""

    def targets(self, row: RowT_contra) -> int:
        """How many of a row's tokens, or words, the loss counts."""

    def collate(self, rows: Sequence[RowT_contra], device: torch.device) -> Mapping[str, Any]:
        """A pass of one row or more, its tensors on the device: the keywords of a call."""

    def __call__(self, **batch: Any) -> torch.Tensor:
        """The loss of a pass: [], float32, summed over its targets, with what its gradients need.

        Whatever it draws comes from torch's generators, which are seeded for each step.
        """
