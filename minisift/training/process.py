"""What a training changes in its process while it runs: Ctrl-C, and what becomes of freed memory."""

from __future__ import annotations

import ctypes
import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

logger = logging.getLogger(__name__)

_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1
"""Names of glibc's mallopt."""


@dataclass
class Interrupt:
    """Whether Ctrl-C was pressed."""

    came: bool = False


@contextmanager
def interruptible() -> Iterator[Interrupt]:
    """Within it the first Ctrl-C is noted, and a second one ends things at once."""
    interrupt = Interrupt()

    def note(*_: Any) -> None:
        interrupt.came = True
        signal.signal(signal.SIGINT, before)
        logger.warning("Stopping after this step; Ctrl-C again stops at once.")

    try:
        before = signal.signal(signal.SIGINT, note)
    except ValueError:  # not the main thread: signals go elsewhere
        yield interrupt
        return
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, before)


def keep_freed_memory(keep: bool) -> None:
    """Let glibc keep what training frees: giving activations back and taking new pages costs time.

    Otherwise what is free goes back to the system, and stays there.
    """
    with suppress(OSError, AttributeError):  # not glibc: memory is managed as it comes
        libc = ctypes.CDLL("libc.so.6")
        libc.malloc_trim(0)
        libc.mallopt(_MMAP_THRESHOLD, 1 << 30 if keep else 1 << 17)
        libc.mallopt(_TRIM_THRESHOLD, (1 << 31) - 1 if keep else 1 << 17)
