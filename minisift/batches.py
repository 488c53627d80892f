"""Training rows, packed into passes through the model, and their loss.

A *row* is one prompt, a *step* the rows of one update, a *pass* what goes through the model at
once: one or more rows of a step end to end in one sequence, none of which sees another.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch

from minisift import attention
from minisift.data import Example
from minisift.demonstrations import draws
from minisift.prompts import Renderer, Row
from minisift.settings import Settings

_LOGITS, _PLACES = 1 << 22, 64
"""Logits that exist at once, 16 MB in float32; but of at least so many places."""


def training_rows(
    renderer: Renderer, examples: Sequence[Example], settings: Settings
) -> tuple[list[Row], dict[str, int]]:
    """The rows of a whole training, in order, and how much was left out to fit `max_length`."""
    rows: list[Row] = []
    dropped = too_long = 0
    count = settings.prompts(len(examples))
    drawn = draws(examples, settings.shots, settings.sampling, settings.seed)
    for demonstrations, target in itertools.islice(drawn, count):
        try:
            reserve = len(renderer.response(target))
            kept = renderer.fitting(demonstrations, target, settings.max_length, reserve)
        except ValueError:
            too_long += 1
            continue
        dropped += len(demonstrations) - len(kept)
        rows.append(renderer.row(kept, target, settings.strategy))
    if not rows:
        raise ValueError(
            f"no training sentence fits max_length={settings.max_length} tokens; fix: raise it"
        )
    return rows, {"demonstrations dropped": dropped, "prompts too long": too_long}


def targets(row: Row) -> int:
    """Tokens that the loss counts: nothing predicts a row's first token."""
    return sum(row.mask[1:])


def pack(rows: Sequence[Row], tokens: int) -> list[list[Row]]:
    """Rows in as few passes of at most so many tokens as first fit, longest first, finds.

    A row that is longer has a pass of its own.
    """
    passes: list[list[Row]] = []
    room: list[int] = []
    for row in sorted(rows, key=lambda row: -len(row.ids)):
        fitting = (index for index, left in enumerate(room) if len(row.ids) <= left)
        if (index := next(fitting, None)) is None:
            passes.append([row])
            room.append(tokens - len(row.ids))
        else:
            passes[index].append(row)
            room[index] -= len(row.ids)
    return passes


def collate(rows: Sequence[Row], device: torch.device | str = "cpu") -> dict[str, Any]:
    """A pass: rows end to end, and where in it which token is to be predicted.

    input_ids, position_ids: [1, tokens]; positions begin again at each row. lengths: tokens of each
    row. kept: [targets], places whose next token the loss counts; labels: [targets], those tokens.
    """
    ids: list[int] = []
    positions: list[int] = []
    kept: list[int] = []
    labels: list[int] = []
    for row in rows:
        counted = [at for at in range(1, len(row.ids)) if row.mask[at]]
        kept += [len(ids) + at - 1 for at in counted]
        labels += [row.ids[at] for at in counted]
        ids += row.ids
        positions += range(len(row.ids))
    return {
        "input_ids": torch.tensor([ids], device=device),
        "position_ids": torch.tensor([positions], device=device),
        "lengths": [len(row.ids) for row in rows],
        "kept": torch.tensor(kept, dtype=torch.long, device=device),
        "labels": torch.tensor(labels, dtype=torch.long, device=device),
    }


class Objective(torch.nn.Module):
    """A causal LM that answers a pass (see `collate`) with its loss, summed over the targets.

    The model has to attend inside of rows (`attention.use`). Hidden states become logits only
    where a token is predicted, and only so many at a time: a large vocabulary costs no memory.
    Between the two, the model's own code runs, with its scales and caps.
    """

    targets = staticmethod(targets)
    collate = staticmethod(collate)

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self._attention = model.config._attn_implementation

    def prepare(self, training: bool) -> None:
        """Let the model attend inside of rows, or as it came."""
        attention.use(self.model, attention.NAME if training else self._attention)

    def forward(
        self,
        input_ids: torch.Tensor,
        position_ids: torch.Tensor,
        lengths: Sequence[int],
        kept: torch.Tensor,
        labels: torch.Tensor,
    ) -> Any:
        model = self.model
        causal = model.get_base_model() if hasattr(model, "get_base_model") else model
        attention.begin(lengths)
        states = causal.base_model(
            input_ids=input_ids, position_ids=position_ids, use_cache=False
        ).last_hidden_state
        return _ChunkedLoss.apply(states[0, kept], labels, causal)


class _Given(torch.nn.Module):
    """Stands in for a model's layers: its hidden states are there already."""

    def forward(self, inputs_embeds: torch.Tensor, **_: Any) -> Any:
        from transformers.modeling_outputs import BaseModelOutputWithPast

        return BaseModelOutputWithPast(last_hidden_state=inputs_embeds)


class _ChunkedLoss(torch.autograd.Function):
    """Cross entropy of hidden states under a frozen head; gradients are made going forward."""

    @staticmethod
    def forward(ctx: Any, states: torch.Tensor, labels: torch.Tensor, causal: Any) -> torch.Tensor:
        gradients = torch.empty_like(states)
        total = torch.zeros((), device=states.device)
        size = max(_PLACES, _LOGITS // causal.config.get_text_config().vocab_size)
        layers = causal._modules[causal.base_model_prefix]
        causal._modules[causal.base_model_prefix] = _Given()
        try:
            for first in range(0, len(states), size):
                with torch.enable_grad():
                    chunk = states[first : first + size].detach().requires_grad_()
                    logits = causal(inputs_embeds=chunk[None]).logits[0]
                wanted = labels[first : first + size, None]
                # written out, since logits are many: log-probabilities become gradients in place
                found = logits.detach().log_softmax(-1, dtype=torch.float32)
                total -= found.gather(1, wanted).sum()
                upstream = found.exp_().scatter_add_(1, wanted, -torch.ones_like(wanted).float())
                (gradients[first : first + size],) = torch.autograd.grad(
                    logits, chunk, upstream.to(logits.dtype)
                )
                del logits, found, upstream
        finally:
            causal._modules[causal.base_model_prefix] = layers
        ctx.save_for_backward(gradients)
        return total

    @staticmethod
    def backward(ctx: Any, *upstream: torch.Tensor) -> Any:
        (gradients,) = ctx.saved_tensors
        return gradients * upstream[0], None, None
