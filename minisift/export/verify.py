"""Does an exported file answer as the labeler that it was made from?"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch

from minisift.data.examples import Example, Span, shorten
from minisift.engines.llamacpp.scheduler import LlamaCppEngine
from minisift.exceptions import VerificationError
from minisift.export.subject import Subject
from minisift.models.gguf_file import Tensor, tensors_of, write_over
from minisift.prompting.renderer import RenderedExample, Renderer
from minisift.publish.description import VERIFICATION, Description, description_of, predictor_of
from minisift.scoring.evaluation import score

_ROOM = 4096
RESERVED = {VERIFICATION: " " * _ROOM}
"""Metadata of a file that is yet to be verified: blanks that `keep` writes over."""
_LOGITS = 0.03
"""Largest difference of logits that rounding to F16 explains, as a share of the largest logit."""
_ROUNDED = 0.6
"""Largest error of a tensor that rounding to 2 bits explains, as a share of the tensor."""
_ROWS = 4096
"""Rows of a tensor that are compared at once."""
_COMPARED = 4
"""Prompts whose logits are compared, at their last 8 tokens."""
_LAST = 8
_HEARD = 6
"""Prompts that a model reads before it is quantized."""
_READ = 2048
"""Tokens of each of them, at most."""


@dataclass(frozen=True)
class Verification:
    """One file's answers to the texts that it was verified on.

    f1 and reference: points (0 to 100) that the file and its labeler reach against the examples'
    own spans; where these have none, against the labeler's answers. rate: texts a second.
    """

    quantization: str
    bytes: int
    texts: int
    same_spans: int
    first_difference: str | None
    f1: float
    reference: float
    spans: int
    rate: float

    @property
    def lost(self) -> float:
        """Points of F1 that the file loses."""
        return round(self.reference - self.f1, 2)

    @property
    def chance(self) -> float:
        """Points that may be lost or won by chance: two deviations, if each text that differs
        had gone either way by a span."""
        return 200 * math.sqrt(self.texts - self.same_spans) / max(1, self.spans)

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "lost": self.lost}

    def row(self) -> dict[str, Any]:
        names = ("quantization", "bytes", "f1", "lost", "same_spans", "rate")
        return {name: getattr(self, name) for name in names}


class Check:
    """A labeler's answers to some examples, to compare files with. tolerance: points of F1."""

    def __init__(self, subject: Subject, examples: Sequence[Example], tolerance: float) -> None:
        self._subject = subject
        self._predictor = subject.predictor
        self._examples = examples
        self._tolerance = tolerance

    @cached_property
    def _wanted(self) -> list[list[Span]]:
        described = self._subject.description
        return self._predictor.predict(self._examples, described.temperature, described.end_bias)

    def texts(self) -> list[list[int]]:
        """Prompts of the examples with the labeler's answers, as long as it reads, token ids."""
        renderer = self._predictor.renderer
        answered = [
            renderer.render(replace(example, spans=tuple(spans)))
            for example, spans in zip(self._examples, self._wanted, strict=True)
        ]
        prompts = [list(self._predictor.prefix)]
        while answered and len(prompts) < _HEARD:
            shown: list[RenderedExample] = []
            tokens = 0
            while answered and tokens < _READ:
                shown.append(answered.pop())
                tokens += renderer.length(shown[-1])
            prompts.append(renderer.prefix(shown)[:_READ])
        return prompts

    def logits(self, path: Path) -> dict[str, Any]:
        """How far llama.cpp's logits with a file are from those of transformers."""
        model = self._subject.weights.model()
        largest = level = 0.0
        for example in self._examples[:_COMPARED] or [Example("")]:
            ids = [*self._predictor.prefix, *self._predictor.prompt(example).ids][-_READ:]
            with torch.inference_mode():
                given = torch.tensor([ids], device=model.device)
                wanted = model(input_ids=given, logits_to_keep=_LAST).logits[0].float().cpu()
            found = torch.from_numpy(llama_logits(path, ids, _LAST))
            largest = max(largest, float((found - wanted).abs().max()))
            level = max(level, float(wanted.abs().max()))
        return {"logit_difference": round(largest, 4), "largest_logit": round(level, 4)}

    def refuse_logits(self, found: dict[str, Any]) -> None:
        """Raises VerificationError for logits that are further away than rounding explains."""
        if found["logit_difference"] > _LOGITS * found["largest_logit"]:
            raise VerificationError(
                f"llama.cpp's logits are up to {found['logit_difference']} from those of "
                f"transformers, whose largest is {found['largest_logit']}: the merged file does not "
                "compute the same model; fix: report the base model to minisift, or use converter="
            )

    def weights(self, path: Path, merged: Path) -> dict[str, Any]:
        """How far a quantized file's tensors are from the merged ones, as shares of them.

        Raises VerificationError for a tensor that is another, or missing.
        """
        found = {tensor.name: tensor for tensor in tensors_of(path)}
        largest = 0.0
        for tensor in tensors_of(merged):
            error = _error(found[tensor.name], tensor) if tensor.name in found else 1.0
            if not error <= _ROUNDED:
                raise VerificationError(
                    f"tensor {tensor.name} of {path.name} is {error:.2f} of its size away from the "
                    "merged one; fix: export again, and check the disk if that does not help"
                )
            largest = max(largest, error)
        return {"weight_error": round(largest, 4)}

    def answers(self, path: Path, quantization: str) -> Verification:
        """A file's answers. Raises VerificationError for another labeler's file or tokenizer."""
        engine = LlamaCppEngine(path)
        try:
            description = description_of(engine, path)
            assert description is not None
            predictor = predictor_of(description, engine)
            _same_labeler(self._subject.description, description)
            for example in self._examples:
                _same_tokens(self._predictor.renderer, predictor.renderer, example)
            started = time.monotonic()
            found = predictor.predict(self._examples, description.temperature, description.end_bias)
            rate = len(found) / max(1e-9, time.monotonic() - started)
        finally:
            engine.close()
        return self._compare(found, quantization, path.stat().st_size, rate)

    def _compare(
        self, found: list[list[Span]], quantization: str, size: int, rate: float
    ) -> Verification:
        wanted = self._wanted
        gold = self._examples
        if not any(example.spans for example in gold):
            gold = [replace(e, spans=tuple(s)) for e, s in zip(gold, wanted, strict=True)]
        differing = [
            example.text for example, a, b in zip(gold, wanted, found, strict=True) if a != b
        ]
        reference, reached = score(gold, wanted), score(gold, found)
        return Verification(
            quantization,
            size,
            len(gold),
            len(gold) - len(differing),
            shorten(differing[0]) if differing else None,
            round(100 * reached.f1, 2),
            round(100 * reference.f1, 2),
            max(reference.micro.gold, reference.micro.predicted),
            round(rate, 1),
        )

    def refuse(self, found: Verification) -> None:
        """Raises VerificationError if a file loses more than the tolerance and chance explain."""
        if found.lost > self._tolerance + found.chance:
            raise VerificationError(
                f"as {found.quantization} the labeler loses {found.lost:.1f} points of F1 "
                f"({found.f1:.1f} instead of {found.reference:.1f} on {found.texts} texts; allowed "
                f"are {self._tolerance}, and {found.chance:.1f} for chance); first to differ: "
                f"{found.first_difference}; fix: another quantization, or a larger tolerance"
            )


def _error(tensor: Tensor, wanted: Tensor) -> float:
    """The root of the mean squared difference of two GGUF tensors, as a share of the second's."""
    if tensor.shape != wanted.shape:
        return 1.0
    apart = size = 0.0
    for first in range(0, len(wanted.data), _ROWS):
        rows = slice(first, first + _ROWS)
        exact = np.asarray(wanted.data[rows], dtype=np.float32)
        given = gguf.quants.dequantize(tensor.data[rows], tensor.type)
        apart += float(np.square(given - exact, dtype=np.float64).sum())
        size += float(np.square(exact, dtype=np.float64).sum())
    return (apart / size) ** 0.5 if size else float(apart > 0)


def _same_labeler(wanted: Description, found: Description) -> None:
    # through JSON, as the file's went
    plain = replace(Description.from_json(wanted.to_json(), "the labeler"), made={})
    found = replace(found, made={})
    for name, value in vars(plain).items():
        if getattr(found, name) != value:
            raise VerificationError(
                f"the file's {name} is {getattr(found, name)!r}, the labeler's {value!r}; "
                "fix: export it again"
            )


def _same_tokens(ours: Renderer, theirs: Renderer, example: Example) -> None:
    wanted, found = ours.render(example), theirs.render(example)
    for one in ("text", "response"):
        if (mine := getattr(wanted, one)) != (other := getattr(found, one)):
            raise VerificationError(
                f"llama.cpp reads the {one} of {shorten(example.text)} as tokens {other[:20]}, "
                f"transformers as {mine[:20]}; fix: report the base model to minisift, or use converter="
            )


def keep(path: Path, report: dict[str, Any]) -> None:
    """Write the report into a file that has room RESERVED for it."""
    told = {key: value for key, value in report.items() if key != "path"}
    content = json.dumps(told).encode()
    if len(content) > _ROOM:
        content = json.dumps({**told, "first_difference": None}).encode()
    write_over(path, VERIFICATION, content.ljust(_ROOM))


def llama_logits(path: Path, ids: Sequence[int], last: int) -> np.ndarray[Any, Any]:
    """llama.cpp's logits after the last tokens of a prompt, [last, vocabulary], in F32 throughout."""
    from minisift.engines.llamacpp.model import load_file
    from minisift.engines.llamacpp.native import llama, logits

    model = load_file(path)
    params = llama.llama_context_default_params()
    params.n_ctx = params.n_batch = params.n_ubatch = -(-len(ids) // 256) * 256
    params.type_k = params.type_v = gguf.GGMLQuantizationType.F32
    params.flash_attn_type = llama.LLAMA_FLASH_ATTN_TYPE_DISABLED
    context = llama.llama_init_from_model(model, params)
    if not context:
        llama.llama_model_free(model)
        raise MemoryError(
            f"llama.cpp cannot make a context of {params.n_ctx} tokens; fix: shorter examples"
        )
    batch = llama.llama_batch_init(len(ids), 0, 1)
    try:
        batch.n_tokens = len(ids)
        for at, token in enumerate(ids):
            batch.token[at], batch.pos[at], batch.n_seq_id[at] = token, at, 1
            batch.seq_id[at][0], batch.logits[at] = 0, at >= len(ids) - last
        if result := llama.llama_decode(context, batch):
            raise VerificationError(f"{path.name}: llama.cpp cannot run it (code {result})")
        size = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(model))
        places = range(max(0, len(ids) - last), len(ids))
        return np.stack([logits(context, at, size) for at in places])
    finally:
        llama.llama_batch_free(batch)
        llama.llama_free(context)
        llama.llama_model_free(model)
