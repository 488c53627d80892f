"""`fit`: what is refused before weights load, interruptions, whom it tells how far it is."""

import json
import os
import signal

import pytest

import minisift

pytest.importorskip("torch")

from minisift.scoring.calibration import end_bias, expected_temperature
from minisift.training.settings import worth


def test_errors_come_before_weights(train):
    with pytest.raises(TypeError, match="learning_rate"):
        minisift.fit("smollm2-135m", train, lr=1)
    with pytest.raises(ValueError, match="mrc"):
        minisift.fit("smollm2-135m", train, strategy="all")
    with pytest.raises(ValueError, match="bundled name"):
        minisift.fit("no-such-model", train)
    with pytest.raises(FileNotFoundError):
        minisift.fit("smollm2-135m", "missing.conll")


def test_an_interrupted_fit_leaves_a_labeler_and_continues(small_base, train, tmp_path, caplog):
    settings = {"max_prompts": 6, "shots": 2, "held_out": 0, "output_dir": tmp_path / "halted"}
    whole = minisift.fit(small_base, train, **{**settings, "output_dir": None})

    def interrupt(progress):
        if progress.step == 2:
            os.kill(os.getpid(), signal.SIGINT)

    halted = minisift.fit(small_base, train, on_step=interrupt, **settings)
    assert halted.description.made["training"]["stopped"] == "interrupted"
    assert halted.description.made["training"]["steps"] == 2
    assert "resume=True" in caplog.text
    assert minisift.load(tmp_path / "halted").labels == halted.labels
    checkpoint = tmp_path / "halted.checkpoint"
    assert checkpoint.is_file()
    resumed = minisift.fit(small_base, train, resume=True, **settings)
    assert not checkpoint.exists()
    assert (tmp_path / "halted" / "learning_curve.png").is_file()
    for ours, theirs in zip(resumed.model().parameters(), whole.model().parameters(), strict=True):
        assert ours.equal(theirs)
    with pytest.raises(ValueError, match="output_dir"):
        minisift.fit(small_base, train, resume=True)


def test_how_soon_an_answer_ends_follows_from_what_is_known(small_base, small_folder, train, dev):
    options = {"max_prompts": 2, "shots": 2, "held_out": 0}
    assert minisift.fit(small_base, train[:20], start=None, **options).description.end_bias == 0
    onward = minisift.fit(small_base, train[:20], start=small_folder, **options)
    assert onward.description.end_bias == end_bias(0.5)  # assumed where nothing tells
    judged = minisift.fit(
        small_base, train[:20], dev_set=dev[:4], evaluations=1, start=None, **options
    )
    (point,) = [p for p in judged.description.made["training"]["curve"] if "f1" in p]
    assert judged.description.end_bias == end_bias(point["f1"]) > end_bias(0.5)


def test_scores_of_a_fit_without_a_dev_set_are_as_sure_as_they_usually_should_be(small_base, train):
    labeler = minisift.fit(small_base, train[:20], max_prompts=2, shots=2, start=None)
    size = worth(20, sum(len(example.spans) for example in train[:20]))
    assert 20 < size < 50
    assert labeler.description.temperature == expected_temperature(size, 0.5) > 3


def test_what_is_held_out_is_labelled_once_where_it_cannot_tell_adapters_apart(small_base, train):
    options = {"max_prompts": 8, "shots": 1, "evaluations": 4}
    held_out = minisift.fit(small_base, train, held_out=0.1, **options)
    given = minisift.fit(small_base, train[:-10], dev_set=train[-10:], **options)
    counts = [
        sum("f1" in point for point in labeler.description.made["training"]["curve"])
        for labeler in (held_out, given)
    ]
    assert counts == [1, 4]
    made = held_out.description.made
    (point,) = [p for p in made["training"]["curve"] if "f1" in p]
    assert made["scores"]["dev"]["sentences"] == made["held_out"] == 25
    # of the same answers: labelled again under another end bias, they could be others
    assert made["scores"]["dev"]["micro"]["f1"] == pytest.approx(point["f1"], abs=1e-4)
    assert held_out.description.end_bias == end_bias(made["scores"]["dev"]["micro"]["f1"])


def test_of_several_runs_each_labels_what_it_left_out(small_base, train, tmp_path, caplog):
    """Their answers calibrate the average, and killed between two runs none is lost."""
    settings = {"epochs": 0.5, "runs": 2, "shots": 2, "output_dir": tmp_path / "halted"}
    sentences = train[:40]
    whole = minisift.fit(small_base, sentences, **{**settings, "output_dir": None})
    made = whole.description.made
    assert made["sentences"] == 40
    assert 0 < made["held_out"] <= 16
    assert made["held_out"] == made["scores"]["dev"]["sentences"]
    assert whole.description.end_bias == end_bias(made["scores"]["dev"]["micro"]["f1"])

    def interrupt(progress):
        if progress.step == made["training"]["steps"] - 1:
            os.kill(os.getpid(), signal.SIGINT)

    halted = minisift.fit(small_base, sentences, on_step=interrupt, **settings)
    told = halted.description.made["scores"]["dev"]["sentences"]
    assert 0 < told < made["held_out"]  # those of the run that had ended
    resumed = minisift.fit(small_base, sentences, resume=True, **settings)
    assert resumed.description.made["scores"] == made["scores"]
    card = (tmp_path / "halted" / "README.md").read_text()
    assert f"{made['held_out']} sentences that one of the averaged runs had left out" in card
    assert resumed.description.temperature == whole.description.temperature
    for ours, theirs in zip(resumed.model().parameters(), whole.model().parameters(), strict=True):
        assert ours.equal(theirs)
    none = minisift.fit(small_base, sentences, held_out=0, **{**settings, "output_dir": None})
    assert none.description.made["held_out"] == 0
    assert "scores" not in none.description.made


def test_each_step_is_told_of(small_base, train):
    steps = []
    options = {"max_prompts": 6, "shots": 1, "held_out": 0, "batch_size": 2}
    labeler = minisift.fit(
        small_base, train, on_step=lambda progress: steps.append(progress.step), **options
    )
    assert steps == [1, 2, 3]
    assert labeler.description.made["training"]["steps"] == 3


def test_an_error_of_who_is_told_ends_the_training(small_base, train, tmp_path):
    def fail(progress):
        raise RuntimeError("told")

    with pytest.raises(RuntimeError, match="told"):
        minisift.fit(small_base, train, max_prompts=4, on_step=fail, output_dir=tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_a_curve_and_scores_travel_with_the_labeler(small, small_folder, dev):
    content = json.loads((small_folder / "labeler.json").read_text())
    assert content["prompts"] == 8
    assert content["training"]["steps"] == 4
    assert content["training"]["curve"]
    assert content["temperature"] == small.description.temperature
    assert content["scores"]["dev"] == small.evaluate(dev).to_dict()
