"""Where answers may differ between programs that only round otherwise."""

from minisift.data.examples import Example
from minisift.publish.description import predictor_of

MARGIN = 0.05
"""Logits that the runner-up is behind: more than rounding moves them in F16 files (0.02 to 0.04)."""


def completions(labeler, texts):
    """A labeler's answers, with what it had to choose from, one text at a time."""
    predictor = predictor_of(labeler.description, labeler.engine)
    for text in texts:
        prompt = predictor.prompt(Example(text) if isinstance(text, str) else text)
        yield next(labeler.engine.complete([prompt]))


def settled(labeler, texts, margin=MARGIN):
    """The texts in whose answers no choice is a near tie. Most have to be."""
    found = []
    for text, completion in zip(texts, completions(labeler, texts), strict=True):
        runners_up = [sorted(choice)[-2] for choice in completion.choices if choice is not None]
        if all(value < -margin for value in runners_up):
            found.append(text)
    assert len(found) > len(texts) / 2
    return found
