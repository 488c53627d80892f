"""Where the tokens of running texts lie in llama.cpp's cache.

llama.cpp gives new tokens the first free cells. So no cell is left free: those that hold no running
text hold what is dead, and what a call is to fill is freed just before it. Thus each text's tokens
lie in a row, from a multiple of 16 cells on. Attention adds up vectors of neighbouring cells;
it then adds each text up alike, bit by bit, wherever it lies and whatever lies beside it. And there are
few cells, since attention passes over all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import llama_cpp as llama

PREFIX, PADDING = 0, 1
"""The sequences of the demonstrations, which all texts share, and of tokens that fill up calls."""
_TEXTS = 2
"""The first sequence of a text. After those of texts come those of what is dead, by the unit that it
began in, then fillers: what lay in the cells before any text."""
_UNIT = 16
"""Cells that are given at once: as many as the widest vectors hold numbers."""
_PAGE = 256
"""llama.cpp attends to a multiple of so many cells."""
_LEAST, _MOST = 128, 384
"""Cells for texts to begin with, and after growing, or as many more as fill the page."""
_UNITS = (_UNIT + _MOST + _PAGE) // _UNIT
FILL = 64
"""Cells that a filler takes, at least."""
_FILLERS = _UNITS * _UNIT // FILL + 4


def _up(count: int, multiple: int) -> int:
    return -(-count // multiple) * multiple


@dataclass
class _Place:
    """Cells of a running text: of `size` cells from `first` on, it has filled `used`."""

    first: int
    size: int
    used: int = 0


class Cells:
    """The cells of one context behind its prefix, for so many texts at most.

    They are laid out by `lay`, for texts that need up to `capacity` cells; or `open`, when texts
    get what is free as llama.cpp gives it.

    fill: gives a sequence the next free cells, FILL of them or more, and returns how many.
    """

    def __init__(self, memory: Any, context: int, texts: int, fill: Callable[[int], int]) -> None:
        self._memory = memory
        self._context = context
        self._fill = fill
        self._free_texts = list(range(_TEXTS, _TEXTS + texts))
        self._first_dead = _TEXTS + texts
        self._first_filler = self._first_dead + _UNITS
        self._prefix = self._first = self._next_filler = 0
        self._places: dict[int, _Place] = {}
        self._units: list[bool] = []
        self._owners: list[int] = []
        self._origins: dict[int, int] = {}
        self.capacity = 0

    @staticmethod
    def sequences(texts: int) -> int:
        """How many sequences the context has to have."""
        return _TEXTS + texts + _UNITS + _FILLERS

    @property
    def is_open(self) -> bool:
        return not self._owners

    def open(self, prefix: int) -> None:
        """Free all cells but those of a prefix of so many tokens; no text may be running."""
        for sequence in range(PADDING, self._first_filler + _FILLERS):
            self._remove(sequence, -1, -1)
        self._prefix = prefix
        self._first = _up(prefix, _UNIT)
        # a filler that is cut off at the last cell takes more at first
        room = (self._context - max(prefix, FILL)) // _PAGE * _PAGE
        most = min(_up(self._first + _UNIT + _MOST, _PAGE), room)
        self.capacity = most - self._first - _UNIT if most >= self._least() else 0
        self._owners, self._units, self._origins, self._places = [], [], {}, {}

    def lay(self, prefix: int) -> None:
        """Lay out the cells behind a prefix of so many tokens; no text may be running.

        Where the context is too scarce for that, they stay open.
        """
        self.open(prefix)
        if self.capacity:
            # the sequence of what is dead in each cell, and for each the cell of its position 0
            self._owners = [-1] * prefix
            self._next_filler = self._first_filler
            for unit in range(_UNITS):
                self._origins[self._first_dead + unit] = self._first + unit * _UNIT - prefix
            self._reach(self._least())
            self._units[0] = False
            self._places[PADDING] = _Place(self._first, _UNIT)

    def _least(self) -> int:
        return _up(self._first + _UNIT + _LEAST, _PAGE)

    def grow(self) -> bool:
        """Have more cells for texts; False if there are as many as there may be."""
        if self.is_open or len(self._owners) >= self._first + _UNIT + self.capacity:
            return False
        self._reach(len(self._owners) + _PAGE)
        return True

    def _reach(self, end: int) -> None:
        while (at := len(self._owners)) < end:
            filler = self._next_filler
            count = min(self._fill(filler), end - at)
            self._remove(filler, count, -1)
            self._owners += [filler] * count
            self._origins[filler] = at
            self._next_filler += 1
        self._units += [True] * ((end - self._first) // _UNIT - len(self._units))

    def enter(self, count: int) -> int | None:
        """The sequence of a new text that begins with the prefix, with so many cells of its own;
        None if there is no room for it at present."""
        if not self._free_texts:
            return None
        place = _Place(self._prefix, self._context)
        if not self.is_open:
            wanted = max(1, _up(count, _UNIT) // _UNIT)
            runs = range(len(self._units) - wanted + 1)
            unit = next((u for u in runs if all(self._units[u : u + wanted])), None)
            if unit is None:
                return None
            self._units[unit : unit + wanted] = [False] * wanted
            place = _Place(self._first + unit * _UNIT, wanted * _UNIT)
        sequence = self._free_texts.pop(0)
        self._places[sequence] = place
        llama.llama_memory_seq_cp(self._memory, PREFIX, sequence, -1, -1)
        return sequence

    def order(self, sequence: int) -> int:
        """A key by which the tokens of a call have to be in order; padding is the first."""
        return self._places[sequence].first

    def extend(self, sequence: int, count: int) -> bool:
        """Make room for a text's next tokens in the call that comes; False if it outgrows its
        cells."""
        place = self._places[sequence]
        if place.used + count > place.size:
            return False
        if not self.is_open:
            self._vacate(place.first + place.used, place.first + place.used + count)
        place.used += count
        return True

    def retract(self, sequence: int, count: int) -> None:
        """A text's last tokens are none of it, and dead."""
        place = self._places[sequence]
        if count:
            self._bury(sequence, place, place.used - count)
            place.used -= count

    def pad(self, count: int) -> list[int]:
        """Make room for the padding of the call that comes, the first of its tokens; returns their
        positions. That of the call before is dead."""
        if self.is_open:
            self._remove(PADDING, -1, -1)
        else:
            self._bury(PADDING, place := self._places[PADDING])
            place.used = 0
            self.extend(PADDING, count)
        return list(range(self._prefix, self._prefix + count))

    def leave(self, sequence: int) -> None:
        """A text has ended: what it filled is dead."""
        place = self._places.pop(sequence)
        self._bury(sequence, place)
        self._remove(sequence, -1, -1)
        if not self.is_open:
            unit, size = (place.first - self._first) // _UNIT, place.size // _UNIT
            self._units[unit : unit + size] = [True] * size
        self._free_texts.append(sequence)

    def _bury(self, sequence: int, place: _Place, kept: int = 0) -> None:
        """Let what a sequence holds behind so many tokens be dead; in open cells, free."""
        begin = self._prefix + kept
        if not self.is_open:
            dead = self._first_dead + (place.first - self._first) // _UNIT
            llama.llama_memory_seq_cp(self._memory, sequence, dead, begin, -1)
            self._owners[place.first + kept : place.first + place.used] = [dead] * (
                place.used - kept
            )
        self._remove(sequence, begin, -1)

    def _vacate(self, begin: int, end: int) -> None:
        """Free cells that hold what is dead."""
        while begin < end:
            owner = self._owners[begin]
            stop = next((c for c in range(begin, end) if self._owners[c] != owner), end)
            origin = self._origins[owner]
            self._remove(owner, begin - origin, stop - origin)
            begin = stop

    def _remove(self, sequence: int, begin: int, end: int) -> None:
        llama.llama_memory_seq_rm(self._memory, sequence, begin, end)
