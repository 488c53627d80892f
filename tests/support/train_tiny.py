"""Trains a tiny model: CHECKPOINT PROMPTS DROPOUT [nf4] [resume]; tells the loss and the adapter."""

import json
import os
import sys
from pathlib import Path

import torch

from minisift.models.loading import add_lora, load_base, settle
from minisift.models.source import resolve
from minisift.training import sharding
from minisift.training.loop import Training
from minisift.training.loss import CausalObjective
from minisift.training.settings import Settings
from support.tiny_models import random_rows, tiny


def train(path, prompts, dropout, *words):
    """The loss and all numbers of the adapter, in the process that writes files."""
    base = tiny()
    if "nf4" in words:
        folder = path.parent / str(os.getpid())
        base.save_pretrained(folder)
        base, quantized = load_base(resolve(folder), "nf4", "cpu")
        settle(base)  # float32, so that how rows are dealt to processes shows in no digit
        assert quantized == "nf4"
    model = add_lora(base, 4, dropout, 0)
    chosen = Settings(learning_rate=1e-2, quantize=None, checkpoint_seconds=0, batch_size=4)
    training = Training(CausalObjective(model), [random_rows(prompts)], chosen, checkpoint=path)
    if "resume" in words:
        training.resume()
    check_shares(model)
    print("started", training.progress.step, flush=True)
    report = training.run()
    with torch.no_grad():
        model(torch.tensor([[1, 2, 3]]))
    check_shares(model)  # a layer's weights are whole while it computes, not longer
    if not training.is_main:
        return None
    weights = training.weights().values()
    return [report["loss"], *(value for weight in weights for value in weight.flatten().tolist())]


def check_shares(model):
    """Whether this process has its share of the layers' 14 matrices, where weights are shared out."""
    parts = [w.to_local().numel() / w.numel() for w in model.parameters() if hasattr(w, "to_local")]
    assert len(parts) == (14 if sharding.is_asked_for() else 0)
    assert all(part <= 1.2 / sharding.shares() for part in parts)


if __name__ == "__main__":
    path, prompts, dropout, *words = sys.argv[1:]
    trained = train(Path(path), int(prompts), float(dropout), *words)
    if trained:
        print("result", json.dumps(trained))
