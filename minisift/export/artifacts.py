"""A labeler as a file: one GGUF, a LoRA adapter as GGUF, or a merged Hugging Face folder."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minisift.data.examples import Example
from minisift.export.convert import Converter, check_base, rounding
from minisift.export.folder import convert_by_script, write_folder
from minisift.export.merge import MergeInto
from minisift.export.quantize import AUTO, file_type, is_quantized, quantize
from minisift.export.subject import Subject
from minisift.export.verify import RESERVED, Check, Verification, keep
from minisift.export.writing import copy_with, write_gguf
from minisift.files import whole
from minisift.models.source import Source
from minisift.publish.description import FILE, KEY
from minisift.publish.folder import check_folder

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Export:
    """How a labeler becomes a GGUF file; see `Labeler.export`."""

    quantization: str
    verify: bool
    tolerance: float
    merge_into: MergeInto
    converter: Path | None
    examples: Sequence[Example]

    def __post_init__(self) -> None:
        if self.quantization != "auto":
            file_type(self.quantization)
        elif not self.verify or not any(example.spans for example in self.examples):
            raise ValueError(
                "quantization='auto' compares scores; fix: give labelled examples as verify_on"
            )
        if self.merge_into not in ("quantized", "original"):
            raise ValueError(f"merge_into={self.merge_into!r}; fix: 'quantized' or 'original'")
        if self.converter is not None and not self.converter.is_file():
            raise FileNotFoundError(
                f"converter {self.converter}: no such file; fix: the path of llama.cpp's "
                "convert_hf_to_gguf.py"
            )


def export_gguf(subject: Subject, path: Path, how: Export) -> dict[str, Any]:
    """Merge, convert, quantize, verify. The file appears only if it answers as the labeler does."""
    if path.is_dir():
        raise IsADirectoryError(f"{path}: a folder; fix: give a file name such as ner.gguf")
    source = subject.source
    if how.converter is None:
        check_base(source)
    with whole(path) as draft, tempfile.TemporaryDirectory(dir=draft.parent) as scratch:
        logger.info("Merging the adapter and writing %s as %s.", path.name, how.quantization)
        check = Check(subject, how.examples, how.tolerance) if how.verify else None
        merged, for_q4_0 = _merge(subject, source, how, Path(scratch), check)
        found = check.logits(merged) if check else {}
        if check and how.merge_into == "quantized":
            check.refuse_logits(found)
        kinds = AUTO if how.quantization == "auto" else (how.quantization,)
        tried: list[Verification] = []
        for kind in kinds:
            ready = for_q4_0 if kind.lower() == "q4_0" else merged
            quantize(ready, draft, file_type(kind))
            if check is None:
                break
            found |= check.weights(draft, merged)
            tried.append(check.answers(draft, kind))
            if len(kinds) == 1:
                check.refuse(tried[-1])
            if tried[-1].lost <= how.tolerance:
                break
        report: dict[str, Any] = {"path": str(path), "quantization": kind}
        report["bytes"] = draft.stat().st_size
        if check:
            report |= {**tried[-1].to_dict(), **found, "tried": [one.row() for one in tried]}
            keep(draft, report)
    return report


def _merge(
    subject: Subject, source: Source, how: Export, scratch: Path, check: Check | None
) -> tuple[Path, Path]:
    """The merged model, its description inside: in F16, or as exact as what is asked for.

    And the file to make Q4_0 from, which may be another.
    """
    merged = scratch / "merged.gguf"
    adapter = subject.adapter(scratch / "adapter")
    is_nf4 = subject.is_nf4(how.merge_into)
    metadata = {KEY: subject.description.to_json(), **RESERVED}
    if how.converter is not None:
        plain = scratch / "plain.gguf"
        write_folder(source, adapter, is_nf4, scratch / "folder", "float32")
        convert_by_script(how.converter, scratch / "folder", plain)
        copy_with(plain, merged, metadata)
        return merged, merged
    converter = Converter(source, adapter, is_nf4)
    kind = how.quantization.lower()
    if check is None or (kind != "auto" and not is_quantized(file_type(kind))):
        converter.write(merged, metadata, full=kind in ("f32", "bf16"))
        return merged, merged
    heard = converter.hear(subject.weights.model(), check.texts())
    change = converter.find_balance(heard)
    converter.write(merged, metadata, change)
    if kind not in ("auto", "q4_0"):
        return merged, merged
    for_q4_0 = scratch / "rounded.gguf"
    converter.write(for_q4_0, metadata, rounding(change, heard))
    return merged, for_q4_0


def export_lora(subject: Subject, path: Path) -> dict[str, Any]:
    """The adapter alone, for llama.cpp to load on top of the base model's GGUF file."""
    with whole(path) as draft, tempfile.TemporaryDirectory(dir=draft.parent) as scratch:
        source = subject.source
        adapter = subject.adapter(Path(scratch) / "adapter")
        if adapter is None:
            raise ValueError("this labeler has no adapter; fix: use its base model's GGUF file")
        converter = Converter(source, adapter, False)
        alpha, tensors = converter.lora(adapter)
        metadata = {
            "general.type": "adapter",
            "adapter.type": "lora",
            "adapter.lora.alpha": alpha,
            KEY: subject.description.to_json(),
        }
        write_gguf(draft, converter.family.arch, metadata, tensors)
        return {"path": str(path), "bytes": draft.stat().st_size}


def export_folder(subject: Subject, path: Path, how: Export) -> dict[str, Any]:
    """The merged model as a Hugging Face folder in bf16, with labeler.json."""
    check_folder(path)
    source = subject.source
    is_nf4 = subject.is_nf4(how.merge_into)
    with whole(path) as draft, tempfile.TemporaryDirectory(dir=draft.parent) as scratch:
        adapter = subject.adapter(Path(scratch) / "adapter")
        write_folder(source, adapter, is_nf4, draft, "bfloat16")
        (draft / FILE).write_text(subject.description.to_json(), encoding="utf-8")
        size = sum(file.stat().st_size for file in draft.iterdir())
    return {"path": str(path), "bytes": size}
