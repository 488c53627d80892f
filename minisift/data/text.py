"""The words of a text, and the text with its white space folded, as prompts show it."""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass
from functools import cached_property

import regex

# Scripts that are written without spaces between words: every character is a word.
_UNSPACED = (
    r"\p{Han}\p{Hiragana}\p{Katakana}\p{Bopomofo}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}"
)
# Letters, digits and all else are words apart; \X keeps accents and emoji sequences whole.
_WORD = regex.compile(
    rf"(?V1)(?:[\p{{L}}--[{_UNSPACED}]]\p{{M}}*)+|(?:\p{{N}}\p{{M}}*)+|[{_UNSPACED}]\p{{M}}*|\X"
)
_CHUNK = re.compile(r"\S+")
_SURROGATE = re.compile("[\ud800-\udfff]")


def split_words(text: str) -> list[tuple[int, int]]:
    """Character ranges of the words of raw text, left to right.

    Runs of letters, runs of digits and single other graphemes are words, so that
    ``"p53-wildtype"`` gives ``p``, ``53``, ``-``, ``wildtype``. Chinese, Japanese, Thai and
    other scripts without spaces are split by character. White space is in no word.

    >>> [text[a:b] for text in ["(U.S. dollar)"] for a, b in split_words(text)]
    ['(', 'U', '.', 'S', '.', 'dollar', ')']
    """
    return [
        (chunk.start() + word.start(), chunk.start() + word.end())
        for chunk in _CHUNK.finditer(text)
        for word in _WORD.finditer(chunk.group())
    ]


@dataclass(frozen=True)
class Folded:
    """A text with each run of white space as one space, and where its characters stood before."""

    text: str
    offsets: list[int]
    """For each character of `text` its index in the given text; ascending."""

    @cached_property
    def bytes(self) -> bytes:
        return self.text.encode()

    @cached_property
    def byte_offsets(self) -> list[int]:
        """The UTF-8 offset of each character of `text`, and of its end."""
        starts, at = [], 0
        for char in self.text:
            starts.append(at)
            at += len(char.encode())
        return [*starts, at]

    def fold_range(self, start: int, end: int) -> tuple[int, int]:
        """A range of the given text as a range of `text`.

        Raises ValueError for a range that begins or ends with white space or is empty.
        """
        first, last = (bisect_left(self.offsets, at) for at in (start, end - 1))
        for index, at in ((first, start), (last, end - 1)):
            if index >= len(self.offsets) or self.offsets[index] != at or self.text[index] == " ":
                raise ValueError(f"range ({start}, {end}) is empty, or begins or ends with space")
        return first, last + 1

    def unfold_range(self, start: int, end: int) -> tuple[int, int]:
        """A range of `text` as a range of the given text."""
        return self.offsets[start], self.offsets[end - 1] + 1


def fold(text: str) -> Folded:
    """Fold white space to single spaces, none at the ends; lone surrogates become U+FFFD."""
    chars: list[str] = []
    offsets: list[int] = []
    for chunk in _CHUNK.finditer(text):
        if chars:
            chars.append(" ")
            offsets.append(chunk.start() - 1)
        chars.append(chunk.group())
        offsets.extend(range(chunk.start(), chunk.end()))
    return Folded(_SURROGATE.sub("\ufffd", "".join(chars)), offsets)
