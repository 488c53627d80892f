"""Where a GGUF file holds its output head, and what came of comparing it with llama.cpp's own logits."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from minisift.engines.llamacpp import cache as states
from minisift.engines.llamacpp.native import LIBRARIES, features
from minisift.models.architectures import ARCHITECTURES
from minisift.models.gguf_header import Header, read_header

PLAIN = sorted({family.gguf for family in ARCHITECTURES.values() if family.plain_head})
"""Architectures whose logits are the product of hidden states and head."""
MORE = ("final_logit_softcapping", "logit_scale")
"""Keys of what logits may go through besides."""
_CHECK = 1
"""Version of the comparison: where it is raised, older verdicts are not used."""
_HEADS = ("output.weight", "token_embd.weight")
"""Names of the head; the embeddings serve as such where there is none."""


class Matrix:
    """Numbers of one of ggml's types in a file, [rows, width]. The file stays open until `close`, so
    that another in its place changes nothing. Threads may share it."""

    def __init__(self, path: Path, begin: int, rows: int, width: int, kind: int):
        self.rows, self.width, self.type = rows, width, kind
        self._begin = begin
        self._file = path.open("rb", buffering=0)
        self._lock = Lock()

    def close(self) -> None:
        self._file.close()

    def row(self, number: int, size: int) -> bytes:
        """A row of so many bytes, as it is stored. Raises OSError."""
        with self._lock:
            self._file.seek(self._begin + number * size)
            stored = self._file.read(size)
        if len(stored) < size:
            raise OSError(f"{self._file.name} was cut; fix: copy it again and load it")
        return stored


@dataclass
class HeadRecord:
    """What is kept of a model's head beside its file, for this build of llama.cpp."""

    place: list[int] | None
    """The numbers of its `Matrix`. None where logits are more than its product with hidden states, as
    an adapter of the head makes them, and where it lies in another file."""
    fault: str | None = None
    """In what its product differs from llama.cpp's logits: "" if in nothing, None if nobody has looked."""


def head_record(model: Path, adapter: Path | None) -> HeadRecord:
    """From the user's cache, since a file holds its whole vocabulary before it tells; or by a look."""
    if kept := states.load("heads", _key(model, adapter)):
        return HeadRecord(**json.loads(bytes(kept)))
    content, changes = read_header(model), read_header(adapter) if adapter else Header()
    found = HeadRecord(_place(content, changes) if content and changes else None)
    keep_record(model, adapter, found)
    return found


def keep_record(model: Path, adapter: Path | None, record: HeadRecord) -> None:
    """For the next time that this model is loaded by this build of llama.cpp."""
    states.save("heads", _key(model, adapter), json.dumps(vars(record)).encode())


def head_of(model: Path, adapter: Path | None) -> Matrix | None:
    """A model's output head, a row a token, where logits are its product with hidden states."""
    place = head_record(model, adapter).place
    return Matrix(model, *place) if place else None


def _key(model: Path, adapter: Path | None) -> bytes:
    files = [model, adapter] if adapter else [model]
    return states.key([*files, *LIBRARIES], [], [_CHECK, PLAIN, MORE, features()])


def _place(content: Header, changes: Header) -> list[int] | None:
    if any(f"{name}.lora_a" in changes.tensors for name in _HEADS):
        return None
    architecture = content.values.get("general.architecture")
    more = [*(f"{architecture}.{name}" for name in MORE), "split.count"]
    if architecture not in PLAIN or any(key in content.values for key in more):
        return None
    name = next((name for name in _HEADS if name in content.tensors), None)
    if not name or any(part in content.tensors for part in ("output.bias", "output.scale")):
        return None
    (width, rows), kind, begin = content.tensors[name]
    return [begin, rows, width, kind]
