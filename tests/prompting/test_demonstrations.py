"""Draws for training and choice for labelling."""

import itertools
from collections import Counter

import pytest

from minisift.data.examples import Example, Span
from minisift.prompting.demonstrations import choose, draws, without

EXAMPLES = [Example(f"w{i} x", (Span(0, 1, "AB"[i % 2]),) if i % 5 else ()) for i in range(23)]


def take(count, *args):
    return list(itertools.islice(draws(*args), count))


def test_partition_shows_each_sentence_once_an_epoch():
    prompts = take(23, EXAMPLES, 4, "partition", 0)  # 115 sentences: 5 epochs of 23
    seen = Counter(e.text for demonstrations, target in prompts for e in [*demonstrations, target])
    assert set(seen.values()) == {5}
    assert all(len(demonstrations) == 4 for demonstrations, _ in prompts)


def test_target_makes_each_sentence_the_target_once_an_epoch():
    targets = [target.text for _, target in take(46, EXAMPLES, 4, "target", 0)]
    assert sorted(targets[:23]) == sorted(targets[23:]) == sorted(e.text for e in EXAMPLES)


@pytest.mark.parametrize("sampling", ["partition", "target"])
def test_no_text_twice_in_a_prompt(sampling):
    doubled = EXAMPLES + [Example(f"  {e.text.replace(' ', '  ')}") for e in EXAMPLES]
    for demonstrations, target in take(100, doubled, 6, sampling, 1):
        texts = [" ".join(e.text.split()) for e in [*demonstrations, target]]
        assert len(set(texts)) == len(texts) == 7


@pytest.mark.parametrize("sampling", ["partition", "target"])
def test_fewer_sentences_than_shots(sampling):
    for demonstrations, _ in take(5, EXAMPLES[:3], 8, sampling, 0):
        assert len(demonstrations) == 2


def test_same_seed_same_prompts():
    assert take(9, EXAMPLES, 4, "target", 3) == take(9, EXAMPLES, 4, "target", 3)
    assert take(9, EXAMPLES, 4, "target", 3) != take(9, EXAMPLES, 4, "target", 4)


def test_chosen_demonstrations_cover_the_labels():
    rare = Example("rare z", (Span(5, 6, "RARE"),))
    chosen = choose([*EXAMPLES, rare], 5, 0, lambda e: True)
    assert {s.label for e in chosen for s in e.spans} == {"A", "B", "RARE"}
    assert sum(not e.spans for e in chosen) == 1
    assert choose(EXAMPLES, 5, 0, lambda e: False) == []
    assert choose(EXAMPLES, 0, 0, lambda e: True) == []
    assert len(choose(EXAMPLES, 99, 0, lambda e: True)) <= len(EXAMPLES)


def test_without_leaves_the_target_out():
    assert without(EXAMPLES[:3], Example(" w1\n x ")) == [EXAMPLES[0], EXAMPLES[2]]
