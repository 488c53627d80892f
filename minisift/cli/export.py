"""`minisift export`: write a labeler as one file."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import Any

from minisift.cli.reading import load
from minisift.labeler import FORMATS


def add(commands: Any) -> None:
    """Adds the arguments of `Labeler.export` as flags; their defaults are its own."""
    parser = commands.add_parser(
        "export", help="write a labeler as one GGUF file", argument_default=argparse.SUPPRESS
    )
    parser.set_defaults(run=run)
    parser.add_argument("labeler", help="adapter folder; for a kit, a GGUF file")
    parser.add_argument("path", help="file or folder to write")
    parser.add_argument(
        "--format",
        choices=FORMATS,
        help="one file (the default); the adapter alone as GGUF; a merged Hugging Face folder; a "
        "kit for other programs than minisift",
    )
    parser.add_argument(
        "--quantization",
        help="q8_0 by default; f16, q4_0, q4_k_m, ...; auto for the smallest that keeps F1",
    )
    parser.add_argument("--verify-on", help="labelled file whose sentences are compared")
    parser.add_argument(
        "--no-verify", dest="verify", action="store_false", help="neither compare nor balance"
    )
    parser.add_argument(
        "--tolerance", type=float, help="points of F1 to lose at most; 0.5 if not given"
    )
    parser.add_argument(
        "--merge-into",
        choices=("quantized", "original"),
        help="the weights of the training (the default), or those before their quantization",
    )
    parser.add_argument("--converter", help="llama.cpp's convert_hf_to_gguf.py, to use it instead")


def run(given: argparse.Namespace) -> None:
    shared = ("run", "labeler", "path", "json")
    options = {name: value for name, value in vars(given).items() if name not in shared}
    report = load(given.labeler).export(given.path, **options)
    print(json.dumps(report, ensure_ascii=False) if given.json else _summary(report))


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
