"""One renderer, exact masks, and the same ids from transformers and llama.cpp."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.byte_tokenizers import MERGES, byte_tokenizer
from support.strategies import LABELS, TASK, examples

from minisift.data.examples import Example
from minisift.data.reading import read
from minisift.data.text import fold
from minisift.decoding.grammar import Language, Vocabulary
from minisift.prompting.renderer import Renderer
from minisift.prompting.response import render, target_of
from minisift.prompting.task import Task
from minisift.prompting.template import Template, plain_template

TOKENIZER = byte_tokenizer(MERGES)
TEMPLATES = [plain_template(), plain_template("Find\nspans."), Template("<s>", "<t>", "<j>")]


@given(st.lists(examples(), max_size=4), examples(), st.sampled_from(TEMPLATES))
def test_unmasked_ids_are_the_responses(demonstrations, target, template):
    renderer = Renderer(TASK, template, TOKENIZER)
    demonstrations = [renderer.render(example) for example in demonstrations]
    target = renderer.render(target)
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
            text = "".join(render(shown.target, LABELS) for shown in counted)
            assert TOKENIZER.decode(kept) == text.encode()
        assert row.ids == renderer.prefix(demonstrations) + target.text + target.response


@given(examples(), st.sampled_from(TEMPLATES))
def test_an_example_is_rendered_as_its_target_is(example, template):
    renderer = Renderer(TASK, template, TOKENIZER)
    rendered, target = renderer.render(example), target_of(example)
    assert rendered.target == target
    assert rendered.example is example
    assert rendered.text == renderer.text(target) == renderer.shown(target.text) + renderer.turn
    assert rendered.response == renderer.response(target)
    assert TOKENIZER.decode(rendered.response).decode() == render(target, LABELS)
    assert rendered.key == fold(example.text).text
    prefix = renderer.prefix([rendered])
    assert len(prefix) == len(renderer.prefix([])) + renderer.length(rendered)
    assert TOKENIZER.decode(prefix).decode() == renderer.prefix_text([rendered])


def test_the_prompt_reads_as_documented():
    renderer = Renderer(TASK, plain_template(), TOKENIZER)
    shown = renderer.render(Example("A\n b"))
    prompt = renderer.prefix([shown]) + renderer.text(target_of(Example("c")))
    assert TOKENIZER.decode(prompt) == b"Text: A b\n\nText: c\n"


def test_demonstrations_that_do_not_fit_are_dropped_whole():
    renderer = Renderer(TASK, plain_template(), TOKENIZER)
    target, short, long = (renderer.render(Example(text)) for text in ("t", "s", "l " * 50))
    limit = len(renderer.prefix([short, short]) + target.text)

    def fitting(shown, **reserve):
        return renderer.fitting(shown, target.key, target.text, limit, **reserve)

    assert fitting([short, long, short]) == [short, short]
    assert fitting([short, short], reserve=1) == [short]
    with pytest.raises(ValueError, match="fix"):
        renderer.fitting([], long.key, long.text, 20)


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
    control = {token for token, piece in enumerate(theirs.pieces) if not piece}
    task = Task({span.label: span.label for e in sentences for span in e.spans}, {})
    renderers = [Renderer(task, plain_template(), tokenizer) for tokenizer in (ours, theirs)]
    vocabulary = Vocabulary(ours, task.names)
    for example in sentences:
        rendered = [renderer.render(example) for renderer in renderers]
        assert rendered[0] == rendered[1]
        prefixes = [r.prefix([shown]) for r, shown in zip(renderers, rendered, strict=True)]
        assert prefixes[0] == prefixes[1]
        assert not control & set(rendered[0].text), "a control token was parsed from user text"
        answer = Language(vocabulary, rendered[0].target).answer()
        for token in rendered[0].response:
            answer.advance(token)
        assert answer.done, "the grammar refuses what the tokenizer writes"
