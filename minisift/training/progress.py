"""How far a training is, and its learning curve."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Progress:
    """How far a training is. All of it travels in checkpoints."""

    step: int = 0
    """Updates that were made."""
    loss: float = math.nan
    """Mean loss of a target token, running."""
    seconds: float = 0.0
    tokens: int = 0
    """Target tokens that were trained on."""
    curve: list[dict[str, float]] = field(default_factory=list)
    """Step, seconds and loss, and dev F1 where it was measured."""
    best: float = -1.0
    kept: int = 0
    """The step whose adapter is kept, of those that were evaluated."""
    worse: int = 0
    """Evaluations since then."""
    answers: list[Any] = field(default_factory=list)
    """What was found out at the end of each run."""

    def add(self, loss: float, tokens: int) -> None:
        """Count an update in. loss: its mean over so many target tokens."""
        known = not math.isnan(self.loss)
        self.loss = 0.9 * self.loss + 0.1 * loss if known else loss
        self.tokens += tokens
        self.step += 1

    def note(self, scores: dict[str, float]) -> None:
        """Add a point to the learning curve."""
        seconds, loss = round(self.seconds, 1), round(self.loss, 4)
        self.curve.append({"step": self.step, "seconds": seconds, "loss": loss, **scores})

    def keeps(self, f1: float, chance: float) -> bool:
        """Count an evaluation in; returns whether the adapter of this step is the one to keep.

        It is, unless an earlier one was better by more than chance.
        """
        if f1 < self.best - chance:
            self.worse += 1
            return False
        self.best = max(self.best, f1)
        self.kept, self.worse = self.step, 0
        return True

    def report(self) -> dict[str, Any]:
        """What a labeler tells of its training."""
        return {
            "seconds": round(self.seconds, 1),
            "steps": self.step,
            "loss": round(self.loss, 4),
            "target_tokens": self.tokens,
            "curve": self.curve,
        }

    def postfix(self) -> dict[str, str]:
        """What a progress bar shows."""
        shown = {"loss": f"{self.loss:.3f}"}
        scores = [f"{point['f1']:.3f}" for point in self.curve if "f1" in point]
        return {**shown, "dev F1": " ".join(scores)} if scores else shown
