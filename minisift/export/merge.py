"""The weights of a fine-tuned model with its adapter merged, tensor by tensor."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def plain_model(model: Any) -> Any:
    """The transformers model itself, without peft's wrapper; adapters stay in its layers."""
    return model.get_base_model() if hasattr(model, "peft_config") else model


def merged_tensors(model: Any) -> Iterator[tuple[str, Any]]:
    """(name in the plain transformers model, float32 CPU tensor) of each weight.

    The adapter is merged into the weights that it was trained on: those of 4-bit layers are
    dequantized, so that the merged model computes what the trained one does. Tied output heads
    are left out.
    """
    plain = plain_model(model)
    tied = plain.config.get_text_config().tie_word_embeddings
    merged: set[str] = set()
    for name, module in plain.named_modules():
        if hasattr(module, "get_delta_weight"):
            weight = _plain_weight(module.get_base_layer().weight)
            for adapter in module.active_adapters:
                weight += module.get_delta_weight(adapter).detach().float().cpu()
            yield f"{name}.weight", weight
            merged.add(f"{name}.")
    for name, parameter in plain.named_parameters():
        if any(name.startswith(prefix) for prefix in merged):
            if name.endswith("base_layer.bias"):
                yield name.replace("base_layer.bias", "bias"), parameter.detach().float().cpu()
        elif not (tied and name == "lm_head.weight"):
            yield name, _plain_weight(parameter)


def _plain_weight(parameter: Any) -> Any:
    state = getattr(parameter, "quant_state", None)
    if state is None:
        return parameter.detach().float().cpu().clone()
    from bitsandbytes.functional import dequantize_4bit

    return dequantize_4bit(parameter.data, state).float().cpu()
