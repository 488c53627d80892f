"""`minisift prompt`: a labeler of a few labelled sentences, without training."""

from __future__ import annotations

from typing import Literal

import minisift
from minisift.cli import flags
from minisift.cli.reading import ReadingFlags, read
from minisift.cli.training import Task, TaskFlags, tell_of
from minisift.prompting.template import TemplateKind


def prompt(
    model: flags.Model,
    train: flags.Data,
    /,
    *,
    output_dir: str,
    shots: int | None = None,
    template: TemplateKind = "plain",
    quantize: Literal["nf4"] | None = None,
    seed: int = 0,
    errors: flags.Errors = False,
    json: flags.Json = False,
    task: TaskFlags = None,
    reading: ReadingFlags = None,
) -> None:
    """Make a labeler of a few labelled sentences, without training.

    Example: `minisift prompt gemma-3-270m first.jsonl --output-dir first`

    Parameters
    ----------
    output_dir
        Where to write the labeler's folder.
    shots
        Sentences to show; as many as 1,024 tokens hold by default.
    template
        "plain" text, or "chat".
    quantize
        "nf4" for 4-bit weights.
    seed
        Of which sentences are shown.
    """
    labeler = minisift.prompt(
        model,
        read(reading, train),
        output_dir=output_dir,
        shots=shots,
        template=template,
        quantize=quantize,
        seed=seed,
        **(task or Task()).arguments(),
    )
    shown = f"shows {labeler.description.made['shots']} sentences"
    told = f"{output_dir}: {', '.join(labeler.labels)}; {shown}"
    tell_of(labeler, output_dir, told, errors, json)
