"""The chat format of a model, from its own template."""

import pytest

pytest.importorskip("torch")

import minisift
from minisift.publish.description import predictor_of


def test_chat_template(small_base, train, dev):
    labeler = minisift.prompt(small_base, train, shots=2, template="chat")
    template = labeler.description.template
    assert "List the spans" in template.head
    assert template.turn == "<|im_end|>\n<|im_start|>assistant\n"
    assert template.joint == "<|im_end|>\n<|im_start|>user\n"
    pieces = labeler.engine.tokenizer.pieces
    prompt = predictor_of(labeler.description, labeler.engine).prompt(dev[0])
    assert sum(not pieces[token] for token in prompt.prefix) >= 11
    assert len(labeler.predict(dev[:2])) == 2
