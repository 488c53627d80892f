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


def lead(labeler, completion, at):
    """How far the runner-up of a choice is behind, the bias of the end taken off: where a line may begin,
    the end is the first of what is allowed."""
    choice = completion.choices[at].copy()
    before = labeler.engine.tokenizer.pieces[completion.tokens[at - 1]] if at else b"\n"
    if before.endswith(b"\n"):
        choice[0] -= labeler.description.end_bias
    second, first = sorted(choice)[-2:]
    return first - second


def settled(labeler, texts, margin=MARGIN):
    """The texts in whose answers no choice is a near tie. Most have to be."""
    found = []
    for text, completion in zip(texts, completions(labeler, texts), strict=True):
        choices = [at for at, choice in enumerate(completion.choices) if choice is not None]
        if all(lead(labeler, completion, at) > margin for at in choices):
            found.append(text)
    assert len(found) > len(texts) / 2
    return found
