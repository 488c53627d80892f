"""Training speed and peak memory, beside TRL's SFTTrainer: the same rows, model, LoRA and device.

    pip install -c constraints.txt -r benchmarks/requirements.txt
    python benchmarks/training.py TRAIN --model gemma-3-270m

TRAIN is a labelled file. Both train on prompts of 9 of its sentences under MRC, with one 4-bit
model, adapter and optimiser; TRL with its own batches and loss. Each runs by itself, in turns, in
a process of its own. Target tokens are those that the loss counts; their rate leaves the first step
out. Peak memory is that of the process. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

import minisift
from minisift.models.device import default_device
from minisift.training.network import Network
from minisift.training.preparation import Prepared, prepare
from minisift.training.rows import targets
from minisift.training.settings import Settings

SYSTEMS = ("minisift", "trl")


def preparation(given: argparse.Namespace) -> Prepared:
    settings = Settings(
        max_prompts=given.prompts,
        learning_rate=1e-3,
        evaluations=0,
        held_out=0,
        gradient_checkpointing=given.checkpointing,
        batch_size=given.batch_size,
    )
    return prepare(given.model, minisift.read(given.train)[:1000], None, settings)


def minisift_steps(prepared: Prepared) -> list[float]:
    from minisift.training.loop import Training
    from minisift.training.loss import CausalObjective

    times: list[float] = []
    plan = prepared.plan()
    objective = CausalObjective(Network(prepared.source, prepared.settings, plan.unpacked)())
    Training(
        objective,
        prepared.runs,
        prepared.settings,
        tokens=plan.tokens,
        on_step=lambda _: times.append(time.monotonic()),
    ).run()
    return times


def trl_steps(prepared: Prepared) -> list[float]:
    from datasets import Dataset
    from transformers import AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    times: list[float] = []

    class Timer(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            times.append(time.monotonic())

    settings, device = prepared.settings, default_device()
    on_cpu = device == "cpu"
    with tempfile.TemporaryDirectory() as scratch:
        trainer = SFTTrainer(
            model=Network(prepared.source, settings, unpack=False)(),
            args=SFTConfig(
                output_dir=scratch,
                per_device_train_batch_size=settings.batch_size,
                learning_rate=1e-3,
                lr_scheduler_type="cosine",
                num_train_epochs=1,
                optim="adamw_torch" if on_cpu else "paged_adamw_8bit",
                gradient_checkpointing=settings.checkpoints_on(device),
                bf16=True,
                use_cpu=on_cpu,
                completion_only_loss=True,
                max_length=None,
                report_to=[],
                save_strategy="no",
                disable_tqdm=True,
            ),
            train_dataset=Dataset.from_list(
                [
                    {"input_ids": row.ids, "completion_mask": [int(c) for c in row.mask]}
                    for row in prepared.rows
                ]
            ),
            processing_class=AutoTokenizer.from_pretrained(prepared.source.weights),
            callbacks=[Timer()],
        )
        trainer.train()
    return times


def measure(given: argparse.Namespace) -> None:
    prepared = preparation(given)
    steps = {"minisift": minisift_steps, "trl": trl_steps}[given.system]
    times = steps(prepared)
    # the order of rows may differ: all steps but one see the mean number of targets
    counted = sum(map(targets, prepared.rows)) / len(times) * (len(times) - 1)
    result = {"tokens_per_second": counted / (times[-1] - times[0])}
    if default_device() == "cuda":
        import torch

        result["peak_gb"] = torch.cuda.max_memory_allocated() / 1e9
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        result["peak_gb"] = peak / (1e9 if sys.platform == "darwin" else 1e6)
    print(json.dumps(result))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("train")
    parser.add_argument("--model", default="gemma-3-270m")
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument(
        "--batch-size", type=int, default=8, help="prompts a step; 8 is TRL's own default"
    )
    parser.add_argument(
        "--checkpointing", action="store_true", help="recompute activations, as TRL's defaults do"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--system", choices=SYSTEMS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.system:
        measure(given)
        return
    found: dict[str, list[dict[str, float]]] = {system: [] for system in SYSTEMS}
    for _ in range(given.rounds):
        for system in SYSTEMS:
            command = [sys.executable, *sys.argv, "--system", system]
            run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            found[system].append(json.loads(run.stdout.splitlines()[-1]))
            print(system, found[system][-1], flush=True)
    middle = {
        system: {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        for system, runs in found.items()
    }
    ours, theirs = middle["minisift"], middle["trl"]
    speed = ours["tokens_per_second"] / theirs["tokens_per_second"]
    memory = ours["peak_gb"] / theirs["peak_gb"]
    print(f"target tokens a second: {speed:.2f} times TRL; peak memory: {memory:.2f} of TRL's")
    print(json.dumps({"model": given.model, **middle, "speed": speed, "memory": memory}))


if __name__ == "__main__":
    main()
