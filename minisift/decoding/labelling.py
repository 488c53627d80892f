"""Texts to spans under one prompt: windows, prompts, completions, and the spans of the answers."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from minisift.data.examples import Example, Span
from minisift.decoding.grammar import Language, Vocabulary
from minisift.decoding.protocols import Completion, Engine, Prompt
from minisift.decoding.windows import Window, stitch, windows
from minisift.prompting.demonstrations import without
from minisift.prompting.renderer import Renderer
from minisift.prompting.response import Target, parse, target_of

OnLong = Literal["window", "error"]
_SCARCE = 64
"""Tokens of a text that a context has to have room for beside the demonstrations."""


Plain = list[tuple[tuple[int, int, str, str], list[list[float] | None]]]
"""An `Answer` as a checkpoint holds it."""


@dataclass(frozen=True)
class Part:
    """An answer to a window: its spans, and what each one's line was chosen from."""

    window: Window
    spans: list[Span]
    choices: list[Sequence[Any]]
    is_last: bool
    """Whether it is the last of its text."""


@dataclass(frozen=True)
class Answer:
    """The spans of a whole text, and what each one's line was chosen from."""

    spans: list[Span]
    choices: list[Sequence[Any]]

    def scored(self, temperature: float) -> list[Span]:
        """The spans with their scores."""
        return [
            replace(span, score=probability(choices, temperature))
            for span, choices in zip(self.spans, self.choices, strict=True)
        ]

    def to_plain(self) -> Plain:
        """The same in lists, numbers and strings."""
        return [
            (
                (span.start, span.end, span.label, span.text),
                [None if gaps is None else [float(gap) for gap in gaps] for gaps in choices],
            )
            for span, choices in zip(self.spans, self.choices, strict=True)
        ]

    @classmethod
    def from_plain(cls, plain: Plain) -> Answer:
        """The inverse of `to_plain`."""
        return cls([Span(*span) for span, _ in plain], [choices for _, choices in plain])


@dataclass
class Stream(Iterator[list[Span]]):
    """The spans of each text, in order, and what had to be left out so far (`counts`)."""

    source: Iterator[list[Span]]
    counts: Counter[str] = field(default_factory=Counter)

    def __next__(self) -> list[Span]:
        return next(self.source)

    def close(self) -> None:
        """Leave it before its end: the engine is free for others."""
        if close := getattr(self.source, "close", None):
            close()


def probability(choices: Iterable[Any], temperature: float) -> float:
    """Probability of a run of tokens, each renormalised over what the grammar allowed there.

    choices: for each token the logits of all allowed ones less its own, which is the largest
    ([allowed] array), or None where it was forced.
    """
    import numpy as np  # as long as to load a small model, so beside that

    surprise = 0.0
    for gaps in choices:
        if gaps is not None:
            surprise += float(np.log(np.exp(np.asarray(gaps, np.float64) / temperature).sum()))
    return float(np.exp(-surprise))


class Predictor:
    """Labels text with an engine, under a prompt whose demonstrations are rendered once.

    window: tokens that windows of a long text are filled to, and that none exceeds.
    """

    def __init__(
        self,
        engine: Engine,
        renderer: Renderer,
        demonstrations: Sequence[Example],
        window: tuple[int, int],
    ) -> None:
        self.engine = engine
        self.renderer = renderer
        self.demonstrations = [renderer.render(example) for example in demonstrations]
        self.prefix = tuple(renderer.prefix(self.demonstrations))
        self.vocabulary = Vocabulary(engine.tokenizer, renderer.task.names)
        self._window = window

    def predict(
        self, texts: Iterable[str | Example], temperature: float = 1.0, end_bias: float = 0.0
    ) -> list[list[Span]]:
        """The spans of each text. temperature: what logits are divided by for scores. end_bias: see
        `protocols.Prompt`."""
        return list(self.spans(self.parts(texts, Counter(), end_bias=end_bias), temperature))

    def parts(
        self,
        texts: Iterable[str | Example],
        counts: Counter[str],
        on_long: OnLong = "window",
        at_once: int | None = None,
        end_bias: float = 0.0,
    ) -> Iterator[Part]:
        """What the model says to each window of each text, in order; texts are taken lazily.

        counts: where what was left out is added. Raises TypeError for a bad text when its turn comes.
        """
        asked: deque[tuple[Window, bool]] = deque()

        def prompts() -> Iterator[Prompt]:
            for number, text in enumerate(texts):
                if not isinstance(text, str | Example):
                    raise TypeError(
                        f"text {number} is {type(text).__name__}; fix: give a str or an Example"
                    )
                example = text if isinstance(text, Example) else Example(text)
                for window, ids, is_last in self._windows(example, on_long, counts):
                    asked.append((window, is_last))
                    yield replace(self._prompt(window.target, ids, counts), end_bias=end_bias)

        for completion in self.engine.complete(prompts(), at_once):
            if completion.cut:
                counts["answers cut where the context was full"] += 1
            window, is_last = asked.popleft()
            spans, choices = self._lines(window.target, completion)
            yield Part(window, spans, choices, is_last)

    def spans(self, parts: Iterable[Part], temperature: float) -> Iterator[list[Span]]:
        """The spans of each text, scored, from the answers to its windows."""
        answered: list[tuple[Window, list[Span]]] = []
        for part in parts:
            scored = [
                replace(span, score=probability(choices, temperature))
                for span, choices in zip(part.spans, part.choices, strict=True)
            ]
            answered.append((part.window, scored))
            if part.is_last:
                yield stitch(answered)
                answered = []

    def answers(self, parts: Iterable[Part]) -> Iterator[Answer]:
        """The same with what its spans' lines were chosen from, instead of scores."""
        text: list[Part] = []
        for part in parts:
            text.append(part)
            if part.is_last:
                lines = {
                    (span.start, span.end, span.label): choices
                    for part in text
                    for span, choices in zip(part.spans, part.choices, strict=True)
                }
                spans = next(self.spans(text, 1.0))
                yield Answer(spans, [lines[span.start, span.end, span.label] for span in spans])
                text = []

    def prompt(self, example: Example) -> Prompt:
        """The prompt of a text in one piece."""
        target = target_of(example)
        return self._prompt(target, self.renderer.shown(target.text), Counter())

    def _windows(
        self, example: Example, on_long: OnLong, counts: Counter[str]
    ) -> Iterator[tuple[Window, list[int], bool]]:
        """The windows of a text, the ids of each, and whether it is the last."""
        target = target_of(example)
        ids = self.renderer.shown(target.text)
        usual, most = self._lengths()
        if on_long == "error" or len(ids) <= most:
            yield Window(target), ids, True
            return
        counts["texts in windows"] += 1

        def tokens(text: str) -> int:
            return len(self.renderer.shown(text))

        before: Window | None = None
        for window in windows(target, tokens, usual, most, counts):
            if before:
                yield before, self.renderer.shown(before.target.text), False
            before = window
            counts["windows"] += 1
        assert before
        yield before, self.renderer.shown(before.target.text), True

    def _lengths(self) -> tuple[int, int]:
        """The window as it was given, or what a scarce context leaves of it."""
        usual, most = self._window
        context = self.engine.context
        room = (context - len(self.prefix)) // 3
        if room < min(most, _SCARCE):
            room = context // 4  # demonstrations have to go
        return min(usual, room), min(most, room)

    def _prompt(self, target: Target, shown: list[int], counts: Counter[str]) -> Prompt:
        language = Language(self.vocabulary, target)
        ids = shown + self.renderer.turn
        context = self.engine.context
        reserve = min(language.longest_answer(), context // 4)
        allowed = without(self.demonstrations, target.text)
        fits = len(self.prefix) + len(ids) + reserve <= context
        if fits and len(allowed) == len(self.demonstrations):
            return Prompt(self.prefix, ids, language)
        kept = self.renderer.fitting(allowed, target.text, ids, context, reserve)
        if left := len(allowed) - len(kept):
            counts["texts with demonstrations dropped to fit the context"] += 1
            counts["demonstrations dropped"] += left
        return Prompt(tuple(self.renderer.prefix(kept)), ids, language)

    def _lines(
        self, target: Target, completion: Completion
    ) -> tuple[list[Span], list[Sequence[Any]]]:
        """The spans of an answer, and for each what its line was chosen from."""
        pieces = self.engine.tokenizer.pieces
        text = b"".join(pieces[token] for token in completion.tokens).decode()
        spans = parse(text, target, self.renderer.task.labels_by_name)
        lines: list[Sequence[Any]] = []
        first = 0
        for index, token in enumerate(completion.tokens):
            if pieces[token].endswith(b"\n"):
                lines.append(completion.choices[first : index + 1])
                first = index + 1
        return spans, lines[: len(spans)]
