"""The loop: the loss it follows, what it does when memory runs out, which adapter it keeps."""

import os
import signal

import pytest

from minisift.prompting.renderer import Row
from minisift.training.settings import Settings

pytest.importorskip("torch")

import torch
from support.tiny_models import is_as_it_came, plain_loss, random_rows, tiny, weights_of

from minisift.training.loop import Training
from minisift.training.loss import CausalObjective


def train(model, batch, chosen, **options):
    return train_runs(model, [batch], chosen, **options)


def train_runs(model, runs, chosen, **options):
    return Training(CausalObjective(model), runs, chosen, **options).run()


@pytest.mark.parametrize("tokens", [1, 1 << 14])
def test_the_loss_is_the_mean_over_target_tokens_of_the_step(tokens):
    batch = [
        Row([1, 2, 3, 4, 5, 6], [False, False, True, True, True, True]),
        Row([7, 8, 9], [False, False, True]),
    ]
    with torch.no_grad():
        mean = sum(plain_loss(tiny(), row) for row in batch).item() / 5
    chosen = Settings(batch_size=2, learning_rate=1e-9, quantize=None)
    report = train(tiny(), batch, chosen, tokens=tokens)
    assert report["loss"] == pytest.approx(mean, abs=2e-3)
    assert report["target_tokens"] == 5


def test_training_lowers_the_loss():
    batch = [Row([1, 2, 3, 4] * 4, [False] * 8 + [True] * 8)] * 80
    before = train(tiny(), batch[:1], Settings(learning_rate=1e-9, quantize=None))
    chosen = Settings(learning_rate=1e-2, quantize=None, gradient_checkpointing=True)
    after = train(tiny(), batch, chosen)
    assert after["loss"] < 0.8 * before["loss"]
    assert after["steps"] == 40
    assert [row["step"] for row in after["curve"]] == list(range(2, 41, 2))


def test_a_callback_hears_of_every_step():
    batch, chosen = random_rows(5), Settings(quantize=None, batch_size=2)
    seen = []

    def on_step(progress):
        seen.append((progress.step, progress.tokens, progress.loss))

    report = train(tiny(), batch, chosen, on_step=on_step)
    assert [step for step, _, _ in seen] == [1, 2, 3]
    assert [tokens for _, tokens, _ in seen] == [
        sum(sum(row.mask) for row in batch[: 2 * step]) for step in (1, 2, 3)
    ]
    assert round(seen[-1][2], 4) == report["loss"]


class Scarce(CausalObjective):
    """Memory for passes that `allows` lets through."""

    def __init__(self, model, allows):
        super().__init__(model)
        self.allows = allows

    def forward(self, input_ids, **batch):
        if not self.allows(self.model, input_ids.numel()):
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
        return super().forward(input_ids, **batch)


def test_when_memory_runs_out_passes_get_smaller(caplog):
    batch, chosen = random_rows(8), Settings(learning_rate=1e-2, quantize=None, batch_size=4)
    wanted, scarce = tiny(), tiny()
    train(wanted, batch, chosen)
    Training(Scarce(scarce, lambda _, tokens: tokens <= 45), [batch], chosen).run()
    assert "Out of memory" in caplog.text
    assert torch.allclose(weights_of(scarce), weights_of(wanted), atol=1e-4)
    with pytest.raises(RuntimeError, match="allocate memory"):
        Training(Scarce(tiny(), lambda _, tokens: tokens <= 3), [batch], chosen).run()


def test_when_one_row_is_too_much_activations_are_recomputed(caplog):
    batch, chosen = random_rows(8), Settings(learning_rate=1e-2, quantize=None)
    wanted, scarce = tiny(), tiny()
    train(wanted, batch, chosen)
    objective = Scarce(scarce, lambda model, _: model.is_gradient_checkpointing)
    Training(objective, [batch], chosen).run()
    assert "activations are recomputed" in caplog.text
    assert torch.allclose(weights_of(scarce), weights_of(wanted), atol=1e-4)


def test_other_errors_are_no_lack_of_memory():
    def broken(model, tokens):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1"):
        Training(Scarce(tiny(), broken), [random_rows(4)], Settings(quantize=None)).run()


@pytest.mark.parametrize(
    ("chance", "given", "kept"),
    [
        (0.0, [0.1, 0.5, 0.5, 0.2, 0.3], 2),
        (0.1, [0.1, 0.5, 0.45, 0.2, 0.39], 2),  # no worse than chance makes it
        (0.1, [0.1, 0.5, 0.41, 0.32, 0.33], 2),  # measured by the best, so that it does not slide
        (0.4, [0.3, 0.5, 0.2, 0.2, 0.3, 0.1, 0.2, 0.1, 0.1, 0.1], 9),
    ],
)
def test_the_last_adapter_is_kept_unless_one_was_better(chance, given, kept):
    batch = random_rows(40)
    chosen = Settings(learning_rate=1e-2, quantize=None, evaluations=10, patience=2)
    model, seen = tiny(), []
    scores = iter(given)

    def evaluate():
        assert is_as_it_came(model)
        seen.append(weights_of(model))
        return next(scores)

    report = train(model, batch, chosen, evaluate=evaluate, chance=chance)
    assert ("stopped" in report) == (len(given) < 10)
    assert [row["f1"] for row in report["curve"] if "f1" in row] == given
    assert report["kept"] == 2 * kept + 2
    assert torch.equal(weights_of(model), seen[kept])
    assert is_as_it_came(model)


def test_runs_from_one_start_are_averaged():
    batch, chosen = random_rows(20), Settings(learning_rate=1e-2, quantize=None, evaluations=4)
    alone, runs = [tiny(), tiny(), tiny()], [batch[:6], batch[6:12], batch[12:]]
    for model, rows in zip(alone, runs, strict=True):
        train(model, rows, chosen)
    means = [
        torch.stack([weights_of(model) for model in alone[:count]]).mean(0) for count in (1, 2, 3)
    ]
    model, seen, learned = tiny(), [], []

    def evaluate():
        assert is_as_it_came(model)
        seen.append(weights_of(model))
        return 0.5 - 0.1 * len(seen)

    def after_run(run):
        assert is_as_it_came(model)
        learned.append(weights_of(model))
        return run

    training = Training(
        CausalObjective(model), runs, chosen, evaluate=evaluate, after_run=after_run
    )
    report = training.run()
    assert training.progress.answers == [0, 1, 2]
    for ours, other in zip(learned, alone, strict=True):
        assert torch.equal(ours, weights_of(other))
    points = [(row["step"], row["f1"]) for row in report["curve"] if "f1" in row]
    assert points == [(3, 0.4), (6, 0.3), (10, 0.2)]
    assert report["kept"] == 10
    for ours, wanted in zip(seen, means, strict=True):
        assert torch.allclose(ours, wanted, atol=1e-6)
    assert torch.equal(weights_of(model), seen[-1])

    def interrupt(progress):
        if progress.step == 8:
            os.kill(os.getpid(), signal.SIGINT)

    signal.signal(signal.SIGINT, signal.default_int_handler)
    halted = tiny()
    report = train_runs(halted, runs, chosen, on_step=interrupt)
    assert report["stopped"] == "interrupted"
    assert torch.allclose(weights_of(halted), means[1], atol=1e-6)  # what was begun is left out


def test_ctrl_c_ends_after_the_step_and_the_checkpoint_continues(tmp_path):
    signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs in the background ignore it
    batch, chosen = random_rows(20), Settings(learning_rate=1e-2, quantize=None, evaluations=5)
    whole, halted, resumed = tiny(), tiny(), tiny()
    options = {"evaluate": lambda: 0.5, "checkpoint": tmp_path / "run.checkpoint"}
    train(whole, batch, chosen, evaluate=lambda: 0.5)

    def interrupt(progress):
        if progress.step == 4:
            os.kill(os.getpid(), signal.SIGINT)

    report = train(halted, batch, chosen, on_step=interrupt, **options)
    assert report["stopped"] == "interrupted"
    assert report["steps"] == 4
    assert [row["step"] for row in report["curve"]] == [1, 2, 3]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    again = Training(CausalObjective(resumed), [batch], chosen, **options)
    assert again.resume()
    assert again.progress.step == 4
    assert [row["f1"] for row in again.run()["curve"] if "f1" in row] == [0.5] * 5
    assert torch.equal(weights_of(resumed), weights_of(whole))


def test_a_second_ctrl_c_ends_at_once():
    signal.signal(signal.SIGINT, signal.default_int_handler)
    model = tiny()

    def interrupt_twice(progress):
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(model, random_rows(8), Settings(quantize=None), on_step=interrupt_twice)
    assert is_as_it_came(model)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
