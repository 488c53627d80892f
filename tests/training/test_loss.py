"""The loss of a pass is that of its rows, each computed by the model alone."""

import functools

import pytest

pytest.importorskip("torch")

import torch
from support.tiny_models import TINY, among_some, is_as_it_came, plain_loss, random_rows, tiny

from minisift.training import attention
from minisift.training.loss import CausalObjective
from minisift.training.packing import collate


@pytest.mark.parametrize("kind", TINY)
@pytest.mark.parametrize(("logits", "places", "plain"), [(1 << 22, 64, 1024), (80, 1, 0)])
@pytest.mark.parametrize("chosen", [lambda rows: rows, among_some])
def test_a_packed_loss_and_its_gradients_are_those_of_the_rows_alone(
    kind, logits, places, plain, chosen
):
    batch = chosen(random_rows(4))
    alone, packed = TINY[kind](), TINY[kind]()
    for model in (alone, packed):
        model.get_output_embeddings().weight.requires_grad_(False)
    wanted = sum(plain_loss(alone, row) for row in batch)
    wanted.backward()
    use = functools.partial(attention.use, plain=plain)
    objective = CausalObjective(packed, use=use, logits=logits, places=places)
    objective.prepare(training=True)
    loss = objective(**collate(batch))
    loss.backward()
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-5)
    for ours, theirs in zip(packed.parameters(), alone.parameters(), strict=True):
        if theirs.requires_grad:
            assert torch.allclose(ours.grad, theirs.grad, atol=1e-4, rtol=1e-3)


def test_a_model_that_would_see_across_rows_has_no_loss():
    objective = CausalObjective(tiny())
    batch = collate(random_rows(2))
    with pytest.raises(RuntimeError, match="prepare"):
        objective(**batch)
    objective.prepare(training=True)
    assert objective(**batch) > 0
    objective.prepare(training=False)
    assert is_as_it_came(objective.model)
    with pytest.raises(RuntimeError, match="prepare"):
        objective(**batch)
