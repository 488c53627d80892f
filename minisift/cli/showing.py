"""Spans in colour on a terminal; plain in a pipe, on a dumb terminal and with NO_COLOR."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TextIO

from rich.console import Console
from rich.text import Text

from minisift.data.examples import Span

_COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "red")
_VISIBLE = {
    **{code: 0x2400 + code for code in range(32) if chr(code) not in "\t\n"},
    127: 0x2421,
    **dict.fromkeys(range(0x80, 0xA0), 0xFFFD),
}
"""Control characters, which would have their way with a terminal, and what stands for them."""


def show(file: TextIO, *lines: Text | str) -> None:
    """Print lines as they are, however narrow the terminal."""
    console = Console(file=file, highlight=False, markup=False, emoji=False, soft_wrap=True)
    for line in lines:
        console.print(line if isinstance(line, Text) else Text(line.translate(_VISIBLE)))


def coloured(text: str, spans: Sequence[Span], labels: Iterable[str]) -> Text:
    """A text with its spans in the colours of their labels."""
    found = Text(text.translate(_VISIBLE))
    for span in spans:
        found.stylize(_style(span.label, labels), span.start, span.end)
    return found


def bracketed(text: str, spans: Sequence[Span], labels: Iterable[str]) -> Text:
    """A text with each span in brackets with its label, on one line."""
    found, at = Text(), 0
    for span in spans:
        found.append(_folded(text[at : span.start]))
        found.append(f"[{_folded(span.text)} {_folded(span.label)}]", _style(span.label, labels))
        at = span.end
    return found.append(_folded(text[at:]))


def _style(label: str, labels: Iterable[str]) -> str:
    place = sorted({*labels, label}).index(label)
    return f"bold {_COLOURS[place % len(_COLOURS)]}"


def _folded(text: str) -> str:
    return "".join(" " if c.isspace() else c for c in text).translate(_VISIBLE)
