"""What an engine makes of the tokens behind a prompt, whatever language its labeler would allow there."""

import numpy as np

from minisift.decoding.protocols import Prompt
from minisift.engines.llamacpp.native import features

STEPS = 3
HAS_AVX2_ALONE = "AVX2 = 1" in features() and "AVX512 = 1" not in features()
"""Whether llama.cpp computes without AVX-512 on an x86 processor, where it rounds otherwise."""


class AnyAnswer:
    """Some tokens, each of which may be any; the second and third are guessed."""

    at_line = True

    def __init__(self, vocabulary):
        self._all = list(range(vocabulary))
        self._left = STEPS

    @property
    def done(self):
        return not self._left

    def allowed(self):
        return self._all if self._left else []

    def advance(self, token):
        self._left -= 1

    def forced(self):
        return []

    def guess(self, count):
        return [0] * min(count, self._left - 1)


class AnyLanguage:
    end = ()

    def __init__(self, vocabulary):
        self._vocabulary = vocabulary

    def longest_answer(self):
        return STEPS

    def answer(self):
        return AnyAnswer(self._vocabulary)


def next_logits(engine, ids):
    """The tokens that an engine finds likeliest behind others, one after the other, and the logits at
    each place less the largest, [places, vocabulary]."""
    prompt = Prompt((), list(ids), AnyLanguage(len(engine.tokenizer.pieces)))
    (answer,) = engine.complete([prompt])
    return answer.tokens, np.stack(answer.choices)
