"""The language of valid responses to one text, token by token.

`Vocabulary` holds what is shared between texts, `Language` what one text's answers may be,
and `Answer` how far one answer has come: `allowed()` gives the tokens that may follow,
`advance()` takes one. The language is that of response.py, tokenized as renderer.py does:
no token spans words, name and closing of a line, and names are tokenized in one way only, so
that most of a line after its first name token is forced. Words may be cut into any tokens.

An answer's state is a set of alternatives (a line's first words may stand at several places).
Work and memory grow with the text and the labels, never with the vocabulary, and the language
is exact for any text: it is built of byte strings, and nothing in it is ever parsed.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from minisift.prompting.response import END, LEAD, Target, closing, label_part
from minisift.prompting.tokenizer import Tokenizer


class Vocabulary:
    """Token ids by their bytes, and the token sequences of names and closings.

    Raises ValueError if the tokenizer lacks tokens for a name.
    """

    def __init__(self, tokenizer: Tokenizer, names: Mapping[str, str]) -> None:
        self.pieces = tokenizer.pieces
        self._encode = tokenizer.encode
        self._ids = _written(tokenizer)
        self._longest = {piece[:2]: len(piece) for piece in sorted(self._ids, key=len)}
        self.end = tuple(self._encode(END))
        self.labels = [tuple(self._encode(label_part(name))) for name in names.values()]
        self._closings: dict[int, tuple[int, ...]] = {}
        self._bytes = frozenset(byte for byte in range(256) if bytes([byte]) in self._ids)

    def spells(self, text: bytes) -> bool:
        """Whether any text of these bytes can be written, in tokens of one byte if need be."""
        return self._bytes.issuperset(text)

    def closing(self, occurrence: int) -> tuple[int, ...]:
        if occurrence not in self._closings:
            self._closings[occurrence] = tuple(self._encode(closing(occurrence)))
        return self._closings[occurrence]

    def prefixes(self, text: bytes) -> list[tuple[int, int]]:
        """Tokens that `text` begins with, as (id, length in bytes)."""
        longest = max(self._longest.get(text[:2], 0), 1)
        found = []
        for length in range(1, min(longest, len(text)) + 1):
            if (token := self._ids.get(text[:length])) is not None:
                found.append((token, length))
        return found


def _written(tokenizer: Tokenizer) -> dict[bytes, int]:
    """Token ids by their bytes; of several tokens of the same bytes the first. But many vocabularies spell
    each byte once more, for texts that their other tokens cannot write: of those that which is written."""
    pieces = tokenizer.pieces
    ids = dict(zip(reversed(pieces), range(len(pieces) - 1, -1, -1), strict=True))
    ids.pop(b"", None)
    for letter in map(chr, range(128)):
        written = tokenizer.encode(letter)
        if len(written) == 1 and pieces[written[0]] == letter.encode():
            ids[pieces[written[0]]] = written[0]
    return ids


class _Line(NamedTuple):
    """At the beginning of a line; the next span begins at or after byte `cursor`."""

    cursor: int


class _Words(NamedTuple):
    """In a span's words, from byte `start`; all before byte `at` is written."""

    start: int
    at: int


class _Fixed(NamedTuple):
    """In a fixed token sequence, `written` tokens of which are there."""

    tokens: tuple[int, ...]
    written: int
    start: int
    end: int
    is_closing: bool


State = _Line | _Words | _Fixed
_DONE = _Fixed((), 0, -1, -1, True)


@dataclass
class Language:
    """The valid responses to one text."""

    vocabulary: Vocabulary
    target: Target
    _continuations: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    _beginnings: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    _places: dict[str, dict[int, int]] = field(default_factory=dict)

    @property
    def end(self) -> tuple[int, ...]:
        return self.vocabulary.end

    @cached_property
    def _text(self) -> bytes:
        return self.target.folded.bytes

    @cached_property
    def _spelled(self) -> bool:
        return self.vocabulary.spells(self._text)

    @cached_property
    def _starts(self) -> list[int]:
        """Bytes where spans may begin: word starts from which some word end can be written."""
        offsets = self.target.folded.byte_offsets
        starts = [offsets[at] for at in self.target.starts]
        return starts if self._spelled else [s for s in starts if self._begin(s)]

    @cached_property
    def _ends(self) -> dict[int, int]:
        """Word ends: character offset by byte offset."""
        offsets = self.target.folded.byte_offsets
        return {offsets[at]: at for at in self.target.ends}

    @cached_property
    def _chars(self) -> dict[int, int]:
        """Word starts: character offset by byte offset."""
        offsets = self.target.folded.byte_offsets
        return {offsets[at]: at for at in self.target.starts}

    @cached_property
    def _last(self) -> int:
        return max(self._ends, default=0)

    @cached_property
    def _live(self) -> set[int]:
        """Bytes from which a word end can be written, where the vocabulary lacks some bytes."""
        live: set[int] = set()
        for at in range(self._last, -1, -1):
            tokens = self.vocabulary.prefixes(self._text[at : self._last])
            if at in self._ends or any(at + length in live for _, length in tokens):
                live.add(at)
        return live

    def _alive(self, at: int) -> bool:
        return self._spelled or at in self._live

    def _continue(self, at: int) -> list[tuple[int, int]]:
        """Tokens that go on with the text at a byte, as (id, next byte)."""
        if at not in self._continuations:
            tokens = self.vocabulary.prefixes(self._text[at : self._last])
            self._continuations[at] = [(i, at + n) for i, n in tokens if self._alive(at + n)]
        return self._continuations[at]

    def _begin(self, start: int) -> list[tuple[int, int]]:
        """Tokens that begin a line with the words at a byte, lead included."""
        if start not in self._beginnings:
            lead = LEAD.encode()
            tokens = self.vocabulary.prefixes(lead + self._text[start : self._last])
            self._beginnings[start] = [
                (i, start + n - len(lead)) for i, n in tokens if self._alive(start + n - len(lead))
            ]
        return self._beginnings[start]

    def _occurrence(self, start: int, end: int) -> int:
        first, last = self._chars[start], self._ends[end]
        words = self.target.text[first:last]
        if words not in self._places:
            self._places[words] = {at: k for k, at in enumerate(self.target.occurrences(words), 1)}
        return self._places[words][first]

    def answer(self) -> Answer:
        """A new answer, empty."""
        return Answer(self)

    def longest_answer(self) -> int:
        """Tokens that no answer exceeds, however oddly its words are cut into tokens."""
        name = max(len(tokens) for tokens in self.vocabulary.labels)
        mark = len(self.vocabulary.closing(len(self.target.starts)))
        return len(self._text) + len(self._starts) * (len(LEAD) + name + mark) + 1

    def _finish(self, state: _Fixed) -> State:
        """What follows a fixed sequence that is fully written."""
        if state.tokens is self.vocabulary.end:
            return _DONE
        if state.is_closing:
            return _Line(state.end)
        tokens = self.vocabulary.closing(self._occurrence(state.start, state.end))
        return _Fixed(tokens, 0, state.start, state.end, True)

    def follow(self, state: State) -> list[tuple[int, State]]:
        """Tokens that may follow in a state, each with the state that it leads to."""
        if isinstance(state, _Line):
            steps = [self._step(_Fixed(self.vocabulary.end, 0, -1, -1, True))]
            for start in self._starts[bisect_left(self._starts, state.cursor) :]:
                steps += [(token, _Words(start, at)) for token, at in self._begin(start)]
            return steps
        if isinstance(state, _Fixed):
            return [] if state is _DONE else [self._step(state)]
        steps = [(token, _Words(state.start, at)) for token, at in self._continue(state.at)]
        if state.at in self._ends and state.at > state.start:
            for tokens in self.vocabulary.labels:
                steps.append(self._step(_Fixed(tokens, 0, state.start, state.at, False)))
        return steps

    def likely(self, state: _Words | _Fixed, label: tuple[int, ...]) -> int | None:
        """A token that may well follow within a line whose label is to be guessed; see `guess`."""
        if isinstance(state, _Fixed):
            tokens = state.tokens if state.is_closing else label
            return tokens[state.written] if state.written < len(tokens) else None
        further = self._continue(state.at)
        if further and state.at in self._ends and state.at > state.start:
            begins = self._text[state.start : state.start + 1]
            if not (begins.isupper() and self._text[state.at :].lstrip()[:1].isupper()):
                return label[0]
        return further[-1][0] if further else label[0]

    def _step(self, state: _Fixed) -> tuple[int, State]:
        advanced = state._replace(written=state.written + 1)
        done = advanced.written == len(state.tokens)
        return state.tokens[state.written], self._finish(advanced) if done else advanced


class Answer:
    """An answer in the making. Begins empty; `done` once its empty line is written."""

    def __init__(self, language: Language) -> None:
        self._language = language
        self._states: list[State] = [_Line(0)]
        self._steps: dict[int, list[State]] | None = None
        self._label = language.vocabulary.labels[0]

    @property
    def done(self) -> bool:
        return self._states[0] is _DONE

    @property
    def at_line(self) -> bool:
        """Whether all lines so far are whole and a new one, or the end, comes next."""
        return isinstance(self._states[0], _Line)

    def allowed(self) -> list[int]:
        """Token ids that may come next; just one where it is forced, none when done."""
        if self._steps is None:
            self._steps = {}
            for state in self._states:
                for token, following in self._language.follow(state):
                    self._steps.setdefault(token, []).append(following)
        return list(self._steps)

    def advance(self, token: int) -> None:
        """Write a token. Raises ValueError if it is not allowed."""
        self.allowed()
        assert self._steps is not None
        if token not in self._steps:
            piece = self._language.vocabulary.pieces[token]
            raise ValueError(f"token {token} ({piece!r}) is not allowed here")
        for state in self._states:
            if isinstance(state, _Fixed) and state.tokens[state.written :] == (token,):
                self._label = self._label if state.is_closing else state.tokens
        self._states = self._steps[token]
        self._steps = None

    def forced(self) -> list[int]:
        """Write the tokens that are forced from here on, and give them."""
        tokens = []
        while not self.done and len(allowed := self.allowed()) == 1:
            tokens.append(allowed[0])
            self.advance(allowed[0])
        return tokens

    def guess(self, count: int) -> list[int]:
        """At most so many tokens that may well come next, up to the end of the line: the rest of a
        word, capitalised words behind a capitalised one, and the label of the line before."""
        ahead = copy(self)
        tokens: list[int] = []
        while len(tokens) < count and not isinstance(state := ahead._states[0], _Line):
            token = self._language.likely(state, self._label)
            if token not in ahead.allowed():
                break
            ahead.advance(token)
            tokens.append(token)
        return tokens
