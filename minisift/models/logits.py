"""A causal LM in two steps: hidden states, and the logits of those tokens that are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch


def causal(model: Any) -> Any:
    """The causal LM of transformers inside of a model, which may hold an adapter of peft."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def hidden_states(model: Any, **inputs: Any) -> torch.Tensor:
    """What the layers give, [rows, tokens, size]. inputs: what the model takes, but `logits_to_keep`."""
    found: torch.Tensor = causal(model).base_model(**inputs).last_hidden_state
    return found


def logits(model: Any, states: torch.Tensor, tokens: torch.Tensor | None = None) -> torch.Tensor:
    """Those of some tokens, [places, tokens], or of the whole vocabulary. states: [places, size].

    The model's own code runs between states and logits, with whatever scale or cap it has.
    """
    whole = causal(model)
    parts: dict[str, torch.nn.Module] = {whole.base_model_prefix: _States()}
    if tokens is not None:
        head = whole.get_output_embeddings()
        name = next(name for name, part in whole._modules.items() if part is head)
        parts[name] = _Rows(head, tokens)
    with _replaced(whole, parts):
        found: torch.Tensor = whole(inputs_embeds=states[None]).logits[0]
    return found


class _States(torch.nn.Module):
    """Stands in for a model's layers: its hidden states are there already."""

    def forward(self, inputs_embeds: torch.Tensor, **_: Any) -> Any:
        from transformers.modeling_outputs import BaseModelOutputWithPast

        return BaseModelOutputWithPast(last_hidden_state=inputs_embeds)


class _Rows(torch.nn.Module):
    """An output head of some tokens alone."""

    def __init__(self, head: Any, tokens: torch.Tensor) -> None:
        super().__init__()
        self._weight = head.weight.detach()[tokens]
        bias = getattr(head, "bias", None)
        self._bias = None if bias is None else bias.detach()[tokens]

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.linear(states, self._weight, self._bias)


@contextmanager
def _replaced(model: Any, parts: Mapping[str, torch.nn.Module]) -> Iterator[None]:
    """A model with other modules in the place of some of its own, by their names."""
    own = {name: model._modules[name] for name in parts}
    model._modules.update(parts)
    try:
        yield
    finally:
        model._modules.update(own)
