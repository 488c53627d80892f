"""The adapters that minisift brings: each is of a bundled model, small, and told of."""

import json

import pytest

from minisift.models.bundled import BUNDLED
from minisift.models.source import resolve
from minisift.models.warm import ABOUT, FOLDER, warm_start

FOLDERS = sorted(path.parent for path in FOLDER.glob(f"*/{ABOUT}"))
CARD = (FOLDER / "README.md").read_text(encoding="utf-8")


def test_there_are_some():
    assert FOLDERS
    assert {folder.name for folder in FOLDERS} <= set(BUNDLED)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_warm_start_is_that_of_its_model(folder):
    pytest.importorskip("torch")
    from peft.utils import CONFIG_NAME, SAFETENSORS_WEIGHTS_NAME

    assert warm_start(resolve(folder.name)) == folder
    assert (folder / SAFETENSORS_WEIGHTS_NAME).stat().st_size < 12e6
    about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    assert about["model"] == folder.name
    assert about["training"]["steps"] * about["settings"]["batch_size"] >= about["prompts"]
    config = json.loads((folder / CONFIG_NAME).read_text(encoding="utf-8"))
    assert config["r"] == about["settings"]["lora_rank"]
    assert config["base_model_name_or_path"] == folder.name
    assert folder.name in CARD


def test_other_models_have_none(small_base):
    assert warm_start(resolve(small_base)) is None
