"""Labelled text: `Example`, `Span`, and reading and writing them in the field's formats."""

from minisift.data.examples import Example, Span, align
from minisift.data.reading import read, write

__all__ = ["Example", "Span", "align", "read", "write"]
