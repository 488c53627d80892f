"""Tag schemes and spans, each pair of functions inverse to each other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import flat_spans

from minisift.data.tags import SCHEMES, decode, encode, notation, recognise
from minisift.exceptions import TagError


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


SPELLINGS = {
    "B-PER": "{letter}-{label}",
    "B_PER": "{letter}_{label}",
    "PER-B": "{label}-{letter}",
    "PER_B": "{label}_{letter}",
}


@pytest.mark.parametrize("lower", [False, True])
@pytest.mark.parametrize("spelled", SPELLINGS)
@given(st.lists(flat_spans(9), min_size=1, max_size=6), st.sampled_from(SCHEMES))
def test_every_spelling_gives_the_spans(spelled, lower, sentences, scheme):
    def spell(tag):
        letter, _, label = tag.partition("-")
        written = SPELLINGS[spelled].format(letter=letter.lower() if lower else letter, label=label)
        return written if label else letter.lower() if lower else letter

    sentences = [[(a, b, f"x{label}x") for a, b, label in spans] for spans in sentences]
    tags = [[spell(tag) for tag in encode(9, spans, scheme)] for spans in sentences]
    found = notation(tags)
    assert [found.decode(sentence) for sentence in tags] == [sorted(s) for s in sentences]


def test_labels_without_letters():
    """IO where the file has words outside; a column of words has few of the word "O"."""
    tags = ["PER", "PER", "O", "LOC", "PER"]
    found = notation([tags, ["O", "O"]])
    assert (found.scheme, found.decode(tags)) == (
        "io",
        [(0, 2, "PER"), (3, 4, "LOC"), (4, 5, "PER")],
    )
    assert notation([["PER", "PER"]]).scheme != "io"
    assert notation([["PER", "PER"]], "io").decode(["PER", "PER"]) == [(0, 2, "PER")]
    assert notation([["I-PER", "I-PER", "x"]], "io").spelled == "B-PER"
    assert notation([[*"abcdefghijklmnop", "O"]]).scheme != "io"
    assert notation([["B-X", "X", "O"]]).scheme == "iob2"


def test_what_stands_outside():
    assert notation([["B-X", "_", "I-X"], ["B-X", "I-X"]]).outside == ("_",)
    assert notation([["B-X", "O", "_"]]).outside == ("O",)
    assert notation([["b-x", "O", "o"]]).outside == ("O", "o")
    assert notation([["I-O", "B-X", "O"]]).odd(["I-O", "B-O", "B-X", "O"]) == 2


@pytest.mark.parametrize(
    ("tags", "index", "what"),
    [
        (["O", "B-A|B-B"], 1, "2 labels, A and B"),
        (["O", "B-A", "B-A;I-B"], 2, "2 labels"),
        (["O", "B-A", "x"], 2, "'x' is not a tag such as 'O' or 'B-PER'"),
        (["o", "A-b", "A-b", "A-i", "B-i"], 4, "'B-i': 'I-B' continues no span"),
    ],
)
def test_what_is_wrong_with_a_files_tags(tags, index, what):
    found = notation([tags], None if "x" in tags else "iob2")
    with pytest.raises(TagError, match=what) as error:
        found.decode(tags)
    assert error.value.index == index


def test_labels_may_hold_what_parts_labels_elsewhere():
    tags = ["B-a/b", "I-a/b", "B-c,d", "B-e|f", "O"]
    assert notation([tags]).decode(tags) == [(0, 2, "a/b"), (2, 3, "c,d"), (3, 4, "e|f")]


def test_unknown_scheme():
    with pytest.raises(ValueError, match="bilou"):
        decode(["O"], "io")
    with pytest.raises(ValueError, match=r"bmewo, io"):
        notation([["O"]], "bioes")
    with pytest.raises(ValueError, match="bilou"):
        encode(1, [], "bioes")
