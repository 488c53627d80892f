"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path


def cache_folder() -> Path:
    """What can be made again is kept here: $MINISIFT_CACHE, or minisift in the user's cache."""
    if path := os.environ.get("MINISIFT_CACHE"):
        return Path(path)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "minisift"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "minisift"


@contextlib.contextmanager
def whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A path beside `path` to write a file or a folder at; renamed to `path` on success.

    On any error, an interrupt included, what was written is removed and `path` is as it was.
    A folder at `path` is replaced only if what was written is a folder too.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    room = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        draft = room / path.name
        yield draft
        if draft.is_dir() and path.is_dir():
            path.rename(room / "replaced")
        os.replace(draft, path)
    finally:
        shutil.rmtree(room, ignore_errors=True)


def write_whole(path: Path, content: bytes) -> None:
    with whole(path) as draft:
        draft.write_bytes(content)
