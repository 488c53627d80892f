"""Tag schemes and spans, each pair of functions inverse to each other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_evaluation import flat_spans

from minisift.tags import SCHEMES, TagError, decode, encode, recognise


@given(flat_spans(9), st.sampled_from(SCHEMES))
def test_decode_inverts_encode(spans, scheme):
    assert decode(encode(9, spans, scheme), scheme) == sorted(spans)


@given(st.lists(flat_spans(9), max_size=6), st.sampled_from(SCHEMES))
def test_the_recognised_scheme_gives_the_spans(sentences, scheme):
    tags = [encode(9, spans, scheme) for spans in sentences]
    found = recognise(tags)
    assert [decode(sentence, found) for sentence in tags] == [sorted(s) for s in sentences]


@pytest.mark.parametrize(
    ("tags", "scheme"),
    [
        ("B-A I-A O B-B", "iob2"),
        ("I-A I-A B-A O I-B", "iob1"),
        ("B-A E-A S-B O", "iobes"),
        ("B-A L-A U-B O", "bilou"),
    ],
)
def test_recognise(tags, scheme):
    assert recognise([["O"], tags.split()]) == scheme


def test_a_few_bad_sentences_do_not_change_the_scheme():
    assert recognise([["I-A"], *[["B-A", "I-A"]] * 2]) == "iob2"
    assert recognise([["B-A"], *[["I-A", "I-A"]] * 2]) == "iob1"
    assert recognise([["S-A", "O"], ["S-A", "B-A"], ["B-A", "E-A"]]) == "iobes"


@pytest.mark.parametrize(
    ("tags", "scheme", "index"),
    [
        ("O I-A", "iob2", 1),
        ("B-A I-B", "iob2", 1),
        ("B-A O", "iobes", 1),
        ("B-A", "bilou", 1),
        ("E-A", "iobes", 0),
        ("O L-A", "bilou", 1),
        ("S-A", "iob2", 0),
        ("X", "iob2", 0),
        ("B-", "iob2", 0),
        ("B-A B-A E-A", "iobes", 1),
    ],
)
def test_invalid(tags, scheme, index):
    with pytest.raises(TagError) as error:
        decode(tags.split(), scheme)
    assert error.value.index == index


def test_iob1_takes_a_needless_b():
    assert decode(["B-A", "I-A", "B-A"], "iob1") == [(0, 2, "A"), (2, 3, "A")]


def test_labels_may_hold_dashes():
    assert decode(["B-event-time", "I-event-time"], "iob2") == [(0, 2, "event-time")]


def test_unknown_scheme():
    with pytest.raises(ValueError, match="bilou"):
        decode(["O"], "io")
    with pytest.raises(ValueError, match="bilou"):
        encode(1, [], "bioes")
