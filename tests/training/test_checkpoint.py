"""Checkpoints: a training continues from one as if it had never stopped."""

import contextlib
import dataclasses
import random
import signal
import time

import pytest

pytest.importorskip("torch")

import torch
from support.processes import result, start
from support.tiny_models import random_rows, tiny

from minisift.models.loading import add_lora
from minisift.training.loop import Training
from minisift.training.loss import CausalObjective
from minisift.training.settings import Settings

OFTEN = Settings(learning_rate=1e-2, quantize=None, checkpoint_seconds=0, evaluations=4)


class Killed(BaseException):
    """Stands in for a signal that nothing catches."""


def begin(path=None, on_step=None, runs=1):
    """A training with dropout, of twenty steps, whose second adapter of four is the best."""

    def evaluate():
        return (0.3, 0.5, 0.4, 0.45)[sum("f1" in point for point in training.progress.curve)]

    def after_run(run):
        return run, float(sum(weight.abs().sum() for weight in training.weights().values()))

    objective = CausalObjective(add_lora(tiny(), 4, 0.3, 0))
    rows = random_rows(40)
    size = len(rows) // runs
    training = Training(
        objective,
        [rows[first : first + size] for first in range(0, len(rows), size)],
        OFTEN,
        after_run=after_run if runs > 1 else None,
        evaluate=evaluate,
        checkpoint=path,
        on_step=on_step,
    )
    return training


@pytest.mark.parametrize(("runs", "kept"), [(1, 10), (4, 20)])
def test_ended_at_any_step_it_continues_to_the_same_adapter(runs, kept, tmp_path):
    whole, path = begin(runs=runs), tmp_path / "run.checkpoint"
    wanted = whole.run()
    assert wanted["kept"] == kept
    for last in [*sorted({5, 11, *random.Random(0).sample(range(2, 20), 6)}), 99]:

        def end(progress, last=last):
            if progress.step == last:
                raise Killed

        training = begin(path, end, runs)
        assert training.resume() == path.is_file()
        with contextlib.suppress(Killed):
            report = training.run()
    assert training.progress.step == 20
    for point in (*report["curve"], *wanted["curve"]):
        del point["seconds"]
    assert {**report, "seconds": 0} == {**wanted, "seconds": 0}
    assert training.progress.answers == whole.progress.answers
    assert len(whole.progress.answers) == (0 if runs == 1 else runs)
    weights = training.weights()
    assert all(weights[name].equal(weight) for name, weight in whole.weights().items())


@pytest.mark.slow
def test_killed_at_any_moment_it_continues_to_the_same_adapter(tmp_path):
    script = "train_tiny.py"
    wanted = result(start(script, tmp_path / "whole.checkpoint", 3200, 0.3))
    path, moments = tmp_path / "killed.checkpoint", random.Random(0)
    begun = []
    for _ in range(10):
        process = start(script, path, 3200, 0.3, "resume")
        begun.append(int(process.stdout.readline().removeprefix("started ")))
        time.sleep(moments.uniform(0, 0.25))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert begun[0] == 0
    assert 0 < begun[-1] < 800
    assert result(start(script, path, 3200, 0.3, "resume")) == wanted


def test_the_file_is_what_earlier_versions_wrote(tmp_path):
    path = tmp_path / "run.checkpoint"
    Training(CausalObjective(tiny()), [random_rows(4)], OFTEN, checkpoint=path).run()
    state = torch.load(path, weights_only=True)
    assert set(state) == {"digest", "weights", "optimizer", "progress", "best"}
    assert set(state["progress"]) == {
        "step", "loss", "seconds", "tokens", "curve", "best", "kept", "worse"
    }  # fmt: skip
    assert all(name.startswith("model.") for name in state["weights"])


def test_it_continues_with_activations_kept_or_recomputed(tmp_path):
    path = tmp_path / "run.checkpoint"
    batch = random_rows(4)
    Training(CausalObjective(tiny()), [batch], OFTEN, checkpoint=path).run()
    other = dataclasses.replace(OFTEN, gradient_checkpointing=True)
    assert Training(CausalObjective(tiny()), [batch], other, checkpoint=path).resume()


def test_the_checkpoint_of_another_training_is_refused(tmp_path):
    path = tmp_path / "run.checkpoint"
    batch = random_rows(4)
    Training(CausalObjective(tiny()), [batch], OFTEN, checkpoint=path).run()
    others = (
        (batch[1:], OFTEN, ""),
        (batch, dataclasses.replace(OFTEN, seed=1), ""),
        (batch, OFTEN, "another model"),
    )
    for rows, chosen, identity in others:
        other = Training(
            CausalObjective(tiny()), [rows], chosen, checkpoint=path, identity=identity
        )
        with pytest.raises(ValueError, match=r"run\.checkpoint.*other data"):
            other.resume()


def test_a_full_disk_leaves_the_older_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "run.checkpoint"

    def train():
        Training(CausalObjective(tiny()), [random_rows(10)], OFTEN, checkpoint=path).run()

    train()
    before, real = path.read_bytes(), torch.save

    def full(state, draft):
        real(state, draft)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match=r"run\.checkpoint.*resume=True"):
        train()
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    with pytest.raises(OSError, match="MB free"):
        train()
