"""`fit` and `prompt`: a labeler from a model and labelled sentences."""

from __future__ import annotations

import logging
import math
import os
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minisift.data import Example
from minisift.demonstrations import choose
from minisift.description import Description, checksum
from minisift.engines import Engine
from minisift.labeler import Labeler, as_examples, some_examples
from minisift.models import Source
from minisift.prompts import Renderer, Row, Template, Tokenizer, plain_template
from minisift.storage import check_folder, versions
from minisift.task import Task, make_task

if TYPE_CHECKING:
    from minisift.memory import Plan
    from minisift.settings import Settings

logger = logging.getLogger(__name__)

_SHORTEST_WINDOW = 48
"""Tokens that a text may have at least before it is labelled in windows."""
_FEW, _MOST_HELD_OUT, _SCARCE = 100, 200, 5
"""Sentences from which on some are held out, how many at most, and how many a label keeps."""
_EVALUATED = 100
"""Dev sentences that are labelled at each evaluation in training."""


def fit(
    model: str | os.PathLike[str],
    train_set: Any,
    *,
    dev_set: Any = None,
    output_dir: str | os.PathLike[str] | None = None,
    names: Mapping[str, str] | None = None,
    descriptions: Mapping[str, str] | None = None,
    instruction: str | bool | None = None,
    resume: bool = False,
    **settings: Any,
) -> Labeler:
    """Train a labeler by supervised in-context fine-tuning of a QLoRA adapter.

    model: a bundled name ("smollm2-135m", "gemma-3-270m"), hub id, folder or .gguf file.
    train_set: a list of `Example`, a path or a Hugging Face `Dataset`. dev_set likewise: it tells
    whether an adapter on the way was better than the last one, calibrates the scores, and its F1
    travels with the labeler; without one a tenth of 100 and more sentences is held out (`held_out`).
    output_dir: where to write the adapter folder. names, descriptions and instruction: see `task.make_task`; no instruction by
    default, since trained models do better without. resume: continue a training that was killed or
    interrupted, from the checkpoint beside `output_dir`, to the adapter that it would have become.
    settings: the fields of `settings.Settings`, such as strategy="mrc", shots=8, epochs,
    max_prompts, learning_rate, lora_rank, quantize, template, seed.

    Ctrl-C ends the training early: the labeler is returned, and saved, as it is then.

    Raises TypeError for an unknown setting and ValueError for a bad one, before weights load.

    >>> fit("smollm2-135m", "train.conll", output_dir="ner")  # doctest: +SKIP
    """
    prepared = _prepare(
        model,
        train_set,
        dev_set=dev_set,
        output_dir=output_dir,
        names=names,
        descriptions=descriptions,
        instruction=instruction,
        resume=resume,
        settings=settings,
    )
    examples, dev, source = prepared.examples, prepared.dev, prepared.source
    renderer, rows, chosen = prepared.renderer, prepared.rows, prepared.settings
    checkpoint = prepared.checkpoint
    if checkpoint is not None:
        _tell(checkpoint, resume)

    from minisift import models, sharding
    from minisift.engines.transformers import TransformersEngine
    from minisift.training import Training

    demonstrations = _demonstrations(
        renderer, examples, chosen.shots, chosen.seed, chosen.max_length
    )
    planned = prepared.plan(chosen)
    chosen = replace(
        chosen,
        learning_rate=chosen.rate(planned.parameters),
        gradient_checkpointing=planned.gradient_checkpointing,
    )
    if not planned.fits:
        logger.warning("This may not fit; minisift.plan tells what would help.\n%s", planned)

    def loaded(where: str | None = None) -> tuple[Any, str | None]:
        base, quantized = models.load_base(source, chosen.quantize, where)
        if planned.unpacked:
            models.unpack(base)
        lora = chosen.lora_rank, chosen.lora_dropout, chosen.seed
        return models.add_lora(base, *lora), quantized

    network, quantized = loaded("cpu" if sharding.wanted() else None)

    def get_model() -> Any:
        """After a training of sharded weights, all of them in the process that asks."""
        nonlocal network
        if network is None:
            network, _ = loaded()
            unknown = network.load_state_dict(trained, strict=False).unexpected_keys
            assert not unknown, unknown
            models.settle(network)
        return network

    base = {"model": source.name, "fingerprint": source.fingerprint, "quantize": quantized}
    made: dict[str, Any] = {
        "settings": asdict(chosen),
        "seed": chosen.seed,
        "sentences": len(examples),
        "held_out": 0 if dev_set is not None else len(dev),
        "prompts": len(rows),
        "left_out": prepared.left_out,
    }
    engine = TransformersEngine(get_model, renderer.tokenizer, models.longest_input(source))
    labeler = _labeler(renderer, examples, demonstrations, base, made, engine, get_model)
    sample = evaluated(dev, chosen.seed)

    def evaluate() -> float:
        engine.forget()
        return labeler.evaluate(sample).f1

    training = Training(
        network,
        rows,
        chosen,
        evaluate=evaluate if sample and chosen.evaluations else None,
        chance=chance(sample),
        checkpoint=checkpoint,
        tokens=planned.tokens,
        identity=source.fingerprint,
    )
    if resume and training.resume():
        logger.warning("Continuing at step %d of %s.", training.progress.step, checkpoint)
    made["training"] = training.run()
    interrupted = made["training"].get("stopped") == "interrupted"
    if not sharding.wanted():
        models.settle(network)
    engine.forget()
    if dev and not interrupted and (training.is_main or sharding.wanted()):
        made["scores"] = {"dev": _calibrated(labeler, dev)}
    if training.is_main:
        if interrupted:
            logger.warning("Interrupted after %d steps.", training.progress.step)
        if output_dir is not None:
            labeler.save(output_dir)
        if checkpoint is not None and interrupted:
            logger.warning("%s holds the labeler as it is; resume=True continues.", output_dir)
        elif checkpoint is not None:
            checkpoint.unlink(missing_ok=True)
    if sharding.wanted():
        trained, network = training.weights(), None
        engine.forget()
    return labeler


def plan(
    model: str | os.PathLike[str],
    train_set: Any,
    *,
    dev_set: Any = None,
    output_dir: str | os.PathLike[str] | None = None,
    names: Mapping[str, str] | None = None,
    descriptions: Mapping[str, str] | None = None,
    instruction: str | bool | None = None,
    resume: bool = False,
    device: str | None = None,
    memory: float | None = None,
    **settings: Any,
) -> Plan:
    """The memory that `fit` would take if it were given the same, before any weight is loaded.

    device: "cuda", "mps" or "cpu"; this machine's by default. memory: gigabytes there are; those
    of this machine by default. `print(plan(...))` tells what fits and, if it does not, what to
    change. What `fit` would refuse before it loads weights is refused here; nothing is written.

    >>> print(plan("smollm2-135m", "train.conll", device="cuda", memory=8))  # doctest: +SKIP
    """
    if device not in (None, "cuda", "mps", "cpu"):
        raise ValueError(f"device={device!r}; fix: 'cuda', 'mps' or 'cpu'")
    if memory is not None and not 0 < memory < math.inf:
        raise ValueError(f"memory={memory!r}; fix: a number of gigabytes above 0")
    prepared = _prepare(
        model,
        train_set,
        dev_set=dev_set,
        output_dir=output_dir,
        names=names,
        descriptions=descriptions,
        instruction=instruction,
        resume=resume,
        settings=settings,
        device=device,
    )

    from minisift import models
    from minisift.memory import with_advice

    available = None if memory is None else int(memory * 1e9)
    if available is None and prepared.device != models.device():
        raise ValueError(
            f"device={device!r} is not here; fix: say how many gigabytes of memory= it has"
        )

    def planned(changed: Settings) -> Plan:
        return prepared.plan(changed, available)

    return with_advice(planned(prepared.settings), prepared.settings, planned)


@dataclass(frozen=True)
class _Prepared:
    """All that is known of a training before weights load: what `fit` trains on and `plan` counts.

    device: where it runs, "cuda", "mps" or "cpu".
    """

    settings: Settings
    device: str
    source: Source
    examples: Sequence[Example]
    dev: Sequence[Example]
    checkpoint: Path | None
    renderer: Renderer
    rows: Sequence[Row]
    left_out: Mapping[str, int]

    def plan(self, settings: Settings, available: int | None = None) -> Plan:
        """The memory that it takes under its own settings, or with some of them changed."""
        from minisift import models
        from minisift.batches import training_rows
        from minisift.memory import estimate

        rows = self.rows
        if settings != self.settings:
            rows, _ = training_rows(self.renderer, self.examples, settings)
        config = models.configuration(self.source)
        return estimate(config, rows, settings, self.device, available)


def _prepare(
    model: str | os.PathLike[str],
    train_set: Any,
    *,
    dev_set: Any,
    output_dir: str | os.PathLike[str] | None,
    names: Mapping[str, str] | None,
    descriptions: Mapping[str, str] | None,
    instruction: str | bool | None,
    resume: bool,
    settings: dict[str, Any],
    device: str | None = None,
) -> _Prepared:
    """Check and make ready what `fit` was given; cheap checks come first. device: None for here."""
    from minisift.settings import make_settings

    chosen = make_settings(settings)
    checkpoint = _checkpoint(output_dir, resume)
    examples = as_examples(train_set)
    task = make_task(examples, names=names, descriptions=descriptions, instruction=instruction)

    from minisift import models

    source = models.resolve(model)
    if dev_set is not None:
        dev = some_examples(dev_set)
        _check_labels(task, dev)
    else:
        examples, dev = hold_out(examples, chosen.held_out, chosen.seed)

    from minisift.batches import training_rows
    from minisift.tokenizer import load_tokenizer

    _check_export(source)
    renderer = _renderer(task, chosen.template, load_tokenizer(source.weights))
    rows, left_out = training_rows(renderer, examples, chosen)
    _report_left_out(left_out)
    here = models.device()
    if device in (None, here):
        chosen = replace(chosen, quantize=models.usable(chosen.quantize))
    return _Prepared(
        chosen, device or here, source, examples, dev, checkpoint, renderer, rows, left_out
    )


def hold_out(
    examples: Sequence[Example], share: float, seed: int
) -> tuple[Sequence[Example], Sequence[Example]]:
    """The examples less a random share of them, at most 200, and that share.

    Fewer than 100 examples stay whole; so does what a label needs to keep five examples.
    """
    if len(examples) < _FEW or not share:
        return examples, []
    left = Counter(label for e in examples for label in {s.label for s in e.spans})
    wanted = min(round(share * len(examples)), _MOST_HELD_OUT)
    order = list(range(len(examples)))
    random.Random(seed).shuffle(order)
    taken: list[int] = []
    for index in order:
        labels = {span.label for span in examples[index].spans}
        if len(taken) < wanted and all(left[label] > _SCARCE for label in labels):
            taken.append(index)
            left.subtract(labels)
    logger.warning(
        "No dev set: %d of %d sentences are held out as one (held_out=0 trains on all).",
        len(taken),
        len(examples),
    )
    held = set(taken)
    return (
        [example for index, example in enumerate(examples) if index not in held],
        [examples[index] for index in taken],
    )


def evaluated(dev: Sequence[Example], seed: int) -> Sequence[Example]:
    """The dev sentences that are labelled at each evaluation in training."""
    return random.Random(seed).sample(dev, min(len(dev), _EVALUATED))


def chance(sample: Sequence[Example]) -> float:
    """By how much two F1 on these sentences may differ by chance alone: two standard errors of a
    difference, where one F1's is that of a share of as many spans, at most sqrt(1 / spans) / 2.
    """
    spans = sum(len(example.spans) for example in sample)
    return math.sqrt(2 / max(1, spans))


def _checkpoint(output_dir: str | os.PathLike[str] | None, resume: bool) -> Path | None:
    """Where the state of the training lies while it runs: beside the adapter folder.

    Raises OSError if that could not be written.
    """
    if output_dir is None:
        if resume:
            raise ValueError("resume=True without output_dir; fix: give that of the training")
        return None
    check_folder(output_dir)
    folder = Path(output_dir)
    there = next(parent for parent in folder.absolute().parents if parent.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise OSError(f"{folder}: {there} is no folder to write to; fix: give another output_dir")
    return folder.with_name(f"{folder.name}.checkpoint")


def _tell(checkpoint: Path, resume: bool) -> None:
    """Say what becomes of a checkpoint, or that there is none."""
    if resume and not checkpoint.is_file():
        logger.warning("%s: nothing to continue; the training starts at its beginning.", checkpoint)
    if not resume and checkpoint.is_file():
        logger.warning(
            "%s: of an unfinished training, is replaced (resume=True continues).", checkpoint
        )


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
    renderer = _renderer(task, template, engine.tokenizer)
    demonstrations = _demonstrations(renderer, examples, shots, seed, engine.context // 2)
    base = {"model": source.name, "fingerprint": source.fingerprint, "quantize": quantize}
    made = {"shots": shots, "seed": seed}
    return _labeler(renderer, examples, demonstrations, base, made, engine, get_model)


def _calibrated(labeler: Labeler, dev: Sequence[Example]) -> dict[str, Any]:
    """Calibrate a labeler; returns its scores on the dev set."""
    report = labeler.calibrate(dev, progress=True)
    logger.info(
        "dev F1 %.3f; scores are off by %.3f on average, at temperature %.2f.",
        report.f1,
        report.calibration_error,
        labeler.description.temperature,
    )
    return report.to_dict()


def _renderer(task: Task, template: str, tokenizer: Tokenizer) -> Renderer:
    return Renderer(task, _template(template, tokenizer, task.instruction), tokenizer)


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
