"""Where answers may differ between programs that only round otherwise."""

from dataclasses import replace

from minisift.data.examples import Example
from minisift.publish.description import predictor_of

MARGIN = 0.05
"""Logits that the runner-up is behind: more than rounding moves them in F16 files (0.02 to 0.04)."""


def completions(labeler, texts):
    """A labeler's answers, with what it had to choose from, one text at a time."""
    predictor = predictor_of(labeler.description, labeler.engine)
    for text in texts:
        prompt = predictor.prompt(Example(text) if isinstance(text, str) else text)
        biased = replace(prompt, end_bias=labeler.description.end_bias)
        yield next(labeler.engine.complete([biased]))


def lead(choice, bias):
    """How far the nearest alternative is behind, where an end and a line are even at the bias."""
    others = sorted(choice, key=abs)[1:]
    return min(abs(gap - at) for gap in others for at in (0, bias, -bias))


def settled(labeler, texts, margin=MARGIN):
    """The texts in whose answers no choice is a near tie. Most have to be."""
    found = []
    bias = labeler.description.end_bias
    for text, completion in zip(texts, completions(labeler, texts), strict=True):
        choices = [choice for choice in completion.choices if choice is not None]
        if all(lead(choice, bias) > margin for choice in choices):
            found.append(text)
    assert len(found) > len(texts) / 2
    return found
