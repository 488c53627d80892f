"""A folder with what other programs than minisift need to run a labeler's GGUF file."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from minisift.decoding.gbnf import gbnf_of_labels
from minisift.decoding.labelling import Predictor
from minisift.files import whole
from minisift.publish.description import FILE, Description
from minisift.publish.folder import check_folder

_HERE = Path(__file__)
_PLACES = (_HERE.parents[1] / "programs", _HERE.parents[2] / "export")
"""Where the programs lie: in an installed package, in a checkout."""


def export_kit(description: Description, predictor: Predictor, folder: Path) -> dict[str, Any]:
    """Write the kit of a labeler that was loaded from a GGUF file; the file itself stays there."""
    check_folder(folder)
    files = predictor.engine.files
    if not files:
        raise ValueError("a kit is for a GGUF file; fix: export one, load it, and export its kit")
    programs = next(place for place in _PLACES if place.is_dir())
    prompt = prompt_of(predictor, description.end_bias)
    with whole(folder) as draft:
        # what npm leaves in a checkout stays there
        shutil.copytree(programs, draft, ignore=shutil.ignore_patterns("node_modules", "*lock*"))
        (draft / FILE).write_text(description.to_json(), encoding="utf-8")
        (draft / "prompt.json").write_text(json.dumps(prompt, ensure_ascii=False), encoding="utf-8")
        (draft / "labels.gbnf").write_text(gbnf_of_labels(description.task.names))
        (draft / "prefix.txt").write_bytes(prompt["head"].encode())
        modelfile = _modelfile(prompt, files)
        (draft / "Modelfile").write_text(modelfile, encoding="utf-8")
        size = sum(file.stat().st_size for file in draft.iterdir())
    return {"path": str(folder), "bytes": size}


def prompt_of(predictor: Predictor, end_bias: float) -> dict[str, Any]:
    """What precedes and follows a text in a prompt, and how texts become tokens.

    prefix and turn: ids. head and tail: the same as text. adds_space and low_line: see
    `prompting.tokenizer.Tokenizer`. end: the token that ends an answer, from whose logit end_bias is taken.
    """
    renderer = predictor.renderer
    return {
        "names": dict(renderer.task.names),
        "prefix": list(predictor.prefix),
        "turn": renderer.turn,
        "end": predictor.vocabulary.end[0],
        "end_bias": end_bias,
        "adds_space": renderer.tokenizer.adds_space,
        "low_line": renderer.tokenizer.low_line,
        "head": renderer.prefix_text(predictor.demonstrations),
        "tail": renderer.template.turn,
    }


def _modelfile(prompt: Mapping[str, Any], files: Sequence[Path]) -> str:
    """Ollama's: the prompt as a template, whose own braces and quotes are written as strings."""

    def literal(text: str) -> str:
        parts = re.split(r'({{|""")', text)
        return "".join(f"{{{{ {json.dumps(p)} }}}}" if p in ("{{", '"""') else p for p in parts)

    kinds = zip(("FROM", "ADAPTER"), files, strict=False)
    models = "".join(f"{kind} {file.resolve()}\n" for kind, file in kinds)
    return (
        f'{models}TEMPLATE """{literal(prompt["head"])} {{{{ .Prompt }}}}'
        f'{literal(prompt["tail"])}"""\n'
        'PARAMETER temperature 0\nPARAMETER num_predict 512\nPARAMETER stop "\\n\\n"\n'
    )
