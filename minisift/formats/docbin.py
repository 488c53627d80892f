"""spaCy's DocBin (`.spacy` files): tokens are words, `doc.ents` are spans."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from typing import Any

from minisift.data import DataError, Example, Record, Span


def _spacy() -> Any:
    try:
        import spacy
        import spacy.tokens
    except ImportError:
        raise ImportError("DocBin files need spaCy; fix: pip install 'minisift[spacy]'") from None
    return spacy


def read(
    source: str | os.PathLike[str], *, tag_column: int | str | None, scheme: str | None
) -> Iterator[Record]:
    spacy = _spacy()
    try:
        docs = spacy.tokens.DocBin().from_disk(source).get_docs(spacy.blank("xx").vocab)
        for number, doc in enumerate(docs, 1):
            words = [(t.idx, t.idx + len(t)) for t in doc if t.text.strip()]
            spans = [Span(e.start_char, e.end_char, e.label_) for e in doc.ents]
            yield Record(f"{source}: doc {number}", doc.text, tuple(spans), tuple(words))
    except (ValueError, KeyError, TypeError, OSError, EOFError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"{source}: not a DocBin ({error}); fix: write it with DocBin.to_disk"
        ) from None


def write(examples: Iterable[Example], *, scheme: str) -> bytes:
    """Docs of the examples' words, with the examples' very text.

    What lies between words, but for one space after each, becomes tokens of its own.
    """
    spacy = _spacy()
    vocab = spacy.blank("xx").vocab
    docs = []
    for example in examples:
        words: list[str] = []
        spaces: list[bool] = []
        at = 0
        for start, end in [*example.words, (len(example.text), len(example.text))]:
            gap = example.text[at:start]
            if gap.startswith(" ") and words:
                spaces[-1] = True
                gap = gap[1:]
            for token in re.findall(r"\s+|\S+", gap):
                words.append(token)
                spaces.append(False)
            if end > start:
                words.append(example.text[start:end])
                spaces.append(False)
            at = end
        doc = spacy.tokens.Doc(vocab, words=words, spaces=spaces)
        doc.ents = [doc.char_span(s.start, s.end, label=s.label) for s in example.spans]
        docs.append(doc)
    content: bytes = spacy.tokens.DocBin(docs=docs).to_bytes()
    return content
