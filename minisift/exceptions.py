"""What minisift raises where the standard library has no name for it."""

from __future__ import annotations


class DataError(ValueError):
    """A file or record that cannot be used: says where, what is wrong and how to mend it."""


class TagError(ValueError):
    """A tag that its scheme does not allow there; `index` is the word."""

    def __init__(self, index: int, message: str) -> None:
        super().__init__(message)
        self.index = index


class ResponseError(ValueError):
    """A response that is not in the language of its text."""


class DescriptionError(ValueError):
    """A labeler's description that is damaged, or not of this version or model."""


class VerificationError(ValueError):
    """An exported file that does not answer as its labeler."""
