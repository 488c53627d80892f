"""What was computed of a model's file, in the user's cache: the next process need not do it again.

A file holds a checksum and a state; the checksum covers both the key and the state, so that a
damaged file, or one of another model, prefix or llama.cpp, is noticed and dropped.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minisift.files import cache_folder, whole

logger = logging.getLogger(__name__)

_KEPT = 16
"""States of a kind that are kept, the latest used."""
_CHECKSUM = 4
"""Bytes of a CRC-32, which takes a quarter of a digest's time."""


def key(files: Sequence[Path], prefix: Sequence[int], settings: Sequence[Any]) -> bytes:
    """What a state belongs to: a model's files as they are now, a prefix and what else shapes it."""
    stats = [(str(file.resolve()), file.stat()) for file in files]
    identity = [[name, found.st_size, found.st_mtime_ns] for name, found in stats]
    identity += [list(prefix), *settings]
    return json.dumps(identity).encode()


def load(kind: str, key: bytes) -> memoryview | None:
    """The state of a key, in memory that may be written to, or None."""
    path = _path(kind, key)
    try:
        with path.open("rb") as file:
            content = memoryview(bytearray(path.stat().st_size))
            file.readinto(content)
    except OSError:
        return None
    state = content[_CHECKSUM:]
    if content[:_CHECKSUM] != _checksum(key, state):
        logger.info("%s is damaged: computed again.", path)
        with contextlib.suppress(OSError):
            path.unlink()
        return None
    with contextlib.suppress(OSError):
        path.touch()
    return state


def save(kind: str, key: bytes, state: Any) -> None:
    """Keep a state; where that is impossible (a full or read-only disk), say so in the log."""
    path = _path(kind, key)
    try:
        with whole(path) as draft, draft.open("wb") as file:
            file.write(_checksum(key, state))
            file.write(state)
        kept = sorted(path.parent.glob("*.state"), key=lambda p: p.stat().st_mtime, reverse=True)
        for old in kept[_KEPT:]:
            old.unlink()
    except OSError as error:
        logger.info("What was computed is not kept: %s.", error)


def _path(kind: str, key: bytes) -> Path:
    return cache_folder() / kind / f"{hashlib.blake2b(key, digest_size=12).hexdigest()}.state"


def _checksum(key: bytes, state: Any) -> bytes:
    head = zlib.crc32(len(key).to_bytes(8, "little") + key)
    return zlib.crc32(state, head).to_bytes(_CHECKSUM, "little")
