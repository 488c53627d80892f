"""`fit` and `plan`: a training, and what it would take."""

from __future__ import annotations

import logging
import math
import os
import tempfile
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minisift.decoding.labelling import Answer, Plain
from minisift.fitting.judges import left_out
from minisift.fitting.start import Start, adapter_of, digest_of
from minisift.labeler import Labeler
from minisift.models.warm import SHARE
from minisift.prompting.demonstrations import tell_of_fewer
from minisift.prompting.renderer import Row
from minisift.publish.description import describe
from minisift.publish.folder import Weights, check_folder
from minisift.scoring.calibration import expected_temperature
from minisift.scoring.evaluation import Report, score
from minisift.training.settings import Settings, make_settings, worth

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from minisift.training.loop import Training
    from minisift.training.plan import Plan
    from minisift.training.preparation import Prepared
    from minisift.training.progress import Progress
    from minisift.training.settings import Options

logger = logging.getLogger(__name__)

_TELLS = 0.05
"""Where F1 differs by more than this by chance alone, evaluations on the way do not tell adapters apart."""
_ASSUMED = 0.5
"""F1 of a labeler, where nothing tells it."""
_AT_ONCE = 4
"""Sentences that are labelled at once before the training and between its runs: so few take less memory than
it does."""


def fit(
    model: str | os.PathLike[str],
    train_set: Any,
    *,
    dev_set: Any = None,
    output_dir: str | os.PathLike[str] | None = None,
    names: Mapping[str, str] | None = None,
    descriptions: Mapping[str, str] | None = None,
    instruction: str | bool | None = None,
    start: Start = "warm",
    resume: bool = False,
    on_step: Callable[[Progress], None] | None = None,
    **settings: Unpack[Options],
) -> Labeler:
    """Train a labeler by supervised in-context fine-tuning of a QLoRA adapter.

    model: a bundled name ("smollm2-135m", "gemma-3-270m"), hub id, folder or .gguf file.
    train_set: a list of `Example`, a path or a Hugging Face `Dataset`. dev_set likewise: it tells
    whether an adapter on the way was better than the last one, calibrates the scores, and its F1
    travels with the labeler; without one some of the sentences are held out, or each of several runs leaves
    others out (`held_out`).
    output_dir: where to write the adapter folder. names, descriptions and instruction: see
    `task.make_task`; no instruction by default, since trained models do better without.
    start: "warm", half of the adapter that minisift brings for the base model, if it brings one: it has
    read many span tasks; None for a fresh one; or a labeler, or the folder of one, to go on from. resume:
    continue a training that was killed or interrupted, from the checkpoint beside `output_dir`, to
    the adapter that it would have become. on_step: is called after each update with how far the
    training is. settings: the fields of `settings.Settings`, such as strategy="mrc", shots=8, epochs,
    max_prompts, learning_rate, lora_rank, quantize, template, seed.

    Ctrl-C ends the training early: the labeler is returned, and saved, as it is then.

    Raises TypeError for an unknown setting and ValueError for a bad one, before weights load.

    >>> fit("smollm2-135m", "train.conll", output_dir="ner")  # doctest: +SKIP
    """
    chosen = make_settings(settings)
    checkpoint = _checkpoint(output_dir, resume)
    prepared = _prepare(model, train_set, dev_set, chosen, names, descriptions, instruction)
    if checkpoint is not None:
        _tell_of(checkpoint, resume)
    with tempfile.TemporaryDirectory() as scratch:
        adapter = _begin(start, prepared, Path(scratch), output_dir)
        share = SHARE if start == "warm" else 1
        run = _Run(prepared, dev_set is None, checkpoint, on_step, adapter, share)
        if start == "warm" and adapter and not run.has_new:
            run.judge()
    if start not in ("warm", None) and dev_set is None and run.has_new:
        logger.warning(
            "What was held out as the dev set may be among what start has learned, and scores on it too "
            "good; fix: give a dev_set that it has not seen."
        )
    if resume and run.training.resume():
        logger.warning("Continuing at step %d of %s.", run.training.progress.step, checkpoint)
    interrupted = run.train()
    if run.training.is_main:
        if interrupted:
            logger.warning("Interrupted after %d steps.", run.training.progress.step)
        if output_dir is not None:
            run.labeler.save(output_dir)
        if checkpoint is not None and interrupted:
            logger.warning("%s holds the labeler as it is; resume=True continues.", output_dir)
        elif checkpoint is not None:
            checkpoint.unlink(missing_ok=True)
    run.end()
    return run.labeler


class _Run:
    """One run of `fit`: the labeler under way, and the training of its network."""

    def __init__(
        self,
        prepared: Prepared,
        is_held_out: bool,
        checkpoint: Path | None,
        on_step: Callable[[Progress], None] | None,
        start: Path | None,
        share: float,
    ) -> None:
        from minisift.engines.transformers import TransformersEngine
        from minisift.models.loading import longest_input
        from minisift.training.dev_set import chance, evaluation_sample
        from minisift.training.loop import Training
        from minisift.training.loss import CausalObjective
        from minisift.training.network import Network

        settings, source, renderer = prepared.settings, prepared.source, prepared.renderer
        self._dev, self._folds, shown = prepared.dev, prepared.folds, prepared.shown
        tell_of_fewer(shown, settings.shots, settings.max_length)
        held_out = list(chain(prepared.dev if is_held_out else [], *prepared.folds))
        self.has_new = bool(prepared.dev or held_out)
        plan = prepared.plan()
        if not plan.fits:
            logger.warning("This may not fit; minisift.plan tells what would help.\n%s", plan)
        spans = sum(len(example.spans) for example in prepared.examples)
        self._worth = worth(len(prepared.examples), spans)
        self._sample = evaluation_sample(prepared.dev, settings.seed)
        by_chance = chance(self._sample)
        # too few to tell adapters apart are labelled once, like what one of several runs left out
        self._is_once = is_held_out and bool(prepared.dev) and by_chance > _TELLS
        if self._is_once:
            self._sample, self._folds = prepared.dev, [prepared.dev]
        self._said: list[Plain] = []
        settings = replace(
            settings,
            runs=len(prepared.runs),
            learning_rate=settings.rate(plan.parameters, self._worth if start else None),
            gradient_checkpointing=plan.gradient_checkpointing,
            evaluations=min(settings.evaluations, 1) if self._is_once else settings.evaluations,
        )
        self._network = Network(source, settings, plan.unpacked, start, share)
        self._engine = TransformersEngine(self._network, renderer.tokenizer, longest_input(source))
        begun = digest_of(start)
        made = {
            "settings": asdict(settings),
            "seed": settings.seed,
            "start": begun,
            "sentences": len(prepared.examples),
            "held_out": len(held_out),
            "prompts": len(prepared.rows),
            "left_out": prepared.left_out,
        }
        base = source.described(self._network.quantized)
        description = describe(renderer, prepared.rendered, shown, base, made)
        self.labeler = Labeler(description, self._engine, Weights(self._network))
        self._reaches = None if start is None else _ASSUMED
        self._judges = left_out(renderer, prepared.rendered, shown, settings.seed)
        self.training: Training[Row] = Training(
            CausalObjective(self._network()),
            prepared.runs,
            settings,
            after_run=self._label_left_out if any(prepared.folds) else None,
            evaluate=self._evaluate if self._sample and settings.evaluations else None,
            chance=by_chance,
            checkpoint=checkpoint,
            tokens=plan.tokens,
            identity=f"{source.fingerprint} {begun}",
            on_step=on_step,
        )

    def judge(self) -> None:
        """Label some training sentences before anything has learned from them: no other F1 will be known.

        So few at once, and so little of what is freed kept, that the training takes more memory.
        """
        from minisift.training import sharding
        from minisift.training.process import keep_freed_memory

        if self._judges and self.training.is_main and not sharding.is_asked_for():
            keep_freed_memory(False)
            with self._ready():
                found = list(self.labeler.stream(self._judges, batch_size=_AT_ONCE))
            self._reaches = score(self._judges, found).f1
            logger.info("F1 %.3f before the training.", self._reaches)

    def _evaluate(self) -> float:
        """F1 of the network as it is on a sample of the dev set."""
        if self._is_once:
            self._said = self._label_left_out(0)
            spans = [Answer.from_plain(answer).spans for answer in self._said]
            return score(self._sample, spans).f1
        with self._ready():
            return self.labeler.evaluate(self._sample).f1

    def _label_left_out(self, run: int) -> list[Plain]:
        """What a run that has ended says to the sentences that it did without."""
        self.labeler.lean(_ASSUMED)  # until these tell
        with self._ready():
            fold = self._folds[run]
            answers = self.labeler.answers(fold, batch_size=_AT_ONCE) if fold else []
        return [answer.to_plain() for answer in answers]

    def _ready(self) -> AbstractContextManager[None]:
        """Within it the network labels, as it is."""
        from minisift.models.loading import settled
        from minisift.training import sharding

        self._engine.forget()
        # weights that are sharded are on GPUs, which label as they train
        return nullcontext() if sharding.is_asked_for() else settled(self._network())

    def train(self) -> bool:
        """Train, calibrate, and describe both; returns whether the training was interrupted."""
        from minisift.models.loading import settle
        from minisift.training import sharding

        report = self.training.run()
        self.labeler.description = self.labeler.description.with_made(training=report)
        if not sharding.is_asked_for():
            settle(self._network())
        self._engine.forget()
        interrupted = bool(report.get("stopped") == "interrupted")
        told: list[list[Plain]] = self.training.progress.answers
        can_label = not interrupted and (self.training.is_main or sharding.is_asked_for())
        if self._is_once and can_label:
            told = [self._said or self._label_left_out(0)]
        answers = [Answer.from_plain(answer) for run in told for answer in run]
        labelled = list(chain.from_iterable(self._folds[: len(told)]))
        best, reaches = self.training.progress.best, self._reaches
        if labelled:
            reaches = score(labelled, [answer.spans for answer in answers]).f1
        elif best >= 0:
            reaches = best
        if reaches is not None:
            self.labeler.lean(reaches)
        expected = expected_temperature(self._worth, _ASSUMED if reaches is None else reaches)
        self.labeler.description = replace(self.labeler.description, temperature=expected)
        if labelled:
            self._note(self.labeler.calibrate(labelled, expected=expected, answers=answers))
        elif self._dev and can_label:
            self._note(self.labeler.calibrate(self._dev, expected=expected, progress=True))
        return interrupted

    def _note(self, report: Report) -> None:
        """Note the scores on sentences that were left out."""
        self.labeler.report = report
        scores = {"dev": report.to_dict()}
        self.labeler.description = self.labeler.description.with_made(scores=scores)
        logger.info(
            "dev F1 %.3f; scores are off by %.3f on average, at temperature %.2f.",
            report.f1,
            report.calibration_error,
            self.labeler.description.temperature,
        )

    def end(self) -> None:
        """Let go of sharded weights, which the processes can only compute with together."""
        from minisift.training import sharding

        if sharding.is_asked_for():
            self._network.replace(self.training.weights())
            self._engine.forget()


def plan(
    model: str | os.PathLike[str],
    train_set: Any,
    *,
    dev_set: Any = None,
    output_dir: str | os.PathLike[str] | None = None,
    names: Mapping[str, str] | None = None,
    descriptions: Mapping[str, str] | None = None,
    instruction: str | bool | None = None,
    start: Start = "warm",
    resume: bool = False,
    device: str | None = None,
    memory: float | None = None,
    **settings: Unpack[Options],
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
    chosen = make_settings(settings)
    _checkpoint(output_dir, resume)
    prepared = _prepare(model, train_set, dev_set, chosen, names, descriptions, instruction, device)
    with tempfile.TemporaryDirectory() as scratch:
        _begin(start, prepared, Path(scratch), output_dir)

    from minisift.models.device import default_device
    from minisift.training.plan import with_advice

    available = None if memory is None else int(memory * 1e9)
    if available is None and prepared.device != default_device():
        raise ValueError(
            f"device={device!r} is not here; fix: say how many gigabytes of memory= it has"
        )

    def planned(changed: Settings) -> Plan:
        return prepared.plan(changed, available)

    return with_advice(planned(prepared.settings), prepared.settings, planned)


def _begin(
    start: Start, prepared: Prepared, scratch: Path, output_dir: str | os.PathLike[str] | None
) -> Path | None:
    """The adapter that a training starts from. Raises ValueError where what comes of it would replace it."""
    adapter = adapter_of(start, prepared.source, scratch, prepared.settings.lora_rank)
    if adapter and output_dir and Path(output_dir).exists() and adapter.samefile(output_dir):
        raise ValueError(
            f"output_dir={os.fspath(output_dir)!r} is what the training starts from; fix: another folder"
        )
    return adapter


def _prepare(
    model: str | os.PathLike[str],
    train_set: Any,
    dev_set: Any,
    settings: Settings,
    names: Mapping[str, str] | None,
    descriptions: Mapping[str, str] | None,
    instruction: str | bool | None,
    device: str | None = None,
) -> Prepared:
    """`preparation.prepare`, with a warning if what comes of it cannot become a GGUF file."""
    from minisift.training.preparation import prepare

    prepared = prepare(
        model,
        train_set,
        dev_set,
        settings,
        names=names,
        descriptions=descriptions,
        instruction=instruction,
        device=device,
    )
    from minisift.export.convert import check_base

    try:
        check_base(prepared.source)
    except ValueError as error:
        logger.warning("The labeler will have no GGUF file: %s.", error)
    return prepared


def _checkpoint(output_dir: str | os.PathLike[str] | None, resume: bool) -> Path | None:
    """Where the state of the training lies while it runs: beside the adapter folder.

    Raises OSError if that folder could not be written.
    """
    if output_dir is None:
        if resume:
            raise ValueError("resume=True without output_dir; fix: give that of the training")
        return None
    check_folder(output_dir)
    folder = Path(output_dir)
    return folder.with_name(f"{folder.name}.checkpoint")


def _tell_of(checkpoint: Path, resume: bool) -> None:
    """Say what becomes of a checkpoint, or that there is none."""
    if resume and not checkpoint.is_file():
        logger.warning("%s: nothing to continue; the training starts at its beginning.", checkpoint)
    if not resume and checkpoint.is_file():
        logger.warning(
            "%s: of an unfinished training, is replaced (resume=True continues).", checkpoint
        )
