"""What a labeler takes, and what it refuses, before its model has anything to do."""

import array
import pathlib

import pytest

pytest.importorskip("torch")

import minisift
from minisift.baselines import Unconstrained
from minisift.data.examples import Example


@pytest.fixture(scope="module")
def labeler(train):
    return minisift.prompt("smollm2-135m", train, shots=1)


WRONG = [{}, {"text": "Tom took aspirin."}, b"Tom", bytearray(b"Tom"), None, 7, pathlib.Path("a")]


@pytest.mark.parametrize("texts", WRONG, ids=[type(texts).__name__ for texts in WRONG])
def test_what_is_no_text_is_refused_at_once(labeler, texts):
    named = rf"texts is {type(texts).__name__}; fix: give predict a str, an Example, or an iterable"
    for function in (labeler.predict, labeler.stream):
        with pytest.raises(TypeError, match=named):
            function(texts)


@pytest.mark.parametrize("texts", ["Tom took aspirin.", Example("Tom")])
def test_a_stream_is_of_several_texts(labeler, texts):
    with pytest.raises(TypeError, match=f"texts is {type(texts).__name__}; fix: .*stream an it"):
        labeler.stream(texts)


@pytest.mark.parametrize("texts", [[7], [None], [b"Tom"], array.array("b", [1]), [["Tom"]]])
def test_a_wrong_text_is_refused_when_its_turn_comes(labeler, texts):
    stream = labeler.stream(texts)
    with pytest.raises(TypeError, match=r"text 0 is .*; fix: give a str or an Example"):
        next(stream)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"threshold": 2}, "threshold 2 "),
        ({"threshold": "0.5"}, "threshold '0.5' "),
        ({"threshold": None}, "threshold None "),
        ({"threshold": {"NOWHERE": 0.5}}, "threshold for 'NOWHERE'; fix: labels are"),
        ({"on_long": "cut"}, "on_long='cut'; fix: 'window' or 'error'"),
        ({"batch_size": 0}, "batch_size=0; fix: "),
        ({"batch_size": 1.5}, "batch_size=1.5; fix: "),
        ({"batch_size": "8"}, "batch_size='8'; fix: "),
    ],
)
def test_a_stream_checks_its_arguments_before_it_begins(labeler, arguments, named):
    with pytest.raises(ValueError, match=named):
        labeler.stream([], **arguments)


def test_texts_of_none_have_answers_of_none(labeler):
    assert labeler.predict([]) == []
    assert labeler.predict(text for text in ()) == []


def test_scores_on_no_sentences_are_refused(labeler):
    for function in (labeler.evaluate, labeler.calibrate, Unconstrained(labeler).evaluate):
        with pytest.raises(ValueError, match=r"no sentences to score on.*; fix: give labelled"):
            function([])
