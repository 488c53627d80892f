"""Progress bars: live in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
from typing import Any


def bar(iterable: Any = None, **options: Any) -> Any:
    """A tqdm bar on stderr, over an iterable or to be updated by hand."""
    from tqdm.auto import tqdm

    live = sys.stderr.isatty()
    options = {"mininterval": 0.2 if live else 20, "maxinterval": 1 if live else 30, **options}
    return tqdm(iterable, dynamic_ncols=live, **options)
