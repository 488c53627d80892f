"""`minisift plan`: the memory that a training would take."""

from __future__ import annotations

import json as jsonlib
from typing import Literal

import minisift
from minisift.cli import flags
from minisift.cli.reading import ReadingFlags
from minisift.cli.training import SettingsFlags, TaskFlags, training


def plan(
    model: flags.Model,
    train: flags.Data,
    /,
    *,
    device: Literal["cuda", "mps", "cpu"] | None = None,
    memory: float | None = None,
    output_dir: str | None = None,
    dev: str | None = None,
    resume: flags.Switch = False,
    errors: flags.Errors = False,
    json: flags.Json = False,
    task: TaskFlags = None,
    settings: SettingsFlags = None,
    reading: ReadingFlags = None,
) -> None:
    """Estimate the memory that the same fit would take.

    Example: `minisift plan gemma-3-270m train.conll --device cuda --memory 8`

    Parameters
    ----------
    device
        This machine's by default.
    memory
        Gigabytes there are; by default as found here.
    output_dir
        As for fit; nothing is written.
    dev
        As for fit.
    resume
        As for fit.
    """
    given = training(train, dev, task, settings, reading)
    estimate = minisift.plan(
        model, output_dir=output_dir, resume=resume, device=device, memory=memory, **given
    )
    print(jsonlib.dumps(estimate.to_dict(), ensure_ascii=False) if json else estimate)
