"""Which examples become demonstrations, in training and for labelling."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

from minisift.data import Example
from minisift.text import fold

Sampling = Literal["partition", "target"]


def _key(example: Example) -> str:
    return fold(example.text).text


def draws(
    examples: Sequence[Example], shots: int, sampling: Sampling, seed: int
) -> Iterator[tuple[list[Example], Example]]:
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
    if sampling != "partition":
        raise ValueError(f"sampling={sampling!r}; fix: 'partition' or 'target'")
    size = min(shots + 1, len({_key(example) for example in examples}))
    waiting: list[Example] = []
    while True:
        waiting += rng.sample(examples, len(examples))
        while group := _take(waiting, size):
            yield group[:-1], group[-1]


def _take(waiting: list[Example], size: int) -> list[Example]:
    """The first `size` examples of distinct texts, taken out of `waiting`; or nothing."""
    chosen: dict[str, int] = {}
    for index, example in enumerate(waiting):
        chosen.setdefault(_key(example), index)
        if len(chosen) == size:
            break
    else:
        return []
    group = [waiting[index] for index in chosen.values()]
    for index in reversed(chosen.values()):
        del waiting[index]
    return group


def _others(
    examples: Sequence[Example], target: Example, shots: int, rng: random.Random
) -> list[Example]:
    found: dict[str, Example] = {}
    banned = _key(target)
    for example in rng.sample(examples, len(examples)):
        if len(found) == shots:
            break
        if (key := _key(example)) != banned:
            found.setdefault(key, example)
    return list(found.values())


def choose(
    examples: Sequence[Example], shots: int, seed: int, fits: Callable[[Example], bool]
) -> list[Example]:
    """Fixed demonstrations for labelling: together they show every label where they can.

    In random order, the next one is an example with the label that was shown least so far;
    as many as the data's share, but at most a fifth, hold no span. `fits` says whether one
    may be used at all (say, is short enough).
    """
    rng = random.Random(seed)
    pool = {_key(e): e for e in rng.sample(examples, len(examples)) if fits(e)}
    empty = [e for e in pool.values() if not e.spans]
    full = [e for e in pool.values() if e.spans]
    chosen = empty[: round(min(shots / 5, shots * len(empty) / max(1, len(pool))))]
    shown: Counter[str] = Counter()
    while full and len(chosen) < shots:
        rarest = min(full, key=lambda e: min(shown[s.label] for s in e.spans))
        full.remove(rarest)
        chosen.append(rarest)
        shown.update({s.label for s in rarest.spans})
    rng.shuffle(chosen)
    return chosen


def without(demonstrations: Sequence[Example], target: Example) -> list[Example]:
    """The demonstrations less the target itself, should it be among them."""
    key = _key(target)
    return [example for example in demonstrations if _key(example) != key]
