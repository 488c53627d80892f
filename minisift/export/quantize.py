"""Quantizing a GGUF file by llama.cpp's own quantizer."""

from __future__ import annotations

import os
from pathlib import Path

from minisift.engines.llamacpp.model import start
from minisift.engines.llamacpp.native import llama

_TYPES = {
    name.removeprefix("LLAMA_FTYPE_").removeprefix("MOSTLY_").removeprefix("ALL_").lower(): value
    for name, value in vars(llama).items()
    if name.startswith("LLAMA_FTYPE_") and isinstance(value, int) and name != "LLAMA_FTYPE_GUESSED"
}

AUTO = ("q4_0", "q4_k_m", "q5_k_m", "q6_k", "q8_0", "f16")
"""What is tried in turn, the smallest first."""


def file_type(name: str) -> int:
    """llama.cpp's number of a quantization, by its name ("q4_k_m"). Raises ValueError."""
    if name.lower() not in _TYPES:
        raise ValueError(f"quantization={name!r}; fix: one of {', '.join(sorted(_TYPES))}")
    return int(_TYPES[name.lower()])


def is_quantized(wanted: int) -> bool:
    """Whether a file type rounds to less than 16 bits."""
    return wanted not in (_TYPES["f32"], _TYPES["f16"], _TYPES["bf16"])


def quantize(source: Path, target: Path, wanted: int) -> None:
    """Write `source`, an F16 GGUF file, as `target` in the wanted file type."""
    start()
    params = llama.llama_model_quantize_default_params()
    params.ftype = wanted
    params.nthread = os.cpu_count() or 1
    result = llama.llama_model_quantize(os.fsencode(source), os.fsencode(target), params)
    if result:
        raise RuntimeError(
            f"llama.cpp cannot quantize to file type {wanted} (code {result}); fix: another "
            "quantization (some need an importance matrix), or more room on the disk"
        )
