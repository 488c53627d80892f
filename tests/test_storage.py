"""What a saved labeler's folder holds."""

import dataclasses
import json
import sys

import pytest

pytest.importorskip("torch")
from tiny_models import tiny

import minisift
from minisift.models.loading import add_lora

CURVE = [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0, "f1": 0.5}]


@pytest.fixture(scope="module")
def trained(train):
    """A labeler with a tiny model's adapter, as one that was trained."""
    labeler = minisift.prompt("smollm2-135m", train, shots=1)
    made = {**labeler.description.made, "training": {"curve": CURVE, "kept": 2}}
    description = dataclasses.replace(labeler.description, made=made)
    model = add_lora(tiny(), 2, 0.0, 0)
    return minisift.Labeler(description, labeler.engine, lambda: model)


def test_without_matplotlib_the_picture_alone_is_missing(trained, tmp_path, monkeypatch, caplog):
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
        trained.save(tmp_path / "plain")
    (told,) = caplog.messages
    assert "matplotlib is not installed" in told
    assert "pip install matplotlib" in told
    trained.save(tmp_path / "drawn")
    names, drawn = ({file.name for file in (tmp_path / n).iterdir()} for n in ("plain", "drawn"))
    assert names == {
        "README.md",
        "labeler.json",
        "adapter_config.json",
        "adapter_model.safetensors",
    }
    assert drawn - names == {"learning_curve.png"}
    assert len(caplog.messages) == 1
    for folder, is_drawn in (("plain", False), ("drawn", True)):
        text = (tmp_path / folder / "README.md").read_text()
        assert ("learning_curve.png" in text) == is_drawn
        assert minisift.load(tmp_path / folder).card() == text


def test_a_trained_labeler_does_not_load_without_its_adapter(trained, tmp_path):
    trained.save(tmp_path / "notes")
    (tmp_path / "notes" / "adapter_model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"without its adapter_model\.safetensors; fix: "):
        minisift.load(tmp_path / "notes")
    content = json.loads((tmp_path / "notes" / "labeler.json").read_text())
    del content["training"]
    (tmp_path / "notes" / "labeler.json").write_text(json.dumps(content))
    (tmp_path / "notes" / "adapter_config.json").unlink()
    assert minisift.load(tmp_path / "notes").labels == trained.labels
