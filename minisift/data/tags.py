"""Tags to spans and back: each scheme to and from (first word, word after the last, label).

IOB1: a span begins with B- only where it follows another of its label; as in conlleval, other spans may
begin with B- too (one of CoNLL-2003's eng.train does). IOB2: every span begins with B-. IOBES (BIOES),
BILOU, BMES and BMEWO also mark the last word of a span, and spans of one word. IO has no B-: words side
by side with one label are one span.

Files spell the same schemes in many ways, such as "b-per" or "PER-B": `notation` finds out how.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

from minisift.exceptions import TagError

WordSpan = tuple[int, int, str]

# The letters for a span's first word, its further ones, its last one, and the only one.
_LETTERS = {
    "iob2": "BI",
    "iob1": "BI",
    "iobes": "BIES",
    "bilou": "BILU",
    "bmes": "BMES",
    "bmewo": "BMEW",
}
SCHEMES = tuple(_LETTERS)
READ = (*SCHEMES, "io")
"""Schemes that can be read; IO is not written, since it joins spans that stand side by side."""

# Patterns of tags, named by how they spell B-PER; of several that fit equally well, the first counts.
_SPELLINGS = {
    spelled: re.compile(pattern, re.DOTALL)
    for spelled, pattern in {
        "B-PER": r"(?P<letter>[BIMESLUW])-(?P<label>.+)",
        "b-per": r"(?P<letter>[bimesluw])-(?P<label>.+)",
        "B_PER": r"(?P<letter>[BIMESLUW])_(?P<label>.+)",
        "b_per": r"(?P<letter>[bimesluw])_(?P<label>.+)",
        "PER-B": r"(?P<label>.+)-(?P<letter>[BIMESLUW])",
        "per-b": r"(?P<label>.+)-(?P<letter>[bimesluw])",
        "PER_B": r"(?P<label>.+)_(?P<letter>[BIMESLUW])",
        "per_b": r"(?P<label>.+)_(?P<letter>[bimesluw])",
        "B": r"(?P<letter>[BIMESLUW])(?P<label>)",
        "b": r"(?P<letter>[bimesluw])(?P<label>)",
    }.items()
}
CHUNKS = frozenset(
    "NP VP PP ADVP ADJP SBAR PRT CONJP INTJ LST UCP NC VC PC CLS ADVC ADJC CONJC AP QP AdP VN VGF VGNF "
    "VGNN CCP BLK JJP RBP NEGP FRAGP".split()
)
"""Labels of syntactic chunks, which files of names often have in a column of their own."""
UNNAMED = "entity"
"""The label given to spans whose tags are single letters, without a label."""
_BARE = "PER"
_OUTSIDE = ("O", "o")
_NOTHING = ("_", "-", "*")
"""Tags of words outside of spans in files that have no "O"."""
_SEVERAL = re.compile(r"[|,; ]")
_SIGNS = re.compile(r"[/+&#]")
"""Like `_SEVERAL`, these separate several tags in one cell, but they may also be part of a label."""
_PAIRED = re.compile(r"(?P<first>[BIbi])(?P<rest>\W?.{2,})|(?P<before>.{2,}\W?)(?P<last>[BIbi])")
"""A label that may be a tag in some other spelling: "B:PER", "BPER"."""


def split_tag(tag: str, index: int = 0) -> tuple[str, str]:
    """("B", "PER") of "B-PER"; ("O", "") of "O". Raises TagError."""
    parts = _parts(tag)
    if parts is None:
        raise TagError(
            index,
            f"{tag!r} is not a tag such as 'O', 'B-PER' or 'I-PER'; fix: correct it, or give "
            "tag_column, or scheme='io' for labels without letters",
        )
    return parts


@lru_cache(4096)
def _parts(tag: str) -> tuple[str, str] | None:
    if tag == "O":
        return "O", ""
    prefix, dash, label = tag.partition("-")
    is_tag = len(prefix) == 1 and dash and label and prefix in "BIMESLUW"
    return (prefix, label) if is_tag else None


@dataclass(frozen=True)
class Notation:
    """How a file writes its tags: their scheme, their spelling, and the tags of words outside of spans."""

    scheme: str
    spelled: str = "B-PER"
    """How it spells "B-PER"; "PER" if tags are labels without a letter."""
    outside: tuple[str, ...] = ("O",)
    not_labels: frozenset[str] = frozenset()
    """Where tags are labels without a letter: those of the file's tags that are not."""
    tags: frozenset[str] = frozenset()
    """All tags of the file."""

    def decode(self, tags: Sequence[str]) -> list[WordSpan]:
        """The spans of a sentence, from its tags as the file writes them.

        Raises TagError with the word's index.
        """
        plain = self.plain(tags)
        try:
            return decode(plain, "iob1" if self.scheme == "io" else self.scheme)
        except TagError as error:
            at = min(error.index, len(tags) - 1)
            written = "" if tags[at] == plain[at] else f"{tags[at]!r}: "
            raise TagError(error.index, f"{written}{error}") from None

    def plain(self, tags: Sequence[str]) -> list[str]:
        """A sentence's tags in the usual spelling, "B-PER" or "O".

        Raises TagError with the word's index.
        """
        found = []
        for index, tag in enumerate(tags):
            if tag not in self._cache:
                self._cache[tag] = self._plain(tag, index)
            found.append(self._cache[tag])
        return found

    @cached_property
    def _cache(self) -> dict[str, str]:
        """Tags that were spelled in the usual way before."""
        return {}

    @property
    def has_labels(self) -> bool:
        """Whether tags have labels, rather than a letter alone."""
        return self.spelled not in ("B", "b")

    def odd(self, tags: Iterable[str]) -> int:
        """How many tags, such as "I-O", have the label "O" without there being such a label."""
        matches = (self._match(tag) for tag in tags if tag not in self.outside)
        if self._has_label_o:
            return 0
        return sum(match["label"] in self.outside for match in matches if match)

    def _plain(self, tag: str, index: int) -> str:
        """One tag in the usual spelling, "B-PER" or "O". Raises TagError."""
        if tag in self.outside:
            return "O"
        labels = self._labels(tag)
        if len(labels) > 1:
            raise TagError(
                index,
                f"{tag!r} holds {len(labels)} labels, {' and '.join(labels)}, but spans are flat, a "
                "word has one label; fix: keep one of them",
            )
        if self.spelled == _BARE and tag not in self.not_labels:
            return f"I-{tag}"
        match = self._match(tag)
        if not match:
            how = f"{self.outside[0]!r} or {self.spelled!r}"
            raise TagError(
                index,
                f"{tag!r} is not a tag such as {how}; fix: correct it, or give tag_column, or "
                "scheme='io' for labels without letters",
            )
        if match["label"] in self.outside and not self._has_label_o:
            return "O"
        return f"{match['letter'].upper()}-{match['label'] or UNNAMED}"

    def _labels(self, tag: str) -> list[str]:
        """The label of a tag; several if the cell holds several tags."""
        if self.spelled == _BARE:
            return tag.split("|")
        parts = _SEVERAL.split(tag)
        if len(signed := _SIGNS.split(tag)) > 1 and self.tags.issuperset(signed):
            parts = signed
        matches = [self._match(part) for part in parts if part not in self.outside]
        return [match["label"] for match in matches if match] if all(matches) else [tag]

    @cached_property
    def _has_label_o(self) -> bool:
        """Whether "O" is a label too (of opinions, say): then some span of it begins with a letter."""
        matches = (self._match(tag) for tag in self.tags)
        return any(m["label"] in self.outside and m["letter"] in "BbSsUuWw" for m in matches if m)

    def _match(self, tag: str) -> re.Match[str] | None:
        return _SPELLINGS[self.spelled].fullmatch(tag) if self.spelled != _BARE else None


def notation(sentences: Sequence[Sequence[str]], scheme: str | None = None) -> Notation:
    """How a whole file writes its tags: the spelling, and scheme if not given, that fit the most tags.

    Labels without a letter ("PER") are read as IO if the words outside of spans are "O".
    """
    if scheme is not None and scheme not in READ:
        raise ValueError(f"scheme={scheme!r}; fix: one of {', '.join(READ)}")
    counted = Counter(tag for tags in sentences for tag in tags)
    fits = {spelled: fit(spelled, counted) for spelled in _SPELLINGS}
    spelled = max(fits, key=lambda spelling: fits[spelling]) if any(fits.values()) else "B-PER"
    marks = _OUTSIDE if spelled.islower() else ("O",) if "O" in counted else ("o", *_NOTHING)
    outside = tuple(mark for mark in marks if mark in counted)[:2] or ("O",)
    labelled = sum(number for tag, number in counted.items() if tag not in outside)
    # in a column of words, "O" may be a word, but then there are far more other ones
    is_io = outside[0] in _OUTSIDE and 4 * counted[outside[0]] >= len(counted)
    bare = 2 * fits[spelled] < labelled and (scheme == "io" or is_io)
    if scheme is None and bare:
        return Notation("io", _BARE, outside, _no_labels(counted))
    all_tags = frozenset(counted)
    if scheme == "io":
        return Notation("io", _BARE if bare else spelled, outside, tags=all_tags)
    if scheme:
        return Notation(scheme, spelled, outside, tags=all_tags)
    found = Notation("iob2", spelled, outside, tags=all_tags)
    plain = []
    for tags in sentences:
        try:
            plain.append(found.plain(tags))
        except TagError:
            continue
    return replace(found, scheme=recognise(plain))


def _no_labels(counted: Mapping[str, int]) -> frozenset[str]:
    """Among labels without a letter, those that look like tags in some spelling, or like a slip for "O"."""
    tags = {tag for tag in counted if re.match("[BIES]-.", tag)} | ({"0"} & counted.keys())
    pairs: dict[tuple[str | None, ...], set[str]] = {}
    for tag in counted:
        if match := _PAIRED.fullmatch(tag):
            pairs.setdefault((match["rest"], match["before"]), set()).add(tag)
    return frozenset(tags.union(*(alike for alike in pairs.values() if len(alike) > 1)))


def is_readable(label: str) -> bool:
    """Whether a tag of this label can be read back: it is not taken for "O", nor for several tags."""
    try:
        return Notation("iob2").plain([f"B-{label}"]) == [f"B-{label}"]
    except TagError:
        return False


def fit(spelled: str, counted: Mapping[str, int]) -> int:
    """How many tags are spelled so, not counting those of words outside of spans."""
    pattern = _SPELLINGS[spelled]
    if spelled in ("B", "b") and not _are_letters(spelled, counted):
        return 0
    return sum(
        number for tag, number in counted.items() if tag not in _OUTSIDE and pattern.fullmatch(tag)
    )


def _are_letters(spelled: str, counted: Mapping[str, int]) -> bool:
    """Whether all tags are single letters: "O", "B", "I", and maybe those of last and only words."""
    begins = {"B": "BI", "b": "bi"}[spelled]
    return (
        any(mark in counted for mark in _OUTSIDE)
        and any(letter in counted for letter in begins)
        and all(tag in _OUTSIDE or _SPELLINGS[spelled].fullmatch(tag) for tag in counted)
    )


def is_tagged(counted: Mapping[str, int]) -> bool:
    """Whether the cells of a column are tags: at least half of them are "O" or spelled like tags."""
    most = max(fit(spelled, counted) for spelled in _SPELLINGS)
    marks = (*_OUTSIDE, *_NOTHING) if most else _OUTSIDE
    outside = sum(counted.get(mark, 0) for mark in marks)
    return 2 * (outside + most) >= sum(counted.values()) > 0


def recognise(sentences: Sequence[Sequence[str]]) -> str:
    """The scheme of a whole data set: the one that the fewest sentences deviate from.

    A B- where IOB1 needs none is a deviation: a file with one of them is IOB1 with a slip, but a
    file that is full of them is IOB2, and then it is a stray I- that is the slip.
    """
    least: tuple[int, str] | None = None
    for scheme in SCHEMES:
        irregular = sum(not _is_regular(tags, scheme) for tags in sentences)
        if not irregular:
            return scheme
        if least is None or irregular < least[0]:
            least = irregular, scheme
    assert least
    return least[1]


def _is_regular(tags: Sequence[str], scheme: str) -> bool:
    """Whether the scheme would write the tags' spans in these very tags."""
    try:
        return encode(len(tags), decode(tags, scheme), scheme) == list(tags)
    except TagError:
        return False


def _letters(scheme: str) -> str:
    if scheme not in _LETTERS:
        raise ValueError(f"scheme={scheme!r}; fix: one of {', '.join(SCHEMES)}")
    return _LETTERS[scheme]


def decode(tags: Sequence[str], scheme: str) -> list[WordSpan]:
    """The spans of a sentence's tags. Raises TagError with the word's index for invalid ones."""
    letters = _letters(scheme)
    further, last, single = letters[1], letters[2:3], letters[3:4]
    spans: list[WordSpan] = []
    begun: tuple[int, str] | None = None
    for index, tag in enumerate([*tags, "O"]):
        prefix, label = split_tag(tag, index)
        if prefix != "O" and prefix not in letters:
            raise TagError(
                index, f"{tag!r} is not a tag of {scheme}; fix: correct it, or give scheme"
            )
        if begun is not None and label == begun[1] and prefix in (further, last):
            if prefix == last:
                spans.append((begun[0], index + 1, label))
                begun = None
            continue
        if begun is not None:
            if last:
                raise TagError(
                    index, f"{tag!r} follows an open {begun[1]!r} span ({scheme}); fix: close it"
                )
            spans.append((begun[0], index, begun[1]))
            begun = None
        if prefix == "B" or (prefix == "I" and scheme == "iob1"):
            begun = (index, label)
        elif prefix == single and prefix:
            spans.append((index, index + 1, label))
        elif prefix != "O":
            raise TagError(
                index,
                f"{tag!r} continues no span ({scheme}); fix: begin it with B-"
                + ", or read with scheme='iob1', where I- may begin one" * (scheme == "iob2"),
            )
    return spans


def encode(length: int, spans: Iterable[WordSpan], scheme: str) -> list[str]:
    """The tags of a sentence of so many words; the inverse of `decode`."""
    letters = _letters(scheme)
    tags = ["O"] * length
    previous: WordSpan | None = None
    for first, end, label in sorted(spans):
        marks = [letters[0]] + [letters[1]] * (end - first - 1)
        if scheme == "iob1" and not (previous and previous[1:] == (first, label)):
            marks[0] = "I"
        elif len(letters) > 2:
            marks[-1] = letters[2 + (end - first == 1)]
        tags[first:end] = [f"{mark}-{label}" for mark in marks]
        previous = (first, end, label)
    return tags


def mended(tags: Sequence[str]) -> list[str]:
    """A classifier's IOB2 tags made valid: an I- that continues no span of its label becomes B-."""
    found: list[str] = []
    before = "O"
    for tag in tags:
        opens = tag.startswith("I-") and before[2:] != tag[2:]
        found.append(f"B-{tag[2:]}" if opens else tag)
        before = tag
    return found
