"""`prompt`: a labeler by in-context learning alone."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from minisift.data.reading import as_examples
from minisift.decoding.protocols import Engine
from minisift.fitting.judges import left_out
from minisift.fitting.start import Start, adapter_of, digest_of
from minisift.labeler import Labeler
from minisift.prompting.demonstrations import as_many, for_labelling, tell_of_fewer
from minisift.prompting.renderer import Renderer
from minisift.prompting.task import make_task
from minisift.prompting.template import TemplateKind
from minisift.publish.description import describe
from minisift.publish.folder import Weights, check_folder
from minisift.training.settings import Settings

if TYPE_CHECKING:
    from minisift.models.source import Source

_PROMPT = 1024
"""Tokens that demonstrations fill where their number is not given: the longest prompts that the adapters
which minisift brings were trained on."""


def prompt(
    model: str | os.PathLike[str],
    train_set: Any,
    *,
    shots: int | None = None,
    output_dir: str | os.PathLike[str] | None = None,
    names: Mapping[str, str] | None = None,
    descriptions: Mapping[str, str] | None = None,
    instruction: str | bool | None = True,
    template: TemplateKind = "plain",
    quantize: Literal["nf4"] | None = None,
    start: Start = "warm",
    seed: int = 0,
) -> Labeler:
    """A labeler by in-context learning alone: demonstrations in the prompt, no training.

    shots: demonstrations; None for as many as 1,024 tokens hold. 0 is zero-shot; `train_set` then serves for
    the labels alone. Sentences that are not shown, or shown ones with themselves left out, calibrate the
    scores, and F1 on them travels with the labeler. output_dir: where to write the labeler's folder. The
    instruction is the standard one unless given or turned off (see `task.make_task`). start: what reads
    the demonstrations, as in `fit`. A `.gguf` model without a start or `quantize` labels under llama.cpp, any
    other under transformers, which needs `pip install 'minisift[train]'`, as saving and exporting do.
    """
    Settings(shots=shots or 0, template=template, quantize=quantize, seed=seed)  # refuses bad ones
    if output_dir is not None:
        check_folder(output_dir)
    examples = as_examples(train_set)
    task = make_task(examples, names=names, descriptions=descriptions, instruction=instruction)

    from minisift.models.source import resolve
    from minisift.models.tokenizer import make_template

    source = resolve(model)
    with tempfile.TemporaryDirectory() as scratch:
        adapter = adapter_of(start, source, Path(scratch))
        begun = digest_of(adapter)
        engine: Engine
        runs_as_it_is = adapter is None and template == "plain" and quantize is None
        if runs_as_it_is and os.fspath(model).endswith(".gguf"):
            from minisift.engines.llamacpp.scheduler import LlamaCppEngine

            engine = LlamaCppEngine(source.name)
            weights = Weights(cache(partial(_load, source)))
        else:
            from minisift.engines.transformers import TransformersEngine
            from minisift.models.loading import load_ready, longest_input
            from minisift.models.tokenizer import load_tokenizer

            network, quantize = load_ready(source, quantize, adapter)
            weights = Weights(lambda: network)
            tokenizer = load_tokenizer(source.weights)
            engine = TransformersEngine(weights.model, tokenizer, longest_input(source))
    shape = make_template(template, engine.tokenizer, task.instruction)
    renderer = Renderer(task, shape, engine.tokenizer)
    rendered = [renderer.render(example) for example in examples]
    room = engine.context // 2
    if shots is None:
        shown = as_many(renderer, rendered, seed, min(_PROMPT, room))
    else:
        shown = for_labelling(renderer, rendered, shots, seed, room)
        tell_of_fewer(shown, shots, room)
    made = {"shots": len(shown), "seed": seed, "start": begun}
    description = describe(renderer, rendered, shown, source.described(quantize), made)
    labeler = Labeler(description, engine, weights)
    if sample := left_out(renderer, rendered, shown, seed):
        labeler.report = labeler.calibrate(sample)
        scores = {"dev": labeler.report.to_dict()}
        labeler.description = labeler.description.with_made(scores=scores)
    if output_dir is not None:
        labeler.save(output_dir)
    return labeler


def _load(source: Source) -> Any:
    """A base model as it is, to be saved or exported with its demonstrations."""
    from minisift.models.loading import load_ready

    return load_ready(source, None, None)[0]
