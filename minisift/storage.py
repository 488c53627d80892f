"""Labelers on disk and on a hub: load, save, upload."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minisift import hub
from minisift.card import CURVE, card
from minisift.description import FILE, KEY, Description, DescriptionError
from minisift.files import whole

if TYPE_CHECKING:
    from minisift.labeler import Labeler

_CONFIG = "adapter_config.json"
_WEIGHTS = "adapter_model.safetensors"


def load(
    path: str | os.PathLike[str],
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    endpoint: str | None = None,
    **options: Any,
) -> Labeler:
    """A labeler from a GGUF file (llama.cpp, without torch) or an adapter folder (transformers).

    path: of the file or folder; or, as a string "owner/name" where no file lies, the name of a
    repository on a hub, which `Labeler.push_to_hub` filled. huggingface_hub downloads it into its
    cache, from which it loads without a network as well. revision: a branch, tag or commit of the
    repository; token: for a private one; endpoint: the hub's address, by default that of
    huggingface_hub.

    options for a GGUF file: context, threads, sequences, n_gpu_layers; and, for the GGUF file of a
    base model, adapter: a LoRA adapter that `Labeler.export` wrote, or the repository that holds
    it. For a folder: batch_size, and base, where the base model lies now; its weights are loaded
    when they are first needed. Needs no network for bundled and local base models.

    Raises DescriptionError for a file of another version, a changed base model or a damaged
    description; FileNotFoundError for what is neither here nor on the hub.
    """
    given = options.get("adapter") or path
    found = hub.local(given, (FILE, _CONFIG, _WEIGHTS), revision, token, endpoint)
    if given is path:
        loader: Callable[..., Labeler] = _load_folder if found.is_dir() else _load_gguf
        return loader(found, **options)
    if found.is_dir():
        raise ValueError(
            f"adapter={os.fspath(given)!r}: a folder, which holds no adapter for llama.cpp; fix: "
            "load it without a base model, or give the file that export(format='lora') wrote"
        )
    return _load_gguf(Path(path), **{**options, "adapter": found})


def _load_gguf(path: Path, **options: Any) -> Labeler:
    from minisift.engines.llamacpp import LlamaCppEngine

    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(LlamaCppEngine, path, **options)
        # imports numpy, which takes half as long as llama.cpp takes to load a small model
        from minisift.labeler import Labeler

        engine = loading.result()
    text = engine.metadata(KEY)
    if text is None:
        raise DescriptionError(
            f"{options.get('adapter', path)}: a GGUF file, but not a minisift labeler (no {KEY}); "
            "fix: make one with Labeler.export, or use minisift.prompt"
        )
    return Labeler(Description.from_json(text, str(path)), engine)


def _load_folder(folder: Path, base: str | None = None, **options: Any) -> Labeler:
    if not (folder / FILE).is_file():
        raise FileNotFoundError(
            f"{folder}: holds no {FILE}; fix: give a folder made by fit or save"
        )
    description = Description.from_json(
        (folder / FILE).read_text(encoding="utf-8"), str(folder / FILE)
    )
    missing = [name for name in (_CONFIG, _WEIGHTS) if not (folder / name).is_file()]
    if missing and "training" in description.made:
        raise FileNotFoundError(
            f"{folder}: a trained labeler without its {' and '.join(missing)}; fix: give the whole "
            "folder that fit or save made"
        )
    from minisift import models
    from minisift.engines.transformers import TransformersEngine
    from minisift.labeler import Labeler
    from minisift.tokenizer import load_tokenizer

    made_on = description.base
    source = models.resolve(base or made_on["model"])
    if source.fingerprint != made_on["fingerprint"] and not source.fingerprint.startswith("hub:"):
        raise DescriptionError(
            f"{folder}: made on {made_on['model']} with fingerprint {made_on['fingerprint'][:20]}, "
            f"{source.name} has {source.fingerprint[:20]}; fix: install that base model, or say "
            "where it is with base="
        )

    @cache
    def model() -> Any:
        network, _ = models.load_base(source, made_on["quantize"])
        if (folder / _CONFIG).is_file():
            network = models.load_adapter(network, folder)
        return models.settle(network)

    description = replace(description, base={**made_on, "model": source.name})
    tokenizer = load_tokenizer(source.weights)
    engine = TransformersEngine(model, tokenizer, models.longest_input(source), **options)
    return Labeler(description, engine, model, folder)


def save(labeler: Labeler, folder: Path, repository: str | None = None) -> None:
    """See `Labeler.save`. repository: where the folder goes, for its model card."""
    check_folder(folder)
    with whole(folder) as draft:
        draft.mkdir()
        adapter = adapter_folder(labeler, draft)
        if adapter is not None and adapter != draft:
            for name in (_CONFIG, _WEIGHTS):
                shutil.copy(adapter / name, draft / name)
        (draft / FILE).write_text(labeler.description.to_json(), encoding="utf-8")
        training = labeler.description.made.get("training", {})
        is_drawn = False
        if curve := training.get("curve"):
            from minisift.curve import draw

            is_drawn = draw(curve, training.get("kept"), draft / CURVE)
        text = card(labeler.description, repository=repository, has_curve=is_drawn)
        (draft / "README.md").write_text(text, encoding="utf-8")


def adapter_folder(labeler: Labeler, scratch: Path) -> Path | None:
    """Where a labeler's adapter lies, if it has one; if it was never saved, written to `scratch`."""
    if labeler.folder is not None:
        return labeler.folder if (labeler.folder / _CONFIG).is_file() else None
    if not hasattr(labeler.model(), "peft_config"):
        return None
    labeler.model().save_pretrained(scratch)
    # peft names a folder of this machine
    config = json.loads((scratch / _CONFIG).read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = labeler.description.base["model"]
    (scratch / _CONFIG).write_text(json.dumps(config, indent=2), encoding="utf-8")
    return scratch


def upload(labeler: Labeler, repo_id: str, private: bool, **options: Any) -> str:
    """See `Labeler.push_to_hub`."""
    try:
        from huggingface_hub import HfApi
    except ImportError:
        raise ImportError(
            "huggingface_hub is not installed; fix: pip install huggingface_hub"
        ) from None
    api = HfApi(**options)
    address = str(api.create_repo(repo_id, private=private, exist_ok=True))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "labeler"
        if labeler.engine.files:
            folder.mkdir()
            files = [file.name for file in labeler.engine.files]
            # of an adapter on a base model, the adapter
            (folder / files[-1]).symlink_to(labeler.engine.files[-1].resolve())
            text = card(labeler.description, files, labeler.verification(), repo_id)
            (folder / "README.md").write_text(text, encoding="utf-8")
        else:
            save(labeler, folder, repo_id)
        api.upload_folder(repo_id=repo_id, folder_path=folder)
    return address


def check_folder(folder: str | os.PathLike[str]) -> None:
    """Raises FileExistsError if saving a labeler there would replace anything but a labeler."""
    path = Path(folder)
    if path.is_dir() and any(path.iterdir()) and not (path / FILE).is_file():
        raise FileExistsError(f"{path}: holds something else; fix: give a new or empty folder")
    if path.exists() and not path.is_dir():
        raise FileExistsError(f"{path}: is a file; fix: give a new or empty folder")


def versions() -> dict[str, str]:
    """Versions of the libraries that shape a labeler."""
    from importlib import metadata  # ten milliseconds that loading a labeler does without

    found = {}
    for name in ("minisift", "torch", "transformers", "peft", "bitsandbytes", "llama-cpp-python"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
