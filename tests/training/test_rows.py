"""The rows of a training fit, and what does not is counted."""

import pytest
from support.byte_tokenizers import byte_tokenizer

from minisift.data.examples import Example
from minisift.prompting.renderer import Renderer
from minisift.prompting.task import Task
from minisift.prompting.template import plain_template
from minisift.training.rows import training_rows
from minisift.training.settings import Settings


def test_rows_that_do_not_fit_are_counted():
    renderer = Renderer(Task({"X": "x"}, {}), plain_template(), byte_tokenizer())
    texts = ("a" * 10, "b" * 10, "c" * 300)
    examples = [renderer.render(Example(text)) for text in texts]
    chosen = Settings(shots=2, max_length=60, max_prompts=6)
    kept, left_out = training_rows(renderer, examples, chosen)
    assert all(len(row.ids) <= 60 for row in kept)
    assert left_out["prompts too long"] + len(kept) == 6
    assert left_out["demonstrations dropped"] > 0
    with pytest.raises(ValueError, match="max_length=5"):
        training_rows(renderer, examples, Settings(max_length=5))
