"""Supervised in-context fine-tuning of a LoRA adapter (SIFT, arXiv 2509.00921)."""

from __future__ import annotations

import itertools
import logging
import math
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from minisift.data import Example
from minisift.demonstrations import Sampling, draws
from minisift.progress import bar, quietly
from minisift.prompts import STRATEGIES, Renderer, Row, Strategy

logger = logging.getLogger(__name__)

IGNORED = -100
"""Label of a position that the loss does not count (PyTorch's ignore_index)."""


@dataclass(frozen=True)
class Settings:
    """How to train. The command line's flags and `fit`'s keywords are these fields.

    docs/decisions.md tells which defaults were measured and which come from trial runs.
    """

    strategy: Strategy = "mrc"
    """Which tokens the loss counts: "mrc", "src" or "vanilla"."""
    shots: int = 8
    """Demonstrations in a prompt; 0 is plain supervised fine-tuning."""
    sampling: Sampling = "partition"
    """How training prompts are drawn: "partition" or "target", see demonstrations.draws."""
    epochs: float | None = None
    """Times that each sentence is seen; None: 5 for 1,000 sentences, more for fewer."""
    max_prompts: int | None = None
    """Train on just so many prompts, whatever `epochs` says."""
    learning_rate: float = 1.5e-3
    lora_rank: int = 16
    lora_dropout: float = 0.05
    batch_size: int = 2
    """Prompts an optimiser step, one after the other through the model."""
    max_length: int = 2048
    """Tokens a prompt may have; demonstrations that would make it longer are dropped."""
    quantize: str | None = "nf4"
    """4-bit weights under the adapter ("nf4"), or None for bf16."""
    gradient_checkpointing: bool | None = None
    """Recompute activations to save memory; None: on a GPU yes, on a CPU no (a quarter faster)."""
    template: str = "plain"
    """"plain" text, or "chat": the instruct model's own format, demonstrations as turns."""
    seed: int = 0

    def __post_init__(self) -> None:
        problems = [
            f"{name}={getattr(self, name)!r} is not {what}"
            for name, good, what in (
                ("strategy", self.strategy in STRATEGIES, f"one of {', '.join(STRATEGIES)}"),
                ("sampling", self.sampling in ("partition", "target"), "'partition' or 'target'"),
                ("shots", self.shots >= 0, "0 or more"),
                ("epochs", self.epochs is None or self.epochs > 0, "above 0"),
                ("max_prompts", self.max_prompts is None or self.max_prompts > 0, "above 0"),
                ("learning_rate", 0 < self.learning_rate < 1, "between 0 and 1"),
                ("lora_rank", self.lora_rank > 0, "above 0"),
                ("lora_dropout", 0 <= self.lora_dropout < 1, "at least 0 and below 1"),
                ("batch_size", self.batch_size > 0, "above 0"),
                ("max_length", self.max_length > 0, "above 0"),
                ("quantize", self.quantize in ("nf4", None), "'nf4' or None"),
                ("template", self.template in ("plain", "chat"), "'plain' or 'chat'"),
            )
            if not good
        ]
        if problems:
            raise ValueError("; ".join(problems))

    def prompts(self, sentences: int) -> int:
        """Training prompts for a data set of so many sentences."""
        if self.max_prompts:
            return self.max_prompts
        epochs = self.epochs or 5 * math.sqrt(1000 / sentences)
        seen = self.shots + 1 if self.sampling == "partition" else 1
        return max(1, round(epochs * sentences / seen))


def make_settings(given: dict[str, Any]) -> Settings:
    """Settings from keywords; raises TypeError that names unknown ones and those there are."""
    known = [field.name for field in fields(Settings)]
    if unknown := sorted(set(given) - set(known)):
        raise TypeError(
            f"unknown option(s) {', '.join(unknown)}; fix: options are {', '.join(known)}"
        )
    return Settings(**given)


def training_rows(
    renderer: Renderer, examples: Sequence[Example], settings: Settings
) -> tuple[list[Row], dict[str, int]]:
    """The rows of a whole training, in order, and how much was left out to fit `max_length`."""
    rows: list[Row] = []
    dropped = too_long = 0
    count = settings.prompts(len(examples))
    drawn = draws(examples, settings.shots, settings.sampling, settings.seed)
    for demonstrations, target in itertools.islice(drawn, count):
        try:
            reserve = len(renderer.response(target))
            kept = renderer.fitting(demonstrations, target, settings.max_length, reserve)
        except ValueError:
            too_long += 1
            continue
        dropped += len(demonstrations) - len(kept)
        rows.append(renderer.row(kept, target, settings.strategy))
    if not rows:
        raise ValueError(
            f"no training sentence fits max_length={settings.max_length} tokens; fix: raise it"
        )
    return rows, {"demonstrations dropped": dropped, "prompts too long": too_long}


def collate(rows: Sequence[Row], pad: int) -> dict[str, Any]:
    """A batch of rows padded at the right, logits to be computed at counted positions only.

    input_ids and attention_mask: [rows, longest]. logits_to_keep: [kept], the positions whose
    next token some row counts. labels: [rows, 1 + kept], the next tokens, IGNORED where not
    counted; the first column is always IGNORED, since the Trainer's count of target tokens takes
    labels to be shifted by one and leaves it out.
    """
    import torch

    longest = max(len(row.ids) for row in rows)
    keep = sorted({i - 1 for row in rows for i, counts in enumerate(row.mask) if counts and i})
    ids = torch.full((len(rows), longest), pad)
    attention = torch.zeros((len(rows), longest), dtype=torch.long)
    labels = torch.full((len(rows), 1 + len(keep)), IGNORED)
    for index, row in enumerate(rows):
        ids[index, : len(row.ids)] = torch.tensor(row.ids)
        attention[index, : len(row.ids)] = 1
        for column, position in enumerate(keep, 1):
            if position + 1 < len(row.ids) and row.mask[position + 1]:
                labels[index, column] = row.ids[position + 1]
    return {
        "input_ids": ids,
        "attention_mask": attention,
        "logits_to_keep": torch.tensor(keep),
        "labels": labels,
    }


def loss_sum(outputs: Any, labels: Any, num_items_in_batch: Any = None) -> Any:
    """Cross entropy of the kept logits, over the target tokens of the whole optimiser step.

    Normalised by `num_items_in_batch`, so that each target token of a step weighs the same
    however the step is cut into rows.
    """
    from torch.nn.functional import cross_entropy

    logits, targets = outputs.logits.float().flatten(0, 1), labels[:, 1:].flatten()
    total = cross_entropy(logits, targets, ignore_index=IGNORED, reduction="sum")
    return total / (num_items_in_batch or (targets != IGNORED).sum())


def train(model: Any, rows: Sequence[Row], settings: Settings, pad: int) -> dict[str, float]:
    """Train the model's adapter on rows, in order; returns seconds, steps and the last loss."""
    from torch.utils.data import Dataset
    from transformers import PrinterCallback, Trainer, TrainingArguments

    class Rows(Dataset):
        def __len__(self) -> int:
            return len(rows)

        def __getitem__(self, index: int) -> Row:
            return rows[index]

    on_cpu = next(model.parameters()).device.type == "cpu"
    progress = _progress(math.ceil(len(rows) / settings.batch_size), len(rows))
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="minisift-") as scratch, quietly():
        trainer = Trainer(
            model=model,
            args=TrainingArguments(
                output_dir=scratch,
                num_train_epochs=1,
                per_device_train_batch_size=1,
                gradient_accumulation_steps=settings.batch_size,
                learning_rate=settings.learning_rate,
                lr_scheduler_type="cosine",
                warmup_steps=0.1,
                weight_decay=0.0,
                optim="paged_adamw_8bit" if settings.quantize and not on_cpu else "adamw_torch",
                gradient_checkpointing=(
                    not on_cpu
                    if settings.gradient_checkpointing is None
                    else settings.gradient_checkpointing
                ),
                gradient_checkpointing_kwargs={"use_reentrant": False},
                train_sampling_strategy="sequential",
                use_cpu=on_cpu,
                remove_unused_columns=False,
                save_strategy="no",
                logging_steps=1,
                disable_tqdm=True,
                report_to=[],
                seed=settings.seed,
                label_names=["labels"],
            ),
            train_dataset=Rows(),
            data_collator=lambda batch: collate(batch, pad),
            compute_loss_func=loss_sum,
            callbacks=[progress],
        )
        trainer.pop_callback(PrinterCallback)
        result = trainer.train()
    model.eval()
    return {
        "seconds": round(time.monotonic() - started, 1),
        "steps": result.global_step,
        "loss": round(progress.recent, 4),
    }


def _progress(steps: int, prompts: int) -> Any:
    from transformers import TrainerCallback

    class Progress(TrainerCallback):
        """One bar with the running loss and the time left."""

        def __init__(self) -> None:
            self.recent = math.nan

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.bar = bar(total=steps, desc=f"training on {prompts} prompts", unit="step")

        def on_log(
            self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any
        ) -> None:
            if "loss" in (logs or {}):
                known = not math.isnan(self.recent)
                self.recent = 0.9 * self.recent + 0.1 * logs["loss"] if known else logs["loss"]
                self.bar.set_postfix(loss=f"{self.recent:.3f}", refresh=False)

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.bar.update(state.global_step - self.bar.n)

        def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.bar.close()

    return Progress()
