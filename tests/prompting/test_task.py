"""Label names that make answers ambiguous are refused."""

import pytest

from minisift.data.examples import Example, Span
from minisift.prompting.task import Task, make_task


@pytest.mark.parametrize("name", ["", " a", "a ", "a\nb", "a\u2028b", "a: b", "a #2", "#2", "a\tb"])
def test_bad_names(name):
    with pytest.raises(ValueError, match="fix"):
        Task({"X": name}, {})


def test_names_must_differ():
    with pytest.raises(ValueError, match="also the name of 'X'"):
        Task({"X": "same", "Y": "same"}, {})


def test_names_from_labels():
    labels = ["PER", "event_type", "Data Breach", "a", "A"]
    examples = [Example("x", (Span(0, 1, label),)) for label in labels]
    assert make_task(examples, names={"Data Breach": "leak"}).names == {
        "A": "A",
        "Data Breach": "leak",
        "PER": "person",
        "a": "a",
        "event_type": "event type",
    }
    with pytest.raises(ValueError, match="LOC"):
        make_task(examples, names={"LOC": "place"})
    with pytest.raises(ValueError, match="description"):
        make_task(examples, descriptions={"LOC": "places"})
    with pytest.raises(ValueError, match="no labels"):
        make_task([Example("x")])


def test_instruction():
    examples = [Example("x", (Span(0, 1, "PER"),))]
    assert make_task(examples).instruction == ""
    task = make_task(examples, descriptions={"PER": "people's names"}, instruction=True)
    assert "- person: people's names" in task.instruction
    assert make_task(examples, instruction="Do it.").instruction == "Do it."
