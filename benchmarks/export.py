"""Memory and time of merging and exporting a 7B-shaped model with random weights.

    python benchmarks/export.py FOLDER [--layers 32] [--quantization q8_0]

builds the model (13 GB, tensor by tensor) and an adapter in FOLDER, exports them in a process of
their own and prints that process's peak memory: what it allocated, and with the pages of files
that it had mapped, which the system takes back when it wants them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import LlamaConfig

import minisift
from minisift.models.source import resolve
from minisift.models.tokenizer import load_tokenizer
from minisift.prompting.renderer import Renderer
from minisift.prompting.task import make_task
from minisift.prompting.template import plain_template
from minisift.publish.description import describe

RANK = 16
EXPORT = """
import sys, minisift
minisift.load(sys.argv[1]).export(sys.argv[2], quantization=sys.argv[3], verify=False)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--quantization", default="q8_0")
    given = parser.parse_args()
    base, adapter = given.folder / f"base-{given.layers}", given.folder / f"ner-{given.layers}"
    if not adapter.is_dir():
        print(f"building {base}")
        build(base, adapter, given.layers)
    path = given.folder / "ner.gguf"
    started = time.monotonic()
    command = [sys.executable, "-c", EXPORT, str(adapter), str(path), given.quantization]
    process = subprocess.Popen(command)
    allocated = mapped = 0
    while process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text()
        sizes = dict(line.split(":", 1) for line in status.splitlines())
        allocated = max(allocated, int(sizes.get("RssAnon", "0 kB").split()[0]))
        mapped = max(mapped, int(sizes.get("VmHWM", "0 kB").split()[0]))
        time.sleep(0.05)
    if process.returncode:
        sys.exit(process.returncode)
    print(
        f"{sum(f.stat().st_size for f in base.iterdir()) / 1e9:.1f} GB of weights -> "
        f"{path.stat().st_size / 1e9:.1f} GB {given.quantization} in "
        f"{time.monotonic() - started:.0f} s; peak memory {allocated / 1e6:.2f} GB, with mapped "
        f"files {mapped / 1e6:.2f} GB"
    )


def build(base: Path, adapter: Path, layers: int) -> None:
    """A model of Llama 2 7B's shape with SmolLM2's tokenizer, and a labeler's adapter for it."""
    config = LlamaConfig(num_hidden_layers=layers, vocab_size=49152, bos_token_id=1, eos_token_id=2)
    config.dtype = "bfloat16"
    config.architectures = ["LlamaForCausalLM"]
    config.save_pretrained(base)
    tokenizer = load_tokenizer(resolve("smollm2-135m").weights)
    tokenizer.hf.save_pretrained(base)
    wide, hidden = config.hidden_size, config.intermediate_size
    shapes = {f"self_attn.{name}_proj": (wide, wide) for name in "qkvo"}
    shapes |= {"mlp.gate_proj": (hidden, wide), "mlp.up_proj": (hidden, wide)}
    shapes["mlp.down_proj"] = (wide, hidden)
    places, halves = {}, {}

    def write(file: str, tensors: dict[str, tuple[int, ...]]) -> None:
        made = {
            name: torch.randn(shape, dtype=torch.bfloat16) * 0.02 for name, shape in tensors.items()
        }
        save_file(made, base / file, {"format": "pt"})
        places.update(dict.fromkeys(tensors, file))

    for number in range(layers):
        layer = f"model.layers.{number}"
        tensors = {f"{layer}.{name}.weight": shape for name, shape in shapes.items()}
        norms = [f"{layer}.{name}_layernorm.weight" for name in ("input", "post_attention")]
        write(f"layer-{number}.safetensors", {**tensors, **dict.fromkeys(norms, (wide,))})
        for name, (rows, columns) in shapes.items():
            place = f"base_model.model.{layer}.{name}"
            halves[f"{place}.lora_A.weight"] = torch.randn(RANK, columns) * 0.01
            halves[f"{place}.lora_B.weight"] = torch.randn(rows, RANK) * 0.01
    vocabulary = (config.vocab_size, wide)
    write(
        "ends.safetensors",
        {
            "model.embed_tokens.weight": vocabulary,
            "lm_head.weight": vocabulary,
            "model.norm.weight": (wide,),
        },
    )
    index = {"metadata": {}, "weight_map": places}
    (base / "model.safetensors.index.json").write_text(json.dumps(index))

    examples = minisift.read("minisift/sample/train.jsonl")
    renderer = Renderer(make_task(examples), plain_template(), tokenizer)
    source = resolve(base)
    rendered = [renderer.render(example) for example in examples]
    described = {"model": source.name, "fingerprint": source.fingerprint, "quantize": "nf4"}
    description = describe(renderer, rendered, rendered[:3], described, {})
    adapter.mkdir()
    save_file(halves, adapter / "adapter_model.safetensors")
    (adapter / "adapter_config.json").write_text(json.dumps({"r": RANK, "lora_alpha": 2 * RANK}))
    (adapter / "labeler.json").write_text(description.to_json())


if __name__ == "__main__":
    main()
