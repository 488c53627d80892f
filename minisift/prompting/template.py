"""The fixed segments of a prompt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

TemplateKind = Literal["plain", "chat"]


@dataclass(frozen=True)
class Template:
    """The fixed segments of a prompt; `control` tells whether they may hold control tokens."""

    head: str
    """Before the first text; holds the instruction."""
    turn: str
    """Between a text and its response."""
    joint: str
    """Between a response and the next text."""
    control: bool = False


def plain_template(instruction: str = "") -> Template:
    """Texts headed by ``Text:``, nothing else; for base and instruct models alike."""
    return Template(f"{instruction}\n\nText:" if instruction else "Text:", "\n", "Text:")
