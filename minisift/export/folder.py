"""The merged model as a Hugging Face folder, and llama.cpp's own converter on it."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from minisift.export.merge import merged_weights
from minisift.models.source import Source

logger = logging.getLogger(__name__)

_SHARD = 1 << 30
"""Bytes of tensors in a file, at most; a larger tensor has a file of its own."""


def write_folder(
    source: Source, adapter: Path | None, quantized: bool, folder: Path, dtype: str
) -> None:
    """Write merged weights in shards, configuration and tokenizer. dtype: as torch names it."""
    from transformers import AutoConfig, AutoTokenizer

    config = AutoConfig.from_pretrained(source.weights)
    config.dtype = dtype
    config.save_pretrained(folder)
    AutoTokenizer.from_pretrained(source.weights).save_pretrained(folder)
    tied = bool(config.get_text_config().tie_word_embeddings)
    merged = merged_weights(source.weights, adapter, quantized, tied)
    places: dict[str, str] = {}
    shard: dict[str, torch.Tensor] = {}
    number = 1
    for name, weight in merged.items():
        tensor = weight.read().to(getattr(torch, dtype)).contiguous()
        if shard and sum(held.nbytes for held in shard.values()) + tensor.nbytes > _SHARD:
            save_file(shard, folder / _name(number), {"format": "pt"})
            number, shard = number + 1, {}
        shard[name] = tensor
        places[name] = _name(number)
    save_file(shard, folder / _name(number), {"format": "pt"})
    index = {"metadata": {}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")


def _name(number: int) -> str:
    return f"model-{number:05}.safetensors"


def convert_by_script(script: Path, folder: Path, path: Path) -> None:
    """Run llama.cpp's convert_hf_to_gguf.py on a folder, for families that minisift lacks."""
    logger.info("Converting by %s.", script)
    command = [sys.executable, str(script), str(folder), "--outfile", str(path)]
    done = subprocess.run([*command, "--outtype", "f16"], capture_output=True, text=True)
    if done.returncode or not path.is_file():
        raise RuntimeError(
            f"{script} failed on the merged model: {done.stderr.strip()[-500:]}; fix: another "
            "version of llama.cpp"
        )
