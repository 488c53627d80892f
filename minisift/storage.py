"""`load`: a labeler from a GGUF file, an adapter folder, or a repository on a hub."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minisift.exceptions import DescriptionError
from minisift.publish import hub
from minisift.publish.description import FILE, KEY, Description, description_of
from minisift.publish.folder import CONFIG, WEIGHTS, Weights

if TYPE_CHECKING:
    from minisift.labeler import Labeler


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

    options for a GGUF file: context, threads, sequences, n_gpu_layers; native: "off" to use nothing of
    llama.cpp but what llama-cpp-python declares, which is slower ("auto": also what is seen to give
    llama.cpp's own answers here); and, for the GGUF file of a base model, adapter: a LoRA adapter
    that `Labeler.export` wrote, or the repository that holds it. For a folder: batch_size, and base,
    where the base model lies now; its weights are loaded when they are first needed. Needs no network
    for bundled and local base models.

    Raises DescriptionError for a file of another version, a changed base model or a damaged
    description; FileNotFoundError for what is neither here nor on the hub.
    """
    given = options.get("adapter") or path
    found = hub.local(given, (FILE, CONFIG, WEIGHTS), revision, token, endpoint)
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
    from minisift.engines.llamacpp.scheduler import LlamaCppEngine

    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(LlamaCppEngine, path, **options)
        # imports numpy, which takes half as long as llama.cpp takes to load a small model
        from minisift.labeler import Labeler

        engine = loading.result()
    description = description_of(engine, path)
    if description is None:
        raise DescriptionError(
            f"{options.get('adapter', path)}: a GGUF file, but not a minisift labeler (no {KEY}); "
            "fix: make one with Labeler.export, or use minisift.prompt"
        )
    return Labeler(description, engine)


def _load_folder(folder: Path, base: str | None = None, **options: Any) -> Labeler:
    if not (folder / FILE).is_file():
        raise FileNotFoundError(
            f"{folder}: holds no {FILE}; fix: give a folder made by fit or save"
        )
    description = Description.from_json(
        (folder / FILE).read_text(encoding="utf-8"), str(folder / FILE)
    )
    missing = [name for name in (CONFIG, WEIGHTS) if not (folder / name).is_file()]
    made = description.made
    if missing and ("training" in made or made.get("start")):
        raise FileNotFoundError(
            f"{folder}: a labeler without its {' and '.join(missing)}; fix: give the whole "
            "folder that fit or save made"
        )
    from minisift.engines.transformers import TransformersEngine
    from minisift.labeler import Labeler
    from minisift.models.loading import load_ready, longest_input
    from minisift.models.source import resolve
    from minisift.models.tokenizer import load_tokenizer

    made_on = description.base
    source = resolve(base or made_on["model"])
    if source.fingerprint != made_on["fingerprint"] and not source.fingerprint.startswith("hub:"):
        raise DescriptionError(
            f"{folder}: made on {made_on['model']} with fingerprint {made_on['fingerprint'][:20]}, "
            f"{source.name} has {source.fingerprint[:20]}; fix: install that base model, or say "
            "where it is with base="
        )

    @cache
    def model() -> Any:
        adapter = folder if (folder / CONFIG).is_file() else None
        return load_ready(source, made_on["quantize"], adapter)[0]

    description = replace(description, base={**made_on, "model": source.name})
    tokenizer = load_tokenizer(source.weights)
    engine = TransformersEngine(model, tokenizer, longest_input(source), **options)
    return Labeler(description, engine, Weights(model, folder))
