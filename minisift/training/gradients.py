"""The gradients of a step: its rows in passes that memory allows, dealt to all processes."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Any, Generic

import torch
from accelerate import Accelerator
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size

from minisift.models.loading import recompute_activations
from minisift.training.packing import pack
from minisift.training.protocols import Objective, RowT

logger = logging.getLogger(__name__)


class Gradients(Generic[RowT]):
    """Gives weights the gradients of an objective's mean loss over the target tokens of a step.

    half: whether passes compute in bf16, the adapter's float32 weights too. tokens: what a pass may
    hold, halved whenever memory runs out. recomputes: whether activations are, which begins when a
    single row takes too much. What is random is drawn from the seed, the number of the step and that
    of the process.
    """

    def __init__(
        self,
        objective: Objective[RowT],
        weights: Sequence[torch.nn.Parameter],
        accelerator: Accelerator,
        *,
        seed: int,
        half: bool,
        tokens: int,
        recomputes: bool,
    ) -> None:
        self.recomputes = recomputes
        self._objective = objective
        self._weights = weights
        self._accelerator = accelerator
        self._seed = seed
        self._half = half
        self._tokens = tokens

    def make(self, rows: Sequence[RowT], step: int) -> float:
        """The gradients of a step, in all processes; returns its loss.

        Should memory run out, again in smaller passes.
        """
        while True:
            try:
                return self._try(rows, step)
            except RuntimeError as error:
                if self._accelerator.num_processes > 1 or not should_reduce_batch_size(error):
                    raise
                change = self._save_memory(rows)
                if not change:
                    raise
            for weight in self._weights:
                weight.grad = None
            clear_device_cache(garbage_collection=True)
            logger.warning("Out of memory: from here on %s.", change)

    def _save_memory(self, rows: Sequence[RowT]) -> str:
        """Make less of it do from here on; returns how, or nothing if there is no way left."""
        largest = max(pack(rows, self._tokens), key=len)
        if len(largest) > 1:
            self._tokens = max(1, sum(len(row.ids) for row in largest) // 2)
            return f"at most {self._tokens} tokens a pass"
        if self.recomputes:
            return ""
        self.recomputes = True
        recompute_activations(self._objective.model)
        return "activations are recomputed"

    def _try(self, rows: Sequence[RowT], step: int) -> float:
        count = max(1, sum(map(self._objective.targets, rows)))
        processes, rank = self._accelerator.num_processes, self._accelerator.process_index
        share = math.ceil(sum(len(row.ids) for row in rows) / processes)
        passes = pack(rows, min(self._tokens, share))
        # each process takes as many passes, since sharded weights are computed with by all at once;
        # one that would have none repeats one for nothing
        counted = [1.0] * len(passes) + [0.0] * (-len(passes) % processes)
        torch.manual_seed((self._seed * 1_000_003 + step) * 1024 + rank)
        total = torch.zeros((), device=self._accelerator.device)
        for index in range(rank, len(counted), processes):
            batch = self._objective.collate(passes[index % len(passes)], total.device)
            with self._precision():
                loss = self._objective(**batch)
            (loss * (counted[index] / count)).backward()
            total += loss.detach() * counted[index]
        if processes > 1:
            self._add_up()
        return float(self._accelerator.reduce(total, "sum") / count)

    def _precision(self) -> Any:
        device = next(self._objective.model.parameters()).device
        return torch.autocast(device.type, torch.bfloat16, enabled=self._half)

    def _add_up(self) -> None:
        """Those of all processes, in each; an adapter's are few enough to travel at once."""
        gradients = [weight.grad for weight in self._weights if weight.grad is not None]
        flat = self._accelerator.reduce(torch.cat([g.flatten() for g in gradients]), "sum")
        sizes = [gradient.numel() for gradient in gradients]
        for gradient, part in zip(gradients, flat.split(sizes), strict=True):
            gradient.copy_(part.view_as(gradient))
