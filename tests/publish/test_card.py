"""Model cards: what they tell a hub, and what they keep to themselves."""

from dataclasses import replace

import pytest

pytest.importorskip("torch")

from minisift.publish.card import card


def of(description, model):
    return replace(description, base={**description.base, "model": model})


@pytest.mark.parametrize(
    ("files", "relation"),
    [(["notes.gguf"], "quantized"), (["base.gguf", "lora.gguf"], "adapter"), ([], "adapter")],
)
def test_a_hub_is_told_of_the_base_model(small, files, relation):
    bundled = card(of(small.description, "smollm2-135m"), files)
    for told in (
        "base_model: HuggingFaceTB/SmolLM2-135M-Instruct",
        "license: apache-2.0",
        f"base_model_relation: {relation}",
    ):
        assert f"{told}\n" in bundled
    other = card(of(small.description, "HuggingFaceTB/SmolLM2-360M"), files)
    assert f"base_model: HuggingFaceTB/SmolLM2-360M\nbase_model_relation: {relation}\n" in other
    assert "license" not in other


def test_a_place_on_a_disk_stays_there(small, small_base, small_folder):
    for text in ((small_folder / "README.md").read_text(), card(small.description)):
        assert str(small_base.parent) not in text
        assert "base_model" not in text
        assert f"| base model | {small_base.name} |" in text


def test_how_to_load_it(small):
    assert 'minisift.load("folder")' in card(small.description)
    assert 'minisift.load("me/notes")' in card(small.description, ["notes.gguf"], None, "me/notes")
    two = card(small.description, ["base.gguf", "lora.gguf"])
    assert 'minisift.load("base.gguf", adapter="lora.gguf")' in two
