"""Files that the engine's tests load: a small labeler's, its base model's and its adapter's.

Where MINISIFT_ENGINE_FILES names a folder they are there already, for environments without torch: `make
compat`.
"""

import os
from pathlib import Path

import pytest
from support.engine_files import write_files

from minisift.engines.llamacpp.native import llama

MADE = "MINISIFT_ENGINE_FILES"


@pytest.fixture(autouse=True)
def lanes(all_cores):
    """A lane a core, as users have them."""


@pytest.fixture(scope="session")
def engine_files(request):
    """Their folder: `base.gguf`, `adapter.gguf` and, of the labeler, `f16.gguf`, `q8_0.gguf`, ..."""
    if MADE in os.environ:
        return Path(os.environ[MADE])
    small, train, folder = map(request.getfixturevalue, ("small", "train", "folder"))
    return write_files(small, train, folder / "engine")


@pytest.fixture(scope="session")
def f16(engine_files):
    """Where only the order of additions differs; other types round activations as well."""
    return engine_files / "f16.gguf"


@pytest.fixture(scope="session")
def q4_0(engine_files):
    return engine_files / "q4_0.gguf"


@pytest.fixture
def new_cache(tmp_path, monkeypatch):
    """A cache in which nothing is kept yet."""
    monkeypatch.setenv("MINISIFT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


WAYS = {"cpu": {"n_gpu_layers": 0}, "off": {"n_gpu_layers": 0, "native": "off"}}
if llama.llama_supports_gpu_offload():
    WAYS["gpu"] = {"n_gpu_layers": 999}


@pytest.fixture(params=WAYS.values(), ids=WAYS)
def way(request):
    """Options of `load` for each way that a model may run: a CPU with its shortcuts, without, a GPU."""
    return request.param
