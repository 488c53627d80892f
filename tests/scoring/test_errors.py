"""Kinds of errors, confusion, examples; the counts of seqeval's chunks."""

import random
from collections import Counter

import pytest
from hypothesis import given
from support.strategies import flat_spans

from minisift.data.examples import Example
from minisift.data.reading import read
from minisift.data.tags import decode, encode, mended
from minisift.scoring.errors import KINDS, compare
from minisift.scoring.evaluation import Report, score

WORDS = list("abcdefg")


def spans_of(*ranges):
    return Example.from_words(WORDS, ranges).spans


@pytest.mark.parametrize(
    ("gold", "found", "kinds"),
    [
        ([(0, 2, "A")], [(0, 2, "A")], []),
        ([(0, 2, "A")], [(0, 2, "B")], ["type"]),
        ([(0, 2, "A")], [(0, 3, "A")], ["boundary"]),
        ([(0, 2, "A")], [(1, 2, "B")], ["boundary and type"]),
        ([(0, 2, "A")], [(2, 3, "A")], ["missed", "spurious"]),
        # the pair that overlaps most; the other one is spurious
        ([(0, 4, "A")], [(0, 1, "A"), (1, 4, "A")], ["boundary", "spurious"]),
        # a span that is right is no pair for another
        ([(0, 2, "A"), (2, 3, "B")], [(0, 2, "A"), (2, 3, "A")], ["type"]),
    ],
)
def test_kinds(gold, found, kinds):
    errors = compare([(Example.from_words(WORDS, gold), spans_of(*found))])
    assert sorted(mistake.kind for mistake in errors.mistakes) == sorted(kinds)


@given(flat_spans(7), flat_spans(7))
def test_every_span_is_accounted_for(gold, found):
    example, predicted = Example.from_words(WORDS, gold), spans_of(*found)
    report = score([example], [predicted])
    errors = report.errors()
    counts = errors.counts
    paired = counts["type"] + counts["boundary"] + counts["boundary and type"]
    assert paired + counts["missed"] == report.micro.gold - report.micro.correct
    assert paired + counts["spurious"] == report.micro.predicted - report.micro.correct
    rows, columns = Counter(), Counter()
    for (wanted, had), count in errors.confusion.items():
        rows[wanted] += count
        columns[had] += count
    assert all(rows[label] == row.gold for label, row in report.per_label.items())
    assert all(columns[label] == row.predicted for label, row in report.per_label.items())
    assert set(counts) == set(KINDS)


def test_what_is_shown():
    text = "Mrs. Kowalczyk of " + "a long street in " * 5 + "Gdansk"
    example = Example(text)
    gold = Example(text, (example.span_of(2, 3, "PER"),))
    errors = compare([(gold, [example.span_of(0, 3, "PER")]), (gold, [])])
    shown = str(errors)
    assert "boundary" in shown
    assert "PER 'Kowalczyk', found PER 'Mrs. Kowalczyk'" in shown
    assert "…" in shown
    assert "found nothing" in shown
    assert errors.to_dict()["counts"]["missed"] == 1
    assert errors.table() == [["gold \\ found", "PER", "-"], ["PER", "1", "1"], ["-", "0", "0"]]
    with pytest.raises(ValueError, match="kind='typo'"):
        errors.examples("typo")


def test_the_surest_mistakes_come_first():
    example = Example.from_words(WORDS, [(0, 1, "A"), (2, 3, "A"), (5, 6, "A")])
    found = [(0, 1, "A", 0.99), (1, 2, "A", 0.3), (2, 3, "B", 0.9), (6, 7, "B", 0.6)]
    errors = compare([(example, [example.span_of(*span) for span in found])])
    surest = [(m.kind, m.predicted.score) for m in errors.surest()]
    assert surest == [
        ("type", 0.9),
        ("spurious", 0.6),
        ("spurious", 0.3),
    ]  # the missed one has no score
    assert [m.predicted.score for m in errors.surest(1)] == [0.9]
    assert "    0.90  A 'c', found B 'c': a b c d e f g" in str(errors)
    assert errors.to_dict(most=1)["surest"] == [str(errors.surest()[0])]
    assert "surest" not in str(compare([(example, [])]))


def test_a_saved_report_has_no_texts():
    report = score([Example("a")], [[]])
    assert report.errors().mistakes == ()
    with pytest.raises(ValueError, match="evaluate again"):
        Report.from_dict(report.to_dict()).errors()


def test_counts_on_conll2000_are_those_of_conlleval(shared_data):
    """conlleval reports 23,852 phrases for the test set; seqeval counts chunks by its rules."""
    entities = pytest.importorskip("seqeval.metrics.sequence_labeling").get_entities
    examples = read(shared_data / "chunking-conll2000" / "test.txt")
    assert sum(len(example.spans) for example in examples) == 23852
    rng = random.Random(0)
    gold = [encode(len(e.words), e.word_spans(), "iob2") for e in examples]
    choices = sorted({tag for tags in gold for tag in tags})
    found = [
        mended([rng.choice(choices) if rng.random() < 0.1 else tag for tag in tags])
        for tags in gold
    ]
    predictions = [
        [example.span_of(*span) for span in decode(tags, "iob2")]
        for example, tags in zip(examples, found, strict=True)
    ]
    micro = score(examples, predictions).micro
    wanted, had = (
        {(n, *chunk) for n, tags in enumerate(side) for chunk in entities(tags)}
        for side in (gold, found)
    )
    counts = (len(wanted), len(had), len(wanted & had))
    assert (micro.gold, micro.predicted, micro.correct) == counts
    assert 0.5 < micro.f1 < 0.95
