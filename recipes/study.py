"""What the paper's experiments run: tasks, systems, prompts. Nothing is computed here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import absa_restaurants
import chunking_conll2000
import ner_conll2003
import triggers_ace2005

from minisift.prompting.renderer import STRATEGIES

TASKS: dict[str, tuple[Any, Sequence[str]]] = {
    "ner": (ner_conll2003, ["ner-conll2003"]),
    "absa": (absa_restaurants, ["absa-rest14"]),
    "chunking": (chunking_conll2000, ["chunking-conll2000"]),
    "triggers": (triggers_ace2005, ["triggers", "triggers-casie"]),
}
"""The recipe that reads each task's data, and the folders that may hold it."""
SHOTS = 8
PARAPHRASES = {
    "short": "Find the spans and name their category.",
    "paraphrased": (
        "Read the text. Copy every stretch of it that one of the kinds below describes, each on its "
        "own line, a colon and the kind behind it; finish with a blank line. Kinds: {names}."
    ),
    "wrong": (
        "Say whether the writer of this film review liked the film. Answer with a number from 1 to 5."
    ),
}


@dataclass(frozen=True)
class Run:
    """What is trained, and how it is asked: the key of a row."""

    task: str
    system: str
    """"icl", "sft", a strategy, "tags causal", "tags twice", "tags half", "tags none" or "encoder"."""
    model: str = "instruct"
    """Which of the given models: "instruct", "base" or "encoder"."""
    shots: int = SHOTS
    instruction: bool = False
    """Whether the prompts of the training (of "icl": those of labelling) begin with one."""
    template: str = "plain"
    asked_shots: int | None = None
    """Demonstrations in labelling, if not as many as in training."""
    asked: str | None = None
    """The instruction in labelling, if not as in training: "none", "long" or one of PARAPHRASES."""
    constrained: bool = True
    seed: int = 0
    warm: bool = False
    """Whether it goes on from the adapter that minisift brings for the model."""

    @property
    def shown_shots(self) -> int:
        return self.shots if self.asked_shots is None else self.asked_shots

    @property
    def shown_instruction(self) -> str:
        return self.asked or ("long" if self.instruction else "none")

    @property
    def trained(self) -> Run:
        """The training alone: runs that share it are labelled by the same model."""
        return replace(self, asked_shots=None, asked=None, constrained=True)


def run_of(row: Mapping[str, Any]) -> Run:
    """What a row tells of; rows may be older than a field."""
    return Run(**{field.name: row[field.name] for field in fields(Run) if field.name in row})


def baselines(task: str) -> Iterator[Run]:
    yield Run(task, "icl", shots=0, instruction=True)
    yield Run(task, "icl", instruction=True)
    yield Run(task, "sft", shots=0)
    for strategy in STRATEGIES:
        yield Run(task, strategy)
    yield Run(task, "mrc", instruction=True)
    for mask in ("causal", "twice", "half", "none"):
        yield Run(task, f"tags {mask}", shots=0)
    yield Run(task, "encoder", "encoder", shots=0)


def shots(task: str) -> Iterator[Run]:
    for model in ("instruct", "base"):
        for count in (0, 1, 2, 4, 8, 16):
            yield Run(task, "icl", model, count, instruction=True)
    for count in (0, 1, 2, 4, 8, 16):
        yield Run(task, "icl", "instruct", count, instruction=True, template="chat")
    for count in (0, 1, 2, 4, 8, 16):
        yield Run(task, "icl", shots=count, warm=True)
    for warm in (False, True):
        yield Run(task, "sft", shots=0, warm=warm)
        for count in (1, 2, 4, 8, 16):
            yield Run(task, "mrc", shots=count, warm=warm)
    for strategy in ("vanilla", "src"):
        for count in (1, 2, 4, 8):
            yield Run(task, strategy, shots=count)


def instructions(task: str) -> Iterator[Run]:
    for trained in (False, True):
        for asked in ("none", "long", *PARAPHRASES):
            usual = asked == ("long" if trained else "none")
            yield Run(task, "mrc", instruction=trained, asked=None if usual else asked)


def length(task: str) -> Iterator[Run]:
    for trained in (False, True):
        for count in (0, 2, 4, 8, 16, 32, 64):
            other = None if count == SHOTS else count
            yield Run(task, "mrc", instruction=trained, asked_shots=other)


def decoding(task: str) -> Iterator[Run]:
    for constrained in (True, False):
        yield Run(task, "icl", instruction=True, constrained=constrained)
        yield Run(task, "mrc", constrained=constrained)


EXPERIMENTS: dict[str, Callable[[str], Iterator[Run]]] = {
    "baselines": baselines,
    "shots": shots,
    "instructions": instructions,
    "length": length,
    "decoding": decoding,
}
