"""The answer format is a bijection between flat span sets and responses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.draws import times
from support.strategies import LABELS, TASK, examples

from minisift.data.examples import Example, Span
from minisift.exceptions import ResponseError
from minisift.prompting.response import parse, render, target_of


@times(2)
@given(examples())
def test_parse_inverts_render(example):
    target = target_of(example)
    spans = parse(render(target, LABELS), target, TASK.labels_by_name)
    assert tuple(spans) == example.spans
    assert all(example.text[s.start : s.end] == s.text for s in spans)


def test_the_documented_form():
    text = "Paris met\nAngela  Merkel in Paris: Paris"
    example = Example(text, (Span(10, 24, "PER"), Span(28, 33, "LOC"), Span(35, 40, "LOC")))
    assert render(target_of(example), {"PER": "person", "LOC": "location"}) == (
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
        parse(response, target_of(Example("a b a")), TASK.labels_by_name)


@given(examples(), st.data())
def test_a_part_is_its_text_alone_with_offsets_into_the_whole(example, data):
    target = target_of(example)
    count = len(target.starts)
    first = data.draw(st.integers(0, count))
    end = data.draw(st.integers(first, count))
    part = target.part(first, end)
    assert part.example is example
    if first == end:
        assert (part.text, part.starts, part.ends) == ("", (), ())
        return
    begin, stop = example.words[first][0], example.words[end - 1][1]
    words = tuple((a - begin, b - begin) for a, b in example.words[first:end])
    alone = target_of(Example(example.text[begin:stop], (), words))
    assert (part.text, part.starts, part.ends) == (alone.text, alone.starts, alone.ends)
    assert [at - begin for at in part.folded.offsets] == alone.folded.offsets


@given(examples(), st.data())
def test_spans_of_a_parts_answer_lie_in_the_whole_text(example, data):
    """What is rendered of the part's own text is read back to where it stands in the whole."""
    count = len(example.words)
    first = data.draw(st.integers(0, count))
    end = data.draw(st.integers(first, count))
    part = target_of(example).part(first, end)
    begin, stop = (example.words[first][0], example.words[end - 1][1]) if first < end else (0, 0)
    inside = [s for s in example.spans if begin <= s.start and s.end <= stop]
    alone = Example(
        example.text[begin:stop],
        tuple(Span(s.start - begin, s.end - begin, s.label) for s in inside),
        tuple((a - begin, b - begin) for a, b in example.words[first:end]),
    )
    found = parse(render(target_of(alone), LABELS), part, TASK.labels_by_name)
    assert found == inside
    assert all(example.text[span.start : span.end] == span.text for span in found)


def test_occurrences_are_counted_at_word_borders_only():
    example = Example("party art art", (Span(10, 13, "PER"),))
    assert render(target_of(example), LABELS) == " art: person #2\n\n"
