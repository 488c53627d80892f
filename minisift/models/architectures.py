"""Facts of model families under llama.cpp, without torch: what engines and exports have to know."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Architecture:
    """One model type of transformers in llama.cpp.

    gguf: its name there. plain_head: its logits are nothing but the product of hidden states and
    head, unless metadata says otherwise. sliding: llama.cpp knows its sliding windows. own_head: it
    wants an output head even where that is the embeddings' copy.
    """

    gguf: str
    plain_head: bool = True
    sliding: bool = False
    own_head: bool = False


ARCHITECTURES = {
    "llama": Architecture("llama"),
    "mistral": Architecture("llama"),
    "smollm3": Architecture("smollm3"),
    "granite": Architecture("granite", plain_head=False),
    "qwen2": Architecture("qwen2"),
    "qwen3": Architecture("qwen3"),
    "gemma2": Architecture("gemma2", plain_head=False, sliding=True),
    "gemma3_text": Architecture("gemma3", sliding=True),
    "phi3": Architecture("phi3"),
    "olmo2": Architecture("olmo2", own_head=True),
    "stablelm": Architecture("stablelm", own_head=True),
}
"""By `model_type` of the transformers configuration. The facts come from llama.cpp's model files."""
