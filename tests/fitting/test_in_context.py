"""Labelers by in-context learning alone, and trained ones under another prompt."""

import pytest

import minisift
from minisift.data.examples import Example

pytest.importorskip("torch")


def test_a_prompt_in_4_bits(small_base, train):
    labeler = minisift.prompt(small_base, train, shots=1, quantize="nf4")
    assert labeler.predict("Tom took 5 mg.") is not None
    assert labeler.description.base["quantize"] == "nf4"


def test_a_prompt_shows_what_it_has_room_for_and_is_judged_by_the_rest(small_base, train):
    labeler = minisift.prompt(small_base, train)
    shown = [example.example for example in labeler.demonstrations]
    assert 10 < len(shown) < len(train)
    head = labeler.prompted([]).prefix  # the instruction
    assert 800 < len(labeler.prefix) - len(head) <= 1024
    assert {s.label for e in shown for s in e.spans} == set(labeler.labels)
    made = labeler.description.made
    assert made["shots"] == len(shown)
    assert 16 < made["scores"]["dev"]["sentences"] <= 32
    assert minisift.prompt(small_base, train, seed=1).demonstrations != labeler.demonstrations


def test_few_sentences_are_judged_with_themselves_left_out(small_base, train):
    labeler = minisift.prompt(small_base, train[:3])
    assert len(labeler.demonstrations) == 3
    assert labeler.description.made["scores"]["dev"]["sentences"] == 3
    alone = minisift.prompt(small_base, [e for e in train if e.spans][:1])
    assert len(alone.demonstrations) == 1
    nothing = minisift.prompt(small_base, train, shots=0)
    assert nothing.demonstrations == []
    assert "scores" not in nothing.description.made


def test_a_prompt_of_a_file_is_saved_and_exported(small_base_file, train, dev, tmp_path):
    options = {"shots": 2, "template": "plain", "start": None}
    labeler = minisift.prompt(small_base_file, train, output_dir=tmp_path / "saved", **options)
    assert type(labeler.engine).__name__ == "LlamaCppEngine"
    with pytest.raises(FileNotFoundError):
        minisift.prompt(small_base_file, train, start=tmp_path / "saved", shots=2)  # no adapter
    labeler.export(tmp_path / "prompt.gguf", quantization="f16", verify=False)
    wanted = labeler.predict(dev[:4])
    for path in (tmp_path / "saved", tmp_path / "prompt.gguf"):
        again = minisift.load(path)
        assert again.demonstrations == labeler.demonstrations
        assert _spans(again.predict(dev[:4])) == _spans(wanted)
    packed = minisift.prompt(small_base_file, train, quantize="nf4", **options)
    assert packed.description.base["quantize"] == "nf4"


def _spans(found):
    return [[(span.start, span.end, span.label) for span in spans] for spans in found]


def test_long_sentences_are_shown_only_where_there_are_no_others(small_base, train, caplog):
    long = [
        Example.from_words(["Tom", *f"took number {at} of them".split() * 60], [(0, 1, "PERSON")])
        for at in range(2)
    ]
    labeler = minisift.prompt(small_base, [*train[:40], *long])
    assert "2 of 42 sentences take more than 256 tokens each, and are not shown" in caplog.text
    assert len(labeler.demonstrations) > 10
    caplog.clear()
    assert len(minisift.prompt(small_base, long).demonstrations) == 2
    assert not caplog.text


@pytest.mark.parametrize("shots", [None, 4])
def test_an_instruction_may_be_long(shots, small_base, train):
    labeler = minisift.prompt(small_base, train, instruction="Label it well. " * 400, shots=shots)
    assert len(labeler.demonstrations) == shots or len(labeler.demonstrations) > 8
    assert labeler.description.made["scores"]["dev"]["sentences"] > 8


def test_the_same_model_under_another_prompt(loaded, train, dev):
    labeler = loaded
    shown = [e for e in train if e not in labeler.description.demonstrations][:2]
    other = labeler.prompted(shown, instruction=True)
    assert other.description.demonstrations == shown
    assert other.description.task.instruction.startswith("List the spans")
    assert labeler.description.task.instruction == ""
    assert other.prefix != labeler.prefix
    assert len(other.predict(dev[:2])) == 2
    back = other.prompted(labeler.description.demonstrations, instruction=False)
    assert back.prefix == labeler.prefix
    assert back.predict(dev[:2]) == labeler.predict(dev[:2])
    assert labeler.prompted([]).description.demonstrations == []
    with pytest.raises(ValueError, match="labels X"):
        labeler.prompted([Example.from_words(["a"], [(0, 1, "X")])])
