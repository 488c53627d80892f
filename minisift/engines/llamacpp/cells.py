"""Where the tokens of running texts lie in llama.cpp's cache.

llama.cpp gives new tokens the first free cells. So no cell is left free: those that hold no running
text hold what is dead, and what a call is to fill is freed just before it. Thus each text's tokens
lie in units of 16 cells, filled in order, each unit behind the one before. Attention adds up vectors of
neighbouring cells; it then adds each text up alike, bit by bit, wherever its units lie and whatever lies
between them. And there are few cells, since attention passes over all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from minisift.engines.llamacpp.native import Memory

PREFIX, PADDING = 0, 1
"""The sequences of the demonstrations, which all texts share, and of tokens that fill up calls."""
_TEXTS = 2
"""The first sequence of a text. After those of texts come those of what is dead, by how far its
cells lie behind those of a text that has all units from the first on, then fillers: what lay in the
cells before any text."""
UNIT = 16
"""Cells that are given at once: as many as the widest vectors hold numbers."""
_PAGE = 256
"""llama.cpp attends to a multiple of so many cells."""
_LEAST, _MOST = 128, 384
"""Cells for texts to begin with, and after growing, or as many more as fill the page."""
_UNITS = (UNIT + _MOST + _PAGE) // UNIT
FILL = 64
"""Cells that a filler takes, at least."""
_FILLERS = _UNITS * UNIT // FILL + 4


def _up(count: int, multiple: int) -> int:
    return -(-count // multiple) * multiple


@dataclass
class _Place:
    """Units of cells of a running text, in order, and how many of its tokens are in them."""

    units: list[int]
    used: int = 0


class Cells:
    """The cells of one context behind its prefix, for so many texts at most.

    They are laid out by `lay`, for texts that need up to `capacity` cells; or `open`, when texts
    get what is free as llama.cpp gives it.

    fill: gives a sequence the next free cells, so many, or for None FILL or more as is cheapest, and
    returns how many.
    """

    def __init__(
        self,
        memory: Memory,
        context: int,
        texts: int,
        fill: Callable[[int, int | None], int],
    ) -> None:
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
        self._coming: list[int] = []
        self.capacity = 0

    @staticmethod
    def sequences(texts: int) -> int:
        """How many sequences the context has to have."""
        return _TEXTS + texts + _UNITS + _FILLERS

    @staticmethod
    def context(prefix: int) -> int:
        """How many tokens the context has to have for as many cells as there may be."""
        return _up(_up(prefix, UNIT) + UNIT + _MOST, _PAGE) + max(prefix, FILL)

    @property
    def is_open(self) -> bool:
        return not self._owners

    def open(self, prefix: int) -> None:
        """Free all cells behind a prefix of so many tokens, from the next unit on; no text may be
        running."""
        self._free(prefix)
        if self._first > prefix:
            self._fill(self._first_filler, self._first - prefix)

    def _free(self, prefix: int) -> None:
        for sequence in range(PADDING, self._first_filler + _FILLERS):
            self._memory.remove(sequence, -1, -1)
        self._prefix = prefix
        self._first = _up(prefix, UNIT)
        # a filler that is cut off at the last cell takes more at first
        room = (self._context - max(prefix, FILL)) // _PAGE * _PAGE
        most = min(_up(self._first + UNIT + _MOST, _PAGE), room)
        self.capacity = most - self._first - UNIT if most >= self._least() else 0
        self._owners, self._units, self._origins, self._places = [], [], {}, {}
        self._coming = []

    def lay(self, prefix: int) -> None:
        """Lay out the cells behind a prefix of so many tokens; no text may be running.

        Where the context is too scarce for that, they stay open.
        """
        self._free(prefix)
        if not self.capacity:
            self.open(prefix)
        else:
            # the sequence of what is dead in each cell, and for each the cell of its position 0
            self._owners = [-1] * prefix
            self._next_filler = self._first_filler
            for unit in range(_UNITS):
                self._origins[self._first_dead + unit] = self._first + unit * UNIT - prefix
            self._reach(self._least())
            self._occupy([0], True)
            self._places[PADDING] = _Place([0])

    def _least(self) -> int:
        return _up(self._first + UNIT + _LEAST, _PAGE)

    def grow(self) -> bool:
        """Have more cells for texts; False if there are as many as there may be."""
        if self.is_open or len(self._owners) >= self._first + UNIT + self.capacity:
            return False
        self._reach(len(self._owners) + _PAGE)
        return True

    def _reach(self, end: int) -> None:
        while (at := len(self._owners)) < end:
            filler = self._next_filler
            count = min(self._fill(filler, None), end - at)
            self._memory.remove(filler, count, -1)
            self._owners += [filler] * count
            self._origins[filler] = at
            self._next_filler += 1
        self._units += [True] * ((end - self._first) // UNIT - len(self._units))

    def enter(self, count: int) -> int | None:
        """The sequence of a new text that begins with the prefix, with so many cells of its own;
        None if there is no room for it at present."""
        if not self._free_texts:
            return None
        units = []
        if not self.is_open:
            wanted = max(1, _up(count, UNIT) // UNIT)
            free = [u for u, is_free in enumerate(self._units) if is_free]
            units = free[:wanted]
            # of two texts one will want another unit, or begin again; padding is no text
            if len(free) < wanted + (len(self._places) - 1) // 2:
                return None
            self._occupy(units, True)
        sequence = self._free_texts.pop(0)
        self._places[sequence] = _Place(units)
        self._memory.copy(PREFIX, sequence, -1, -1)
        return sequence

    def extend(self, sequence: int, count: int) -> list[int] | None:
        """The cells of a text's next tokens, for the call that comes: its tokens have to be in the
        order of their cells. None if the text outgrows its units and none behind them is free.

        Open cells are all alike: -1.
        """
        place = self._places[sequence]
        end = place.used + count
        cells = [-1] * count
        if not self.is_open:
            while len(place.units) * UNIT < end:
                free = (u for u in range(place.units[-1] + 1, len(self._units)) if self._units[u])
                if (unit := next(free, None)) is None:
                    if self.grow():
                        continue
                    return None
                self._occupy([unit], True)
                place.units.append(unit)
            cells = [
                self._first + place.units[at // UNIT] * UNIT + at % UNIT
                for at in range(place.used, end)
            ]
            self._coming += cells
        place.used = end
        return cells

    def retract(self, sequence: int, count: int) -> None:
        """A text's last tokens are none of it, and dead."""
        place = self._places[sequence]
        if count:
            self._bury(sequence, place, place.used - count)
            place.used -= count

    def pad(self, count: int) -> list[tuple[int, int]]:
        """The cells and positions of the padding of the call that comes, whose other tokens all have
        theirs; that of the call before is dead. Then all of them are free."""
        if self.is_open:
            self._memory.remove(PADDING, -1, -1)
            cells: Sequence[int] = [-1] * count
        else:
            self._bury(PADDING, place := self._places[PADDING])
            place.used = 0
            cells = self.extend(PADDING, count) or []
            self._vacate()
        return [(cell, self._prefix + at) for at, cell in enumerate(cells)]

    def leave(self, sequence: int) -> None:
        """A text has ended: what it filled is dead."""
        place = self._places.pop(sequence)
        self._bury(sequence, place)
        self._memory.remove(sequence, -1, -1)
        self._occupy(place.units, False)
        self._free_texts.append(sequence)

    def _occupy(self, units: list[int], by_text: bool) -> None:
        for unit in units:
            self._units[unit] = not by_text

    def _bury(self, sequence: int, place: _Place, kept: int = 0) -> None:
        """Let what a sequence holds behind so many tokens be dead; in open cells, free."""
        for index, unit in enumerate(place.units):
            begin, end = max(kept, index * UNIT), min(place.used, (index + 1) * UNIT)
            if begin < end:
                dead = self._first_dead + unit - index
                first = self._first + (unit - index) * UNIT
                self._owners[first + begin : first + end] = [dead] * (end - begin)
                begin, end = self._prefix + begin, self._prefix + end
                self._memory.copy(sequence, dead, begin, end)
        self._memory.remove(sequence, self._prefix + kept, -1)

    def _vacate(self) -> None:
        """Free the cells that the call that comes will fill, and that hold what is dead."""
        cells = sorted(self._coming)
        self._coming = []
        while cells:
            begin, owner = cells[0], self._owners[cells[0]]
            count = 1
            while cells[count : count + 1] == [begin + count]:
                if self._owners[begin + count] != owner:
                    break
                count += 1
            origin = self._origins[owner]
            self._memory.remove(owner, begin - origin, begin + count - origin)
            del cells[:count]
