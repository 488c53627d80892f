"""Where answers may differ between programs that only round otherwise."""

from minisift.data.examples import Example
from minisift.decoding.grammar import Language
from minisift.decoding.protocols import Prompt
from minisift.prompting.response import target_of

MARGIN = 0.05
"""Logits that the runner-up is behind: more than rounding moves them in F16 files (0.02 to 0.04)."""


def completed(labeler, example):
    """A labeler's answer, with what it had to choose from."""
    language = Language(labeler._vocabulary, target_of(example))
    prompt = Prompt(labeler.prefix, labeler.renderer.text(example), language)
    return next(labeler.engine.complete([prompt]))


def settled(labeler, texts):
    """The texts in whose answers no choice is a near tie. Most have to be."""
    found = []
    for text in texts:
        choices = completed(labeler, Example(text) if isinstance(text, str) else text).choices
        runners_up = [sorted(choice)[-2] for choice in choices if choice is not None]
        if all(value < -MARGIN for value in runners_up):
            found.append(text)
    assert len(found) > len(texts) / 2
    return found
