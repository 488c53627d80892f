"""Adapters that were trained on many span tasks, for `fit` and `prompt` to start from."""

from __future__ import annotations

import json
from pathlib import Path

from minisift.models.source import Source

FOLDER = Path(__file__).with_name("warm_starts")
"""A folder a base model: an adapter's two files, and `warm.json`, which tells of which base it is."""
ABOUT = "warm.json"
SHARE = 0.5
"""How much of such an adapter a training begins with: its changes to the base model's weights, times this.
Half is better than all, and than none, since it leaves more of what the base model knew (docs/decisions.md)."""


def warm_start(source: Source, folder: Path = FOLDER) -> Path | None:
    """Where the adapter lies that minisift brings for a base model, if it brings one."""
    for about in sorted(folder.glob(f"*/{ABOUT}")):
        if json.loads(about.read_text(encoding="utf-8"))["base"] == source.fingerprint:
            return about.parent
    return None
