"""llama.cpp's C functions, as the package llama_cpp declares them, without the package around them.

Its classes for chats import templates, databases and numpy, which takes as long as to load a small model.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType


def _declarations() -> ModuleType:
    """The module of the declarations, imported as a part of a package that was never run.

    Whoever imports the package itself, before or after, gets the whole of it and this same module.
    """
    name = "llama_cpp"
    spec = importlib.util.find_spec(name)
    if spec is None:
        raise ImportError("llama-cpp-python is not installed; fix: pip install llama-cpp-python")
    if name in sys.modules:
        return importlib.import_module(f"{name}.llama_cpp")
    sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        return importlib.import_module(f"{name}.llama_cpp")
    finally:
        del sys.modules[name]


llama = _declarations()

LIBRARY = Path(llama._lib._name)
"""The file of llama.cpp's code: another build of it has another time or size."""
