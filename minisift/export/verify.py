"""Does an exported file answer as the labeler that it was made from?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minisift.data import Example, Span


def compare(
    texts: Sequence[Example], wanted: Sequence[list[Span]], found: Sequence[list[Span]]
) -> dict[str, Any]:
    """Counts of texts and of those with the same spans, and the first text that differs."""
    differing = [example.text for example, a, b in zip(texts, wanted, found, strict=True) if a != b]
    return {
        "texts": len(texts),
        "same_spans": len(texts) - len(differing),
        "first_difference": differing[0] if differing else None,
    }
