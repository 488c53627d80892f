"""What the task recipes share: their flags, and the way from labelled sentences to one file."""

from __future__ import annotations

import argparse
import logging
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import minisift
from minisift import Example
from minisift.prompting.renderer import STRATEGIES
from minisift.training.settings import Settings

Parts = tuple[Sequence[Example], Sequence[Example], Sequence[Example]]
"""Sentences to train on, to choose by and to score on."""


def arguments(description: str, name: str) -> argparse.Namespace:
    """The flags of a recipe; its docstring is the help."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the data set")
    parser.add_argument(
        "--model", default="smollm2-135m", help="bundled name, hub id, folder or GGUF file"
    )
    parser.add_argument("--sentences", type=int, default=1000, help="to train on, drawn at random")
    parser.add_argument("--dev-sentences", type=int, default=200)
    parser.add_argument("--test-sentences", type=int, help="all by default")
    parser.add_argument("--strategy", default=Settings.strategy, choices=STRATEGIES)
    parser.add_argument("--shots", type=int, default=Settings.shots)
    parser.add_argument("--max-prompts", type=int, help="training prompts; by default fit decides")
    parser.add_argument("--instruction", action="store_true", help="train with the instruction")
    parser.add_argument("--quantization", default="q8_0")
    parser.add_argument("--seed", type=int, default=Settings.seed)
    parser.add_argument("--output", type=Path, default=Path("demo") / name)
    return parser.parse_args()


def draw(examples: Sequence[Example], count: int | None, seed: int) -> list[Example]:
    """So many examples at random, or all."""
    return random.Random(seed).sample(list(examples), min(len(examples), count or len(examples)))


def known(
    names: Mapping[str, str], descriptions: Mapping[str, str], train: Sequence[Example]
) -> dict[str, Mapping[str, str]]:
    """Those of the labels that the sentences have, as arguments of `fit` and `prompt`."""
    labels = {span.label for example in train for span in example.spans}
    return {
        "names": {label: name for label, name in names.items() if label in labels},
        "descriptions": {label: text for label, text in descriptions.items() if label in labels},
    }


def run(
    given: argparse.Namespace,
    parts: Parts,
    names: Mapping[str, str],
    descriptions: Mapping[str, str],
) -> None:
    """Fit, save, export, score."""
    logging.basicConfig(format="%(message)s")
    sizes = (given.sentences, given.dev_sentences, given.test_sentences)
    train, dev, test = (
        draw(part, size, given.seed) for part, size in zip(parts, sizes, strict=True)
    )
    labeler = minisift.fit(
        given.model,
        train,
        dev_set=dev,
        output_dir=given.output,
        **known(names, descriptions, train),
        instruction=given.instruction,
        strategy=given.strategy,
        shots=given.shots,
        max_prompts=given.max_prompts,
        seed=given.seed,
    )
    gguf = given.output.with_name(f"{given.output.name}.gguf")
    labeler.export(gguf, quantization=given.quantization, verify_on=dev[:50])
    report = minisift.load(gguf).evaluate(test, progress=True)
    print(f"{gguf} on {len(test)} test sentences:\n{report}\n\nWhat went wrong:\n{report.errors()}")
