"""Hidden states and then logits are what a model computes at once."""

import pytest

pytest.importorskip("torch")

import torch
from support.tiny_models import TINY

from minisift.models.logits import hidden_states, logits

IDS = torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6]])


@pytest.mark.parametrize(("kind", "cap"), [*((kind, None) for kind in TINY), ("gemma3", 0.1)])
def test_logits_are_those_of_the_model_itself(kind, cap):
    model = TINY[kind]()
    model.config.final_logit_softcapping = cap
    parts = dict(model.named_children())
    tokens = torch.tensor([7, 0, 33])
    with torch.inference_mode():
        wanted = model(IDS).logits[0]
        states = hidden_states(model, input_ids=IDS)
        assert torch.allclose(logits(model, states[0]), wanted, atol=1e-5)
        assert torch.allclose(logits(model, states[0], tokens), wanted[:, tokens], atol=1e-5)
    assert dict(model.named_children()) == parts
