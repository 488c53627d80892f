"""Words of raw text and the folded text, for any Unicode."""

import pytest
from hypothesis import given, settings
from strategies import texts

from minisift.text import fold, split_words


@settings(max_examples=2000, deadline=None)
@given(texts)
def test_words_cover_all_but_white_space(text):
    words = split_words(text)
    covered = [i for start, end in words for i in range(start, end)]
    assert covered == [i for i, char in enumerate(text) if not char.isspace()]


@settings(max_examples=2000, deadline=None)
@given(texts)
def test_fold_and_back(text):
    folded = fold(text)
    assert folded.text.split(" ") == (text.split() or [""]) or "\ufffd" in folded.text
    assert len(folded.offsets) == len(folded.text)
    for start, end in split_words(text):
        inner = folded.fold_range(start, end)
        assert folded.unfold_range(*inner) == (start, end)
        raw = text[start:end].encode(errors="replace")
        assert folded.text[slice(*inner)].encode() == raw or "\ufffd" in folded.text
    assert folded.byte_offsets[-1] == len(folded.bytes)


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
