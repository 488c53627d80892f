"""The rows of a training fit, and what does not is counted."""

import pytest
from support.byte_tokenizers import byte_tokenizer

from minisift.data.examples import Example, Span
from minisift.prompting.renderer import Renderer
from minisift.prompting.task import Task
from minisift.prompting.template import plain_template
from minisift.prompting.tokenizer import Tokenizer
from minisift.training.rows import training_rows, with_choices
from minisift.training.settings import Settings


def test_rows_that_do_not_fit_are_counted():
    renderer = Renderer(Task({"X": "x"}, {}), plain_template(), byte_tokenizer())
    texts = ("a" * 10, "b" * 10, "c" * 300)
    examples = [renderer.render(Example(text)) for text in texts]
    chosen = Settings(shots=2, max_length=60, max_prompts=6)
    (kept,), left_out = training_rows(renderer, examples, chosen)
    assert all(len(row.ids) <= 60 for row in kept)
    assert left_out["prompts too long"] + len(kept) == 6
    assert left_out["demonstrations dropped"] > 0
    with pytest.raises(ValueError, match="max_length=5"):
        training_rows(renderer, examples, Settings(max_length=5))


def test_no_run_reads_what_it_leaves_out():
    renderer = Renderer(Task({"X": "x"}, {}), plain_template(), byte_tokenizer())
    letters = "abcdefghi"
    examples = [renderer.render(Example(letter * 9)) for letter in letters]
    chosen = Settings(shots=2, runs=2, epochs=3)
    whole, _ = training_rows(renderer, examples, chosen)
    first, second = training_rows(renderer, examples, chosen, [{"a" * 9, "b" * 9}, {"c" * 9}])[0]

    def read(rows):
        texts = [renderer.tokenizer.decode(row.ids).decode() for row in rows]
        return {letter for letter in letters if any(letter * 9 in text for text in texts)}

    assert [read(rows) for rows in whole] == [set(letters)] * 2
    assert [row.ids for row in whole[0]] != [row.ids for row in whole[1]]
    assert read(first) == set(letters) - {"a", "b"}
    assert read(second) == set(letters) - {"c"}
    (alone,), _ = training_rows(renderer, examples, Settings(shots=2, epochs=3))
    assert [row.ids for row in alone] == [row.ids for row in whole[0]]


def test_a_token_counts_among_what_the_grammar_allows_and_each_fourth_among_all():
    renderer = Renderer(Task({"X": "xa", "Y": "xb"}, {}), plain_template(), byte_tokenizer())
    example = Example("aa b", (Span(0, 2, "X"), Span(3, 4, "Y")))
    plain = renderer.render(example)
    (chosen,) = with_choices(renderer, [plain], 100)
    row, full = (renderer.row([e, e], e, "mrc") for e in (chosen, plain))
    assert row.ids == full.ids
    answers = [at for at, counts in enumerate(full.mask) if counts]
    counted = [at for at, counts in enumerate(row.mask) if counts]
    choices = dict(zip(counted, row.choices, strict=True))
    assert [at for at in answers if choices.get(at, ()) is None] == [
        at for at in answers if at % 4 == 0
    ]
    # of three answers alike, where a span begins, what follows " a" and "xa", and whether another follows
    allowed = list(chosen.choices * 3)
    for at, among in zip(answers, allowed, strict=True):
        assert row.ids[at] in among
        if at % 4:
            assert choices.get(at, among[:1]) == among
            assert (at in choices) == (len(among) > 1)
    assert 3 < sum(len(among) > 1 for among in chosen.choices) < len(chosen.choices)
    assert with_choices(renderer, [plain], 3) == [plain]
    vanilla = renderer.row([chosen], chosen, "vanilla")
    assert vanilla.choices is None
    assert all(vanilla.mask)


def test_what_the_grammar_cannot_write_counts_among_all():
    pieces = [bytes([byte]) for byte in range(256) if byte != 0x13] + [b"[unknown]"]
    ids = {piece: at for at, piece in enumerate(pieces)}
    unknown = len(pieces) - 1
    tokenizer = Tokenizer(
        lambda text, control: [ids.get(bytes([b]), unknown) for b in text.encode()], pieces, None
    )
    renderer = Renderer(Task({"X": "x"}, {}), plain_template(), tokenizer)
    plain = renderer.render(Example("ab\x13 c", (Span(0, 3, "X"),)))
    (chosen,) = with_choices(renderer, [plain], 100)
    at = chosen.choices.index(None)
    assert set(chosen.choices[at:]) == {None}
    written = zip(chosen.response[:at], chosen.choices[:at], strict=True)
    assert all(token in among for token, among in written)
    row = renderer.row([], chosen, "src")
    assert sum(row.mask) == len(row.choices) >= len(chosen.response) - at
