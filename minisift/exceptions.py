"""What minisift raises where the standard library has no name for it."""

from __future__ import annotations


class DataError(ValueError):
    """A file or record that cannot be used: says where, what is wrong and how to mend it."""
