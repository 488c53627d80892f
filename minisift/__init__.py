"""minisift: span labelling with causal language models, fit on a few sentences.

>>> labeler = minisift.fit("smollm2-135m", minisift.read("train.conll"))  # doctest: +SKIP
>>> labeler.predict("Angela Merkel visited Paris.")  # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minisift.data.checking import Findings, check
    from minisift.data.examples import Example, Span
    from minisift.data.reading import read, write
    from minisift.exceptions import DataError
    from minisift.fitting import fit, inspect, plan, prompt
    from minisift.labeler import Labeler
    from minisift.scoring.evaluation import Report
    from minisift.storage import load

# Each public name with its module, imported at first use: `import minisift` stays instant.
_HOMES = {
    "DataError": "exceptions",
    "Example": "data.examples",
    "Findings": "data.checking",
    "Labeler": "labeler",
    "Report": "scoring.evaluation",
    "Span": "data.examples",
    "check": "data.checking",
    "fit": "fitting",
    "inspect": "fitting",
    "load": "storage",
    "plan": "fitting",
    "prompt": "fitting",
    "read": "data.reading",
    "write": "data.reading",
}
__all__ = [
    "DataError",
    "Example",
    "Findings",
    "Labeler",
    "Report",
    "Span",
    "check",
    "fit",
    "inspect",
    "load",
    "plan",
    "prompt",
    "read",
    "write",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("minisift")
    if name not in _HOMES:
        raise AttributeError(f"module 'minisift' has no attribute {name!r}")
    return getattr(importlib.import_module(f"minisift.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
