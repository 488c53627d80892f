"""Supervised in-context fine-tuning of a LoRA adapter (SIFT, arXiv 2509.00921): the loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import accumulate, chain, pairwise
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from minisift.models.device import default_device
from minisift.models.loading import parameters, recompute_activations
from minisift.progress import bar
from minisift.training import checkpoint as checkpoints
from minisift.training import sharding
from minisift.training.gradients import Gradients
from minisift.training.optimizer import Optimizer
from minisift.training.process import interruptible, keep_freed_memory
from minisift.training.progress import Progress
from minisift.training.protocols import Objective, RowT
from minisift.training.settings import Settings

_Found = TypeVar("_Found")
_POINTS = 20
"""Points of a learning curve."""


class Training(Generic[RowT]):
    """One training of a model's adapter: rows in order, `settings.batch_size` a step.

    It may have several runs, each from the same start, whose adapters are averaged (Wortsman et al. 2022, arXiv
    2203.05482).

    Everything random is drawn from the seed and the number of the step, so that a training that
    continues from a checkpoint gives the same adapter, bit by bit, as one that never stopped.

    objective: the model and its loss. runs: the rows of each. after_run: is called with a run's number when it
    ends, while the model has what that run learned; what it returns travels in checkpoints and is in
    `progress.answers` in the end. evaluate: dev F1 of the model as it is; chance: by how much
    two of them differ by chance alone, so that a lower one is no reason to prefer an earlier adapter,
    whose learning rate had not come to rest; checkpoint: the file to keep the state in; tokens: what
    a pass may hold, halved whenever memory runs out; identity: tells checkpoints of other base
    models; on_step: is called after each update, in each process, with how far the training is.
    Where the launcher asks for it the model's weights are sharded over the processes (see
    sharding.py), which from then on all evaluate it together.
    """

    def __init__(
        self,
        objective: Objective[RowT],
        runs: Sequence[Sequence[RowT]],
        settings: Settings,
        *,
        after_run: Callable[[int], Any] | None = None,
        evaluate: Callable[[], float] | None = None,
        chance: float = 0.0,
        checkpoint: Path | None = None,
        tokens: int = 1 << 14,
        identity: str = "",
        on_step: Callable[[Progress], None] | None = None,
    ) -> None:
        self._objective = objective
        self._settings = settings
        self._evaluate = evaluate
        self._chance = chance
        self._checkpoint = checkpoint
        self._on_step = on_step
        self._after_run = after_run
        size = settings.batch_size
        steps = [[rows[at : at + size] for at in range(0, len(rows), size)] for rows in runs]
        self._steps = list(chain.from_iterable(steps))
        self._ends = list(accumulate(map(len, steps)))
        self._digest = checkpoints.digest(list(chain.from_iterable(runs)), settings, identity)
        model = objective.model
        self._is_sharded = sharding.is_asked_for()
        where = default_device() if self._is_sharded else _device(model).type
        self._accelerator = _accelerator(where)
        rate = settings.rate(parameters(model))
        half = any(weight.dtype == torch.bfloat16 for weight in model.parameters())
        if self._is_sharded:
            sharding.shard(model, self._accelerator.device)
        weights = {n: w for n, w in objective.named_parameters() if w.requires_grad}
        self._weights = weights
        self._gradients = Gradients(
            objective,
            list(weights.values()),
            self._accelerator,
            seed=settings.seed,
            half=half,
            tokens=self._least(tokens),
            recomputes=settings.checkpoints_on(where),
        )
        paged = settings.quantize is not None and _device(model).type == "cuda"
        self._optimizer = Optimizer(list(weights.values()), rate, paged)
        self.progress = Progress()
        self._start = self._copy() if len(runs) > 1 else {}
        self._best: dict[str, torch.Tensor] | None = None

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes files."""
        return bool(self._accelerator.is_main_process)

    def resume(self) -> bool:
        """Take up the checkpoint, if there is one; raises ValueError if it is not of this training."""
        if self._checkpoint is None or not self._checkpoint.is_file():
            return False
        state = checkpoints.load(self._checkpoint, self._digest)
        self._restore(state.weights)
        self._optimizer.load_state_dict(state.optimizer)
        self.progress = state.progress
        self._best = state.best
        return True

    def run(self) -> dict[str, Any]:
        """Train to the end, or until Ctrl-C; the model has the adapter that was kept then.

        Returns what the labeler tells of its training.
        """
        if self._checkpoint is not None and self.is_main:
            numbers = sum(weight.numel() for weight in self._weights.values())
            checkpoints.check_space(self._checkpoint, numbers)
        with self._in_train_mode():
            stop = self._train()
        report = self.progress.report()
        if self._best is not None:
            self._restore(self._best)
            report["kept"] = self.progress.kept
        return {**report, "stopped": stop} if stop else report

    def weights(self) -> dict[str, torch.Tensor]:
        """What was trained, by the names of the model's parameters: a copy in the CPU's memory."""
        return {name.removeprefix("model."): weight for name, weight in self._copy().items()}

    def _train(self) -> str:
        """Make the steps that are left; returns why it ended early, if it did."""
        progress, total = self.progress, len(self._steps)
        saved = time.monotonic()
        began = saved - progress.seconds
        shown = bar(
            total=total,
            initial=progress.step,
            desc=f"training on {sum(map(len, self._steps))} prompts",
            unit="step",
            disable=not self._accelerator.is_local_main_process,
        )
        with shown, interruptible() as interrupt:
            stop = self._evaluate_if_due() if progress.step else ""
            while progress.step < total and not stop:
                self._update(self._steps[progress.step])
                progress.seconds = time.monotonic() - began
                if self._on_step is not None:
                    self._on_step(progress)
                stop = "interrupted" if self._any(interrupt.came) else self._evaluate_if_due()
                shown.set_postfix(progress.postfix(), refresh=False)
                shown.update()
                due = time.monotonic() - saved >= self._settings.checkpoint_seconds
                if due or stop == "interrupted":
                    self._save()
                    saved = time.monotonic()
        return stop

    def _update(self, rows: Sequence[RowT]) -> None:
        step = self.progress.step
        loss = self._gradients.make(rows, step)
        first, end = next(run for run in pairwise([0, *self._ends]) if step < run[1])
        self._optimizer.step(step - first, end - first)
        self.progress.add(loss, sum(map(self._objective.targets, rows)))

    @contextmanager
    def _in_train_mode(self) -> Iterator[None]:
        self._switch(training=True)
        try:
            yield
        finally:
            self._switch(training=False)

    def _switch(self, training: bool) -> None:
        """Make the model ready to train, or to label as it came."""
        model = self._objective.model
        model.train(training)
        self._objective.prepare(training)
        if training and self._gradients.recomputes:
            recompute_activations(model)
        keep_freed_memory(training)

    def _evaluate_if_due(self) -> str:
        """Evaluate and note what is due after a step; returns why to end the training, if so."""
        progress, total = self.progress, len(self._steps)
        between_evaluations = math.ceil(total / max(1, self._settings.evaluations))
        between_points = math.ceil(total / _POINTS)
        is_due = progress.step == total or progress.step % between_evaluations == 0
        if not progress.curve or progress.curve[-1]["step"] < progress.step:
            if len(self._ends) > 1 and progress.step in self._ends:
                self._end_run()
            elif len(self._ends) == 1 and is_due:
                progress.note(self._score(self._chance) if self._evaluate else {})
            elif progress.step % between_points == 0:
                progress.note({})
        return "no better F1" if progress.worse >= self._settings.patience else ""

    def _end_run(self) -> None:
        """Average what was learned with the runs before, evaluate that instead of the run, and begin anew. The
        last average is kept."""
        progress = self.progress
        run = self._ends.index(progress.step) + 1
        if self._after_run is not None:
            progress.answers.append(self._labelling(partial(self._after_run, run - 1)))
        learned = self._copy()
        if self._best is not None:
            learned = {n: torch.lerp(self._best[n], w, 1 / run) for n, w in learned.items()}
        self._restore(learned)
        is_due = run == len(self._ends) or self._settings.evaluations > 1
        progress.note(self._score(math.inf) if self._evaluate and is_due else {})
        self._best, progress.kept = learned, progress.step
        if run < len(self._ends):
            self._restore(self._start)
            self._optimizer.forget()

    def _score(self, chance: float) -> dict[str, float]:
        """The dev F1; the adapter is kept unless an earlier one was better by more than chance."""
        assert self._evaluate is not None
        f1 = self._labelling(self._evaluate)
        if self.progress.keeps(f1, chance):
            self._best = self._copy()
        return {"f1": round(f1, 4)}

    def _labelling(self, call: Callable[[], _Found]) -> _Found:
        """What a call finds out with the model ready to label, by one process for all."""
        found: list[Any] = [None]
        if self.is_main or self._is_sharded:
            self._switch(training=False)
            found = [call()]
            self._switch(training=True)
        if self._accelerator.num_processes > 1:
            broadcast_object_list(found)
        answer: _Found = found[0]
        return answer

    def _save(self) -> None:
        if self._checkpoint is not None and self.is_main:
            optimizer, progress = self._optimizer.state_dict(), self.progress
            state = checkpoints.State(self._digest, self._copy(), optimizer, progress, self._best)
            checkpoints.save(self._checkpoint, state)

    def _copy(self) -> dict[str, torch.Tensor]:
        """The weights that are trained, in the CPU's memory."""
        return {name: weight.detach().cpu().clone() for name, weight in self._weights.items()}

    def _restore(self, weights: dict[str, torch.Tensor]) -> None:
        with torch.no_grad():
            for name, weight in self._weights.items():
                weight.copy_(weights[name])

    def _any(self, mine: bool) -> bool:
        """Whether any process says so."""
        if self._accelerator.num_processes == 1:
            return mine
        flag = torch.tensor(float(mine), device=self._accelerator.device)
        return bool(self._accelerator.reduce(flag, "sum") > 0)

    def _least(self, mine: int) -> int:
        """The least of all processes' numbers: they have to cut a step into the same passes."""
        each = torch.tensor([mine], device=self._accelerator.device)
        return int(self._accelerator.gather(each).min())


def _device(model: Any) -> torch.device:
    device: torch.device = next(model.parameters()).device
    return device


def _accelerator(where: str) -> Accelerator:
    """The processes that train together on this kind of device."""
    accelerator = Accelerator(cpu=where == "cpu")
    kind = accelerator.distributed_type.value
    if kind in ("DEEPSPEED", "MEGATRON_LM"):
        raise NotImplementedError(
            f"{kind} is not for this training; fix: accelerate launch --multi_gpu (each GPU holds "
            "the 4-bit model) or, for `fit`, --use_fsdp"
        )
    return accelerator
