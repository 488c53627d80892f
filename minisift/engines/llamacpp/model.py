"""llama.cpp: started once, quiet, without the instructions that it gets wrong; its models."""

from __future__ import annotations

import itertools
import logging
import os
import sys
import weakref
from array import array
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from minisift.engines.llamacpp import cache as states
from minisift.engines.llamacpp import native
from minisift.engines.llamacpp.matrix import HeadRecord, Matrix, head_record, keep_record
from minisift.engines.llamacpp.native import LIBRARIES, llama

if TYPE_CHECKING:
    from minisift.prompting.tokenizer import Tokenizer

logger = logging.getLogger(__name__)


def start(is_native: bool | None = None) -> bool:
    """Make llama.cpp ready, and send its log to this module's logger if that is set to DEBUG.

    is_native: whether more of llama.cpp may be used than is public, as to take AMX out of its lists; None for
    what the environment says. Returns it.
    """
    is_native = native.is_wanted() if is_native is None else is_native
    # each time, since importing the package llama_cpp sends it to stderr
    native.send_log(logger.debug if logger.isEnabledFor(logging.DEBUG) else None, is_native)
    _initialize()
    if is_native:
        is_without_amx()
    return is_native


@cache
def _initialize() -> None:
    llama.llama_backend_init()


def _has_amx() -> bool:
    return sys.platform == "linux" and b"AMX_INT8 = 1" in llama.llama_print_system_info()


@cache
def is_without_amx() -> bool:
    """Whether llama.cpp has no AMX, or none any more."""
    if not _has_amx() or native.without_amx():
        return True
    logger.warning(
        "llama.cpp's list of layouts cannot be read, so models load without any layout for fast "
        "products, lest AMX end the process: labelling is slower, answers are right"
    )
    return False


def load_file(path: str | os.PathLike[str], is_native: bool | None = None, **settings: Any) -> Any:
    """llama.cpp's model of a GGUF file, for `llama_model_free`: the one place that opens such files.

    settings: llama.cpp's parameters of a model. Raises FileNotFoundError, ValueError.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file; fix: give the path of a GGUF file")
    is_native = start(is_native)
    params = llama.llama_model_default_params()
    for name, value in settings.items():
        setattr(params, name, value)
    if not (is_without_amx() if is_native else not _has_amx()):
        params.use_extra_bufts = False
    model = llama.llama_model_load_from_file(os.fsencode(path), params)
    if not model:
        raise ValueError(f"{path}: llama.cpp cannot load it; fix: export or copy it again")
    return model


def load_pieces(path: Path) -> list[bytes] | None:
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
    return states.key([path, *LIBRARIES], [], [])


def _tokenizer(vocab: Any, pieces: list[bytes] | None = None, is_native: bool = True) -> Tokenizer:
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
    return Tokenizer(tokenize, pieces or list(native.pieces(vocab, is_native)), bos)


def load_tokenizer(path: str | os.PathLike[str]) -> Tokenizer:
    """The tokenizer of a GGUF file alone, for the life of the process."""
    return _tokenizer(llama.llama_model_get_vocab(load_file(path, vocab_only=True)))


class Model:
    """A GGUF file's model, maybe with a LoRA adapter, and its contexts. `free` frees them all, at the
    latest when the model is garbage. Raises FileNotFoundError, ValueError.

    is_native: whether more of llama.cpp may be used than is public.
    """

    def __init__(
        self,
        path: Path,
        adapter: Path | None,
        n_gpu_layers: int | Literal["auto"],
        is_native: bool = True,
    ) -> None:
        start(is_native)  # first, or a GPU's backend writes to stderr
        if not llama.llama_supports_gpu_offload():
            n_gpu_layers = 0
        elif n_gpu_layers == "auto" or n_gpu_layers < 0:  # llama.cpp's own word for all
            n_gpu_layers = 999
        self.is_native = is_native
        self.gpu_layers = n_gpu_layers
        self.is_plain = not is_native or n_gpu_layers > 0
        """Whether llama.cpp runs as it comes: one context with its own defaults, which lays out its
        cells and multiplies the head by itself."""
        self._handle = load_file(path, is_native, n_gpu_layers=n_gpu_layers)
        self._held: list[tuple[Any, Any]] = [(llama.llama_model_free, self._handle)]
        self.free = weakref.finalize(self, _free, self._held)
        self._adapter = self._load_adapter(adapter) if adapter else None
        self.files: Sequence[Path] = [path, adapter] if adapter else [path]
        vocab = llama.llama_model_get_vocab(self._handle)
        self.vocabulary = llama.llama_vocab_n_tokens(vocab)
        self.longest_input = llama.llama_model_n_ctx_train(self._handle)
        self.size = llama.llama_model_size(self._handle)
        self._record = HeadRecord(None) if self.is_plain else head_record(path, adapter)
        self.head = Matrix(path, *self._record.place) if self._record.place else None
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

    @property
    def head_fault(self) -> str | None:
        """In what the head's product differs from llama.cpp's logits: "" if in nothing, None if
        nobody has looked yet, on this machine with this build."""
        return self._record.fault

    def judge_head(self, fault: str) -> None:
        """Keep what a comparison found, in the user's cache."""
        self._record.fault = fault
        keep_record(self.files[0], self.files[1] if self._adapter else None, self._record)

    def drop_head(self, fault: str) -> None:
        """Let llama.cpp multiply the head from the next context or call on, and say so, once."""
        if self.head:
            self.head = None  # another lane may be reading it, so it stays open
            logger.warning(
                "%s: llama.cpp multiplies all of the output head, since %s: labelling is slower, "
                "answers are right",
                self.files[0],
                fault,
            )

    def tokenizer(self, pieces: list[bytes] | None = None) -> Tokenizer:
        """The model's tokenizer; pieces: what its tokens spell, if that is known."""
        made = _tokenizer(llama.llama_model_get_vocab(self._handle), pieces, self.is_native)
        if pieces is None:
            _keep_pieces(self.files[0], made.pieces)
        return made

    def metadata(self, key: str) -> str | None:
        """A string that the adapter's file holds under a key, or the model's if there is none."""
        if self._adapter:
            return native.string(llama.llama_adapter_meta_val_str, self._adapter, key)
        return native.string(llama.llama_model_meta_val_str, self._handle, key)

    def context(self, params: Any) -> Any:
        """A new context of llama.cpp; raises MemoryError."""
        start(self.is_native)
        handle = llama.llama_init_from_model(self._handle, params)
        if not handle:
            raise MemoryError(
                f"llama.cpp cannot make a context of {params.n_ctx} tokens; fix: a smaller context"
            )
        self._held.append((llama.llama_free, handle))
        if self._adapter and (result := native.apply_adapter(handle, self._adapter)):
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
