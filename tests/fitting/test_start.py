"""What a training, or a prompt, starts from: nothing, an adapter that is brought along, an own labeler."""

import json
from dataclasses import replace

import pytest

pytest.importorskip("torch")

import torch
from support.tiny_models import tiny

import minisift
from minisift.models import warm
from minisift.models.loading import add_lora, load_adapter, start_from
from minisift.models.source import resolve
from minisift.scoring.calibration import end_bias, expected_temperature
from minisift.training.settings import worth

SHORT = {"shots": 2, "max_prompts": 2, "evaluations": 0, "held_out": 0}
IDS = torch.arange(12)[None]


@pytest.fixture
def learned(tmp_path):
    """The folder of an adapter of rank 4 that changes what a tiny model says."""
    model = add_lora(tiny(), 4, 0.0, 0)
    torch.manual_seed(1)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    model.save_pretrained(tmp_path / "learned")
    return tmp_path / "learned"


def says(model):
    with torch.no_grad():
        return model(IDS).logits


def adapted(model):
    """What an adapter adds to the weights of its model, layer by layer."""
    return [
        layer.get_delta_weight("default").detach()
        for layer in model.modules()
        if hasattr(layer, "get_delta_weight")
    ]


@pytest.mark.parametrize("rank", [4, 6])
def test_an_adapter_of_any_larger_rank_begins_where_the_other_ended(rank, learned):
    wanted = says(load_adapter(tiny(), learned))
    model = add_lora(tiny(), rank, 0.0, 0)
    assert not torch.allclose(says(model), wanted, atol=1e-3)
    start_from(model, learned)
    torch.testing.assert_close(says(model), wanted)


def test_half_of_an_adapter_changes_half_as_much(learned):
    whole, half = load_adapter(tiny(), learned), add_lora(tiny(), 4, 0.0, 0)
    start_from(half, learned, 0.5)
    for ours, theirs in zip(adapted(half), adapted(whole), strict=True):
        torch.testing.assert_close(ours, theirs / 2)


@pytest.fixture
def brought(small_folder, monkeypatch):
    """The folder of the adapter that minisift now brings for the small base: it has none of its own."""
    monkeypatch.setattr("minisift.fitting.start.warm_start", lambda source: small_folder)
    return small_folder


def test_a_fit_begins_with_its_share_of_a_warm_start(brought, small_base, train):
    options = {**SHORT, "learning_rate": 1e-9}
    shared, whole = (
        minisift.fit(small_base, train[:20], start=begun, **options) for begun in ("warm", brought)
    )
    for ours, theirs in zip(adapted(shared.model()), adapted(whole.model()), strict=True):
        torch.testing.assert_close(ours, warm.SHARE * theirs, rtol=1e-3, atol=1e-6)


@pytest.mark.usefixtures("brought")
def test_a_warm_start_is_judged_before_the_training(small_base, train, dev):
    """By sentences that it has not learned from, in the prompt that the labeler will have."""
    options = {**SHORT, "learning_rate": 1e-9}  # it labels as what it started from
    labeler = minisift.fit(small_base, dev[:20], **options)
    made = labeler.description
    others = [example for example in dev[:20] if example not in made.demonstrations]
    assert len(others) == 18
    labeler.description = replace(made, end_bias=0)
    f1 = labeler.evaluate(others).f1
    assert made.end_bias == end_bias(f1)
    size = worth(20, sum(len(example.spans) for example in dev[:20]))
    assert made.temperature == expected_temperature(size, f1)
    given = minisift.fit(small_base, train[:20], dev_set=dev[:4], **options)
    assert given.description.end_bias == end_bias(0.5)  # a dev set tells, if it is asked


def test_adapters_that_do_not_fit_are_refused(learned):
    with pytest.raises(ValueError, match="adapter of another model"):
        start_from(add_lora(tiny(num_hidden_layers=1), 4, 0.0, 0), learned)
    with pytest.raises(ValueError, match="adapter of another model"):
        start_from(add_lora(tiny(intermediate_size=40), 4, 0.0, 0), learned)


def test_a_labeler_goes_on(small, small_folder, small_base, train):
    from_folder, from_labeler, fresh = (
        minisift.fit(small_base, train[:50], start=start, **SHORT)
        for start in (small_folder, small, None)
    )
    own, other = from_folder.model().parameters(), from_labeler.model().parameters()
    assert all(ours.equal(theirs) for ours, theirs in zip(own, other, strict=True))
    made = [labeler.description.made for labeler in (from_folder, from_labeler, fresh)]
    assert made[0]["start"].startswith("sha256:")
    assert made[2]["start"] is None
    assert made[0]["training"]["loss"] < made[2]["training"]["loss"]
    rates = [facts["settings"]["learning_rate"] for facts in made]
    assert rates[0] == rates[1] == pytest.approx(0.4 * rates[2])


def test_a_labeler_goes_on_with_another_label(small, small_base, train):
    also = [
        minisift.Example.from_words(["Call", "Dr", "Who", "."], [(1, 3, "DOCTOR")]),
        *train[:20],
    ]
    onward = minisift.fit(small_base, also, start=small, **SHORT)
    assert set(onward.labels) == {*small.labels, "DOCTOR"}
    assert len(onward.predict(["Call Dr Who .", "Take 5 mg ."])) == 2


def test_a_checkpoint_of_another_start_is_refused(small_folder, small_base, train, tmp_path):
    def fail(progress):
        if progress.step == 2:
            raise RuntimeError("ended")

    options = {**SHORT, "max_prompts": 6, "checkpoint_seconds": 0, "output_dir": tmp_path / "own"}
    with pytest.raises(RuntimeError, match="ended"):
        minisift.fit(small_base, train, start=small_folder, on_step=fail, **options)
    with pytest.raises(ValueError, match=r"own\.checkpoint"):
        minisift.fit(small_base, train, start=None, resume=True, **options)
    minisift.fit(small_base, train, start=small_folder, resume=True, **options)


def test_a_prompt_starts_from_an_adapter(small, small_folder, small_base, train, dev):
    prompted = minisift.prompt(small_base, train, shots=2, start=small_folder, quantize="nf4")
    shown = prompted.description.demonstrations
    same = small.prompted(shown, instruction=prompted.description.task.instruction)
    same.description = replace(same.description, temperature=prompted.description.temperature)
    assert prompted.predict(dev[:4]) == same.predict(dev[:4])
    cold = minisift.prompt(small_base, train, shots=2, start=None)
    assert cold.predict(dev) != prompted.predict(dev)
    assert prompted.description.made["start"].startswith("sha256:")
    assert cold.description.made["start"] is None


def test_what_cannot_be_started_from_is_refused(
    small, small_folder, small_loaded, small_base, train, tmp_path
):
    with pytest.raises(ValueError, match="a labeler without an adapter"):
        minisift.fit(small_base, train, start=small_loaded)
    with pytest.raises(ValueError, match=r"fix: fit.*small-base"):
        minisift.prompt("smollm2-135m", train, start=small)
    for call in (minisift.fit, minisift.plan):
        with pytest.raises(
            ValueError, match=r"lora_rank=8 is below.*fix: 16 or more, or start=None"
        ):
            call(small_base, train, start=small_folder, lora_rank=8)
        with pytest.raises(ValueError, match="is what the training starts from"):
            call(small_base, train, start=small_folder, output_dir=small_folder)
    for call in (minisift.fit, minisift.plan, minisift.prompt):
        with pytest.raises(ValueError, match="an adapter of another base model than smollm2-135m"):
            call("smollm2-135m", train, start=small_folder)
        with pytest.raises(ValueError, match="an adapter of another base model than"):
            call(small_base, train, start=warm.FOLDER / "gemma-3-270m")
    with pytest.raises(FileNotFoundError, match="no folder with adapter_config"):
        minisift.plan(small_base, train, start=tmp_path)


def test_the_warm_start_is_that_of_the_base_model(small_base, learned, tmp_path):
    source = resolve(small_base)
    assert warm.warm_start(source) is None
    folder = tmp_path / "warm" / "small"
    learned.rename(folder.parent.mkdir() or folder)
    (folder / warm.ABOUT).write_text(json.dumps({"base": "another"}))
    assert warm.warm_start(source, folder.parent) is None
    (folder / warm.ABOUT).write_text(json.dumps({"base": source.fingerprint}))
    assert warm.warm_start(source, folder.parent) == folder
