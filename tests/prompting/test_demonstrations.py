"""Draws for training and choice for labelling."""

import itertools
from collections import Counter

import pytest
from support.byte_tokenizers import TOKENIZERS

from minisift.data.examples import Example, Span
from minisift.prompting.demonstrations import choose, draws, without
from minisift.prompting.renderer import Renderer
from minisift.prompting.task import Task
from minisift.prompting.template import plain_template

RENDERER = Renderer(Task({"A": "a", "B": "b", "RARE": "rare"}, {}), plain_template(), TOKENIZERS[0])


def rendered(text, *spans):
    return RENDERER.render(Example(text, spans))


EXAMPLES = [rendered(f"w{i} x", *[Span(0, 1, "AB"[i % 2])] * (i % 5 > 0)) for i in range(23)]


def take(count, *args):
    return list(itertools.islice(draws(*args), count))


def test_partition_shows_each_sentence_once_an_epoch():
    prompts = take(23, EXAMPLES, 4, "partition", 0)  # 115 sentences: 5 epochs of 23
    seen = Counter(e.key for demonstrations, target in prompts for e in [*demonstrations, target])
    assert set(seen.values()) == {5}
    assert all(len(demonstrations) == 4 for demonstrations, _ in prompts)


def test_target_makes_each_sentence_the_target_once_an_epoch():
    targets = [target.key for _, target in take(46, EXAMPLES, 4, "target", 0)]
    assert sorted(targets[:23]) == sorted(targets[23:]) == sorted(e.key for e in EXAMPLES)


@pytest.mark.parametrize("sampling", ["partition", "target"])
def test_no_text_twice_in_a_prompt(sampling):
    doubled = EXAMPLES + [rendered(f"  {e.key.replace(' ', '  ')}") for e in EXAMPLES]
    for demonstrations, target in take(100, doubled, 6, sampling, 1):
        texts = [" ".join(e.example.text.split()) for e in [*demonstrations, target]]
        assert len(set(texts)) == len(texts) == 7


@pytest.mark.parametrize("sampling", ["partition", "target"])
def test_fewer_sentences_than_shots(sampling):
    for demonstrations, _ in take(5, EXAMPLES[:3], 8, sampling, 0):
        assert len(demonstrations) == 2


def test_same_seed_same_prompts():
    assert take(9, EXAMPLES, 4, "target", 3) == take(9, EXAMPLES, 4, "target", 3)
    assert take(9, EXAMPLES, 4, "target", 3) != take(9, EXAMPLES, 4, "target", 4)


def test_chosen_demonstrations_cover_the_labels():
    rare = rendered("rare z", Span(5, 6, "RARE"))
    chosen = choose([*EXAMPLES, rare], 5, 0, lambda e: True)
    assert {s.label for e in chosen for s in e.example.spans} == {"A", "B", "RARE"}
    assert sum(not e.example.spans for e in chosen) == 1
    assert choose(EXAMPLES, 5, 0, lambda e: False) == []
    assert choose(EXAMPLES, 0, 0, lambda e: True) == []
    assert len(choose(EXAMPLES, 99, 0, lambda e: True)) <= len(EXAMPLES)


def test_without_leaves_the_target_out():
    target = RENDERER.render(Example(" w1\n x "))
    assert without(EXAMPLES[:3], target.key) == [EXAMPLES[0], EXAMPLES[2]]
    assert without(EXAMPLES[:3], "w1") == EXAMPLES[:3]
