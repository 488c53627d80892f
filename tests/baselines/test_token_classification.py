"""Token classification, with and without the causal mask."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minisift.data.examples import Example
from minisift.data.tags import decode, encode, mended

pytest.importorskip("torch")

import torch
from support.tiny_models import TINY

from minisift.baselines import fit_token_classifier
from minisift.baselines.token_classification import TagObjective, TagRow
from minisift.training import attention

FIRST, LAST = [3, 7, 11, 5, 9, 2], [3, 7, 11, 5, 9, 30]
"""Rows that differ in their last token."""


def logits(objective, *rows):
    batch = objective.collate([TagRow(ids, list(range(len(ids))), [0] * len(ids)) for ids in rows])
    del batch["classes"]
    with torch.inference_mode():
        return objective.logits(**batch)


def objective_of(kind, unmasked, **options):
    model = TINY[kind]()
    rows = attention.use(model, **options)
    attention.unmask(model, unmasked)
    torch.manual_seed(0)
    return TagObjective(model, 5, rows)


@pytest.mark.parametrize("kind", TINY)
@pytest.mark.parametrize("plain", [0, 1024])
@pytest.mark.parametrize("unmasked", [[], [0], [1], None])
def test_words_see_what_the_mask_lets_them(kind, plain, unmasked):
    objective = objective_of(kind, unmasked, plain=plain)
    moved = (logits(objective, FIRST) - logits(objective, LAST)).abs().max(1).values > 1e-6
    assert moved[-1]
    assert moved[-2].item() is (unmasked != [])
    if kind == "llama" and unmasked is None:
        assert moved.all()


def test_without_the_mask_the_model_is_that_of_transformers_with_a_full_one():
    objective = objective_of("llama", None)
    model = TINY["llama"]()
    mask = torch.zeros(1, 1, len(FIRST), len(FIRST))
    with torch.inference_mode():
        states = model.model(torch.tensor([FIRST]), attention_mask=mask).last_hidden_state[0]
        wanted = objective.head(states)
    assert torch.allclose(logits(objective, FIRST), wanted, atol=1e-5)


@pytest.mark.parametrize("kind", TINY)
@pytest.mark.parametrize("unmasked", [[], None])
def test_rows_of_a_pass_do_not_see_each_other(kind, unmasked):
    objective = objective_of(kind, unmasked)
    alone = torch.cat([logits(objective, row) for row in (FIRST, LAST[:3])])
    assert torch.allclose(logits(objective, FIRST, LAST[:3]), alone, atol=1e-5)


def test_an_encoder_is_padded_without_a_trace():
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2}
    model = BertModel(BertConfig(vocab_size=40, num_hidden_layers=2, **sizes)).eval()
    objective = TagObjective(model, 5)
    alone = torch.cat([logits(objective, row) for row in (FIRST, LAST[:3])])
    assert torch.allclose(logits(objective, FIRST, LAST[:3]), alone, atol=1e-5)


@given(st.lists(st.sampled_from(["O", "B-A", "I-A", "B-B", "I-B"]), max_size=9))
def test_any_tags_of_a_classifier_give_spans(tags):
    valid = mended(tags)
    spans = decode(valid, "iob2")
    assert encode(len(tags), spans, "iob2") == valid
    assert [tag[1:] for tag in valid] == [tag[1:] for tag in tags]
    assert all(
        before == after for before, after in zip(tags, valid, strict=True) if before[0] != "I"
    )


@pytest.fixture(scope="module")
def tagger(small_base, train, dev):
    """Of two layers."""
    return fit_token_classifier(
        str(small_base),
        train,
        dev_set=dev,
        mask="none",
        max_prompts=480,
        evaluations=1,
        learning_rate=5e-3,
    )


def check(tagger, dev, f1):
    assert tagger.evaluate(dev).f1 > f1
    for example, spans in zip(dev, tagger.predict(dev), strict=True):
        for span in spans:
            assert example.text[span.start : span.end] == span.text
            assert 0 < span.score <= 1


def test_a_small_decoder_learns_to_tag(tagger, dev):
    check(tagger, dev, 0.3)


@pytest.mark.slow
def test_a_decoder_learns_to_tag(train, dev):
    options = {"dev_set": dev, "mask": "none", "max_prompts": 480, "evaluations": 1}
    check(fit_token_classifier("smollm2-135m", train, **options), dev, 0.4)


def test_each_word_is_read_at_its_last_token(tagger):
    for text in (
        "a longerword, and 12 more",
        "été naïve 你好 🙂🙂",
        "\x00",
        "x" * 300,
        "\ud800 lone",
        "  two\n\nlines ",
    ):
        example = Example(text)
        row = tagger.row(example)
        assert len(row.places) == len(example.words)
        assert row.places == sorted(row.places)
    assert [tagger.predict(text) for text in ([""], [" \n"])] == [[[]], [[]]]


def test_words_are_tagged_where_the_text_stands_last(small_base, train, dev):
    options = {"max_prompts": 16, "evaluations": 0, "held_out": 0}
    twice = fit_token_classifier(str(small_base), train, mask="twice", **options)
    once = fit_token_classifier(str(small_base), train, **options)
    for example in dev[:5]:
        row, plain = twice.row(example), once.row(example)
        assert row.ids == plain.ids * 2
        assert row.places == [len(plain.ids) + place for place in plain.places]
    check(twice, dev, -1)
    long = Example("word " * 9000)
    assert len(twice.row(long).ids) == 8192


def test_words_beyond_the_input_are_counted(tagger):
    example = Example("word " * 9000)
    row = tagger.row(example)
    assert len(row.ids) == 8192
    assert len(row.places) < 9000


@pytest.mark.parametrize("mask", ["some", [99]])
def test_masks_are_checked_before_weights(train, mask):
    with pytest.raises(ValueError, match="'causal', 'none', 'twice' or layers"):
        fit_token_classifier("smollm2-135m", train, mask=mask)


def test_the_encoder_has_no_mask_to_remove(train, tmp_path):
    from transformers import BertConfig

    BertConfig(architectures=["BertModel"]).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="which has none"):
        fit_token_classifier(str(tmp_path), train, mask="none")


def test_sharded_weights_are_refused_before_they_load(train, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(NotImplementedError, match=r"fix: .*--multi_gpu"):
        fit_token_classifier("smollm2-135m", train)
