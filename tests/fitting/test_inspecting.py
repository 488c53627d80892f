"""A training prompt, token by token: all of it is there, and each strategy counts what it should."""

import pytest

pytest.importorskip("torch")

import minisift


@pytest.fixture(scope="module")
def prompt(small_base, train):
    return minisift.inspect(str(small_base), train, shots=2, loss="full")


def text(tokens):
    return "".join(token.text for token in tokens)


def test_all_of_the_prompt_is_there(prompt):
    shown = text(prompt.tokens)
    assert shown.count("Text: ") == 3
    assert shown.endswith("\n\n")
    assert prompt.prompts > 1


def test_each_strategy_counts_what_it_should(prompt):
    by = {s: [t for t in prompt.tokens if s in t.counted] for s in ("vanilla", "src", "mrc")}
    assert tuple(by["vanilla"]) == prompt.tokens
    last = text(prompt.tokens).rpartition("Text: ")[2].partition("\n")[2]
    assert text(by["src"]) == last
    assert text(by["mrc"]).endswith(last)
    assert "Text:" not in text(by["mrc"])
    assert prompt.counted("mrc") == len(by["mrc"]) > len(by["src"])


def test_what_the_loss_compares(small_base, train, prompt):
    fewer = minisift.inspect(str(small_base), train, shots=2)
    assert text(fewer.tokens) == text(prompt.tokens)
    assert fewer.counted("mrc") < prompt.counted("mrc")
    among = [t.choices for t in fewer.tokens if "mrc" in t.counted]
    assert None in among
    assert all(count is None or count > 1 for count in among)
    assert all(t.choices is None for t in fewer.tokens if "mrc" not in t.counted)
    assert all(t.choices is None for t in prompt.tokens)


def test_it_is_of_the_training_that_was_asked_for(small_base, train):
    made = minisift.inspect(
        str(small_base), train, shots=0, max_prompts=7, strategy="src", instruction="Find them."
    )
    assert (made.strategy, made.prompts) == ("src", 7)
    assert text(made.tokens).startswith("Find them.")
    assert made.to_dict()["tokens"][0]["counted"] == ("vanilla",)
    with pytest.raises(TypeError, match="unknown option"):
        minisift.inspect(str(small_base), train, shot=1)
