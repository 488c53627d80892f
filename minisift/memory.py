"""How much memory a training takes, found out before any weight loads.

One step is rehearsed on a model of one layer and on one of two, made of tensors that have shapes but
no contents; what the second layer adds, every further one adds.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from minisift import attention, sharding
from minisift.batches import Objective, targets
from minisift.models import add_lora, precision, recompute_activations
from minisift.prompts import Row
from minisift.settings import Settings

_CARDS = (8, 12, 16, 24)
"""Gigabytes of the graphics cards that people have."""
_NF4 = 0.5 + 1 / 64 + 4 / (64 * 256)
"""Bytes a weight: four bits, a byte for 64 weights, a float for 256 of those."""
_ADAPTER = 4 + 4
"""Bytes of a float32 weight and its gradient."""
_STATES = {"cuda": 2, "cpu": 8, "mps": 8}
"""Bytes of AdamW's two moments."""
_CONTEXT = {"cuda": 0.7e9, "mps": 0.3e9}
"""What a GPU's libraries take for themselves."""
_LIBRARIES, _BUFFERS = 0.4e9, 0.225e6
"""What libraries take on a CPU once they compute, and keep for each token and byte of its numbers
(measured)."""
_ENOUGH = 1024
"""Tokens a pass from which on a CPU gains little by more of them."""
_SPARE = 1 / 8
"""Share of a CUDA card that bf16 copies of 4-bit weights may take (see models.unpack)."""
_USABLE = 0.9
"""Share of the available memory that passes may fill."""


@dataclass(frozen=True)
class Plan:
    """What a training will take, in bytes, and how its rows go through the model."""

    device: str
    dtype: torch.dtype
    """What the model computes in."""
    quantize: str | None
    unpacked: bool
    """Whether 4-bit weights have a bf16 copy that is computed with."""
    gradient_checkpointing: bool
    parameters: int
    weights: int
    adapter: int
    """Adapter, gradients and optimiser states."""
    activations: int
    """What a pass of the longest row takes at its peak, logits included."""
    overhead: int
    """Python and the libraries."""
    longest: int
    """Tokens of the longest row."""
    tokens: int
    """Tokens that a pass may have: rows are packed up to it."""
    available: int
    least: int
    """What it would take with activations recomputed and no copies, where those were chosen."""
    advice: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        return self.weights + self.adapter + self.activations + self.overhead

    @property
    def fits(self) -> bool:
        return self.total <= self.available

    def fits_in(self, gigabytes: float) -> bool:
        return self.least <= gigabytes * 1e9

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the fields, what they come to, and whether that fits."""
        dtype = str(self.dtype).removeprefix("torch.")
        return {**asdict(self), "dtype": dtype, "total": self.total, "fits": self.fits}

    def __str__(self) -> str:
        dtype = "bf16" if self.dtype == torch.bfloat16 else "float32"
        how = [f"{self.quantize} in {dtype}" if self.quantize else dtype]
        if self.unpacked:
            how.append("unpacked once")
        if self.gradient_checkpointing:
            how.append("gradient checkpointing")
        lines = [
            f"{self.parameters / 1e6:,.0f}M parameters on {self.device}, {', '.join(how)}; rows of up "
            f"to {self.longest:,} tokens",
        ]
        lines += [
            f"  {what:42} {size / 1e9:6.2f} GB"
            for what, size in (
                ("weights", self.weights),
                ("adapter, gradients, optimiser", self.adapter),
                ("activations and logits of a pass", self.activations),
                ("Python and libraries", self.overhead),
                ("in all", self.total),
                ("available", self.available),
            )
        ]
        answers = [f"{size} GB {'yes' if self.fits_in(size) else 'no'}" for size in _CARDS]
        lines.append(f"fits in: {', '.join(answers)}")
        lines += [f"to save memory: {line}" for line in self.advice]
        return "\n".join(lines)


def estimate(
    config: Any,
    rows: Sequence[Row],
    settings: Settings,
    device: str,
    available: int | None = None,
) -> Plan:
    """The plan of training a model of this configuration on rows; available: bytes there are.

    What the settings leave open is settled here for a CUDA card: activations are recomputed only if it
    could not hold those of a whole step, or if weights are sharded, where all processes have to do
    alike; 4-bit weights are unpacked once if their copies fit and take but a small share of it.
    """
    card = _whole(device) if available is None else available
    if available is None:
        available = _available(device)

    def planned(**changes: Any) -> Plan:
        changed = replace(settings, **changes)
        plan = _planned(config, rows, changed, device, available, card * _SPARE)
        if plan.fits or not plan.unpacked:
            return plan
        return _planned(config, rows, changed, device, available)

    if device != "cuda" or sharding.shares() > 1 or settings.gradient_checkpointing is not None:
        return planned()
    thrifty = planned(gradient_checkpointing=True)
    roomy = planned(gradient_checkpointing=False)
    if roomy.fits and roomy.tokens >= settings.batch_size * roomy.longest:
        return replace(roomy, least=thrifty.least)
    return thrifty


def _planned(
    config: Any,
    rows: Sequence[Row],
    settings: Settings,
    device: str,
    available: int,
    spare: float = 0,
) -> Plan:
    """spare: bytes that copies of 4-bit weights may take."""
    quantize = settings.quantize
    dtype = precision(device)
    longest = max(len(row.ids) for row in rows)
    counted = max(map(targets, rows))
    full = _shapes(config, settings)
    linear = sum(size for size, is_linear, _ in full.values() if is_linear)
    others = sum(size for size, is_linear, _ in full.values() if not is_linear)
    of_layers = linear * (_NF4 if quantize else dtype.itemsize)
    copied = 2 * linear
    unpacked = bool(quantize) and device == "cuda" and sharding.shares() == 1 and copied <= spare
    weights = of_layers + unpacked * copied + others * dtype.itemsize
    layers = config.get_text_config().num_hidden_layers
    if device != "cpu" and (shares := sharding.shares()) > 1:
        # while one layer computes, the next one comes
        weights += of_layers / shares + 2 * of_layers / layers - of_layers
    adapter = sum(added for _, _, added in full.values())
    checkpointing = settings.checkpoints_on(device)

    def activations(tokens: int, kept: int) -> int:
        one, two = (
            _rehearsed(config, settings, device, n, tokens, kept, checkpointing) for n in (1, 2)
        )
        found = one + (layers - 1) * (two - one) + (one_matrix if not unpacked else 0)
        # of rows of a few tokens less than the gradients, which are counted apart
        return max(0, found)

    # of packed weights one matrix at a time is unpacked
    largest = max(size for size, is_linear, _ in full.values() if is_linear)
    one_matrix = largest * dtype.itemsize if quantize else 0

    needed = activations(longest, counted)
    # what a token adds, from a row half as long
    half = activations(max(1, longest // 2), max(1, counted // 2))
    each = max(1.0, (needed - half) / max(1, longest - longest // 2))
    plan = Plan(
        device=device,
        dtype=dtype,
        quantize=quantize,
        unpacked=unpacked,
        gradient_checkpointing=checkpointing,
        parameters=sum(size for size, _, _ in full.values()),
        weights=int(weights),
        adapter=int(adapter * (_ADAPTER + _STATES[device])),
        activations=needed,
        overhead=int(
            _CONTEXT.get(device) or _resident() + _LIBRARIES + _BUFFERS * dtype.itemsize * longest
        ),
        longest=longest,
        tokens=longest,
        available=available,
        least=0,
    )
    plan = replace(plan, least=plan.total - unpacked * (copied - one_matrix))
    room = int((_USABLE * plan.available - plan.total) / each)
    if device == "cpu":
        room = min(room, _ENOUGH - longest)
    return replace(plan, tokens=longest + max(0, room))


def with_advice(plan: Plan, settings: Settings, retry: Callable[[Settings], Plan]) -> Plan:
    """The plan and, if it does not fit, which single change of the settings would save how much."""
    if plan.fits:
        return plan
    changes: list[dict[str, Any]] = []
    if not plan.gradient_checkpointing:
        changes.append({"gradient_checkpointing": True})
    if plan.quantize is None:
        changes.append({"quantize": "nf4"})
    if settings.shots > 2:
        changes.append({"shots": settings.shots // 2})
    changes.append({"max_length": plan.longest // 2})
    told = []
    for change in changes:
        try:
            total = retry(replace(settings, **change)).total
        except ValueError:  # no sentence is so short
            continue
        if total < plan.total:
            (name, value), *_ = change.items()
            told.append(f"{name}={value!r} makes it {total / 1e9:.2f} GB")
    return replace(plan, advice=(*told, "a smaller model"))


def _available(device: str) -> int:
    """Bytes that this process may have, with those that it has."""
    if device == "cuda":
        return int(torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved() + _CONTEXT["cuda"])
    if device == "mps":
        return int(torch.mps.recommended_max_memory())
    import psutil

    return int(psutil.virtual_memory().available + _resident())


def _whole(device: str) -> int:
    """Bytes of the card."""
    return int(torch.cuda.get_device_properties(0).total_memory) if device == "cuda" else 0


def _resident() -> int:
    """Bytes that this process has in memory."""
    import psutil

    return int(psutil.Process().memory_info().rss)


def _shapes(config: Any, settings: Settings) -> dict[str, tuple[int, bool, int]]:
    """Of each weight: its size, whether it is a linear layer's, and the adapter's share of it."""
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    head = model.get_output_embeddings()
    linear = {
        id(module.weight): module
        for module in model.modules()
        if isinstance(module, torch.nn.Linear) and module is not head
    }
    found = {}
    for name, weight in model.named_parameters():
        module = linear.get(id(weight))
        added = settings.lora_rank * (module.in_features + module.out_features) if module else 0
        found[name] = (weight.numel(), module is not None, added)
    return found


class _Ledger(TorchDispatchMode):
    """Counts the bytes of tensors that come to be, and the most that there were at once.

    known: tensors that were there before; views of them are not counted.
    """

    def __init__(self, known: Iterable[torch.Tensor]) -> None:
        super().__init__()
        self.now = self.peak = 0
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
                    weakref.finalize(storage, self._gone, size)
        return out

    def _gone(self, size: int) -> None:
        self.now -= size


def _rehearsed(
    config: Any,
    settings: Settings,
    device: str,
    layers: int,
    tokens: int,
    counted: int,
    checkpointing: bool,
) -> int:
    """The most bytes that a step of a model of so many layers has beside weights and adapter."""
    from transformers import AutoModelForCausalLM

    dtype = precision(device)
    config = copy.deepcopy(config)
    text = config.get_text_config()
    text.num_hidden_layers = layers
    if getattr(text, "layer_types", None):
        text.layer_types = text.layer_types[:layers]
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype)
        model = add_lora(model, settings.lora_rank, settings.lora_dropout, 0).train()
    if checkpointing:
        recompute_activations(model)
    attention.use(model)
    objective = Objective(model)
    with FakeTensorMode():
        for module in objective.modules():
            for held in (module._parameters, module._buffers):
                for name, tensor in held.items():
                    if tensor is not None:
                        held[name] = _contentless(tensor)
        ids = torch.zeros((1, tokens), dtype=torch.long)
        kept = torch.zeros(counted, dtype=torch.long)
        inputs = (ids, torch.arange(tokens)[None], [tokens], kept, kept)
        with (
            _Ledger((*objective.parameters(), *objective.buffers())) as ledger,
            attention.as_on("cuda" if device == "cuda" else "cpu"),
            torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16),
        ):
            objective(*inputs).backward()
    gradients = sum(4 * weight.numel() for weight in objective.parameters() if weight.requires_grad)
    return ledger.peak - gradients


def _contentless(tensor: torch.Tensor) -> Any:
    empty = torch.empty(tensor.shape, dtype=tensor.dtype)
    if not isinstance(tensor, torch.nn.Parameter):
        return empty
    return torch.nn.Parameter(empty, requires_grad=tensor.requires_grad)
