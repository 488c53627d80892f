"""Words of raw text and the folded text, for any Unicode."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.draws import times
from support.strategies import texts

from minisift.data.text import fold, split_words


@times(2)
@given(texts)
def test_words_cover_all_but_white_space(text):
    words = split_words(text)
    covered = [i for start, end in words for i in range(start, end)]
    assert covered == [i for i, char in enumerate(text) if not char.isspace()]


@times(2)
@given(texts, st.data())
def test_fold_and_back(text, data):
    def folding(part):
        return re.sub("[\ud800-\udfff]", "\ufffd", " ".join(part.split()))

    folded = fold(text)
    assert folded.text == folding(text)
    assert len(folded.offsets) == len(folded.text)
    assert folded.byte_offsets[-1] == len(folded.bytes)
    inked = [i for i, char in enumerate(text) if not char.isspace()]
    if inked:
        first, last = sorted(data.draw(st.lists(st.sampled_from(inked), min_size=2, max_size=2)))
        inner = folded.fold_range(first, last + 1)
        assert folded.unfold_range(*inner) == (first, last + 1)
        assert folded.text[slice(*inner)] == folding(text[first : last + 1])
        a, b = (folded.byte_offsets[at] for at in inner)
        assert folded.bytes[a:b].decode() == folded.text[slice(*inner)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("U.S. dollar's", ["U", ".", "S", ".", "dollar", "'", "s"]),
        ("p53-wildtype", ["p", "53", "-", "wildtype"]),
        ("日本語テキスト。", list("日本語テキスト。")),
        ("ภาษาไทย", ["ภ", "า", "ษ", "า", "ไ", "ท", "ย"]),
        ("e\u0301te\u0301 नमस्ते", ["e\u0301te\u0301", "नमस्ते"]),
        ("👩‍👩‍👧🙂", ["👩‍👩‍👧", "🙂"]),
        ("a\u2028b\x1cc\u00a0d", ["a", "b", "c", "d"]),
        ("", []),
    ],
)
def test_split_words(text, words):
    assert [text[start:end] for start, end in split_words(text)] == words


@pytest.mark.parametrize("place", [(0, 1), (2, 4), (1, 1), (3, 9), (0, 9)])
def test_ranges_at_white_space_are_refused(place):
    with pytest.raises(ValueError, match="begins or ends with space"):
        fold(" ab  c ").fold_range(*place)
