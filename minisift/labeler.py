"""`Labeler`: label text, score, save and export; and loading one."""

from __future__ import annotations

import json
import logging
import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, overload

from minisift import response
from minisift.calibration import fit_temperature, probability
from minisift.card import CURVE, card
from minisift.data import Example, Span, read
from minisift.demonstrations import without
from minisift.description import VERIFICATION, Description, DescriptionError, checksum
from minisift.engines import Completion, Engine, Prompt
from minisift.evaluation import Report, score
from minisift.grammar import Language, Vocabulary
from minisift.progress import bar
from minisift.prompts import Renderer, plain_template
from minisift.text import fold
from minisift.windows import Window, stitch, unshift, windows

logger = logging.getLogger(__name__)

OnLong = Literal["window", "error"]
FORMATS = ("gguf", "lora", "hf", "kit")
Threshold = float | Mapping[str, float]
_SCARCE = 64
"""Tokens of a text that a context has to have room for beside the demonstrations."""


@dataclass(frozen=True)
class _Part:
    """An answer to a window: its spans, what each one's line was chosen from."""

    window: Window
    spans: list[Span]
    choices: list[Sequence[Any]]
    is_last: bool


class Labeler:
    """Labels spans in text with a language model that can give no invalid answer.

    Made by `fit`, `prompt` and `load`. `description` tells its labels, demonstrations and how
    it was made; `counts` what its last call to `predict` or `evaluate` had to leave out.

    model: gives the model of transformers, where it is one; folder: where its adapter lies.
    """

    def __init__(
        self,
        description: Description,
        engine: Engine,
        model: Callable[[], Any] | None = None,
        folder: Path | None = None,
    ) -> None:
        self.description = description
        self.counts: Counter[str] = Counter()
        self.engine = engine
        self._model = model
        self.folder = folder
        self.renderer = Renderer(description.task, description.template, engine.tokenizer)
        self._vocabulary = Vocabulary(engine.tokenizer, description.task.names)
        self.prefix = tuple(self.renderer.prefix(description.demonstrations))
        found = checksum(self.prefix)
        if found != description.prefix:
            raise DescriptionError(
                f"the prompt has checksum {found[:12]}, not {description.prefix[:12]}: the "
                "tokenizer, or a label name or demonstration, is not the one of its training; "
                "fix: use the base model and the labeler file as they were saved"
            )

    @property
    def labels(self) -> list[str]:
        return list(self.description.task.names)

    @overload
    def predict(  # type: ignore[overload-overlap]
        self, texts: str | Example, *, threshold: Threshold = ..., on_long: OnLong = ...
    ) -> list[Span]: ...
    @overload
    def predict(
        self, texts: Iterable[str | Example], *, threshold: Threshold = ..., on_long: OnLong = ...
    ) -> list[list[Span]]: ...
    def predict(
        self, texts: Any, *, threshold: Threshold = 0.0, on_long: OnLong = "window"
    ) -> list[Span] | list[list[Span]]:
        """The spans of one text, or of each of several, in text order.

        An `Example` stands for its text and words (its own spans are not looked at); of a
        string the words are those of `split_words`. `threshold` and `on_long`: see `stream`.

        >>> labeler.predict("Angela Merkel visited Paris.")  # doctest: +SKIP
        [Span(start=0, end=13, label='PER', text='Angela Merkel', score=0.99), ...]
        """
        if isinstance(texts, str | Example):
            return next(self.stream([texts], threshold=threshold, on_long=on_long))
        return list(self.stream(texts, threshold=threshold, on_long=on_long))

    def evaluate(
        self, examples: Any, *, threshold: Threshold = 0.0, progress: bool = False
    ) -> Report:
        """Span precision, recall and F1 on labelled examples (a list, or what `read` takes).

        Raises ValueError where there are none.
        """
        examples = some_examples(examples)
        return score(examples, self.stream(examples, threshold=threshold, progress=progress))

    def stream(
        self,
        texts: Iterable[str | Example],
        *,
        threshold: Threshold = 0.0,
        on_long: OnLong = "window",
        batch_size: int | None = None,
        progress: bool = False,
    ) -> Iterator[list[Span]]:
        """The spans of each text, in order; texts are taken lazily, a batch or so ahead.

        threshold: the score that a span needs, for all labels or by label (0 where a label is
        missing). on_long: "window" labels a text that is longer than those of the training by
        its sentences and lines, and overlong sentences in overlapping windows; "error" never
        cuts, and raises ValueError for what does not fit the model's context. batch_size: texts that run at
        once; None for what the engine was made for.

        Raises TypeError or ValueError for a bad argument at once, TypeError for a bad text when
        its turn comes.
        """
        # a string would be taken for texts of one letter each, a mapping for its keys
        if isinstance(texts, str | bytes | bytearray | Mapping) or not isinstance(texts, Iterable):
            raise TypeError(
                f"texts is {type(texts).__name__}; fix: give predict a str, an Example, or an "
                "iterable of these, and stream an iterable"
            )
        thresholds = self._thresholds(threshold)
        if on_long not in ("window", "error"):
            raise ValueError(f"on_long={on_long!r}; fix: 'window' or 'error'")
        if batch_size is not None and not (isinstance(batch_size, Integral) and batch_size > 0):
            raise ValueError(f"batch_size={batch_size!r}; fix: a whole number from 1 on, or None")
        return self._stream(texts, thresholds, on_long, batch_size, progress)

    def _stream(
        self,
        texts: Iterable[str | Example],
        thresholds: Mapping[str, float],
        on_long: OnLong,
        batch_size: int | None,
        progress: bool,
    ) -> Iterator[list[Span]]:
        self.counts = Counter()
        labelled = self._spans(self._label(texts, on_long, batch_size))
        if progress:
            total = len(texts) if isinstance(texts, Sequence) else None
            labelled = bar(labelled, total=total, desc="labelling", unit="text")
        for found in labelled:
            kept = [span for span in found if span.score >= thresholds[span.label]]
            if len(kept) < len(found):
                self.counts["spans below the threshold"] += len(found) - len(kept)
            yield kept

    def calibrate(self, examples: Any, *, progress: bool = False) -> Report:
        """Fit the temperature of the scores on labelled examples; returns the report on these.

        Scores then mean what they say: of spans scored about 0.8, about 80% are right. Which
        spans are found does not change. `fit` does this on its dev set. Raises ValueError where
        there are no examples.
        """
        examples = some_examples(examples)
        self.counts = Counter()
        source = bar(examples, desc="labelling", unit="text") if progress else examples
        parts = list(self._label(source, "window", None))
        gold = iter(examples)
        lines: list[Sequence[Any]] = []
        right: list[bool] = []
        current = ()
        for part, is_first in zip(parts, [True, *(p.is_last for p in parts)], strict=False):
            current = next(gold).spans if is_first else current
            lines += part.choices
            right += [unshift(part.window, span) in current for span in part.spans]
        temperature = fit_temperature(lines, right)
        self.description = replace(self.description, temperature=round(temperature, 3))
        return score(examples, self._spans(parts))

    def _thresholds(self, given: Threshold) -> Mapping[str, float]:
        by_label = given if isinstance(given, Mapping) else dict.fromkeys(self.labels, given)
        for label, value in by_label.items():
            if label not in self.labels:
                raise ValueError(
                    f"threshold for {label!r}; fix: labels are {', '.join(self.labels)}"
                )
            if not (isinstance(value, Real) and 0 <= value <= 1):
                raise ValueError(f"threshold {value!r} for {label!r}; fix: between 0 and 1")
        return {label: by_label.get(label, 0.0) for label in self.labels}

    def _label(
        self, texts: Iterable[str | Example], on_long: OnLong, batch_size: int | None
    ) -> Iterator[_Part]:
        """What the model says to each window of each text, in order."""
        asked: deque[tuple[Window, bool]] = deque()

        def prompts() -> Iterator[Prompt]:
            for number, text in enumerate(texts):
                if not isinstance(text, str | Example):
                    raise TypeError(
                        f"text {number} is {type(text).__name__}; fix: give a str or an Example"
                    )
                example = text if isinstance(text, Example) else Example(text)
                for window, is_last in self._windows(example, on_long):
                    asked.append((window, is_last))
                    yield self._prompt(window.example)

        for completion in self.engine.complete(prompts(), batch_size):
            if completion.cut:
                self.counts["answers cut where the context was full"] += 1
            window, is_last = asked.popleft()
            spans, choices = self._lines(window.example, completion)
            yield _Part(window, spans, choices, is_last)

    def _spans(self, parts: Iterable[_Part]) -> Iterator[list[Span]]:
        """The spans of each text, from the answers to its windows."""
        answered: list[tuple[Window, list[Span]]] = []
        for part in parts:
            scored = [
                replace(span, score=probability(choices, self.description.temperature))
                for span, choices in zip(part.spans, part.choices, strict=True)
            ]
            answered.append((part.window, scored))
            if part.is_last:
                yield stitch(answered)
                answered = []

    def _windows(self, example: Example, on_long: OnLong) -> Iterator[tuple[Window, bool]]:
        """The windows of a text, each with whether it is the last."""
        usual, most = self._lengths()
        if on_long == "error" or self._tokens(example.text) <= most:
            yield Window(example, 0), True
            return
        self.counts["texts in windows"] += 1
        before: Window | None = None
        for window in windows(example, self._tokens, usual, most, self.counts):
            if before:
                yield before, False
            before = window
            self.counts["windows"] += 1
        assert before
        yield before, True

    def _lengths(self) -> tuple[int, int]:
        """The window that the description states, or what a scarce context leaves of it."""
        usual, most = self.description.window
        context = self.engine.context
        room = (context - len(self.prefix)) // 3
        if room < min(most, _SCARCE):
            room = context // 4  # demonstrations have to go
        return min(usual, room), min(most, room)

    def _tokens(self, text: str) -> int:
        return len(self.engine.tokenizer.encode(response.LEAD + fold(text).text))

    def _prompt(self, example: Example) -> Prompt:
        language = Language(self._vocabulary, response.target_of(example))
        ids = self.renderer.text(example)
        reserve = min(language.longest_answer(), self.engine.context // 4)
        shown = self.description.demonstrations
        allowed = without(shown, example)
        fits = len(self.prefix) + len(ids) + reserve <= self.engine.context
        if fits and len(allowed) == len(shown):
            return Prompt(self.prefix, ids, language)
        kept = self.renderer.fitting(allowed, example, self.engine.context, reserve)
        if left := len(allowed) - len(kept):
            self.counts["texts with demonstrations dropped to fit the context"] += 1
            self.counts["demonstrations dropped"] += left
        return Prompt(tuple(self.renderer.prefix(kept)), ids, language)

    def _lines(
        self, example: Example, completion: Completion
    ) -> tuple[list[Span], list[Sequence[Any]]]:
        """The spans of an answer, and for each what its line was chosen from."""
        pieces = self.engine.tokenizer.pieces
        text = b"".join(pieces[token] for token in completion.tokens).decode()
        spans = response.parse(text, example, self.description.task.labels_by_name)
        lines: list[Sequence[Any]] = []
        first = 0
        for index, token in enumerate(completion.tokens):
            if pieces[token].endswith(b"\n"):
                lines.append(completion.choices[first : index + 1])
                first = index + 1
        return spans, lines[: len(spans)]

    def prompted(
        self,
        demonstrations: Sequence[Example] | None = None,
        instruction: str | bool | None = None,
    ) -> Labeler:
        """The same model under another prompt; what is not given stays.

        demonstrations: labelled examples in the order of the prompt; none at all if empty.
        instruction: a text, True for the standard one, False or "" for none; only of plain
        templates. Raises ValueError for demonstrations with labels that the task lacks.
        """
        described = self.description
        shown = described.demonstrations if demonstrations is None else list(demonstrations)
        if unknown := sorted({s.label for e in shown for s in e.spans} - set(self.labels)):
            raise ValueError(
                f"demonstrations with labels {', '.join(unknown)}; fix: use {', '.join(self.labels)}"
            )
        task, template = described.task, described.template
        if instruction is not None:
            if template != plain_template(task.instruction):
                raise ValueError("a chat template keeps its instruction; fix: fit with another")
            text = task.standard_instruction() if instruction is True else instruction or ""
            task = replace(task, instruction=text.strip())
            template = plain_template(task.instruction)
        renderer = Renderer(task, template, self.engine.tokenizer)
        changed = replace(
            described,
            task=task,
            template=template,
            demonstrations=shown,
            prefix=checksum(renderer.prefix(shown)),
        )
        return Labeler(changed, self.engine, self._model, self.folder)

    def model(self) -> Any:
        """The model of transformers, its adapter included. Raises ValueError for a GGUF file's."""
        if self._model is None:
            raise ValueError("this labeler comes from a GGUF file already; fix: copy that file")
        return self._model()

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the adapter folder: LoRA weights, if any, labeler.json and a model card.

        Whole or not at all.
        """
        from minisift.storage import save

        save(self, Path(folder))

    def export(
        self,
        path: str | os.PathLike[str],
        *,
        format: str = "gguf",
        quantization: str = "q8_0",
        verify_on: Any = None,
        verify: bool = True,
        tolerance: float = 0.5,
        merge_into: Literal["quantized", "original"] = "quantized",
        converter: str | os.PathLike[str] | None = None,
    ) -> dict[str, Any]:
        """Write the labeler as one file for llama.cpp, checked against this labeler.

        format: "gguf" is the whole labeler in one file; "lora" its adapter alone, to load with
        `load(base, adapter=...)`; "hf" a merged Hugging Face folder; "kit", of a labeler that was
        loaded from a GGUF file, a folder for running that file without minisift. quantization: any type of
        llama.cpp's quantizer ("f16", "q8_0", "q4_k_m", ...); "auto" takes the smallest whose F1
        on `verify_on` is within the tolerance.

        verify_on: examples (a list, or what `read` takes), by default the demonstrations. Their
        spans, F1, token ids and, before quantization, logits are compared; what the labeler says
        to some of them also shows which channels to scale so that quantizing loses less. Beyond
        `tolerance` points of F1, and what chance explains, VerificationError is raised and no
        file left. verify=False does none of this, and never holds more than a tensor in memory.

        merge_into: the 4-bit weights that the adapter was trained on, or the original ones.
        converter: llama.cpp's convert_hf_to_gguf.py, for models that minisift does not write.

        Returns the path, sizes and what was compared, which also lies in the file.
        """

        if format not in FORMATS:
            raise ValueError(f"format={format!r}; fix: one of {', '.join(FORMATS)}")
        path = Path(path)
        if format == "kit":
            from minisift.kit import export_kit

            return export_kit(self, path)
        if self._model is None:
            raise ValueError("this labeler comes from a GGUF file already; fix: copy that file")
        from minisift.export import Export, export_folder, export_gguf, export_lora

        if format == "lora":
            return export_lora(self, path)
        examples = (
            as_examples(verify_on) if verify_on is not None else self.description.demonstrations
        )
        how = Export(
            quantization,
            verify,
            tolerance,
            merge_into,
            None if converter is None else Path(converter),
            examples,
        )
        return export_folder(self, path, how) if format == "hf" else export_gguf(self, path, how)

    def verification(self) -> dict[str, Any] | None:
        """What `export` found when it compared a GGUF file with its adapter, as the file tells."""
        text = self.engine.metadata(VERIFICATION)
        return json.loads(text) if text and text.strip() else None

    def card(self) -> str:
        """A model card in Markdown: labels, scores, settings, and a GGUF file's verification."""
        files = [file.name for file in self.engine.files]
        has_curve = self.folder is not None and (self.folder / CURVE).is_file()
        return card(self.description, files, self.verification(), has_curve=has_curve)

    def push_to_hub(self, repo_id: str, *, private: bool = True, **options: Any) -> str:
        """Upload the adapter folder, or the GGUF file, with a model card; returns its address.

        `minisift.load(repo_id)` loads it from there; of an adapter on a base model's GGUF file the
        adapter goes up alone, for `load(base, adapter=repo_id)`. Other files of the repository stay.
        options: those of `huggingface_hub.HfApi`, such as token and endpoint.
        """
        from minisift.storage import upload

        return upload(self, repo_id, private, **options)

    def close(self) -> None:
        """Free what the engine holds; the labeler cannot be used afterwards."""
        close = getattr(self.engine, "close", None)
        if close:
            close()

    def __repr__(self) -> str:
        base = self.description.base.get("model")
        return f"Labeler({', '.join(self.labels)}; {base}, {type(self.engine).__name__})"


def as_examples(source: Any) -> Sequence[Example]:
    """Examples as they are, or read from a path or a Hugging Face `Dataset`, what is lost told."""
    if isinstance(source, Sequence) and not isinstance(source, str):
        if wrong := next((e for e in source if not isinstance(e, Example)), None):
            raise TypeError(
                f"expected minisift.Example, got {type(wrong).__name__}; fix: make them with "
                "minisift.read or minisift.Example"
            )
        return source
    examples = read(source)
    if examples.counts:
        is_path = isinstance(source, str | os.PathLike)
        logger.warning("%s: %s", source if is_path else "the data set", examples.summary())
    return examples


def some_examples(source: Any) -> Sequence[Example]:
    """`as_examples`, to score predictions on: raises ValueError where there are none."""
    examples = as_examples(source)
    if not examples:
        raise ValueError(
            "no sentences to score on, so precision, recall and F1 would mean nothing; fix: give "
            "labelled examples"
        )
    return examples
