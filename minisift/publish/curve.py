"""The learning curve of a training as a picture."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)


def draw(curve: Sequence[dict[str, Any]], kept: int | None, path: Path) -> bool:
    """Loss, and dev F1 where it was measured, over the training's steps; a PNG file.

    kept: the step of the adapter that was kept, whose F1 is written out. Returns whether there is
    a picture: without matplotlib there is none.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        logger.warning(
            "No picture of the learning curve: matplotlib is not installed (pip install "
            "matplotlib, then save the labeler again)."
        )
        return False

    figure = Figure(figsize=(6, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    left = figure.add_subplot()
    steps = [row["step"] for row in curve]
    left.plot(steps, [row["loss"] for row in curve], "o-", color="tab:gray", label="loss")
    left.set_xlabel("step")
    left.set_ylabel("loss of a target token")
    left.set_ylim(bottom=0)
    left.spines[["top"]].set_visible(False)
    handles = left.get_legend_handles_labels()
    if scored := [row for row in curve if "f1" in row]:
        right = left.twinx()
        scores = [row["f1"] for row in scored]
        right.plot([row["step"] for row in scored], scores, "s-", color="tab:blue", label="dev F1")
        right.set_ylabel("dev F1")
        right.set_ylim(0, 1)
        right.spines[["top"]].set_visible(False)
        shown = next((row for row in scored if row["step"] == kept), scored[-1])
        right.annotate(
            f"{shown['f1']:.3f}",
            (shown["step"], shown["f1"]),
            textcoords="offset points",
            xytext=(0, 8),
            ha="center",
            color="tab:blue",
        )
        more = right.get_legend_handles_labels()
        handles = (handles[0] + more[0], handles[1] + more[1])
    left.legend(*handles, loc="upper center", bbox_to_anchor=(0.5, 1.16), ncol=2, frameon=False)
    figure.savefig(path, dpi=150)
    return True
