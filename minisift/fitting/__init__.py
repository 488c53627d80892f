"""From labelled sentences to a labeler: `fit`, `plan`, `inspect` and `prompt`."""

from minisift.fitting.in_context import prompt
from minisift.fitting.inspecting import inspect
from minisift.fitting.runs import fit, plan

__all__ = ["fit", "inspect", "plan", "prompt"]
