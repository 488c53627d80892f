"""Scores of predicted against gold spans: exact range and label, micro-averaged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from minisift.data.examples import Example, Span
from minisift.scoring.calibration import expected_calibration_error
from minisift.scoring.errors import Errors, compare


@dataclass(frozen=True)
class Score:
    """Counts of one label, or of all: spans in the gold data, predicted, and in both."""

    gold: int = 0
    predicted: int = 0
    correct: int = 0

    @property
    def precision(self) -> float:
        """Share of the predicted spans that are right; 0.0 where none is predicted."""
        return self.correct / self.predicted if self.predicted else 0.0

    @property
    def recall(self) -> float:
        """Share of the gold spans that are found; 0.0 where there is none."""
        return self.correct / self.gold if self.gold else 0.0

    @property
    def f1(self) -> float:
        """Harmonic mean of the two; 0.0 where nothing is right."""
        return 2 * self.correct / (self.gold + self.predicted) if self.correct else 0.0

    def to_dict(self) -> dict[str, float]:
        rates = {name: round(getattr(self, name), 4) for name in ("precision", "recall", "f1")}
        return {**rates, "gold": self.gold, "predicted": self.predicted, "correct": self.correct}


@dataclass(frozen=True)
class Report:
    """Micro scores (as `precision`, `recall`, `f1`), those of each label, and counts.

    The same as seqeval's strict IOB2 scores on tags of the same spans.
    """

    micro: Score
    per_label: dict[str, Score]
    sentences: int
    exact: int
    """Sentences whose spans are all right and complete."""
    calibration_error: float = 0.0
    """Expected calibration error of the scores: 0.05 means that they are off by 0.05 on average."""
    counts: Counter[str] = field(default_factory=Counter, compare=False)
    """What labelling these texts had to leave out or cut; not kept in files."""
    pairs: tuple[tuple[Example, Sequence[Span]], ...] = field(default=(), repr=False, compare=False)
    """The texts with what was predicted; not kept in files."""

    @property
    def precision(self) -> float:
        return self.micro.precision

    @property
    def recall(self) -> float:
        return self.micro.recall

    @property
    def f1(self) -> float:
        return self.micro.f1

    def errors(self) -> Errors:
        """What went wrong: kinds, confusion between labels, examples; `print` shows a table.

        Raises ValueError for a report that was read from a file: the texts are not in it.
        """
        if len(self.pairs) != self.sentences:
            raise ValueError("a saved report holds no texts; fix: evaluate again")
        return compare(self.pairs)

    def to_dict(self) -> dict[str, Any]:
        return {
            "micro": self.micro.to_dict(),
            "per_label": {label: score.to_dict() for label, score in self.per_label.items()},
            "sentences": self.sentences,
            "exact": self.exact,
            "calibration_error": self.calibration_error,
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Report:
        """The inverse of `to_dict`."""

        def counts(row: dict[str, Any]) -> Score:
            return Score(row["gold"], row["predicted"], row["correct"])

        per_label = {label: counts(row) for label, row in content["per_label"].items()}
        return cls(
            counts(content["micro"]),
            per_label,
            content["sentences"],
            content["exact"],
            content["calibration_error"],
        )

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"

    def __str__(self) -> str:
        rows = [*self.per_label.items(), ("micro", self.micro)]
        width = max(len(label) for label, _ in rows)
        table = [f"{'label':{width}}  precision  recall     F1   gold  predicted"]
        for label, score in rows:
            table.append(
                f"{label:{width}}  {score.precision:9.3f}  {score.recall:6.3f}  {score.f1:5.3f}"
                f"  {score.gold:5}  {score.predicted:9}"
            )
        table.append(
            f"{self.exact} of {self.sentences} sentences all right; "
            f"calibration error {self.calibration_error:.3f}"
        )
        return "\n".join(table)


def score(
    examples: Sequence[Example],
    predictions: Iterable[Sequence[Span]],
    counts: Counter[str] | None = None,
) -> Report:
    """Compare predicted spans with the examples' own, sentence by sentence.

    counts: what labelling them left out, for the report.
    """
    gold: Counter[str] = Counter()
    predicted: Counter[str] = Counter()
    correct: Counter[str] = Counter()
    exact = 0
    scores: list[float] = []
    hits: list[bool] = []
    pairs: list[tuple[Example, Sequence[Span]]] = []
    for example, spans in zip(examples, predictions, strict=True):
        pairs.append((example, spans))
        right = {(s.start, s.end, s.label) for s in example.spans}
        found = {(s.start, s.end, s.label) for s in spans}
        gold.update(label for *_, label in right)
        predicted.update(label for *_, label in found)
        correct.update(label for *_, label in right & found)
        exact += right == found
        scores += [s.score for s in spans]
        hits += [(s.start, s.end, s.label) in right for s in spans]
    labels = sorted(set(gold) | set(predicted))
    return Report(
        Score(gold.total(), predicted.total(), correct.total()),
        {label: Score(gold[label], predicted[label], correct[label]) for label in labels},
        len(examples),
        exact,
        expected_calibration_error(scores, hits),
        Counter() if counts is None else counts,
        tuple(pairs),
    )
