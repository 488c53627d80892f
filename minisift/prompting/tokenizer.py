"""What the renderer wants of a tokenizer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

_LOW_LINE = "\u2581"


class Tokenizer:
    """A tokenizer as the renderer wants it: one segment at a time, byte for byte.

    tokenize: (text, whether control tokens are parsed) -> ids, nothing added.
    pieces: the bytes of each token id; empty for control tokens, which text never contains.
    bos: the token that the model expects at the head of any input, or None.
    """

    def __init__(
        self, tokenize: Callable[[str, bool], list[int]], pieces: Sequence[bytes], bos: int | None
    ) -> None:
        self._tokenize = tokenize
        self.pieces = pieces
        self.bos = bos
        # SentencePiece: some put a space before any input, all take U+2581 for a space
        self.adds_space = self.decode(tokenize("a", False)) == b" a"
        self.low_line: list[int] = []
        if self.decode(tokenize(_LOW_LINE, False)) != _LOW_LINE.encode():
            by_byte = {piece: i for i, piece in enumerate(pieces) if len(piece) == 1}
            wanted = [bytes([byte]) for byte in _LOW_LINE.encode()]
            self.low_line = [by_byte[byte] for byte in wanted if byte in by_byte]

    def encode(self, text: str, *, control: bool = False) -> list[int]:
        """Ids of one segment; control tokens are parsed only if `control`."""
        if self.low_line and _LOW_LINE in text:
            first, *rest = (self.encode(part, control=control) for part in text.split(_LOW_LINE))
            return first + [token for ids in rest for token in self.low_line + ids]
        if not self.adds_space or not text:
            return self._tokenize(text, control) if text else []
        # give it something else than the segment to put its space before
        return self._tokenize("\n" + text, control)[len(self._tokenize("\n", control)) :]

    def decode(self, ids: Sequence[int]) -> bytes:
        return b"".join(self.pieces[token] for token in ids)
