"""Which sentences are held out."""

import minisift
from minisift.training.dev_set import hold_out


def test_a_tenth_is_held_out(train):
    kept, held = hold_out(train, 0.1, 0)
    assert len(held) == round(0.1 * len(train))
    assert len(kept) + len(held) == len(train)
    assert hold_out(train, 0.1, 0) == (kept, held)
    assert hold_out(train[:99], 0.1, 0) == (train[:99], [])
    assert hold_out(train, 0, 0) == (train, [])
    rare = [minisift.Example("a", (minisift.Span(0, 1, str(i // 5)),)) for i in range(200)]
    assert hold_out(rare, 0.5, 0)[1] == []
