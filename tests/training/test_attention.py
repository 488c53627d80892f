"""Each model knows the rows of its own pass."""

import copy

import pytest

pytest.importorskip("torch")

import torch
from support.tiny_models import TINY, random_rows, tiny

from minisift.models.loading import recompute_activations
from minisift.training import attention
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


@pytest.mark.parametrize("kind", TINY)
@pytest.mark.parametrize("causal", [True, False])
def test_long_rows_attend_as_the_model_alone_does(kind, causal):
    model, lengths = TINY[kind](), (300, 129)
    if not causal:
        attention.unmask(model)
    ids = torch.randint(1, 40, (1, sum(lengths)), generator=torch.Generator().manual_seed(0))
    positions = torch.cat([torch.arange(length) for length in lengths])[None]
    wanted, own = [], attention.use(model, plain=0)  # torch's own kernel
    for row in ids.split(lengths, 1):
        own.lengths = [row.shape[1]]
        wanted.append(model(row, use_cache=False).logits)
    rows = attention.use(model)
    rows.lengths = lengths
    found = model(ids, position_ids=positions, use_cache=False).logits
    torch.testing.assert_close(found, torch.cat(wanted, 1), rtol=1e-4, atol=1e-4)


def test_a_copy_has_rows_of_its_own():
    one = ready(tiny(), False)
    first = one(**collate(FIRST))
    two = copy.deepcopy(one)
    three = ready(copy.deepcopy(one.model), False)
    second, third = two(**collate(SECOND)), three(**collate(SECOND))
    assert torch.equal(second, third)
    assert torch.equal(one(**collate(FIRST)), first)
    assert not torch.equal(two(**collate(FIRST)), second)
