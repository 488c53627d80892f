"""How to train: what `fit` takes as keywords and the command line as flags."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Literal, TypedDict, get_args

from minisift.models.device import Quantization
from minisift.prompting.demonstrations import Sampling
from minisift.prompting.renderer import STRATEGIES, Strategy
from minisift.prompting.template import TemplateKind

Loss = Literal["constrained", "full"]

_RATE, _SIZE = 1.5e-3, 134.5e6
"""The learning rate that was measured, and the parameters of the model that it was measured on."""
_ONWARD, _ENOUGH = 0.4, 450
"""The share of it for an adapter that has learned already and goes on with few sentences, and the sentences
from which on it takes all of it; one run of so many is enough."""
_RUNS = 3
"""Runs whose adapters are averaged, at most."""
_HELD_OUT = 0.1
"""The share of the sentences that a run does without; twice as much where two others learn from them."""
_SPANS, _MOST = 2, 1000
"""Spans of a sentence from which on it tells more than one sentence does, and the sentences that many spans
are worth at most: no more was measured."""


def worth(sentences: int, spans: int) -> float:
    """How many sentences they teach as much as: those of a dense task, as chunking, teach more each."""
    return max(sentences, min(spans / _SPANS, _MOST))


@dataclass(frozen=True)
class Settings:
    """How to train. The command line's flags and `fit`'s keywords are these fields.

    docs/decisions.md tells which defaults were measured and which come from trial runs.
    """

    strategy: Strategy = "mrc"
    """Which tokens the loss counts: "mrc", "src" or "vanilla"."""
    shots: int = 8
    """Demonstrations in a prompt; 0 is plain supervised fine-tuning."""
    loss: Loss | None = None
    """What a response's tokens are compared with: "constrained", what the grammar allows in their place, as in
    labelling, and every fourth with the whole vocabulary; "full", all with that. None: the former, but for
    "vanilla"."""
    sampling: Sampling = "partition"
    """How training prompts are drawn: "partition" or "target", see demonstrations.draws."""
    epochs: float | None = None
    """Times that each sentence is seen; None: 5 for 1,000 sentences and more for fewer, less so
    where they hold more than two spans each (see `worth`)."""
    max_prompts: int | None = None
    """Train on just so many prompts, whatever `epochs` says."""
    runs: int | None = None
    """Trainings from the same start, each of so many epochs in an order of its own, whose adapters are averaged.
    None: up to 3 where the sentences are few (see `averaged`), 1 where `epochs` or `max_prompts` is given."""
    learning_rate: float | None = None
    """None: 1.5e-3 for 135M parameters and fewer, 1.1e-3 for 270M, 2e-4 for 7B; less, down to 0.4 of it, for
    an adapter that has learned already and goes on with fewer than 450 sentences (see `rate`)."""
    lora_rank: int = 16
    """Rank of the adapter's matrices: how much it can learn, and how large it is."""
    lora_dropout: float = 0.0
    """Of the adapter's inputs; on a CPU it takes a third of the time and gains nothing."""
    batch_size: int = 2
    """Prompts an optimiser step, on all devices together."""
    max_length: int = 2048
    """Tokens a prompt may have; demonstrations that would make it longer are dropped."""
    quantize: Quantization | None = "nf4"
    """4-bit weights under the adapter ("nf4"), or None for bf16."""
    gradient_checkpointing: bool | None = None
    """Recompute activations to save memory; None: on a CPU no (a quarter faster), on a GPU yes, but `fit`
    does without where a whole step fits."""
    held_out: float | None = None
    """Share of the sentences to hold out where no dev set is given: of 100 and more (of a dense task, fewer), as
    the dev set (None: a tenth); where several runs are averaged, others in each run, which labels them at its
    end (None: a tenth in each of two, a fifth in each of three and more; half at most). 0: none."""
    evaluations: int = 4
    """Times that the training stops to label dev sentences; of these adapters the last is kept, unless
    an earlier one was better by more than chance. Once, at the end, where what is held out is too little to
    tell adapters apart."""
    patience: int = 2
    """Evaluations after which the training ends, if each was worse than an earlier one by more than
    chance."""
    checkpoint_seconds: float = 60
    """Time between checkpoints, which `resume=True` continues from."""
    template: TemplateKind = "plain"
    """"plain" text, or "chat": the instruct model's own format, demonstrations as turns."""
    seed: int = 0
    """Of all that is drawn: the same seed on the same machine gives the same labeler."""

    def __post_init__(self) -> None:
        problems = [
            f"{name}={getattr(self, name)!r}; fix: {what}"
            for name, good, what in (
                ("strategy", self.strategy in STRATEGIES, f"one of {', '.join(STRATEGIES)}"),
                ("loss", self.loss in (*get_args(Loss), None), _either(Loss)),
                (
                    "loss",
                    self.loss != "constrained" or self.strategy != "vanilla",
                    "'full' with strategy='vanilla', whose texts are under no grammar",
                ),
                ("sampling", self.sampling in get_args(Sampling), _either(Sampling)),
                ("shots", self.shots >= 0, "0 or more"),
                ("epochs", self.epochs is None or 0 < self.epochs < math.inf, "above 0"),
                ("max_prompts", self.max_prompts is None or self.max_prompts > 0, "above 0"),
                ("runs", self.runs is None or self.runs > 0, "above 0"),
                (
                    "learning_rate",
                    self.learning_rate is None or 0 < self.learning_rate < 1,
                    "between 0 and 1",
                ),
                ("lora_rank", self.lora_rank > 0, "above 0"),
                ("lora_dropout", 0 <= self.lora_dropout < 1, "at least 0 and below 1"),
                ("batch_size", self.batch_size > 0, "above 0"),
                ("max_length", self.max_length > 0, "above 0"),
                ("quantize", self.quantize in (*get_args(Quantization), None), "'nf4' or None"),
                ("held_out", 0 <= (self.held_out or 0) < 1, "at least 0 and below 1"),
                ("evaluations", self.evaluations >= 0, "0 or more"),
                ("patience", self.patience > 0, "above 0"),
                ("checkpoint_seconds", self.checkpoint_seconds >= 0, "0 or more"),
                ("template", self.template in get_args(TemplateKind), _either(TemplateKind)),
                ("seed", abs(self.seed) < 2**32, "a number of at most 32 bits"),
            )
            if not good
        ]
        if problems:
            raise ValueError("; ".join(problems))

    def averaged(self, sentences: int, spans: int = 0) -> int:
        """Runs for a data set of so many sentences and spans: the fewer they are, the more of what a run learns
        is chance, and the shorter it is."""
        if self.runs or self.epochs or self.max_prompts:
            return self.runs or 1
        return max(1, min(_RUNS, round(math.sqrt(_ENOUGH / worth(sentences, spans)))))

    def share_held_out(self, runs: int) -> float:
        """The share of the sentences that each of so many runs does without, where there is no dev set."""
        if self.held_out is not None:
            return self.held_out
        return _HELD_OUT * max(1, min(runs - 1, 2))

    def prompts(self, sentences: int, spans: int = 0) -> int:
        """Training prompts of a run for a data set of so many sentences and spans."""
        if self.max_prompts:
            return self.max_prompts
        epochs = self.epochs or 5 * math.sqrt(1000 / worth(sentences, spans))
        seen = self.shots + 1 if self.sampling == "partition" else 1
        return max(1, round(epochs * sentences / seen))

    def rate(self, parameters: int, onward: float | None = None) -> float:
        """The learning rate for a model of so many: falls with the square root of their number.

        onward: the sentences, or what they are `worth`, that an adapter goes on with which has learned
        already; at the rate of a fresh one (None) few of them would cost it more than they teach.
        """
        share = 1 if onward is None else min(1, max(_ONWARD, onward / _ENOUGH))
        rate = _RATE * min(1, math.sqrt(_SIZE / parameters)) * share
        return self.learning_rate or round(rate, 6)

    @property
    def constrains(self) -> bool:
        """Whether the loss is over what the grammar allows."""
        return self.strategy != "vanilla" if self.loss is None else self.loss == "constrained"

    def checkpoints_on(self, device: str) -> bool:
        """Whether activations are recomputed on this kind of device."""
        chosen = self.gradient_checkpointing
        return device != "cpu" if chosen is None else chosen


class Options(TypedDict, total=False):
    """The fields of `Settings` as keywords, any of which may be left out.

    Written a second time, since editors complete and type checkers check only what stands here
    literally. A test holds the two against each other; what each field does is told there.
    """

    strategy: Strategy
    shots: int
    loss: Loss | None
    sampling: Sampling
    epochs: float | None
    max_prompts: int | None
    runs: int | None
    learning_rate: float | None
    lora_rank: int
    lora_dropout: float
    batch_size: int
    max_length: int
    quantize: Quantization | None
    gradient_checkpointing: bool | None
    held_out: float | None
    evaluations: int
    patience: int
    checkpoint_seconds: float
    template: TemplateKind
    seed: int


def make_settings(given: Options) -> Settings:
    """Settings from keywords; raises TypeError that names unknown ones and those there are."""
    known = [field.name for field in fields(Settings)]
    if unknown := sorted(set(given) - set(known)):
        raise TypeError(
            f"unknown option(s) {', '.join(unknown)}; fix: options are {', '.join(known)}"
        )
    return Settings(**given)


def _either(kind: object) -> str:
    """The two values of a Literal, as they are written."""
    return " or ".join(map(repr, get_args(kind)))
