"""Attention inside of each row of a pass (see packing.py), for training.

`use` makes a model of transformers call it. Rows are attended to one by one: none sees another, and
nothing is computed that a mask would throw away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention

_NAME = "minisift_rows"
"""What transformers calls it."""
_PLAIN = 1024
"""Tokens of a row up to which a CPU writes attention out: two thirds of the time of torch's kernel,
for a matrix of probabilities a head."""
_BLOCK = 128
"""Tokens whose attention is written out at once: nothing is computed for most of what comes later."""


@dataclass(eq=False)
class RowAttention:
    """How one model attends to the rows of the pass under way.

    It hangs on each of the model's modules, where `attend` finds it, since not every model hands
    keywords on from its call to its attention. A deep copy of the model has one of its own.

    lengths: tokens of each row; set before a pass, they hold up to the end of its backward pass,
    where layers may be computed again. device: the kind to attend as on; None for that of the
    tensors. plain: tokens of a row up to which a CPU writes attention out.
    """

    lengths: Sequence[int] = ()
    device: str | None = None
    plain: int = _PLAIN


def use(model: Any, device: str | None = None, plain: int = _PLAIN) -> RowAttention:
    """Let a model attend inside of rows; returns what has to know of each pass how long they are.

    Another implementation of transformers ends that (`model.set_attn_implementation`).
    """
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    ALL_ATTENTION_FUNCTIONS.register(_NAME, attend)
    ALL_MASK_ATTENTION_FUNCTIONS.register(_NAME, lambda *_, **__: None)
    model.set_attn_implementation(_NAME)
    rows = RowAttention(device=device, plain=plain)
    for module in model.modules():
        module.row_attention = rows
    return rows


def unmask(model: Any, layers: Sequence[int] | None = None) -> None:
    """Let all layers, or some, attend to what comes later in a row as well."""
    for module in model.modules():
        if hasattr(module, "is_causal") and (layers is None or module.layer_idx in layers):
            module.is_causal = False


def attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: None,
    *,
    scaling: float,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attention by transformers' interface, causal where the module says so.

    query: [1, heads, tokens, size]; key, value: [1, key heads, tokens, size]. Returns [1, tokens,
    heads, size].
    """
    if s_aux is not None:
        raise NotImplementedError("attention sinks; fix: train a model without them")
    rows: RowAttention = module.row_attention
    causal = getattr(module, "is_causal", True)
    parts = (part[0].split(list(rows.lengths), 1) for part in (query, key, value))
    outputs = []
    for q, k, v in zip(*parts, strict=True):
        window = sliding_window if sliding_window and sliding_window < q.shape[1] else None
        on_cpu = (rows.device or q.device.type) == "cpu"
        if softcap or (on_cpu and q.shape[1] <= rows.plain):
            outputs.append(_write_out(q, k, v, scaling, causal, window, softcap))
            continue
        mask = None if window is None else _mask(q.shape[1], causal, window, q)
        k, v = (part.repeat_interleave(len(q) // len(k), 0) for part in (k, v))
        outputs.append(
            scaled_dot_product_attention(
                q[None], k[None], v[None], mask, is_causal=causal and mask is None, scale=scaling
            )[0]
        )
    return torch.cat(outputs, 1).transpose(0, 1)[None].contiguous(), None


def _write_out(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scaling: float,
    causal: bool,
    window: int | None,
    softcap: float | None,
) -> torch.Tensor:
    """Attention of one row as two products and a softmax a block of queries, with no more keys than the
    block can see.

    query: [heads, tokens, size]; key, value: [key heads, tokens, size]. Returns the query's shape.
    """
    heads, tokens, size = query.shape
    groups = heads // len(key)
    mask = _mask(tokens, causal, window, query)
    outputs = []
    for first in range(0, tokens, _BLOCK):
        end = min(first + _BLOCK, tokens)
        seen = slice(max(0, first + 1 - window) if window else 0, end if causal else tokens)
        grouped = query[:, first:end].reshape(len(key), -1, size)
        keys, hidden = key[:, seen].transpose(1, 2), mask[first:end, seen].repeat(groups, 1)
        if softcap:
            scores = softcap * torch.tanh(grouped @ keys * (scaling / softcap)) + hidden
        else:
            scores = torch.baddbmm(hidden[None], grouped, keys, alpha=scaling)
        outputs.append((scores.softmax(-1) @ value[:, seen]).view(heads, end - first, size))
    return torch.cat(outputs, 1)


def _mask(tokens: int, causal: bool, window: int | None, like: torch.Tensor) -> torch.Tensor:
    """What is added to scores: [tokens, tokens]; minus infinity where attention must not go."""
    hidden = torch.full((tokens, tokens), float("-inf"), dtype=like.dtype, device=like.device)
    mask = hidden.triu(1 if causal else window or tokens)
    return mask if window is None else mask + hidden.tril(-window)
