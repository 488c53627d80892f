"""A training step on tensors that have shapes but no contents: what it would take in memory."""

from __future__ import annotations

import copy
import functools
import weakref
from collections.abc import Iterable
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from minisift.models.device import precision
from minisift.models.loading import add_lora, recompute_activations
from minisift.training import attention
from minisift.training.loss import CausalObjective
from minisift.training.settings import Settings


def rehearse(
    config: Any,
    settings: Settings,
    device: str,
    layers: int,
    tokens: int,
    counted: int,
    recomputes: bool,
) -> int:
    """The most bytes that a step has beside weights and adapter, on a device that need not be here.

    config: of the model, of which there are so many layers. tokens: of the step's one row, of which
    the loss counts some. recomputes: whether activations are.
    """
    dtype = precision(device)
    model = _model(config, settings, layers, dtype)
    if recomputes:
        recompute_activations(model)
    kind = "cuda" if device == "cuda" else "cpu"
    objective = CausalObjective(model, use=functools.partial(attention.use, device=kind))
    objective.prepare(training=True)
    with FakeTensorMode():
        _empty(objective)
        kept = torch.zeros(counted, dtype=torch.long)
        batch = {
            "input_ids": torch.zeros((1, tokens), dtype=torch.long),
            "position_ids": torch.arange(tokens)[None],
            "lengths": [tokens],
            "kept": kept,
            "labels": kept,
        }
        ledger = _Ledger((*objective.parameters(), *objective.buffers()))
        half = torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16)
        with ledger, half:
            objective(**batch).backward()
    trained = (weight for weight in objective.parameters() if weight.requires_grad)
    gradients = 4 * sum(weight.numel() for weight in trained)
    return ledger.peak - gradients


def _model(config: Any, settings: Settings, layers: int, dtype: torch.dtype) -> Any:
    """A model of so many layers, with an adapter, on no device."""
    from transformers import AutoModelForCausalLM

    config = copy.deepcopy(config)
    text = config.get_text_config()
    text.num_hidden_layers = layers
    if getattr(text, "layer_types", None):
        text.layer_types = text.layer_types[:layers]
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype)
        return add_lora(model, settings.lora_rank, settings.lora_dropout, 0).train()


def _empty(model: torch.nn.Module) -> None:
    """Give a model tensors without contents, of the mode that this is called in."""
    for module in model.modules():
        for tensors in (module._parameters, module._buffers):
            for name, tensor in tensors.items():
                if tensor is None:
                    continue
                empty: Any = torch.empty(tensor.shape, dtype=tensor.dtype)
                if isinstance(tensor, torch.nn.Parameter):
                    empty = torch.nn.Parameter(empty, requires_grad=tensor.requires_grad)
                tensors[name] = empty


class _Ledger(TorchDispatchMode):
    """Counts the bytes of tensors that come to be, and the most that there were at once.

    known: tensors that were there before; views of them are not counted.
    """

    def __init__(self, known: Iterable[torch.Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = 0
        self.peak = 0
        self._seen = weakref.WeakSet(tensor.untyped_storage() for tensor in known)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in torch.utils._pytree.tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                if storage not in self._seen:
                    self._seen.add(storage)
                    size = storage.nbytes()
                    self.now += size
                    self.peak = max(self.peak, self.now)
                    weakref.finalize(storage, self._release, size)
        return out

    def _release(self, size: int) -> None:
        self.now -= size
