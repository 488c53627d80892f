"""spaCy's DocBin (`.spacy` files): tokens are words; `doc.ents`, or a group of `doc.spans`, are spans."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from minisift.data.examples import Example, Span
from minisift.data.formats.record import Options, Record
from minisift.exceptions import DataError

OPTIONS = ("spans_key",)


def _spacy() -> Any:
    try:
        import spacy
        import spacy.tokens
    except ImportError:
        raise ImportError("DocBin files need spaCy; fix: pip install 'minisift[spacy]'") from None
    return spacy


def read(source: str | os.PathLike[str], options: Options) -> Iterator[Record]:
    """The docs of a file. A doc with tokens that nobody annotated is skipped as a whole."""
    spacy = _spacy()
    try:
        content = spacy.tokens.DocBin().from_bytes(Path(source).read_bytes())
        docs = list(content.get_docs(spacy.blank("xx").vocab))
    except (ValueError, KeyError, TypeError, OSError, EOFError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise DataError(
            f"{source}: not a DocBin ({error}); fix: write it with DocBin.to_disk"
        ) from None
    keys = sorted({key for doc in docs for key in doc.spans})
    has_entities = any(doc.has_annotation("ENT_IOB") for doc in docs)
    if options.spans_key not in (None, *keys) or (
        keys and not options.spans_key and not has_entities
    ):
        what = "no doc has entities" if options.spans_key is None else f"no {options.spans_key!r}"
        raise DataError(
            f"{source}: {what} (keys of doc.spans: {', '.join(map(repr, keys)) or 'none'}); fix: "
            + (f"spans_key={keys[0]!r}" if keys else "leave spans_key out")
        )
    for number, doc in enumerate(docs, 1):
        yield _record(f"{source}: doc {number}", doc, options.spans_key)


def _record(place: str, doc: Any, key: str | None) -> Record:
    counts = {
        f"spans of doc.spans[{other!r}] not read": len(doc.spans[other])
        for other in doc.spans
        if other != key and len(doc.spans[other])
    }
    if key is None:
        missing = sum(token.ent_iob == 0 for token in doc)
        found = doc.ents
        if missing:
            what = "docs that nobody annotated" if missing == len(doc) else "docs annotated in part"
            return Record(place, skipped=what, counts=counts)
    elif key in doc.spans:
        found = doc.spans[key]
    else:
        return Record(place, skipped=f"docs without doc.spans[{key!r}]", counts=counts)
    words = [(token.idx, token.idx + len(token)) for token in doc if token.text.strip()]
    if key is not None and doc.ents:
        counts["entities of doc.ents not read"] = len(doc.ents)
    spans = tuple(Span(span.start_char, span.end_char, span.label_) for span in found)
    return Record(place, doc.text, spans, tuple(words), counts=counts)


def write(examples: Iterable[Example], *, scheme: str) -> bytes:
    """Docs whose tokens are the examples' words and whose text is exactly the examples'.

    Whatever lies between two words besides a single space becomes tokens too.
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
