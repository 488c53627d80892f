"""A transformers model as GGUF, on the metadata and tokenizer of the GGUF that it came from."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from minisift.description import KEY, Description
from minisift.export.balance import GATED, UNCHANGED, Balance, Groups, balance, loudness
from minisift.export.merge import merged_tensors, plain_model
from minisift.models import Source

logger = logging.getLogger(__name__)

Tensor = Any
_ENOUGH = 100
"""Tokens by which channels are balanced, at least."""


@dataclass(frozen=True)
class Family:
    """How one architecture's tensors differ between transformers and llama.cpp.

    change: (GGUF name, tensor, config) -> tensor, the inverse of what transformers does when
    it reads a GGUF. groups: see balance.py.
    """

    arch: gguf.MODEL_ARCH
    change: Callable[[str, Tensor, Any], Tensor]
    groups: Groups


def _permute_rotary(name: str, tensor: Tensor, config: Any) -> Tensor:
    """llama.cpp rotates neighbouring pairs of a head, transformers its two halves."""
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
    count = heads.get(name.split(".")[-2])
    if count is None:
        return tensor
    half = tensor.shape[0] // count // 2
    paired = tensor.reshape(count, 2, half, *tensor.shape[1:]).swapaxes(1, 2)
    return paired.reshape(tensor.shape)


def _shift_norms(name: str, tensor: Tensor, config: Any) -> Tensor:
    """Gemma's norms scale by 1 + weight; llama.cpp stores the sum."""
    return tensor + 1 if name.endswith("norm.weight") else tensor


FAMILIES = {
    "llama": Family(gguf.MODEL_ARCH.LLAMA, _permute_rotary, GATED),
    "gemma3": Family(gguf.MODEL_ARCH.GEMMA3, _shift_norms, GATED),
}
"""By GGUF's `general.architecture`."""


def check_base(source: Source) -> Path:
    """The base model's GGUF file. Raises ValueError if its kind can't be exported."""
    if source.gguf is None:
        raise ValueError(
            f"{source.name} does not come from a GGUF file, whose tokenizer and metadata an export "
            "carries over; fix: fit on the model's .gguf file (it is dequantized for training)"
        )
    name = _field(gguf.GGUFReader(source.gguf), "general.architecture")
    if name not in FAMILIES:
        raise ValueError(
            f"{source.name} has the architecture {name!r}; fix: use a base model of "
            f"{', '.join(FAMILIES)}"
        )
    return source.gguf


def _field(reader: gguf.GGUFReader, key: str) -> Any:
    field = reader.get_field(key)
    return None if field is None else field.contents()


def _family(base: Path) -> Family:
    return FAMILIES[_field(gguf.GGUFReader(base), "general.architecture")]


def _tensors(model: Any, family: Family) -> Iterator[tuple[str, Tensor]]:
    """The merged weights by GGUF name, as llama.cpp wants them."""
    config = model.config.get_text_config()
    names = gguf.get_tensor_name_map(family.arch, config.num_hidden_layers)
    for name, tensor in merged_tensors(model):
        gguf_name = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if gguf_name is None:
            raise ValueError(f"tensor {name} has no place in a {family.arch.name} GGUF file")
        yield gguf_name, family.change(gguf_name, tensor, config)


def balance_for(model: Any, base: Path, prompts: Sequence[Sequence[int]]) -> Balance:
    """What makes the model lose less when it is quantized, from prompts (token ids) that it reads.

    base: the GGUF file that it came from. Too few tokens to tell loud channels change nothing.
    """
    if sum(map(len, prompts)) < _ENOUGH:
        logger.info("Too little text to balance channels by; fix: give verify_on more examples.")
        return UNCHANGED
    family = _family(base)
    config = model.config.get_text_config()
    names = gguf.get_tensor_name_map(family.arch, config.num_hidden_layers)
    takers = {name for group in family.groups.values() for name in group}
    modules = {name: names.get_name(name) or "" for name, _ in plain_model(model).named_modules()}
    heard = loudness(
        model,
        {name: to for name, to in modules.items() if to.rpartition(".")[2] in takers},
        prompts,
    )
    head_size = (
        getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    )
    return balance(_tensors(model, family), heard, family.groups, head_size)


def write_gguf(
    model: Any,
    base: Path,
    description: Description,
    path: Path,
    change: Balance = UNCHANGED,
) -> None:
    """Write the merged model in F16 (vectors in F32), the labeler's description inside.

    base: the GGUF file that it came from. change: what is worked into its weights.
    """
    reader = gguf.GGUFReader(base)
    family = _family(base)
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[family.arch], use_temp_file=True)
    for field in reader.fields.values():
        # the writer sets these itself
        if field.name.startswith("GGUF.") or field.name in (
            "general.architecture",
            "general.quantization_version",
            KEY,
        ):
            continue
        kind = field.types[0]
        inner = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        value = (
            int(gguf.LlamaFileType.MOSTLY_F16)
            if field.name == "general.file_type"
            else field.contents()
        )
        writer.add_key_value(field.name, value, kind, inner)
    writer.add_string(KEY, description.to_json())
    for name, tensor in _tensors(model, family):
        data = change(name, tensor).numpy()
        writer.add_tensor(name, data.astype(np.float16) if data.ndim > 1 else data)
    for tensor in reader.tensors:
        # not a weight of the transformers model: frequencies of long-context rope scaling
        if tensor.name.startswith("rope_"):
            writer.add_tensor(tensor.name, np.array(tensor.data))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
