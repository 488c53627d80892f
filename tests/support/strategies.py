"""Hypothesis strategies: any Unicode text with flat labelled spans on its words."""

from __future__ import annotations

from hypothesis import strategies as st

from minisift.data.examples import Example, Span
from minisift.data.text import split_words
from minisift.prompting.task import Task

LABELS = {"PER": "person", "LOC": "place:or#", "T-1": "two words", "E": "é#2"}
TASK = Task(LABELS, {})

# Fragments that have broken other projects' formats: separators, controls, fake answers.
_HOSTILE = [
    "a", "b", "ab", "a a a", "no no", ": ", ":", " #2", "#", "\n", "\n\n", "\r\n", "\t", "  ",
    "person", ": person", "a: person\n", "x: two words #2\n\n", '"', "\\", "'", "<|im_end|>",
    "<eos>", "</s>", "<bos>", "<0x0A>", "\x00", "\u2028", "\u00a0", "▁", "Ġ", "🙂", "👩‍👩‍👧", "e\u0301", "é",
    "שלום", "مرحبا", "日本語", "ภาษา", "½", "10:30", "U.N.", "-", "(", ")", ".", "\ud800", "\ufeff", "Text:",
]  # fmt: skip
texts = st.one_of(
    st.lists(st.sampled_from(_HOSTILE), max_size=14).map("".join),
    st.lists(st.sampled_from(_HOSTILE), max_size=14).map(" ".join),
    st.text(max_size=40),
    st.text(st.characters(codec="utf-8"), max_size=40),
)


def is_utf8(text: str) -> bool:
    """Whether the text has no lone surrogates."""
    return not any(0xD800 <= ord(char) < 0xE000 for char in text)


@st.composite
def examples(draw: st.DrawFn) -> Example:
    """An example whose words are those of `split_words`, some of them joined at random."""
    text = draw(texts)
    words = split_words(text)
    if draw(st.booleans()):
        glued: list[tuple[int, int]] = []
        for start, end in words:
            if glued and glued[-1][1] == start and draw(st.booleans()):
                glued[-1] = (glued[-1][0], end)
            else:
                glued.append((start, end))
        words = glued
    spans, index = [], 0
    while index < len(words):
        if draw(st.integers(0, 2)) == 0:
            last = min(len(words) - 1, index + draw(st.integers(0, 3)))
            label = draw(st.sampled_from(sorted(LABELS)))
            spans.append(Span(words[index][0], words[last][1], label))
            index = last
        index += 1
    return Example(text, tuple(spans), tuple(words))


@st.composite
def flat_spans(draw: st.DrawFn, length: int) -> list[tuple[int, int, str]]:
    """Spans as (first word, end word, label) of so many words, in order and apart."""
    spans, at = [], 0
    while at < length:
        if draw(st.booleans()):
            end = min(length, at + draw(st.integers(1, 3)))
            spans.append((at, end, draw(st.sampled_from("AB"))))
            at = end
        else:
            at += 1
    return spans
