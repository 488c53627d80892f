"""llama.cpp itself: started once, quiet, without the instructions that it gets wrong."""

from __future__ import annotations

import ctypes
import logging
import sys
from functools import cache
from typing import Any

import llama_cpp as llama

logger = logging.getLogger(__name__)

_CPU = 0
"""llama.cpp's number for the kind of device that a CPU is."""


@cache
def start() -> Any:
    """Make llama.cpp ready and send its log to this module's logger. Again, it does nothing.

    Returns llama.cpp's callback, which has to stay referenced.
    """

    @llama.llama_log_callback
    def log(level: int, text: bytes, _: Any) -> None:
        logger.debug(text.decode(errors="replace").rstrip())

    llama.llama_log_set(log, ctypes.c_void_p(0))
    llama.llama_backend_init()
    if sys.platform == "linux" and b"AMX_INT8 = 1" in llama.llama_print_system_info():
        without_amx()
    return log


def without_amx() -> None:
    """Have weights of models that load from here on in no layout for Intel's AMX.

    llama.cpp ends the process in its first product of matrices there when gcc 12 has compiled it:
    gcc believes that the instruction which configures AMX reads eight bytes, and drops what llama.cpp
    wrote behind them (ggml-org/llama.cpp#20824). So AMX leaves the list of layouts, whose next
    one, for AVX-512, is taken.
    """
    from llama_cpp._ggml import libggml

    def function(name: str, *arguments: Any) -> Any:
        found = getattr(libggml, name)
        found.restype, found.argtypes = ctypes.c_void_p, arguments
        return found

    device = function("ggml_backend_dev_by_type", ctypes.c_int)(_CPU)
    registry = function("ggml_backend_dev_backend_reg", ctypes.c_void_p)(device)
    found = function("ggml_backend_reg_get_proc_address", ctypes.c_void_p, ctypes.c_char_p)(
        registry, b"ggml_backend_dev_get_extra_bufts"
    )
    layouts = ctypes.CFUNCTYPE(ctypes.POINTER(ctypes.c_void_p), ctypes.c_void_p)(found)(device)
    name = function("ggml_backend_buft_name", ctypes.c_void_p)
    count = 0
    while layouts[count]:
        count += 1
    kept = [at for at in layouts[:count] if ctypes.string_at(name(at)) != b"AMX"]
    for index, at in enumerate([*kept, None]):
        layouts[index] = at
