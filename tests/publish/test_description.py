"""Descriptions that earlier versions wrote: they are read, written and prompted as they were."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from minisift.exceptions import DescriptionError
from minisift.prompting.renderer import Renderer
from minisift.publish.description import Description, checksum

LABELERS = sorted(Path(__file__).with_name("labelers").glob("*.json"))
NAMES = [path.stem for path in LABELERS]


@pytest.mark.parametrize("path", LABELERS, ids=NAMES)
def test_a_description_is_written_as_it_was(path):
    text = path.read_text(encoding="utf-8")
    assert Description.from_json(text, str(path)).to_json() == text


@pytest.mark.parametrize("path", LABELERS, ids=NAMES)
def test_its_prompt_has_the_tokens_that_it_had(path):
    pytest.importorskip("transformers")
    from minisift.models.source import resolve
    from minisift.models.tokenizer import load_tokenizer

    described = Description.from_json(path.read_text(encoding="utf-8"), str(path))
    tokenizer = load_tokenizer(resolve(described.base["model"]).weights)
    renderer = Renderer(described.task, described.template, tokenizer)
    shown = [renderer.render(example) for example in described.demonstrations]
    assert shown
    assert checksum(renderer.prefix(shown)) == described.prefix


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "format version 2.*fix"),
        ({"names": None}, "damaged.*fix"),
        ({"demonstrations": [{"text": "a"}]}, "damaged.*fix"),
        ({"template": {"head": ""}}, "damaged.*fix"),
    ],
)
def test_another_version_and_damage_are_told(change, message):
    content = json.loads(LABELERS[0].read_text(encoding="utf-8"))
    with pytest.raises(DescriptionError, match=rf"^somewhere: .*{message}"):
        Description.from_json(json.dumps({**content, **change}), "somewhere")


def test_how_soon_an_answer_ends_is_kept():
    described = Description.from_json(LABELERS[0].read_text(encoding="utf-8"), "somewhere")
    assert described.end_bias == 0
    lean = replace(described, end_bias=1.25)
    assert Description.from_json(lean.to_json(), "somewhere") == lean


def test_more_facts_lie_beside_the_rest():
    described = Description.from_json(LABELERS[0].read_text(encoding="utf-8"), "somewhere")
    more = described.with_made(training={"steps": 3})
    assert json.loads(more.to_json())["training"] == {"steps": 3}
    assert "training" not in described.made
