"""Which examples become demonstrations, in training and for labelling."""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

from minisift.prompting.renderer import RenderedExample, Renderer

logger = logging.getLogger(__name__)

Sampling = Literal["partition", "target"]


def draws(
    examples: Sequence[RenderedExample], shots: int, sampling: Sampling, seed: int
) -> Iterator[tuple[list[RenderedExample], RenderedExample]]:
    """Endless (demonstrations, target) pairs for training, each epoch shuffled afresh.

    "partition" cuts an epoch into prompts of shots + 1 sentences, so that every sentence is
    seen once an epoch, the last of each prompt as its target; sentences that are left over
    open the next epoch. "target" makes each sentence the target once an epoch and draws its
    demonstrations from the others. No text occurs twice in one prompt.
    """
    rng = random.Random(seed)
    if sampling == "target":
        while True:
            for target in rng.sample(examples, len(examples)):
                yield _others(examples, target, shots, rng), target
    size = min(shots + 1, len({example.key for example in examples}))
    waiting: list[RenderedExample] = []
    while True:
        waiting += rng.sample(examples, len(examples))
        while group := _take(waiting, size):
            yield group[:-1], group[-1]


def _take(waiting: list[RenderedExample], size: int) -> list[RenderedExample]:
    """The first `size` examples of distinct texts, taken out of `waiting`; or nothing."""
    chosen: dict[str, int] = {}
    for index, example in enumerate(waiting):
        chosen.setdefault(example.key, index)
        if len(chosen) == size:
            break
    else:
        return []
    group = [waiting[index] for index in chosen.values()]
    for index in reversed(chosen.values()):
        del waiting[index]
    return group


def _others(
    examples: Sequence[RenderedExample], target: RenderedExample, shots: int, rng: random.Random
) -> list[RenderedExample]:
    found: dict[str, RenderedExample] = {}
    banned = target.key
    for example in rng.sample(examples, len(examples)):
        if len(found) == shots:
            break
        if (key := example.key) != banned:
            found.setdefault(key, example)
    return list(found.values())


def choose(
    examples: Sequence[RenderedExample],
    shots: int,
    seed: int,
    fits: Callable[[RenderedExample], bool],
) -> list[RenderedExample]:
    """Fixed demonstrations for labelling: together they show every label where they can.

    In random order, the next one is an example with the label that was shown least so far;
    as many as the data's share, but at most a fifth, hold no span. `fits` says whether one
    may be used at all (say, is short enough).
    """
    rng = random.Random(seed)
    pool = {e.key: e for e in rng.sample(examples, len(examples)) if fits(e)}
    empty = [e for e in pool.values() if not e.example.spans]
    full = [e for e in pool.values() if e.example.spans]
    chosen = empty[: round(min(shots / 5, shots * len(empty) / max(1, len(pool))))]
    shown: Counter[str] = Counter()
    while full and len(chosen) < shots:
        rarest = min(full, key=lambda e: min(shown[s.label] for s in e.example.spans))
        full.remove(rarest)
        chosen.append(rarest)
        shown.update({s.label for s in rarest.example.spans})
    rng.shuffle(chosen)
    return chosen


def for_labelling(
    renderer: Renderer, examples: Sequence[RenderedExample], shots: int, seed: int, limit: int
) -> list[RenderedExample]:
    """So many chosen ones that leave at least half of the `limit` to the text, or fewer."""
    each = _each(shots, limit)
    return choose(examples, shots, seed, lambda shown: renderer.length(shown) <= each)


def tell_of_fewer(shown: Sequence[RenderedExample], shots: int, limit: int) -> None:
    """Warn where `for_labelling` found fewer than it was to."""
    if len(shown) < shots:
        logger.warning(
            "%d demonstrations instead of %d: the data has no more of at most %d tokens.",
            len(shown),
            shots,
            _each(shots, limit),
        )


def _each(shots: int, limit: int) -> int:
    """Tokens that one of so many demonstrations may have, so that half of the limit is left to the text."""
    return limit // 2 // max(1, shots)


def as_many(
    renderer: Renderer, examples: Sequence[RenderedExample], seed: int, room: int
) -> list[RenderedExample]:
    """As many chosen ones as so many tokens hold; where some take a quarter of them at most, such alone."""
    lengths = {example.key: renderer.length(example) for example in examples}
    shortest = min(lengths.values(), default=0)
    each = room // 4 if shortest <= room // 4 else room
    fitting = [length for length in lengths.values() if length <= each]
    if len(fitting) < len(lengths):
        logger.warning(
            "%d of %d sentences take more than %d tokens each, and are not shown.",
            len(lengths) - len(fitting),
            len(lengths),
            each,
        )
    count = min(len(fitting), round(room * len(fitting) / max(1, sum(fitting))))
    chosen = choose(examples, max(1, count), seed, lambda shown: lengths[shown.key] <= each)
    return renderer.within(chosen, room)


def without(demonstrations: Sequence[RenderedExample], text: str) -> Sequence[RenderedExample]:
    """The demonstrations less that of this text (as the prompt shows it), should it be among them."""
    if any(shown.key == text for shown in demonstrations):
        return [shown for shown in demonstrations if shown.key != text]
    return demonstrations
