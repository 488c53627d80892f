"""`Labeler`: label text, score, save, export."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, get_args, overload

from minisift.data.examples import Example, Span
from minisift.data.html import Page, page
from minisift.data.reading import as_examples, some_examples
from minisift.decoding.labelling import Answer, OnLong, Stream
from minisift.decoding.protocols import Engine
from minisift.progress import bar
from minisift.prompting.renderer import RenderedExample, Renderer
from minisift.prompting.template import plain_template
from minisift.publish.card import CURVE, card
from minisift.publish.description import VERIFICATION, Description, checksum, predictor_of
from minisift.publish.folder import Weights, link, save
from minisift.publish.hub import upload
from minisift.scoring.calibration import (
    PREFERENCES,
    Preference,
    end_bias,
    fit_temperature,
    preferred,
)
from minisift.scoring.evaluation import Report, score

Threshold = float | Mapping[str, float]
ExportFormat = Literal["gguf", "lora", "hf", "kit"]
"""What `export` writes."""
FORMATS: tuple[str, ...] = get_args(ExportFormat)


class Labeler:
    """Labels spans in text with a language model that can give no invalid answer.

    Made by `fit`, `prompt` and `load`. `description` tells its labels, demonstrations and how
    it was made; `counts` what the call that began last had to leave out (a stream and a report have
    counts of their own); `report` what it said to the sentences that `fit` or `prompt` held out, with
    their texts (None where there are none, and where it was loaded). weights: those of transformers, where it is not a GGUF file's.
    """

    def __init__(
        self, description: Description, engine: Engine, weights: Weights | None = None
    ) -> None:
        self.description = description
        self.counts: Counter[str] = Counter()
        self.report: Report | None = None
        self.engine = engine
        self.weights = weights
        self._predictor = predictor_of(description, engine)

    @property
    def renderer(self) -> Renderer:
        """What makes its prompts."""
        return self._predictor.renderer

    @property
    def prefix(self) -> tuple[int, ...]:
        """The token ids that precede a text in its prompts: the demonstrations."""
        return self._predictor.prefix

    @property
    def demonstrations(self) -> Sequence[RenderedExample]:
        """Those of its prompts, as token ids."""
        return self._predictor.demonstrations

    @property
    def labels(self) -> list[str]:
        return list(self.description.task.names)

    @overload
    def predict(  # type: ignore[overload-overlap]
        self,
        texts: str | Example,
        *,
        threshold: Threshold = ...,
        prefer: Preference | None = ...,
        on_long: OnLong = ...,
    ) -> list[Span]: ...
    @overload
    def predict(
        self,
        texts: Iterable[str | Example],
        *,
        threshold: Threshold = ...,
        prefer: Preference | None = ...,
        on_long: OnLong = ...,
    ) -> list[list[Span]]: ...
    def predict(
        self,
        texts: Any,
        *,
        threshold: Threshold = 0.0,
        prefer: Preference | None = "balance",
        on_long: OnLong = "window",
    ) -> list[Span] | list[list[Span]]:
        """The spans of one text, or of each of several, in text order.

        An `Example` stands for its text and words (its own spans are not looked at); of a
        string the words are those of `split_words`. `threshold`, `prefer` and
        `on_long`: see `stream`.

        >>> labeler.predict("Angela Merkel visited Paris.")  # doctest: +SKIP
        [Span(start=0, end=13, label='PER', text='Angela Merkel', score=0.99), ...]
        """
        if isinstance(texts, str | Example):
            return next(self.stream([texts], threshold=threshold, prefer=prefer, on_long=on_long))
        return list(self.stream(texts, threshold=threshold, prefer=prefer, on_long=on_long))

    def evaluate(
        self,
        examples: Any,
        *,
        threshold: Threshold = 0.0,
        prefer: Preference | None = "balance",
        progress: bool = False,
    ) -> Report:
        """Span precision, recall and F1 on labelled examples (a list, or what `read` takes).

        `threshold` and `prefer`: see `stream`. Raises ValueError where there are none.
        """
        examples = some_examples(examples)
        stream = self.stream(examples, threshold=threshold, prefer=prefer, progress=progress)
        return score(examples, stream, stream.counts)

    def show(self, texts: Any, *, title: str = "") -> Page:
        """What it finds in some texts, as a page: a notebook shows it, `save` writes it as one file of HTML.

        texts: one or several; strings, or Examples: below each one's own spans stand those that are found, if others, with
        mistakes marked.

        >>> labeler.show(["Angela Merkel visited Paris."]).save("page.html")  # doctest: +SKIP
        """
        given = [texts] if isinstance(texts, str | Example) else list(texts)
        found = self.predict(given)
        examples = [Example(text) if isinstance(text, str) else text for text in given]
        if any(isinstance(text, Example) for text in given):
            return page(
                title,
                list(zip(examples, found, strict=True)),
                str(score(examples, found)),
            )
        shown = [
            replace(example, spans=tuple(spans))
            for example, spans in zip(examples, found, strict=True)
        ]
        return page(title, [(example, None) for example in shown])

    def stream(
        self,
        texts: Iterable[str | Example],
        *,
        threshold: Threshold = 0.0,
        prefer: Preference | None = "balance",
        on_long: OnLong = "window",
        batch_size: int | None = None,
        progress: bool = False,
    ) -> Stream:
        """The spans of each text, in order; texts are taken lazily, a batch or so ahead.

        What had to be left out is in the stream's `counts`.

        threshold: the score that a span needs, for all labels or by label (0 where a label is
        missing). prefer: "recall" finds more spans and "precision" fewer than "balance", the best F1, to which
        the labeler was fitted; None takes what the model finds likeliest. on_long: "window" labels a
        text that is longer than those of the training by
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
        bias = self._end_bias(prefer)
        if on_long not in ("window", "error"):
            raise ValueError(f"on_long={on_long!r}; fix: 'window' or 'error'")
        if batch_size is not None and not (isinstance(batch_size, Integral) and batch_size > 0):
            raise ValueError(f"batch_size={batch_size!r}; fix: a whole number from 1 on, or None")
        self.counts = counts = Counter[str]()
        parts = self._predictor.parts(texts, counts, on_long, batch_size, bias)
        labelled = self._predictor.spans(parts, self.description.temperature)
        total = len(texts) if isinstance(texts, Sequence) else None
        shown = bar(labelled, total=total, desc="labelling", unit="text") if progress else labelled
        return Stream(_above(shown, thresholds, counts), counts)

    def calibrate(
        self,
        examples: Any,
        *,
        expected: float | None = None,
        answers: Sequence[Answer] | None = None,
        progress: bool = False,
    ) -> Report:
        """Fit the temperature of the scores on labelled examples; returns the report on these.

        Scores then mean what they say: of spans scored about 0.8, about 80% are right. Which
        spans are found does not change. `fit` does this with sentences that it held out. expected: the temperature
        that is likely beforehand, which few examples only move (see `calibration.fit_temperature`). answers:
        what `answers` gave for the examples, where they are labelled already. Raises ValueError where there are
        no examples.
        """
        examples = some_examples(examples)
        counts = Counter[str]()
        if answers is None:
            answers, counts = self.answers(examples, progress=progress), self.counts
        lines = [choices for answer in answers for choices in answer.choices]
        right = [
            span in example.spans
            for example, answer in zip(examples, answers, strict=True)
            for span in answer.spans
        ]
        temperature = round(fit_temperature(lines, right, expected), 3)
        self.description = replace(self.description, temperature=temperature)
        return score(examples, [answer.scored(temperature) for answer in answers], counts)

    def answers(
        self, examples: Any, *, batch_size: int | None = None, progress: bool = False
    ) -> list[Answer]:
        """The spans of each text with what their scores come from, whatever the temperature: for `calibrate`."""
        examples = some_examples(examples)
        self.counts = counts = Counter[str]()
        source = bar(examples, desc="labelling", unit="text") if progress else examples
        bias = self.description.end_bias
        parts = self._predictor.parts(source, counts, at_once=batch_size, end_bias=bias)
        return list(self._predictor.answers(parts))

    def lean(self, f1: float) -> None:
        """From now on find as many spans as are best where the reachable F1 is about this.

        The lower it is, the less likely a span has to be. `fit` does this with the F1 on its dev set.
        """
        self.description = replace(self.description, end_bias=end_bias(f1))

    def _end_bias(self, prefer: Preference | None) -> float:
        if prefer not in (*PREFERENCES, None):
            raise ValueError(f"prefer={prefer!r}; fix: one of {', '.join(PREFERENCES)}, or None")
        return preferred(self.description.end_bias, prefer) if prefer else 0.0

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
        prefix = checksum(renderer.prefix([renderer.render(example) for example in shown]))
        changed = replace(
            described, task=task, template=template, demonstrations=shown, prefix=prefix
        )
        return Labeler(changed, self.engine, self.weights)

    def model(self) -> Any:
        """The model of transformers, its adapter included. Raises ValueError for a GGUF file's."""
        return self._weights().model()

    def _weights(self) -> Weights:
        if self.weights is None:
            raise ValueError("this labeler comes from a GGUF file already; fix: copy that file")
        return self.weights

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the adapter folder: LoRA weights, if any, labeler.json and a model card.

        Whole or not at all.
        """
        save(self.description, self._weights(), Path(folder))

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
            from minisift.export.kit import export_kit

            return export_kit(self.description, self._predictor, path)
        from minisift.export.artifacts import Export, export_folder, export_gguf, export_lora
        from minisift.export.subject import Subject

        subject = Subject(self.description, self._predictor, self._weights())
        if format == "lora":
            return export_lora(subject, path)
        examples = self.description.demonstrations if verify_on is None else as_examples(verify_on)
        script = None if converter is None else Path(converter)
        how = Export(quantization, verify, tolerance, merge_into, script, examples)
        return (
            export_folder(subject, path, how) if format == "hf" else export_gguf(subject, path, how)
        )

    def verification(self) -> dict[str, Any] | None:
        """What `export` found when it compared a GGUF file with its adapter, as the file tells."""
        text = self.engine.metadata(VERIFICATION)
        return json.loads(text) if text and text.strip() else None

    def card(self, repository: str | None = None) -> str:
        """A model card in Markdown: labels, scores, settings, and a GGUF file's verification.

        repository: the name on a hub, for a card that says how to load it from there.
        """
        files = [file.name for file in self.engine.files]
        folder = self.weights.folder if self.weights else None
        has_curve = folder is not None and (folder / CURVE).is_file()
        return card(self.description, files, self.verification(), repository, has_curve=has_curve)

    def push_to_hub(self, repo_id: str, *, private: bool = True, **options: Any) -> str:
        """Upload the adapter folder, or the GGUF file, with a model card; returns its address.

        `minisift.load(repo_id)` loads it from there; of an adapter on a base model's GGUF file the
        adapter goes up alone, for `load(base, adapter=repo_id)`. Other files of the repository stay.
        options: those of `huggingface_hub.HfApi`, such as token and endpoint.
        """

        def write(folder: Path) -> None:
            if self.engine.files:
                link(self.engine.files, self.card(repo_id), folder)
            else:
                save(self.description, self._weights(), folder, repo_id)

        return upload(write, repo_id, private, **options)

    def close(self) -> None:
        """Free what the engine holds; the labeler cannot be used afterwards."""
        self.engine.close()

    def __repr__(self) -> str:
        base = self.description.base.get("model")
        return f"Labeler({', '.join(self.labels)}; {base}, {type(self.engine).__name__})"


def _above(
    labelled: Iterable[list[Span]], thresholds: Mapping[str, float], counts: Counter[str]
) -> Iterator[list[Span]]:
    """Of each text's spans those whose scores reach their label's threshold."""
    for spans in labelled:
        kept = [span for span in spans if span.score >= thresholds[span.label]]
        if len(kept) < len(spans):
            counts["spans below the threshold"] += len(spans) - len(kept)
        yield kept
