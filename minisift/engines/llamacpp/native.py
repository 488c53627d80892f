"""llama.cpp's C functions, as the package llama_cpp declares them, without the package around them.

Its classes for chats import templates, databases and numpy, which takes as long as to load a small model.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any


def _declarations() -> tuple[ModuleType, Any, Any]:
    """The module of the declarations and ggml's libraries, as parts of a package that was never run.

    Whoever imports the package itself, before or after (not in another thread meanwhile), gets the
    whole of it and these same modules.
    """
    name = "llama_cpp"

    def imported() -> tuple[ModuleType, Any, Any]:
        parts = (name, "_ggml", "_ctypes_extensions")
        found, ggml, extensions = (importlib.import_module(f"{name}.{part}") for part in parts)
        base = extensions.load_shared_library("ggml-base", ggml.libggml_base_path)
        return found, ggml.libggml, base

    spec = importlib.util.find_spec(name)
    if spec is None:
        raise ImportError("llama-cpp-python is not installed; fix: pip install llama-cpp-python")
    if name in sys.modules:
        return imported()
    sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        return imported()
    finally:
        del sys.modules[name]


llama, libggml, libggml_base = _declarations()

LIBRARIES = Path(llama._lib._name).parent
"""The folder of llama.cpp's code: another build of it has another time."""


def declared(library: ctypes.CDLL, name: str, result: Any, *arguments: Any) -> Any:
    """A function that llama_cpp does not declare, with its types."""
    function = getattr(library, name)
    function.restype, function.argtypes = result, arguments
    return function
