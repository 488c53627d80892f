"""Answers without a grammar."""

import pytest

import minisift
from minisift.decoding.protocols import Completion

pytest.importorskip("torch")

from minisift.baselines import Unconstrained
from minisift.engines.llamacpp.head import Head


class Says:
    """An engine that gives one answer to all prompts, with another's tokenizer."""

    files = ()

    def __init__(self, engine, answer):
        self.tokenizer = engine.tokenizer
        self.context = engine.context
        self.answer = answer

    def metadata(self, key):
        return None

    def complete(self, prompts, at_once=None):
        return (Completion(self.tokenizer.encode(self.answer)) for _ in prompts)

    def close(self):
        pass


def free_answers(labeler, dev):
    """The spans of free answers on four dev sentences."""
    free = Unconstrained(labeler)
    found = free.predict([*dev[:4], "", "no. " * 20])
    assert free.counts["answers"] == 6
    assert free.counts["invalid answers"] >= bool(free.counts["lines dropped"])
    for example, spans in zip(dev[:4], found, strict=False):
        assert all(example.text[s.start : s.end] == s.text for s in spans)
        assert list(spans) == sorted(spans)
    return found[:4]


def test_free_answers_are_counted(small, dev):
    free_answers(small, dev)


def test_llama_cpp_multiplies_where_any_token_may_follow(small_loaded, dev, monkeypatch):
    asked = []
    logits = Head.logits
    monkeypatch.setattr(
        Head, "logits", lambda head, *of: asked.append(head.is_worth_it) or logits(head, *of)
    )
    free = Unconstrained(small_loaded)
    first, again = (free.predict(dev[:1]) for _ in range(2))
    assert first == again
    assert sum(asked) == 2  # of each stream the first


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["transformers", "llama.cpp"])
def test_valid_lines_of_free_answers_are_kept(engine, fitted, exported, dev):
    labeler = fitted if engine == "transformers" else exported[1]
    constrained = labeler.predict(dev[:4])
    assert sum(map(len, free_answers(labeler, dev))) >= sum(map(len, constrained)) / 2


@pytest.mark.parametrize(
    ("answer", "spans", "dropped"),
    [
        (" ann: person\n b: dose\n\n", [(0, 3, "PERSON"), (4, 5, "DOSE")], 0),
        (" ann: person\n b: nothing\n c: dose\n\n", [(0, 3, "PERSON"), (6, 7, "DOSE")], 1),
        (" c: dose\n ann: person\n", [(6, 7, "DOSE")], 1),
        ("ann", [], 1),
        ("", [], 0),
        (" ann: person", [(0, 3, "PERSON")], 0),
    ],
)
def test_lines_of_a_free_answer(small, answer, spans, dropped):
    free = Unconstrained(minisift.Labeler(small.description, Says(small.engine, answer)))
    (found,) = free.predict(["ann b c"])
    assert [(s.start, s.end, s.label) for s in found] == spans
    assert free.counts["lines dropped"] == dropped
