"""Does an exported file answer as the labeler that it was made from?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minisift.data import Example

if TYPE_CHECKING:
    from minisift.labeler import Labeler


def compare(labeler: Labeler, path: Path, texts: Sequence[Example]) -> dict[str, Any]:
    """Compare an exported file with its labeler on texts.

    Loading it checks that both tokenizers give the same ids for the whole demonstration
    prefix. Returns counts: texts, those with the same spans, the first that differs, and the
    file's size in bytes.
    """
    from minisift.labeler import load

    exported = load(path)
    wanted, found = labeler.predict(texts), exported.predict(texts)
    exported.close()
    differing = [example.text for example, a, b in zip(texts, wanted, found, strict=True) if a != b]
    return {
        "bytes": path.stat().st_size,
        "texts": len(texts),
        "same_spans": len(texts) - len(differing),
        "first_difference": differing[0] if differing else None,
    }
