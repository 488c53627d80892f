"""The loss of a causal LM on a pass of packed rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from minisift.models.logits import hidden_states, logits
from minisift.training import attention
from minisift.training.packing import collate
from minisift.training.rows import targets

_LOGITS, _PLACES = 1 << 22, 64
"""Logits that exist at once, 16 MB in float32; but of at least so many places."""
_CHOSEN = 256
"""Places at once where there are logits of some tokens alone."""


class CausalObjective(torch.nn.Module):
    """A causal LM that answers a pass (see `collate`) with its loss, summed over the targets.

    Keeps `protocols.Objective`. Prepared for training, the model attends inside of rows. Hidden
    states become logits only where a token is predicted, only so many at a time, and where rows
    tell what a token is one of, for these alone: a large vocabulary costs no memory. Between the
    two, the model's own code runs, with its scales and caps.

    use: lets the model attend inside of rows. logits, places: how many logits exist at once, but of
    at least how many places.
    """

    targets = staticmethod(targets)
    collate = staticmethod(collate)

    def __init__(
        self,
        model: Any,
        *,
        use: Callable[[Any], attention.RowAttention] = attention.use,
        logits: int = _LOGITS,
        places: int = _PLACES,
    ) -> None:
        super().__init__()
        self.model = model
        self._attention = model.config._attn_implementation
        self._use = use
        self._rows: attention.RowAttention | None = None
        self._places = max(places, logits // model.config.get_text_config().vocab_size)

    def prepare(self, training: bool) -> None:
        """Let the model attend inside of rows, or as it came."""
        if training:
            self._rows = self._use(self.model)
        else:
            self._rows = None
            self.model.set_attn_implementation(self._attention)

    def forward(
        self,
        input_ids: torch.Tensor,
        position_ids: torch.Tensor,
        lengths: Sequence[int],
        kept: torch.Tensor,
        labels: torch.Tensor,
        choices: Sequence[Sequence[int] | None] | None = None,
    ) -> Any:
        if self._rows is None:
            raise RuntimeError("rows would see each other; fix: call prepare(training=True) first")
        self._rows.lengths = lengths
        model = self.model
        states = hidden_states(
            model, input_ids=input_ids, position_ids=position_ids, use_cache=False
        )[0, kept]
        chunked_loss: Any = _ChunkedLoss.apply
        if choices is None:
            return chunked_loss(states, labels, None, model, self._places)
        free = [at for at, among in enumerate(choices) if among is None]
        chosen = [at for at, among in enumerate(choices) if among is not None]
        some = [among for among in choices if among is not None]
        return chunked_loss(states[free], labels[free], None, model, self._places) + chunked_loss(
            states[chosen], labels[chosen], some, model, max(_CHOSEN, self._places)
        )


def _among(
    labels: torch.Tensor, choices: Sequence[Sequence[int]]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """All tokens of some choices, [tokens], in order; the places of the labels in it, [targets, 1]; and
    where something else than what was to choose from stands, [targets, tokens]."""
    counts = torch.tensor([len(allowed) for allowed in choices])
    flat = torch.tensor([token for allowed in choices for token in allowed])
    tokens, columns = flat.unique(return_inverse=True)
    others = torch.ones(len(choices), len(tokens), dtype=torch.bool)
    others[torch.arange(len(choices)).repeat_interleave(counts), columns] = False
    device = labels.device
    tokens = tokens.to(device)
    return tokens, torch.searchsorted(tokens, labels)[:, None], others.to(device)


class _ChunkedLoss(torch.autograd.Function):
    """Cross entropy of hidden states under a frozen head; gradients are made going forward."""

    @staticmethod
    def forward(
        ctx: Any,
        states: torch.Tensor,
        labels: torch.Tensor,
        choices: Sequence[Sequence[int]] | None,
        model: Any,
        places: int,
    ) -> torch.Tensor:
        """states: [targets, size]; labels: [targets]; choices: what each label is one of, None for
        all tokens; places: of how many there are logits at once."""
        gradients = torch.empty_like(states)
        total = torch.zeros((), device=states.device)
        for first in range(0, len(states), places):
            here = slice(first, first + places)
            tokens, wanted, others = None, labels[here, None], None
            if choices is not None:
                tokens, wanted, others = _among(labels[here], choices[here])
            with torch.enable_grad():
                chunk = states[here].detach().requires_grad_()
                found = logits(model, chunk, tokens)
                if others is not None:
                    found = found.masked_fill(others, -torch.inf)
            # written out, since logits are many: log-probabilities become gradients in place
            scores = found.detach().log_softmax(-1, dtype=torch.float32)
            total -= scores.gather(1, wanted).sum()
            upstream = scores.exp_().scatter_add_(1, wanted, -torch.ones_like(wanted).float())
            (gradients[here],) = torch.autograd.grad(found, chunk, upstream.to(found.dtype))
            del found, scores, upstream
        ctx.save_for_backward(gradients)
        return total

    @staticmethod
    def backward(ctx: Any, *upstream: torch.Tensor) -> Any:
        (gradients,) = ctx.saved_tensors
        return gradients * upstream[0], None, None, None, None
