"""The state of a training in one file, from which it continues as if it had never stopped."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from minisift.files import whole
from minisift.training.progress import Progress
from minisift.training.protocols import AnyRow
from minisift.training.settings import Settings


@dataclass(frozen=True)
class State:
    """A training between two steps."""

    digest: str
    """Tells it from other trainings, see `digest`."""
    weights: dict[str, torch.Tensor]
    optimizer: dict[str, Any]
    progress: Progress
    best: dict[str, torch.Tensor] | None
    """The weights that are kept, if any were evaluated."""


def save(path: Path, state: State) -> None:
    """Write a checkpoint; raises OSError if it cannot be, and leaves an older one as it was."""
    content = {field.name: getattr(state, field.name) for field in fields(State)}
    content["progress"] = asdict(state.progress)
    if not state.progress.answers:
        del content["progress"]["answers"]  # files of one run are as they always were
    try:
        with whole(path) as draft:
            torch.save(content, draft)
    except (OSError, RuntimeError) as error:
        raise OSError(
            f"{path}: cannot be written at step {state.progress.step} ({error}); an older checkpoint "
            "is as it was; fix: free some space and call again with resume=True"
        ) from error


def load(path: Path, digest: str) -> State:
    """Read a checkpoint; raises ValueError if it is of another training than that of the digest."""
    content = torch.load(path, map_location="cpu", weights_only=True)
    if content["digest"] != digest:
        raise ValueError(
            f"{path}: the checkpoint of other data, settings or another model; "
            "fix: give what that training was given, or delete the file"
        )
    return State(**{**content, "progress": Progress(**content["progress"])})


def digest(rows: Sequence[AnyRow], settings: Settings, identity: str) -> str:
    """Tells trainings apart: by all that shapes the adapter. identity: that of the base model."""
    shaping = replace(settings, checkpoint_seconds=0, gradient_checkpointing=None)
    digest = hashlib.sha256(f"{identity} {shaping!r}".encode())
    for row in rows:
        digest.update(repr(row).encode())
    return digest.hexdigest()


def check_space(path: Path, numbers: int) -> None:
    """Raise OSError if the checkpoints of a training of so many numbers have no room at a path.

    A state holds a number four times at most, in float32: weights, those kept, two moments.
    """
    needed = 4 * 4 * numbers
    path.parent.mkdir(parents=True, exist_ok=True)
    if (free := shutil.disk_usage(path.parent).free) < needed:
        raise OSError(
            f"{path.parent}: {free / 1e6:.0f} MB free, a training keeps up to "
            f"{needed / 1e6:.0f} MB there; fix: free some space, or another output_dir"
        )
