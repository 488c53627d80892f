"""Train an adapter for `fit` and `prompt` to start from, on span tasks of every kind.

    python recipes/pretrain.py DATA --model gemma-3-270m --output gemma-3-270m

DATA is a folder with the files that many_tasks.py names. A run that was interrupted continues when the same
command is given again, to the same adapter. --start goes on from an adapter that was trained before; give another
--seed then, for other prompts.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from many_tasks import Corpora, Episode

from minisift.files import whole
from minisift.fitting.start import adapter_of, digest_of
from minisift.models.device import default_device
from minisift.models.source import Source, resolve
from minisift.models.tokenizer import load_tokenizer
from minisift.models.warm import ABOUT
from minisift.prompting.renderer import RenderedExample, Renderer, Row
from minisift.prompting.task import Task
from minisift.prompting.template import plain_template
from minisift.prompting.tokenizer import Tokenizer
from minisift.publish.description import versions
from minisift.publish.folder import Weights
from minisift.training.rows import with_choices
from minisift.training.settings import Settings

SHORTEST = 256
"""Tokens of the shortest prompts."""


def prompts(
    corpora: Corpora, tokenizer: Tokenizer, settings: Settings, count: int
) -> Iterator[Row]:
    """So many prompts, each of one task, of `SHORTEST` to `settings.max_length` tokens."""
    made = drawn = 0
    while made < count:
        rng = random.Random(f"{settings.seed} {drawn}")
        drawn += 1
        episode = corpora.episode(rng)
        renderer = _renderer(episode, tokenizer)
        shown = _fitting(episode, renderer, rng.randint(SHORTEST, settings.max_length))
        if not any(example.example.spans for example in shown):
            continue
        if settings.constrains:
            shown = with_choices(renderer, shown, settings.max_length)
        yield renderer.row(shown[:-1], shown[-1], settings.strategy)
        made += 1


def _renderer(episode: Episode, tokenizer: Tokenizer) -> Renderer:
    task = Task(episode.names, {})
    text = task.standard_instruction() if episode.has_instruction else ""
    return Renderer(Task(task.names, {}, text), plain_template(text), tokenizer)


def _fitting(episode: Episode, renderer: Renderer, tokens: int) -> list[RenderedExample]:
    """The first sentences of an episode that so many tokens hold, no text twice."""
    found: dict[str, RenderedExample] = {}
    for example in episode.examples:
        rendered = renderer.render(example)
        tokens -= renderer.length(rendered)
        if tokens < 0:
            break
        found.setdefault(rendered.key, rendered)
    return list(found.values())


def train(
    source: Source, rows: Sequence[Row], settings: Settings, output: Path, start: Path | None
) -> dict[str, Any] | None:
    """Train the adapter, or go on with it, and write it; returns what it tells of itself, None if it was
    interrupted."""
    from minisift.models.loading import parameters
    from minisift.training.loop import Training
    from minisift.training.loss import CausalObjective
    from minisift.training.network import Network

    network = Network(source, settings, unpack=default_device() == "cpu", start=start)
    if start is not None:
        rate = settings.rate(parameters(network()), onward=0)
        settings = replace(settings, learning_rate=rate)
    checkpoint = output.with_name(f"{output.name}.checkpoint")
    training: Training[Row] = Training(
        CausalObjective(network()),
        [rows],
        settings,
        checkpoint=checkpoint,
        identity=f"{source.fingerprint} {digest_of(start)}",
    )
    if training.resume():
        print(f"Continuing at step {training.progress.step}", flush=True)
    report = training.run()
    if report.get("stopped") == "interrupted":
        return None
    about = {
        "base": source.fingerprint,
        "model": source.name,
        "start": digest_of(start),
        "settings": asdict(settings),
        "prompts": len(rows),
        "tokens": sum(len(row.ids) for row in rows),
        "training": report,
        "versions": versions(),
    }
    with whole(output) as draft:
        save(network(), source.name, draft)
        (draft / ABOUT).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    checkpoint.unlink(missing_ok=True)
    return about


def save(model: Any, base: str, folder: Path) -> None:
    """The adapter in bf16: half the size, and no less than what it computes in. base: the model's name."""
    import torch

    for name, weight in model.named_parameters():
        if "lora_" in name:
            weight.data = weight.data.to(torch.bfloat16)
    Weights(lambda: model).adapter(base, folder)
    (folder / "README.md").unlink(missing_ok=True)  # peft's, about nothing


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--start", type=Path, help="the folder of an adapter to go on from")
    parser.add_argument("--prompts", type=int, default=2000)
    parser.add_argument("--tokens", type=int, default=1024, help="of the longest prompts")
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--loss", default="constrained", choices=("constrained", "full"))
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--checkpoint-seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    logging.basicConfig(format="%(message)s")
    settings = Settings(
        max_prompts=given.prompts,
        max_length=given.tokens,
        learning_rate=given.learning_rate,
        loss=given.loss,
        batch_size=given.batch_size,
        checkpoint_seconds=given.checkpoint_seconds,
        seed=given.seed,
        evaluations=0,
    )
    source = resolve(given.model)
    corpora = Corpora(given.data)
    tokenizer = load_tokenizer(source.weights)
    rows = list(prompts(corpora, tokenizer, settings, given.prompts))
    print(f"{len(rows)} prompts of {sum(len(row.ids) for row in rows)} tokens", flush=True)
    start = adapter_of(given.start, source, given.output, settings.lora_rank)
    about = train(source, rows, settings, given.output, start)
    if about is None:
        sys.exit("Interrupted; the same command continues.")
    print(f"{given.output}: loss {about['training']['loss']:.3f}")


if __name__ == "__main__":
    main()
