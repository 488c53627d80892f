"""What only a GPU can show; elsewhere these are skipped."""

import dataclasses

import pytest

import minisift

pytest.importorskip("torch")

import torch

from minisift.models.loading import add_lora, load_base, unpack
from minisift.models.source import resolve
from minisift.prompting.renderer import Row
from minisift.training.loop import Training
from minisift.training.loss import CausalObjective
from minisift.training.packing import collate
from minisift.training.settings import Settings

pytestmark = pytest.mark.gpu

QUICK = Settings(learning_rate=1e-3, evaluations=0, held_out=0, checkpoint_seconds=0)


@pytest.fixture(params=[True, False], ids=["thrifty", "roomy"])
def thrifty(request):
    """Whether memory is saved: activations recomputed, weights unpacked each time."""
    return request.param


def loaded(thrifty):
    base, quantized = load_base(resolve("smollm2-135m"), "nf4")
    assert quantized == "nf4"
    return add_lora(base if thrifty else unpack(base), 16, 0.0, 0)


def random_rows(count, length):
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(1, 40_000, (count, length), generator=generator).tolist()
    return [Row(row, [at % 2 == 1 for at in range(length)]) for row in ids]


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


def test_a_packed_loss_is_that_of_the_rows_alone(thrifty):
    objective = CausalObjective(loaded(thrifty))
    objective.prepare(training=True)
    rows = random_rows(2, 200) + random_rows(1, 700)
    with torch.no_grad(), torch.autocast("cuda", torch.bfloat16):
        alone = [float(objective(**collate([row], "cuda"))) for row in rows]
        packed = float(objective(**collate(rows, "cuda")))
    assert packed == pytest.approx(sum(alone), rel=1e-3)


def test_the_same_seed_gives_the_same_adapter_and_a_checkpoint_continues_to_it(thrifty, tmp_path):
    rows = random_rows(12, 300)
    settings = dataclasses.replace(QUICK, gradient_checkpointing=thrifty)

    def training(**options):
        return Training(CausalObjective(loaded(thrifty)), [rows], settings, **options)

    whole, again = training(), training()
    whole.run(), again.run()
    assert same(whole.weights(), again.weights())

    def cut(progress):
        if progress.step == 4:
            raise KeyboardInterrupt

    path = tmp_path / "checkpoint"
    with pytest.raises(KeyboardInterrupt):
        training(checkpoint=path, on_step=cut).run()
    continued = training(checkpoint=path)
    assert continued.resume()
    assert continued.progress.step == 3
    continued.run()
    assert same(whole.weights(), continued.weights())


def test_when_memory_runs_out_passes_get_smaller(caplog):
    settings = dataclasses.replace(QUICK, batch_size=16, gradient_checkpointing=False)
    rows = random_rows(32, 600)
    torch.cuda.empty_cache()
    whole = torch.cuda.mem_get_info()[1]
    torch.cuda.set_per_process_memory_fraction(6e9 / whole)
    try:
        objective = CausalObjective(loaded(False))
        report = Training(objective, [rows], settings, tokens=16 * 600).run()
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert report["steps"] == 2
    assert "Out of memory" in caplog.text


def test_fit_learns_and_labels(train, dev):
    labeler = minisift.fit("smollm2-135m", train, dev_set=dev, shots=3, max_prompts=160)
    assert any("unpacked" in name for name, _ in labeler.model().named_buffers())
    assert labeler.evaluate(dev).f1 > 0.6
