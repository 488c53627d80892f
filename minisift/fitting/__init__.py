"""`fit`, `plan` and `prompt`: a labeler from a model and labelled sentences."""

from minisift.fitting.in_context import prompt
from minisift.fitting.runs import fit, plan

__all__ = ["fit", "plan", "prompt"]
