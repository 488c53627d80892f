"""What a training, or a prompt, starts from."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from minisift.labeler import Labeler
from minisift.publish.folder import WEIGHTS

if TYPE_CHECKING:
    from minisift.models.source import Source

Start = str | os.PathLike[str] | Labeler | None
"""What `fit` and `prompt` may start from."""


def adapter_of(start: Start, source: Source, scratch: Path) -> Path | None:
    """The folder of the adapter to start from. scratch: for one that lies in memory alone."""
    from minisift.models.warm import warm_start

    if start is None:
        return None
    if start == "warm":
        return warm_start(source)
    if isinstance(start, Labeler):
        made_on, weights = start.description.base, start.weights
        adapter = weights.adapter(made_on["model"], scratch) if weights else None
        if adapter is None:
            raise ValueError("start is a labeler without an adapter; fix: one that fit made")
        if made_on["fingerprint"] != source.fingerprint:
            raise ValueError(
                f"start is a labeler of {made_on['model']}; fix: fit({made_on['model']!r}, ...)"
            )
        return adapter
    folder = Path(start)
    if not (folder / WEIGHTS).is_file():
        raise FileNotFoundError(
            f"start={os.fspath(start)!r}: no folder with {WEIGHTS}; fix: 'warm', None, a labeler or its folder"
        )
    return folder


def digest_of(adapter: Path | None) -> str | None:
    """Tells an adapter from any other; None for none."""
    if adapter is None:
        return None
    return f"sha256:{hashlib.sha256((adapter / WEIGHTS).read_bytes()).hexdigest()}"
