"""llama.cpp: started once, quiet, without the instructions that it gets wrong; its models."""

from __future__ import annotations

import ctypes
import itertools
import logging
import os
import sys
import weakref
from array import array
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from minisift.engines.llamacpp import cache as states
from minisift.engines.llamacpp.matrix import Matrix, head_of
from minisift.engines.llamacpp.native import LIBRARIES, declared, libggml, llama

if TYPE_CHECKING:
    from minisift.prompting.tokenizer import Tokenizer

logger = logging.getLogger(__name__)

_CPU = 0
"""llama.cpp's number for the kind of device that a CPU is."""
_PIECE, _PIECES = 1024, 4096
"""Bytes that a token may spell, and tokens that are asked for at once."""


@llama.llama_log_callback
def _log(level: int, text: bytes, _: Any) -> None:
    logger.debug(text.decode(errors="replace").rstrip())


_SILENCE = ctypes.cast(llama._lib.llama_max_devices, llama.llama_log_callback)
"""A function of C that does nothing with what it is given: a model's two thousand lines would each
wait for other threads' Python."""


def start() -> None:
    """Make llama.cpp ready, and send its log to this module's logger if that is set to DEBUG."""
    listens = logger.isEnabledFor(logging.DEBUG)
    # each time, since importing the package llama_cpp sends it to stderr
    llama.llama_log_set(_log if listens else _SILENCE, ctypes.c_void_p(0))
    _initialize()


@cache
def _initialize() -> None:
    llama.llama_backend_init()
    if sys.platform == "linux" and b"AMX_INT8 = 1" in llama.llama_print_system_info():
        without_amx()


def without_amx() -> None:
    """Have weights of models that load from here on in no layout for Intel's AMX.

    llama.cpp ends the process in its first product of matrices there when gcc 12 has compiled it:
    gcc believes that the instruction which configures AMX reads eight bytes, and drops what llama.cpp
    wrote behind them (ggml-org/llama.cpp#20824). So AMX leaves the list of layouts, whose next
    one, for AVX-512, is taken.
    """

    place, text = ctypes.c_void_p, ctypes.c_char_p
    device = declared(libggml, "ggml_backend_dev_by_type", place, ctypes.c_int)(_CPU)
    registry = declared(libggml, "ggml_backend_dev_backend_reg", place, place)(device)
    address = declared(libggml, "ggml_backend_reg_get_proc_address", place, place, text)
    found = address(registry, b"ggml_backend_dev_get_extra_bufts")
    layouts = ctypes.CFUNCTYPE(ctypes.POINTER(place), place)(found)(device)
    name = declared(libggml, "ggml_backend_buft_name", text, place)
    count = 0
    while layouts[count]:
        count += 1
    kept = [at for at in layouts[:count] if name(at) != b"AMX"]
    for index, at in enumerate([*kept, None]):
        layouts[index] = at


def _pieces(vocab: Any) -> Iterator[bytes]:
    """What each token spells; nothing for control, unknown and unused tokens."""
    buffer = ctypes.create_string_buffer(_PIECE * _PIECES)
    address = ctypes.addressof(buffer)
    place, number = ctypes.c_void_p, ctypes.c_int32
    kind = ctypes.PYFUNCTYPE(number, place, number, place, number, number, ctypes.c_bool)
    to_piece = ctypes.cast(llama.llama_token_to_piece, kind)  # of addresses within the buffer
    count = llama.llama_vocab_n_tokens(vocab)
    for first in range(0, count, _PIECES):
        ends = [0]
        for token in range(first, min(first + _PIECES, count)):
            length = to_piece(vocab, token, address + ends[-1], _PIECE, 0, False)
            ends.append(ends[-1] + max(0, length))
        raw = ctypes.string_at(address, ends[-1])
        yield from (raw[begin:end] for begin, end in itertools.pairwise(ends))


def kept_pieces(path: Path) -> list[bytes] | None:
    """What each token of a model's file spells, as `_keep_pieces` kept it in the user's cache."""
    kept = states.load("pieces", _pieces_key(path)) if path.is_file() else None
    if kept is None:
        return None
    ends = array("I")
    first = ends.itemsize * (1 + int.from_bytes(kept[:4], sys.byteorder))
    ends.frombytes(kept[ends.itemsize : first])
    raw = bytes(kept[first:])
    return [raw[begin:end] for begin, end in itertools.pairwise([0, *ends])]


def _keep_pieces(path: Path, pieces: Sequence[bytes]) -> None:
    """For the next process: asking for a hundred thousand pieces takes longer than to load a small model."""
    ends = array("I", itertools.accumulate(map(len, pieces)))
    numbers = array("I", [len(ends), *ends])
    states.save("pieces", _pieces_key(path), numbers.tobytes() + b"".join(pieces))


def _pieces_key(path: Path) -> bytes:
    return states.key([path, LIBRARIES], [], [])


def _tokenizer(vocab: Any, pieces: list[bytes] | None = None) -> Tokenizer:
    """A GGUF model's tokenizer as the renderer wants it."""
    from minisift.prompting.tokenizer import Tokenizer

    def tokenize(text: str, control: bool) -> list[int]:
        raw = text.encode()
        size = len(raw) + 8
        tokens = (llama.llama_token * size)()
        count = llama.llama_tokenize(vocab, raw, len(raw), tokens, size, False, control)
        if count < 0:
            raise ValueError(f"llama.cpp cannot tokenize {text[:60]!r}")
        return list(tokens[:count])

    bos = llama.llama_vocab_bos(vocab) if llama.llama_vocab_get_add_bos(vocab) else None
    return Tokenizer(tokenize, pieces or list(_pieces(vocab)), bos)


def load_tokenizer(path: str | os.PathLike[str]) -> Tokenizer:
    """The tokenizer of a GGUF file alone, for the life of the process."""
    start()
    params = llama.llama_model_default_params()
    params.vocab_only = True
    model = llama.llama_model_load_from_file(os.fsencode(path), params)
    if not model:
        raise ValueError(f"{path}: llama.cpp cannot load it; fix: export or copy it again")
    return _tokenizer(llama.llama_model_get_vocab(model))


class Model:
    """A GGUF file's model, maybe with a LoRA adapter, and its contexts. `free` frees them all, at the
    latest when the model is garbage. Raises FileNotFoundError, ValueError."""

    def __init__(
        self, path: Path, adapter: Path | None, n_gpu_layers: int | Literal["auto"]
    ) -> None:
        start()
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such file; fix: give the path of a GGUF file")
        params = llama.llama_model_default_params()
        if n_gpu_layers == "auto" or n_gpu_layers < 0:  # llama.cpp's own word for all
            n_gpu_layers = 999 if llama.llama_supports_gpu_offload() else 0
        params.n_gpu_layers = n_gpu_layers
        self.gpu_layers = params.n_gpu_layers
        self._handle = llama.llama_model_load_from_file(os.fsencode(path), params)
        if not self._handle:
            raise ValueError(f"{path}: llama.cpp cannot load it; fix: export or copy it again")
        self._held: list[tuple[Any, Any]] = [(llama.llama_model_free, self._handle)]
        self.free = weakref.finalize(self, _free, self._held)
        self._adapter = self._load_adapter(adapter) if adapter else None
        self.files: Sequence[Path] = [path, adapter] if adapter else [path]
        vocab = llama.llama_model_get_vocab(self._handle)
        self.vocabulary = llama.llama_vocab_n_tokens(vocab)
        self.longest_input = llama.llama_model_n_ctx_train(self._handle)
        self.size = llama.llama_model_size(self._handle)
        self.head = None if self.gpu_layers else head_of(path, adapter)
        """Where the output head lies, unless llama.cpp is to multiply all of it."""
        if self.head:
            self._held.append((Matrix.close, self.head))

    def _load_adapter(self, path: Path) -> Any:
        if not path.is_file():
            raise FileNotFoundError(
                f"{path}: no such file; fix: give the path of an adapter's GGUF file"
            )
        adapter = llama.llama_adapter_lora_init(self._handle, os.fsencode(path))  # freed with it
        if not adapter:
            raise ValueError(
                f"{path}: llama.cpp cannot load it on this model; fix: the GGUF file of the base "
                "model that the adapter was trained on"
            )
        return adapter

    def tokenizer(self, pieces: list[bytes] | None = None) -> Tokenizer:
        """The model's tokenizer; pieces: what its tokens spell, if that is known."""
        made = _tokenizer(llama.llama_model_get_vocab(self._handle), pieces)
        if pieces is None:
            _keep_pieces(self.files[0], made.pieces)
        return made

    def metadata(self, key: str) -> str | None:
        """A string that the adapter's file holds under a key, or the model's if there is none."""
        name = key.encode()
        reading, held = llama.llama_model_meta_val_str, self._handle
        if self._adapter:
            reading, held = llama.llama_adapter_meta_val_str, self._adapter
        length = reading(held, name, None, 0)
        if length < 0:
            return None
        buffer = ctypes.create_string_buffer(length + 1)
        reading(held, name, buffer, len(buffer))
        return buffer.value.decode()

    def context(self, params: Any) -> Any:
        """A new context of llama.cpp; raises MemoryError."""
        start()
        handle = llama.llama_init_from_model(self._handle, params)
        if not handle:
            raise MemoryError(
                f"llama.cpp cannot make a context of {params.n_ctx} tokens; fix: a smaller context"
            )
        self._held.append((llama.llama_free, handle))
        if self._adapter:
            adapters = (llama.llama_adapter_lora_p_ctypes * 1)(self._adapter)
            scales = (ctypes.c_float * 1)(1.0)
            if result := llama.llama_set_adapters_lora(handle, adapters, 1, scales):
                self.drop(handle)
                raise RuntimeError(f"llama.cpp cannot apply {self.files[-1]} (code {result})")
        return handle

    def drop(self, context: Any) -> None:
        """Free a context before its model."""
        self._held.remove((llama.llama_free, context))
        llama.llama_free(context)


def _free(held: list[tuple[Any, Any]]) -> None:
    while held:
        free, handle = held.pop()
        free(handle)
