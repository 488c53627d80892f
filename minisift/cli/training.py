"""What `fit`, `plan` and `prompt` share, so that a line for `fit` works for `plan`."""

from __future__ import annotations

import json as jsonlib
from dataclasses import asdict, dataclass
from typing import Annotated, Any

from cyclopts import Parameter

from minisift.cli import flags
from minisift.cli.reading import Reading, read
from minisift.labeler import Labeler
from minisift.training.settings import Settings


@dataclass(frozen=True)
class Task:
    """What is labelled, and what a labeler begins with."""

    names: flags.TextsByLabel = None
    """Display names by label, as in '{"PER": "person"}'."""
    descriptions: flags.TextsByLabel = None
    """What labels mean, for the standard instruction, likewise."""
    instruction: str | None = None
    """Instruction text; "standard" for the built-in one, "none" for none."""
    start: str = "warm"
    """"warm", the adapter that minisift brings for the model; "none", nothing but the model; or an adapter
    folder to go on from."""

    def arguments(self) -> dict[str, Any]:
        """The same as arguments of `fit` and `prompt`."""
        known: dict[str | None, bool | str | None] = {"standard": True, "none": False}
        instruction = known.get(self.instruction, self.instruction)
        return {
            "names": self.names,
            "descriptions": self.descriptions,
            "start": None if self.start.lower() == "none" else self.start,
            **({} if instruction is None else {"instruction": instruction}),
        }


TaskFlags = Annotated[Task | None, Parameter(name="*", group="Task")]
SettingsFlags = Annotated[Settings | None, Parameter(name="*", group="Settings")]


def training(
    train: str,
    dev: str | None,
    task: Task | None,
    settings: Settings | None,
    reading: Reading | None,
) -> dict[str, Any]:
    """Arguments of `minisift.fit`; this reads the files."""
    return {
        **(task or Task()).arguments(),
        "train_set": read(reading, train, [dev] if dev else ()),
        "dev_set": read(reading, dev, [train]) if dev else None,
        **asdict(settings or Settings()),
    }


def tell_of(labeler: Labeler, output_dir: str, what: str, errors: bool, json: bool) -> None:
    """Tell of a labeler that was made (what), and how it labels the sentences that were held out."""
    report = labeler.report
    found = report.errors() if errors and report else None
    if json:
        made = {"output_dir": output_dir, **labeler.description.made}
        told = {"errors": found.to_dict()} if found else {}
        print(jsonlib.dumps({**made, **told}, ensure_ascii=False))
        return
    print(what)
    if report:
        print(report)
    if found:
        print(f"\n{found}")
