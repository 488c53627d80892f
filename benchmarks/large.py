"""Training a large model in 4 bits on a GPU: memory beside its plan, speed beside the card's own.

    python benchmarks/large.py --memory 10
    python benchmarks/large.py --memory 24 --lengths 512 2048 8192 --vocabulary 128256

The model has the shape of Llama-2-7B and random weights, written to disk and loaded as any other
(15 GB in the temporary folder). Rows are random tokens, of which the loss counts half, two a step as
in `fit`. Each length trains in a process of its own that may take --memory gigabytes of the card.
Peak memory is all that the process took of the card, its CUDA context included. The share is that of
the rate at which the card multiplies bf16 matrices of 8,192 x 8,192 in the same process; counted are
the products of the linear layers (forward, forward again for the recomputed activations, backward to
the activations) and of the head, not attention's. The last line is JSON.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from minisift.models.loading import add_lora, configuration, load_base, parameters, unpack
from minisift.models.source import resolve
from minisift.prompting.renderer import Row
from minisift.training.loop import Training
from minisift.training.loss import CausalObjective
from minisift.training.packing import pack
from minisift.training.plan import estimate
from minisift.training.progress import Progress
from minisift.training.rows import targets
from minisift.training.settings import Settings

_SHARD = 2 << 30
_SIDE, _PRODUCTS = 8192, 30


def write_model(folder: Path, layers: int, vocabulary: int) -> None:
    """A model folder of random bf16 weights, in shards of two gigabytes."""
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM, LlamaConfig

    config = LlamaConfig(num_hidden_layers=layers, vocab_size=vocabulary)
    config.architectures = ["LlamaForCausalLM"]
    config.save_pretrained(folder)
    with torch.device("meta"):
        shapes = AutoModelForCausalLM.from_config(config).state_dict()
    shard: dict[str, torch.Tensor] = {}
    where: dict[str, str] = {}

    def flush() -> None:
        name = f"model-{len(set(where.values())):05}.safetensors"
        save_file(shard, folder / name, metadata={"format": "pt"})
        where.update(dict.fromkeys(shard, name))
        shard.clear()

    torch.manual_seed(0)
    for name, like in shapes.items():
        weight = torch.randn(like.shape, device="cuda", dtype=torch.bfloat16)
        shard[name] = torch.ones(like.shape, dtype=torch.bfloat16)
        if weight.dim() > 1:
            shard[name] = (0.02 * weight).cpu()
        if sum(tensor.nbytes for tensor in shard.values()) > _SHARD:
            flush()
    if shard:
        flush()
    index = {"metadata": {}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def matrix_rate() -> float:
    """Operations a second of bf16 matrix products, by the card itself."""
    a, b = (torch.randn(_SIDE, _SIDE, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    for _ in range(3):
        a @ b
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    for _ in range(_PRODUCTS):
        a @ b
    end.record()
    end.synchronize()
    return _PRODUCTS * 2 * _SIDE**3 / (begin.elapsed_time(end) / 1000)


def context_bytes() -> int:
    """What of the card is taken and not by PyTorch's tensors, where nobody else uses it."""
    free, whole = torch.cuda.mem_get_info()
    return int(whole - free - torch.cuda.memory_reserved())


def products(config: Any, parameters: int, rows: list[Row], recomputed: bool) -> float:
    """Operations of a step's matrix products, without attention's."""
    head = config.vocab_size * config.hidden_size
    embedded = head if config.tie_word_embeddings else 2 * head
    tokens = sum(len(row.ids) for row in rows)
    passes = 3 if recomputed else 2
    return 2 * passes * (parameters - embedded) * tokens + 4 * head * sum(map(targets, rows))


def measure(given: argparse.Namespace, length: int) -> dict[str, Any]:
    rate = matrix_rate()
    torch.cuda.empty_cache()
    context = context_bytes()
    generator = torch.Generator().manual_seed(0)
    settings = Settings(
        learning_rate=2e-4,
        batch_size=given.batch_size,
        gradient_checkpointing=None if given.checkpointing else False,
        evaluations=0,
        held_out=0,
    )
    source = resolve(given.model)
    config = configuration(source)
    rows = [
        Row(
            torch.randint(1, config.vocab_size, (length,), generator=generator).tolist(),
            [at % 2 == 1 for at in range(length)],
        )
        for _ in range(given.steps * given.batch_size)
    ]
    planned = estimate(config, rows, settings, "cuda", int(given.memory * 1e9))
    whole = torch.cuda.mem_get_info()[1]
    share = (given.memory * 1e9 - context) / whole
    torch.cuda.set_per_process_memory_fraction(min(1.0, share))
    model, _ = load_base(source, "nf4")
    loading = torch.cuda.max_memory_reserved()
    if planned.unpacked:
        unpack(model)
    settings = replace(settings, gradient_checkpointing=planned.gradient_checkpointing)
    model = add_lora(model, settings.lora_rank, settings.lora_dropout, 0)
    torch.cuda.reset_peak_memory_stats()
    ends: list[float] = []

    def on_step(_: Progress) -> None:
        torch.cuda.synchronize()
        ends.append(time.monotonic())

    objective = CausalObjective(model)
    report = Training(objective, [rows], settings, tokens=planned.tokens, on_step=on_step).run()
    seconds = statistics.median(b - a for a, b in itertools.pairwise(ends[1:]))
    step = rows[: given.batch_size]
    largest = max(pack(step, planned.tokens), key=len)
    joined = Row(
        [token for row in largest for token in row.ids], [m for row in largest for m in row.mask]
    )
    ran = estimate(config, [joined], settings, "cuda", int(given.memory * 1e9))
    done = products(
        config, parameters(model.get_base_model()), step, settings.checkpoints_on("cuda")
    )
    context = context_bytes()
    return {
        "length": length,
        "checkpointing": settings.gradient_checkpointing,
        "unpacked": planned.unpacked,
        "rows_a_pass": len(largest),
        "planned_gb": round(ran.total / 1e9, 2),
        "allocated_gb": round((torch.cuda.max_memory_allocated() + context) / 1e9, 2),
        "context_gb": round(context / 1e9, 2),
        "peak_gb": round((torch.cuda.max_memory_reserved() + context) / 1e9, 2),
        "loading_gb": round((loading + context) / 1e9, 2),
        "tokens_a_pass": planned.tokens,
        "seconds_a_step": round(seconds, 3),
        "tokens_per_second": round(given.batch_size * length / seconds),
        "share": round(done / seconds / rate, 3),
        "matrix_tflops": round(rate / 1e12),
        "loss": report["loss"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--memory", type=float, default=10, help="gigabytes a training may take")
    parser.add_argument("--lengths", type=int, nargs="+", default=[512, 1024, 2048])
    parser.add_argument("--batch-size", type=int, default=2, help="rows a step")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--vocabulary", type=int, default=32000)
    parser.add_argument(
        "--no-checkpointing", dest="checkpointing", action="store_false", help="keep activations"
    )
    parser.add_argument("--model", help="a model's folder, instead of random weights")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.steps < 3:
        parser.error("--steps below 3 leave nothing to time")
    if not torch.cuda.is_available():
        parser.exit(2, "No CUDA GPU here; fix: run it where there is one.\n")
    if given.one:
        print(json.dumps(measure(given, given.one)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        if not given.model:
            # in a process of its own, which leaves nothing on the card
            context = multiprocessing.get_context("spawn")
            shape = (Path(scratch), given.layers, given.vocabulary)
            writer = context.Process(target=write_model, args=shape)
            writer.start()
            writer.join()
            if writer.exitcode:
                parser.exit(1, f"{scratch}: the model could not be written.\n")
        found = []
        for length in given.lengths:
            command = [sys.executable, *sys.argv, "--model", given.model or scratch]
            run = subprocess.run(
                [*command, "--one", str(length)], check=True, stdout=subprocess.PIPE, text=True
            )
            found.append(json.loads(run.stdout.splitlines()[-1]))
            print(found[-1], flush=True)
    print(json.dumps({"card": torch.cuda.get_device_name(), "lengths": found}))


if __name__ == "__main__":
    main()
