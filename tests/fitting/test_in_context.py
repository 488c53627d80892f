"""Labelers by in-context learning alone, and trained ones under another prompt."""

import pytest

import minisift
from minisift.data.examples import Example

pytest.importorskip("torch")


def test_a_prompt_in_4_bits(small_base, train):
    labeler = minisift.prompt(small_base, train, shots=1, quantize="nf4")
    assert labeler.predict("Tom took 5 mg.") is not None
    assert labeler.description.base["quantize"] == "nf4"


def test_a_prompt_shows_what_it_has_room_for_and_is_judged_by_the_rest(small_base, train):
    labeler = minisift.prompt(small_base, train)
    shown = [example.example for example in labeler.demonstrations]
    assert 10 < len(shown) < len(train)
    assert 800 < len(labeler.prefix) <= 1024
    assert {s.label for e in shown for s in e.spans} == set(labeler.labels)
    made = labeler.description.made
    assert made["shots"] == len(shown)
    assert 16 < made["scores"]["dev"]["sentences"] <= 32
    assert minisift.prompt(small_base, train, seed=1).demonstrations != labeler.demonstrations


def test_few_sentences_are_judged_with_themselves_left_out(small_base, train):
    labeler = minisift.prompt(small_base, train[:3])
    assert len(labeler.demonstrations) == 3
    assert labeler.description.made["scores"]["dev"]["sentences"] == 3
    alone = minisift.prompt(small_base, [e for e in train if e.spans][:1])
    assert len(alone.demonstrations) == 1
    nothing = minisift.prompt(small_base, train, shots=0)
    assert nothing.demonstrations == []
    assert "scores" not in nothing.description.made


def test_the_same_model_under_another_prompt(loaded, train, dev):
    labeler = loaded
    shown = [e for e in train if e not in labeler.description.demonstrations][:2]
    other = labeler.prompted(shown, instruction=True)
    assert other.description.demonstrations == shown
    assert other.description.task.instruction.startswith("List the spans")
    assert labeler.description.task.instruction == ""
    assert other.prefix != labeler.prefix
    assert len(other.predict(dev[:2])) == 2
    back = other.prompted(labeler.description.demonstrations, instruction=False)
    assert back.prefix == labeler.prefix
    assert back.predict(dev[:2]) == labeler.predict(dev[:2])
    assert labeler.prompted([]).description.demonstrations == []
    with pytest.raises(ValueError, match="labels X"):
        labeler.prompted([Example.from_words(["a"], [(0, 1, "X")])])
