"""Batches, loss and settings, on a tiny random model."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minisift.cli import _parser
from minisift.data import Example
from minisift.prompts import Row
from minisift.training import IGNORED, Settings, collate, make_settings, train

torch = pytest.importorskip("torch")

rows = st.lists(
    st.lists(st.tuples(st.integers(1, 30), st.booleans()), min_size=2, max_size=9).map(
        lambda pairs: Row([t for t, _ in pairs], [m for _, m in pairs])
    ),
    min_size=1,
    max_size=3,
)


@settings(max_examples=200, deadline=None)
@given(rows)
def test_labels_are_the_counted_next_tokens(batch):
    found = collate(batch, pad=0)
    keep = found["logits_to_keep"].tolist()
    for index, row in enumerate(batch):
        counted = [(i - 1, row.ids[i]) for i in range(1, len(row.ids)) if row.mask[i]]
        labels = zip(keep, found["labels"][index, 1:].tolist(), strict=True)
        assert [(at, label) for at, label in labels if label != IGNORED] == counted
        assert found["input_ids"][index, : len(row.ids)].tolist() == row.ids
        assert found["labels"][index, 0] == IGNORED
        assert found["attention_mask"][index].sum() == len(row.ids)


def tiny(**changes):
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=40,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        **changes,
    )
    return LlamaForCausalLM(config).eval()


def test_loss_is_the_mean_over_target_tokens_of_the_step():
    batch = [
        Row([1, 2, 3, 4, 5, 6], [False, False, True, True, True, True]),
        Row([7, 8, 9], [False, False, True]),
    ]
    model = tiny()
    total = count = 0
    with torch.no_grad():
        for row in batch:
            logits = model(torch.tensor([row.ids])).logits[0].log_softmax(-1)
            for at in range(1, len(row.ids)):
                if row.mask[at]:
                    total -= logits[at - 1, row.ids[at]].item()
                    count += 1
    chosen = Settings(batch_size=2, learning_rate=1e-9, gradient_checkpointing=False, quantize=None)
    assert train(model, batch, chosen, pad=0)["loss"] == pytest.approx(total / count, abs=2e-3)


def test_training_lowers_the_loss():
    batch = [Row([1, 2, 3, 4] * 4, [False] * 8 + [True] * 8)] * 30
    before = train(tiny(), batch[:1], Settings(learning_rate=1e-9, quantize=None), pad=0)
    chosen = Settings(learning_rate=1e-2, quantize=None, gradient_checkpointing=True)
    after = train(tiny(), batch, chosen, pad=0)
    assert after["loss"] < 0.8 * before["loss"]
    assert after["steps"] == 15


@pytest.mark.parametrize("kind", ["llama", "gemma3"])
def test_ragged_batches_compute_what_single_texts_do(kind):
    """Padding in the cache changes nothing, sliding windows included."""
    from transformers import DynamicCache

    from minisift.engines.transformers import TransformersEngine

    model = tiny()
    if kind == "gemma3":
        from transformers import Gemma3ForCausalLM, Gemma3TextConfig

        torch.manual_seed(0)
        config = Gemma3TextConfig(
            vocab_size=40,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=3,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=8,
            sliding_window=4,
            layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        )
        model = Gemma3ForCausalLM(config).eval()
    engine = TransformersEngine(lambda: model, None, None)
    turns = [[[1, 2, 3], [4, 5, 6, 7, 8, 9]], [[10], [11, 12, 13]], [[14, 15, 16, 17], [18]]]
    cache, positions = DynamicCache(), torch.zeros((2, 0), dtype=torch.long)
    with torch.inference_mode():
        for turn in turns:
            logits, positions = engine._step(cache, positions, turn)
            history = [
                [t for past in turns[: turns.index(turn) + 1] for t in past[row]] for row in (0, 1)
            ]
            for row in (0, 1):
                wanted = model(torch.tensor([history[row]])).logits[0, -1]
                assert torch.allclose(torch.tensor(logits[row]), wanted, atol=1e-4)


def test_settings_are_checked():
    assert make_settings({"shots": 0}).prompts(1000) == 5000
    assert Settings().prompts(1000) == 556
    assert Settings(max_prompts=7).prompts(10**6) == 7
    for wrong in ({"shots": -1}, {"strategy": "x"}, {"quantize": "int4"}, {"epochs": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            make_settings(wrong)
    with pytest.raises(TypeError, match="shotz"):
        make_settings({"shotz": 1})


def test_every_setting_is_a_flag():
    values = {
        "strategy": "src", "shots": 3, "sampling": "target", "epochs": 2.5, "max_prompts": 9,
        "learning_rate": 0.01, "lora_rank": 4, "lora_dropout": 0.5, "batch_size": 7,
        "max_length": 99, "quantize": None, "gradient_checkpointing": True, "template": "chat",
        "seed": 5,
    }  # fmt: skip
    assert set(values) == {field.name for field in dataclasses.fields(Settings)}
    flags = []
    for name, value in values.items():
        flags += ["--" + name.replace("_", "-"), str(value).lower()]
    given = _parser().parse_args(["fit", "m", "t", "--output-dir", "o", *flags])
    assert {name: getattr(given, name) for name in values} == values


def test_rows_that_do_not_fit_are_counted():
    from test_grammar import TOKENIZERS

    from minisift.prompts import Renderer, plain_template
    from minisift.task import Task
    from minisift.training import training_rows

    renderer = Renderer(Task({"X": "x"}, {}), plain_template(), TOKENIZERS[0])
    examples = [Example("a" * 10), Example("b" * 10), Example("c" * 300)]
    chosen = Settings(shots=2, max_length=60, max_prompts=6)
    kept, left_out = training_rows(renderer, examples, chosen)
    assert all(len(row.ids) <= 60 for row in kept)
    assert left_out["prompts too long"] + len(kept) == 6
    assert left_out["demonstrations dropped"] > 0
    with pytest.raises(ValueError, match="max_length=5"):
        training_rows(renderer, examples, Settings(max_length=5))
