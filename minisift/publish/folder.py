"""The adapter folder: a labeler as files."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minisift.files import whole
from minisift.publish.card import CURVE, card
from minisift.publish.curve import draw
from minisift.publish.description import FILE, Description

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"


@dataclass(frozen=True)
class Weights:
    """The weights of a labeler: a model of transformers, and where its adapter was saved.

    model: gives the model, its adapter included, when it is needed. folder: None for an adapter
    that lies in memory alone.
    """

    model: Callable[[], Any]
    folder: Path | None = None

    def adapter(self, base: str, scratch: Path) -> Path | None:
        """The folder that an adapter lies in, if there is one; if it was never saved, `scratch`.

        base: the name of the model that it is for.
        """
        if self.folder is not None:
            return self.folder if (self.folder / CONFIG).is_file() else None
        model = self.model()
        if not hasattr(model, "peft_config"):
            return None
        # or peft would ask a hub whether the vocabulary has grown
        model.save_pretrained(scratch, save_embedding_layers=False)
        # peft names a folder of this machine
        config = json.loads((scratch / CONFIG).read_text(encoding="utf-8"))
        config["base_model_name_or_path"] = base
        (scratch / CONFIG).write_text(json.dumps(config, indent=2), encoding="utf-8")
        return scratch


def save(
    description: Description,
    weights: Weights,
    folder: Path,
    repository: str | None = None,
) -> None:
    """Write LoRA weights, if any, labeler.json, the learning curve and a model card.

    repository: where the folder goes, for the card. It appears whole or not at all.
    """
    check_folder(folder)
    with whole(folder) as draft:
        draft.mkdir()
        adapter = weights.adapter(description.base["model"], draft)
        if adapter is not None and adapter != draft:
            for name in (CONFIG, WEIGHTS):
                shutil.copy(adapter / name, draft / name)
        (draft / FILE).write_text(description.to_json(), encoding="utf-8")
        training = description.made.get("training", {})
        curve = training.get("curve")
        is_drawn = bool(curve) and draw(curve, training.get("kept"), draft / CURVE)
        text = card(description, repository=repository, has_curve=is_drawn)
        (draft / "README.md").write_text(text, encoding="utf-8")


def link(files: Sequence[Path], text: str, folder: Path) -> None:
    """Make a folder of a GGUF file, or of an adapter's beside its base model's, and a model card."""
    folder.mkdir()
    (folder / files[-1].name).symlink_to(files[-1].resolve())
    (folder / "README.md").write_text(text, encoding="utf-8")


def check_folder(folder: str | os.PathLike[str]) -> None:
    """Raises OSError if a labeler could not be saved there, or would replace anything but a labeler."""
    path = Path(folder)
    there = next(parent for parent in path.absolute().parents if parent.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise OSError(f"{path}: {there} is no folder to write to; fix: give another output_dir")
    if path.is_dir() and any(path.iterdir()) and not (path / FILE).is_file():
        raise FileExistsError(f"{path}: holds something else; fix: give a new or empty folder")
    if path.exists() and not path.is_dir():
        raise FileExistsError(f"{path}: is a file; fix: give a new or empty folder")
