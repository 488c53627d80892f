"""What a labelled set holds and what may be wrong with it."""

from minisift import check
from minisift.data.checking import FEW
from minisift.data.examples import Example


def sentence(text, **labels):
    """Words with blanks between them, some of them spans of a word."""
    words = text.split()
    return Example.from_words(
        words, [(words.index(word), words.index(word) + 1, label) for word, label in labels.items()]
    )


def test_counts():
    found = check(
        [sentence("Nora met Ada in Bonn", Nora="PER", Ada="PER", Bonn="LOC"), Example("a b")]
    )
    assert (found.sentences, found.words, found.longest, found.empty) == (2, 7, 5, 1)
    assert found.spans == {"PER": 2, "LOC": 1}
    assert found.few == ["PER", "LOC"]
    assert f"Fewer than {FEW} spans, hardly learned: PER, LOC" in str(found)
    assert "PER         2" in str(found)
    assert found.to_dict()["few"] == ["PER", "LOC"]
    assert not check([sentence("Nora", Nora="PER")] * FEW).few


def test_nothing_at_all():
    found = check([])
    assert found.sentences == found.longest == 0
    assert str(found).startswith("0 sentences, 0 words")


def test_texts_that_stand_there_twice():
    first = sentence("Nora Feld lives in the old town of Bonn", Bonn="LOC")
    examples = [
        first,
        Example("Something else is said here, too."),
        first,
        sentence("Nora Feld lives in the old town of Kiel", Kiel="LOC"),
        Example("nora feld lives in the old town of Bonn !"),
        Example("No word of these."),
    ]
    found = [
        (twin.kind, twin.first, twin.second, twin.labelled_alike) for twin in check(examples).twins
    ]
    assert found == [
        ("nearly the same", 0, 3, False),
        ("nearly the same", 0, 4, False),
        ("the same", 0, 2, True),
    ]
    assert "3 and 1 are the same: 'Nora Feld" in str(check(examples))
    assert "5 and 1 are nearly the same, but labelled otherwise: " in str(check(examples))


def test_texts_of_dev():
    examples = [Example("a b c d"), Example("a b c d"), Example("e f g h 12")]
    dev = [Example("x"), Example("x"), Example("e f g h 13")]
    found = [(twin.kind, twin.first, twin.second) for twin in check(examples, dev).twins]
    assert found == [("nearly the same in dev", 2, 2), ("the same", 0, 1)]
    assert "3 and dev 3 are nearly the same in dev: 'e f g h 12'" in str(check(examples, dev))


def test_words_that_are_labelled_otherwise_than_elsewhere():
    usual = [sentence(f"{n} saw Bonn again", Bonn="LOC") for n in range(9)]
    odd = [sentence("we saw Bonn lose", Bonn="ORG"), Example("Bonn is there")]
    few = [sentence("Kiel", Kiel="LOC"), sentence("Kiel", Kiel="ORG")]
    part = [Example.from_words(["the", "Bonn", "Lions"], [(1, 3, "ORG")])]
    (first, second) = check([*usual, *odd, *few, *part]).odd
    assert (first.words, first.label, first.usual) == ("Bonn", "ORG", "LOC")
    assert (first.times, first.of, first.place) == (9, 11, 9)
    assert str(first) == "10: 'Bonn' is ORG, LOC in 9 of 11 places: we saw Bonn lose"
    assert (second.label, second.place) == (None, 10)
    assert "11: 'Bonn' is no span, LOC in 9 of 11 places" in str(second)


def test_the_strangest_come_first_and_show_where_they_are():
    many = [sentence(f"{n} to Ulm", Ulm="LOC") for n in range(30)]
    long = "a long way before " * 5 + "Ulm " + "and a long way behind " * 5
    some = [sentence(f"{n} by Bonn", Bonn="LOC") for n in range(4)]
    found = check([sentence("Bonn", Bonn="PER"), *many, sentence(long, Ulm="PER"), *some]).odd
    assert [one.words for one in found] == ["Ulm", "Bonn"]
    assert found[0].context.startswith("…")
    assert " Ulm and a long" in found[0].context
    assert len(found[0].context) < 70


def test_mentions_of_several_words():
    usual = [Example.from_words(["in", "New", "York"], [(1, 3, "LOC")])] * 5
    found = check([*usual, Example("New York won"), Example("a New one")]).odd
    assert [(one.words, one.label, one.place) for one in found] == [("New York", None, 5)]
