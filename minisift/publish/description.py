"""What a labeler says of itself: `labeler.json`, and the same JSON inside a GGUF file."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from minisift.data.examples import Example, Span
from minisift.decoding.labelling import Predictor
from minisift.decoding.protocols import Engine
from minisift.decoding.windows import window_sizes
from minisift.exceptions import DescriptionError
from minisift.prompting.renderer import RenderedExample, Renderer
from minisift.prompting.task import Task
from minisift.prompting.template import Template

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
        "end_bias",
    ]
)


@dataclass(frozen=True)
class Description:
    """All that a labeler needs besides weights, and how it was made.

    prefix: checksum of the demonstration prefix's token ids; another tokenizer, or an edited
    label name or demonstration, gives another. base: model name, fingerprint and quantization.
    window: tokens that windows of a long text are filled to, and that none exceeds: the usual and
    the largest length in training. temperature: what logits are divided by for scores.
    end_bias: what is taken from the logit of an answer's end (see `calibration.end_bias`).
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
    end_bias: float = 0.0
    made: dict[str, Any] = field(default_factory=dict)

    def with_made(self, **facts: Any) -> Description:
        """The same, with more to tell of how it was made."""
        return replace(self, made={**self.made, **facts})

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
            # labelers that were made before it lack it
            **({"end_bias": self.end_bias} if self.end_bias else {}),
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
                content.get("end_bias", 0.0),
                made,
            )
        except (ValueError, KeyError, TypeError) as error:
            raise DescriptionError(
                f"{place}: damaged ({error!r}); fix: save or export it again"
            ) from None


def describe(
    renderer: Renderer,
    examples: Sequence[RenderedExample],
    demonstrations: Sequence[RenderedExample],
    base: dict[str, Any],
    made: dict[str, Any],
) -> Description:
    """The description of a labeler that was made of these examples, to begin with."""
    return Description(
        renderer.task,
        renderer.template,
        [shown.example for shown in demonstrations],
        base,
        checksum(renderer.prefix(demonstrations)),
        window=window_sizes([len(example.text) for example in examples]),
        made={**made, "versions": versions()},
    )


def versions() -> dict[str, str]:
    """Versions of the libraries that shape a labeler."""
    from importlib import metadata  # ten milliseconds that loading a labeler does without

    found = {}
    for name in ("minisift", "torch", "transformers", "peft", "bitsandbytes", "llama-cpp-python"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def description_of(engine: Engine, path: str | os.PathLike[str]) -> Description | None:
    """What an engine's GGUF file says of the labeler that it is, if it is one; path: for errors."""
    text = engine.metadata(KEY)
    return None if text is None else Description.from_json(text, os.fspath(path))


def checksum(ids: Sequence[int]) -> str:
    """Tells a prompt from any other."""
    return hashlib.sha256(json.dumps(list(ids)).encode()).hexdigest()


def predictor_of(description: Description, engine: Engine) -> Predictor:
    """What labels text as described. Raises DescriptionError for a prompt of other tokens."""
    renderer = Renderer(description.task, description.template, engine.tokenizer)
    predictor = Predictor(engine, renderer, description.demonstrations, description.window)
    if (found := checksum(predictor.prefix)) != description.prefix:
        raise DescriptionError(
            f"the prompt has checksum {found[:12]}, not {description.prefix[:12]}: the "
            "tokenizer, or a label name or demonstration, is not the one of its training; "
            "fix: use the base model and the labeler file as they were saved"
        )
    return predictor


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
