"""The loss of a causal LM on a pass of packed rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from minisift.training import attention
from minisift.training.packing import collate
from minisift.training.rows import targets

_LOGITS, _PLACES = 1 << 22, 64
"""Logits that exist at once, 16 MB in float32; but of at least so many places."""


class CausalObjective(torch.nn.Module):
    """A causal LM that answers a pass (see `collate`) with its loss, summed over the targets.

    Keeps `protocols.Objective`. Prepared for training, the model attends inside of rows. Hidden
    states become logits only where a token is predicted, and only so many at a time: a large
    vocabulary costs no memory. Between the two, the model's own code runs, with its scales and caps.

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
    ) -> Any:
        if self._rows is None:
            raise RuntimeError("rows would see each other; fix: call prepare(training=True) first")
        self._rows.lengths = lengths
        model = self.model
        causal = model.get_base_model() if hasattr(model, "get_base_model") else model
        states = causal.base_model(
            input_ids=input_ids, position_ids=position_ids, use_cache=False
        ).last_hidden_state
        chunked_loss: Any = _ChunkedLoss.apply
        return chunked_loss(states[0, kept], labels, causal, self._places)


class _States(torch.nn.Module):
    """Stands in for a model's layers: its hidden states are there already."""

    def forward(self, inputs_embeds: torch.Tensor, **_: Any) -> Any:
        from transformers.modeling_outputs import BaseModelOutputWithPast

        return BaseModelOutputWithPast(last_hidden_state=inputs_embeds)


class _ChunkedLoss(torch.autograd.Function):
    """Cross entropy of hidden states under a frozen head; gradients are made going forward."""

    @staticmethod
    def forward(
        ctx: Any, states: torch.Tensor, labels: torch.Tensor, causal: Any, places: int
    ) -> torch.Tensor:
        """states: [targets, size]; labels: [targets]; places: of how many there are logits at once."""
        gradients = torch.empty_like(states)
        total = torch.zeros((), device=states.device)
        layers = causal._modules[causal.base_model_prefix]
        causal._modules[causal.base_model_prefix] = _States()
        try:
            for first in range(0, len(states), places):
                with torch.enable_grad():
                    chunk = states[first : first + places].detach().requires_grad_()
                    logits = causal(inputs_embeds=chunk[None]).logits[0]
                wanted = labels[first : first + places, None]
                # written out, since logits are many: log-probabilities become gradients in place
                scores = logits.detach().log_softmax(-1, dtype=torch.float32)
                total -= scores.gather(1, wanted).sum()
                upstream = scores.exp_().scatter_add_(1, wanted, -torch.ones_like(wanted).float())
                (gradients[first : first + places],) = torch.autograd.grad(
                    logits, chunk, upstream.to(logits.dtype)
                )
                del logits, scores, upstream
        finally:
            causal._modules[causal.base_model_prefix] = layers
        ctx.save_for_backward(gradients)
        return total

    @staticmethod
    def backward(ctx: Any, *upstream: torch.Tensor) -> Any:
        (gradients,) = ctx.saved_tensors
        return gradients * upstream[0], None, None, None
