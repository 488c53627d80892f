"""How much memory a training takes, found out before any weight loads.

One step is rehearsed on a model of one layer and on one of two (see rehearsal.py); what the second
layer adds, every further one adds.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from typing import Any

import torch

from minisift.models.device import precision
from minisift.prompting.renderer import Row
from minisift.training import sharding
from minisift.training.packing import pack
from minisift.training.rehearsal import rehearse
from minisift.training.rows import targets
from minisift.training.settings import Settings

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
_LIBRARIES, _BUFFERS = 0.3e9, 0.225e6
"""What libraries take on a CPU once they compute, and keep for each token and byte of its numbers
(measured)."""
_ENOUGH = 1024
"""Tokens a pass from which on a CPU gains little by more of them."""
_SPARE = 1 / 8
"""Share of a CUDA card that bf16 copies of 4-bit weights may take (see `loading.unpack`)."""
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
    packed: int
    """What the fullest pass takes beside one of the longest row alone. It is made only where there is room."""
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
                ("more rows a pass, where there is room", self.packed),
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
    planner = _Planner(config, rows, settings, device, available)

    def planned(recomputes: bool) -> Plan:
        plan = planner.plan(recomputes, card * _SPARE)
        return plan if plan.fits or not plan.unpacked else planner.plan(recomputes, 0)

    if device != "cuda" or sharding.shares() > 1 or settings.gradient_checkpointing is not None:
        return planned(settings.checkpoints_on(device))
    thrifty, roomy = planned(True), planned(False)
    if roomy.fits and roomy.tokens >= settings.batch_size * roomy.longest:
        return replace(roomy, least=thrifty.least)
    return thrifty


class _Planner:
    """What all plans for one training have in common. available: bytes there are."""

    def __init__(
        self, config: Any, rows: Sequence[Row], settings: Settings, device: str, available: int
    ) -> None:
        self._quantize = settings.quantize
        self._device = device
        self._available = available
        self._dtype = precision(device)
        size = settings.batch_size
        self._steps = [rows[at : at + size] for at in range(0, len(rows), size)]
        self._longest = max(len(row.ids) for row in rows)
        self._counted = max(map(targets, rows))
        self._layers: int = config.get_text_config().num_hidden_layers
        self._sizes = _sizes(config, settings.lora_rank)
        self._rehearse = functools.cache(functools.partial(rehearse, config, settings, device))

    def plan(self, recomputes: bool, spare: float) -> Plan:
        """recomputes: whether activations are. spare: bytes that copies of 4-bit weights may take."""
        sizes, longest = self._sizes, self._longest
        copies = 2 * sizes.linear
        on_one_card = self._device == "cuda" and sharding.shares() == 1
        unpacked = bool(self._quantize) and on_one_card and copies <= spare
        # of packed weights one matrix at a time is unpacked
        matrix = sizes.largest * self._dtype.itemsize if self._quantize else 0
        needed = self._activations(longest, self._counted, recomputes, unpacked, matrix)
        # what a token adds, from a row half as long
        short = max(1, longest // 2), max(1, self._counted // 2)
        half = self._activations(*short, recomputes, unpacked, matrix)
        each = max(1.0, (needed - half) / max(1, longest - longest // 2))
        plan = Plan(
            device=self._device,
            dtype=self._dtype,
            quantize=self._quantize,
            unpacked=unpacked,
            gradient_checkpointing=recomputes,
            parameters=sizes.linear + sizes.others,
            weights=self._weights(copies if unpacked else 0),
            adapter=int(sizes.adapter * (_ADAPTER + _STATES[self._device])),
            activations=needed,
            overhead=self._overhead(),
            longest=longest,
            tokens=longest,
            packed=0,
            available=self._available,
            least=0,
        )
        each += self._buffered
        room = int((_USABLE * plan.available - plan.total) / each)
        if self._device == "cpu":
            room = min(room, _ENOUGH - longest)
        tokens = longest + max(0, room)
        least = plan.total - (copies - matrix if unpacked else 0)
        packed = int(each * (self._fullest(tokens) - longest))
        return replace(plan, least=least, tokens=tokens, packed=packed)

    def _fullest(self, tokens: int) -> int:
        """Tokens of the fullest pass where each may have so many."""
        passes = chain.from_iterable(pack(step, tokens) for step in self._steps)
        return max(sum(len(row.ids) for row in rows) for rows in passes)

    @property
    def _buffered(self) -> float:
        """Bytes that the libraries keep for each token of a pass."""
        return 0 if self._device in _CONTEXT else _BUFFERS * self._dtype.itemsize

    def _weights(self, copies: int) -> int:
        """Bytes of the model, its copies included."""
        width = self._dtype.itemsize
        of_layers = self._sizes.linear * (_NF4 if self._quantize else width)
        size = of_layers + copies + self._sizes.others * width
        if self._device != "cpu" and (shares := sharding.shares()) > 1:
            # while one layer computes, the next one comes
            size += of_layers / shares + 2 * of_layers / self._layers - of_layers
        return int(size)

    def _activations(
        self, tokens: int, counted: int, recomputes: bool, unpacked: bool, matrix: int
    ) -> int:
        """Bytes at the peak of a pass of so many tokens, of which the loss counts some."""
        one, two = (self._rehearse(layers, tokens, counted, recomputes) for layers in (1, 2))
        peak = one + (self._layers - 1) * (two - one) + (0 if unpacked else matrix)
        # of rows of a few tokens less than the gradients, which are counted apart
        return max(0, peak)

    def _overhead(self) -> int:
        """Bytes that Python and the libraries take."""
        if self._device in _CONTEXT:
            return int(_CONTEXT[self._device])
        return int(_resident() + _LIBRARIES + self._buffered * self._longest)


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
    advice = []
    for change in changes:
        try:
            total = retry(replace(settings, **change)).total
        except ValueError:  # no sentence is so short
            continue
        if total < plan.total:
            (name, value), *_ = change.items()
            advice.append(f"{name}={value!r} makes it {total / 1e9:.2f} GB")
    return replace(plan, advice=(*advice, "a smaller model"))


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


@dataclass(frozen=True)
class _Sizes:
    """How many numbers a model has, by what becomes of them."""

    linear: int
    """Of the layers' linear modules, which are quantized and get an adapter."""
    largest: int
    """Of the largest of these."""
    others: int
    adapter: int


def _sizes(config: Any, rank: int) -> _Sizes:
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    head = model.get_output_embeddings()
    weights = {id(weight): weight.numel() for weight in model.parameters()}
    linear = {
        id(module.weight): module
        for module in model.modules()
        if isinstance(module, torch.nn.Linear) and module is not head
    }
    # embeddings that are a linear module's weights too are counted once, as the module's
    of_linear = [weights[key] for key in linear]
    return _Sizes(
        linear=sum(of_linear),
        largest=max(of_linear),
        others=sum(weights.values()) - sum(of_linear),
        adapter=sum(rank * (m.in_features + m.out_features) for m in linear.values()),
    )
