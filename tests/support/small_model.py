"""A model for plumbing: the first and the last layer of a real one, and its tokenizer."""

import json
import shutil
from pathlib import Path

import minisift
from minisift.models.source import resolve

WEIGHTS = "model.safetensors"
CONFIG = "config.json"


def cut_to_two_layers(folder):
    """Writes such a model to a new folder, in a second; returns the folder.

    The last layer, since the head understands it: without it nearly every answer were empty.
    """
    from safetensors.torch import load_file, save_file

    whole = Path(resolve("smollm2-135m").weights)
    shutil.copytree(whole, folder, ignore=shutil.ignore_patterns(WEIGHTS))
    config = json.loads((folder / CONFIG).read_text())
    kept = {"0": "0", str(config["num_hidden_layers"] - 1): "1"}
    (folder / CONFIG).write_text(json.dumps({**config, "num_hidden_layers": 2}))
    tensors = {}
    for name, tensor in load_file(whole / WEIGHTS).items():
        parts = name.split(".")
        if parts[1] == "layers":
            if parts[2] not in kept:
                continue
            parts[2] = kept[parts[2]]
        tensors[".".join(parts)] = tensor
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    return folder


def fit_small(base, train, dev, output_dir):
    """A labeler of such a model: 4 steps, after which it still labels something in every text.

    Its loss is over the whole vocabulary, which keeps the scale of logits that bounds on rounding are given in.
    """
    settings = {"shots": 3, "max_prompts": 8, "evaluations": 1, "loss": "full"}
    return minisift.fit(base, train, dev_set=dev, output_dir=output_dir, **settings)
