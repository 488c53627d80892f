"""What a user sees while waiting: our progress bars, not the libraries' chatter."""

from __future__ import annotations

import contextlib
import logging
import sys
import warnings
from collections.abc import Iterator
from typing import Any


def bar(iterable: Any = None, **options: Any) -> Any:
    """A tqdm bar on stderr, over an iterable or to be updated by hand.

    Live in a terminal, a line now and then elsewhere.
    """
    from tqdm.auto import tqdm

    live = sys.stderr.isatty()
    options = {"mininterval": 0.2 if live else 20, "maxinterval": 1 if live else 30, **options}
    return tqdm(iterable, dynamic_ncols=live, **options)


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Without bars, warnings and advice of the libraries, which would not help a user here."""
    from transformers.utils import logging as chatter

    bitsandbytes = logging.getLogger("bitsandbytes")
    levels = chatter.get_verbosity(), bitsandbytes.level
    bars = chatter.is_progress_bar_enabled()
    chatter.set_verbosity_error()
    chatter.disable_progress_bar()
    bitsandbytes.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        chatter.set_verbosity(levels[0])
        bitsandbytes.setLevel(levels[1])
        if bars:
            chatter.enable_progress_bar()
