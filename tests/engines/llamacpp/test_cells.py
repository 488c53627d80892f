"""Where texts lie in llama.cpp's cache, and that it changes no answer."""

import random
from threading import Event

import pytest

import minisift
from minisift.engines.llamacpp.cells import FILL, PADDING, PREFIX, Cells


class Memory:
    """A cache that gives tokens the first free cells, as llama.cpp's does."""

    def __init__(self, size):
        self.free = set(range(size))
        self.users = [0] * size
        self.cells = {}
        """Of each sequence, the cell of each position."""

    def put(self, sequence, position):
        cell = min(self.free)
        self._take(sequence, position, cell)
        return cell

    def _take(self, sequence, position, cell):
        self.cells.setdefault(sequence, {})[position] = cell
        self.users[cell] += 1
        self.free.discard(cell)

    def remove(self, sequence, begin, end):
        held = self.cells.get(sequence, {})
        for position in [p for p in held if p >= begin and (end < 0 or p < end)]:
            cell = held.pop(position)
            self.users[cell] -= 1
            if not self.users[cell]:
                self.free.add(cell)

    def copy(self, source, target, begin, end):
        for position, cell in self.cells.get(source, {}).items():
            if position >= begin and (end < 0 or position < end):
                assert position not in self.cells.get(target, {})
                self._take(target, position, cell)


@pytest.mark.parametrize("prefix", [0, 1, 16, 63, 64, 100, 302, 700])
def test_each_text_lies_in_units_of_16_cells_in_order(prefix):
    memory = Memory(2600)

    def fill(sequence, count):
        count = count or max(FILL, prefix)
        for position in range(count):
            memory.put(sequence, position)
        return count

    cells = Cells(memory, 2600, 9, fill)
    for position in range(prefix):
        memory.put(PREFIX, position)
    rng = random.Random(prefix)
    lying = {}
    grown = split = 0
    for _ in range(2):
        cells.lay(prefix)
        for _ in range(300):
            if rng.random() < 0.4:
                seat = cells.enter(rng.randint(1, 70))
                if seat is None:
                    grown += cells.grow()
                else:
                    assert seat not in lying
                    lying[seat] = []
            call = []
            drafted = {}
            for seat, held in lying.items():
                count = rng.randint(0, 9)
                if (given := cells.extend(seat, count)) is not None:
                    call += [(at, seat, prefix + len(held) + i) for i, at in enumerate(given)]
                    held += given
                    drafted[seat] = rng.randint(0, count)
            call += [(at, PADDING, position) for at, position in cells.pad(rng.randint(0, 3))]
            for at, seat, position in sorted(call):
                assert memory.put(seat, position) == at
            for seat, count in drafted.items():
                cells.retract(seat, count)
                del lying[seat][len(lying[seat]) - count :]
            for seat in [s for s in lying if rng.random() < 0.1]:
                cells.leave(seat)
                del lying[seat]
            for held in lying.values():
                units = held[::16]
                assert units == sorted(units)
                assert all(at % 16 == 0 for at in units)
                assert held == [units[i // 16] + i % 16 for i in range(len(held))]
                split += units != [units[0] + 16 * i for i in range(len(units))] if units else 0
        for seat in lying:
            cells.leave(seat)
        lying = {}
    assert grown
    assert split
    assert max(memory.cells) < Cells.sequences(9)


def test_a_scarce_context_stays_open():
    filled = []
    cells = Cells(Memory(512), 512, 4, lambda _, count: filled.append(count))
    cells.lay(300)
    assert filled == [4]  # a text begins where a unit would, or vectors would add it up otherwise
    assert cells.is_open
    assert cells.capacity == 0


def scored(found):  # scores do not count in comparisons of spans
    return [[(span, span.score) for span in spans] for spans in found]


def load(path, **options):
    """On the CPU, where texts have cells of their own."""
    return minisift.load(path, n_gpu_layers=0, **options)


def test_texts_that_outgrow_their_cells_or_run_alone_get_the_same_answers(q4_0, dev, monkeypatch):
    from minisift.engines.llamacpp.lane import Text

    labeler = load(q4_0)
    expected = [labeler.predict(example) for example in dev]
    init, restart, extend = Text.__init__, Text.restart, Cells.extend
    restarted = []
    rng = random.Random(0)

    def scarce(self, *args):
        init(self, *args)
        # every fifth needs more than there is
        self.cells = 10_000 if self.number % 5 == 4 else 16

    def refused(self, sequence, count):
        if sequence != PADDING and rng.random() < 0.05:
            return None
        return extend(self, sequence, count)

    def noted(self):
        restarted.append(self.number)
        restart(self)

    monkeypatch.setattr(Text, "__init__", scarce)
    monkeypatch.setattr(Text, "restart", noted)
    monkeypatch.setattr(Cells, "extend", refused)
    assert labeler.predict(dev) == expected
    assert restarted


def test_a_stream_that_is_left_within_a_step_has_cells_laid_out_anew(q4_0, dev, monkeypatch):
    """One lane gave a text, and the other has taken cells for tokens that the model never reads."""
    labeler = load(q4_0, threads=2)
    texts = dev[:8]
    expected = scored(labeler.predict(texts))
    seen, laid = [], []
    is_left = Event()
    extend, lay = Cells.extend, Cells.lay

    def held(self, sequence, count):
        cells = extend(self, sequence, count)
        seen.append(self)
        if self is not seen[0] and seen.count(self) == 5:
            assert is_left.wait(60)
        return cells

    with monkeypatch.context() as patch:
        patch.setattr(Cells, "extend", held)
        patch.setattr(Cells, "lay", lambda self, prefix: laid.append(self) or lay(self, prefix))
        labeler.predict(texts[0])  # alone, so in the first lane
        stream = labeler.stream(texts)
        next(stream)
        stream.close()
        is_left.set()
        assert scored(labeler.predict(texts)) == expected
    assert laid


def test_without_demonstrations_and_in_a_scarce_context(q4_0, dev):
    bare = load(q4_0).prompted([])
    assert [bare.predict(e) for e in dev[:6]] == bare.predict(dev[:6])
    expected = bare.prompted(load(q4_0).description.demonstrations).predict(dev[:6])
    for context in (400, 1000):
        assert load(q4_0, context=context).predict(dev[:6]) == expected


def test_a_context_grows_for_a_long_text_between_short_ones(q4_0, dev):
    labeler = load(q4_0)
    expected = labeler.predict(dev[:8])
    long = minisift.Example(" ".join(example.text for example in dev * 4)[:6000])
    found = labeler.predict([*dev[:4], long, *dev[4:8]], on_long="error")
    assert found[:4] + found[5:] == expected
    assert found[4] == labeler.predict(long, on_long="error")
    assert labeler.predict(dev[:8]) == expected
