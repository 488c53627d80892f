"""The choice between one line more and the end."""

import re

import numpy as np
import pytest

from minisift.data.examples import Example
from minisift.decoding.answering import Running
from minisift.decoding.grammar import Language, Vocabulary
from minisift.decoding.protocols import Prompt
from minisift.prompting.response import target_of

PIECES = [b"\n", b" Tom", b" Ann", b": person", b" met"]


class _Tokenizer:
    pieces = PIECES

    def encode(self, text):
        found = re.findall("|".join(piece.decode() for piece in PIECES), text)
        return [PIECES.index(piece.encode()) for piece in found]


def running(end_bias):
    vocabulary = Vocabulary(_Tokenizer(), {"PER": "person"})
    language = Language(vocabulary, target_of(Example("Tom met Ann")))
    return Running(Prompt((), [1, 4, 2], language, end_bias), 100)


LOGITS = np.array([2.0, 1.5, 0.5, 9.0, 0.0], np.float32)


@pytest.mark.parametrize(
    ("end_bias", "answer"),
    [(0.0, "\n"), (0.4, "\n"), (0.6, " Tom: person\n\n"), (1.6, " Tom: person\n Ann: person\n\n")],
)
def test_the_end_is_weighed_against_another_line(end_bias, answer):
    text = running(end_bias)
    while not text.done:
        text.choose(LOGITS)
    completion = text.completion
    assert b"".join(PIECES[token] for token in completion.tokens).decode() == answer
    assert len(completion.choices) == len(completion.tokens)


def test_what_is_taken_from_the_end_is_not_in_the_scores():
    text = running(0.6)
    text.choose(LOGITS)
    (gaps,) = [gaps for gaps in text.completion.choices if gaps is not None]
    assert sorted(gaps) == [-1.5, -1.0, 0.0, 0.5]
    assert LOGITS[0] == 2.0
