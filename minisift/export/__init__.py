"""One GGUF file from a labeler: merge, convert, quantize, verify."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from minisift.description import Description
from minisift.export.balance import UNCHANGED
from minisift.export.convert import balance_for, check_base, write_gguf
from minisift.export.quantize import file_type, is_quantized, quantize
from minisift.files import whole
from minisift.models import resolve

logger = logging.getLogger(__name__)


def export_gguf(
    model: Any,
    description: Description,
    path: Path,
    quantization: str,
    prompts: Sequence[Sequence[int]],
    verify: Callable[[Path], dict[str, Any]],
) -> dict[str, Any]:
    """Write a transformers model and its labeler's description to `path`, if `verify` passes.

    prompts: token ids as the model will read them, for quantizing to lose less.
    `verify` gets the finished file under another name and returns what it found, which is
    returned with the file's path, quantization and size; if it raises, no file is left.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{path}: a folder; fix: give a file name such as ner.gguf")
    wanted = file_type(quantization)
    base = check_base(resolve(description.base["model"]))
    with whole(path) as draft, tempfile.TemporaryDirectory(dir=draft.parent) as scratch:
        logger.info("Merging the adapter and writing %s as %s.", path.name, quantization)
        merged = Path(scratch) / "merged.gguf"
        change = balance_for(model, base, prompts) if is_quantized(wanted) else UNCHANGED
        write_gguf(model, base, description, merged, change)
        quantize(merged, draft, wanted)
        merged.unlink()
        size = draft.stat().st_size
        found = verify(draft)
    return {"path": str(path), "quantization": quantization, "bytes": size, **found}
