"""`Labeler`: label text, score, save and export; and loading one."""

from __future__ import annotations

import importlib.metadata
import logging
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, overload

from minisift import response
from minisift.data import Example, Span, read
from minisift.demonstrations import without
from minisift.description import FILE, KEY, Description, DescriptionError, checksum
from minisift.engines import Completion, Engine, Prompt
from minisift.evaluation import Report, score
from minisift.files import whole
from minisift.grammar import Language, Vocabulary
from minisift.progress import bar
from minisift.prompts import Renderer

logger = logging.getLogger(__name__)


class Labeler:
    """Labels spans in text with a language model that can give no invalid answer.

    Made by `fit`, `prompt` and `load`. `description` tells its labels, demonstrations and how
    it was made; `counts` what its last call to `predict` or `evaluate` had to leave out.
    """

    def __init__(self, description: Description, engine: Engine, model: Any = None) -> None:
        self.description = description
        self.counts: Counter[str] = Counter()
        self._engine = engine
        self._model = model
        self._renderer = Renderer(description.task, description.template, engine.tokenizer)
        self._vocabulary = Vocabulary(engine.tokenizer, description.task.names)
        self._prefix = tuple(self._renderer.prefix(description.demonstrations))
        found = checksum(self._prefix)
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
    def predict(self, texts: str | Example) -> list[Span]: ...  # type: ignore[overload-overlap]
    @overload
    def predict(self, texts: Iterable[str | Example]) -> list[list[Span]]: ...
    def predict(self, texts: Any) -> list[Span] | list[list[Span]]:
        """The spans of one text, or of each of several, in text order.

        An `Example` stands for its text and words (its own spans are not looked at); of a
        string the words are those of `split_words`. Raises ValueError for a text that does not
        fit the model's context.

        >>> labeler.predict("Angela Merkel visited Paris.")  # doctest: +SKIP
        [Span(start=0, end=13, label='PER', text='Angela Merkel', score=0.99), ...]
        """
        if isinstance(texts, str | Example):
            return next(self.stream([texts]))
        return list(self.stream(texts))

    def evaluate(self, examples: Any, *, progress: bool = False) -> Report:
        """Span precision, recall and F1 on labelled examples (a list, or what `read` takes)."""
        examples = as_examples(examples)
        predictions: Iterable[list[Span]] = self.stream(examples)
        if progress:
            predictions = bar(predictions, total=len(examples), desc="labelling", unit="text")
        return score(examples, predictions)

    def stream(self, texts: Iterable[str | Example]) -> Iterator[list[Span]]:
        """The spans of each text, in order; texts are taken lazily, a batch or so ahead."""
        self.counts = Counter()
        sent: list[Example] = []

        def prompts() -> Iterator[Prompt]:
            for number, text in enumerate(texts):
                if not isinstance(text, str | Example):
                    raise TypeError(
                        f"text {number} is {type(text).__name__}; fix: give a str or an Example"
                    )
                example = text if isinstance(text, Example) else Example(text)
                sent.append(example)
                yield self._prompt(example)

        for completion in self._engine.complete(prompts()):
            if completion.cut:
                self.counts["answers cut where the context was full"] += 1
            yield self._spans(sent.pop(0), completion)

    def _prompt(self, example: Example) -> Prompt:
        language = Language(self._vocabulary, response.target_of(example))
        ids = self._renderer.text(example)
        reserve = min(language.longest_answer(), self._engine.context // 4)
        shown = self.description.demonstrations
        allowed = without(shown, example)
        fits = len(self._prefix) + len(ids) + reserve <= self._engine.context
        if fits and len(allowed) == len(shown):
            return Prompt(self._prefix, ids, language)
        kept = self._renderer.fitting(allowed, example, self._engine.context, reserve)
        if left := len(allowed) - len(kept):
            self.counts["texts with demonstrations dropped to fit the context"] += 1
            self.counts["demonstrations dropped"] += left
        return Prompt(tuple(self._renderer.prefix(kept)), ids, language)

    def _spans(self, example: Example, completion: Completion) -> list[Span]:
        pieces = self._engine.tokenizer.pieces
        text = b"".join(pieces[token] for token in completion.tokens).decode()
        spans = response.parse(text, example, self.description.task.labels_by_name)
        scores = []
        line, logprob = b"", 0.0
        for token, value in zip(completion.tokens, completion.logprobs, strict=True):
            line, logprob = line + pieces[token], logprob + value
            if line.endswith(b"\n"):
                scores.append(math.exp(logprob))
                line, logprob = b"", 0.0
        return [
            Span(s.start, s.end, s.label, s.text, p) for s, p in zip(spans, scores, strict=False)
        ]

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the adapter folder: LoRA weights, if any, and labeler.json. Whole or not at all."""
        if self._model is None:
            raise ValueError("this labeler comes from a GGUF file; fix: copy that file")
        check_folder(folder)
        with whole(folder) as draft:
            draft.mkdir()
            if hasattr(self._model, "peft_config"):
                self._model.save_pretrained(draft)
            (draft / FILE).write_text(self.description.to_json(), encoding="utf-8")

    def export(
        self,
        path: str | os.PathLike[str],
        *,
        quantization: str = "q8_0",
        verify_on: Any = None,
    ) -> dict[str, Any]:
        """Write the labeler as one GGUF file for llama.cpp and check that it answers alike.

        The adapter is merged into the weights, which are then quantized by llama.cpp ("f16",
        "q8_0", "q4_0", "q4_k_m", ...); the description travels inside. `verify_on` are
        examples (a list, or what `read` takes) whose spans are compared; by default the
        demonstrations' texts. Loading the file for that checks that both tokenizers give the
        same prompt. Returns the comparison. The file appears whole or not at all.
        """
        from minisift.export import export_gguf
        from minisift.export.verify import compare

        if self._model is None:
            raise ValueError("this labeler comes from a GGUF file already; fix: copy that file")
        texts = as_examples(verify_on) if verify_on is not None else self.description.demonstrations

        def verify(draft: Path) -> dict[str, Any]:
            exported = load(draft)
            found = exported.predict(texts)
            exported.close()
            return compare(texts, self.predict(texts), found)

        report = export_gguf(self._model, self.description, Path(path), quantization, verify)
        logger.info(
            "%s: %.0f MB, the same spans on %d of %d texts.",
            path,
            report["bytes"] / 1e6,
            report["same_spans"],
            report["texts"],
        )
        return report

    def close(self) -> None:
        """Free what the engine holds; the labeler cannot be used afterwards."""
        close = getattr(self._engine, "close", None)
        if close:
            close()

    def __repr__(self) -> str:
        base = self.description.base.get("model")
        return f"Labeler({', '.join(self.labels)}; {base}, {type(self._engine).__name__})"


def check_folder(folder: str | os.PathLike[str]) -> None:
    """Raises FileExistsError if saving a labeler there would replace anything but a labeler."""
    path = Path(folder)
    if path.is_dir() and any(path.iterdir()) and not (path / FILE).is_file():
        raise FileExistsError(f"{path}: holds something else; fix: give a new or empty folder")
    if path.exists() and not path.is_dir():
        raise FileExistsError(f"{path}: is a file; fix: give a new or empty folder")


def as_examples(source: Any) -> Sequence[Example]:
    """Examples as they are, or read from a path or a Hugging Face `Dataset`."""
    if isinstance(source, Sequence) and not isinstance(source, str):
        if wrong := next((e for e in source if not isinstance(e, Example)), None):
            raise TypeError(
                f"expected minisift.Example, got {type(wrong).__name__}; fix: make them with "
                "minisift.read or minisift.Example"
            )
        return source
    return read(source)


def versions() -> dict[str, str]:
    """Versions of the libraries that shape a labeler."""
    found = {}
    for name in ("minisift", "torch", "transformers", "peft", "bitsandbytes", "llama-cpp-python"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def load(path: str | os.PathLike[str], **options: Any) -> Labeler:
    """A labeler from a GGUF file (llama.cpp, without torch) or an adapter folder (transformers).

    options for a GGUF file: context, threads, sequences; for a folder: batch_size, and base,
    where the base model lies now. Needs no network for bundled and local base models. Raises DescriptionError for a file of another
    version, a changed base model or a damaged description.
    """
    path = Path(path)
    loader: Callable[..., Labeler] = _load_folder if path.is_dir() else _load_gguf
    return loader(path, **options)


def _load_gguf(path: Path, **options: Any) -> Labeler:
    from minisift.engines.llamacpp import LlamaCppEngine

    engine = LlamaCppEngine(path, **options)
    text = engine.metadata(KEY)
    if text is None:
        raise DescriptionError(
            f"{path}: a GGUF file, but not a minisift labeler (no {KEY}); fix: make one with "
            "Labeler.export, or use minisift.prompt"
        )
    return Labeler(Description.from_json(text, str(path)), engine)


def _load_folder(folder: Path, base: str | None = None, **options: Any) -> Labeler:
    if not (folder / FILE).is_file():
        raise FileNotFoundError(
            f"{folder}: holds no {FILE}; fix: give a folder made by fit or save"
        )
    description = Description.from_json(
        (folder / FILE).read_text(encoding="utf-8"), str(folder / FILE)
    )
    from minisift.engines.transformers import TransformersEngine
    from minisift.models import load_adapter, load_base, resolve, settle
    from minisift.tokenizer import load_tokenizer

    made_on = description.base
    source = resolve(base or made_on["model"])
    if source.fingerprint != made_on["fingerprint"] and not source.fingerprint.startswith("hub:"):
        raise DescriptionError(
            f"{folder}: made on {made_on['model']} with fingerprint {made_on['fingerprint'][:20]}, "
            f"{source.name} has {source.fingerprint[:20]}; fix: install that base model, or say "
            "where it is with base="
        )
    model, _ = load_base(source, made_on["quantize"])
    if (folder / "adapter_config.json").is_file():
        model = load_adapter(model, folder)
    engine = TransformersEngine(settle(model), load_tokenizer(source.weights), **options)
    return Labeler(description, engine, model)
