"""Where a model comes from: a bundled name, a hub id, a folder, a GGUF file."""

from __future__ import annotations

import hashlib
import logging
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from minisift.files import cache_folder, whole
from minisift.models.bundled import BUNDLED
from minisift.models.tokenizer import restore_pre_tokenizer
from minisift.progress import quietly

logger = logging.getLogger(__name__)

_CONVERSION = 2
"""Raised when `_convert` changes, so that older converted copies are left alone."""


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

    def described(self, quantized: str | None) -> dict[str, Any]:
        """What a labeler's description tells of it. quantized: what its weights became."""
        return {"model": self.name, "fingerprint": self.fingerprint, "quantize": quantized}


def resolve(model: str | os.PathLike[str]) -> Source:
    """The source of a bundled name, a hub id, a folder or a `.gguf` file. Loads nothing."""
    name = os.fspath(model)
    if name in BUNDLED:
        return Source(name, BUNDLED[name].find())
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
