"""The one room where C is called by hand: every declaration for ctypes, and every function of ggml and
llama.cpp that the package llama_cpp does not declare.

What llama_cpp declares is used as it stands: `llama`. Anything else may be absent or different in another
version; then `NativeError` says what was found, and whoever wanted it goes the plain way.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import itertools
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

MODES = ("auto", "off")
"""What the option `native` may be."""
_SWITCH = "MINISIFT_NATIVE"
"""The environment variable that does the same."""
_PIECE, _PIECES = 1024, 4096
"""Bytes that a token may spell, and tokens that are asked for at once."""
_F16 = 1
_KINDS = (0, _F16, 2, 8)
"""ggml's numbers of F32, F16, Q4_0 and Q8_0."""
_CPU = 0
"""ggml's number for the kind of device that a CPU is."""
_place, _text, _size = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t
_number, _flag = ctypes.c_int64, ctypes.c_bool


class NativeError(RuntimeError):
    """Something of llama.cpp's is absent, or is not what it was taken for."""


def is_wanted(native: str = "auto") -> bool:
    """Whether an engine made with this option may use more of llama.cpp than is public. Raises ValueError.

    Without one, whether the environment says so.
    """
    given = {"native": native, _SWITCH: os.environ.get(_SWITCH) or "auto"}
    for name, mode in given.items():
        if mode not in MODES:
            raise ValueError(f"{name}={mode!r}; fix: {' or '.join(map(repr, MODES))}")
    return "off" not in given.values()


def _declarations() -> ModuleType:
    """The module of llama_cpp's declarations, as part of a package that was never run.

    The package's classes for chats import templates, databases and numpy, which takes as long as to load a
    small model. Whoever imports the package itself, before or after (not in another thread meanwhile),
    gets the whole of it and this same module. Where the module is not to be had alone, it is imported
    with the package.
    """
    name = "llama_cpp"
    spec = importlib.util.find_spec(name)
    if spec is None:
        raise ImportError("llama-cpp-python is not installed; fix: pip install llama-cpp-python")
    if name not in sys.modules:
        sys.modules[name] = importlib.util.module_from_spec(spec)
        try:
            return importlib.import_module(f"{name}.{name}")
        except (ImportError, AttributeError):
            for part in [part for part in sys.modules if part.startswith(f"{name}.")]:
                del sys.modules[part]
        finally:
            del sys.modules[name]
    package = importlib.import_module(name)
    return getattr(package, name, package)


llama = _declarations()


def _folder() -> Path:
    path = getattr(getattr(llama, "_lib", None), "_name", None) or llama.__file__
    return Path(str(path)).parent


def _files() -> list[Path]:
    found = {file.resolve() for kind in ("*llama*", "*ggml*") for file in _folder().glob(kind)}
    return sorted(file for file in found if file.is_file())


LIBRARIES = _files()
"""The files of llama.cpp's code: another build of it has others, or of another time."""


def features() -> str:
    """What of the processor llama.cpp makes use of, by which it rounds otherwise."""
    return bytes(llama.llama_print_system_info()).decode()


@cache
def _libraries() -> list[Any]:
    """Where functions are looked up: llama.cpp's library, which on most systems finds ggml's as well."""
    found = [llama._lib] if hasattr(llama, "_lib") else []
    for name in ("ggml-base", "ggml") if sys.platform == "win32" else ():
        path = _folder() / f"{name}.dll"
        found += [ctypes.CDLL(str(path))] if path.is_file() else []
    return found


def symbol(name: str) -> Any:
    """A function of llama.cpp or ggml that llama_cpp does not declare, None where there is none."""
    for library in _libraries():
        try:
            return library[name]  # a new object, whose types are nobody else's
        except AttributeError:
            continue
    return None


def _function(name: str, result: Any, *arguments: Any) -> Any:
    """The same with its types. Raises NativeError."""
    if (found := symbol(name)) is None:
        raise NativeError(f"this llama.cpp has no {name}")
    found.restype, found.argtypes = result, arguments
    return found


def send_log(to: Callable[[str], None] | None, is_native: bool = True) -> None:
    """Send llama.cpp's log to a function, line by line, or nowhere."""
    callback = _log_to(to or _ignore) if to or not is_native else _deaf()
    llama.llama_log_set(callback, ctypes.c_void_p(0))


def _ignore(_: str) -> None:
    """For a log that nobody reads."""


@cache
def _log_to(to: Callable[[str], None]) -> Any:
    def log(_: int, text: bytes, __: Any) -> None:
        to(text.decode(errors="replace").rstrip())

    return llama.llama_log_callback(log)


@cache
def _deaf() -> Any:
    """A C function that ignores its arguments: else each of a model's two thousand log lines would wait
    for Python's lock."""
    if hasattr(llama, "llama_max_devices"):
        return ctypes.cast(llama.llama_max_devices, llama.llama_log_callback)
    return _log_to(_ignore)


def without_amx() -> bool:
    """Have weights of models that load from here on in no layout for Intel's AMX; False if that
    cannot be had.

    llama.cpp ends the process in its first product of matrices there when gcc 12 has compiled it:
    gcc believes that the instruction which configures AMX reads eight bytes, and drops what llama.cpp
    wrote behind them (ggml-org/llama.cpp#20824). So AMX leaves the list of layouts, whose next
    one, for AVX-512, is taken.
    """
    try:
        device = _function("ggml_backend_dev_by_type", _place, ctypes.c_int)(_CPU)
        registry = _function("ggml_backend_dev_backend_reg", _place, _place)(device)
        address = _function("ggml_backend_reg_get_proc_address", _place, _place, _text)
        name = _function("ggml_backend_buft_name", _text, _place)
    except NativeError:
        return False
    if not (found := address(registry, b"ggml_backend_dev_get_extra_bufts")):
        return False
    layouts = ctypes.CFUNCTYPE(ctypes.POINTER(_place), _place)(found)(device)
    count = 0
    while layouts[count]:
        count += 1
    kept = [at for at in layouts[:count] if name(at) != b"AMX"]
    for index, at in enumerate([*kept, None]):
        layouts[index] = at
    return True


def pieces(vocab: Any, native: bool) -> Iterator[bytes]:
    """What each token spells; nothing for control, unknown and unused tokens."""
    buffer = ctypes.create_string_buffer(_PIECE * _PIECES)
    begin = ctypes.addressof(buffer)
    to_piece = _quick_piece() if native else None
    count = llama.llama_vocab_n_tokens(vocab)
    for first in range(0, count, _PIECES):
        ends = [0]
        for token in range(first, min(first + _PIECES, count)):
            at = begin + ends[-1]
            if to_piece:
                length = to_piece(vocab, token, at, _PIECE, 0, False)
            else:
                place = ctypes.cast(at, ctypes.c_char_p)
                length = llama.llama_token_to_piece(vocab, token, place, _PIECE, 0, False)
            ends.append(ends[-1] + max(0, length))
        raw = ctypes.string_at(begin, ends[-1])
        yield from (raw[begin:end] for begin, end in itertools.pairwise(ends))


def _quick_piece() -> Any:
    """llama_token_to_piece of plain addresses, without giving way to other threads at each of a hundred
    thousand calls; None if its arguments are not the ones that this is written for."""
    number = ctypes.c_int32
    known = [llama.llama_vocab_p_ctypes, llama.llama_token, _text, number, number, _flag]
    if list(llama.llama_token_to_piece.argtypes) != known:
        return None
    kind = ctypes.PYFUNCTYPE(number, _place, number, _place, number, number, _flag)
    return ctypes.cast(llama.llama_token_to_piece, kind)


def string(reading: Any, held: Any, key: str) -> str | None:
    """What a function of llama.cpp such as `llama_model_meta_val_str` says of a key."""
    name = key.encode()
    length = reading(held, name, None, 0)
    if length < 0:
        return None
    buffer = ctypes.create_string_buffer(length + 1)
    reading(held, name, buffer, len(buffer))
    return buffer.value.decode()


def apply_adapter(context: Any, adapter: Any) -> int:
    """llama.cpp's code, 0 for success."""
    adapters = (llama.llama_adapter_lora_p_ctypes * 1)(adapter)
    scales = (ctypes.c_float * 1)(1.0)
    return int(llama.llama_set_adapters_lora(context, adapters, 1, scales))


class Memory:
    """The cache of a context: which cells hold which tokens of which sequences."""

    def __init__(self, context: Any) -> None:
        self._handle = llama.llama_get_memory(context)

    def clear(self) -> None:
        llama.llama_memory_clear(self._handle, False)

    def remove(self, sequence: int, begin: int, end: int) -> None:
        """Take positions from a sequence; -1 for its beginning and its end."""
        llama.llama_memory_seq_rm(self._handle, sequence, begin, end)

    def copy(self, source: int, target: int, begin: int, end: int) -> None:
        """Let a sequence share another's cells of these positions."""
        llama.llama_memory_seq_cp(self._handle, source, target, begin, end)


def state(context: Any, sequence: int) -> memoryview:
    """What the cache of a context holds of a sequence."""
    size = llama.llama_state_seq_get_size(context, sequence)
    buffer = (ctypes.c_uint8 * size)()
    llama.llama_state_seq_get_data(context, buffer, size, sequence)
    return memoryview(buffer).cast("B")


def restore(context: Any, sequence: int, state: memoryview) -> bool:
    """Put a `state`, in memory that may be written to, into the cache; False if llama.cpp refuses it."""
    buffer = (ctypes.c_uint8 * len(state)).from_buffer(state)
    found = llama.llama_state_seq_set_data(context, buffer, len(state), sequence)
    return bool(found == len(state))


class Batch:
    """llama.cpp's batch over arrays that are filled at once; each token in one sequence."""

    def __init__(self, size: int) -> None:
        import numpy as np

        self._arrays = [np.zeros(size, dtype) for dtype in (np.int32, np.int32, np.int32, np.int8)]
        token, position, sequence, wants_logits = self._arrays
        self._counts = np.ones(size, np.int32)
        self._sequences = sequence.ctypes.data + np.arange(size, dtype=np.uintp) * np.uintp(4)
        self._struct = llama.llama_batch()  # zeros, what newer versions may add included
        kinds = dict(llama.llama_batch._fields_)
        for name, array in (
            ("token", token),
            ("pos", position),
            ("n_seq_id", self._counts),
            ("seq_id", self._sequences),
            ("logits", wants_logits),
        ):
            setattr(self._struct, name, ctypes.cast(array.ctypes.data, kinds[name]))

    def of(self, entries: Sequence[tuple[int, int, int, bool]]) -> Any:
        """(token, position, sequence, whether its logits are wanted), in order."""
        for array, values in zip(self._arrays, zip(*entries, strict=True), strict=True):
            array[: len(values)] = values
        self._struct.n_tokens = len(entries)
        return self._struct


def logits(context: Any, index: int, vocabulary: int) -> Any:
    """llama.cpp's own behind a token of the last call, [vocabulary] float32, until the next call."""
    import numpy as np

    return np.ctypeslib.as_array(llama.llama_get_logits_ith(context, index), (vocabulary,))


class Watcher:
    """Takes a node of llama.cpp's computation, [width] numbers a token, and cancels what would follow.

    `callback` is for a context's `cb_eval`, and has to live as long as the context. Raises NativeError. No
    error gets out of it into C: `fault` holds it, and llama.cpp goes on by itself.
    """

    def __init__(self, node: bytes, width: int) -> None:
        import numpy as np

        name = _function("ggml_get_name", _text, _place)
        count = _function("ggml_nelements", _number, _place)
        size = _function("ggml_nbytes", _size, _place)
        read = _function("ggml_backend_tensor_get", None, _place, _place, _size, _size)
        self.cancels = True
        self.fault = ""
        self._node = node
        self._wanted = 0
        self._is_due = False
        self._states: Any = None

        def take(tensor: int) -> bool:
            self._is_due = False
            states = np.empty((self._wanted, width), np.float32)
            if (count(tensor), size(tensor)) != (states.size, states.nbytes):
                raise NativeError(f"{node.decode()} has {size(tensor)} bytes, not {states.nbytes}")
            read(tensor, states.ctypes.data, 0, states.nbytes)
            self._states = states
            return not self.cancels

        def watch(tensor: int, asked: bool, _: Any) -> bool:
            try:
                if not asked:
                    return take(tensor)
                if self._wanted and name(tensor) == node:
                    self._is_due = True
                    return True
                return False
            except BaseException as error:  # noqa: BLE001  C would take it for "cancel"
                self._wanted, self._is_due = 0, False
                self.fault = f"{type(error).__name__}: {error}"
                return not asked  # no node is wanted, nothing is cancelled

        self.callback = llama.ggml_backend_sched_eval_callback(watch)

    def expect(self, count: int) -> None:
        """Before each call of the model: of how many tokens the node is wanted; 0 to let llama.cpp compute
        all."""
        self._wanted = 0 if self.fault else count
        self._is_due, self._states = False, None

    def take(self) -> Any:
        """After the call: the node, [tokens, width] float32; None if nothing was wanted, or something was
        wrong (`fault`) and llama.cpp has computed all by itself. Raises NativeError where it has not."""
        found, self._states = self._states, None
        wanted, self._wanted = self._wanted, 0
        if self._is_due:  # cancelled, in a way that no handler of ours has seen
            self.fault = "a call was cut short"
            raise NativeError("llama.cpp's computation was cut short; fix: call again")
        if found is None and wanted and not self.fault:
            self.fault = f"it computes no {self._node.decode()}"
        return found


class _Traits(ctypes.Structure):
    """A line of ggml's table of types, in numbers: no pointer is followed before the layout is known."""

    _fields_ = (
        ("name", _size),
        ("block", _number),
        ("interleaved", _number),
        ("block_bytes", _size),
        ("is_quantized", _flag),
        ("to_float", _size),
        ("from_float", _size),
    )


def row_bytes(kind: int, width: int) -> int:
    """Bytes of so many numbers of one of ggml's types. Raises NativeError."""
    return int(_function("ggml_row_size", _size, ctypes.c_int, _number)(kind, width))


def to_float(kind: int, width: int) -> Callable[[bytes, Any], None]:
    """What writes a row of one of ggml's types, as it is stored, into a [width] float32 array.

    Raises NativeError, also where ggml's table of types does not say of this type and of the commonest ones what
    its functions say.
    """
    import numpy as np

    code = ctypes.c_int
    traits_of = _function("ggml_get_type_traits", _size, code)
    name = _function("ggml_type_name", _size, code)
    block = _function("ggml_blck_size", _number, code)
    block_bytes = _function("ggml_type_size", _size, code)
    is_quantized = _function("ggml_is_quantized", _flag, code)
    from_half = ctypes.cast(_function("ggml_fp16_to_fp32_row", None), _place).value
    for known in {kind, *_KINDS}:
        at = traits_of(known)
        line = _Traits.from_address(at)
        found = [line.name, line.block, line.block_bytes, line.is_quantized]
        told = [called(known) for called in (name, block, block_bytes, is_quantized)]
        found.append(width // max(1, line.block) * line.block_bytes)
        told.append(row_bytes(known, width // told[1] * told[1]))
        found.append(ctypes.sizeof(_Traits))
        told.append(traits_of(known + 1) - at)
        if found != told or (known == _F16 and line.to_float != from_half):
            raise NativeError("its table of number types has another layout")
    converting = _Traits.from_address(traits_of(kind)).to_float
    if not converting:
        if kind != _KINDS[0]:
            raise NativeError(f"it cannot turn numbers of type {kind} into floats")
        return lambda stored, row: np.copyto(row, np.frombuffer(stored, np.float32))
    convert = ctypes.CFUNCTYPE(None, _place, _place, _number)(converting)
    return lambda stored, row: convert(stored, row.ctypes.data, width)
