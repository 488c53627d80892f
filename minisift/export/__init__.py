"""One GGUF file from a labeler: merge, convert, quantize, verify."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minisift.data import Example
from minisift.export.convert import check_base, write_gguf
from minisift.export.quantize import file_type, quantize
from minisift.export.verify import compare
from minisift.files import whole
from minisift.models import resolve

if TYPE_CHECKING:
    from minisift.labeler import Labeler

logger = logging.getLogger(__name__)


def export_gguf(
    labeler: Labeler, model: Any, path: Path, quantization: str, texts: Sequence[Example]
) -> dict[str, Any]:
    """Write `labeler` with its transformers `model` to `path`; see `Labeler.export`."""
    if path.is_dir():
        raise IsADirectoryError(f"{path}: a folder; fix: give a file name such as ner.gguf")
    wanted = file_type(quantization)
    base = check_base(resolve(labeler.description.base["model"]))
    with whole(path) as draft, tempfile.TemporaryDirectory(dir=draft.parent) as scratch:
        logger.info("Merging the adapter and writing %s as %s.", path.name, quantization)
        merged = Path(scratch) / "merged.gguf"
        write_gguf(model, base, labeler.description, merged)
        quantize(merged, draft, wanted)
        merged.unlink()
        report = compare(labeler, draft, texts)
        report = {"path": str(path), "quantization": quantization, **report}
    logger.info(
        "%s: %.0f MB, the same spans on %d of %d texts.",
        path,
        report["bytes"] / 1e6,
        report["same_spans"],
        report["texts"],
    )
    return report
