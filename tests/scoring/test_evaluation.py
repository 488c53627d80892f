"""Scores equal seqeval's strict IOB2 scores."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import flat_spans

from minisift.data.examples import Example
from minisift.data.tags import decode, encode
from minisift.scoring.evaluation import Report, score


@given(st.lists(st.tuples(flat_spans(7), flat_spans(7)), min_size=1, max_size=5))
def test_equals_seqeval(pairs):
    metrics = pytest.importorskip("seqeval.metrics")
    from seqeval.scheme import IOB2

    words = list("abcdefg")
    gold = [Example.from_words(words, spans) for spans, _ in pairs]
    predicted = [Example.from_words(words, spans).spans for _, spans in pairs]
    report = score(gold, predicted)
    true, found = (
        [encode(7, spans, "iob2") for spans in side] for side in zip(*pairs, strict=True)
    )
    options = {"mode": "strict", "scheme": IOB2, "zero_division": 0}
    assert report.f1 == pytest.approx(metrics.f1_score(true, found, **options))
    assert report.precision == pytest.approx(metrics.precision_score(true, found, **options))
    assert report.recall == pytest.approx(metrics.recall_score(true, found, **options))
    per_label = metrics.classification_report(true, found, output_dict=True, **options)
    for label, row in report.per_label.items():
        assert row.f1 == pytest.approx(per_label[label]["f1-score"])
    assert [decode(tags, "iob2") for tags in true] == [sorted(spans) for spans, _ in pairs]
    assert Report.from_dict(report.to_dict()) == report


def test_nothing_predicted_or_gold():
    report = score([Example("a")], [[]])
    assert (report.f1, report.precision, report.recall, report.exact) == (0.0, 0.0, 0.0, 1)
    assert "micro" in str(report)


def test_lengths_must_agree():
    with pytest.raises(ValueError, match=r"shorter|longer"):
        score([Example("a")], [])


def test_a_notebook_shows_the_table():
    report = score([Example("a")], [[]])
    assert report._repr_html_() == f"<pre>{report}</pre>"
