"""Texts that run together are completed as each would be alone."""

import pytest

pytest.importorskip("torch")

import numpy
import torch
from support.tiny_models import TINY

from minisift.decoding.protocols import Prompt
from minisift.engines.transformers import TransformersEngine

VOCABULARY = 40


class Numbers:
    """Answers of so many tokens, each of them any; every third is followed by two that are forced."""

    end = ()

    def __init__(self, length):
        self.length = length

    def longest_answer(self):
        return self.length

    def answer(self):
        return Answer(self.length)


class Answer:
    at_line = True

    def __init__(self, length):
        self.tokens = []
        self.length = length

    @property
    def done(self):
        return len(self.tokens) >= self.length

    def allowed(self):
        return list(range(VOCABULARY))

    def advance(self, token):
        self.tokens.append(token)

    def forced(self):
        forced = [5, 6] if len(self.tokens) % 5 == 3 and not self.done else []
        self.tokens += forced
        return forced

    def guess(self, count):
        """Now and then right: what was written last, and what follows that."""
        return [(self.tokens[-1] + at) % VOCABULARY for at in range(count)] if self.tokens else []


def one_by_one(model, prompt):
    """Greedy tokens and the logits that each was chosen by, without cache, draft or padding."""
    answer, choices = prompt.language.answer(), []
    while not answer.done:
        history = [*prompt.prefix, *prompt.ids, *answer.tokens]
        logits = model(torch.tensor([history])).logits[0, -1]
        answer.advance(int(logits.argmax()))
        forced = answer.forced()
        choices += [(logits - logits.max()).numpy(), *[None] * len(forced)]
    return answer.tokens, choices


@pytest.mark.parametrize("kind", TINY)
@pytest.mark.parametrize("prefix", [(1, 2, 3), (9, 8, 7, 6, 5, 4, 3, 2)])
@pytest.mark.parametrize("many", [VOCABULARY, VOCABULARY - 1])
def test_ragged_batches_compute_what_single_texts_do(kind, prefix, many):
    """Padding in the cache changes nothing, sliding windows included; nor do wrong drafts, nor whether the
    whole head is multiplied."""
    model = TINY[kind]()
    engine = TransformersEngine(lambda: model, None, None, batch_size=3, many=many)
    texts = [[4, 5, 6, 7, 8, 9], [10], [11, 12, 13], [14, 15, 16, 17], [18, 19]]
    prompts = [Prompt(prefix, ids, Numbers(4 + 3 * at)) for at, ids in enumerate(texts)]
    together = list(engine.complete(prompts))
    assert len(together) == len(prompts)
    for prompt, completion in zip(prompts, together, strict=True):
        with torch.inference_mode():
            tokens, choices = one_by_one(model, prompt)
        assert completion.tokens == tokens
        assert not completion.cut
        for ours, theirs in zip(completion.choices, choices, strict=True):
            if theirs is None:
                assert ours is None
            else:
                assert numpy.allclose(ours, theirs, atol=1e-4)
