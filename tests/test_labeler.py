"""What a labeler takes and refuses, its thresholds and counts, streams that are left."""

import array
import pathlib
import statistics
from dataclasses import replace

import pytest

pytest.importorskip("torch")

import minisift
from minisift.baselines import Unconstrained
from minisift.data.examples import Example

WRONG = [{}, {"text": "Tom took aspirin."}, b"Tom", bytearray(b"Tom"), None, 7, pathlib.Path("a")]


def ranges(spans):
    return [(span.start, span.end, span.label) for span in spans]


@pytest.mark.parametrize("texts", WRONG, ids=[type(texts).__name__ for texts in WRONG])
def test_what_is_no_text_is_refused_at_once(small, texts):
    named = rf"texts is {type(texts).__name__}; fix: give predict a str, an Example, or an iterable"
    for function in (small.predict, small.stream):
        with pytest.raises(TypeError, match=named):
            function(texts)


@pytest.mark.parametrize("texts", ["Tom took aspirin.", Example("Tom")])
def test_a_stream_is_of_several_texts(small, texts):
    with pytest.raises(TypeError, match=f"texts is {type(texts).__name__}; fix: .*stream an it"):
        small.stream(texts)


def test_texts_are_shown_with_what_is_found(small, dev):
    made = small.show(["Tom took aspirin.", "<b>"], title="Two & more")
    assert "<h1>Two &amp; more</h1>" in made.html
    assert "<b>" not in made.html.replace("<b>1</b>", "").replace("<b>2</b>", "")
    assert "&lt;b" in made.html
    assert made.html.count("<article>") == 2
    assert small.show("Tom took aspirin.").html == small.show(["Tom took aspirin."]).html
    compared = small.show(dev[:3]).html
    assert str(small.evaluate(dev[:3])).splitlines()[-1] in compared
    assert 'class="missed"' in compared


@pytest.mark.parametrize("texts", [[7], [None], [b"Tom"], array.array("b", [1]), [["Tom"]]])
def test_a_wrong_text_is_refused_when_its_turn_comes(small, texts):
    stream = small.stream(texts)
    with pytest.raises(TypeError, match=r"text 0 is .*; fix: give a str or an Example"):
        next(stream)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"threshold": 2}, "threshold 2 "),
        ({"threshold": "0.5"}, "threshold '0.5' "),
        ({"threshold": None}, "threshold None "),
        ({"threshold": {"NOWHERE": 0.5}}, "threshold for 'NOWHERE'; fix: labels are"),
        ({"prefer": "speed"}, "prefer='speed'; fix: one of recall, balance, precision, or None"),
        ({"on_long": "cut"}, "on_long='cut'; fix: 'window' or 'error'"),
        ({"batch_size": 0}, "batch_size=0; fix: "),
        ({"batch_size": 1.5}, "batch_size=1.5; fix: "),
        ({"batch_size": "8"}, "batch_size='8'; fix: "),
    ],
)
def test_a_stream_checks_its_arguments_before_it_begins(small, arguments, named):
    with pytest.raises(ValueError, match=named):
        small.stream([], **arguments)


def test_texts_of_none_have_answers_of_none(small):
    assert small.predict([]) == []
    assert small.predict(text for text in ()) == []


def test_scores_on_no_sentences_are_refused(small):
    for function in (small.evaluate, small.calibrate, Unconstrained(small).evaluate):
        with pytest.raises(ValueError, match=r"no sentences to score on.*; fix: give labelled"):
            function([])


def test_strings_and_lists_are_answered_in_kind(loaded):
    one = loaded.predict("Mrs. Alvarez took 5 mg of warfarin.")
    many = loaded.predict(["Mrs. Alvarez took 5 mg of warfarin."])
    assert one
    assert [ranges(one)] == [ranges(spans) for spans in many]
    assert loaded.predict([]) == []
    with pytest.raises(TypeError, match="text 1 is NoneType"):
        loaded.predict(["a", None])
    assert all(isinstance(span, minisift.Span) and 0 <= span.score <= 1 for span in one)


def test_one_by_one_and_in_a_batch_alike(loaded, dev):
    batch = loaded.predict(dev)
    assert batch == loaded.predict(dev)
    alike = sum(ranges(a) == ranges(loaded.predict(e)) for a, e in zip(batch, dev, strict=True))
    assert alike >= len(dev) - 1


def test_exact_whatever_runs_beside_it(trained_as, dev):
    """In a quantized file: one by one, together in two lanes, on one core."""
    path = trained_as("q8_0")["path"]

    def scored(spans):  # scores do not count in comparisons of spans
        return [(span, span.score) for span in spans]

    labeler = minisift.load(path, threads=2)
    together = [scored(spans) for spans in labeler.predict(dev * 2)]
    assert together == [scored(labeler.predict(example)) for example in dev] * 2
    labeler.close()
    again = minisift.load(path, threads=1).predict(dev)
    assert together[: len(dev)] == [scored(spans) for spans in again]


def test_texts_are_taken_lazily_and_answered_in_order(small_loaded, dev):
    taken = []

    def source():
        for example in dev * 3:
            taken.append(example)
            yield example

    stream = small_loaded.stream(source())
    first = next(stream)
    assert len(taken) < len(dev) * 3
    assert [first, *stream][: len(dev)] == small_loaded.predict(dev)


def test_thresholds(small_loaded, dev):
    every = small_loaded.predict(dev)
    middle = statistics.median(span.score for spans in every for span in spans)
    wanted = [[span for span in spans if span.score >= middle] for spans in every]
    stream = small_loaded.stream(dev, threshold=middle)
    assert list(stream) == wanted
    below = sum(map(len, every)) - sum(map(len, wanted))
    assert stream.counts == small_loaded.counts == {"spans below the threshold": below}
    assert below > 10
    label = every[0][0].label
    others = small_loaded.predict(dev, threshold={label: 1.0})
    assert others == [[span for span in spans if span.label != label] for spans in every]
    assert any(others)
    with pytest.raises(ValueError, match="fix: labels are"):
        small_loaded.predict(dev, threshold={"dose": 0.5})
    with pytest.raises(ValueError, match="between 0 and 1"):
        small_loaded.predict(dev, threshold=2)


def test_a_preference_finds_more_spans_or_fewer(loaded, dev, size):
    def found(**how):
        return sum(map(len, loaded.predict(dev, **how)))

    before = loaded.description
    try:
        loaded.lean(1.0)
        assert loaded.predict(dev) == loaded.predict(dev, prefer=None)
        counts = [found(prefer=wish) for wish in ("precision", "balance", "recall")]
        assert counts == sorted(counts)
        assert size == "small" or counts[0] < counts[2]
        loaded.description = replace(before, end_bias=-30.0)
        assert found() < found(prefer=None)
        assert loaded.evaluate(dev).micro.predicted == found()
        assert loaded.evaluate(dev, prefer=None).micro.predicted == found(prefer=None)
    finally:
        loaded.description = before


def test_a_biased_labeler_answers_alone_as_in_a_batch_and_from_its_file(small, dev, tmp_path):
    path = tmp_path / "lean.gguf"
    before = small.description
    try:
        # the model of two layers never prefers the end to a line by less
        small.description = replace(before, end_bias=-30.0)
        small.export(path, quantization="q8_0", verify_on=dev)
    finally:
        small.description = before
    labeler = minisift.load(path)
    assert labeler.description.end_bias == -30
    together = labeler.predict(dev)
    assert together == [labeler.predict(example) for example in dev]
    assert together != labeler.predict(dev, prefer=None)
    labeler.close()


def test_each_stream_and_report_counts_for_itself(small_loaded, dev):
    long = "\n".join(example.text for example in dev)
    first = small_loaded.stream([long])
    assert first.counts == {}  # nothing is labelled yet
    list(first)
    assert first.counts["texts in windows"] == 1
    assert first.counts["windows"] > 3
    counted = dict(first.counts)
    second = small_loaded.stream(dev, threshold=1.0)
    list(second)
    assert first.counts == counted
    assert set(second.counts) == {"spans below the threshold"}
    assert small_loaded.counts is second.counts  # those of the call that began last
    report = small_loaded.evaluate([*dev, Example(long)])
    assert report.counts == counted
    assert small_loaded.evaluate(dev).counts == {}
    assert report.counts == counted
    assert "counts" not in report.to_dict()


def test_what_calibrating_left_out_is_on_its_report(small, dev):
    long = Example("\n".join(example.text for example in dev))
    before = small.description
    try:
        report = small.calibrate([*dev, long])
        assert report.counts["texts in windows"] == small.counts["texts in windows"] == 1
        assert small.evaluate([*dev, long]) == report
    finally:
        small.description = before


def test_an_interrupted_stream_leaves_nothing_behind(small_loaded, dev):
    wanted = small_loaded.predict(dev)

    def source():
        yield from dev[:5]
        raise OSError("the source broke")

    with pytest.raises(OSError, match="broke"):
        small_loaded.predict(source())
    stream = small_loaded.stream(dev)
    next(stream)
    stream.close()
    assert list(stream) == []
    assert small_loaded.predict(dev) == wanted


def test_one_stream_at_a_time(small_loaded, dev):
    stream = small_loaded.stream(dev)
    next(stream)
    with pytest.raises(RuntimeError, match="fix"):
        small_loaded.predict("Tom.")
    stream.close()
    assert small_loaded.predict("Tom.") is not None


def test_a_closed_labeler_says_so(small_file):
    labeler = minisift.load(small_file)
    stream = labeler.stream(["Tom."] * 99)
    next(stream)
    labeler.close()
    labeler.close()
    with pytest.raises(RuntimeError, match="load it again"):
        list(stream)
    with pytest.raises(RuntimeError, match="load it again"):
        labeler.predict("Tom.")


def test_weights_are_none_of_a_files(small_loaded, tmp_path):
    for function in (small_loaded.model, lambda: small_loaded.save(tmp_path / "notes")):
        with pytest.raises(ValueError, match="a GGUF file already; fix: copy that file"):
            function()
    assert not list(tmp_path.iterdir())
