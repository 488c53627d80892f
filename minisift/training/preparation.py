"""All that is known of a training before weights load, for whoever trains, plans or measures it."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

from minisift.data.examples import Example
from minisift.data.reading import as_examples, some_examples
from minisift.models.device import default_device, usable
from minisift.models.source import Source, resolve
from minisift.models.tokenizer import load_tokenizer, make_template
from minisift.prompting.demonstrations import for_labelling
from minisift.prompting.renderer import RenderedExample, Renderer, Row
from minisift.prompting.task import Task, make_task
from minisift.training.dev_set import hold_out, leave_out
from minisift.training.rows import training_rows, with_choices
from minisift.training.settings import Settings

if TYPE_CHECKING:
    from minisift.training.plan import Plan

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Material:
    """What a training is made of: a base model, training and dev sentences."""

    settings: Settings
    source: Source
    examples: Sequence[Example]
    dev: Sequence[Example]


@dataclass(frozen=True)
class Prepared(Material):
    """The same with all that precedes weights: what `fit` trains on and `plan` counts.

    device: where it runs, "cuda", "mps" or "cpu". rendered: the examples, each once. shown: the
    demonstrations of the labeler's prompts. runs: the rows of each run. folds: the examples that each run does
    without. left_out: what did not fit `max_length`, by kind.
    """

    device: str
    renderer: Renderer
    rendered: Sequence[RenderedExample]
    shown: Sequence[RenderedExample]
    runs: Sequence[Sequence[Row]]
    folds: Sequence[Sequence[Example]]
    left_out: Mapping[str, int]

    @property
    def rows(self) -> list[Row]:
        """Those of all runs, in order."""
        return list(chain.from_iterable(self.runs))

    def plan(self, settings: Settings | None = None, available: int | None = None) -> Plan:
        """The memory that it takes under its own settings, or under others.

        available: bytes of memory; None for what this machine has.
        """
        from minisift.models.loading import configuration
        from minisift.training.plan import estimate

        runs = self.runs
        if settings is not None and settings != self.settings:
            runs, _ = training_rows(self.renderer, self.rendered, settings)
        config = configuration(self.source)
        rows = list(chain.from_iterable(runs))
        return estimate(config, rows, settings or self.settings, self.device, available)


def gather(
    model: str | os.PathLike[str],
    train_set: Any,
    dev_set: Any,
    settings: Settings,
    holds_out: bool = True,
) -> Material:
    """Find the model and read the data; without a dev set some sentences are held out as one.

    holds_out: whether they are.
    """
    examples = as_examples(train_set)
    source = resolve(model)
    if dev_set is not None:
        return Material(settings, source, examples, some_examples(dev_set))
    share = settings.share_held_out(runs=1) if holds_out else 0
    kept, dev = hold_out(examples, share, settings.seed)
    return Material(settings, source, kept, dev)


def prepare(
    model: str | os.PathLike[str],
    train_set: Any,
    dev_set: Any,
    settings: Settings,
    *,
    names: Mapping[str, str] | None = None,
    descriptions: Mapping[str, str] | None = None,
    instruction: str | bool | None = None,
    device: str | None = None,
) -> Prepared:
    """Check and make ready what a training was given. names, descriptions, instruction: of its task,
    see `make_task`. device: where it is to run; None for here.

    What does not fit, and what is odd, is told as a warning.
    """
    examples = as_examples(train_set)
    task = make_task(examples, names=names, descriptions=descriptions, instruction=instruction)
    spans = sum(len(example.spans) for example in examples)
    runs = settings.averaged(len(examples), spans)
    material = gather(model, examples, dev_set, settings, holds_out=runs == 1)
    _check_labels(task, material.dev)
    tokenizer = load_tokenizer(material.source.weights)
    renderer = Renderer(
        task, make_template(settings.template, tokenizer, task.instruction), tokenizer
    )
    rendered = [renderer.render(example) for example in material.examples]
    if settings.constrains:
        rendered = with_choices(renderer, rendered, settings.max_length)
    shown = for_labelling(renderer, rendered, settings.shots, settings.seed, settings.max_length)
    folds: list[list[Example]] = [[] for _ in range(runs)]
    if runs > 1 and dev_set is None:
        banned = {example.example.text for example in shown}
        folds = leave_out(
            material.examples, banned, runs, settings.share_held_out(runs), settings.seed
        )
    texts = [{example.text for example in fold} for fold in folds]
    rows, left_out = training_rows(renderer, rendered, settings, texts)
    made = [(run, fold) for run, fold in zip(rows, folds, strict=True) if run]
    if losses := ", ".join(f"{count} {what}" for what, count in left_out.items() if count):
        logger.warning("To keep prompts within max_length: %s.", losses)
    if device in (None, default_device()):
        settings = replace(settings, quantize=usable(settings.quantize))
    return Prepared(
        settings,
        material.source,
        material.examples,
        material.dev,
        device or default_device(),
        renderer,
        rendered,
        shown,
        [run for run, _ in made],
        [fold for _, fold in made],
        left_out,
    )


def _check_labels(task: Task, dev: Sequence[Example]) -> None:
    unseen = sorted({s.label for e in dev for s in e.spans} - set(task.names))
    if unseen:
        logger.warning(
            "The dev set has labels that training never shows (%s): their spans count as missed.",
            ", ".join(unseen),
        )
