"""Each model knows the rows of its own pass."""

import copy

import pytest

pytest.importorskip("torch")

import torch
from support.tiny_models import random_rows, tiny

from minisift.models.loading import recompute_activations
from minisift.training.loss import CausalObjective
from minisift.training.packing import collate

FIRST, SECOND = random_rows(5, seed=1), random_rows(3, seed=2)


def ready(model, recomputes):
    objective = CausalObjective(model.train())
    objective.prepare(training=True)
    if recomputes:
        recompute_activations(model)
    return objective


def gradients(model):
    parts = (weight.grad for weight in model.parameters() if weight.grad is not None)
    return torch.cat([part.flatten() for part in parts])


@pytest.mark.parametrize("recomputes", [False, True])
def test_passes_of_two_models_may_cross(recomputes):
    """The second one begins before the layers of the first are computed again, going backward."""
    wanted = []
    for rows in (FIRST, SECOND):
        objective = ready(tiny(), recomputes)
        objective(**collate(rows)).backward()
        wanted.append(gradients(objective.model))
    one, two = (ready(tiny(), recomputes) for _ in range(2))
    losses = [one(**collate(FIRST)), two(**collate(SECOND))]
    for loss in losses:
        loss.backward()
    assert torch.equal(gradients(one.model), wanted[0])
    assert torch.equal(gradients(two.model), wanted[1])


def test_a_copy_has_rows_of_its_own():
    one = ready(tiny(), False)
    first = one(**collate(FIRST))
    two = copy.deepcopy(one)
    three = ready(copy.deepcopy(one.model), False)
    second, third = two(**collate(SECOND)), three(**collate(SECOND))
    assert torch.equal(second, third)
    assert torch.equal(one(**collate(FIRST)), first)
    assert not torch.equal(two(**collate(FIRST)), second)
