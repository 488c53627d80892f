"""The grammar takes every rendered response and nothing that `parse` refuses."""

import random
from copy import copy

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from support.byte_tokenizers import TOKENIZERS
from support.draws import times
from support.mutations import mutate
from support.strategies import LABELS, TASK, examples, is_utf8

from minisift.data.examples import Example
from minisift.decoding.grammar import Answer, Language, Vocabulary
from minisift.exceptions import ResponseError
from minisift.prompting.renderer import Renderer
from minisift.prompting.response import parse, render, target_of
from minisift.prompting.template import plain_template
from minisift.prompting.tokenizer import Tokenizer


def answer_to(example, tokenizer):
    return Answer(Language(Vocabulary(tokenizer, LABELS), target_of(example)))


def accepts(example, response, tokenizer):
    """Whether the grammar lets the response be written in some tokenization: byte by byte here."""
    answer = answer_to(example, tokenizer)
    for byte in response.encode():
        if answer.done or byte not in answer.allowed():
            return False
        answer.advance(byte)
    return answer.done


@given(examples(), st.sampled_from(TOKENIZERS))
def test_takes_every_rendered_response_as_it_is_tokenized(example, tokenizer):
    answer = answer_to(example, tokenizer)
    for token in Renderer(TASK, plain_template(), tokenizer).response(target_of(example)):
        answer.advance(token)
    assert answer.done
    assert answer.allowed() == []


@times(2)
@given(examples(), st.integers(0, 2**32))
def test_agrees_with_parse_on_every_mutation(example, seed):
    target = target_of(example)
    mutated = mutate(render(target, LABELS), random.Random(seed))
    assume(is_utf8(mutated))
    try:
        spans = parse(mutated, target, TASK.labels_by_name)
        read = Example(example.text, tuple(spans), example.words)
        valid = render(target_of(read), LABELS) == mutated
        assert valid
    except ResponseError:
        valid = False
    assert accepts(example, mutated, TOKENIZERS[0]) == valid


@given(examples(), st.sampled_from(TOKENIZERS), st.integers(0, 2**32))
def test_any_walk_ends_in_a_valid_answer(example, tokenizer, seed):
    """Whatever a model likes best, the answer parses, and within the stated length."""
    rng = random.Random(seed)
    language = Language(Vocabulary(tokenizer, LABELS), target_of(example))
    answer, tokens = Answer(language), []
    while not answer.done:
        allowed = answer.allowed()
        assert allowed, "a dead end"
        ahead = copy(answer)
        for token in answer.guess(rng.randint(0, 9)):
            ahead.advance(token)
        assert answer.allowed() == allowed
        tokens.append(rng.choice(allowed))
        answer.advance(tokens[-1])
    assert len(tokens) <= language.longest_answer()
    spans = parse(tokenizer.decode(tokens).decode(), target_of(example), TASK.labels_by_name)
    assert Example(example.text, tuple(spans), example.words).spans == tuple(spans)


@given(examples(), st.sampled_from(TOKENIZERS), st.integers(0, 2**32))
def test_drafts_change_no_answer(example, tokenizer, seed):
    """A model that likes drafted tokens or not, read one by one or along drafts."""
    np = pytest.importorskip("numpy")
    from minisift.decoding.answering import Running
    from minisift.decoding.protocols import Prompt

    def model(read):
        return np.random.default_rng([seed, *read]).normal(size=len(tokenizer.pieces))

    def complete(most):
        language = Language(Vocabulary(tokenizer, LABELS), target_of(example))
        running = Running(Prompt((), [0], language), context=1 << 20)
        read = []
        while not running.done:
            read += running.pending
            running.pending = []
            draft = running.draft(most)
            true = running.choose_along(
                [model(read + draft[:count]) for count in range(len(draft) + 1)], draft
            )
            read += draft[:true]
        assert (read + running.pending)[1:] == running.completion.tokens
        return running.completion.tokens

    assert complete(0) == complete(1) == complete(3) == complete(8)


def test_words_without_tokens_are_never_begun():
    """Vocabularies that lack bytes (SmolLM2: some control characters) lead to no dead end."""
    pieces = [bytes([byte]) for byte in range(256)]
    pieces[ord("x")] = b""
    tokenizer = Tokenizer(
        lambda text, control: [b for b in text.encode() if b != 120], pieces, None
    )
    answer = answer_to(Example("ax by xx cx"), tokenizer)
    answer.advance(ord(" "))
    assert {chr(token) for token in answer.allowed()} == {"b"}


def test_a_token_that_is_not_allowed_is_an_error():
    with pytest.raises(ValueError, match="not allowed"):
        answer_to(Example("a"), TOKENIZERS[0]).advance(ord("z"))


def test_long_and_repetitive_text_stays_quick():
    example = Example("a " * 2000 + "b: person " * 500)
    answer = answer_to(example, TOKENIZERS[0])
    for token in b" a: person #1999\n":
        answer.advance(token)
    assert b" "[0] in answer.allowed()


def test_an_answer_that_fills_the_context_keeps_its_whole_lines():
    np = pytest.importorskip("numpy")
    from minisift.decoding.answering import Running
    from minisift.decoding.protocols import Prompt

    tokenizer = TOKENIZERS[0]
    target = target_of(Example("a b c d e f g h"))
    language = Language(Vocabulary(tokenizer, LABELS), target)
    logits = np.zeros(256)
    logits[ord(":")], logits[ord("\n")] = 5, -5  # short spans, and never an end
    running = Running(Prompt((1, 2), [3, 4, 5], language), context=5 + 40)
    while not running.done:
        running.choose(logits)
    completion = running.completion
    assert completion.cut
    # forced tokens may end a line past the context: the model need not read them
    assert len(completion.tokens) == len(completion.choices) <= 41 + len(b" a: person\n")
    spans = parse(tokenizer.decode(completion.tokens).decode(), target, TASK.labels_by_name)
    assert 1 < len(spans) < 8
