"""Scaling channels before quantization, so that quantized weights and activations round less.

llama.cpp rounds both the weights and what comes into a layer to a few bits, 32 channels at a time
by their largest: a loud channel drowns its neighbours. Between two layers that nothing but scaling
by channel separates, each channel may be divided by a factor at its producer and multiplied by it
at its consumers: the model computes the same. The factors here make a channel as loud in the
activations as in the weights. After Xiao et al., SmoothQuant (arXiv 2211.10438).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from minisift.export.merge import plain_model

Groups = Mapping[str, tuple[str, ...]]
GATED: Groups = {
    "attn_norm": ("attn_q", "attn_k", "attn_v"),
    "attn_v": ("attn_output",),
    "ffn_norm": ("ffn_gate", "ffn_up"),
    "ffn_up": ("ffn_down",),
}
"""By GGUF name, what makes channels and all that takes them, in blocks with gated feed-forward."""


@dataclass(frozen=True)
class Balance:
    """Factors of tensors by GGUF name without suffix: [inputs] and [outputs] of the tensor."""

    taken: Mapping[str, torch.Tensor]
    made: Mapping[str, torch.Tensor]

    def __call__(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        """The tensor with its factors worked in; a new one if it has any."""
        stem = name.rpartition(".")[0]
        if stem in self.taken and tensor.ndim > 1:
            tensor = tensor * self.taken[stem]
        if stem in self.made:
            made = self.made[stem]
            tensor = tensor / (made[:, None] if tensor.ndim > 1 else made)
        return tensor


def balance(
    tensors: Iterable[tuple[str, torch.Tensor]],
    heard: Mapping[str, torch.Tensor],
    groups: Groups,
    head_size: int,
) -> Balance:
    """Factors for tensors by GGUF name, from the squares that they `hear`, [inputs].

    Channels of one head that several heads take (grouped-query attention) share a factor.
    """
    made_by: dict[str, int] = {}
    weights: dict[str, torch.Tensor] = {}
    for name, tensor in tensors:
        stem = name.rpartition(".")[0]
        made_by[stem] = len(tensor)
        if stem in heard and tensor.ndim > 1:
            weights[stem] = tensor.square().sum(0)
    taken: dict[str, torch.Tensor] = {}
    made: dict[str, torch.Tensor] = {}
    for producer in made_by:
        block, _, kind = producer.rpartition(".")
        consumers = [f"{block}.{consumer}" for consumer in groups.get(kind, ())]
        if not consumers or not all(consumer in weights for consumer in consumers):
            continue
        # [heads that share a factor, factors], as far as there are such heads
        heads = (-1, len(weights[consumers[0]]) // made_by[producer], head_size)
        shared = heads[1] > 1
        sums = [heard[consumers[0]], torch.stack([weights[c] for c in consumers]).sum(0)]
        if shared:
            sums = [value.reshape(heads).sum(1).flatten() for value in sums]
        activations, weighing = (value.clamp(min=float(value.mean()) * 1e-6) for value in sums)
        factors = (activations / weighing) ** 0.25
        factors /= factors.log().mean().exp()
        made[producer] = factors
        if shared:
            factors = factors.reshape(-1, 1, head_size).expand(-1, heads[1], -1).flatten()
        taken.update(dict.fromkeys(consumers, factors))
    return Balance(taken, made)


def hear(
    model: Any, names: Mapping[str, str], prompts: Iterable[Sequence[int]], pairs: bool
) -> dict[str, torch.Tensor]:
    """What comes into the model's layers, squared and summed over tokens, by GGUF name.

    names: GGUF name of each module of interest. prompts: token ids to read. pairs: give the
    products of each two inputs, [inputs, inputs], instead of the squares, [inputs].
    """
    found: dict[str, Any] = defaultdict(float)

    def listen(name: str) -> Any:
        def hook(_: Any, inputs: tuple[torch.Tensor, ...]) -> None:
            rows = inputs[0].detach().float().flatten(0, -2)
            found[name] += (rows.T @ rows if pairs else rows.square().sum(0)).cpu()

        return hook

    hooks = [
        module.register_forward_pre_hook(listen(names[name]))
        for name, module in plain_model(model).named_modules()
        if name in names
    ]
    try:
        with torch.inference_mode():
            for ids in prompts:
                model(input_ids=torch.tensor([ids], device=model.device), logits_to_keep=1)
    finally:
        for hook in hooks:
            hook.remove()
    # cloned out of inference mode
    return {name: sums.clone() for name, sums in found.items()}
