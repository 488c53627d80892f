"""Several processes train as one, each with the whole model or with its share of it."""

import pytest

pytest.importorskip("torch")

from support.processes import SHARDED, launched, result, start
from support.tiny_models import SMALL
from support.train_tiny import train


@pytest.mark.parametrize(
    ("how", "weights"),
    [
        pytest.param(["--cpu"], "whole", marks=pytest.mark.slow),
        pytest.param(SHARDED, "whole", marks=pytest.mark.slow),
        (SHARDED, "nf4"),
    ],
)
def test_two_processes_train_as_one(how, weights, tmp_path):
    """Each with all weights of the model, or with a share of its layers, packed or not."""
    alone = train(tmp_path / "one.checkpoint", 20, 0.0, weights)
    words = tmp_path / "two.checkpoint", 20, 0.0, weights
    both = result(start("train_tiny.py", *words, launch=launched(how, 2)))
    assert both == pytest.approx(alone, abs=1e-3)


@pytest.mark.slow
def test_fit_of_sharded_weights_labels_and_saves(tmp_path):
    """The processes label dev sentences together, and each alone in the end."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    from minisift.models.source import resolve

    base = tmp_path / "base"
    AutoTokenizer.from_pretrained(resolve("smollm2-135m").weights).save_pretrained(base)
    small = {**SMALL, "vocab_size": 49152, "hidden_size": 64, "max_position_embeddings": 2048}
    LlamaForCausalLM(LlamaConfig(**small, num_hidden_layers=2)).save_pretrained(base)
    process = start("fit_sharded.py", base, tmp_path / "out", launch=launched(SHARDED, 2))
    same, evaluated, temperature = result(process)
    assert same
    assert evaluated == 2
    assert temperature > 0
