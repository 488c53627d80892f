"""Windows hold every word, and spans come back to their places."""

import itertools
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from minisift.data.examples import Example, Span
from minisift.decoding.windows import Window, stitch, unshift, windows


def cut(text, usual=6, most=12):
    counts = Counter()
    return list(windows(Example(text), lambda t: len(t.split()), usual, most, counts)), counts


@settings(max_examples=500, deadline=None)
@given(st.text("ab .\n!A", max_size=200), st.integers(1, 9), st.integers(4, 30))
def test_every_word_is_in_a_window(text, usual, most):
    found, counts = cut(text, usual, most)
    held = {
        (a + window.start, b + window.start) for window in found for a, b in window.example.words
    }
    assert counts or held == set(Example(text).words)
    for window in found:
        size = len(window.example.text)
        assert text[window.start : window.start + size] == window.example.text


def test_sentences_and_lines_are_kept_whole():
    found, _ = cut("Dr. Ann went to St. Ives by train. She saw Bob there.\nHe did not see her")
    assert [window.example.text for window in found] == [
        "Dr. Ann went to St. Ives by train.",
        "She saw Bob there.",
        "He did not see her",
    ]


def test_long_sentences_overlap():
    found, _ = cut(" ".join(f"w{chr(97 + i)}" for i in range(24)))
    assert len(found) > 1
    for before, after in itertools.pairwise(found):
        assert before.start < after.start < before.start + len(before.example.text)
        assert before.cut_after
        assert after.cut_before


def test_a_word_beyond_any_window_is_counted():
    counts = Counter()
    found = list(windows(Example("a " + "b" * 50 + " c"), len, 5, 20, counts))
    assert [window.example.text for window in found] == ["a", "c"]
    assert counts["words too long to be labelled"] == 1
    assert list(windows(Example("b" * 50), len, 5, 20, counts)) == [Window(Example(""), 0)]


def test_of_overlapping_spans_the_likelier_stays_unless_a_cut_touches_it():
    first = Window(Example("in New York"), 0, cut_after=True)
    second = Window(Example("York now"), 7, cut_before=True)
    whole, part = Span(3, 11, "LOC", "New York", 0.6), Span(0, 4, "ORG", "York", 0.7)
    assert unshift(second, part).start == 7
    kept = stitch([(first, [Span(3, 6, "LOC", "New", 0.5)]), (second, [part])])
    assert [(span.start, span.label) for span in kept] == [(3, "LOC"), (7, "ORG")]
    assert stitch([(Window(Example("in New York now"), 0), [whole]), (second, [part])]) == [whole]
