"""`fit` and `prompt`: a labeler from a model and labelled sentences."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from minisift.data import Example
from minisift.demonstrations import choose
from minisift.description import Description, checksum
from minisift.engines import Engine
from minisift.labeler import Labeler, as_examples
from minisift.models import Source
from minisift.prompts import Renderer, Template, Tokenizer, plain_template
from minisift.storage import check_folder, versions
from minisift.task import Task, make_task

logger = logging.getLogger(__name__)

_SHORTEST_WINDOW = 48
"""Tokens that a text may have at least before it is labelled in windows."""


def fit(
    model: str | os.PathLike[str],
    train_set: Any,
    *,
    dev_set: Any = None,
    output_dir: str | os.PathLike[str] | None = None,
    names: Mapping[str, str] | None = None,
    descriptions: Mapping[str, str] | None = None,
    instruction: str | bool | None = None,
    **settings: Any,
) -> Labeler:
    """Train a labeler by supervised in-context fine-tuning of a QLoRA adapter.

    model: a bundled name ("smollm2-135m", "gemma-3-270m"), hub id, folder or .gguf file.
    train_set: a list of `Example`, a path or a Hugging Face `Dataset`; dev_set likewise: its
    score is reported and travels with the labeler. output_dir: where to write the adapter
    folder. names, descriptions and instruction: see `task.make_task`; no instruction by
    default, since trained models do better without. settings: the fields of
    `training.Settings`, such as strategy="mrc", shots=8, epochs, max_prompts, learning_rate,
    lora_rank, quantize, template, seed.

    Raises TypeError for an unknown setting and ValueError for a bad one, before weights load.

    >>> fit("smollm2-135m", "train.conll", output_dir="ner")  # doctest: +SKIP
    """
    from minisift.training import make_settings

    chosen = make_settings(settings)
    examples = as_examples(train_set)
    dev = as_examples(dev_set) if dev_set is not None else None
    task = make_task(examples, names=names, descriptions=descriptions, instruction=instruction)
    if dev is not None:
        _check_labels(task, dev)
    if output_dir is not None:
        check_folder(output_dir)

    from minisift import models
    from minisift.engines.transformers import TransformersEngine
    from minisift.tokenizer import load_tokenizer
    from minisift.training import train, training_rows

    source = models.resolve(model)
    _check_export(source)
    tokenizer = load_tokenizer(source.weights)
    template = _template(chosen.template, tokenizer, task.instruction)
    renderer = Renderer(task, template, tokenizer)
    rows, left_out = training_rows(renderer, examples, chosen)
    _report_left_out(left_out)
    demonstrations = _demonstrations(
        renderer, examples, chosen.shots, chosen.seed, chosen.max_length
    )

    network, quantized = models.load_base(source, chosen.quantize)
    network = models.add_lora(network, chosen.lora_rank, chosen.lora_dropout, chosen.seed)
    trained = train(network, rows, chosen, tokenizer.hf.pad_token_id or 0)
    made = {
        "settings": asdict(chosen),
        "seed": chosen.seed,
        "sentences": len(examples),
        "prompts": len(rows),
        "left_out": left_out,
        "training": trained,
    }
    base = {"model": source.name, "fingerprint": source.fingerprint, "quantize": quantized}
    models.settle(network)
    longest = models.longest_input(source)
    engine = TransformersEngine(lambda: network, tokenizer, longest)
    labeler = _labeler(renderer, examples, demonstrations, base, made, engine, lambda: network)
    if dev is not None:
        report = labeler.calibrate(dev, progress=True)
        logger.info(
            "dev F1 %.3f; scores are off by %.3f on average, at temperature %.2f.",
            report.f1,
            report.calibration_error,
            labeler.description.temperature,
        )
        made["scores"] = {"dev": report.to_dict()}
    if output_dir is not None:
        labeler.save(output_dir)
    return labeler


def prompt(
    model: str | os.PathLike[str],
    train_set: Any,
    *,
    shots: int = 8,
    names: Mapping[str, str] | None = None,
    descriptions: Mapping[str, str] | None = None,
    instruction: str | bool | None = True,
    template: str = "plain",
    quantize: str | None = None,
    seed: int = 0,
) -> Labeler:
    """A labeler by in-context learning alone: demonstrations in the prompt, no training.

    shots=0 is zero-shot; `train_set` then serves for the labels alone. The instruction is the
    standard one unless given or turned off (see `task.make_task`). A `.gguf` model runs under
    llama.cpp, any other under transformers.
    """
    examples = as_examples(train_set)
    task = make_task(examples, names=names, descriptions=descriptions, instruction=instruction)

    from minisift import models

    source = models.resolve(model)
    engine: Engine
    get_model: Callable[[], Any] | None = None
    if os.fspath(model).endswith(".gguf") and template == "plain":
        from minisift.engines.llamacpp import LlamaCppEngine

        engine = LlamaCppEngine(source.name)
    else:
        from minisift.engines.transformers import TransformersEngine
        from minisift.tokenizer import load_tokenizer

        network, quantize = models.load_base(source, quantize)
        models.settle(network)
        tokenizer = load_tokenizer(source.weights)

        def get_model() -> Any:
            return network

        engine = TransformersEngine(get_model, tokenizer, models.longest_input(source))
    renderer = Renderer(
        task, _template(template, engine.tokenizer, task.instruction), engine.tokenizer
    )
    demonstrations = _demonstrations(renderer, examples, shots, seed, engine.context // 2)
    base = {"model": source.name, "fingerprint": source.fingerprint, "quantize": quantize}
    made = {"shots": shots, "seed": seed}
    return _labeler(renderer, examples, demonstrations, base, made, engine, get_model)


def _template(kind: str, tokenizer: Tokenizer, instruction: str) -> Template:
    if kind == "plain":
        return plain_template(instruction)
    if kind != "chat":
        raise ValueError(f"template={kind!r}; fix: 'plain' or 'chat'")
    from minisift.tokenizer import HFTokenizer, chat_template

    assert isinstance(tokenizer, HFTokenizer)
    return chat_template(tokenizer, instruction)


def _labeler(
    renderer: Renderer,
    examples: Sequence[Example],
    demonstrations: Sequence[Example],
    base: dict[str, Any],
    made: dict[str, Any],
    engine: Engine,
    model: Callable[[], Any] | None,
) -> Labeler:
    made["versions"] = versions()
    prefix = checksum(renderer.prefix(demonstrations))
    description = Description(
        renderer.task,
        renderer.template,
        demonstrations,
        base,
        prefix,
        window=_window(renderer, examples),
        made=made,
    )
    return Labeler(description, engine, model)


def _window(renderer: Renderer, examples: Sequence[Example]) -> tuple[int, int]:
    """The median and the 99th percentile of the texts' lengths in tokens."""
    lengths = sorted(len(renderer.text(example)) for example in examples)
    return lengths[len(lengths) // 2], max(_SHORTEST_WINDOW, lengths[len(lengths) * 99 // 100])


def _demonstrations(
    renderer: Renderer, examples: Sequence[Example], shots: int, seed: int, limit: int
) -> list[Example]:
    """Demonstrations for labelling that leave at least half of the `limit` to the text."""
    each = limit // 2 // max(1, shots)
    chosen = choose(examples, shots, seed, lambda e: renderer.length(e) <= each)
    if len(chosen) < shots:
        logger.warning(
            "%d demonstrations instead of %d: the data has no more of at most %d tokens.",
            len(chosen),
            shots,
            each,
        )
    return chosen


def _check_export(source: Source) -> None:
    """Say before the training, not after it, if the result cannot become a GGUF file."""
    from minisift.export.convert import check_base

    try:
        check_base(source)
    except ValueError as error:
        logger.warning("The labeler will have no GGUF file: %s.", error)


def _check_labels(task: Task, dev: Sequence[Example]) -> None:
    unseen = sorted({s.label for e in dev for s in e.spans} - set(task.names))
    if unseen:
        logger.warning(
            "The dev set has labels that training never shows (%s): their spans count as missed.",
            ", ".join(unseen),
        )


def _report_left_out(left_out: Mapping[str, int]) -> None:
    if told := ", ".join(f"{count} {what}" for what, count in left_out.items() if count):
        logger.warning("To keep prompts within max_length: %s.", told)
