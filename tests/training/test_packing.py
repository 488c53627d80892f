"""Passes of rows: what is in them, and how many there are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch")

from minisift.prompting.renderer import Row
from minisift.training.packing import collate, pack
from minisift.training.rows import targets

rows = st.lists(
    st.lists(st.tuples(st.integers(1, 30), st.booleans()), min_size=2, max_size=9).map(
        lambda pairs: Row([t for t, _ in pairs], [m for _, m in pairs])
    ),
    min_size=1,
    max_size=3,
)


@given(rows)
def test_a_pass_predicts_the_counted_next_tokens(batch):
    inputs = collate(batch)
    ids, positions = inputs["input_ids"][0].tolist(), inputs["position_ids"][0].tolist()
    assert ids == [token for row in batch for token in row.ids]
    assert positions == [at for row in batch for at in range(len(row.ids))]
    wanted = [row.ids[at] for row in batch for at in range(1, len(row.ids)) if row.mask[at]]
    assert inputs["labels"].tolist() == wanted
    assert [ids[at + 1] for at in inputs["kept"].tolist()] == wanted
    assert len(wanted) == sum(map(targets, batch))


@given(st.lists(st.integers(1, 50), min_size=1, max_size=30), st.integers(1, 60))
def test_rows_are_packed_into_passes(lengths, room):
    batch = [Row([i] * length, [True] * length) for i, length in enumerate(lengths)]
    passes = pack(batch, room)
    assert sorted(row.ids[0] for group in passes for row in group) == list(range(len(batch)))
    for group in passes:
        assert len(group) == 1 or sum(len(row.ids) for row in group) <= room
