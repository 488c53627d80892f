"""Sentences that tell what a prompt is worth before anything is trained."""

from __future__ import annotations

import random
from collections.abc import Sequence

from minisift.data.examples import Example
from minisift.prompting.renderer import RenderedExample, Renderer

_FEWEST, _MOST = 8, 32
"""Sentences that judge a prompt."""
_TOKENS = 1024
"""Tokens that they have at most, so that it takes seconds."""


def left_out(
    renderer: Renderer,
    examples: Sequence[RenderedExample],
    shown: Sequence[RenderedExample],
    seed: int,
) -> list[Example]:
    """Examples to judge a prompt by: such as it does not show; of few others, shown ones as well, which
    a prompt never shows beside themselves. None at all for a prompt without demonstrations."""
    if not shown:
        return []
    keys = {example.key for example in shown}
    others = [example for example in examples if example.key not in keys]
    random.Random(seed).shuffle(others)
    judges = [*others, *shown][: max(_FEWEST, min(len(others), _MOST))]
    return [example.example for example in renderer.within(judges, _TOKENS)]
