"""Weights sharded over processes, for models that no single GPU holds (FSDP with QLoRA).

`accelerate launch --use_fsdp --fsdp_version=2 script.py` asks for it. Each process holds a share of the
layers' frozen weights and, while a layer computes, all of it; the adapter is whole everywhere, as are
embeddings and head.
"""

from __future__ import annotations

import os
from typing import Any

import torch


def is_asked_for() -> bool:
    """Whether the launcher of this process asks for sharded weights."""
    return os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"


def shares() -> int:
    """Over how many processes weights are sharded."""
    return int(os.environ.get("WORLD_SIZE", 1)) if is_asked_for() else 1


def shard(model: Any, device: torch.device) -> None:
    """Keep this process's share of a model's frozen layers, and move the model to its device.

    model: with an adapter, on the CPU, the same in all processes. From then on what one process has
    it compute all have to, at the same time.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    base = model.get_base_model()
    kinds = set(base._no_split_modules or ())
    layers = [module for module in model.modules() if type(module).__name__ in kinds]
    if not layers:
        raise NotImplementedError(
            f"{type(base).__name__} does not tell what its layers are, so FSDP cannot shard it; fix: "
            "accelerate launch --multi_gpu (each GPU holds the 4-bit model)"
        )
    frozen = [_frozen_weights(layer) for layer in layers]
    sharded = {id(weight) for weights in frozen for weight in weights}
    whole = {weight for weight in model.parameters() if id(weight) not in sharded}
    for tensor in (*whole, *model.buffers()):
        tensor.data = tensor.data.to(device)
    mesh = init_device_mesh(device.type, (shares(),))
    for layer in layers:
        _move_quantization(layer, device)
        fully_shard(layer, mesh=mesh, ignored_params=whole, reshard_after_forward=True)
    # what all layers lie in holds no share itself, but has the next layer's weights come in time
    fully_shard(base.base_model, mesh=mesh, ignored_params=whole)


def _frozen_weights(layer: Any) -> list[Any]:
    """The weights of a layer's linear modules under the adapter, packed ones as floats.

    FSDP shards floats alone; of packed weights it only moves the bytes.
    """
    weights = []
    for module in layer.modules():
        base = getattr(module, "base_layer", None)
        if base is None:
            continue
        if getattr(base.weight, "quant_state", None) is not None:
            _view_as_floats(base)
        weights.append(base.weight)
    return weights


def _view_as_floats(module: Any) -> None:
    from bitsandbytes.nn import Params4bit

    packed = module.weight
    module.quant_state = packed.quant_state  # from there the module takes it when weights come anew
    module.quant_storage = torch.bfloat16
    module.weight = Params4bit(
        packed.data.flatten().view(torch.bfloat16)[:, None],
        quant_state=packed.quant_state,
        blocksize=packed.blocksize,
        compress_statistics=packed.compress_statistics,
        quant_type=packed.quant_type,
        quant_storage=torch.bfloat16,
        module=module,
        bnb_quantized=True,
    )


def _move_quantization(layer: Any, device: torch.device) -> None:
    """Scales stay whole: a thirtieth of what they scale."""
    for module in layer.modules():
        if getattr(module, "quant_state", None) is not None:
            module.quant_state.to(device)
