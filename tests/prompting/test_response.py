"""The answer format is a bijection between flat span sets and responses."""

import pytest
from hypothesis import given, settings
from strategies import LABELS, TASK, examples

from minisift.data.examples import Example, Span
from minisift.exceptions import ResponseError
from minisift.prompting.response import parse, render


@settings(max_examples=3000, deadline=None)
@given(examples())
def test_parse_inverts_render(example):
    spans = parse(render(example, LABELS), example, TASK.labels_by_name)
    assert tuple(spans) == example.spans
    assert all(example.text[s.start : s.end] == s.text for s in spans)


def test_the_documented_form():
    text = "Paris met\nAngela  Merkel in Paris: Paris"
    example = Example(text, (Span(10, 24, "PER"), Span(28, 33, "LOC"), Span(35, 40, "LOC")))
    assert render(example, {"PER": "person", "LOC": "location"}) == (
        " Angela Merkel: person\n Paris: location #2\n Paris: location #3\n\n"
    )


@pytest.mark.parametrize(
    "response",
    [
        "",
        " a: person\n",
        " a: person\n\n\n",
        "a: person\n\n",
        " a: PER\n\n",
        " a: person #1\n\n",
        " a: person #3\n\n",
        " a: person #02\n\n",
        " c: person\n\n",
        " : person\n\n",
        " a:person\n\n",
        " b: person\n a: person\n\n",
        " a b: person\n b: person\n\n",
        " a\n\n",
    ],
)
def test_refused(response):
    with pytest.raises(ResponseError):
        parse(response, Example("a b a"), TASK.labels_by_name)


def test_occurrences_are_counted_at_word_borders_only():
    example = Example("party art art", (Span(10, 13, "PER"),))
    assert render(example, LABELS) == " art: person #2\n\n"
