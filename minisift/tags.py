"""Tag schemes and spans: each scheme to and from (first word, end word, label) ranges.

IOB1: B- needed only where a span follows another of its label, and, as in conlleval, allowed
at the begin of any span (eng.train has one such); IOB2: every span begins with B-;
IOBES (BIOES) and BILOU (BMEWO) also mark last words and spans of one word.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

WordSpan = tuple[int, int, str]

SCHEMES = ("iob1", "iob2", "iobes", "bilou")
_LETTERS = {"iob1": "BIO", "iob2": "BIO", "iobes": "BIOES", "bilou": "BILOU"}
_LAST_SINGLE = {"iobes": "ES", "bilou": "LU"}


class TagError(ValueError):
    """A tag that its scheme does not allow there; `index` is the word."""

    def __init__(self, index: int, message: str) -> None:
        super().__init__(message)
        self.index = index


def split_tag(tag: str, index: int = 0) -> tuple[str, str]:
    """("B", "PER") of "B-PER"; ("O", "") of "O". Raises TagError."""
    if tag == "O":
        return "O", ""
    prefix, dash, label = tag.partition("-")
    if len(prefix) != 1 or not dash or not label or prefix not in "BIESLU":
        raise TagError(index, f"{tag!r} is not a tag such as 'O', 'B-PER' or 'I-PER'")
    return prefix, label


def recognise(sentences: Sequence[Sequence[str]]) -> str:
    """The scheme of a whole data set: the one whose own form the fewest sentences break.

    A needless B- breaks IOB1's own form: one of them is a slip, but a file that is full of
    them is IOB2, and then a stray I- is the slip.
    """

    def irregular(scheme: str) -> int:
        return sum(not _is_regular(tags, scheme) for tags in sentences)

    return min(("iob2", "iob1", "iobes", "bilou"), key=irregular)


def _is_regular(tags: Sequence[str], scheme: str) -> bool:
    try:
        return encode(len(tags), decode(tags, scheme), scheme) == list(tags)
    except TagError:
        return False


def _check_scheme(scheme: str) -> None:
    if scheme not in SCHEMES:
        raise ValueError(f"scheme={scheme!r}; fix: one of {', '.join(SCHEMES)}")


def decode(tags: Sequence[str], scheme: str) -> list[WordSpan]:
    """Spans of a sentence's tags, checked strictly. Raises TagError with the word's index."""
    _check_scheme(scheme)
    letters = _LETTERS[scheme]
    last_single = _LAST_SINGLE.get(scheme, "")
    spans: list[WordSpan] = []
    begun: tuple[int, str] | None = None
    for index, tag in enumerate([*tags, "O"]):
        prefix, label = split_tag(tag, index)
        if prefix not in letters:
            raise TagError(index, f"{tag!r} is not a tag of {scheme}")
        inside = begun is not None and label == begun[1] and prefix in "I" + last_single[:1]
        if inside and begun:
            if prefix in last_single:
                spans.append((begun[0], index + 1, label))
                begun = None
            continue
        if begun is not None:
            if last_single:
                raise TagError(index, f"{tag!r} follows an open {begun[1]!r} span")
            spans.append((begun[0], index, begun[1]))
            begun = None
        if prefix == "B" or (prefix == "I" and scheme == "iob1"):
            begun = (index, label)
        elif prefix in last_single[1:]:
            spans.append((index, index + 1, label))
        elif prefix != "O":
            raise TagError(index, f"{tag!r} continues no span ({scheme})")
    return spans


def encode(length: int, spans: Iterable[WordSpan], scheme: str) -> list[str]:
    """Tags of a sentence of `length` words; the inverse of `decode`."""
    _check_scheme(scheme)
    tags = ["O"] * length
    previous: WordSpan | None = None
    for first, end, label in sorted(spans):
        letters = ["B"] + ["I"] * (end - first - 1)
        if scheme == "iob1" and not (previous and previous[1:] == (first, label)):
            letters[0] = "I"
        elif scheme in _LAST_SINGLE:
            letters[-1] = _LAST_SINGLE[scheme][end - first == 1]
        tags[first:end] = [f"{letter}-{label}" for letter in letters]
        previous = (first, end, label)
    return tags


def mended(tags: Sequence[str]) -> list[str]:
    """IOB2 tags of a classifier, valid: an I that continues nothing of its label begins a span."""
    found: list[str] = []
    before = "O"
    for tag in tags:
        opens = tag.startswith("I-") and before[2:] != tag[2:]
        found.append(f"B-{tag[2:]}" if opens else tag)
        before = tag
    return found
