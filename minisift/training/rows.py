"""The rows of a training: prompts as token ids, with what the loss counts."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from dataclasses import replace

from minisift.decoding.grammar import Language, Vocabulary
from minisift.prompting.demonstrations import draws
from minisift.prompting.renderer import RenderedExample, Renderer, Row
from minisift.training.settings import Settings


def training_rows(
    renderer: Renderer,
    examples: Sequence[RenderedExample],
    settings: Settings,
    left_out: Sequence[Collection[str]] = (),
) -> tuple[list[list[Row]], dict[str, int]]:
    """The rows of each run of a training, in order, and how much was left out to fit `max_length`.

    left_out: the texts that each run does without; as many runs as the settings say where there is none.
    """
    runs: list[list[Row]] = []
    dropped = too_long = 0
    for run, without in enumerate(left_out or [()] * settings.averaged(*_size(examples))):
        kept = [example for example in examples if example.example.text not in without]
        rows: list[Row] = []
        # seeds have 32 bits, so that no other seed's run draws the same
        drawn = draws(kept, settings.shots, settings.sampling, settings.seed + (run << 32))
        for demonstrations, target in itertools.islice(drawn, settings.prompts(*_size(kept))):
            try:
                shown = renderer.fitting(
                    demonstrations,
                    target.key,
                    target.text,
                    settings.max_length,
                    len(target.response),
                )
            except ValueError:
                too_long += 1
                continue
            dropped += len(demonstrations) - len(shown)
            rows.append(renderer.row(shown, target, settings.strategy))
        runs.append(rows)
    if not any(runs):
        raise ValueError(
            f"no training sentence fits max_length={settings.max_length} tokens; fix: raise it"
        )
    return runs, {"demonstrations dropped": dropped, "prompts too long": too_long}


def _size(examples: Sequence[RenderedExample]) -> tuple[int, int]:
    """Sentences and spans."""
    return len(examples), sum(len(rendered.example.spans) for rendered in examples)


def with_choices(
    renderer: Renderer, examples: Sequence[RenderedExample], longest: int
) -> list[RenderedExample]:
    """The examples with what the grammar allows in the place of each token of their responses.

    longest: tokens from which on an example is in no row, so that it is left as it is.
    """
    vocabulary = Vocabulary(renderer.tokenizer, renderer.task.names)
    return [
        replace(example, choices=_choices(vocabulary, example))
        if len(example.text) + len(example.response) < longest
        else example
        for example in examples
    ]


def _choices(vocabulary: Vocabulary, example: RenderedExample) -> list[Sequence[int] | None]:
    answer = Language(vocabulary, example.target).answer()
    found: list[Sequence[int] | None] = []
    for token in example.response:
        if token not in (allowed := answer.allowed()):
            break  # a span with a character that the vocabulary has no token for
        found.append(allowed)
        answer.advance(token)
    return found + [None] * (len(example.response) - len(found))


def targets(row: Row) -> int:
    """Tokens that the loss counts: nothing predicts a row's first token."""
    return sum(row.mask[1:])
