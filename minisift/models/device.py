"""Where models run, and what can be had there."""

from __future__ import annotations

import logging
import os
from typing import Any, Literal

from minisift.progress import quietly

logger = logging.getLogger(__name__)

Quantization = Literal["nf4"]


def default_device() -> str:
    """Where models run: "cuda", "mps" or "cpu"."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def device_name() -> str:
    """The graphics card's name, or the kind of device."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else default_device()


def precision(where: str) -> Any:
    """The dtype that a device trains in: bf16, on a CPU without arithmetic for it float32.

    A CPU that has to emulate bf16 takes ten times as long with it, and more.
    """
    import torch

    if where != "cpu":
        return torch.bfloat16
    # before torch 2.11 nobody tells
    able: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    has_bf16 = any(has for name, has in able.items() if name.endswith("bf16"))
    return torch.bfloat16 if has_bf16 else torch.float32


def place() -> str:
    """The device of this process: of several GPUs the one that the launcher meant for it."""
    where = default_device()
    return f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if where == "cuda" else where


def why_not_nf4() -> str:
    """Why bitsandbytes can't quantize to NF4 here; empty if it can."""
    try:
        import bitsandbytes.functional as bnb
    except ImportError as error:
        return f"bitsandbytes cannot be imported ({error})"
    import torch

    where = default_device()
    if where == "mps":
        return "bitsandbytes has no NF4 for Apple GPUs"
    try:
        weights = torch.ones(64, 64, dtype=torch.bfloat16, device=where)
        packed, state = bnb.quantize_4bit(weights, quant_type="nf4", compress_statistics=True)
        bnb.dequantize_4bit(packed, state)
    except (RuntimeError, NotImplementedError, AttributeError) as error:
        return f"bitsandbytes fails on this {where} ({error})"
    return ""


def usable(quantize: Quantization | None) -> Quantization | None:
    """The quantization that can be had here: without bitsandbytes bf16, with a notice why."""
    if quantize not in ("nf4", None):
        raise ValueError(f"quantize={quantize!r}; fix: 'nf4' or None")
    with quietly():
        reason = why_not_nf4() if quantize else ""
    if reason:
        logger.warning("Weights stay in bf16 instead of 4 bits: %s.", reason)
        return None
    return quantize
