"""Windows hold every word, and spans come back to their places."""

import itertools
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from support.strategies import TASK, examples

from minisift.data.examples import Example, Span
from minisift.decoding.windows import Window, stitch, windows
from minisift.prompting.response import parse, render, target_of


def cut(text, usual=6, most=12):
    counts = Counter()
    target = target_of(Example(text))
    return list(windows(target, lambda t: len(t.split()), usual, most, counts)), counts


def words_of(window):
    """The words that a window holds, as ranges of the whole text."""
    target = window.target
    pairs = zip(target.starts, target.ends, strict=True)
    return [target.folded.unfold_range(start, end) for start, end in pairs]


@given(st.text("ab .\n!A", max_size=200), st.integers(1, 9), st.integers(4, 30))
def test_every_word_is_in_a_window(text, usual, most):
    found, counts = cut(text, usual, most)
    held = {word for window in found for word in words_of(window)}
    assert counts or held == set(Example(text).words)
    for window in found:
        assert window.target.example.text == text
        if words := words_of(window):
            assert window.target.text == " ".join(text[words[0][0] : words[-1][1]].split())


@given(examples(), st.integers(1, 9), st.integers(4, 30))
def test_what_is_answered_to_each_window_is_stitched_to_the_texts_spans(example, usual, most):
    """Of any text: each span that lies in a window is found in the answer to that window."""
    counts = Counter()
    answered = []
    for window in windows(target_of(example), len, usual, most, counts):
        words = words_of(window)
        begin, stop = (words[0][0], words[-1][1]) if words else (0, 0)
        inside = [s for s in example.spans if begin <= s.start and s.end <= stop]
        # the answer that the window's own text has
        shown = Example(
            example.text[begin:stop],
            tuple(Span(s.start - begin, s.end - begin, s.label) for s in inside),
            tuple((a - begin, b - begin) for a, b in words),
        )
        response = render(target_of(shown), TASK.names)
        answered.append((window, parse(response, window.target, TASK.labels_by_name)))
        assert answered[-1][1] == inside
    held = {span for _, spans in answered for span in spans}
    assert stitch(answered) == sorted(held)


def test_sentences_and_lines_are_kept_whole():
    found, _ = cut("Dr. Ann went to St. Ives by train. She saw Bob there.\nHe did not see her")
    assert [window.target.text for window in found] == [
        "Dr. Ann went to St. Ives by train.",
        "She saw Bob there.",
        "He did not see her",
    ]


def test_long_sentences_overlap():
    found, _ = cut(" ".join(f"w{chr(97 + i)}" for i in range(24)))
    assert len(found) > 1
    for before, after in itertools.pairwise(found):
        first, second = words_of(before), words_of(after)
        assert first[0] < second[0] < first[-1]
        assert before.cut_after
        assert after.cut_before


def test_a_word_beyond_any_window_is_counted():
    counts = Counter()
    found = list(windows(target_of(Example("a " + "b" * 50 + " c")), len, 5, 20, counts))
    assert [window.target.text for window in found] == ["a", "c"]
    assert counts["words too long to be labelled"] == 1
    (nothing,) = windows(target_of(Example("b" * 50)), len, 5, 20, counts)
    assert (nothing.target.text, words_of(nothing)) == ("", [])


def test_of_overlapping_spans_the_likelier_stays_unless_a_cut_touches_it():
    target = target_of(Example("in New York now"))
    first = Window(target.part(0, 3), cut_after=True)
    second = Window(target.part(2, 4), cut_before=True)
    whole, part = Span(3, 11, "LOC", "New York", 0.6), Span(7, 11, "ORG", "York", 0.7)
    new = Span(3, 6, "LOC", "New", 0.5)
    assert stitch([(first, [new]), (second, [part])]) == [new, part]
    assert stitch([(Window(target), [whole]), (second, [part])]) == [whole]
