"""The model of a training, its adapter included: loaded to train, and loaded again where that sharded it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from minisift.models.loading import add_lora, load_base, settle, start_from, unpack
from minisift.models.source import Source
from minisift.training import sharding
from minisift.training.settings import Settings


class Network:
    """Gives a base model under a LoRA adapter when it is called.

    unpack: whether 4-bit weights get a bf16 copy to compute with. start: the folder of an adapter to go on
    from; None for a fresh one. share: how much of it. `quantized` tells what the weights became.
    """

    def __init__(
        self,
        source: Source,
        settings: Settings,
        unpack: bool,
        start: Path | None = None,
        share: float = 1,
    ) -> None:
        self._source = source
        self._start = start
        self._share = share
        self._settings = settings
        self._unpack = unpack
        self._trained: dict[str, Any] = {}
        self._model, self.quantized = self._load("cpu" if sharding.is_asked_for() else None)

    def _load(self, where: str | None = None) -> tuple[Any, str | None]:
        base, quantized = load_base(self._source, self._settings.quantize, where)
        if self._unpack:
            unpack(base)
        chosen = self._settings
        model = add_lora(base, chosen.lora_rank, chosen.lora_dropout, chosen.seed)
        if self._start is not None:
            start_from(model, self._start, self._share)
        return model, quantized

    def __call__(self) -> Any:
        """The model; after `replace` a whole one, in the process that asks."""
        if self._model is None:
            self._model, _ = self._load()
            unknown = self._model.load_state_dict(self._trained, strict=False).unexpected_keys
            assert not unknown, unknown
            settle(self._model)
        return self._model

    def replace(self, trained: dict[str, Any]) -> None:
        """Let go of a model of which this process holds a share. trained: the adapter's weights."""
        self._trained, self._model, self._start = trained, None, None
