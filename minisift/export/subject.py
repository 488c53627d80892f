"""What is exported, as values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from minisift.decoding.labelling import Predictor
from minisift.export.merge import MergeInto
from minisift.models.source import Source, resolve
from minisift.publish.description import Description
from minisift.publish.folder import Weights


@dataclass(frozen=True)
class Subject:
    """What is exported: a labeler's description, what labels text as it does, and its weights."""

    description: Description
    predictor: Predictor
    weights: Weights

    @property
    def source(self) -> Source:
        return resolve(self.description.base["model"])

    def adapter(self, scratch: Path) -> Path | None:
        """The folder of its adapter, if it has one; see `Weights.adapter`."""
        return self.weights.adapter(self.description.base["model"], scratch)

    def is_nf4(self, merge_into: MergeInto) -> bool:
        """Whether its adapter merges into weights that go through NF4."""
        return self.description.base["quantize"] == "nf4" and merge_into == "quantized"
