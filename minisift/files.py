"""Files that appear whole or not at all, and text that is decoded or refused."""

from __future__ import annotations

import codecs
import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from minisift.exceptions import DataError

# The longer marks first: that of UTF-32 begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def cache_folder() -> Path:
    """What can be made again is kept here: $MINISIFT_CACHE, or minisift in the user's cache."""
    if path := os.environ.get("MINISIFT_CACHE"):
        return Path(path)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "minisift"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "minisift"


def cached() -> list[Path]:
    """What minisift keeps there: computed states, models made ready for transformers, those put together. Whatever
    else lies there is not minisift's."""
    folder = cache_folder()
    ready = (config.parent for config in folder.glob("*-????????????-v[0-9]*/config.json"))
    return [*folder.glob("*/*.state"), *ready, *folder.glob("gemma-3-270m-*.gguf")]


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


def read_text(path: str | os.PathLike[str], encoding: str = "utf-8") -> str:
    """A file's text without its byte order mark, line ends as they are.

    Raises DataError with the line for bytes that the encoding does not know.
    """
    return decode(Path(path).read_bytes(), path, encoding)


def decode(
    raw: bytes, path: str | os.PathLike[str], encoding: str = "utf-8", first_line: int = 1
) -> str:
    """The text of bytes that begin in line `first_line` of a file; see `read_text`."""
    mark = next((name for bom, name in _MARKS if raw.startswith(bom)), None)
    try:
        if not mark and 4 * raw.count(0) > len(raw) > 4 and "\n".encode(encoding) == b"\n":
            raise DataError(
                f"{path}:{first_line}: NUL bytes throughout, so not {encoding.upper()}; fix: say what it "
                "is, as in encoding='utf-16-le' or 'utf-16-be' (--encoding)"
            )
        return raw.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = first_line + raw.count(b"\n", 0, error.start)
        # Windows has quotes and dashes where Latin-1 has controls
        usual = "cp1252" if any(0x80 <= byte < 0xA0 for byte in raw) else "latin-1"
        raise DataError(
            f"{path}:{line}: not {encoding.upper()} ({error.reason}: byte "
            f"0x{raw[error.start]:02x}); fix: say what it is, as in encoding={mark or usual!r} "
            "(--encoding on the command line), or convert the file to UTF-8"
        ) from None
    except LookupError:
        raise ValueError(
            f"encoding={encoding!r} is not known; fix: a name such as 'utf-8', 'latin-1' or 'cp1252'"
        ) from None
