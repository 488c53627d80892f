"""Model families: what llama.cpp has to know of each, and how its tensors differ there.

A family is an entry of `models.architectures` and, where its tensors differ, of _WRITTEN. Tensor names
come from `gguf.get_tensor_name_map`, the facts from llama.cpp's model files; `change` is the inverse of what
transformers does when it reads a GGUF.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import gguf
import torch

from minisift.export.balance import GATED, Groups
from minisift.models.architectures import ARCHITECTURES, Architecture

_NUMBERS = {name: number for number, name in gguf.MODEL_ARCH_NAMES.items()}
Change = Callable[[str, torch.Tensor, Any], torch.Tensor]
Settings = Callable[[Any], Mapping[str, Any]]


@dataclass(frozen=True)
class Family:
    """How one model type of transformers is written for llama.cpp.

    change: (GGUF name, tensor, config) -> tensor. settings: metadata that only this family has,
    by key without the architecture's name; raises ValueError for a configuration that llama.cpp
    does not compute. groups: see balance.py.
    """

    architecture: Architecture
    change: Change = lambda name, tensor, config: tensor
    settings: Settings = lambda config: {}
    groups: Groups = field(default_factory=lambda: GATED)

    @property
    def arch(self) -> gguf.MODEL_ARCH:
        """llama.cpp's number of the architecture, as the gguf package has it."""
        return _NUMBERS[self.architecture.gguf]


def _permute_rotary(name: str, tensor: torch.Tensor, config: Any) -> torch.Tensor:
    """llama.cpp rotates neighbouring pairs of a head here, transformers its two halves."""
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
    count = heads.get(name.split(".")[-2])
    if count is None:
        return tensor
    half = tensor.shape[0] // count // 2
    paired = tensor.reshape(count, 2, half, *tensor.shape[1:]).swapaxes(1, 2)
    return paired.reshape(tensor.shape)


def _shift_norms(name: str, tensor: torch.Tensor, config: Any) -> torch.Tensor:
    """Gemma's norms scale by 1 + weight; llama.cpp stores the sum."""
    return tensor + 1 if name.endswith("norm.weight") else tensor


def _gemma(config: Any) -> Mapping[str, Any]:
    largest = {"gemma2": 46, "gemma3_text": 62}[config.model_type]
    by_width = config.num_hidden_layers == largest
    scale = config.hidden_size // config.num_attention_heads if by_width else config.head_dim
    if config.query_pre_attn_scalar != scale:
        raise ValueError(
            f"query_pre_attn_scalar={config.query_pre_attn_scalar}, llama.cpp computes with {scale}"
        )
    found = {"attention.sliding_window": config.sliding_window}
    for name in ("attn_logit_softcapping", "final_logit_softcapping"):
        if getattr(config, name, None) is not None:
            found[name] = float(getattr(config, name))
    pattern = {"gemma2": 2, "gemma3_text": 6}[config.model_type]
    for layer, kind in enumerate(config.layer_types):
        if (kind == "full_attention") != (layer % pattern == pattern - 1):
            raise ValueError(f"layer {layer} has {kind}: llama.cpp has a full one every {pattern}")
    return found


def _smollm3(config: Any) -> Mapping[str, Any]:
    usual = [int((layer + 1) % 4 != 0) for layer in range(config.num_hidden_layers)]
    if list(config.no_rope_layers) != usual:
        raise ValueError(
            "no_rope_layers other than every fourth, which llama.cpp takes for granted"
        )
    return {}


def _stablelm(config: Any) -> Mapping[str, Any]:
    return {
        "attention.layer_norm_epsilon": float(config.layer_norm_eps),
        "use_parallel_residual": bool(config.use_parallel_residual),
    }


def _granite(config: Any) -> Mapping[str, Any]:
    return {
        "embedding_scale": float(config.embedding_multiplier),
        "residual_scale": float(config.residual_multiplier),
        "attention.scale": float(config.attention_multiplier),
        "logit_scale": float(config.logits_scaling),
    }


_INNER: Groups = {name: GATED[name] for name in ("attn_v", "ffn_up")}
"""Where norms feed more than one branch, or come after it."""

_WRITTEN: dict[str, dict[str, Any]] = {
    "llama": {"change": _permute_rotary},
    "mistral": {"change": _permute_rotary},
    "smollm3": {"change": _permute_rotary, "settings": _smollm3},
    "granite": {"change": _permute_rotary, "settings": _granite},
    "gemma2": {"change": _shift_norms, "settings": _gemma},
    "gemma3_text": {"change": _shift_norms, "settings": _gemma},
    "phi3": {"groups": {"attn_norm": ("attn_qkv",), "ffn_norm": ("ffn_up",)}},
    "olmo2": {"groups": _INNER},
    "stablelm": {"settings": _stablelm, "groups": _INNER},
}
"""What differs from a tensor for a tensor."""

FAMILIES = {
    name: Family(architecture, **_WRITTEN.get(name, {}))
    for name, architecture in ARCHITECTURES.items()
}
"""By `model_type` of the transformers configuration."""


def family_of(config: Any, name: str) -> Family:
    """The family of a transformers configuration. Raises ValueError, naming those that are covered."""
    text = config.get_text_config()
    if text.model_type not in FAMILIES:
        raise ValueError(
            f"{name} has the model type {text.model_type!r}, which minisift does not write as GGUF; "
            f"fix: a model of {', '.join(FAMILIES)}, or converter=, the path of llama.cpp's "
            "convert_hf_to_gguf.py"
        )
    return FAMILIES[text.model_type]


def head_size(config: Any) -> int:
    """Channels of an attention head."""
    given = getattr(config, "head_dim", None)
    return int(given or config.hidden_size // config.num_attention_heads)


def hyperparameters(config: Any, family: Family) -> dict[str, Any]:
    """llama.cpp's metadata of a text configuration, by full key.

    Raises ValueError for a configuration that llama.cpp does not compute.
    """
    rope = _rope(config)
    size = head_size(config)
    values = {
        "vocab_size": config.vocab_size,
        "context_length": _context(config, family),
        "embedding_length": config.hidden_size,
        "block_count": config.num_hidden_layers,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.key_length": size,
        "attention.value_length": size,
        "rope.dimension_count": int(size * _share(config, rope)),
        "rope.freq_base": float(rope["rope_theta"]),
        **_rope_scaling(config, rope),
    }
    if (local := config.rope_parameters.get("sliding_attention")) is not None:
        if local["rope_type"] != "default":
            raise ValueError(f"rope type {local['rope_type']!r} under sliding windows")
        values["rope.freq_base_swa"] = float(local["rope_theta"])
    if hasattr(config, "rms_norm_eps"):
        values["attention.layer_norm_rms_epsilon"] = float(config.rms_norm_eps)
    values |= family.settings(config)
    return {f"{family.architecture.gguf}.{key}": value for key, value in values.items()}


def _rope(config: Any) -> Mapping[str, Any]:
    parameters: Mapping[str, Any] = config.rope_parameters
    found: Mapping[str, Any] = parameters.get("full_attention", parameters)
    return found


def _share(config: Any, rope: Mapping[str, Any]) -> float:
    """The part of a head that is rotated."""
    return float(rope.get("partial_rotary_factor") or 1)


def _context(config: Any, family: Family) -> int:
    """The longest input that llama.cpp computes as transformers does: within a sliding window."""
    longest = int(config.max_position_embeddings)
    window = getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None)
    if (
        not window
        or family.architecture.sliding
        or (kinds is not None and "sliding_attention" not in kinds)
    ):
        return longest
    return min(longest, int(window))


def _rope_scaling(config: Any, rope: Mapping[str, Any]) -> dict[str, Any]:
    kind = rope.get("rope_type", "default")
    if kind in ("default", "llama3"):
        return {}
    if "attention_factor" in rope and rope["attention_factor"] is not None:
        raise ValueError("a rope attention_factor of its own, which llama.cpp computes itself")
    if kind == "linear":
        return {"rope.scaling.type": "linear", "rope.scaling.factor": float(rope["factor"])}
    if kind == "yarn":
        found = {
            "rope.scaling.type": "yarn",
            "rope.scaling.factor": float(rope["factor"]),
            "rope.scaling.original_context_length": int(rope["original_max_position_embeddings"]),
        }
        for name in ("beta_fast", "beta_slow"):
            if rope.get(name) is not None:
                found[f"rope.scaling.yarn_{name}"] = float(rope[name])
        return found
    if kind == "longrope":
        short = int(rope["original_max_position_embeddings"])
        scale = config.max_position_embeddings / short
        loud = math.sqrt(1 + math.log(scale) / math.log(short)) if scale > 1 else 1.0
        return {
            "rope.scaling.type": "longrope",
            "rope.scaling.original_context_length": short,
            "rope.scaling.attn_factor": loud,
        }
    raise ValueError(f"rope type {kind!r}, which llama.cpp does not compute as transformers does")


def rope_tensors(config: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """Tensors that no weight of transformers holds: factors of rope frequencies, [rotated / 2]."""
    rope = _rope(config)
    kind = rope.get("rope_type", "default")
    if kind == "longrope":
        for length in ("long", "short"):
            yield f"rope_factors_{length}.weight", torch.tensor(rope[f"{length}_factor"])
    if kind == "llama3":
        # after "Extended RoPE" of Llama 3.1: long waves are stretched, short ones kept
        size = int(head_size(config) * _share(config, rope))
        waves = 2 * math.pi * rope["rope_theta"] ** (torch.arange(0, size, 2) / size)
        low, high = rope["low_freq_factor"], rope["high_freq_factor"]
        turns = rope["original_max_position_embeddings"] / waves
        kept = ((turns - low) / (high - low)).clamp(0, 1)
        yield "rope_freqs.weight", 1 / (kept + (1 - kept) / rope["factor"])
