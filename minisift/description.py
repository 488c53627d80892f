"""What a labeler says of itself: `labeler.json`, and the same JSON inside a GGUF file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from minisift.data import Example, Span
from minisift.prompts import Template
from minisift.task import Task

FORMAT = 1
"""Version of the file format and of the prompt and answer format together."""
FILE = "labeler.json"
KEY = "minisift.labeler"
"""The GGUF metadata key."""
VERIFICATION = "minisift.verification"
"""The GGUF metadata key of what its export found."""


_KEYS = frozenset(
    [
        "format",
        "labels",
        "names",
        "descriptions",
        "instruction",
        "template",
        "demonstrations",
        "base",
        "prefix",
        "window",
        "temperature",
    ]
)


class DescriptionError(ValueError):
    """A labeler's description that is damaged, or not of this version or model."""


@dataclass(frozen=True)
class Description:
    """All that a labeler needs besides weights, and how it was made.

    prefix: checksum of the demonstration prefix's token ids; another tokenizer, or an edited
    label name or demonstration, gives another. base: model name, fingerprint and quantization.
    window: tokens that windows of a long text are filled to, and that none exceeds: the usual and
    the largest length in training. temperature: what logits are divided by for scores.
    made: versions, settings, seed, scores and counts, for reading only; JSON values whose keys
    lie beside the rest in the file.
    """

    task: Task
    template: Template
    demonstrations: Sequence[Example]
    base: dict[str, Any]
    prefix: str
    window: tuple[int, int] = (64, 256)
    temperature: float = 1.0
    made: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        content = {
            "format": FORMAT,
            "labels": list(self.task.names),
            "names": dict(self.task.names),
            "descriptions": dict(self.task.descriptions),
            "instruction": self.task.instruction,
            "template": asdict(self.template),
            "demonstrations": [_pack(example) for example in self.demonstrations],
            "base": self.base,
            "prefix": self.prefix,
            "window": list(self.window),
            "temperature": self.temperature,
            **self.made,
        }
        return json.dumps(content, ensure_ascii=False, indent=1)

    @classmethod
    def from_json(cls, text: str, place: str) -> Description:
        """Raises DescriptionError, naming the place, for another version or damaged content."""
        try:
            content = json.loads(text)
            version = content["format"]
        except (ValueError, KeyError, TypeError) as error:
            raise DescriptionError(
                f"{place}: not a labeler's description ({error!r}); fix: save or export it again"
            ) from None
        if version != FORMAT:
            raise DescriptionError(
                f"{place}: format version {version!r}, this minisift reads version {FORMAT}; fix: "
                "install the minisift that made it "
                f"({content.get('versions', {}).get('minisift', 'unknown')}), or fit again"
            )
        try:
            made = {key: value for key, value in content.items() if key not in _KEYS}
            return cls(
                Task(content["names"], content["descriptions"], content["instruction"]),
                Template(**content["template"]),
                [_unpack(packed) for packed in content["demonstrations"]],
                content["base"],
                content["prefix"],
                tuple(content.get("window", (64, 256))),
                content.get("temperature", 1.0),
                made,
            )
        except (ValueError, KeyError, TypeError) as error:
            raise DescriptionError(
                f"{place}: damaged ({error!r}); fix: save or export it again"
            ) from None


def checksum(ids: Sequence[int]) -> str:
    return hashlib.sha256(json.dumps(list(ids)).encode()).hexdigest()


def _pack(example: Example) -> dict[str, Any]:
    return {
        "text": example.text,
        "spans": [[span.start, span.end, span.label] for span in example.spans],
        "words": [list(word) for word in example.words],
    }


def _unpack(packed: dict[str, Any]) -> Example:
    return Example(
        packed["text"],
        tuple(Span(*span) for span in packed["spans"]),
        tuple((start, end) for start, end in packed["words"]),
    )
