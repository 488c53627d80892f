"""Tokenizers of bytes, which need no model."""

from minisift.prompting.tokenizer import Tokenizer

MERGES = [b" a", b"ab", b" ab", b": p", b"son", b"\n\n", b"\n ", b" a a", b"#2", b": "]


def byte_tokenizer(extra=()):
    """A tokenizer of bytes and some longer pieces, taken longest first."""
    pieces = [bytes([byte]) for byte in range(256)] + list(extra)
    ids = {piece: index for index, piece in enumerate(pieces)}

    def tokenize(text, control):
        raw, found = text.encode(), []
        while raw:
            length = next(n for n in range(min(12, len(raw)), 0, -1) if raw[:n] in ids)
            found.append(ids[raw[:length]])
            raw = raw[length:]
        return found

    return Tokenizer(tokenize, pieces, None)


TOKENIZERS = [byte_tokenizer(), byte_tokenizer(MERGES)]
