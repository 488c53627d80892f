"""`minisift export`: write a labeler as one file."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Mapping
from typing import Any, Literal

from minisift.cli import flags
from minisift.cli.reading import load
from minisift.labeler import ExportFormat


def export(
    labeler: str,
    path: str,
    /,
    *,
    format: ExportFormat = "gguf",
    quantization: str = "q8_0",
    verify_on: str | None = None,
    verify: bool = True,
    tolerance: float = 0.5,
    merge_into: Literal["quantized", "original"] = "quantized",
    converter: str | None = None,
    json: flags.Json = False,
) -> None:
    """Write a labeler as one GGUF file.

    Example: `minisift export ner ner.gguf --quantization q4_0 --verify-on dev.conll`

    Parameters
    ----------
    labeler
        Adapter folder; for a kit, a GGUF file.
    path
        File or folder to write.
    format
        One file (gguf), the adapter alone as GGUF (lora), a merged Hugging Face folder (hf), or a kit for other
        programs than minisift (kit).
    quantization
        f16, q8_0, q4_0, q4_k_m, ...; "auto" for the smallest that keeps F1.
    verify_on
        Labelled file whose sentences are compared.
    verify
        Compare with the adapter, and balance before quantizing.
    tolerance
        Points of F1 to lose at most.
    merge_into
        The weights of the training, or those before their quantization.
    converter
        llama.cpp's convert_hf_to_gguf.py, to use it instead.
    """
    report = load(labeler).export(
        path,
        format=format,
        quantization=quantization,
        verify_on=verify_on,
        verify=verify,
        tolerance=tolerance,
        merge_into=merge_into,
        converter=converter,
    )
    print(jsonlib.dumps(report, ensure_ascii=False) if json else _summary(report))


def _summary(report: Mapping[str, Any]) -> str:
    """The file's size and, if it was compared with the adapter, a row for each quantization."""
    size = f"{report['path']}: {report['bytes'] / 1e6:.0f} MB"
    if "tried" not in report:
        return size
    rows = [
        f"{row['quantization']:12}  {row['bytes'] / 1e6:4.0f}  {row['f1']:5.1f}  "
        f"{row['lost']:4.1f}  {row['same_spans']:10}  {row['rate']:7.1f}"
        for row in report["tried"]
    ]
    return "\n".join(
        [
            size,
            f"logits before quantization: {report['logit_difference']} apart at most, of "
            f"{report['largest_logit']}; tensors moved by {100 * report['weight_error']:.1f}% at most",
            f"{report['texts']} texts, F1 of the adapter {report['reference']:.1f}",
            "quantization    MB     F1  lost  same spans  texts/s",
            *rows,
        ]
    )
