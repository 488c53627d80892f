"""The GBNF grammar takes what `parse` takes; llama.cpp can read it."""

import random
import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from support.mutations import mutate
from support.strategies import LABELS, TASK, examples, is_utf8

from minisift.data.examples import Example
from minisift.decoding.gbnf import gbnf
from minisift.exceptions import ResponseError
from minisift.prompting.response import parse, render, target_of

TOKEN = re.compile(r'"((?:\\.|[^"\\])*)"|([a-z0-9-]+)|(\|)')
ESCAPE = re.compile(r"\\x([0-9A-F]{2})|\\U([0-9A-F]{8})|\\(.)")


def rules_of(grammar):
    rules = {}
    for line in grammar.splitlines():
        name, body = line.split(" ::= ", 1)
        rules[name] = [[]]
        for literal, reference, bar in TOKEN.findall(body):
            if bar:
                rules[name].append([])
            elif reference:
                rules[name][-1].append((True, reference))
            else:
                text = ESCAPE.sub(lambda m: m[3] or chr(int(m[1] or m[2], 16)), literal)
                rules[name][-1].append((False, text))
    return rules


def accepts(grammar, text):
    """Whether the rules derive the text: all stacks of what is still to come, step by step."""
    rules = rules_of(grammar)
    stacks = {(0, ((True, "root"),))}
    while stacks:
        at, stack = stacks.pop()
        if not stack:
            if at == len(text):
                return True
            continue
        (is_rule, what), rest = stack[0], stack[1:]
        if is_rule:
            stacks |= {(at, (*alternative, *rest)) for alternative in rules[what]}
        elif text.startswith(what, at):
            stacks.add((at + len(what), rest))
    return False


@given(examples())
def test_takes_every_rendered_response(example):
    target = target_of(example)
    assert accepts(gbnf(target, LABELS), render(target, LABELS))


@given(examples(), st.integers(0, 2**32))
def test_agrees_with_parse_on_every_mutation(example, seed):
    target = target_of(example)
    mutated = mutate(render(target, LABELS), random.Random(seed))
    assume(is_utf8(mutated))
    try:
        spans = parse(mutated, target, TASK.labels_by_name)
        read = Example(example.text, tuple(spans), example.words)
        valid = render(target_of(read), LABELS) == mutated
    except ResponseError:
        valid = False
    assert accepts(gbnf(target, LABELS), mutated) == valid


@given(examples(), st.data())
def test_goes_on_behind_lines_as_it_would_have_gone_on(example, data):
    target = target_of(example)
    count = data.draw(st.integers(0, len(example.spans)))
    lines = render(target, LABELS).splitlines(keepends=True)
    passed = sum(
        end <= max((s.end for s in example.spans[:count]), default=0) for _, end in example.words
    )
    rest = "".join(lines[count:])
    assert accepts(gbnf(target, LABELS, f"line-{passed}"), rest)
    if count < len(example.spans):
        assert accepts(gbnf(target, LABELS, f'" " from-{passed}'), rest)
        assert not accepts(gbnf(target, LABELS, f'" " from-{passed}'), "\n")


@pytest.mark.parametrize("text", ["", "a", 'say "\\n" \x00 ünï 🙂 مرحبا', "to be to be to be"])
def test_llama_cpp_reads_it(text):
    llama = pytest.importorskip("llama_cpp")
    assert llama.LlamaGrammar.from_string(gbnf(target_of(Example(text)), LABELS), verbose=False)
