"""Texts in a stream, whichever way the model runs: with the shortcuts of a CPU, without, on a GPU.

The last two are one way in the code, where nothing keeps the rounding of a batch as it is of a text alone. So texts
without near ties are compared, and no scores.
"""

import logging
import os
import signal
import subprocess
import sys

import pytest
from support.logits import HAS_AVX2_ALONE, next_logits
from support.near_ties import completions, settled
from support.places import ROOT

import minisift
from minisift.decoding.protocols import Prompt
from minisift.engines.llamacpp import native
from minisift.engines.llamacpp.scheduler import LlamaCppEngine
from minisift.publish.description import predictor_of


def spans(found):
    return [[(span.start, span.end, span.label, span.text) for span in one] for one in found]


@pytest.fixture(scope="module")
def texts(f16, dev):
    """Those without near ties."""
    return settled(minisift.load(f16, n_gpu_layers=0), dev)


@pytest.fixture(scope="module")
def expected(f16, texts):
    """What a text alone gets on a CPU."""
    labeler = minisift.load(f16, n_gpu_layers=0)
    found = spans(labeler.predict(text) for text in texts)
    assert sum(map(len, found)) > len(texts) / 2
    return found


def test_a_batch_and_a_text_alone_get_the_same_spans(way, f16, texts, expected):
    labeler = minisift.load(f16, **way)
    assert spans(labeler.predict(texts)) == expected
    assert spans(labeler.predict(text) for text in texts) == expected


def test_choices_are_the_same_to_rounding(way, f16, texts):
    labelers = minisift.load(f16, n_gpu_layers=0), minisift.load(f16, **way)
    for ours, theirs in zip(*(completions(labeler, texts) for labeler in labelers), strict=True):
        assert ours.tokens == theirs.tokens
        for one, other in zip(ours.choices, theirs.choices, strict=True):
            assert (one is None) == (other is None)
            # with AVX2 alone rounding shows as a share of what a choice is behind
            share = 0.01 if HAS_AVX2_ALONE else 0
            assert one is None or (abs(one - other) < 0.1 + share * abs(other)).all()


@pytest.mark.parametrize("sequences", [1, 2, 3, 5])
def test_more_texts_than_run_at_once(way, sequences, f16, texts, expected):
    labeler = minisift.load(f16, sequences=sequences, **way)
    assert spans(labeler.predict(texts)) == expected
    assert spans(labeler.stream(iter(texts), batch_size=2)) == expected


def test_a_long_text_between_short_ones(way, f16, texts, expected):
    labeler = minisift.load(f16, **way)
    long = minisift.Example(" ".join(example.text for example in texts * 6)[:6000])
    found = labeler.predict([*texts[:2], long, *texts[2:]], on_long="error")
    assert spans([*found[:2], *found[3:]]) == expected
    assert spans(labeler.predict(texts)) == expected


def test_a_long_text_is_labelled_in_windows(way, f16, texts):
    long = "\n".join(example.text for example in texts[:8])
    expected = minisift.load(f16, n_gpu_layers=0).predict(long)
    labeler = minisift.load(f16, **way)
    assert spans([labeler.predict(long)]) == spans([expected])
    assert spans(labeler.predict([long, long])) == spans([expected, expected])


def test_a_scarce_context(way, f16, texts, expected):
    """Of the prefix and a text or two."""
    for context in (400, 1000):
        labeler = minisift.load(f16, context=context, **way)
        assert spans(labeler.predict(texts)) == expected


def test_a_text_that_the_context_has_no_room_for(way, f16, texts):
    long = minisift.Example(" ".join(example.text for example in texts))
    bare = minisift.load(f16, context=64, **way).prompted([])
    for given in (long, [texts[0], long]):
        with pytest.raises(ValueError, match="more than 64; fix: cut the text"):
            bare.predict(given, on_long="error")
    assert len(bare.predict(long)) < len(long.text)  # in windows


def test_fewer_tokens_than_sequences(way, f16):
    """With which llama.cpp would end the process."""
    expected = next_logits(LlamaCppEngine(f16, n_gpu_layers=0), range(100, 120))
    engine = LlamaCppEngine(f16, context=30, sequences=100, **way)
    tokens, found = next_logits(engine, range(100, 120))
    assert tokens == expected[0]
    assert abs(found - expected[1]).max() < 0.1
    with pytest.raises(ValueError, match="does not fit a context of 30; fix: cut the text"):
        next_logits(engine, range(100, 140))


def test_an_answer_that_the_context_has_no_room_for_ends_with_a_line(way, f16, texts):
    labeler = minisift.load(f16, n_gpu_layers=0)
    most = max(texts, key=lambda example: len(labeler.predict(example)))
    prompt = predictor_of(labeler.description, labeler.engine).prompt(most)
    (whole,) = labeler.engine.complete([prompt])
    size = len(prompt.prefix) + len(prompt.ids)
    for room in (1, len(whole.tokens) // 2):
        engine = LlamaCppEngine(f16, context=size + room, **way)
        (found,) = engine.complete([prompt])
        assert found.cut
        kept = len(found.tokens) - len(prompt.language.end)
        assert found.tokens == [*whole.tokens[:kept], *prompt.language.end]
    (found,) = LlamaCppEngine(f16, context=size + len(whole.tokens), **way).complete([prompt])
    assert not found.cut
    assert found.tokens == whole.tokens


def test_other_demonstrations_with_the_same_engine(way, f16, texts, expected):
    labeler = minisift.load(f16, **way)
    bare, other = labeler.prompted([]), minisift.load(f16, n_gpu_layers=0).prompted([])
    clear = settled(other, texts)  # those given are so under the demonstrations
    without = spans(other.predict(clear))
    for _ in range(2):
        assert spans(labeler.predict(texts)) == expected
        assert spans(bare.predict(clear)) == without


def test_an_adapter_upon_its_base(way, engine_files):
    base = engine_files / "base.gguf"
    options = {"adapter": engine_files / "adapter.gguf"}
    (_, bare), (own, expected), (found, logits) = (
        next_logits(LlamaCppEngine(base, **given), range(100, 140))
        for given in (way, {**options, "n_gpu_layers": 0}, {**options, **way})
    )
    assert found == own
    assert abs(logits - expected).max() < 0.1
    assert abs(logits - bare).max() > 1


def test_streams_that_are_left_and_labelers_that_are_closed_meanwhile(way, f16, texts, expected):
    labeler = minisift.load(f16, **way)
    for _ in range(3):
        stream = labeler.stream(texts * 2)
        assert spans([next(stream)]) == expected[:1]
        stream.close()
        assert spans(labeler.predict(texts)) == expected
    stream = labeler.stream(texts * 2)
    next(stream)
    labeler.close()
    with pytest.raises(RuntimeError, match="this labeler is closed; fix: load it again"):
        list(stream)
    for prompt in (texts[0], texts):
        with pytest.raises(RuntimeError, match="this labeler is closed"):
            labeler.predict(prompt)
    labeler.close()


def test_two_streams_of_one_engine_at_once_are_an_error(way, f16, texts, expected):
    labeler = minisift.load(f16, **way)
    stream = labeler.stream(texts * 2)
    next(stream)
    with pytest.raises(RuntimeError, match="in the middle of another stream; fix: "):
        labeler.predict(texts)
    stream.close()
    assert spans(labeler.predict(texts)) == expected


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers on this system")
def test_an_interrupt_at_any_moment_changes_no_later_answer(way, f16, texts, expected):
    labeler = minisift.load(f16, **way)
    assert spans(labeler.predict(texts)) == expected
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    interrupted = 0
    try:
        for tenth in range(6):
            signal.setitimer(signal.ITIMER_REAL, 0.02 + 0.05 * tenth)
            try:
                labeler.predict(texts * 10)
            except KeyboardInterrupt:
                interrupted += 1
            signal.setitimer(signal.ITIMER_REAL, 0)
            assert spans(labeler.predict(texts)) == expected
    finally:
        signal.signal(signal.SIGALRM, before)
    assert interrupted


def test_texts_that_fail_half_way_change_no_later_answer(way, f16, texts, expected):
    def failing():
        yield from texts[:5]
        raise OSError("the file ends here")

    labeler = minisift.load(f16, **way)
    for _ in range(2):
        with pytest.raises(OSError, match="ends here"):
            list(labeler.stream(failing()))
        assert spans(labeler.predict(texts)) == expected


def test_each_answer_is_given_before_the_next_text_is_asked_for(way, f16, texts, expected):
    answers = []

    def asked():
        for number, example in enumerate(texts[:4]):
            assert len(answers) == number
            yield example

    labeler = minisift.load(f16, **way)
    for found in labeler.stream(asked(), batch_size=1):
        answers.append(found)
    assert spans(answers) == expected[:4]


def test_no_texts_and_texts_without_words(way, f16):
    labeler = minisift.load(f16, **way)
    assert labeler.predict([]) == []
    assert labeler.predict(["", " ", "\n"]) == [[], [], []]


def test_options_that_are_out_of_range(f16):
    with pytest.raises(ValueError, match=r"sequences=5000; fix: \d+ or fewer"):
        minisift.load(f16, sequences=5000)
    for option in ("context", "threads", "sequences"):
        with pytest.raises(ValueError, match=f"{option}=0; fix: 1 or more"):
            minisift.load(f16, **{option: 0})


def test_switched_off_no_internals_are_looked_up(f16, texts, expected, new_cache, monkeypatch):
    def refused(name):
        raise AssertionError(name)

    monkeypatch.setattr(native, "symbol", refused)
    assert spans(minisift.load(f16, n_gpu_layers=0, native="off").predict(texts)) == expected
    assert not (new_cache / "heads").exists()
    monkeypatch.setenv("MINISIFT_NATIVE", "off")
    assert spans(minisift.load(f16, n_gpu_layers=0).predict(texts)) == expected


def test_a_switch_of_another_value_is_an_error(f16, monkeypatch):
    with pytest.raises(ValueError, match="native='no'; fix: 'auto' or 'off'"):
        minisift.load(f16, native="no")
    monkeypatch.setenv("MINISIFT_NATIVE", "false")
    with pytest.raises(ValueError, match="MINISIFT_NATIVE='false'; fix: 'auto' or 'off'"):
        minisift.load(f16)


def test_states_of_one_way_are_not_taken_for_the_others(f16, texts, expected, new_cache):
    for _ in range(2):
        for option in native.MODES:
            labeler = minisift.load(f16, n_gpu_layers=0, native=option)
            assert spans(labeler.predict(texts)) == expected
    assert len(list((new_cache / "prefixes").iterdir())) == 2


def test_layers_for_a_gpu_that_is_not_there_change_nothing(f16, texts):
    if native.llama.llama_supports_gpu_offload():
        pytest.skip("this llama.cpp has a GPU")
    labelers = minisift.load(f16), minisift.load(f16, n_gpu_layers=12)
    assert labelers[0].predict(texts) == labelers[1].predict(texts)


def test_a_process_answers_and_ends_in_silence(way, f16):
    """In a process of its own, where the log goes to stderr and threads are ended by Python."""
    code = (
        f"import minisift; labeler = minisift.load({str(f16)!r}, **{way!r})\n"
        "print(len(labeler.predict(['Ann met Bob in Oslo.'] * 3)))\n"
        "stream = labeler.stream(['Ann met Bob in Oslo.'] * 50); next(stream)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=os.environ
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "3\n", "")


def test_a_stream_whose_language_allows_anything(way, f16):
    """An engine alone, with many choices at each place."""
    ids = [504, 3575, 282, 4649, 314]
    expected = next_logits(LlamaCppEngine(f16, n_gpu_layers=0), ids)
    engine = LlamaCppEngine(f16, **way)
    for _ in range(2):
        tokens, found = next_logits(engine, ids)
        assert tokens == expected[0]
        assert abs(found - expected[1]).max() < 0.1
    engine.close()
    with pytest.raises(RuntimeError, match="closed"):
        list(engine.complete([Prompt((), ids, None)]))


def test_nothing_is_said_where_nothing_is_wrong(way, f16, texts, caplog, new_cache):
    caplog.set_level(logging.INFO)
    minisift.load(f16, **way).predict(texts)
    assert not caplog.records
