"""`minisift fit`: train a labeler."""

from __future__ import annotations

import minisift
from minisift.cli import flags
from minisift.cli.reading import ReadingFlags
from minisift.cli.training import SettingsFlags, TaskFlags, tell_of, training


def fit(
    model: flags.Model,
    train: flags.Data,
    /,
    *,
    output_dir: str,
    dev: str | None = None,
    resume: flags.Switch = False,
    errors: flags.Errors = False,
    json: flags.Json = False,
    task: TaskFlags = None,
    settings: SettingsFlags = None,
    reading: ReadingFlags = None,
) -> None:
    """Train a labeler on labelled sentences.

    Example: `minisift fit smollm2-135m train.conll --output-dir ner`

    Parameters
    ----------
    output_dir
        Where to write the adapter folder.
    dev
        Labelled file to choose the adapter, calibrate and score by; without it some sentences are held out.
    resume
        Continue a training that was killed.
    """
    given = training(train, dev, task, settings, reading)
    labeler = minisift.fit(model, output_dir=output_dir, resume=resume, **given)
    made = labeler.description.made
    learned = (
        f"{made['sentences']} sentences, {made['prompts']} prompts, "
        f"{made['training']['seconds']:.0f} s, loss {made['training']['loss']:.3f}"
    )
    told = f"{output_dir}: {', '.join(labeler.labels)}\n{learned}"
    tell_of(labeler, output_dir, told, errors, json)
    if made["training"].get("stopped") == "interrupted":
        raise KeyboardInterrupt
