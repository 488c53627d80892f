"""Supervised in-context fine-tuning of a LoRA adapter (SIFT, arXiv 2509.00921): the loop."""

from __future__ import annotations

import ctypes
import hashlib
import logging
import math
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size

from minisift import models, sharding
from minisift.batches import Objective, pack
from minisift.files import whole
from minisift.progress import bar
from minisift.settings import Settings

logger = logging.getLogger(__name__)

_WARMUP = 0.1
"""Share of the steps in which the learning rate rises."""
_LARGEST_GRADIENT = 1.0
_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1
"""Names of glibc's mallopt."""
_POINTS = 20
"""Points of a learning curve."""


@dataclass
class Progress:
    """How far a training is. All of it travels in checkpoints."""

    step: int = 0
    loss: float = math.nan
    """Mean loss of a target token, running."""
    seconds: float = 0.0
    tokens: int = 0
    """Target tokens that were trained on."""
    curve: list[dict[str, float]] = field(default_factory=list)
    """Step, seconds and loss, and dev F1 where it was measured."""
    best: float = -1.0
    kept: int = 0
    """The step whose adapter is kept, of those that were evaluated."""
    worse: int = 0
    """Evaluations since then."""


class Training:
    """One training of a model's adapter: rows in order, `settings.batch_size` a step.

    Everything random is drawn from the seed and the number of the step, so that a training that
    continues from a checkpoint gives the same adapter, bit by bit, as one that never stopped.

    objective: makes rows into passes and answers them with their loss; that of a language model
    by default. evaluate: dev F1 of the model as it is; chance: by how much two of them differ by chance
    alone, so that a lower one is no reason to prefer an earlier adapter, whose learning rate had not
    come to rest; checkpoint: the file to keep the state in;
    tokens: what a pass may hold, halved whenever memory runs out; identity: tells checkpoints of
    other base models. Where the launcher asks for it the model's weights are sharded over the
    processes (see sharding.py), which from then on all evaluate it together.
    """

    def __init__(
        self,
        model: Any,
        rows: Sequence[Any],
        settings: Settings,
        *,
        objective: Any = None,
        evaluate: Callable[[], float] | None = None,
        chance: float = 0.0,
        checkpoint: Path | None = None,
        tokens: int = 1 << 14,
        identity: str = "",
    ) -> None:
        self._model = model
        self._settings = settings
        self._evaluate = evaluate
        self._chance = chance
        self._checkpoint = checkpoint
        size = settings.batch_size
        self._steps = [rows[first : first + size] for first in range(0, len(rows), size)]
        self._digest = _digest(rows, settings, identity)
        self._sharded = sharding.wanted()
        where = models.device() if self._sharded else _device(model).type
        self._accelerator = Accelerator(cpu=where == "cpu")
        kind = self._accelerator.distributed_type.value
        if kind in ("DEEPSPEED", "MEGATRON_LM") or (self._sharded and objective):
            raise NotImplementedError(
                f"{'FSDP' if self._sharded else kind} is not for this training; fix: accelerate "
                "launch --multi_gpu (each GPU holds the 4-bit model) or, for `fit`, --use_fsdp"
            )
        # memory differs, but all have to cut a step into the same passes
        each = torch.tensor([tokens], device=self._accelerator.device)
        self._tokens = int(self._accelerator.gather(each).min())
        self._recomputes = settings.checkpoints_on(where)
        self._half = any(weight.dtype == torch.bfloat16 for weight in model.parameters())
        self._rate = settings.rate(models.parameters(model))
        if self._sharded:
            sharding.shard(model, self._accelerator.device)
        self._objective: Any = objective or Objective(model)
        self._weights = {
            name: weight
            for name, weight in self._objective.named_parameters()
            if weight.requires_grad
        }
        paged = settings.quantize is not None and _device(model).type == "cuda"
        self._optimizer = _optimizer(list(self._weights.values()), paged)
        self.progress = Progress()
        self._best: dict[str, torch.Tensor] | None = None
        self._interrupted = False

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes files."""
        return bool(self._accelerator.is_main_process)

    def resume(self) -> bool:
        """Take up the checkpoint, if there is one; raises ValueError if it is not of this training."""
        if self._checkpoint is None or not self._checkpoint.is_file():
            return False
        state = torch.load(self._checkpoint, map_location="cpu", weights_only=True)
        if state["digest"] != self._digest:
            raise ValueError(
                f"{self._checkpoint}: the checkpoint of other data, settings or another model; "
                "fix: give what that training was given, or delete the file"
            )
        self._put(state["weights"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.progress = Progress(**state["progress"])
        self._best = state["best"]
        return True

    def run(self) -> dict[str, Any]:
        """Train to the end, or until Ctrl-C; the model has the adapter that was kept then.

        Returns what the labeler tells of its training.
        """
        if self._checkpoint is not None and self.is_main:
            _check_space(self._checkpoint, 4 * 4 * sum(w.numel() for w in self._weights.values()))
        progress, total = self.progress, len(self._steps)
        saved = began = time.monotonic()
        began -= progress.seconds
        shown = bar(
            total=total,
            initial=progress.step,
            desc=f"training on {sum(map(len, self._steps))} prompts",
            unit="step",
            disable=not self._accelerator.is_local_main_process,
        )
        with shown, self._interruptible(), self._in_train_mode():
            stopped = self._looked() if progress.step else ""
            while progress.step < total and not stopped:
                self._step(self._steps[progress.step])
                progress.step += 1
                progress.seconds = time.monotonic() - began
                stopped = "interrupted" if self._agreed(self._interrupted) else self._looked()
                shown.set_postfix(self._told(), refresh=False)
                shown.update()
                due = time.monotonic() - saved >= self._settings.checkpoint_seconds
                if due or stopped == "interrupted":
                    self._save()
                    saved = time.monotonic()
        if self._best is not None:
            self._put(self._best)
        told = {
            "seconds": round(progress.seconds, 1),
            "steps": progress.step,
            "loss": round(progress.loss, 4),
            "target_tokens": progress.tokens,
            "curve": progress.curve,
            **({"kept": progress.kept} if self._best is not None else {}),
        }
        return {**told, "stopped": stopped} if stopped else told

    def _precision(self) -> Any:
        """Beside bf16 weights the adapter's float32 ones compute in bf16 too."""
        return torch.autocast(_device(self._model).type, torch.bfloat16, enabled=self._half)

    @contextmanager
    def _in_train_mode(self) -> Iterator[None]:
        self._switch(training=True)
        try:
            yield
        finally:
            self._switch(training=False)

    def _switch(self, training: bool) -> None:
        """Make the model ready to train, or to label as it came."""
        self._model.train(training)
        self._objective.prepare(training)
        if training and self._recomputes:
            models.recompute_activations(self._model)
        _keep_freed_memory(training)

    def _step(self, rows: Sequence[Any]) -> None:
        """One update; should memory run out, again in smaller passes."""
        while True:
            try:
                loss = self._gradients(rows)
                break
            except RuntimeError as error:
                alone = self._accelerator.num_processes == 1
                largest = max(pack(rows, self._tokens), key=len)
                if not (alone and should_reduce_batch_size(error)):
                    raise
                if len(largest) > 1:
                    self._tokens = max(1, sum(len(row.ids) for row in largest) // 2)
                    how = f"at most {self._tokens} tokens a pass"
                elif self._recomputes:
                    raise
                else:
                    self._recomputes = True
                    models.recompute_activations(self._model)
                    how = "activations are recomputed"
            self._optimizer.zero_grad()
            clear_device_cache(garbage_collection=True)
            logger.warning("Out of memory: from here on %s.", how)
        torch.nn.utils.clip_grad_norm_(self._weights.values(), _LARGEST_GRADIENT)
        rate = self._rate * _schedule(self.progress.step, len(self._steps))
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.step()
        self._optimizer.zero_grad()
        known = not math.isnan(self.progress.loss)
        self.progress.loss = 0.9 * self.progress.loss + 0.1 * loss if known else loss
        self.progress.tokens += sum(map(self._objective.targets, rows))

    def _gradients(self, rows: Sequence[Any]) -> float:
        """Gradients of the mean loss over the target tokens of all rows; returns that loss."""
        count = max(1, sum(map(self._objective.targets, rows)))
        processes, rank = self._accelerator.num_processes, self._accelerator.process_index
        share = math.ceil(sum(len(row.ids) for row in rows) / processes)
        passes = pack(rows, min(self._tokens, share))
        # each process takes as many passes, since sharded weights are computed with by all at once;
        # one that would have none repeats one for nothing
        weights = [1.0] * len(passes) + [0.0] * (-len(passes) % processes)
        mine = list(range(rank, len(weights), processes))
        torch.manual_seed((self._settings.seed * 1_000_003 + self.progress.step) * 1024 + rank)
        total = torch.zeros((), device=self._accelerator.device)
        for index in mine:
            batch = self._objective.collate(passes[index % len(passes)], total.device)
            with self._precision():
                loss = self._objective(**batch)
            (loss * (weights[index] / count)).backward()
            total += loss.detach() * weights[index]
        if processes > 1:
            self._add_up_gradients()
        return float(self._accelerator.reduce(total, "sum") / count)

    def _add_up_gradients(self) -> None:
        """Those of all processes, in each; an adapter's are few enough to travel at once."""
        found = [weight.grad for weight in self._weights.values() if weight.grad is not None]
        flat = self._accelerator.reduce(torch.cat([g.flatten() for g in found]), "sum")
        for gradient, part in zip(found, flat.split([g.numel() for g in found]), strict=True):
            gradient.copy_(part.view_as(gradient))

    def _looked(self) -> str:
        """Evaluate and note what is due after a step; says why the training should end, if so."""
        progress, total = self.progress, len(self._steps)
        evaluated = math.ceil(total / max(1, self._settings.evaluations))
        noted = math.ceil(total / _POINTS)
        if not progress.curve or progress.curve[-1]["step"] < progress.step:
            if progress.step == total or progress.step % evaluated == 0:
                self._note(self._score() if self._evaluate else {})
            elif progress.step % noted == 0:
                self._note({})
        return "no better F1" if progress.worse >= self._settings.patience else ""

    def _note(self, scores: dict[str, float]) -> None:
        """A point of the learning curve."""
        progress = self.progress
        seconds, loss = round(progress.seconds, 1), round(progress.loss, 4)
        progress.curve.append({"step": progress.step, "seconds": seconds, "loss": loss, **scores})

    def _score(self) -> dict[str, float]:
        """The dev F1; the adapter is kept unless an earlier one was better by more than chance."""
        assert self._evaluate is not None
        found = [0.0]
        if self.is_main or self._sharded:
            self._switch(training=False)
            found = [self._evaluate()]
            self._switch(training=True)
        if self._accelerator.num_processes > 1:
            broadcast_object_list(found)
        progress = self.progress
        progress.worse += 1
        if found[0] >= progress.best - self._chance:
            progress.best = max(progress.best, found[0])
            progress.kept, progress.worse = progress.step, 0
            self._best = self._taken()
        return {"f1": round(found[0], 4)}

    def _told(self) -> dict[str, str]:
        told = {"loss": f"{self.progress.loss:.3f}"}
        scores = [f"{row['f1']:.3f}" for row in self.progress.curve if "f1" in row]
        return {**told, "dev F1": " ".join(scores)} if scores else told

    def weights(self) -> dict[str, torch.Tensor]:
        """What was trained, by the names of the model's parameters: a copy in the CPU's memory."""
        return {name.removeprefix("model."): weight for name, weight in self._taken().items()}

    def _taken(self) -> dict[str, torch.Tensor]:
        return {name: weight.detach().cpu().clone() for name, weight in self._weights.items()}

    def _put(self, weights: dict[str, torch.Tensor]) -> None:
        with torch.no_grad():
            for name, weight in self._weights.items():
                weight.copy_(weights[name])

    def _save(self) -> None:
        if self._checkpoint is None or not self.is_main:
            return
        state = {
            "digest": self._digest,
            "weights": self._taken(),
            "optimizer": self._optimizer.state_dict(),
            "progress": asdict(self.progress),
            "best": self._best,
        }
        try:
            with whole(self._checkpoint) as draft:
                torch.save(state, draft)
        except (OSError, RuntimeError) as error:
            raise OSError(
                f"{self._checkpoint}: cannot be written at step {self.progress.step} ({error}); an "
                "older checkpoint is as it was; fix: free some space and call again with "
                "resume=True"
            ) from error

    def _agreed(self, mine: bool) -> bool:
        """Whether any process says so."""
        if self._accelerator.num_processes == 1:
            return mine
        flag = torch.tensor(float(mine), device=self._accelerator.device)
        return bool(self._accelerator.reduce(flag, "sum") > 0)

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """The first Ctrl-C ends the training after the step that runs, a second one at once."""

        def stop(*_: Any) -> None:
            self._interrupted = True
            signal.signal(signal.SIGINT, before)
            logger.warning("Stopping after this step; Ctrl-C again stops at once.")

        try:
            before = signal.signal(signal.SIGINT, stop)
        except ValueError:  # not the main thread: signals go elsewhere
            yield
            return
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)


def _device(model: Any) -> torch.device:
    return next(model.parameters()).device


def _optimizer(weights: list[Any], paged: bool) -> Any:
    """AdamW, its learning rate set at each step; paged: 8-bit states that may leave the GPU."""
    if paged:
        from bitsandbytes.optim import PagedAdamW8bit

        return PagedAdamW8bit(weights, weight_decay=0.0)
    return torch.optim.AdamW(weights, weight_decay=0.0, fused=True)


def _schedule(step: int, steps: int) -> float:
    """The learning rate of a step, as a share: a linear rise, then half a cosine to nothing."""
    rise = math.ceil(_WARMUP * steps)
    if step < rise:
        return (step + 1) / (rise + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / (steps - rise)))


def _keep_freed_memory(keep: bool) -> None:
    """Let glibc keep what training frees: giving activations back and taking new pages costs time.

    Otherwise what is free goes back to the system, and stays there.
    """
    with suppress(OSError, AttributeError):  # not glibc: memory is managed as it comes
        libc = ctypes.CDLL("libc.so.6")
        libc.malloc_trim(0)
        libc.mallopt(_MMAP_THRESHOLD, 1 << 30 if keep else 1 << 17)
        libc.mallopt(_TRIM_THRESHOLD, (1 << 31) - 1 if keep else 1 << 17)


def _digest(rows: Sequence[Any], settings: Settings, identity: str) -> str:
    """Tells trainings apart: by all that shapes the adapter."""
    shaping = replace(settings, checkpoint_seconds=0, gradient_checkpointing=None)
    digest = hashlib.sha256(f"{identity} {shaping!r}".encode())
    for row in rows:
        digest.update(repr(row).encode())
    return digest.hexdigest()


def _check_space(path: Path, needed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if (free := shutil.disk_usage(path.parent).free) < needed:
        raise OSError(
            f"{path.parent}: {free / 1e6:.0f} MB free, a training keeps up to "
            f"{needed / 1e6:.0f} MB there; fix: free some space, or another output_dir"
        )
