"""Loading, 4-bit weights, LoRA. Imports torch and transformers where used."""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from types import MethodType
from typing import Any

from minisift.models.device import Quantization, default_device, place, precision, usable
from minisift.models.source import Source
from minisift.progress import quietly

logger = logging.getLogger(__name__)


def load_base(
    source: Source, quantize: Quantization | None, where: str | None = None
) -> tuple[Any, Quantization | None]:
    """The causal LM, or one of double-quantized NF4 weights, and which it became.

    where: the device to have it on; None for this process's. It computes as training does
    (`precision`); `settle` makes it ready to label.
    """
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    options: dict[str, Any] = {}
    quantize = usable(quantize)
    if quantize:
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        )
    weights = source.weights
    model: Any
    with quietly(), intact(source.name):
        model = AutoModelForCausalLM.from_pretrained(
            weights, dtype=torch.bfloat16, device_map={"": where or place()}, **options
        )
    for module in model.modules():
        # bitsandbytes would repack 4-bit weights for CPU inference, in place and less exactly than
        # it computes in training; without, the adapter answers as it was trained and merges
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    if precision(default_device()) == torch.float32:
        _compute_in_float32(model)
    return model.eval(), quantize


def load_ready(
    source: Source, quantize: Quantization | None, adapter: str | os.PathLike[str] | None
) -> tuple[Any, Quantization | None]:
    """The same with a saved adapter, if there is one, and ready to label."""
    model, quantized = load_base(source, quantize)
    if adapter is not None:
        model = load_adapter(model, adapter)
    return settle(model), quantized


def configuration(source: Source) -> Any:
    """The model's configuration, of transformers. Loads no weights."""
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(source.weights)


def longest_input(source: Source) -> int | None:
    """Tokens that a model takes by its configuration, if that says so."""
    return getattr(configuration(source).get_text_config(), "max_position_embeddings", None)


def parameters(model: Any) -> int:
    """How many parameters a model has; 4-bit weights hold two a byte."""
    states = ((weight, getattr(weight, "quant_state", None)) for weight in model.parameters())
    return sum(state.shape.numel() if state else weight.numel() for weight, state in states)


def settle(model: Any) -> Any:
    """The model ready to label: on a CPU it computes in float32 from here on, adapter included.

    That is faster there than bf16 or as fast, and rounds so little that an F16 export answers
    alike on every text tried; 4-bit weights stay packed.
    """
    model.eval()
    if default_device() == "cpu":
        _compute_in_float32(model)
    return model


@contextlib.contextmanager
def settled(model: Any) -> Iterator[None]:
    """Within it the model is ready to label, and behind it computes as it did before."""
    import torch

    tensors = [*model.parameters(), *model.buffers()]
    halves = [tensor for tensor in tensors if tensor.dtype == torch.bfloat16]
    modules = [module for module in model.modules() if hasattr(module, "compute_dtype")]
    packed = [module for module in modules if _state(module) is not None]
    dtypes = [(module.compute_dtype, _state(module).dtype) for module in packed]
    settle(model)
    try:
        yield
    finally:
        for tensor in halves:
            tensor.data = tensor.data.to(torch.bfloat16)
        for module, (compute, state) in zip(packed, dtypes, strict=True):
            module.compute_dtype, _state(module).dtype = compute, state


def _state(module: Any) -> Any:
    """What tells how a module's weights were quantized to 4 bits; None where they were not."""
    return getattr(getattr(module, "weight", None), "quant_state", None)


def _compute_in_float32(model: Any) -> None:
    """Let a model of bf16 weights, and of 4-bit ones, compute with the same values in float32."""
    import torch

    torch.nn.Module.float(model)  # its own refuses where weights are 4-bit ones
    for module in model.modules():
        if (state := _state(module)) is not None:
            module.compute_dtype = state.dtype = torch.float32


def unpack(model: Any) -> Any:
    """Let 4-bit linear layers compute with a bf16 copy of their weights, which stay as they are.

    The products are the same but for rounding, without the calls that unpack weights for each of them
    anew. Weights that peft changes later, by merging an adapter, are unpacked each time again.
    """
    from bitsandbytes.functional import dequantize_4bit

    for module in model.modules():
        if (state := _state(module)) is not None:
            copy = dequantize_4bit(module.weight, state)
            module.register_buffer("unpacked", copy, persistent=False)
            module.unpacked_from = state
            module.forward = MethodType(_multiply_unpacked, module)
    return model


def _multiply_unpacked(module: Any, inputs: Any) -> Any:
    import torch

    if module.weight.quant_state is not module.unpacked_from:
        return type(module).forward(module, inputs)
    weights = module.unpacked
    bias = None if module.bias is None else module.bias.to(weights.dtype)
    return torch.nn.functional.linear(inputs.to(weights.dtype), weights, bias).to(inputs.dtype)


def recompute_activations(model: Any) -> None:
    """Keep the inputs of layers alone for the backward pass: gradient checkpointing."""
    # what newer versions of transformers call it comes first
    named = ("activation_checkpointing_enable", "gradient_checkpointing_enable")
    enable = next(getattr(model, name) for name in named if hasattr(model, name))
    enable({"use_reentrant": False})


def add_lora(model: Any, rank: int, dropout: float, seed: int) -> Any:
    """The model with a fresh LoRA adapter on all of its linear layers but the output head."""
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    config = LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        lora_dropout=dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    with quietly():
        return get_peft_model(model, config)


def start_from(model: Any, folder: str | os.PathLike[str], share: float = 1) -> None:
    """Let a fresh adapter go on from a saved one of its rank or a smaller one.

    share: how much of what that one changes in the base model's weights it begins with. Raises ValueError
    where the saved one is of another model.
    """
    import torch
    from peft.utils import CONFIG_NAME, SAFETENSORS_WEIGHTS_NAME
    from safetensors.torch import load_file

    with intact(folder):
        saved = load_file(Path(folder) / SAFETENSORS_WEIGHTS_NAME)
    config = json.loads((Path(folder) / CONFIG_NAME).read_text(encoding="utf-8"))
    own = model.peft_config["default"]
    share *= (config["lora_alpha"] / config["r"]) / (own.lora_alpha / own.r)
    fresh = {n.replace(".default", ""): w for n, w in model.named_parameters() if "lora_" in n}
    if fresh.keys() != saved.keys():
        raise ValueError(
            f"{os.fspath(folder)}: the adapter of another model; fix: start with its own"
        )
    with torch.no_grad():
        for name, weight in fresh.items():
            given = saved[name].to(weight.dtype)
            rank_of = 0 if "lora_A" in name else 1
            if given.shape[1 - rank_of] != weight.shape[1 - rank_of]:
                raise ValueError(
                    f"{os.fspath(folder)}: the adapter of another model; fix: start with its own"
                )
            part = weight.narrow(rank_of, 0, given.shape[rank_of])
            part.copy_(given if rank_of == 0 else given * share)


def load_adapter(model: Any, folder: str | os.PathLike[str]) -> Any:
    """The model with a saved adapter."""
    from peft import PeftModel
    from peft.utils import SAFETENSORS_WEIGHTS_NAME

    # or peft would look for a repository of that name
    if not (Path(folder) / SAFETENSORS_WEIGHTS_NAME).is_file():
        raise FileNotFoundError(
            f"{os.fspath(folder)}: holds no {SAFETENSORS_WEIGHTS_NAME}; fix: copy the whole folder again"
        )
    with quietly(), intact(folder):
        return PeftModel.from_pretrained(model, os.fspath(folder))


@contextlib.contextmanager
def intact(path: str | os.PathLike[str]) -> Iterator[None]:
    """Within it, what is wrong with a file of tensors is a ValueError with the fix."""
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        raise ValueError(
            f"{os.fspath(path)}: damaged weights ({error}); fix: copy them again"
        ) from None
