"""The weights of a base model on disk with an adapter merged, one tensor at a time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from minisift.models.loading import intact
from minisift.progress import quietly

MergeInto = Literal["quantized", "original"]


@dataclass(frozen=True)
class Weight:
    """A tensor that is read when it is wanted: its shape, and what gives it in float32."""

    shape: tuple[int, ...]
    read: Callable[[], torch.Tensor]


def plain_model(model: Any) -> Any:
    """The transformers model itself, without peft's wrapper; adapters stay in its layers."""
    return model.get_base_model() if hasattr(model, "peft_config") else model


def merged_weights(
    weights: str, adapter: Path | None, quantized: bool, tied: bool
) -> dict[str, Weight]:
    """By name in transformers, the weights of a folder or hub id with an adapter folder merged.

    quantized: linear layers go through NF4 and back first, as the adapter met them in training;
    the merged model then computes what the trained one does. tied: the output head is the
    embeddings', and left out.
    """
    alpha, pairs = lora_pairs(adapter) if adapter else (0.0, {})
    found: dict[str, Weight] = {}
    for name, stored in _stored_tensors(weights):
        if tied and name == "lm_head.weight":
            continue
        nf4 = quantized and len(stored.shape) == 2 and not _is_vocabulary(name)
        found[name] = Weight(stored.shape, _reader(stored, nf4, pairs.pop(name, None), alpha))
    if pairs:
        raise ValueError(
            f"{adapter}: the adapter changes {next(iter(pairs))}, which {weights} does not hold; "
            "fix: the base model that it was trained on"
        )
    return found


def _is_vocabulary(name: str) -> bool:
    return "embed" in name or name.startswith("lm_head")


def _reader(
    stored: Weight, nf4: bool, pair: tuple[Weight, Weight] | None, alpha: float
) -> Callable[[], torch.Tensor]:
    def read() -> torch.Tensor:
        weight = stored.read()
        weight = through_nf4(weight) if nf4 else weight.float()
        if pair is not None:
            down, up = (half.read().float() for half in pair)
            weight += (up @ down) * (alpha / len(down))
        return weight

    return read


def through_nf4(weight: torch.Tensor) -> torch.Tensor:
    """A matrix as double-quantized NF4 holds it, in float32."""
    with quietly():
        from bitsandbytes.functional import dequantize_4bit, quantize_4bit

        packed, state = quantize_4bit(
            weight.to(torch.bfloat16), blocksize=64, compress_statistics=True, quant_type="nf4"
        )
        state.dtype = torch.float32
        return dequantize_4bit(packed, state).float()


def lora_pairs(folder: Path) -> tuple[float, dict[str, tuple[Weight, Weight]]]:
    """LoRA's alpha, and (A, B) by the name of the weight that they change."""
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    halves = dict(_in_file(folder / "adapter_model.safetensors"))
    pairs = {}
    for name, down in halves.items():
        if name.endswith(".lora_A.weight"):
            layer = name.removesuffix(".lora_A.weight")
            target = layer.removeprefix("base_model.model.") + ".weight"
            pairs[target] = (down, halves[f"{layer}.lora_B.weight"])
    return float(config["lora_alpha"]), pairs


def _stored_tensors(weights: str) -> Iterator[tuple[str, Weight]]:
    """The tensors of a model's folder or hub id, as they are stored."""
    from transformers.utils import cached_file

    index = cached_file(
        weights, "model.safetensors.index.json", _raise_exceptions_for_missing_entries=False
    )
    if index is None:
        shards = {"model.safetensors"}
    else:
        shards = set(json.loads(Path(index).read_text(encoding="utf-8"))["weight_map"].values())
    for shard in sorted(shards):
        yield from _in_file(Path(str(cached_file(weights, shard))))


def _in_file(path: Path) -> Iterator[tuple[str, Weight]]:
    from safetensors import safe_open

    def reader(name: str) -> Callable[[], torch.Tensor]:
        def read() -> torch.Tensor:
            # opened anew each time: what is mapped counts as memory until the file is closed
            with safe_open(path, framework="pt") as file:
                tensor: torch.Tensor = file.get_tensor(name)
                return tensor

        return read

    with intact(path), safe_open(path, framework="pt") as file:
        names = file.keys()
        for name in names:
            yield name, Weight(tuple(file.get_slice(name).get_shape()), reader(name))
