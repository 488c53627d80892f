"""Training rows, packed into passes through the model.

A *row* is one prompt, a *step* the rows of one update, a *pass* what goes through the model at
once: one or more rows of a step end to end in one sequence, none of which sees another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from minisift.prompting.renderer import Row
from minisift.training.protocols import RowT


def pack(rows: Sequence[RowT], tokens: int) -> list[list[RowT]]:
    """Rows in as few passes of at most so many tokens as first fit, longest first, finds.

    A row that is longer has a pass of its own.
    """
    passes: list[list[RowT]] = []
    room: list[int] = []
    for row in sorted(rows, key=lambda row: -len(row.ids)):
        fitting = (index for index, left in enumerate(room) if len(row.ids) <= left)
        if (index := next(fitting, None)) is None:
            passes.append([row])
            room.append(tokens - len(row.ids))
        else:
            passes[index].append(row)
            room[index] -= len(row.ids)
    return passes


def collate(rows: Sequence[Row], device: torch.device | str = "cpu") -> dict[str, Any]:
    """A pass: rows end to end, and where in it which token is to be predicted.

    input_ids, position_ids: [1, tokens]; positions begin again at each row. lengths: tokens of each
    row. kept: [targets], places whose next token the loss counts; labels: [targets], those tokens.
    choices: [targets] lists of the ids that each is compared with, or None for all.
    """
    ids: list[int] = []
    positions: list[int] = []
    kept: list[int] = []
    labels: list[int] = []
    choices: list[Sequence[int] | None] | None = None if rows[0].choices is None else []
    for row in rows:
        counted = [at for at in range(1, len(row.ids)) if row.mask[at]]
        kept += [len(ids) + at - 1 for at in counted]
        labels += [row.ids[at] for at in counted]
        if choices is not None:
            choices += row.choices or ()
        ids += row.ids
        positions += range(len(row.ids))
    return {
        "input_ids": torch.tensor([ids], device=device),
        "position_ids": torch.tensor([positions], device=device),
        "lengths": [len(row.ids) for row in rows],
        "kept": torch.tensor(kept, dtype=torch.long, device=device),
        "labels": torch.tensor(labels, dtype=torch.long, device=device),
        "choices": choices,
    }
