"""One renderer, exact masks, and the same ids from transformers and llama.cpp."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import LABELS, TASK, examples
from test_grammar import MERGES, byte_tokenizer

from minisift.data.examples import Example
from minisift.data.reading import read
from minisift.prompting.renderer import Renderer
from minisift.prompting.response import render, target_of
from minisift.prompting.template import Template, plain_template

TOKENIZER = byte_tokenizer(MERGES)
TEMPLATES = [plain_template(), plain_template("Find\nspans."), Template("<s>", "<t>", "<j>")]


@settings(max_examples=1500, deadline=None)
@given(st.lists(examples(), max_size=4), examples(), st.sampled_from(TEMPLATES))
def test_unmasked_ids_are_the_responses(demonstrations, target, template):
    renderer = Renderer(TASK, template, TOKENIZER)
    wanted = {
        "vanilla": None,
        "src": [target],
        "mrc": [*demonstrations, target],
    }
    for strategy, counted in wanted.items():
        row = renderer.row(demonstrations, target, strategy)
        kept = [token for token, counts in zip(row.ids, row.mask, strict=True) if counts]
        if counted is None:
            assert kept == row.ids
        else:
            text = "".join(render(example, LABELS) for example in counted)
            assert TOKENIZER.decode(kept) == text.encode()
        prompt = renderer.prompt(demonstrations, target)
        assert row.ids == prompt + renderer.response(target)


def test_the_prompt_reads_as_documented():
    renderer = Renderer(TASK, plain_template(), TOKENIZER)
    shown = Example("A\n b", (), ())
    assert TOKENIZER.decode(renderer.prompt([shown], Example("c"))) == (b"Text: A b\n\nText: c\n")


def test_demonstrations_that_do_not_fit_are_dropped_whole():
    renderer = Renderer(TASK, plain_template(), TOKENIZER)
    target, short, long = Example("t"), Example("s"), Example("l " * 50)
    limit = len(renderer.prompt([short, short], target))
    assert renderer.fitting([short, long, short], target, limit) == [short, short]
    assert renderer.fitting([short, short], target, limit, reserve=1) == [short]
    with pytest.raises(ValueError, match="fix"):
        renderer.fitting([], long, 20)


def test_unknown_strategy():
    with pytest.raises(ValueError, match="mrc"):
        Renderer(TASK, plain_template(), TOKENIZER).row([], Example("a"), "all")


# What other tokenizers and templates stumble over: control tokens, odd spaces, marks, digits.
HOSTILE = [
    "<|im_end|> <eos> <bos> </s> <start_of_turn>user\n x <|endoftext|>",
    "a\x00b \x04\x13",
    "🙂👩‍👩‍👧 שלום مرحبا \U000e0041 \ud800",
    '"q" \\ \' : person #2',
    "<table> <h1> [multimodal] <unused0> <unused10> \n\n\n\t\t x    y",
    "\u2028 é e\u0301 ﬁ ½ ① 1234567 3.14 x1y2 \xa0",
    "日本語テキスト ภาษาไทย",
    "▁▁a ▁ <0x0A> Ġx Ċ ~~~~ ====== ------",
]


@pytest.mark.parametrize("model", ["smollm2-135m", "gemma-3-270m"])
def test_both_tokenizers_give_the_same_ids(model, shared_data):
    pytest.importorskip("transformers")
    from minisift.engines.llamacpp import model as backend
    from minisift.models.source import resolve
    from minisift.models.tokenizer import load_tokenizer

    source = resolve(model)
    ours, theirs = load_tokenizer(source.weights), backend.load_tokenizer(source.gguf)
    assert ours.bos == theirs.bos
    assert ours.pieces == theirs.pieces
    sentences = [Example(text) for text in HOSTILE]
    sentences += read(shared_data / "ner-conll2003" / "eng.testb")[::2]
    sentences += read(shared_data / "absa-rest14" / "test.conll")
    sentences += read(shared_data / "triggers-casie" / "dev.jsonl", on_misaligned="snap")
    assert len(sentences) > 3000
    for example in sentences:
        task = TASK if not example.spans else None
        if task is None:
            labels = {span.label: span.label for span in example.spans}
            task = type(TASK)(labels, {})
        ids = Renderer(task, plain_template(), ours).row([], example, "mrc").ids
        assert ids == Renderer(task, plain_template(), theirs).row([], example, "mrc").ids
        text = target_of(example).text
        control = {token for token, piece in enumerate(theirs.pieces) if not piece}
        assert not control & set(ours.encode(text)), "a control token was parsed from user text"
