"""What a training, or a prompt, starts from."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from minisift.labeler import Labeler
from minisift.models.warm import ABOUT, warm_start
from minisift.publish.description import FILE
from minisift.publish.folder import CONFIG, WEIGHTS

if TYPE_CHECKING:
    from minisift.models.source import Source

Start = str | os.PathLike[str] | Labeler | None
"""What `fit` and `prompt` may start from."""


def adapter_of(start: Start, source: Source, scratch: Path, rank: int | None = None) -> Path | None:
    """The folder of the adapter to start from. scratch: for one that lies in memory alone.

    rank: that of the adapter which goes on. Raises ValueError where it is below that of the start, and where
    the start is of another model.
    """
    if start is None:
        return None
    adapter = warm_start(source) if start == "warm" else _given(start, source, scratch)
    if adapter is not None and rank is not None:
        least = json.loads((adapter / CONFIG).read_text(encoding="utf-8"))["r"]
        if rank < least:
            raise ValueError(
                f"lora_rank={rank} is below that of start={os.fspath(adapter)!r}; fix: {least} or more, or "
                "start=None"
            )
    return adapter


def _given(start: str | os.PathLike[str] | Labeler, source: Source, scratch: Path) -> Path:
    """The folder of an adapter of one's own."""
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
    if not all((folder / name).is_file() for name in (CONFIG, WEIGHTS)):
        raise FileNotFoundError(
            f"start={os.fspath(start)!r}: no folder with {CONFIG} and {WEIGHTS}; fix: 'warm', None, a labeler "
            "or its folder"
        )
    made_for = _made_for(folder)
    is_told = (
        made_for and not made_for.startswith("hub:") and not source.fingerprint.startswith("hub:")
    )
    if is_told and made_for != source.fingerprint:
        raise ValueError(
            f"start={os.fspath(start)!r}: an adapter of another base model than {source.name}; fix: start "
            "with its own"
        )
    return folder


def _made_for(folder: Path) -> str | None:
    """The fingerprint of the base model that an adapter is of; None where the folder does not tell."""
    if (folder / FILE).is_file():
        described = json.loads((folder / FILE).read_text(encoding="utf-8"))
        return str(described["base"]["fingerprint"])
    if (folder / ABOUT).is_file():
        return str(json.loads((folder / ABOUT).read_text(encoding="utf-8"))["base"])
    return None


def digest_of(adapter: Path | None) -> str | None:
    """Tells an adapter from any other; None for none."""
    if adapter is None:
        return None
    return f"sha256:{hashlib.sha256((adapter / WEIGHTS).read_bytes()).hexdigest()}"
