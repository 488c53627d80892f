"""Which sentences are held out."""

import minisift
from minisift.training.dev_set import hold_out, leave_out
from minisift.training.preparation import prepare
from minisift.training.settings import Settings


def test_a_tenth_is_held_out(train):
    kept, held = hold_out(train, 0.1, 0)
    assert len(held) == round(0.1 * len(train))
    assert len(kept) + len(held) == len(train)
    assert hold_out(train, 0.1, 0) == (kept, held)
    assert hold_out(train[:99], 0.1, 0) == (train[:99], [])
    assert hold_out(train, 0, 0) == (train, [])
    each = tuple(minisift.Span(2 * at, 2 * at + 1, "A") for at in range(12))
    dense = [minisift.Example(" ".join("abcdefghijkl"), each) for _ in range(50)]
    assert [len(part) for part in hold_out(dense, 0.1, 0)] == [45, 5]
    assert hold_out(dense[:33], 0.1, 0) == (dense[:33], [])
    rare = [minisift.Example("a", (minisift.Span(0, 1, str(i // 5)),)) for i in range(200)]
    assert hold_out(rare, 0.5, 0)[1] == []


def test_runs_leave_out_different_sentences(train):
    shown = {example.text for example in train[:8]}
    folds = leave_out(train, shown, 3, 0.2, 0)
    texts = [{example.text for example in fold} for fold in folds]
    assert len(set.union(*texts)) == sum(map(len, texts))
    assert not set.union(*texts) & shown
    assert all(0.1 * len(train) < len(fold) <= 0.2 * len(train) for fold in folds)
    assert leave_out(train, shown, 3, 0.2, 0) == folds
    assert leave_out(train, shown, 3, 0, 0) == [[], [], []]


def test_what_a_run_trains_on_is_never_too_little():
    rare = [minisift.Example("a", (minisift.Span(0, 1, str(i // 5)),)) for i in range(200)]
    assert leave_out(rare, set(), 2, 0.5, 0) == [[], []]
    plain = [minisift.Example(str(index)) for index in range(9)]
    assert [len(fold) for fold in leave_out(plain, set(), 3, 0.99, 0)] == [4, 4, 1]
    assert leave_out(plain[:1] * 4, set(), 2, 0.5, 0) == [[], []]
    many = [minisift.Example(str(index)) for index in range(3000)]
    assert [len(fold) for fold in leave_out(many, set(), 2, 0.1, 0)] == [200, 200]


def test_what_one_run_holds_out_is_no_reason_for_a_second(small_base, train):
    chosen = Settings()
    for count in range(120, 220):
        spans = sum(len(example.spans) for example in train[:count])
        if chosen.averaged(count, spans) == 1:
            break
    prepared = prepare(small_base, train[:count], None, chosen)
    kept = sum(len(example.spans) for example in prepared.examples)
    assert chosen.averaged(len(prepared.examples), kept) == 2
    assert len(prepared.runs) == 1
    assert prepared.dev
    several = prepare(small_base, train[: count - 1], None, chosen)
    assert [bool(fold) for fold in several.folds] == [True, True]
    assert len(several.examples) == count - 1
    assert not several.dev
    given = prepare(small_base, train[: count - 1], train[count:], chosen)
    assert len(given.runs) == 2
    assert not any(given.folds)
